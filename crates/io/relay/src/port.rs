use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// A port of TCP that is taken, and at which nobody is let in yet. A server takes all its ports before it opens the first:
/// if one cannot be had, nobody has ever reached the others.
///
/// It is as a server wants it: IPv6 leaves IPv4 to others, a restart does not wait for the connections of the run before,
/// and many may knock at once.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    local: SocketAddr,
}

impl Port {
    /// Takes the port.
    ///
    /// # Errors
    /// Those of the system: the address is not ours, or in use.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // (On Windows it means to share the port with whoever has it.)
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { socket, local })
    }

    /// The address, with its real port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Lets clients in.
    ///
    /// # Errors
    /// Those of the system: somebody else has taken the same port and opened it first.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        TcpListener::from_std(self.socket.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn nobody_is_let_in_before_it_opens() {
        let port = Port::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = port.local();
        assert!(TcpStream::connect(at).is_err());
        let _open = port.open().unwrap();
        assert!(TcpStream::connect(at).is_ok());
        assert!(Port::take(at).is_err(), "who listens has it alone");
    }
}
