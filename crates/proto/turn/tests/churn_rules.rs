//! A day of what [`churn.rs`](churn.rs) has not: TCP allocations and their connections, access tokens, users whom somebody
//! else knows, one port for all. Whoever comes, by whatever means, leaves nothing behind, most of them without a word.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Machine as _, Path, Rng, Seed, SocketError, SocketReply, Transport};
use sterna_turn::{
    ChannelNumber, Credentials, IcmpError, LookupRules, Passage, ServerConfig, ServerEvent, StreamNews,
    StreamOp, ThirdParty, User, Verdict,
};
use stun::credential::{AccessToken, SessionKey, TokenKey};
use stun::{Message, MessageWriter, Method, kind};
use world::{Raw, START, World, client_path, server_config, stream_path};

const DAY: Duration = Duration::from_secs(24 * 3600);
const NAME: &str = "turn.example.org";
/// Visitors at a time.
const PLACES: usize = 12;

fn key() -> TokenKey {
    TokenKey::new("north", [9; 32])
}

fn config(shared: bool) -> ServerConfig {
    let mut config = server_config();
    config.auth.lookup = Some(LookupRules { ttl: Duration::from_secs(100), ..LookupRules::default() });
    config.auth.third_party = Some(ThirdParty { server_name: NAME.into(), keys: vec![key()] });
    config.tcp_relay = !shared;
    config.shared_port = shared.then_some(50_000);
    config
}

#[derive(Debug, Default)]
struct Visits {
    streams: usize,
    datagrams: usize,
    connected: usize,
    joined: usize,
    asked: usize,
    tokens: usize,
    flows: usize,
}

struct Day {
    world: World,
    rng: Rng,
    visitors: Vec<Option<Raw>>,
    /// Connections with peers, and the number of the last that was told.
    connections: Vec<Path>,
    last: u32,
    port: u16,
    visits: Visits,
}

impl Day {
    fn new(shared: bool) -> Self {
        Self {
            world: World::with(config(shared)),
            rng: Rng::new(Seed::from(24)),
            visitors: (0..PLACES).map(|_| None).collect(),
            connections: Vec::new(),
            last: 0,
            port: 1000,
            visits: Visits::default(),
        }
    }

    fn peer(&mut self) -> SocketAddr {
        ([203, 0, 113, 1 + self.rng.below(5) as u8], 4000 + self.rng.below(3) as u16).into()
    }

    /// Asks, does what the server wants done, and tells whether it was a success.
    fn ask(&mut self, raw: &mut Raw, method: Method, write: &dyn Fn(&mut MessageWriter<'_>)) -> bool {
        let request = raw.write(method, write);
        let answers = self.world.ask(raw.path, &request).into_iter().chain(self.serve());
        let mut good = false;
        for answer in answers {
            let message = Message::parse(&answer).unwrap();
            if let Some(id) = message.u32(kind::CONNECTION_ID) {
                self.last = id;
            }
            raw.learn(&request, &answer);
            good |= message.class() == stun::Class::Success;
        }
        good
    }

    /// Answers questions about users, and makes connections, or does not.
    fn serve(&mut self) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for event in std::mem::take(&mut self.world.server_events) {
            let ServerEvent::UserAsked { id, username, .. } = event else { continue };
            self.visits.asked += 1;
            let verdict = match self.rng.below(4) {
                0 => continue,
                1 => Verdict::Unknown,
                _ => Verdict::Known(User::new(username, "wonderland")),
            };
            self.world.answer(id, verdict);
            answers.extend(self.world.answers.drain(..).map(|(_, answer)| answer));
        }
        while let Some(op) = self.world.streams.pop_front() {
            match op {
                StreamOp::Connect { path } if self.rng.below(4) > 0 => {
                    self.visits.connected += 1;
                    self.connections.push(path);
                    answers.extend(self.news(StreamNews::Connected { path }));
                }
                StreamOp::Connect { path } if self.rng.below(2) == 0 => {
                    answers.extend(self.news(StreamNews::Ended { path }));
                }
                StreamOp::Splice { .. } => self.visits.joined += 1,
                StreamOp::Close { path } => self.connections.retain(|open| *open != path),
                // Nothing ever comes of it.
                _ => {}
            }
        }
        answers
    }

    fn news(&mut self, news: StreamNews) -> Vec<Vec<u8>> {
        self.world.answers.clear();
        self.world.server.handle_stream(self.world.now, news);
        self.world.settle();
        self.world.answers.drain(..).map(|(_, answer)| answer).collect()
    }

    /// Somebody new, who has an allocation if all went well.
    fn come(&mut self) -> Raw {
        self.port += 1;
        let by_stream = self.rng.below(2) == 0;
        let path = if by_stream { stream_path(self.port, Transport::Tcp) } else { client_path(self.port) };
        let name = format!("user {}", self.rng.below(6));
        let mut raw = Raw::new(path, Credentials { username: name, password: "wonderland".into() });
        if self.rng.below(3) == 0 {
            let issued = Duration::from_secs(START) + self.world.now.elapsed();
            let session = SessionKey::new(vec![7; 20], issued, Duration::from_secs(1500));
            let token = key().seal(NAME, self.rng.bytes(), &session);
            raw.long_term =
                raw.long_term.with_token(AccessToken { kid: "north".into(), mac_key: vec![7; 20], token });
            self.visits.tokens += 1;
        }
        let streams = by_stream && self.world.server.shared_port().is_none() && self.rng.below(3) > 0;
        let protocol = if streams { 6 } else { 17 };
        let mobile = !streams && self.rng.below(3) == 0;
        let mut token: Option<Vec<u8>> = None;
        for _ in 0..3 {
            let allocate = |writer: &mut MessageWriter<'_>| {
                writer.raw(kind::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
                if mobile {
                    writer.raw(kind::MOBILITY_TICKET, &[]);
                }
                if let Some(token) = &token {
                    writer.raw(kind::ACCESS_TOKEN, token);
                }
            };
            if self.ask(&mut raw, Method::ALLOCATE, &allocate) {
                *(if streams { &mut self.visits.streams } else { &mut self.visits.datagrams }) += 1;
                break;
            }
            // What is shown besides the signature, once it is known that this server takes it.
            token = token_of(&raw);
        }
        raw
    }

    /// Something that a visitor does.
    fn act(&mut self, at: usize) {
        let Some(mut raw) = self.visitors[at].take() else {
            self.visitors[at] = Some(self.come());
            return;
        };
        let (peer, lifetime) = (self.peer(), self.rng.below(2) as u32 * 600);
        match self.rng.below(9) {
            0 => _ = self.ask(&mut raw, Method::REFRESH, &|writer| _ = writer.u32(kind::LIFETIME, lifetime)),
            1 => {
                let permit =
                    |writer: &mut MessageWriter<'_>| _ = writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
                self.ask(&mut raw, Method::CREATE_PERMISSION, &permit);
            }
            2 => {
                let number = 0x4000 + self.rng.below(3) as u32;
                self.ask(&mut raw, Method::CHANNEL_BIND, &|writer| {
                    writer.u32(kind::CHANNEL_NUMBER, number << 16).xor_address(kind::XOR_PEER_ADDRESS, peer);
                });
                let number = ChannelNumber::new(number as u16).unwrap();
                let passage = Passage::Channel { client: raw.path.reversed(), number };
                let now = self.world.now;
                if let Some(flow) = self.world.server.flow(now, passage) {
                    self.world.server.carried(&flow, 3, 3000);
                    self.visits.flows += 1;
                }
                while self.world.server.poll_stale().is_some() {}
            }
            3 | 4 => {
                let connect =
                    |writer: &mut MessageWriter<'_>| _ = writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
                if self.ask(&mut raw, Method::CONNECT, &connect) && self.rng.below(3) > 0 {
                    self.join(&raw);
                }
            }
            5 => {
                // A peer comes, or the network complains.
                let sockets: Vec<SocketAddr> = self.world.sockets.iter().copied().collect();
                let Some(local) = sockets.get(self.rng.below(PLACES as u64) as usize).copied() else {
                    return;
                };
                let path = Path::new(Transport::Tcp, local, peer);
                if local.is_ipv4() && !self.connections.contains(&path) {
                    self.connections.push(path);
                    self.news(StreamNews::Accepted { path });
                    self.serve();
                }
                let error = IcmpError { local, peer, icmp_type: 3, icmp_code: 1, mtu: 0 };
                self.world.server.handle_icmp(self.world.now, error, &mut sansio::Batches::new(1 << 16));
            }
            6 => {
                if let Some(path) = self.connections.pop() {
                    self.news(StreamNews::Ended { path });
                }
            }
            7 => {
                if raw.path.transport == Transport::Tcp {
                    self.hang_up(raw.path);
                }
                return;
            }
            // Gone without a word.
            _ if raw.path.transport == Transport::Udp => return,
            _ => {}
        }
        // No more than a few words of each.
        if self.rng.below(20) > 0 {
            self.visitors[at] = Some(raw);
        } else if raw.path.transport == Transport::Tcp {
            self.hang_up(raw.path);
        }
    }

    /// Joins the last connection that was told, from a stream of its own.
    fn join(&mut self, of: &Raw) {
        self.port += 1;
        let path = stream_path(self.port, Transport::Tcp);
        let (id, mut raw) = (self.last, Raw::new(path, world::credentials("nobody")));
        raw.long_term = of.long_term.clone();
        for _ in 0..2 {
            if self.ask(&mut raw, Method::CONNECTION_BIND, &|writer| _ = writer.u32(kind::CONNECTION_ID, id))
            {
                break;
            }
        }
        // The stream ends at once, or never.
        if self.rng.below(2) == 0 {
            self.hang_up(path);
        }
    }

    fn hang_up(&mut self, path: Path) {
        let reply = SocketReply::Disconnected { path: path.reversed(), error: SocketError::Closed };
        self.world.server.handle_socket(self.world.now, reply);
        self.world.settle();
        self.serve();
    }
}

fn token_of(raw: &Raw) -> Option<Vec<u8>> {
    let mut buffer = [0; 1000];
    let id = stun::TransactionId([1; 12]);
    let mut writer = MessageWriter::new(&mut buffer, stun::Class::Request, Method::ALLOCATE, id);
    raw.long_term.present(&mut writer);
    let length = writer.finish().ok()?;
    Message::parse(&buffer[..length]).ok()?.raw(kind::ACCESS_TOKEN).map(<[u8]>::to_vec)
}

fn a_day(shared: bool) -> Visits {
    let mut day = Day::new(shared);
    let end = day.world.now + DAY;
    while day.world.now < end {
        let at = day.rng.below(PLACES as u64) as usize;
        day.act(at);
        let pause = Duration::from_millis(day.rng.below(30_000));
        day.world.advance(pause);
        day.serve();
    }
    assert!(!day.world.server.is_idle());
    for raw in std::mem::take(&mut day.visitors).into_iter().flatten() {
        if raw.path.transport == Transport::Tcp {
            day.hang_up(raw.path);
        }
    }
    day.world.advance(Duration::from_secs(2 * 3600));
    day.serve();
    while day.world.server.poll_stale().is_some() {}
    assert_eq!(day.world.server.allocations(), 0);
    assert!(day.world.server.is_idle());
    let left: Vec<_> = day.world.sockets.iter().filter(|socket| !shared || socket.port() != 50_000).collect();
    assert!(left.is_empty() && day.connections.is_empty(), "{left:?}, {:?}", day.connections);
    day.visits
}

#[test]
fn after_24_hours_of_tcp_allocations_tokens_and_lookups_nothing_is_left() {
    let visits = a_day(false);
    let Visits { streams, datagrams, connected, joined, asked, tokens, flows } = visits;
    let enough = streams > 100 && datagrams > 100 && connected > 50 && joined > 10;
    assert!(enough && asked > 100 && tokens > 50 && flows > 20, "{visits:?}");
}

#[test]
fn after_24_hours_of_one_port_for_all_nothing_is_left() {
    let visits = a_day(true);
    assert!(visits.datagrams > 200 && visits.flows > 20 && visits.asked > 100, "{visits:?}");
}
