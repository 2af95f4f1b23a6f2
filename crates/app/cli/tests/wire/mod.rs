//! A TURN client over one UDP socket.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sansio::{Batches, Outbox, Path, Seed, Time};
use serde_json::Value;
use turn::{Client, ClientConfig, ClientEvent, Credentials};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Wire {
    socket: UdpSocket,
    client: Client,
    start: Instant,
    pub(crate) heard: Vec<Vec<u8>>,
}

/// Username and password in `iceServers`.
pub(crate) fn login(ice_servers: &Value) -> (String, String) {
    let turn = &ice_servers[1];
    (turn["username"].as_str().unwrap().to_owned(), turn["credential"].as_str().unwrap().to_owned())
}

impl Wire {
    /// A client that asks for an allocation.
    pub(crate) fn new(server: SocketAddr, (username, password): (String, String)) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = Path::udp(socket.local_addr().unwrap(), server);
        let config = ClientConfig::new(path, Credentials { username, password }, Seed(crypto::seed()));
        Self { socket, client: Client::new(Time::ZERO, config), start: Instant::now(), heard: Vec::new() }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn flush(&self, mut out: Batches) {
        while let Some(batch) = out.pop() {
            batch.datagrams().for_each(|datagram| {
                self.socket.send_to(datagram, batch.path.remote).unwrap();
            });
        }
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> ClientEvent {
        self.until(|wire| wire.client.poll_event())
    }

    /// Goes on until there is what is waited for.
    pub(crate) fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        loop {
            let mut out = Batches::new(1 << 16);
            let now = self.now();
            self.client.handle_timeout(now);
            self.client.poll_transmit(now, &mut out);
            self.flush(out);
            if let Some(result) = done(self) {
                return result;
            }
            assert!(Instant::now() < end, "it does not come");
            self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            if let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
                let (now, heard) = (self.now(), &mut self.heard);
                self.client.open(now, &mut buffer[..length], &mut |_, data| heard.push(data.to_vec()));
            }
        }
    }

    /// The relayed address.
    pub(crate) fn allocated(&mut self) -> SocketAddr {
        match self.event() {
            ClientEvent::Allocated { relayed, .. } => relayed,
            other => panic!("{other:?}"),
        }
    }

    /// Sends to a peer through the relay, and waits for its answer: a peer that answers what it gets.
    pub(crate) fn echo(&mut self, text: &str) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        peer.set_nonblocking(true).unwrap();
        let now = self.now();
        self.client.permit(now, address);
        self.heard.clear();
        let mut sent = Instant::now() - PATIENCE;
        self.until(|wire| {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = peer.recv_from(&mut buffer) {
                peer.send_to(&buffer[..length], from).unwrap();
            }
            if sent.elapsed() > Duration::from_millis(200) {
                let mut out = Batches::new(1 << 16);
                if let Some(mut lane) = wire.client.lane(address, &mut out) {
                    sent = Instant::now();
                    lane.send((), 1200, &mut |room| {
                        room[..text.len()].copy_from_slice(text.as_bytes());
                        text.len()
                    });
                }
                wire.flush(out);
            }
            wire.heard.iter().any(|heard| heard == text.as_bytes()).then_some(())
        });
    }

    /// Sends numbered datagrams to a peer that answers each, for as long as `go_on` says of a number. None is sent
    /// twice. How many there were, and which answers came, in order.
    pub(crate) fn count(&mut self, mut go_on: impl FnMut(u32) -> bool) -> (u32, Vec<u32>) {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        peer.set_nonblocking(true).unwrap();
        self.client.permit(self.now(), address);
        self.until(|wire| {
            matches!(wire.client.poll_event(), Some(ClientEvent::PermissionGranted(_))).then_some(())
        });
        self.heard.clear();
        let (mut sent, mut last) = (0u32, None);
        self.until(|wire| {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = peer.recv_from(&mut buffer) {
                peer.send_to(&buffer[..length], from).unwrap();
            }
            let all = wire.heard.len() == sent as usize;
            match last {
                None => {
                    let mut out = Batches::new(1 << 16);
                    let mut lane = wire.client.lane(address, &mut out).expect("it is permitted");
                    lane.send((), 100, &mut |room| {
                        room[..100].fill(0);
                        room[..4].copy_from_slice(&sent.to_be_bytes());
                        100
                    });
                    wire.flush(out);
                    if !go_on(sent) {
                        last = Some(Instant::now());
                    }
                    sent += 1;
                    None
                }
                // What comes twice comes late.
                Some(last) => (last.elapsed() > Duration::from_secs(if all { 1 } else { 3 })).then_some(()),
            }
        });
        let number = |heard: &Vec<u8>| u32::from_be_bytes(*heard.first_chunk().unwrap());
        let mut heard: Vec<u32> = self.heard.iter().map(number).collect();
        heard.sort_unstable();
        (sent, heard)
    }

    /// Gives the allocation back.
    pub(crate) fn close(&mut self) {
        let now = self.now();
        self.client.close(now);
        self.until(|wire| matches!(wire.client.poll_event(), Some(ClientEvent::Closed)).then_some(()));
    }
}
