use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use sansio::Batch;
use socket2::SockRef;
use tokio::net::UdpSocket;

use crate::end::End;
use crate::{Bundles, Outcome, Transmit};

/// How a [`Socket`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes the system may hold until they are received. The system may grant less, unless the process is
    /// privileged.
    pub receive_buffer: usize,
    /// Bytes the system may hold until they are sent. The system may grant less, unless the process is privileged.
    pub send_buffer: usize,
    /// Send many datagrams by one call where the system can (`UDP_SEGMENT`).
    pub segmentation: bool,
    /// Receive many datagrams as one bundle where the system can (`UDP_GRO`).
    pub coalescing: bool,
    /// Let several sockets share the address and the system spread the senders among them (`SO_REUSEPORT`; ignored
    /// where there is none).
    pub reuse_port: bool,
    /// Send datagrams in one piece or not at all, whatever the system believes the path takes (`IP_PMTUDISC_PROBE`):
    /// for measuring that. Where the system cannot, binding fails.
    pub never_fragment: bool,
    /// Have the system tell which datagrams did not arrive, and why ([`BareSocket::poll_unreachable`]). Ignored where it
    /// cannot.
    ///
    /// [`BareSocket::poll_unreachable`]: crate::BareSocket::poll_unreachable
    pub report_unreachable: bool,
    /// Have the system tell which datagrams were marked by congested routers ([`Bundle::marked`](crate::Bundle::marked)). Ignored
    /// where it cannot: see [`READS_MARKS`](crate::READS_MARKS).
    pub marks: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
            segmentation: true,
            coalescing: true,
            reuse_port: false,
            never_fragment: false,
            report_unreachable: false,
            marks: false,
        }
    }
}

/// A UDP socket. See the [crate's front page](crate).
///
/// An IPv6 socket speaks IPv6 only, also when it is bound to the wildcard.
pub struct Socket {
    io: UdpSocket,
    end: End,
}

impl Socket {
    /// Binds with the default [`Config`]. Port 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system: the address is not ours, or in use.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        Self::bind_with(local, &Config::default())
    }

    /// Binds as `config` says. Port 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system: the address is not ours, or in use.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind_with(local: SocketAddr, config: &Config) -> io::Result<Self> {
        let (socket, end) = End::bind(local, config)?;
        Ok(Self { io: UdpSocket::from_std(socket)?, end })
    }

    /// The address it is bound to, with its real port.
    pub fn local(&self) -> SocketAddr {
        self.end.local
    }

    /// The bytes that the system really grants for receiving and for sending.
    ///
    /// # Errors
    /// Those of the system.
    pub fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        let socket = SockRef::from(&self.io);
        Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?))
    }

    /// Whether many datagrams leave by one call, as far as is known now.
    pub fn segments(&self) -> bool {
        self.end.system.segments()
    }

    /// Sends now, or not at all. Never waits.
    pub fn try_send(&self, transmit: &Transmit<'_>) -> Outcome {
        self.end.send(&self.io, transmit)
    }

    /// Sends a batch, from its path's local address, as [`Socket::try_send`] does.
    ///
    /// If the outcome is [`Outcome::Blocked`], the first `sent` bytes of the batch are gone; send the rest later.
    pub fn try_send_batch(&self, batch: &Batch) -> Outcome {
        self.end.send_batch(&self.io, batch)
    }

    /// Receives what has arrived, as far as there is room in `bundles`, and returns how many bundles that is; 0 if
    /// nothing is there. Never waits. Call it when the socket is readable, until it returns 0 or less than
    /// the capacity.
    ///
    /// # Errors
    /// The socket is broken. What the network did (a closed port at the other end, an unreachable host) is no error.
    pub fn try_recv(&self, bundles: &mut Bundles) -> io::Result<usize> {
        self.end.receive(&self.io, bundles)
    }

    /// Waits until there may be something to receive. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Waits until there may be room to send. Cancel-safe.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Ready when there may be something to receive. Only the task that polled last is woken.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    /// Ready when there may be room to send. Only the task that polled last is woken.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.end.local).finish_non_exhaustive()
    }
}

/// Whether `error` tells of the network or the other end, and not of the socket.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::PermissionDenied
    )
}
