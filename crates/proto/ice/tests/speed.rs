//! No timer stands between two steps that could follow at once, and a bad path does not delay a good one.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_ice::{CandidateKind, Event, State};
use world::{A, B, Plan, World};

fn milliseconds(world: &World, side: usize, state: State) -> u128 {
    world.peer(side).entered(state).unwrap().elapsed().as_millis()
}

#[test]
fn on_the_open_internet_a_path_takes_one_round_trip_after_signalling() {
    for seed in 0..50 {
        // 20 ms of signalling each way; 30 ms of wire one way.
        let uplink = Link::delay_ms(15);
        let mut world = World::new(Plan { uplink, ..Plan::open(seed) });
        world.connect(5.0);
        // B has A's description after 20 ms and A's candidates with it, and checks at once.
        assert_eq!(milliseconds(&world, B, State::Connected), 20 + 60);
        // A has B's description after 40 ms; B's check is there after 50.
        assert!(milliseconds(&world, A, State::Connected) <= 50 + 60);
        // The best possible pair is nominated in the very instant it becomes valid: one more round trip.
        assert_eq!(milliseconds(&world, A, State::Completed) - milliseconds(&world, A, State::Connected), 60);
    }
}

#[test]
fn a_lan_is_done_in_two_round_trips() {
    for seed in 0..50 {
        let mut world = World::new(Plan {
            same_network: true,
            servers: vec![],
            ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2])
        });
        world.delay = Duration::ZERO;
        world.connect(5.0);
        for side in [A, B] {
            assert!(milliseconds(&world, side, State::Completed) <= 2, "{}", world.explain());
        }
    }
}

#[test]
fn one_dead_stun_server_delays_nobody() {
    let run = |seed, servers: Vec<&'static str>| {
        let mut world = World::new(Plan {
            servers,
            ..Plan::nats(seed, [NatBehaviour::port_restricted(), NatBehaviour::address_restricted()])
        });
        // An address at which nobody is.
        world.net.set_name("dead.example", &["203.0.113.77".parse().unwrap()]);
        world.connect(5.0);
        let complete = world
            .peer(A)
            .events
            .iter()
            .find(|(_, e)| matches!(e, Event::GatheringStateChanged(sterna_ice::GatheringState::Complete)))
            .map(|(at, _)| at.elapsed().as_millis())
            .unwrap();
        let errors = world.peer(A).count(|event| {
            matches!(event, Event::CandidateFailed { code: 701, url, .. } if url.contains("dead.example"))
        });
        ([A, B].map(|side| milliseconds(&world, side, State::Connected)), complete, errors)
    };
    for seed in 0..20 {
        let (alive, _, none) = run(seed, vec!["stun:server.example"]);
        let (mixed, complete, errors) = run(seed, vec!["stun:dead.example", "stun:server.example"]);
        assert_eq!((none, errors), (0, 1));
        // At most the pace of questions to servers.
        assert!(mixed[A] <= alive[A] + 5 && mixed[B] <= alive[B] + 5, "{alive:?} {mixed:?}");
        assert!(complete < 400, "not trickling costs {complete} ms");
    }
}

#[test]
fn a_server_whose_name_does_not_resolve_delays_nobody() {
    for seed in 0..20 {
        let mut world = World::new(Plan {
            servers: vec!["stun:nowhere.example", "stun:server.example"],
            ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2])
        });
        world.connect(5.0);
        assert!(!world.is_relayed());
        assert!(milliseconds(&world, A, State::Connected) < 300, "{}", world.explain());
    }
}

#[test]
fn relayed_data_flows_before_the_wait_for_something_better_is_over() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::symmetric(); 2]));
        world.with(A, |peer, _| peer.outbox.push_back(vec![1; 100]));
        world.offer();
        assert!(world.until(State::Connected, 1.0), "{}", world.explain());
        world.run_for(0.3);
        assert_eq!(world.peer(B).inbox, [vec![1; 100]]);
        assert_eq!(world.agent(A).state(), State::Connected);
        assert!(world.until(State::Completed, 3.0), "{}", world.explain());
    }
}

#[test]
fn a_direct_path_that_comes_late_wins_against_a_relayed_one() {
    for seed in 0..20 {
        let pair = [NatBehaviour::full_cone(), NatBehaviour::port_restricted()];
        let mut world = World::new(Plan::nats(seed, pair));
        // Signalling tells only of B's relay.
        world.filter =
            |side, candidate| (side == A || candidate.kind == CandidateKind::Relay).then_some(candidate);
        world.offer();
        assert!(world.until(State::Connected, 2.0));
        // B's own checks show its address to A before signalling does.
        assert!(world.until(State::Completed, 5.0));
        assert!(!world.is_relayed(), "{}", world.explain());
    }
}

#[test]
fn a_selected_pair_is_never_left_for_a_worse_one() {
    for seed in 0..100 {
        let uplink = Link { jitter: Duration::from_millis(30), ..Link::delay_ms(10) };
        let mut world = World::new(Plan {
            uplink: uplink.with_loss(0.2),
            ipv6: [seed % 2 == 0; 2],
            ..Plan::nats(seed, [NatBehaviour::address_restricted(), NatBehaviour::full_cone()])
        });
        world.offer();
        assert!(world.until(State::Completed, 30.0), "{}", world.explain());
        world.run_for(60.0);
        for side in [A, B] {
            let selections = world.peer(side).count(|event| matches!(event, Event::PairSelected(_)));
            assert_eq!(selections, 1, "{}", world.explain());
        }
        let pairs = [A, B].map(|side| {
            let pair = world.agent(side).selected().unwrap();
            (pair.local.address.to_string(), pair.remote.address.to_string())
        });
        assert_eq!(
            (&pairs[A].0, &pairs[A].1),
            (&pairs[B].1, &pairs[B].0),
            "seed {seed}: both take the same path\n{}",
            world.explain()
        );
    }
}

#[test]
fn with_both_families_ipv6_is_preferred_and_a_broken_one_costs_little() {
    for seed in 0..20 {
        let plan = Plan { ipv6: [true; 2], ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2]) };
        let mut world = World::new(plan);
        world.connect(5.0);
        assert!(
            world.agent(A).selected().unwrap().remote.address.ip().unwrap().is_ipv6(),
            "{}",
            world.explain()
        );

        let plan = Plan { ipv6: [true, false], ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2]) };
        let mut world = World::new(plan);
        world.connect(5.0);
        assert!(world.agent(A).selected().unwrap().remote.address.ip().unwrap().is_ipv4());
        assert!(milliseconds(&world, A, State::Connected) < 200);
    }
}

#[test]
fn several_interfaces_are_tried_together() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        for number in 0..4 {
            // Networks that lead nowhere, like those of containers.
            let nowhere = world.net.add_network(Net::INTERNET, "nowhere", NatBehaviour::port_restricted());
            let uplink = world.net.uplink(nowhere);
            world.net.set_link_up(uplink, false);
            let addresses = world.net.free_addresses(nowhere);
            world.net.add_interface(world.hosts[number % 2], nowhere, &addresses);
        }
        world.connect(10.0);
        assert!(!world.is_relayed(), "{}", world.explain());
        assert!(milliseconds(&world, A, State::Connected) < 300, "{}", world.explain());
    }
}
