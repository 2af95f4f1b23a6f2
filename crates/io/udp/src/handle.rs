use std::io;

use socket2::SockRef;
use tokio::io::Interest;

/// A socket, as system calls need it, and whoever waits for it.
pub(crate) trait Handle {
    /// The socket.
    fn socket(&self) -> SockRef<'_>;

    /// Sending blocked: tries once more, and tells whoever waits for writability if it blocks again.
    fn blocked<T>(&self, send: impl FnMut() -> io::Result<T>) -> io::Result<T>;

    /// Receives, and tells whoever waits for something to arrive if nothing is left.
    fn arrived<T>(&self, receive: impl FnMut() -> io::Result<T>) -> io::Result<T>;
}

impl Handle for tokio::net::UdpSocket {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn blocked<T>(&self, send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.try_io(Interest::WRITABLE, send)
    }

    fn arrived<T>(&self, receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.try_io(Interest::READABLE, receive)
    }
}

impl Handle for mio::net::UdpSocket {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn blocked<T>(&self, send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.try_io(send)
    }

    fn arrived<T>(&self, receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.try_io(receive)
    }
}
