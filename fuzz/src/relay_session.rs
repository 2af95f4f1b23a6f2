//! A TURN server and users who know their passwords and nothing else: what they do is made of bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{
    Batches, Datagram, Machine, Path, Seed, SocketError, SocketOp, SocketReply, Ticket, Time, Transport,
};
use stun::credential::LongTerm;
use stun::{AttributeKind, Class, Message, MessageWriter, Method, TransactionId, kind};
use turn::{StreamNews, StreamOp};

const SECRET: &str = "b7c1e0b1b7a94bd29ab1";
const START: u64 = 1_700_000_000;
const LISTEN: ([u8; 4], u16) = ([5, 5, 5, 5], 3478);
/// Longer than anything that nobody keeps up.
const FOREVER: Duration = Duration::from_secs(4 * 3600);
/// Steps of one run; more tell nothing new.
const MAX_STEPS: usize = 400;

/// From the eighth on, of TCP allocations.
const METHODS: [Method; 16] = [
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::BINDING,
    Method::SEND,
    Method::DATA,
    Method::ALLOCATE,
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CONNECT,
    Method::CONNECT,
    Method::CONNECTION_BIND,
    Method::CONNECTION_BIND,
    Method::ALLOCATE,
];

const KINDS: [AttributeKind; 21] = [
    kind::REQUESTED_TRANSPORT,
    kind::LIFETIME,
    kind::XOR_PEER_ADDRESS,
    kind::CHANNEL_NUMBER,
    kind::DATA,
    kind::REQUESTED_ADDRESS_FAMILY,
    kind::ADDITIONAL_ADDRESS_FAMILY,
    kind::EVEN_PORT,
    kind::RESERVATION_TOKEN,
    kind::MOBILITY_TICKET,
    kind::DONT_FRAGMENT,
    kind::ICMP,
    kind::USERNAME,
    kind::REALM,
    kind::NONCE,
    kind::USERHASH,
    kind::PASSWORD_ALGORITHM,
    kind::MESSAGE_INTEGRITY,
    kind::XOR_RELAYED_ADDRESS,
    kind::SOFTWARE,
    kind::CONNECTION_ID,
];

/// Addresses that users name, the first two of which they may reach.
fn peer(number: u8) -> SocketAddr {
    const PEERS: [&str; 12] = [
        "6.6.6.6:4000",
        "[2606::6]:4000",
        "6.6.6.6:4001",
        "127.0.0.1:80",
        "10.0.0.1:4000",
        "169.254.169.254:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[fd00::1]:4000",
        "5.5.5.5:3478",
        "0.0.0.0:9",
        "[64:ff9b::7f00:1]:80",
    ];
    PEERS[usize::from(number) % PEERS.len()].parse().expect("it is an address")
}

/// What is left of the bytes.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// As many bytes as the next one says, or are left.
    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }
}

/// A user on one of his ports or streams.
struct Seat {
    path: Path,
    long_term: LongTerm,
}

/// What the server gave to anybody last, to be shown wherever anybody likes.
#[derive(Default)]
struct Given {
    ticket: Vec<u8>,
    token: Vec<u8>,
    connection: Vec<u8>,
}

struct Stage {
    server: turn::Server,
    now: Time,
    seats: Vec<Seat>,
    sockets: BTreeSet<SocketAddr>,
    /// Those of them where peers connect.
    listening: BTreeSet<SocketAddr>,
    /// Connections with peers, and those that are not there yet.
    streams: BTreeSet<Path>,
    dialing: Vec<Path>,
    /// Binds that wait for an answer, if they are to wait.
    binds: Vec<(Ticket, SocketAddr)>,
    slow: bool,
    given: Given,
    next_id: u32,
}

impl Stage {
    fn new() -> Self {
        let listen: SocketAddr = LISTEN.into();
        let auth = turn::Auth::shared_secret(SECRET).expect("the secret is long enough");
        let mut config = turn::ServerConfig::new("fuzz", listen.ip(), auth, Seed::from(1));
        config.relay_addresses.push("2a05::5".parse::<std::net::IpAddr>().expect("it is an address").into());
        config.listening = vec![listen];
        config.tcp_relay = true;
        config.unix_time_at_start = Duration::from_secs(START);
        // Few ports, so that they run out.
        config.ports = 50_000..=50_005;
        let server = turn::Server::new(config).expect("the settings are sound");
        let seat = |number: u8| {
            let transport = if matches!(number, 2 | 5..) { Transport::Tcp } else { Transport::Udp };
            let remote = SocketAddr::from(([5, 5, 9, number % 2], 4000 + u16::from(number)));
            let name = ["alice", "bob"][usize::from(number % 2)];
            // One of them is over after a while.
            let expires = START + [600, 100_000][usize::from(number % 2)];
            let (username, password) =
                stun::credential::rest_credentials(SECRET, name, expires).expect("the secret is long enough");
            let long_term = LongTerm::new(username, password);
            Seat { path: Path::new(transport, listen, remote), long_term }
        };
        Self {
            server,
            now: Time::ZERO,
            seats: (0..8).map(seat).collect(),
            sockets: BTreeSet::new(),
            listening: BTreeSet::new(),
            streams: BTreeSet::new(),
            dialing: Vec::new(),
            binds: Vec::new(),
            slow: false,
            given: Given::default(),
            next_id: 0,
        }
    }

    /// Hands the server a datagram, and judges what it does.
    fn hear(&mut self, from: Path, mut payload: Vec<u8>) {
        let mut out = Batches::new(1 << 20);
        self.server.handle_datagram(self.now, Datagram { from, payload: &mut payload }, &mut out);
        self.judge(out);
    }

    /// Sockets are opened once and closed once, nothing leaves from where none is, and nobody is reached who must not be.
    fn judge(&mut self, mut out: Batches) {
        loop {
            while let Some(op) = self.server.poll_socket() {
                match op {
                    SocketOp::Bind { ticket, local } => {
                        assert!(!self.sockets.contains(&local), "{local} is bound twice");
                        self.sockets.insert(local);
                        self.binds.push((ticket, local));
                    }
                    SocketOp::Unbind { local } => assert!(self.sockets.remove(&local), "{local} is not bound"),
                    SocketOp::Disconnect { path } => assert_ne!(path.transport, Transport::Udp),
                    other => panic!("{other:?}"),
                }
            }
            while let Some(op) = self.server.poll_stream() {
                self.serve_streams(op);
            }
            if self.slow || self.binds.is_empty() && self.dialing.is_empty() {
                break;
            }
            self.answer(true);
        }
        self.server.poll_transmit(self.now, &mut out);
        while self.server.poll_event().is_some() {}
        while self.server.poll_stale().is_some() {}
        let policy = turn::PeerPolicy::default();
        while let Some(batch) = out.pop() {
            let Path { local, remote, .. } = batch.path;
            if let Some(seat) = self.seats.iter_mut().find(|seat| seat.path == batch.path) {
                for answer in batch.datagrams() {
                    learn(seat, answer, &mut self.given);
                }
            } else if local != LISTEN.into() {
                assert!(self.sockets.contains(&local), "{local} is no relay socket");
                assert!(policy.check(remote.ip()).is_ok() && remote != LISTEN.into(), "{remote} is reached");
            }
        }
    }

    /// Connections are made from where somebody listens, to who may be reached, and joined with a client's.
    fn serve_streams(&mut self, op: StreamOp) {
        match op {
            StreamOp::Listen { ticket, local } => {
                assert!(self.sockets.insert(local), "{local} is bound twice");
                self.listening.insert(local);
                self.binds.push((ticket, local));
            }
            StreamOp::Unlisten { local } => {
                assert!(self.sockets.remove(&local) && self.listening.remove(&local), "{local} does not listen");
            }
            StreamOp::Connect { path } => {
                let allowed = turn::PeerPolicy::default().check(path.remote.ip()).is_ok();
                assert!(allowed || self.listening.contains(&path.remote), "{path} is reached");
                assert!(self.listening.contains(&path.local) && path.remote != LISTEN.into(), "{path}");
                assert!(self.streams.insert(path), "{path} is connected twice");
                self.dialing.push(path);
            }
            StreamOp::Splice { peer, client, .. } => {
                assert!(self.streams.contains(&peer) && !self.dialing.contains(&peer), "{peer} is not connected");
                assert!(client.transport == Transport::Tcp && self.seats.iter().any(|seat| seat.path == client));
            }
            StreamOp::Close { path } => {
                self.streams.remove(&path);
                self.dialing.retain(|dialed| *dialed != path);
            }
        }
    }

    /// What the server waits for comes about, or not.
    fn answer(&mut self, good: bool) {
        for (ticket, local) in std::mem::take(&mut self.binds) {
            if !good {
                self.sockets.remove(&local);
            }
            match (self.listening.contains(&local), good) {
                (false, true) => self.server.handle_socket(self.now, SocketReply::Bound { ticket, local }),
                (false, false) => {
                    let error = SocketError::InUse;
                    self.server.handle_socket(self.now, SocketReply::Failed { ticket, error });
                }
                (true, true) => self.server.handle_stream(self.now, StreamNews::Listening { ticket, local }),
                (true, false) => {
                    self.listening.remove(&local);
                    self.server.handle_stream(self.now, StreamNews::NotListening { ticket });
                }
            }
        }
        for path in std::mem::take(&mut self.dialing) {
            if good {
                self.server.handle_stream(self.now, StreamNews::Connected { path });
            } else {
                self.ended(path);
            }
        }
    }

    fn ended(&mut self, path: Path) {
        self.streams.remove(&path);
        self.server.handle_stream(self.now, StreamNews::Ended { path });
    }

    /// A peer connects to a relayed address; and if he has already, he hangs up.
    fn peer_connects(&mut self, local: SocketAddr, from: SocketAddr) {
        let path = Path::new(Transport::Tcp, local, from);
        if self.dialing.contains(&path) {
            return;
        }
        if self.streams.insert(path) {
            self.server.handle_stream(self.now, StreamNews::Accepted { path });
        } else {
            let (to_peer, to_client) = (1000, 2000);
            self.server.handle_stream(self.now, StreamNews::Carried { path, to_peer, to_client });
            self.ended(path);
        }
        self.judge(Batches::new(1 << 20));
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.server.handle_timeout(self.now);
        assert!(self.server.poll_timeout().is_none_or(|at| at > self.now), "time stands still");
        self.judge(Batches::new(1 << 20));
    }

    /// A message with any attributes, signed or not.
    fn say(&mut self, script: &mut Script<'_>, at: usize) {
        let head = script.byte();
        let method = METHODS[usize::from(head & 7 | head >> 7 << 3)];
        let transport = if head & 128 == 0 { 17 } else { 6 };
        let class = if matches!(method, Method::SEND | Method::DATA) { Class::Indication } else { Class::Request };
        self.next_id += u32::from(head & 8 == 0);
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.next_id.to_be_bytes());
        let mut attributes = Vec::new();
        // Without them most requests end at once.
        match method {
            Method::ALLOCATE if head & 16 == 0 => attributes.push((kind::REQUESTED_TRANSPORT, vec![transport, 0, 0, 0])),
            Method::CONNECT if head & 16 == 0 => attributes.push((kind::XOR_PEER_ADDRESS, vec![script.byte()])),
            Method::CONNECTION_BIND if head & 16 == 0 => {
                attributes.push((kind::CONNECTION_ID, self.given.connection.clone()));
            }
            _ => {}
        }
        for _ in 0..script.byte() % 6 {
            let which = KINDS[usize::from(script.byte()) % KINDS.len()];
            let value = match which {
                kind::XOR_PEER_ADDRESS | kind::XOR_RELAYED_ADDRESS => vec![script.byte()],
                kind::CHANNEL_NUMBER => vec![0x40 + script.byte() % 0x12, script.byte() % 4, 0, 0],
                kind::MOBILITY_TICKET if head & 32 == 0 => self.given.ticket.clone(),
                kind::RESERVATION_TOKEN if head & 32 == 0 => self.given.token.clone(),
                kind::EVEN_PORT if head & 32 == 0 => vec![script.byte() & 0x80],
                kind::ADDITIONAL_ADDRESS_FAMILY | kind::REQUESTED_ADDRESS_FAMILY if head & 32 == 0 => {
                    vec![1 + script.byte() % 2, 0, 0, 0]
                }
                _ => script.bytes(),
            };
            attributes.push((which, value));
        }
        // The first challenge costs a round trip that no script need spell out.
        for _ in 0..2 {
            let seat = &self.seats[at];
            let mut buffer = vec![0; 4096];
            let mut writer = MessageWriter::new(&mut buffer, class, method, TransactionId(id));
            for (which, value) in &attributes {
                match *which {
                    kind::XOR_PEER_ADDRESS | kind::XOR_RELAYED_ADDRESS => {
                        let number = value.first().copied().unwrap_or_default();
                        let of_ours = || self.sockets.iter().nth(usize::from(number >> 4)).copied();
                        let address = of_ours().filter(|_| number & 15 == 15).unwrap_or_else(|| peer(number));
                        writer.xor_address(*which, address);
                    }
                    which => _ = writer.raw(which, value),
                }
            }
            if class == Class::Request && head & 64 == 0 {
                seat.long_term.sign(&mut writer);
            }
            let Ok(length) = writer.finish() else { return };
            buffer.truncate(length);
            let known = seat.long_term.realm().is_some();
            let path = seat.path;
            self.hear(path, buffer);
            if known || self.seats[at].long_term.realm().is_none() {
                return;
            }
        }
    }
}

/// Takes what an answer gives: the next nonce, a ticket, a token, a connection's number.
fn learn(seat: &mut Seat, answer: &[u8], given: &mut Given) {
    let Ok(message) = Message::parse(answer) else { return };
    if let Some(ticket) = message.raw(kind::MOBILITY_TICKET) {
        given.ticket = ticket.to_vec();
    }
    if let Some(token) = message.raw(kind::RESERVATION_TOKEN) {
        given.token = token.to_vec();
    }
    if let Some(connection) = message.raw(kind::CONNECTION_ID) {
        given.connection = connection.to_vec();
    }
    if message.class() == Class::Error {
        // As if it were the answer to a request without a signature: any challenge is taken.
        let mut buffer = [0; 20];
        let id = message.transaction_id();
        let Ok(_) = MessageWriter::new(&mut buffer, Class::Request, message.method(), id).finish() else { return };
        let request = Message::parse(&buffer).expect("what we wrote parses");
        let _ = seat.long_term.handle_error(&request, &message);
    }
}

/// Whatever users do, the server stays within its rules, and in the end nothing of them is left.
pub(crate) fn relay_session(data: &[u8]) {
    let (mut stage, mut script) = (Stage::new(), Script(data));
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        let step = script.byte();
        let at = usize::from(step >> 4) % stage.seats.len();
        match step & 15 {
            0..=5 => stage.say(&mut script, at),
            6 => {
                let number = 0x4000u16 + u16::from(script.byte() % 4);
                let data = script.bytes();
                let bytes = [&number.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), &data].concat();
                stage.hear(stage.seats[at].path, bytes);
            }
            7 => {
                let bytes = script.bytes();
                stage.hear(stage.seats[at].path, bytes);
            }
            8 | 9 => {
                let local = stage.sockets.iter().nth(at).copied();
                let (from, bytes) = (peer(script.byte() % 3), script.bytes());
                match local.filter(|local| local.is_ipv4() == from.is_ipv4()) {
                    Some(local) if stage.listening.contains(&local) => stage.peer_connects(local, from),
                    Some(local) => stage.hear(Path::udp(local, from), bytes),
                    None => {}
                }
            }
            10 => {
                let seconds = u64::from(script.byte());
                stage.wait(Duration::from_secs(seconds * seconds / 16));
            }
            11 => {
                let path = stage.seats[at].path;
                if path.transport != Transport::Udp {
                    let error = SocketError::Closed;
                    stage.server.handle_socket(stage.now, SocketReply::Disconnected { path, error });
                    stage.judge(Batches::new(1 << 20));
                }
            }
            12 => stage.slow = !stage.slow,
            13 => {
                stage.answer(script.byte() % 2 == 0);
                stage.judge(Batches::new(1 << 20));
            }
            14 => {
                // The fast path asks, and may be told of nothing but what is allowed.
                let number = turn::ChannelNumber::new(0x4000 + u16::from(script.byte() % 4));
                let client = stage.seats[at].path;
                let passages = [
                    number.map(|number| turn::Passage::Channel { client, number }),
                    Some(turn::Passage::Send { client, peer: peer(script.byte()) }),
                    stage.sockets.iter().next().map(|local| turn::Passage::Peer { local: *local, peer: peer(0) }),
                ];
                for passage in passages.into_iter().flatten() {
                    let Some(flow) = stage.server.flow(stage.now, passage) else { continue };
                    assert!(flow.until >= stage.now, "a flow that is over");
                    let ours = stage.seats.iter().any(|seat| seat.path == flow.to);
                    let allowed = turn::PeerPolicy::default().check(flow.to.remote.ip()).is_ok();
                    assert!(ours || stage.sockets.contains(&flow.to.local) && allowed, "{flow:?}");
                    stage.server.carried(&flow, 1, 10);
                }
            }
            _ => stage.now += Duration::from_millis(u64::from(script.byte())),
        }
    }
    stage.slow = false;
    stage.answer(true);
    stage.judge(Batches::new(1 << 20));
    for _ in 0..3 {
        stage.wait(FOREVER);
    }
    assert!(stage.server.is_idle() && stage.server.allocations() == 0, "{:?}", stage.server);
    assert!(stage.sockets.is_empty(), "{:?} are open for ever", stage.sockets);
    assert!(stage.streams.is_empty(), "{:?} are connected for ever", stage.streams);
}
