use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crypto::Certificate;
use dtls::{Config, Endpoint, Event, Role, Trust};
use sansio::{Batches, Outbox, Path, Seed, Time, Transport};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{PATIENCE, loopback, loopback_of};

/// A client's end of DTLS.
pub struct Tunnel {
    socket: UdpSocket,
    endpoint: Endpoint,
    start: Instant,
    received: VecDeque<Vec<u8>>,
    /// The certificate that the server has shown.
    pub shown: Option<Vec<u8>>,
    /// How it ended.
    pub ended: Option<Event>,
}

/// Sends at once.
struct Wire<'a>(&'a UdpSocket);

impl Outbox<()> for Wire<'_> {
    fn room(&self) -> usize {
        1 << 16
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut datagram = vec![0; max];
        let used = fill(&mut datagram);
        if used > 0 {
            self.0.try_send(&datagram[..used]).unwrap();
        }
        true
    }
}

fn endpoint() -> Endpoint {
    let certificate = Certificate::generate().unwrap();
    let usual = Config::new(Role::Client, certificate, Vec::new(), Seed(crypto::seed()));
    Endpoint::new(Time::ZERO, Config { trust: Trust::Owner, ..usual }).unwrap()
}

/// What a client says first.
pub fn hello() -> Vec<u8> {
    let mut out = Batches::new(1 << 16);
    let path = Path::new(Transport::Dtls, loopback(), loopback());
    endpoint().poll_transmit(Time::ZERO, &mut Kept { path, out: &mut out });
    out.pop().expect("it says something").bytes.to_vec()
}

/// Keeps what is sent.
struct Kept<'a> {
    path: Path,
    out: &'a mut Batches,
}

impl Outbox<()> for Kept<'_> {
    fn room(&self) -> usize {
        self.out.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.out.send(self.path, max, fill)
    }
}

impl Tunnel {
    /// One whose handshake is over.
    pub async fn open(server: SocketAddr) -> Self {
        let mut tunnel = Self::start(UdpSocket::bind(loopback_of(server)).await.unwrap(), server).await;
        timeout(PATIENCE, async {
            while !tunnel.endpoint.is_connected() {
                tunnel.turn().await.unwrap()
            }
        })
        .await
        .expect("the handshake comes to an end");
        tunnel
    }

    /// One that has said nothing yet.
    pub async fn start(socket: UdpSocket, server: SocketAddr) -> Self {
        socket.connect(server).await.unwrap();
        socket.writable().await.unwrap();
        Self {
            socket,
            endpoint: endpoint(),
            start: Instant::now(),
            received: VecDeque::new(),
            shown: None,
            ended: None,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.endpoint.is_connected()
    }

    pub fn path(&self) -> Path {
        let (local, remote) = (self.socket.local_addr().unwrap(), self.socket.peer_addr().unwrap());
        Path::new(Transport::Dtls, local, remote)
    }

    pub fn send(&mut self, message: &[u8]) {
        assert!(self.endpoint.lane(&mut Wire(&self.socket)).send_bytes((), message));
    }

    pub async fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(message) = self.received.pop_front() {
                buffer[..message.len()].copy_from_slice(&message);
                return Ok(message.len());
            }
            if self.ended.is_some() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.turn().await?;
        }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Sends what is due, and takes in what comes next.
    pub async fn turn(&mut self) -> io::Result<()> {
        self.endpoint.poll_transmit(self.now(), &mut Wire(&self.socket));
        let due = self.endpoint.poll_timeout().map_or(Duration::from_secs(60), |at| at.since(self.now()));
        let mut buffer = vec![0; 1 << 16];
        match timeout(due, self.socket.recv(&mut buffer)).await {
            Ok(length) => {
                let (now, length) = (self.now(), length?);
                let received = &mut self.received;
                self.endpoint
                    .open(now, &mut buffer[..length], &mut |plain| received.push_back(plain.to_vec()));
            }
            Err(_) => self.endpoint.handle_timeout(self.now()),
        }
        self.endpoint.poll_transmit(self.now(), &mut Wire(&self.socket));
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected(connected) => self.shown = connected.peer_certificate,
                other => self.ended = Some(other),
            }
        }
        Ok(())
    }
}
