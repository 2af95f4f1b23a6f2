//! Allocations that are taken along to another address of ours (RFC 8016), and the pairs over them, which go on.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net, SegmentId};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time, Transport};
use sterna_ice::{Event, FailureCause, Interface, State, TransportPolicy};
use world::{A, B, Plan, World, interfaces, server_config};

const URLS: [&str; 3] = ["turn:server.example", "turn:server.example?transport=tcp", "turns:server.example"];
const EACH: Duration = Duration::from_millis(10);

/// Two sides that talk by relays alone, each with its own allocation, and say something every 10 ms.
struct Talk {
    world: World,
    said: u32,
    /// Where A is.
    network: SegmentId,
}

fn by_relay(_: usize, config: &mut sterna_ice::Config) {
    config.policy = TransportPolicy::Relay;
}

fn plan(seed: u64, url: &'static str) -> Plan {
    let nats = [NatBehaviour::port_restricted(); 2];
    Plan { servers: vec![url], config: by_relay, ..Plan::nats(seed, nats) }
}

impl Talk {
    fn begin(plan: Plan) -> Self {
        Self::with(World::new(plan))
    }

    fn with(mut world: World) -> Self {
        world.connect(10.0);
        for side in [A, B] {
            world.with(side, |peer, _| peer.inbox.clear());
        }
        let network = world.nets[A];
        let mut talk = Self { world, said: 0, network };
        talk.go_on(5.0);
        talk
    }

    /// Lets both sides talk.
    fn go_on(&mut self, seconds: f64) {
        for _ in 0..(seconds / EACH.as_secs_f64()) as u32 {
            self.said += 1;
            for side in [A, B] {
                let said = self.said.to_be_bytes().to_vec();
                self.world.with(side, |peer, now| {
                    peer.outbox.push_back(said);
                    if !peer.agent.is_moving() {
                        peer.agent.data_sent(now);
                    }
                });
            }
            self.world.run_for(EACH.as_secs_f64());
        }
    }

    /// A loses its network, and has no address.
    fn leave(&mut self) {
        self.world.net.leave(self.world.hosts[A], self.network);
        self.world.with(A, |peer, now| peer.agent.retain_interfaces(now, &[]));
    }

    /// A is in another network, with addresses that `which` names.
    fn arrive(&mut self, which: fn(&Interface) -> bool) {
        let Self { world, .. } = self;
        let network = world.net.add_network(Net::INTERNET, "elsewhere", NatBehaviour::symmetric());
        world.net.add_ipv6(network);
        world.net.set_link(world.net.uplink(network), Link::delay_ms(25));
        let addresses = world.net.free_addresses(network);
        world.net.add_interface(world.hosts[A], network, &addresses);
        let found: Vec<Interface> =
            addresses.iter().map(|address| Interface::new("wwan0", *address)).filter(which).collect();
        world.with(A, |peer, now| peer.agent.retain_interfaces(now, &found));
        self.network = network;
    }

    /// How often A's path was moved.
    fn moves(&self) -> usize {
        self.world.peer(A).count(|event| matches!(event, Event::PathMoved))
    }

    /// What a side has not heard of what was said: one hole at most.
    #[track_caller]
    fn hole(&self, side: usize) -> u32 {
        let number = |bytes: &Vec<u8>| u32::from_be_bytes(bytes[..].try_into().unwrap());
        let heard: Vec<u32> = self.world.peer(side).inbox.iter().map(number).collect();
        let steps: Vec<u32> =
            heard.windows(2).map(|two| two[1].checked_sub(two[0]).expect("in order")).collect();
        let holes: Vec<u32> = steps.into_iter().filter(|step| *step != 1).collect();
        assert!(holes.len() <= 1, "{side} has not heard {holes:?}: {}", self.world.explain());
        assert!(heard[0] == 1 && self.said - heard[heard.len() - 1] < 20, "{}", self.world.explain());
        holes.first().map_or(0, |step| step - 1)
    }

    /// Nobody had to restart ICE, and the server has no more allocations than before.
    #[track_caller]
    fn nothing_else_happened(&self) {
        for side in [A, B] {
            assert_eq!(self.world.agent(side).state(), State::Completed, "{}", self.world.explain());
            assert!(!self.world.peer(side).states().contains(&State::Disconnected));
            let selected = |event: &Event| matches!(event, Event::PairSelected(_));
            assert_eq!(self.world.peer(side).count(selected), 1, "{}", self.world.explain());
        }
        assert_eq!(self.world.net.machine::<turn::Server>(self.world.server).allocations(), 2);
    }
}

fn ipv4(interface: &Interface) -> bool {
    interface.address.is_ipv4()
}

fn ipv6(interface: &Interface) -> bool {
    interface.address.is_ipv6()
}

#[test]
fn an_allocation_goes_along_to_another_network_and_nothing_is_lost_after_the_switch() {
    for seed in 0..20 {
        for url in URLS {
            let mut talk = Talk::begin(plan(seed, url));
            let relayed = talk.world.agent(A).selected().unwrap().local.address;
            talk.leave();
            talk.arrive(ipv4);
            talk.go_on(3.0);
            talk.nothing_else_happened();
            assert_eq!(talk.moves(), 1);
            assert_eq!(talk.world.agent(A).selected().unwrap().local.address, relayed);
            // What A had to say waited for the way. What came for it went to where it was, for as long as it takes to tell
            // the server and to say the first word from there: a stream is opened first, and TLS shakes hands.
            let round_trips = if url.contains("turns") { 5 } else { 3 };
            assert_eq!(talk.hole(B), 0, "seed {seed} {url}");
            assert!(talk.hole(A) <= 10 * round_trips, "seed {seed} {url}: {}", talk.hole(A));
        }
    }
}

#[test]
fn without_an_address_it_waits_for_one() {
    for seed in 0..20 {
        let mut talk = Talk::begin(plan(seed, "turn:server.example"));
        talk.leave();
        talk.go_on(3.0);
        assert!(talk.world.agent(A).is_moving());
        talk.arrive(ipv4);
        talk.go_on(2.0);
        assert_eq!((talk.moves(), talk.world.agent(A).state()), (1, State::Completed));
        assert_eq!(talk.hole(B), 0);
        assert!((290..350).contains(&talk.hole(A)), "{}", talk.hole(A));
    }
}

#[test]
fn it_moves_again_while_it_moves() {
    for (seed, url) in (0..20).flat_map(|seed| URLS.map(|url| (seed, url))) {
        let mut talk = Talk::begin(plan(seed, url));
        for _ in 0..3 {
            talk.leave();
            talk.arrive(ipv4);
            // Less than it takes to hear from the server.
            talk.go_on(0.03);
        }
        talk.go_on(3.0);
        talk.nothing_else_happened();
        assert_eq!((talk.moves(), talk.hole(B)), (1, 0));
    }
}

#[test]
fn it_moves_from_ipv4_to_ipv6_and_back() {
    for seed in 0..20 {
        let mut talk = Talk::begin(Plan { dual_server: true, ..plan(seed, "turn:server.example") });
        for (family, moves) in [(ipv6 as fn(&Interface) -> bool, 1), (ipv4, 2)] {
            talk.leave();
            talk.arrive(family);
            talk.go_on(3.0);
            assert_eq!(talk.moves(), moves, "{}", talk.world.explain());
            talk.nothing_else_happened();
        }
        assert_eq!(talk.hole(B), 0);
    }
}

#[test]
fn a_nat_that_gives_another_address_is_noticed_by_silence() {
    for seed in 0..20 {
        for side in [A, B] {
            let mut talk = Talk::begin(plan(seed, "turn:server.example"));
            let network = talk.world.nets[side];
            talk.world.net.reboot(network);
            talk.world.net.renumber(network);
            talk.go_on(4.0);
            talk.nothing_else_happened();
            let moved = |event: &Event| matches!(event, Event::PathMoved);
            assert_eq!(talk.world.peer(side).count(moved), 1, "{}", talk.world.explain());
            for side in [A, B] {
                assert!((140..190).contains(&talk.hole(side)), "{}", talk.hole(side));
            }
        }
    }
}

#[test]
fn a_server_that_forbids_it_or_does_not_know_us_any_more_means_that_the_path_is_lost() {
    for seed in 0..20 {
        let mut world = World::new(plan(seed, "turn:server.example"));
        let host = world.server;
        let mut config = server_config(&mut world.net, host);
        config.mobility = false;
        *world.net.machine_mut::<turn::Server>(host) = turn::Server::new(config).unwrap();
        let mut talk = Talk::with(world);
        talk.leave();
        assert!(!talk.world.agent(A).is_moving());
        talk.world.run_for(0.1);
        assert_eq!(talk.world.peer(A).failure().unwrap().cause, FailureCause::RelayLost);

        let mut talk = Talk::begin(plan(seed, "turn:server.example"));
        // It was restarted, and has other keys.
        let config = server_config(&mut talk.world.net, host);
        *talk.world.net.machine_mut::<turn::Server>(host) = turn::Server::new(config).unwrap();
        talk.leave();
        talk.arrive(ipv4);
        talk.world.run_for(0.5);
        assert_eq!(talk.world.peer(A).failure().unwrap().cause, FailureCause::RelayLost);
    }
}

#[test]
fn of_two_allocations_that_have_only_one_place_to_go_the_one_in_use_goes() {
    for seed in 0..20 {
        let mut world = World::new(plan(seed, "turn:server.example"));
        let host = world.hosts[A];
        let second = world.net.add_network(Net::INTERNET, "second", NatBehaviour::port_restricted());
        let addresses = world.net.free_addresses(second);
        world.net.add_interface(host, second, &addresses);
        world.offer();
        assert!(world.until(State::Completed, 10.0), "{}", world.explain());
        assert_eq!(interfaces(&world.net, host).len(), 2);
        assert_eq!(world.net.machine::<turn::Server>(world.server).allocations(), 3);
        let relayed = world.agent(A).selected().unwrap().local.address;
        world.net.leave(host, second);
        let mut talk = Talk { network: world.nets[A], world, said: 0 };
        talk.leave();
        talk.arrive(ipv4);
        talk.go_on(5.0);
        assert_eq!((talk.moves(), talk.world.agent(A).state()), (1, State::Completed));
        assert_eq!(talk.world.agent(A).selected().unwrap().local.address, relayed);
        assert!(talk.world.peer(B).inbox.len() > 450);
    }
}

/// A server that takes every allocation as it comes, and hangs up.
struct Rude {
    inner: turn::Server,
    hang_up: Option<Path>,
    refusals: u32,
}

impl Machine for Rude {
    type Addr = Path;
    type Event = turn::ServerEvent;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let path = datagram.from;
        self.inner.handle_datagram(now, datagram, out);
        while let Some(event) = self.inner.poll_event() {
            if matches!(event, turn::ServerEvent::AllocationMoved { .. }) {
                self.hang_up = Some(path);
                self.refusals += 1;
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.inner.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.inner.poll_transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.inner.poll_event()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.inner.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.inner.poll_socket().or_else(|| self.hang_up.take().map(|path| SocketOp::Disconnect { path }))
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.inner.handle_socket(now, reply);
    }
}

#[test]
fn who_hangs_up_as_soon_as_he_has_taken_us_is_not_asked_for_ever() {
    let mut world = World::new(plan(1, "turn:server.example?transport=tcp"));
    let host = world.server;
    let config = server_config(&mut world.net, host);
    world.net.stop(host);
    let listening = world.net.socket(host, 3478);
    world.net.listen(host, Transport::Tcp, listening).unwrap();
    let inner = turn::Server::new(config).unwrap();
    world.net.start(host, Rude { inner, hang_up: None, refusals: 0 });
    let mut talk = Talk::with(world);
    talk.leave();
    talk.arrive(ipv4);
    talk.go_on(3.0);
    assert_eq!(
        talk.world.peer(A).failure().unwrap().cause,
        FailureCause::RelayLost,
        "{}",
        talk.world.explain()
    );
    assert_eq!(talk.world.net.machine::<Rude>(host).refusals, 1);
}
