use std::fmt;
use std::io;
use std::net::SocketAddr;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use sansio::Batch;

use crate::end::End;
use crate::{Bundles, Config, Outcome, Transmit, Unreachable};

/// A [`Socket`](crate::Socket) without a runtime, for a thread with a loop of its own: `mio` tells when it is ready.
///
/// Readiness is told once. It comes again when [`BareSocket::try_recv`] has returned less than the capacity of its
/// [`Bundles`], and not before.
pub struct BareSocket {
    io: mio::net::UdpSocket,
    end: End,
}

impl BareSocket {
    /// Binds as `config` says. Port 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system: the address is not ours, or in use.
    pub fn bind(local: SocketAddr, config: &Config) -> io::Result<Self> {
        let (socket, end) = End::bind(local, config)?;
        Ok(Self { io: mio::net::UdpSocket::from_std(socket), end })
    }

    /// Takes over a socket that is bound, and sets it up as `config` says as far as that can be done now.
    ///
    /// # Errors
    /// Those of the system.
    pub fn adopt(socket: std::net::UdpSocket, config: &Config) -> io::Result<Self> {
        let end = End::adopt(&socket, config)?;
        Ok(Self { io: mio::net::UdpSocket::from_std(socket), end })
    }

    /// The address it is bound to, with its real port.
    pub fn local(&self) -> SocketAddr {
        self.end.local
    }

    /// Whether it is bound to all addresses of its family, so that each datagram has to say which one it leaves from.
    pub fn is_wildcard(&self) -> bool {
        self.end.wildcard
    }

    /// Sends now, or not at all. Never waits.
    pub fn try_send(&self, transmit: &Transmit<'_>) -> Outcome {
        self.end.send(&self.io, transmit)
    }

    /// Sends a batch, from its path's local address, as [`BareSocket::try_send`] does.
    pub fn try_send_batch(&self, batch: &Batch) -> Outcome {
        self.end.send_batch(&self.io, batch)
    }

    /// The next datagram that did not arrive, as far as the system tells; see [`Config::report_unreachable`]. There may
    /// be some when `mio` tells of an error.
    pub fn poll_unreachable(&self) -> Option<Unreachable> {
        self.end.system.poll_unreachable(&self.io)
    }

    /// Receives what has arrived, as far as there is room in `bundles`, and returns how many bundles that is; 0 if
    /// nothing is there. Never waits.
    ///
    /// # Errors
    /// The socket is broken. What the network did (a closed port at the other end, an unreachable host) is no error.
    pub fn try_recv(&self, bundles: &mut Bundles) -> io::Result<usize> {
        self.end.receive(&self.io, bundles)
    }
}

impl Source for BareSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }
}

impl fmt::Debug for BareSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareSocket").field("local", &self.end.local).finish_non_exhaustive()
    }
}
