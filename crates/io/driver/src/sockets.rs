use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Context;

use sansio::{Batch, SocketError, unmapped};
use udp::{Bundles, Outcome, Socket};

/// The UDP sockets of one engine. There are few of them: one per interface and family.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    entries: Vec<Entry>,
    /// Whose turn it is to be received from.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    socket: Socket,
    readable: bool,
    /// What its full buffer did not take. While there is any, the machine writes nothing more for this socket.
    blocked: VecDeque<Batch>,
}

impl Sockets {
    /// Binds a socket and returns its address with the real port.
    pub(crate) fn bind(&mut self, local: SocketAddr) -> Result<SocketAddr, SocketError> {
        let mut config = udp::Config::default();
        config.marks = true;
        let socket = Socket::bind_with(local, &config).map_err(socket_error)?;
        let local = socket.local();
        self.entries.push(Entry { socket, readable: false, blocked: VecDeque::new() });
        Ok(unmapped(local))
    }

    pub(crate) fn unbind(&mut self, local: SocketAddr) {
        self.entries.retain(|entry| entry.socket.local() != local);
    }

    /// Whether any socket has something to do now: to be received from, or room again.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for entry in &mut self.entries {
            entry.readable = entry.readable || entry.socket.poll_readable(cx).is_ready();
            any |= entry.readable;
            any |= !entry.blocked.is_empty() && entry.socket.poll_writable(cx).is_ready();
        }
        any
    }

    /// Receives one round from the next readable socket.
    pub(crate) fn receive(&mut self, bundles: &mut Bundles) {
        bundles.clear();
        for _ in 0..self.entries.len() {
            self.next = (self.next + 1) % self.entries.len();
            let entry = &mut self.entries[self.next];
            if !entry.readable {
                continue;
            }
            match entry.socket.try_recv(bundles) {
                Ok(received) => entry.readable = received == bundles.capacity(),
                Err(error) => {
                    // A broken socket hears nothing more; the machine finds out by silence.
                    tracing::warn!(local = %entry.socket.local(), %error, "cannot receive");
                    entry.readable = false;
                }
            }
            if !bundles.is_empty() {
                return;
            }
        }
    }

    /// Sends a batch, or keeps it until there is room. What the system refuses is lost.
    ///
    /// Gives the batch back once it is done with.
    pub(crate) fn send(&mut self, batch: Batch) -> Option<Batch> {
        let local = batch.path.local;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.serves(local)) else {
            return Some(batch); // unbound meanwhile
        };
        if entry.blocked.is_empty() { entry.send(batch) } else { entry.keep(batch) }
    }

    /// Sends what was kept, as far as there is room. Gives the batches that are done with to `done`.
    pub(crate) fn resume(&mut self, mut done: impl FnMut(Batch)) {
        for entry in &mut self.entries {
            while let Some(batch) = entry.blocked.pop_front() {
                match entry.send(batch) {
                    Some(batch) => done(batch),
                    None => {
                        // It went to the back; it belongs to the front.
                        let batch = entry.blocked.pop_back().expect("the batch that was just kept");
                        entry.blocked.push_front(batch);
                        break;
                    }
                }
            }
        }
    }

    /// Adds the sockets that take nothing now.
    pub(crate) fn congested(&self, into: &mut Vec<SocketAddr>) {
        into.extend(self.entries.iter().filter(|e| !e.blocked.is_empty()).map(|e| e.socket.local()));
    }
}

impl Entry {
    /// A socket that is bound to a wildcard serves every address of its port.
    fn serves(&self, local: SocketAddr) -> bool {
        let bound = self.socket.local();
        bound == local
            || bound.ip().is_unspecified()
                && bound.port() == local.port()
                && bound.is_ipv4() == local.is_ipv4()
    }

    fn send(&mut self, mut batch: Batch) -> Option<Batch> {
        match self.socket.try_send_batch(&batch) {
            Outcome::Sent => Some(batch),
            Outcome::Blocked { sent } => {
                batch.bytes.drain(..sent);
                self.keep(batch)
            }
            Outcome::Lost(error) => {
                tracing::trace!(path = %batch.path, %error, "not sent");
                Some(batch)
            }
        }
    }

    fn keep(&mut self, batch: Batch) -> Option<Batch> {
        self.blocked.push_back(batch);
        None
    }
}

/// The machine's word for an error of the system.
pub(crate) fn socket_error(error: io::Error) -> SocketError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => SocketError::Refused,
        Kind::TimedOut => SocketError::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable => {
            SocketError::Unreachable
        }
        Kind::AddrInUse => SocketError::InUse,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            SocketError::Closed
        }
        _ => SocketError::Other(error.to_string()),
    }
}
