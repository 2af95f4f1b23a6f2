use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::{Path, Transport};

/// Names one [`SocketOp`], so that its [`SocketReply`] finds back. Chosen by the machine, unique within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What a machine asks its driver to do with sockets and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketOp {
    /// Bind a UDP socket. Port 0 leaves the port to the driver. Answered by [`SocketReply::Bound`].
    Bind {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The address to bind.
        local: SocketAddr,
    },
    /// Open a stream. Answered by [`SocketReply::Connected`]; its messages are framed as STUN and TURN frame
    /// them on streams (RFC 8489 §6.2.2, RFC 8656 §12.5), one message a datagram.
    Connect {
        /// Comes back in the answer.
        ticket: Ticket,
        /// [`Transport::Tcp`] or [`Transport::Tls`].
        transport: Transport,
        /// The address to connect from, if it matters.
        local: Option<IpAddr>,
        /// The server to connect to.
        remote: SocketAddr,
        /// For TLS: the name that the server's certificate must carry.
        server_name: String,
    },
    /// Look a name up: by mDNS if it ends in `.local`, by DNS otherwise. Answered by [`SocketReply::Resolved`].
    Resolve {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The host name.
        name: String,
    },
    /// Find the servers of a service: by SRV and NAPTR records if there are any, otherwise those of the name itself, at
    /// `port`. Answered by [`SocketReply::Located`].
    Locate {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The service, as SRV records spell it: `_turn._udp`.
        service: &'static str,
        /// The domain.
        name: String,
        /// The port where no record says anything.
        port: u16,
    },
    /// Answer mDNS queries for `name` with `address` from now on. Not answered.
    Publish {
        /// A name that ends in `.local`.
        name: String,
        /// The address it stands for.
        address: IpAddr,
    },
    /// Close a UDP socket. Not answered.
    Unbind {
        /// The address it is bound to.
        local: SocketAddr,
    },
    /// Close a stream. Not answered.
    Disconnect {
        /// Its path, as [`SocketReply::Connected`] told it.
        path: Path,
    },
}

/// The driver's answer to a [`SocketOp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketReply {
    /// A UDP socket is bound.
    Bound {
        /// That of the request.
        ticket: Ticket,
        /// The address it is bound to, with its real port.
        local: SocketAddr,
    },
    /// A stream is open.
    Connected {
        /// That of the request.
        ticket: Ticket,
        /// The path to send by.
        path: Path,
    },
    /// A name is looked up.
    Resolved {
        /// That of the request.
        ticket: Ticket,
        /// At least one address, the preferred first.
        addresses: Vec<IpAddr>,
    },
    /// The servers of a service are found.
    Located {
        /// That of the request.
        ticket: Ticket,
        /// At least one address, the preferred first.
        addresses: Vec<SocketAddr>,
    },
    /// It did not work.
    Failed {
        /// That of the request.
        ticket: Ticket,
        /// Why not.
        error: SocketError,
    },
    /// A stream was closed by the other side, or broke. Comes unasked.
    Disconnected {
        /// Its path.
        path: Path,
        /// What happened.
        error: SocketError,
    },
}

/// Why a socket or a name could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// Nobody listens there.
    Refused,
    /// No answer came in time.
    TimedOut,
    /// There is no route to it, or the address is not ours.
    Unreachable,
    /// The address or port is taken, or there are no more of them.
    InUse,
    /// The name does not exist.
    NameNotFound,
    /// The server's certificate was not accepted, or TLS failed otherwise.
    Tls(String),
    /// The other side closed it.
    Closed,
    /// Something else, in the words of the operating system.
    Other(String),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable => f.write_str("no route to the host"),
            Self::InUse => f.write_str("address in use"),
            Self::NameNotFound => f.write_str("name not found"),
            Self::Tls(what) => write!(f, "TLS failed: {what}"),
            Self::Closed => f.write_str("closed by the other side"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SocketError {}
