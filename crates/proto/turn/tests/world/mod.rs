//! A server, its clients and their peers, with nothing between them but the test.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, Seed, SocketError, SocketOp, SocketReply, Time, Transport};
use sterna_turn::{
    Auth, Client, ClientConfig, ClientEvent, Credentials, LookupId, Opened, PeerPolicy, Server, ServerConfig,
    ServerEvent, StreamNews, StreamOp, Verdict,
};
use stun::credential::{Challenged, LongTerm};
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};

pub const SECRET: &str = "a secret of this test alone";
pub const REALM: &str = "example.org";
/// Unix time at the start of every test.
pub const START: u64 = 1_700_000_000;
pub const RELAY: &str = "192.0.2.15";
pub const RELAY_6: &str = "2001:db8::15";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Where clients find the server.
pub fn listening() -> SocketAddr {
    address("192.0.2.15:3478")
}

pub fn client_path(port: u16) -> Path {
    Path::udp(SocketAddr::from(([198, 51, 100, 2], port)), listening())
}

/// A username that is good for another hour, and its password.
pub fn credentials(user: &str) -> Credentials {
    let (username, password) = stun::credential::rest_credentials(SECRET, user, START + 3600).unwrap();
    Credentials { username, password }
}

pub fn server_config() -> ServerConfig {
    let mut config = ServerConfig::new(REALM, ip(RELAY), Auth::shared_secret(SECRET).unwrap(), Seed::from(1));
    config.relay_addresses.push(ip(RELAY_6).into());
    config.listening = vec![listening()];
    config.unix_time_at_start = Duration::from_secs(START);
    config
}

pub struct World {
    pub now: Time,
    pub server: Server,
    pub server_events: Vec<ServerEvent>,
    /// Relay sockets that are open.
    pub sockets: BTreeSet<SocketAddr>,
    /// What the server wants of the connections of peers, but to listen.
    pub streams: VecDeque<StreamOp>,
    /// How many of the next binds fail.
    pub failing_binds: usize,
    pub clients: Vec<Host>,
    /// What left relay sockets for the network: from, to, bytes.
    pub sent_to_peers: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// What the server sent to addresses that are no client's.
    pub answers: VecDeque<(Path, Vec<u8>)>,
    /// Whether the server is off: it takes nothing and says nothing.
    pub server_is_off: bool,
    /// Drops the packets of a client, in their order, for which it returns `true`.
    pub lose: Loss,
}

/// Decides about packets, one after another.
pub type Loss = Box<dyn FnMut(&[u8]) -> bool>;

pub struct Host {
    pub client: Client,
    pub path: Path,
    /// A path of another network, once it has one.
    pub other_path: Option<Path>,
    /// As what a NAT lets the server see its path, if there is one.
    pub outer_path: Option<Path>,
    pub events: Vec<ClientEvent>,
    /// What came from peers.
    pub inbox: Vec<(SocketAddr, Vec<u8>)>,
    /// Every packet that it sent.
    pub sent: Vec<Vec<u8>>,
    /// Every packet that came from the server.
    pub received: Vec<Vec<u8>>,
    pub opened: Vec<Opened>,
}

impl Host {
    fn has(&self, path: Path) -> bool {
        self.path == path || self.other_path == Some(path)
    }

    /// What the server sees of what leaves by `path`.
    fn seen(&self, path: Path) -> Path {
        self.outer_path.filter(|_| path == self.path).unwrap_or(path)
    }

    /// Whether what the server sends to `path` comes here.
    fn is_seen_as(&self, path: Path) -> bool {
        self.outer_path.map_or(self.path == path, |outer| outer == path) || self.other_path == Some(path)
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(server_config())
    }

    pub fn with(config: ServerConfig) -> Self {
        Self {
            now: Time::ZERO,
            server: Server::new(config).unwrap(),
            server_events: Vec::new(),
            sockets: BTreeSet::new(),
            streams: VecDeque::new(),
            failing_binds: 0,
            clients: Vec::new(),
            sent_to_peers: VecDeque::new(),
            answers: VecDeque::new(),
            server_is_off: false,
            lose: Box::new(|_| false),
        }
    }

    pub fn allowing(range: &str) -> Self {
        let mut config = server_config();
        config.policy = PeerPolicy::default().allow(range.parse().unwrap());
        Self::with(config)
    }

    /// A client of user `name` at port `port`, which asks for an allocation at the next [`World::settle`].
    pub fn add_client(&mut self, name: &str, port: u16) -> usize {
        self.add(ClientConfig::new(client_path(port), credentials(name), Seed::from(u64::from(port))))
    }

    pub fn add(&mut self, config: ClientConfig) -> usize {
        let path = config.server;
        self.clients.push(Host {
            client: Client::new(self.now, config),
            path,
            other_path: None,
            outer_path: None,
            events: Vec::new(),
            inbox: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            opened: Vec::new(),
        });
        self.clients.len() - 1
    }

    /// A client that has its allocation.
    pub fn allocated(&mut self, name: &str, port: u16) -> usize {
        let at = self.add_client(name, port);
        self.settle();
        assert!(
            matches!(self.clients[at].events[..], [ClientEvent::Allocated { .. }]),
            "{:?}",
            self.events(at)
        );
        self.clients[at].events.clear();
        at
    }

    /// The same, with permission and channel for `peer`.
    pub fn connected(&mut self, name: &str, port: u16, peer: SocketAddr) -> usize {
        let at = self.allocated(name, port);
        self.permit(at, peer);
        let events = std::mem::take(&mut self.clients[at].events);
        assert_eq!(events, [ClientEvent::PermissionGranted(peer), ClientEvent::ChannelBound(peer)]);
        at
    }

    pub fn permit(&mut self, at: usize, peer: SocketAddr) {
        let now = self.now;
        self.client(at).permit(now, peer);
        self.settle();
    }

    pub fn client(&mut self, at: usize) -> &mut Client {
        &mut self.clients[at].client
    }

    pub fn events(&self, at: usize) -> &[ClientEvent] {
        &self.clients[at].events
    }

    pub fn relayed(&self, at: usize) -> SocketAddr {
        self.clients[at].client.relayed().expect("it has an allocation")
    }

    /// Lets all packets go where they go, at this moment.
    pub fn settle(&mut self) {
        loop {
            let mut out = Batches::new(1 << 24);
            let mut moved = false;
            for host in &mut self.clients {
                host.client.poll_transmit(self.now, &mut out);
            }
            let packets = drain(&mut out);
            for (path, bytes) in packets {
                moved = true;
                let sender = self.clients.iter_mut().find(|host| host.has(path)).expect("a client's path");
                sender.sent.push(bytes.clone());
                let seen = sender.seen(path);
                if !(self.lose)(&bytes) {
                    self.hand_to_server(seen.reversed(), bytes);
                }
            }
            moved |= self.serve();
            for host in &mut self.clients {
                host.events.extend(std::iter::from_fn(|| host.client.poll_event()));
            }
            if !moved {
                return;
            }
        }
    }

    /// Hands one packet to the server; `path` as the server sees it.
    pub fn hand_to_server(&mut self, path: Path, mut bytes: Vec<u8>) {
        if self.server_is_off {
            return;
        }
        let mut out = Batches::new(1 << 24);
        self.server.handle_datagram(self.now, Datagram { from: path, payload: &mut bytes }, &mut out);
        self.deliver(&mut out);
        self.serve();
    }

    /// Tells the server who a user is.
    pub fn answer(&mut self, id: LookupId, verdict: Verdict) {
        let mut out = Batches::new(1 << 24);
        self.server.answer(self.now, id, verdict, &mut out);
        self.deliver(&mut out);
        self.serve();
    }

    /// Does for the server what it asks for. Returns whether there was anything.
    fn serve(&mut self) -> bool {
        if self.server_is_off {
            return false;
        }
        let mut moved = false;
        while let Some(op) = self.server.poll_socket() {
            moved = true;
            match op {
                SocketOp::Bind { ticket, local } if self.failing_binds > 0 => {
                    self.failing_binds -= 1;
                    assert!(!self.sockets.contains(&local));
                    self.server
                        .handle_socket(self.now, SocketReply::Failed { ticket, error: SocketError::InUse });
                }
                SocketOp::Bind { ticket, local } => {
                    assert!(self.sockets.insert(local), "{local} is bound twice");
                    self.server.handle_socket(self.now, SocketReply::Bound { ticket, local });
                }
                SocketOp::Unbind { local } => assert!(self.sockets.remove(&local), "{local} is not bound"),
                other => panic!("{other:?}"),
            }
        }
        while let Some(op) = self.server.poll_stream() {
            moved = true;
            match op {
                StreamOp::Listen { ticket, local } => {
                    assert!(self.sockets.insert(local), "{local} is bound twice");
                    self.server.handle_stream(self.now, StreamNews::Listening { ticket, local });
                }
                StreamOp::Unlisten { local } => assert!(self.sockets.remove(&local), "{local} is not bound"),
                op => self.streams.push_back(op),
            }
        }
        let mut out = Batches::new(1 << 24);
        self.server.poll_transmit(self.now, &mut out);
        moved |= !out.is_empty();
        self.deliver(&mut out);
        self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
        moved
    }

    fn deliver(&mut self, out: &mut Batches) {
        for (path, mut bytes) in drain(out) {
            if self.sockets.contains(&path.local) {
                self.sent_to_peers.push_back((path.local, path.remote, bytes));
            } else if let Some(host) = self.clients.iter_mut().find(|host| host.is_seen_as(path.reversed())) {
                host.received.push(bytes.clone());
                let inbox = &mut host.inbox;
                let opened = host
                    .client
                    .open(self.now, &mut bytes, &mut |peer, data| inbox.push((peer, data.to_vec())));
                host.opened.push(opened);
                host.events.extend(std::iter::from_fn(|| host.client.poll_event()));
            } else {
                self.answers.push_back((path, bytes));
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let timeouts = self.clients.iter().filter_map(|host| host.client.poll_timeout());
            let server = self.server.poll_timeout().filter(|_| !self.server_is_off);
            let next = timeouts.chain(server).min().filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            for host in &mut self.clients {
                host.client.handle_timeout(self.now);
                assert!(host.client.poll_timeout().is_none_or(|next| next > self.now), "time stands still");
            }
            if !self.server_is_off {
                self.server.handle_timeout(self.now);
                assert!(self.server.poll_timeout().is_none_or(|next| next > self.now), "time stands still");
            }
            if next.is_none() {
                return self.settle();
            }
        }
    }

    pub fn advance_secs(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// The client sends `data` to `peer`. `false` if there is no lane.
    pub fn send(&mut self, at: usize, peer: SocketAddr, data: &[u8]) -> bool {
        use sansio::Outbox as _;
        let mut out = Batches::new(1 << 24);
        let sent = match self.clients[at].client.lane(peer, &mut out) {
            Some(mut lane) => lane.send_bytes((), data),
            None => false,
        };
        for (path, bytes) in drain(&mut out) {
            self.clients[at].sent.push(bytes.clone());
            let seen = self.clients[at].seen(path);
            self.hand_to_server(seen.reversed(), bytes);
        }
        sent
    }

    /// A peer sends `data` to a relayed address.
    pub fn peer_sends(&mut self, peer: SocketAddr, relayed: SocketAddr, data: &[u8]) {
        self.hand_to_server(Path::udp(relayed, peer), data.to_vec());
    }

    /// A request or indication made by hand; the answer, if there is one.
    pub fn ask(&mut self, path: Path, bytes: &[u8]) -> Option<Vec<u8>> {
        self.answers.clear();
        self.hand_to_server(path.reversed(), bytes.to_vec());
        assert!(self.answers.len() <= 1, "one question, {} answers", self.answers.len());
        let (to, answer) = self.answers.pop_front()?;
        assert_eq!(to, path.reversed(), "the answer goes where the question came from");
        Some(answer)
    }
}

fn drain(out: &mut Batches) -> Vec<(Path, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some(batch) = out.pop() {
        packets.extend(batch.datagrams().map(|bytes| (batch.path, bytes.to_vec())));
    }
    packets
}

/// A client made by hand, for requests that ours would never send.
pub struct Raw {
    pub path: Path,
    pub long_term: LongTerm,
    next_id: u8,
}

impl Raw {
    pub fn new(path: Path, Credentials { username, password }: Credentials) -> Self {
        Self { path, long_term: LongTerm::new(username, password), next_id: 1 }
    }

    /// With a challenge answered, so that what follows is signed.
    pub fn challenged(world: &mut World, path: Path, credentials: Credentials) -> Self {
        let mut raw = Self::new(path, credentials);
        let request = raw.write(Method::ALLOCATE, &allocate);
        let answer = world.ask(path, &request).expect("a challenge");
        assert_eq!(raw.learn(&request, &answer), Challenged::Retry);
        raw
    }

    /// With an allocation.
    pub fn allocated(world: &mut World, path: Path, credentials: Credentials) -> Self {
        let mut raw = Self::challenged(world, path, credentials);
        assert_eq!(raw.ask(world, Method::ALLOCATE, &allocate), Ok(()));
        raw
    }

    pub fn learn(&mut self, request: &[u8], answer: &[u8]) -> Challenged {
        self.long_term.handle_error(&Message::parse(request).unwrap(), &Message::parse(answer).unwrap())
    }

    /// A request with the attributes that `attributes` writes, signed once challenged.
    pub fn write(&mut self, method: Method, attributes: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let id = TransactionId([self.next_id; 12]);
        self.next_id += 1;
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, id);
        attributes(&mut writer);
        self.long_term.sign(&mut writer);
        let length = writer.finish().unwrap();
        buffer.truncate(length);
        buffer
    }

    /// Asks, and returns the error code if it is refused.
    pub fn ask(
        &mut self,
        world: &mut World,
        method: Method,
        attributes: &dyn Fn(&mut MessageWriter<'_>),
    ) -> Result<(), u16> {
        let request = self.write(method, attributes);
        let answer = world.ask(self.path, &request).expect("an answer");
        outcome(&answer)
    }

    pub fn permit(&mut self, world: &mut World, peer: SocketAddr) -> Result<(), u16> {
        self.ask(world, Method::CREATE_PERMISSION, &|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
        })
    }

    pub fn bind(&mut self, world: &mut World, number: u16, peer: SocketAddr) -> Result<(), u16> {
        self.ask(world, Method::CHANNEL_BIND, &|writer| {
            writer
                .u32(kind::CHANNEL_NUMBER, u32::from(number) << 16)
                .xor_address(kind::XOR_PEER_ADDRESS, peer);
        })
    }
}

/// The attributes of a plain Allocate request.
pub fn allocate(writer: &mut MessageWriter<'_>) {
    writer.raw(kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

/// The same, with another attribute.
pub fn allocate_and(writer: &mut MessageWriter<'_>, kind: stun::AttributeKind, value: &[u8]) {
    allocate(writer);
    writer.raw(kind, value);
}

/// The relayed addresses in an answer.
pub fn relayed_in(answer: &[u8]) -> Vec<SocketAddr> {
    let message = Message::parse(answer).unwrap();
    message.xor_addresses(kind::XOR_RELAYED_ADDRESS).map(Option::unwrap).collect()
}

/// `Ok` for a success response, otherwise the error code.
pub fn outcome(answer: &[u8]) -> Result<(), u16> {
    let message = Message::parse(answer).unwrap();
    match message.class() {
        Class::Success => Ok(()),
        Class::Error => Err(message.error_code().expect("an error has a code").code),
        other => panic!("an answer of class {other:?}"),
    }
}

/// A Send indication.
pub fn send_indication(attributes: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
    attributes(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// A path like [`client_path`] over a stream.
pub fn stream_path(port: u16, transport: Transport) -> Path {
    Path { transport, ..client_path(port) }
}
