//! Two connections in a simulated internet, with signalling between them and W3C's perfect negotiation on top.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::sync::{Arc, RwLock};
use std::time::Duration;

use netsim::{HostId, Link, NatBehaviour, Net, SegmentId};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};
use sterna_peer::{
    ChannelId, Configuration, Connection, ConnectionState, DataChannelInit, Event, Failure, IceCandidateInit,
    MessageKind, PathKind, SessionDescription, SignalingState,
};

pub const A: usize = 0;
pub const B: usize = 1;

/// What travels by signalling.
#[derive(Clone, Debug)]
pub enum Mail {
    Description(SessionDescription),
    Candidate(IceCandidateInit),
}

/// What one side's application knows and has seen.
#[derive(Default)]
pub struct Side {
    pub events: Vec<Event>,
    ignores_offers: bool,
    /// Without trickle: whether the local description waits for its candidates.
    unsent: bool,
    pub errors: Vec<sterna_peer::Error>,
}

impl Side {
    pub fn opened(&self) -> Vec<(ChannelId, bool)> {
        let opened = |event: &Event| match event {
            Event::ChannelOpened { id, incoming } => Some((*id, *incoming)),
            _ => None,
        };
        self.events.iter().filter_map(opened).collect()
    }

    pub fn messages(&self) -> Vec<Vec<u8>> {
        let message = |event: &Event| match event {
            Event::MessageReceived { data, .. } => Some(data.to_vec()),
            _ => None,
        };
        self.events.iter().filter_map(message).collect()
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.events.iter().find_map(|event| match event {
            Event::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }

    pub fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| what(event)).count()
    }
}

/// How the two sides signal.
#[derive(Clone, Copy)]
pub struct Signalling {
    pub delay: Duration,
    /// That of candidates: they may overtake descriptions.
    pub candidate_delay: Duration,
    pub trickle: bool,
    /// Changes what is sent.
    pub tamper: fn(usize, Mail) -> Option<Mail>,
}

impl Default for Signalling {
    fn default() -> Self {
        let delay = Duration::from_millis(20);
        Self { delay, candidate_delay: delay, trickle: true, tamper: |_, mail| Some(mail) }
    }
}

/// A connection, and what stands right before it.
pub struct Peer {
    pub connection: Connection,
    /// A firewall that looks into packets, and lets no DTLS in.
    pub deaf: bool,
    /// A box that answers for the other side: DTLS comes in as this, whatever it was.
    pub instead: Option<Vec<u8>>,
}

impl std::ops::Deref for Peer {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Machine for Peer {
    type Addr = Path;
    type Event = Event;

    fn handle_mark(&mut self, now: Time) {
        self.connection.handle_mark(now);
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let dtls = matches!(datagram.payload.first(), Some(20..=63));
        match self.instead.clone().filter(|_| dtls) {
            Some(mut other) => {
                let datagram = Datagram { from: datagram.from, payload: &mut other };
                self.connection.handle_datagram(now, datagram, out);
            }
            None if dtls && self.deaf => {}
            None => self.connection.handle_datagram(now, datagram, out),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.connection.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.connection.poll_transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.connection.poll_event()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.connection.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.connection.poll_socket()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.connection.handle_socket(now, reply);
    }
}

pub struct World {
    pub net: Net,
    pub hosts: [HostId; 2],
    pub nets: [SegmentId; 2],
    pub sides: Arc<RwLock<[Side; 2]>>,
    signalling: Signalling,
}

/// A certificate per side, made once: key generation has its own dice.
pub fn certificate(side: usize) -> crypto::Certificate {
    static CERTIFICATES: std::sync::OnceLock<[crypto::Certificate; 2]> = std::sync::OnceLock::new();
    let make = || crypto::Certificate::generate().unwrap();
    CERTIFICATES.get_or_init(|| [make(), make()])[side].clone()
}

/// Where the two sides are.
pub struct Places {
    pub nets: [SegmentId; 2],
    pub turn: Option<HostId>,
}

impl World {
    /// Two hosts on one network.
    pub fn lan(seed: u64, signalling: Signalling) -> Self {
        Self::build(seed, signalling, |net| {
            let lan = net.add_network(Net::INTERNET, "lan", NatBehaviour::port_restricted());
            Places { nets: [lan, lan], turn: None }
        })
    }

    /// A host behind each of two NATs, 10 ms from the internet, and a server for STUN and TURN.
    pub fn nats(seed: u64, signalling: Signalling, behaviours: [NatBehaviour; 2]) -> Self {
        Self::build(seed, signalling, |net| {
            let nets = behaviours.map(|behaviour| {
                let network = net.add_network(Net::INTERNET, "nat", behaviour);
                net.set_link(net.uplink(network), Link::delay_ms(10));
                network
            });
            Places { nets, turn: Some(turn_server(net)) }
        })
    }

    pub fn build(seed: u64, signalling: Signalling, places: impl FnOnce(&mut Net) -> Places) -> Self {
        Self::build_with(seed, signalling, places, |_, _, _| {})
    }

    /// The same, with a last word on each side's configuration.
    pub fn build_with(
        seed: u64,
        signalling: Signalling,
        places: impl FnOnce(&mut Net) -> Places,
        mut configure: impl FnMut(usize, &Net, &mut Configuration),
    ) -> Self {
        let mut net = Net::new(seed);
        let Places { nets, turn } = places(&mut net);
        let hosts = [net.add_host("a", &[nets[A]]), net.add_host("b", &[nets[B]])];
        for side in [A, B] {
            let mut configuration = Configuration::new(net.draw_seed(), certificate(side));
            configuration.interfaces = interfaces(&net, hosts[side]);
            if let Some(turn) = turn {
                configuration.ice_servers = servers(&net, turn);
            }
            configure(side, &net, &mut configuration);
            let now = net.now();
            let connection = Connection::new(now, configuration);
            net.start(hosts[side], Peer { connection, deaf: false, instead: None });
        }
        Self { net, hosts, nets, sides: Arc::default(), signalling }
    }

    /// Calls `wish` with one of the connections.
    pub fn with<R>(&mut self, side: usize, wish: impl FnOnce(&mut Connection, Time) -> R) -> R {
        self.net.with(self.hosts[side], |peer: &mut Peer, now| wish(&mut peer.connection, now))
    }

    pub fn connection(&self, side: usize) -> &Connection {
        &self.net.machine::<Peer>(self.hosts[side]).connection
    }

    pub fn create_channel(&mut self, side: usize, label: &str) -> ChannelId {
        self.with(side, |connection, now| {
            connection.create_data_channel(now, label, DataChannelInit::default()).unwrap()
        })
    }

    pub fn send(&mut self, side: usize, id: ChannelId, data: &[u8]) {
        self.with(side, |connection, now| connection.send(now, id, MessageKind::Binary, data)).unwrap();
    }

    /// Lets time go on until `done`, or for as long as `within`; tells whether it got there.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&Net, &[Side; 2]) -> bool) -> bool {
        let (hosts, sides, signalling) = (self.hosts, Arc::clone(&self.sides), self.signalling);
        self.net.run_until(within, |net| {
            pump(net, hosts, &sides, signalling);
            done(net, &sides.read().unwrap())
        })
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_, _| false);
    }

    /// Signalling works again after a time in which it did not: who waits for an answer asks again.
    pub fn ask_again(&mut self) {
        for side in [A, B] {
            if self.connection(side).signaling_state() == SignalingState::HaveLocalOffer {
                let description = self.connection(side).local_description().unwrap();
                let mail = Mail::Description(description);
                post(&mut self.net, self.hosts, &self.sides, self.signalling, side, mail);
            }
        }
    }

    /// Lets time go on until both sides are connected and have an open channel.
    #[track_caller]
    pub fn connect(&mut self, within: Duration) {
        let open = |side: &Side| !side.opened().is_empty();
        let hosts = self.hosts;
        let done = self.run_until(within, |net, sides| {
            sides.iter().all(open)
                && hosts
                    .iter()
                    .all(|host| net.machine::<Peer>(*host).connection_state() == ConnectionState::Connected)
        });
        assert!(done, "not connected after {within:?}: {}", self.describe());
    }

    pub fn describe(&self) -> String {
        let sides = self.sides.read().unwrap();
        [A, B]
            .map(|side| {
                let connection = self.connection(side);
                let states = (connection.signaling_state(), connection.ice_connection_state());
                let channels: Vec<_> = connection
                    .channels()
                    .map(|(id, it)| (id, it.init.id, it.state, it.messages_received))
                    .collect();
                let events: String =
                    sides[side].events.iter().map(|event| format!("\n  {}", brief(event))).collect();
                let errors = &sides[side].errors;
                format!(
                    "side {side}: {states:?} {} {channels:?} {errors:?}{events}",
                    connection.connection_state()
                )
            })
            .join("\n")
    }

    /// Sends a message each way on the first channel of each side, and waits for both.
    #[track_caller]
    pub fn echo(&mut self) {
        let ids = [A, B].map(|side| self.sides.read().unwrap()[side].opened()[0].0);
        let before = [A, B].map(|side| self.sides.read().unwrap()[side].messages().len());
        self.send(A, ids[A], b"from a");
        self.send(B, ids[B], b"from b");
        let done = self.run_until(Duration::from_secs(60), |_, sides| {
            sides[A].messages().len() > before[A] && sides[B].messages().len() > before[B]
        });
        assert!(done, "no messages: {}", self.describe());
        let sides = self.sides.read().unwrap();
        assert_eq!(sides[A].messages()[before[A]], b"from b");
        assert_eq!(sides[B].messages()[before[B]], b"from a");
    }

    pub fn kinds(&self) -> [PathKind; 2] {
        [A, B].map(|side| self.connection(side).path().expect("there is a path").kind)
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::MessageReceived { id, data, .. } => format!("{id:?}: {} bytes", data.len()),
        Event::CandidateGathered(candidate) => {
            format!("{:?} {}", candidate.username_fragment, candidate.candidate)
        }
        Event::PathChanged(path) => path.to_string(),
        Event::Failed(failure) => failure.to_string(),
        other => format!("{other:?}"),
    }
}

pub fn interfaces(net: &Net, host: HostId) -> Vec<ice::Interface> {
    net.addresses(host).into_iter().map(|address| ice::Interface::new("eth0", address)).collect()
}

/// A STUN and TURN server on the internet.
pub fn turn_server(net: &mut Net) -> HostId {
    turn_server_called(net, "turn")
}

/// The same, under another name.
pub fn turn_server_called(net: &mut Net, name: &str) -> HostId {
    let host = net.add_host(name, &[Net::INTERNET]);
    let listening = net.socket(host, 3478);
    net.bind(host, listening).unwrap();
    let auth = turn::Auth::user("user", "password");
    let mut config = turn::ServerConfig::new("realm", listening.ip(), auth, net.draw_seed());
    config.listening = vec![listening];
    net.start(host, turn::Server::new(config).unwrap());
    host
}

pub fn servers(net: &Net, turn: HostId) -> Vec<ice::Server> {
    ["stun", "turn"]
        .map(|scheme| ice::Server {
            url: format!("{scheme}:{}", net.socket(turn, 3478)).parse().unwrap(),
            username: "user".into(),
            credential: "password".into(),
        })
        .into()
}

/// The application of both sides: reads events, makes and answers offers, passes candidates on.
fn pump(net: &mut Net, hosts: [HostId; 2], sides: &Arc<RwLock<[Side; 2]>>, signalling: Signalling) {
    for side in [A, B] {
        for event in net.events::<Peer>(hosts[side]) {
            match &event {
                Event::NegotiationNeeded => offer(net, hosts, sides, signalling, side),
                Event::CandidateGathered(candidate) if signalling.trickle => {
                    post(net, hosts, sides, signalling, side, Mail::Candidate(candidate.clone()));
                }
                Event::CandidateGathered(candidate)
                    if candidate.is_end_of_candidates()
                        && std::mem::take(&mut sides.write().unwrap()[side].unsent) =>
                {
                    let description = net.machine::<Peer>(hosts[side]).local_description().unwrap();
                    post(net, hosts, sides, signalling, side, Mail::Description(description));
                }
                _ => {}
            }
            sides.write().unwrap()[side].events.push(event);
        }
    }
}

/// Makes the offer or answer that is due.
fn offer(
    net: &mut Net,
    hosts: [HostId; 2],
    sides: &Arc<RwLock<[Side; 2]>>,
    signalling: Signalling,
    side: usize,
) {
    let result = net.with(hosts[side], |it: &mut Peer, now| it.connection.set_local_description(now, None));
    match result {
        Ok(_) if !signalling.trickle && !gathered(net, hosts[side]) => {
            sides.write().unwrap()[side].unsent = true
        }
        Ok(description) => post(net, hosts, sides, signalling, side, Mail::Description(description)),
        Err(error) => sides.write().unwrap()[side].errors.push(error),
    }
}

fn gathered(net: &Net, host: HostId) -> bool {
    let state = net.machine::<Peer>(host).ice_gathering_state();
    state == sterna_peer::IceGatheringState::Complete
}

fn post(
    net: &mut Net,
    hosts: [HostId; 2],
    sides: &Arc<RwLock<[Side; 2]>>,
    signalling: Signalling,
    from: usize,
    mail: Mail,
) {
    let Some(mail) = (signalling.tamper)(from, mail) else { return };
    let sides = Arc::clone(sides);
    let delay = match mail {
        Mail::Description(_) => signalling.delay,
        Mail::Candidate(_) => signalling.candidate_delay,
    };
    net.after(delay, move |net| deliver(net, hosts, &sides, signalling, 1 - from, mail));
}

/// Perfect negotiation (W3C webrtc-pc §10.7): B is polite.
fn deliver(
    net: &mut Net,
    hosts: [HostId; 2],
    sides: &Arc<RwLock<[Side; 2]>>,
    signalling: Signalling,
    to: usize,
    mail: Mail,
) {
    let now = net.now();
    let connection = &mut net.machine_mut::<Peer>(hosts[to]).connection;
    let result = match mail {
        Mail::Description(description) => {
            let is_offer = description.kind == sterna_peer::SdpType::Offer;
            let collides = is_offer && connection.signaling_state() != SignalingState::Stable;
            let ignores = to == A && collides;
            sides.write().unwrap()[to].ignores_offers = ignores;
            if ignores {
                return;
            }
            let result = connection.set_remote_description(now, description);
            if result.is_ok() && is_offer {
                offer(net, hosts, sides, signalling, to);
            }
            result
        }
        Mail::Candidate(candidate) => connection.add_ice_candidate(now, Some(candidate)),
    };
    if let Err(error) = result {
        let side = &mut sides.write().unwrap()[to];
        if !side.ignores_offers {
            side.errors.push(error);
        }
    }
}

/// `count` seeds; more with `STERNA_SEEDS=times`, which starts elsewhere too.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("STERNA_SEEDS").ok().and_then(|times| times.parse::<u64>().ok()) {
        Some(times) => 1_000_000..1_000_000 + count * times,
        None => 0..count,
    }
}
