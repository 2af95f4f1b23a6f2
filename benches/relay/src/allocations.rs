//! How many allocations a server makes, and what each costs it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use stun::{Class, Key, Message, Method};

use crate::contestant::Contestant;
use crate::place::{CLIENT, PEER, any};
use crate::session::{Session, allocate, key, release};
use crate::system;

/// Clients at a time.
const AT_ONCE: usize = 64;
/// Whoever has no answer for so long begins anew.
const PATIENCE: Duration = Duration::from_millis(300);

/// A client's way: refused for want of a nonce, allocated, released.
struct Attempt {
    socket: UdpSocket,
    began: Instant,
    nonce: Vec<u8>,
}

impl Attempt {
    fn new(server: SocketAddr, key: &Key) -> io::Result<Self> {
        let socket = UdpSocket::bind(any(CLIENT))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let mut buffer = [0; 512];
        let length = allocate(&mut buffer, 1, key, &[]);
        socket.send(&buffer[..length])?;
        Ok(Self { socket, began: Instant::now(), nonce: Vec::new() })
    }

    /// Answers what came. `Some`: it has come to its end, the good one if it is `true`.
    fn turn(&mut self, key: &Key) -> io::Result<Option<bool>> {
        let mut answer = [0; 512];
        let length = match self.socket.recv(&mut answer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(message) = Message::parse(&answer[..length]) else { return Ok(None) };
        let mut buffer = [0; 512];
        let length = match (message.class(), message.method()) {
            (Class::Error, Method::ALLOCATE) => {
                // Without a nonce it is refused: the port is one whose allocation was given up, say.
                let Some(nonce) = message.nonce() else { return Ok(Some(false)) };
                self.nonce = nonce.to_vec();
                allocate(&mut buffer, 2, key, nonce)
            }
            (Class::Success, Method::ALLOCATE) => release(&mut buffer, 3, key, &self.nonce),
            (Class::Success, _) => return Ok(Some(true)),
            _ => return Ok(Some(false)),
        };
        self.socket.send(&buffer[..length])?;
        Ok(None)
    }
}

/// Allocations made and released per second of the server's CPU time, each by a new client.
pub(crate) fn rate(server: &Contestant, time: Duration) -> io::Result<f64> {
    let (to, key) = (server.address(), key());
    let mut attempts = (0..AT_ONCE).map(|_| Attempt::new(to, &key)).collect::<Result<Vec<_>, _>>()?;
    let (before, end) = (server.cpu_time()?, Instant::now() + time);
    let mut made = 0u64;
    while Instant::now() < end {
        for attempt in &mut attempts {
            let ended = attempt.turn(&key)?;
            made += u64::from(ended == Some(true));
            if ended.is_some() || attempt.began.elapsed() > PATIENCE {
                *attempt = Attempt::new(to, &key)?;
            }
        }
    }
    Ok(made as f64 / (server.cpu_time()? - before).as_secs_f64().max(0.01))
}

/// Bytes of the server's memory for each of `count` allocations with a channel each.
pub(crate) fn memory(server: &Contestant, count: usize) -> io::Result<f64> {
    let peer = SocketAddr::new(PEER, 9);
    let before = system::resident(server.process())?;
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        let mut session = Session::open(server.address())?;
        session.bind(peer)?;
        sessions.push(session);
    }
    let after = system::resident(server.process())?;
    for session in &mut sessions {
        session.close()?;
    }
    Ok((after.saturating_sub(before)) as f64 / count as f64)
}
