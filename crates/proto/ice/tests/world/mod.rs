//! Two agents in a simulated internet, with signalling between them.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Link, NatBehaviour, Net, SegmentId};
use sansio::{Datagram, Machine, Outbox, Path, Seed, SocketOp, SocketReply, Time, Transport};
use sterna_ice::{
    Agent, Candidate, CandidateKind, Config, Credentials, Event, Failure, GatheringState, Interface, Server,
    State,
};

pub const A: usize = 0;
pub const B: usize = 1;
pub const USER: &str = "user";
pub const PASSWORD: &str = "a password of this test alone";

/// An agent and its application, which sends what it is told and keeps what it gets.
pub struct Peer {
    pub agent: Agent,
    pub events: Vec<(Time, Event)>,
    pub inbox: Vec<Vec<u8>>,
    pub outbox: VecDeque<Vec<u8>>,
    /// Candidates that have not been signalled.
    unsent: VecDeque<Candidate>,
    unsent_end: bool,
    now: Time,
    /// Agents that run as somebody else would write them: what they send may be changed or lost.
    pub mute: bool,
    /// UDP sockets that are open, and the most that ever were.
    pub sockets: usize,
    pub most_sockets: usize,
}

impl Peer {
    pub fn new(now: Time, config: Config) -> Self {
        Self {
            agent: Agent::new(now, config),
            events: Vec::new(),
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            unsent: VecDeque::new(),
            unsent_end: false,
            now,
            mute: false,
            sockets: 0,
            most_sockets: 0,
        }
    }

    pub fn states(&self) -> Vec<State> {
        let state = |(_, event): &(Time, Event)| match event {
            Event::StateChanged(state) => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }

    /// When the state was first entered.
    pub fn entered(&self, state: State) -> Option<Time> {
        let is = |event: &Event| matches!(event, Event::StateChanged(other) if *other == state);
        self.events.iter().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }

    pub fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| what(event)).count()
    }
}

impl Machine for Peer {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.now = now;
        let Self { agent, inbox, .. } = self;
        let before = inbox.len();
        agent.open(now, datagram, out, &mut |bytes| inbox.push(bytes.to_vec()));
        if inbox.len() > before {
            agent.data_received();
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.agent.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.now = now;
        self.agent.poll_transmit(now, out);
        if self.outbox.is_empty() {
            return;
        }
        let Some(mut lane) = self.agent.lane(out) else { return };
        while let Some(bytes) = self.outbox.front() {
            if !lane.send_bytes((), bytes) {
                return;
            }
            self.outbox.pop_front();
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        while let Some(event) = self.agent.poll_event() {
            match &event {
                Event::CandidateGathered(candidate) => self.unsent.push_back(candidate.clone()),
                Event::GatheringStateChanged(GatheringState::Complete) => self.unsent_end = true,
                _ => {}
            }
            self.events.push((self.now, event));
        }
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.agent.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        let op = self.agent.poll_socket();
        self.sockets -= usize::from(matches!(op, Some(SocketOp::Unbind { .. })));
        op
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.now = now;
        self.sockets += usize::from(matches!(reply, SocketReply::Bound { .. }));
        self.most_sockets = self.most_sockets.max(self.sockets);
        self.agent.handle_socket(now, reply);
    }
}

pub struct World {
    pub net: Net,
    pub hosts: [HostId; 2],
    pub nets: [SegmentId; 2],
    pub server: HostId,
    /// How long signalling takes one way.
    pub delay: Duration,
    /// Changes candidates on their way, or keeps them back.
    pub filter: fn(usize, Candidate) -> Option<Candidate>,
}

/// What is to be built; `World::new` builds it.
pub struct Plan {
    pub seed: u64,
    pub behaviours: [NatBehaviour; 2],
    pub same_network: bool,
    pub ipv6: [bool; 2],
    pub servers: Vec<&'static str>,
    pub config: fn(usize, &mut Config),
    pub uplink: Link,
    /// Of A's uplink, each way.
    pub loss: f64,
    /// Whether the server has IPv6 as well, and relays from it.
    pub dual_server: bool,
}

impl Plan {
    pub fn nats(seed: u64, behaviours: [NatBehaviour; 2]) -> Self {
        Self {
            seed,
            behaviours,
            same_network: false,
            ipv6: [false, false],
            servers: vec!["turn:server.example"],
            config: |_, _| {},
            uplink: Link::delay_ms(10),
            loss: 0.0,
            dual_server: false,
        }
    }

    /// Two hosts on the internet.
    pub fn open(seed: u64) -> Self {
        Self { servers: vec![], ..Self::nats(seed, [NatBehaviour::none(); 2]) }
    }
}

/// A host for STUN and TURN on the internet, by UDP, TCP and TLS, with all the addresses that hosts have there.
pub fn add_server(net: &mut Net, name: &str) -> HostId {
    let host = net.add_host(name, &[Net::INTERNET]);
    net.set_name(name, &net.addresses(host));
    for address in net.addresses(host) {
        let listening = SocketAddr::new(address, 3478);
        net.bind(host, listening).unwrap();
        net.listen(host, Transport::Tcp, listening).unwrap();
        net.listen_tls(host, SocketAddr::new(address, 5349), name).unwrap();
    }
    let server = turn::Server::new(server_config(net, host)).unwrap();
    net.start(host, server);
    host
}

pub fn server_config(net: &mut Net, host: HostId) -> turn::ServerConfig {
    let addresses = net.addresses(host);
    let auth = turn::Auth::user(USER, PASSWORD);
    let mut config = turn::ServerConfig::new("example.org", addresses[0], auth, net.draw_seed());
    config.relay_addresses = addresses.iter().map(|address| (*address).into()).collect();
    let ports = [3478, 5349];
    config.listening =
        addresses.iter().flat_map(|address| ports.map(|port| SocketAddr::new(*address, port))).collect();
    config
}

pub fn server(url: &str) -> Server {
    Server { url: url.parse().unwrap(), username: USER.to_owned(), credential: PASSWORD.to_owned() }
}

pub fn interfaces(net: &Net, host: HostId) -> Vec<Interface> {
    net.addresses(host).into_iter().map(|address| Interface::new("eth0", address)).collect()
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut net = Net::new(plan.seed);
        if plan.dual_server {
            net.add_ipv6(Net::INTERNET);
        }
        let server_host = add_server(&mut net, "server.example");
        let mut network = |name: &str, side: usize| {
            let network = net.add_network(Net::INTERNET, name, plan.behaviours[side]);
            net.set_link(
                net.uplink(network),
                if side == A { plan.uplink.clone().with_loss(plan.loss) } else { plan.uplink.clone() },
            );
            if plan.ipv6[side] {
                net.add_ipv6(network);
            }
            network
        };
        let first = network("nat-a", A);
        let nets = [first, if plan.same_network { first } else { network("nat-b", B) }];
        let hosts = [net.add_host("a", &[nets[A]]), net.add_host("b", &[nets[B]])];
        for side in [A, B] {
            let mut config = Config { controlling: side == A, ..Config::new(net.draw_seed()) };
            config.servers = plan.servers.iter().map(|url| server(url)).collect();
            (plan.config)(side, &mut config);
            let mut peer = Peer::new(net.now(), config);
            peer.agent.set_remote_pacing(net.now(), Duration::from_millis(5));
            net.start(hosts[side], peer);
        }
        Self {
            net,
            hosts,
            nets,
            server: server_host,
            delay: Duration::from_millis(20),
            filter: |_, candidate| Some(candidate),
        }
    }

    pub fn peer(&self, side: usize) -> &Peer {
        self.net.machine(self.hosts[side])
    }

    pub fn agent(&self, side: usize) -> &Agent {
        &self.peer(side).agent
    }

    pub fn with<R>(&mut self, side: usize, wish: impl FnOnce(&mut Peer, Time) -> R) -> R {
        self.net.with(self.hosts[side], wish)
    }

    pub fn gather(&mut self, side: usize) {
        let interfaces = interfaces(&self.net, self.hosts[side]);
        self.with(side, |peer, now| peer.agent.gather(now, &interfaces));
    }

    /// A gathers and sends its credentials; B answers when they arrive. Candidates follow as they come.
    pub fn offer(&mut self) {
        self.gather(A);
        self.send_credentials(A);
        let [_, b] = self.hosts;
        let a = self.hosts[A];
        let delay = self.delay;
        self.net.after(delay, move |net| {
            let found = interfaces(net, b);
            net.with(b, |peer: &mut Peer, now| peer.agent.gather(now, &found));
            let credentials = net.machine::<Peer>(b).agent.local_credentials().clone();
            net.after(delay, move |net| set_credentials(net, a, credentials));
        });
    }

    /// Both sides restart ICE: A asks for it, B joins.
    pub fn restart(&mut self) {
        for side in [A, B] {
            self.with(side, |peer, now| peer.agent.restart(now));
        }
        self.offer();
    }

    /// Sends a side's credentials to the other.
    pub fn send_credentials(&mut self, from: usize) {
        let credentials = self.agent(from).local_credentials().clone();
        let to = self.hosts[1 - from];
        self.net.after(self.delay, move |net| set_credentials(net, to, credentials));
    }

    /// Lets time go on, with candidates trickling, until `done` but for `within` at most.
    pub fn run(&mut self, within: Duration, mut done: impl FnMut(&Net, [HostId; 2]) -> bool) -> bool {
        let (hosts, delay, filter) = (self.hosts, self.delay, self.filter);
        self.net.run_until(within, |net| {
            for from in [A, B] {
                trickle(net, hosts, from, delay, filter);
            }
            done(net, hosts)
        })
    }

    pub fn run_for(&mut self, seconds: f64) {
        self.run(Duration::from_secs_f64(seconds), |_, _| false);
    }

    /// Runs until both sides are in this state.
    pub fn until(&mut self, state: State, within: f64) -> bool {
        self.run(Duration::from_secs_f64(within), |net, hosts| {
            hosts.iter().all(|host| net.machine::<Peer>(*host).agent.state() == state)
        })
    }

    /// Offers, connects and sends a message each way.
    #[track_caller]
    pub fn connect(&mut self, within: f64) {
        self.offer();
        let done = self.until(State::Completed, within);
        assert!(done, "{}", self.explain());
        self.exchange();
    }

    #[track_caller]
    pub fn exchange(&mut self) {
        for side in [A, B] {
            self.with(side, |peer, _| {
                peer.inbox.clear();
                peer.outbox.push_back(vec![100 + side as u8; 300]);
            });
        }
        self.run_for(1.0);
        for side in [A, B] {
            assert_eq!(self.peer(side).inbox, [vec![100 + (1 - side) as u8; 300]], "{}", self.explain());
        }
    }

    pub fn kinds(&self, side: usize) -> (CandidateKind, CandidateKind) {
        let pair = self.agent(side).selected().unwrap();
        (pair.local.kind, pair.remote.kind)
    }

    pub fn is_relayed(&self) -> bool {
        let relayed = [A, B].map(|side| self.agent(side).selected().unwrap().is_relayed());
        relayed.contains(&true)
    }

    /// What happened, for the message of a test that fails.
    pub fn explain(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for side in [A, B] {
            let peer = self.peer(side);
            writeln!(text, "--- {side}: {} at {:?}", peer.agent.state(), self.net.now()).unwrap();
            for (at, event) in &peer.events {
                let line = format!("{event:?}");
                writeln!(text, "{at:?} {}", &line[..line.len().min(200)]).unwrap();
            }
            let report = peer.agent.report();
            for server in &report.servers {
                writeln!(text, "{} {:?} {}", server.url, server.request, server.outcome).unwrap();
            }
            for pair in &report.pairs {
                writeln!(
                    text,
                    "{} {} {} -> {} {} sent {}+{} got {} asked {} {:?}",
                    pair.state,
                    pair.local.kind,
                    pair.local.address,
                    pair.remote.kind,
                    pair.remote.address,
                    pair.checks_sent,
                    pair.retransmissions,
                    pair.responses_received,
                    pair.requests_received,
                    pair.error,
                )
                .unwrap();
            }
            writeln!(text, "{:?}", report.drops).unwrap();
        }
        text
    }
}

pub fn set_credentials(net: &mut Net, host: HostId, credentials: Credentials) {
    net.with(host, |peer: &mut Peer, now| peer.agent.set_remote_credentials(now, credentials));
}

/// Signals what a side has gathered.
fn trickle(
    net: &mut Net,
    hosts: [HostId; 2],
    from: usize,
    delay: Duration,
    filter: fn(usize, Candidate) -> Option<Candidate>,
) {
    let peer = net.machine::<Peer>(hosts[from]);
    if peer.unsent.is_empty() && !peer.unsent_end {
        return;
    }
    let to = hosts[1 - from];
    let (candidates, end) = net.with(hosts[from], |peer: &mut Peer, _| {
        (std::mem::take(&mut peer.unsent), std::mem::take(&mut peer.unsent_end))
    });
    net.after(delay, move |net| {
        net.with(to, |peer: &mut Peer, now| {
            for candidate in candidates {
                // As text, as it would go by any real signalling.
                let Some(candidate) = filter(from, candidate) else { continue };
                peer.agent.add_remote_candidate(now, candidate.to_string().parse().unwrap());
            }
            if end {
                peer.agent.end_of_remote_candidates(now);
            }
        });
    });
}

/// A seed for an agent that is not part of a net.
pub fn seed(number: u64) -> Seed {
    Seed::from(number)
}
