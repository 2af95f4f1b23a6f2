use std::collections::VecDeque;
use std::net::SocketAddr;

use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, Time};
use stun::client;

/// A program as simple as many a game: one UDP socket, a question to a STUN server, and messages in the clear.
pub(crate) struct Plain {
    pub(crate) local: SocketAddr,
    /// What a STUN server said last.
    pub(crate) mapped: Option<SocketAddr>,
    /// What came: from where, and what it says.
    pub(crate) inbox: Vec<(SocketAddr, String)>,
    rng: Rng,
    client: Option<client::Client>,
    outgoing: VecDeque<(Path, Vec<u8>)>,
}

impl Plain {
    pub(crate) fn new(local: SocketAddr, seed: Seed) -> Self {
        Self {
            local,
            mapped: None,
            inbox: Vec::new(),
            rng: Rng::new(seed),
            client: None,
            outgoing: VecDeque::new(),
        }
    }

    /// Asks a STUN server for the address that this socket has there.
    pub(crate) fn ask(&mut self, now: Time, server: SocketAddr) {
        let config = client::Config::new(Path::udp(self.local, server), self.rng.fork());
        self.client = Some(client::Client::new(now, config));
    }

    pub(crate) fn send(&mut self, to: SocketAddr, text: &str) {
        self.outgoing.push_back((Path::udp(self.local, to), text.as_bytes().to_vec()));
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.as_mut().and_then(Machine::poll_event) {
            if let client::Event::Mapped(mapped) = event {
                self.mapped = Some(mapped.address);
            }
        }
    }
}

impl Machine for Plain {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let from = datagram.from;
        if stun::Message::parse(datagram.payload).is_ok() {
            if let Some(client) = &mut self.client {
                client.handle_datagram(now, datagram, out);
                self.drain();
            }
            return;
        }
        let text = String::from_utf8_lossy(datagram.payload).into_owned();
        self.inbox.push((from.remote, text));
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
            self.drain();
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        if let Some(client) = &mut self.client {
            client.poll_transmit(now, out);
        }
        while let Some((path, bytes)) = self.outgoing.front() {
            if !out.send_bytes(*path, bytes) {
                return;
            }
            self.outgoing.pop_front();
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.client.as_ref().and_then(Machine::poll_timeout)
    }
}
