//! Relayed addresses of both families by one allocation (RFC 8656 §7.1), for peers that have only one.

mod world;

use std::net::SocketAddr;

use netsim::NatBehaviour;
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};
use sterna_ice::{CandidateKind, Interface, State};
use stun::{Class, Message, MessageWriter, kind};
use world::{A, B, Plan, World, interfaces, server_config};

/// A has a relay, and B nothing but its address.
fn plan(seed: u64) -> Plan {
    Plan {
        config: |side, config| {
            if side == B {
                config.servers.clear();
            }
        },
        ipv6: [false, true],
        dual_server: true,
        ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2])
    }
}

/// A gathers all that it has, B with IPv6 alone.
fn connect(world: &mut World) -> bool {
    let only_ipv6: Vec<Interface> =
        interfaces(&world.net, world.hosts[B]).into_iter().filter(|it| it.address.is_ipv6()).collect();
    assert_eq!(only_ipv6.len(), 1);
    world.gather(A);
    world.with(B, |peer, now| peer.agent.gather(now, &only_ipv6));
    world.send_credentials(A);
    world.send_credentials(B);
    world.until(State::Completed, 10.0)
}

fn relayed(world: &World) -> Vec<SocketAddr> {
    let candidates = world.agent(A).local_candidates();
    candidates.filter(|it| it.kind == CandidateKind::Relay).filter_map(|it| it.address.ip()).collect()
}

fn allocations(world: &World) -> usize {
    world.net.machine::<turn::Server>(world.server).allocations()
}

#[test]
fn a_peer_with_ipv6_alone_is_reached_through_a_relay_that_is_talked_to_over_ipv4() {
    for seed in 0..50 {
        for url in ["turn:server.example", "turn:server.example?transport=tcp", "turns:server.example"] {
            let mut world = World::new(Plan { servers: vec![url], ..plan(seed) });
            assert!(connect(&mut world), "{}", world.explain());
            let [v4, v6] = relayed(&world)[..] else { panic!("{}", world.explain()) };
            assert!(v4.is_ipv4() && v6.is_ipv6());
            assert_eq!(allocations(&world), 1, "one allocation, two addresses");
            let pair = world.agent(A).selected().unwrap();
            assert_eq!((pair.local.kind, pair.local.address.ip()), (CandidateKind::Relay, Some(v6)));
            assert!(pair.remote.address.ip().unwrap().is_ipv6());
            world.exchange();
            // The session goes on for longer than any lifetime.
            world.run_for(2000.0);
            world.exchange();
            world.with(A, |peer, now| peer.agent.close(now));
            world.run_for(1.0);
            assert_eq!(allocations(&world), 0);
        }
    }
}

#[test]
fn a_server_with_both_families_that_is_talked_to_over_both_gives_one_address_each() {
    for seed in 0..20 {
        let mut world = World::new(Plan { ipv6: [true, true], ..plan(seed) });
        world.gather(A);
        world.run_for(2.0);
        assert_eq!((relayed(&world).len(), allocations(&world)), (2, 2), "{:?}", relayed(&world));
    }
}

#[test]
fn a_server_without_ipv6_gives_one_address() {
    for seed in 0..20 {
        let mut world = World::new(Plan { dual_server: false, ..plan(seed) });
        world.gather(A);
        world.run_for(2.0);
        let [only] = relayed(&world)[..] else { panic!("{}", world.explain()) };
        assert!(only.is_ipv4());
        assert_eq!(allocations(&world), 1);
    }
}

#[test]
fn a_server_without_ipv4_gives_one_address_too() {
    let mut world = World::new(plan(1));
    let host = world.server;
    let mut config = server_config(&mut world.net, host);
    config.relay_addresses.remove(0);
    *world.net.machine_mut::<turn::Server>(host) = turn::Server::new(config).unwrap();
    assert!(connect(&mut world), "{}", world.explain());
    let [only] = relayed(&world)[..] else { panic!("{}", world.explain()) };
    assert!(only.is_ipv6());
}

/// A server that does not understand the wish for two addresses.
struct Old {
    inner: turn::Server,
    /// It refuses it with this code.
    code: u16,
    refusals: u32,
}

impl Machine for Old {
    type Addr = Path;
    type Event = turn::ServerEvent;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let Datagram { from, payload } = datagram;
        if let Ok(message) = Message::parse(payload)
            && message.raw(kind::ADDITIONAL_ADDRESS_FAMILY).is_some()
        {
            self.refusals += 1;
            out.send(from, 100, &mut |buffer| {
                let mut writer = MessageWriter::answer(buffer, Class::Error, &message);
                writer.error_code(self.code, "what is that?").finish().unwrap_or(0)
            });
            return;
        }
        self.inner.handle_datagram(now, Datagram { from, payload }, out);
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
        self.inner.poll_socket()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.inner.handle_socket(now, reply);
    }
}

#[test]
fn a_server_that_refuses_the_wish_for_both_is_asked_for_one() {
    for code in [400, 420, 440] {
        let mut world = World::new(Plan { dual_server: false, ..plan(1) });
        let host = world.server;
        let config = server_config(&mut world.net, host);
        world.net.stop(host);
        let listening = world.net.socket(host, 3478);
        let _ = world.net.bind(host, listening);
        let inner = turn::Server::new(config).unwrap();
        world.net.start(host, Old { inner, code, refusals: 0 });
        world.gather(A);
        world.run_for(2.0);
        let old = world.net.machine::<Old>(host);
        assert_eq!((old.refusals, old.inner.allocations()), (1, 1), "{code}: {}", world.explain());
        assert_eq!(relayed(&world).len(), 1);
    }
}

#[test]
fn allocations_are_bounded() {
    for dual_server in [false, true] {
        let mut world = World::new(Plan { dual_server, ipv6: [true, true], ..plan(1) });
        let host = world.hosts[A];
        for _ in 0..10 {
            let network =
                world.net.add_network(netsim::Net::INTERNET, "one more", NatBehaviour::port_restricted());
            let addresses = world.net.free_addresses(network);
            world.net.add_interface(host, network, &addresses);
        }
        world.gather(A);
        world.run_for(5.0);
        assert_eq!(allocations(&world), 4, "max_allocations_per_server");
    }
}
