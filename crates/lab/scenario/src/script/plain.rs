use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, SocketOp, SocketReply, Ticket, Time, Transport};
use stun::client;

/// A program as simple as many a game: one UDP socket, a question to a STUN server, and messages in the clear. Or, over
/// TCP, a port at which it listens.
pub(crate) struct Plain {
    pub(crate) local: SocketAddr,
    /// Over TCP: the streams to others, opened by either side.
    streams: Option<BTreeMap<SocketAddr, Stream>>,
    to_ask: VecDeque<SocketOp>,
    /// What a STUN server said last.
    pub(crate) mapped: Option<SocketAddr>,
    /// What came: from where, and what it says.
    pub(crate) inbox: Vec<(SocketAddr, String)>,
    rng: Rng,
    client: Option<client::Client>,
    outgoing: VecDeque<(Path, Vec<u8>)>,
}

/// A stream to somebody.
enum Stream {
    /// It is being opened; what is to be said then.
    Opening(Ticket, Vec<String>),
    Open(Path),
}

impl Plain {
    pub(crate) fn new(local: SocketAddr, tcp: bool, seed: Seed) -> Self {
        Self {
            local,
            streams: tcp.then(BTreeMap::new),
            to_ask: VecDeque::new(),
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
        let Some(streams) = &mut self.streams else { return self.say(Path::udp(self.local, to), text) };
        match streams.get_mut(&to) {
            Some(Stream::Open(path)) => {
                let path = *path;
                self.say(path, text);
            }
            Some(Stream::Opening(_, unsaid)) => unsaid.push(text.to_owned()),
            None => {
                let ticket = Ticket(self.rng.next_u64());
                streams.insert(to, Stream::Opening(ticket, vec![text.to_owned()]));
                let (transport, server_name) = (Transport::Tcp, String::new());
                self.to_ask.push_back(SocketOp::Connect {
                    ticket,
                    transport,
                    local: None,
                    remote: to,
                    server_name,
                });
            }
        }
    }

    fn say(&mut self, path: Path, text: &str) {
        self.outgoing.push_back((path, text.as_bytes().to_vec()));
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
        if let Some(streams) = &mut self.streams {
            streams.insert(from.remote, Stream::Open(from));
        }
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

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.to_ask.pop_front()
    }

    fn handle_socket(&mut self, _: Time, reply: SocketReply) {
        let Some(streams) = &mut self.streams else { return };
        match reply {
            SocketReply::Connected { path, .. } => {
                if let Some(Stream::Opening(_, unsaid)) = streams.insert(path.remote, Stream::Open(path)) {
                    unsaid.iter().for_each(|text| self.say(path, text));
                }
            }
            SocketReply::Failed { ticket, .. } => {
                streams.retain(|_, stream| !matches!(stream, Stream::Opening(it, _) if *it == ticket));
            }
            SocketReply::Disconnected { path, .. } => {
                streams.remove(&path.remote);
            }
            SocketReply::Bound { .. } | SocketReply::Resolved { .. } | SocketReply::Located { .. } => {}
        }
    }
}
