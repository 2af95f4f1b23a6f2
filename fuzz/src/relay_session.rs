//! A TURN server and users who know their passwords and nothing else: what they do is made of bytes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, SocketError, SocketOp, SocketReply, Ticket, Time, Transport};
use stun::credential::LongTerm;
use stun::{AttributeKind, Class, Message, MessageWriter, Method, TransactionId, kind};
use turn::{IcmpError, LookupId, PeerPolicy, ServerEvent, StreamNews, StreamOp};

use crate::relay_rules::{LISTEN, OTHER, Rules, SHARED_PORT, verdict};

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

const KINDS: [AttributeKind; 26] = [
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
    kind::ACCESS_TOKEN,
    kind::CHANGE_REQUEST,
    kind::RESPONSE_PORT,
    kind::PADDING,
    kind::FINGERPRINT,
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
    rules: Rules,
    policy: PeerPolicy,
    /// Users whom somebody else is asked about.
    asked: Vec<(LookupId, String)>,
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
    fn new(rules: Rules) -> Self {
        let server = turn::Server::new(rules.config()).expect("the settings are sound");
        let seat = |number: u8| {
            let transport = if matches!(number, 2 | 5..) { Transport::Tcp } else { Transport::Udp };
            let remote = SocketAddr::from(([5, 5, 9, number % 2], 4000 + u16::from(number)));
            Seat { path: Path::new(transport, LISTEN.into(), remote), long_term: rules.long_term(number) }
        };
        Self {
            server,
            rules,
            policy: rules.policy(),
            asked: Vec::new(),
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
                    SocketOp::Unbind { local } => {
                        assert!(self.sockets.remove(&local), "{local} is not bound")
                    }
                    SocketOp::Disconnect { path } => assert_ne!(path.transport, Transport::Udp),
                    other => panic!("{other:?}"),
                }
            }
            while let Some(op) = self.server.poll_stream() {
                self.serve_streams(op);
            }
            while let Some(event) = self.server.poll_event() {
                if let ServerEvent::UserAsked { id, username, .. } = event {
                    self.asked.push((id, username));
                }
            }
            if self.slow || self.binds.is_empty() && self.dialing.is_empty() && self.asked.is_empty() {
                break;
            }
            self.answer(true, &mut out);
        }
        self.server.poll_transmit(self.now, &mut out);
        while self.server.poll_stale().is_some() {}
        let listening = self.rules.listening();
        while let Some(batch) = out.pop() {
            let Path { local, remote, .. } = batch.path;
            if let Some(seat) = self.seats.iter_mut().find(|seat| seat.path == batch.path) {
                for answer in batch.datagrams() {
                    learn(seat, answer, &mut self.given);
                }
            } else if listening.contains(&local) {
                // The answer of another of our addresses, or to another port of who asked; or a word to the partner.
                let asked = self.seats.iter().any(|seat| seat.path.remote.ip() == remote.ip());
                assert!(
                    asked || remote == OTHER.into() || remote.ip() == SocketAddr::from(OTHER).ip(),
                    "{remote}"
                );
            } else {
                assert!(self.sockets.contains(&local), "{local} is no relay socket");
                assert!(
                    self.policy.check(remote.ip()).is_ok() && !listening.contains(&remote),
                    "{remote} is reached"
                );
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
                assert!(
                    self.sockets.remove(&local) && self.listening.remove(&local),
                    "{local} does not listen"
                );
            }
            StreamOp::Connect { path } => {
                let allowed = self.policy.check(path.remote.ip()).is_ok();
                assert!(allowed || self.listening.contains(&path.remote), "{path} is reached");
                assert!(self.listening.contains(&path.local) && path.remote != LISTEN.into(), "{path}");
                assert!(self.streams.insert(path), "{path} is connected twice");
                self.dialing.push(path);
            }
            StreamOp::Splice { peer, client, .. } => {
                assert!(
                    self.streams.contains(&peer) && !self.dialing.contains(&peer),
                    "{peer} is not connected"
                );
                assert!(
                    client.transport == Transport::Tcp && self.seats.iter().any(|seat| seat.path == client)
                );
            }
            StreamOp::Close { path } => {
                self.streams.remove(&path);
                self.dialing.retain(|dialed| *dialed != path);
            }
            StreamOp::Grant { .. } | StreamOp::Meter { .. } => {}
        }
    }

    /// What the server waits for comes about, or not.
    fn answer(&mut self, good: bool, out: &mut Batches) {
        for (id, username) in std::mem::take(&mut self.asked) {
            self.server.answer(self.now, id, verdict(&username, good), out);
        }
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

    /// The operator changes who may use it, whom they may reach, and how much they may take.
    fn reconfigure(&mut self, rules: Rules) {
        let (auth, policy, quotas) = (rules.auth(), rules.policy(), rules.quotas());
        // The name for access tokens is for life.
        if self.server.reconfigure(auth, policy.clone(), quotas).is_ok() {
            self.policy = policy;
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
        let class =
            if matches!(method, Method::SEND | Method::DATA) { Class::Indication } else { Class::Request };
        self.next_id += u32::from(head & 8 == 0);
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.next_id.to_be_bytes());
        let mut attributes = Vec::new();
        // Without them most requests end at once.
        match method {
            Method::ALLOCATE if head & 16 == 0 => {
                attributes.push((kind::REQUESTED_TRANSPORT, vec![transport, 0, 0, 0]))
            }
            Method::CONNECT if head & 16 == 0 => {
                attributes.push((kind::XOR_PEER_ADDRESS, vec![script.byte()]))
            }
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
                match method {
                    // With the access token, if he has one.
                    Method::ALLOCATE | Method::REFRESH => seat.long_term.present(&mut writer),
                    _ => seat.long_term.sign(&mut writer),
                }
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
        let Ok(_) = MessageWriter::new(&mut buffer, Class::Request, message.method(), id).finish() else {
            return;
        };
        let request = Message::parse(&buffer).expect("what we wrote parses");
        let _ = seat.long_term.handle_error(&request, &message);
    }
}

/// Whatever users do, the server stays within its rules, and in the end nothing of them is left.
pub(crate) fn relay_session(data: &[u8]) {
    let mut script = Script(data);
    let mut stage = Stage::new(Rules(script.byte()));
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
                let local = stage.sockets.iter().nth(at % 6).copied();
                let (from, bytes) = (peer(script.byte() % 3), script.bytes());
                // The network says that something did not arrive.
                if let (9, Some(local), &[icmp_type, icmp_code]) = (step & 15, local, &bytes[..]) {
                    let error = IcmpError { local, peer: from, icmp_type, icmp_code, mtu: 1280 };
                    let mut out = Batches::new(1 << 20);
                    stage.server.handle_icmp(stage.now, error, &mut out);
                    stage.judge(out);
                    continue;
                }
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
            12 => match script.byte() {
                0..128 => stage.slow = !stage.slow,
                255 => stage.server.drain(Some(OTHER.into())),
                other => stage.reconfigure(Rules(other << 1)),
            },
            13 => {
                let mut out = Batches::new(1 << 20);
                stage.answer(script.byte() % 2 == 0, &mut out);
                stage.judge(out);
            }
            14 => {
                // The fast path asks, and may be told of nothing but what is allowed.
                let number = turn::ChannelNumber::new(0x4000 + u16::from(script.byte() % 4));
                let client = stage.seats[at].path;
                let passages = [
                    number.map(|number| turn::Passage::Channel { client, number }),
                    Some(turn::Passage::Send { client, peer: peer(script.byte()) }),
                    stage
                        .sockets
                        .iter()
                        .next()
                        .map(|local| turn::Passage::Peer { local: *local, peer: peer(0) }),
                ];
                for passage in passages.into_iter().flatten() {
                    let Some(flow) = stage.server.flow(stage.now, passage) else { continue };
                    assert!(flow.until >= stage.now, "a flow that is over");
                    let ours = stage.seats.iter().any(|seat| seat.path == flow.to);
                    let allowed = stage.policy.check(flow.to.remote.ip()).is_ok();
                    assert!(ours || stage.sockets.contains(&flow.to.local) && allowed, "{flow:?}");
                    stage.server.carried(&flow, 1, 10);
                }
            }
            _ => stage.now += Duration::from_millis(u64::from(script.byte())),
        }
    }
    stage.slow = false;
    let mut out = Batches::new(1 << 20);
    stage.answer(true, &mut out);
    stage.judge(out);
    for _ in 0..3 {
        stage.wait(FOREVER);
    }
    assert!(stage.server.is_idle() && stage.server.allocations() == 0, "{:?}", stage.server);
    // The one that all share stays.
    stage.sockets.retain(|socket| !(stage.rules.shares_a_port() && socket.port() == SHARED_PORT));
    assert!(stage.sockets.is_empty(), "{:?} are open for ever", stage.sockets);
    assert!(stage.streams.is_empty(), "{:?} are connected for ever", stage.streams);
}
