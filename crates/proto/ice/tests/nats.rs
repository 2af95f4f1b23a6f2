//! Which NATs can be crossed, and how.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour};
use sterna_ice::{CandidateKind, State, TransportPolicy};
use world::{A, B, Plan, World};

fn behaviours() -> [(&'static str, NatBehaviour); 4] {
    [
        ("full cone", NatBehaviour::full_cone()),
        ("address-restricted", NatBehaviour::address_restricted()),
        ("port-restricted", NatBehaviour::port_restricted()),
        ("symmetric", NatBehaviour::symmetric()),
    ]
}

/// Theory: only where one side is symmetric and the other filters by port is there no direct path.
fn must_relay(a: &str, b: &str) -> bool {
    let hard = |name| name == "symmetric" || name == "port-restricted";
    (a == "symmetric" && hard(b)) || (b == "symmetric" && hard(a))
}

#[test]
fn each_ordered_pair_of_nats_is_crossed_as_theory_says() {
    for seed in 0..20 {
        for (a, first) in behaviours() {
            for (b, second) in behaviours() {
                let mut world = World::new(Plan::nats(seed, [first, second]));
                world.connect(10.0);
                let relayed = world.is_relayed();
                assert_eq!(relayed, must_relay(a, b), "{a} x {b}, seed {seed}\n{}", world.explain());
            }
        }
    }
}

#[test]
fn two_hosts_behind_one_nat_connect_by_host_candidates() {
    for seed in 0..50 {
        for (name, behaviour) in behaviours() {
            let mut world = World::new(Plan { same_network: true, ..Plan::nats(seed, [behaviour; 2]) });
            world.connect(5.0);
            for side in [A, B] {
                assert_eq!(
                    world.kinds(side),
                    (CandidateKind::Host, CandidateKind::Host),
                    "{name}, seed {seed}"
                );
            }
        }
    }
}

#[test]
fn without_a_relay_exactly_the_hopeless_pairs_fail() {
    for (a, first) in behaviours() {
        for (b, second) in behaviours() {
            let mut world =
                World::new(Plan { servers: vec!["stun:server.example"], ..Plan::nats(1, [first, second]) });
            world.offer();
            let connected = world.until(State::Completed, 60.0);
            assert_eq!(connected, !must_relay(a, b), "{a} x {b}\n{}", world.explain());
            if !connected {
                let causes = [A, B].map(|side| world.peer(side).failure().unwrap().cause.code());
                assert_eq!(causes, ["ice-no-direct-path"; 2], "{}", world.explain());
            }
        }
    }
}

#[test]
fn loss_of_30_percent_delays_but_does_not_prevent() {
    let mut slowest = Duration::ZERO;
    for seed in 0..200 {
        let pair = [behaviours()[seed as usize % 4].1, behaviours()[seed as usize / 4 % 4].1];
        let mut world = World::new(Plan { loss: 0.3, ..Plan::nats(seed, pair) });
        world.offer();
        assert!(world.until(State::Completed, 60.0), "seed {seed}\n{}", world.explain());
        let connected = [A, B].map(|side| world.peer(side).entered(State::Connected).unwrap());
        slowest = slowest.max(connected[A].max(connected[B]).elapsed());
        // Packets get through, now and then: no more than one in a hundred runs loses ten in a row.
        for side in [A, B] {
            world.with(side, |peer, _| peer.outbox.extend(vec![vec![7; 100]; 30]));
        }
        world.run_for(1.0);
        for side in [A, B] {
            assert!(world.peer(side).inbox.len() > 5, "seed {seed}\n{}", world.explain());
        }
    }
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let pair = [NatBehaviour::symmetric(), NatBehaviour::port_restricted()];
        let mut world = World::new(Plan { loss: 0.2, ..Plan::nats(seed, pair) });
        world.offer();
        world.run_for(60.0);
        (world.net.trace().digest(), world.net.trace().total())
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed).0, run(seed + 1).0);
    }
}

#[test]
fn where_udp_is_dropped_the_relay_is_reached_by_tcp_or_tls() {
    for (url, protocol) in [
        ("turn:server.example?transport=tcp", sansio::Transport::Tcp),
        ("turns:server.example", sansio::Transport::Tls),
    ] {
        for seed in 0..20 {
            let pair = [NatBehaviour::udp_blocked(), NatBehaviour::symmetric()];
            let servers = vec!["stun:server.example", "turn:server.example", url];
            let mut world = World::new(Plan { servers, ..Plan::nats(seed, pair) });
            world.connect(10.0);
            let pair = world.agent(A).selected().unwrap();
            assert_eq!(pair.local.kind, CandidateKind::Relay);
            assert_eq!(pair.local.relay_protocol, Some(protocol));
            assert_eq!(pair.local.url, Some(url.parse::<sterna_ice::ServerUrl>().unwrap().to_string()));
        }
    }
}

/// The relay over TCP may answer first. What is chosen is the one over UDP, which is as far away.
#[test]
fn of_two_ways_to_the_relay_udp_is_chosen_even_if_tcp_was_faster() {
    for seed in 0..40 {
        let mut world = World::new(Plan {
            servers: vec!["turn:server.example", "turn:server.example?transport=tcp"],
            config: |_, config| config.policy = TransportPolicy::Relay,
            uplink: Link { reorder: 0.3, ..Link::delay_ms(10) },
            ..Plan::nats(seed, [NatBehaviour::none(); 2])
        });
        world.connect(10.0);
        for side in [A, B] {
            let local = world.agent(side).selected().unwrap().local;
            assert_eq!(local.relay_protocol, Some(sansio::Transport::Udp), "{}", world.explain());
        }
    }
}

#[test]
fn a_second_nat_in_front_changes_nothing() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        let inner = world.net.add_network(world.nets[A], "inner", NatBehaviour::port_restricted());
        let host = world.net.add_host("c", &[inner]);
        let peer = world.with(A, |peer, now| {
            let config = sterna_ice::Config {
                controlling: true,
                servers: vec![world::server("turn:server.example")],
                ..sterna_ice::Config::new(world::seed(seed + 1000))
            };
            std::mem::replace(peer, world::Peer::new(now, config))
        });
        drop(peer);
        let moved = world::Peer::new(
            world.net.now(),
            sterna_ice::Config {
                controlling: true,
                servers: vec![world::server("turn:server.example")],
                ..sterna_ice::Config::new(world::seed(seed + 2000))
            },
        );
        world.net.start(host, moved);
        world.hosts[A] = host;
        world.connect(10.0);
        assert!(!world.is_relayed(), "{}", world.explain());
    }
}
