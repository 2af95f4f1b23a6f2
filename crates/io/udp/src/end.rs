use std::io::{self, IoSlice};
use std::net::SocketAddr;

use sansio::Batch;
use socket2::{Domain, Protocol, SockRef, Type};

use crate::handle::Handle;
#[cfg(target_os = "linux")]
use crate::linux as system;
#[cfg(not(target_os = "linux"))]
use crate::portable as system;
use crate::{Bundles, Config, Outcome, Transmit};

/// What is the same of a socket in a runtime and of a bare one: where it is bound, and how the system is spoken to.
pub(crate) struct End {
    pub(crate) local: SocketAddr,
    pub(crate) wildcard: bool,
    pub(crate) system: system::State,
}

impl End {
    /// A socket that is bound as `config` says and does not block.
    pub(crate) fn bind(local: SocketAddr, config: &Config) -> io::Result<(std::net::UdpSocket, Self)> {
        let socket = socket2::Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        #[cfg(all(unix, not(target_os = "solaris"), not(target_os = "illumos")))]
        if config.reuse_port {
            socket.set_reuse_port(true)?;
        }
        system::enlarge_buffers(SockRef::from(&socket), config);
        let system = system::State::new(SockRef::from(&socket), local, config)?;
        socket.bind(&local.into())?;
        let socket = std::net::UdpSocket::from(socket);
        let wildcard = local.ip().is_unspecified();
        let local = if local.port() == 0 { socket.local_addr()? } else { local };
        Ok((socket, Self { local, wildcard, system }))
    }

    /// Sets up a socket that is bound already, as far as that can be done now.
    pub(crate) fn adopt(socket: &std::net::UdpSocket, config: &Config) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        system::enlarge_buffers(SockRef::from(socket), config);
        let system = system::State::new(SockRef::from(socket), local, config)?;
        Ok(Self { local, wildcard: local.ip().is_unspecified(), system })
    }

    pub(crate) fn send(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        self.system.send(socket, transmit)
    }

    pub(crate) fn send_batch(&self, socket: &impl Handle, batch: &Batch) -> Outcome {
        let transmit = Transmit {
            from: self.wildcard.then(|| batch.path.local.ip()).filter(|ip| !ip.is_unspecified()),
            to: batch.path.remote,
            segment: batch.segment,
            bytes: &[IoSlice::new(&batch.bytes)],
        };
        match batch {
            Batch { whole: true, .. } => self.system.send_whole(socket, &transmit),
            Batch { capable: true, .. } => self.system.send_capable(socket, &transmit),
            _ => self.send(socket, &transmit),
        }
    }

    /// Receives as far as there is room, and returns how many bundles that is.
    pub(crate) fn receive(&self, socket: &impl Handle, bundles: &mut Bundles) -> io::Result<usize> {
        bundles.arrivals.clear();
        let received = socket.arrived(|| {
            self.system.receive(socket, self.local, bundles)?;
            if bundles.arrivals.len() < bundles.capacity {
                // Drained: this clears the readiness without a further system call. Where readiness is told once, it
                // would not be told again without this.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(bundles.arrivals.len()),
        }
    }
}
