//! Paths through NATs that map anew for each destination, looked for by force.

mod world;

use std::time::Duration;

use netsim::{NatBehaviour, PortAssignment};
use sansio::Seed;
use sterna_ice::{Config, Event, Punch, Punched, State};
use world::{A, B, Plan, World};

fn hard(ports: PortAssignment) -> NatBehaviour {
    NatBehaviour { ports, ..NatBehaviour::symmetric() }
}

fn wanted(_: usize, config: &mut Config) {
    config.punch = Some(Punch::default());
}

/// Two who have told each other that they punch, if they do.
fn world(plan: Plan) -> World {
    let mut world = World::new(plan);
    world::add_server(&mut world.net, "other.example");
    for side in [A, B] {
        world.with(side, |peer, now| peer.agent.set_remote_punching(now, true));
    }
    world
}

fn punched(world: &World) -> [Option<Punched>; 2] {
    [A, B].map(|side| world.agent(side).report().punched)
}

/// The first side sends a thousand packets to the second, which never opens a socket for them.
fn in_vain(seed: u64) -> World {
    let mut world = world(Plan {
        config: |side, config| {
            let sockets = if side == B { 0 } else { Punch::default().sockets };
            config.punch = Some(Punch { sockets, ..Punch::default() });
        },
        ..Plan::nats(seed, [NatBehaviour::port_restricted(), hard(PortAssignment::Random)])
    });
    world.offer();
    world
}

#[test]
fn without_any_relay_two_servers_show_what_is_needed() {
    let servers = || vec!["stun:server.example", "stun:other.example"];
    let easy = NatBehaviour::port_restricted();
    let pairs = [
        [hard(PortAssignment::Sequential), easy],
        [easy, hard(PortAssignment::Preserving)],
        [easy, hard(PortAssignment::Contiguous)],
        [hard(PortAssignment::Sequential); 2],
        [hard(PortAssignment::Preserving), hard(PortAssignment::Sequential)],
    ];
    for seed in 0..5 {
        for pair in pairs {
            let mut world = world(Plan { servers: servers(), config: wanted, ..Plan::nats(seed, pair) });
            world.connect(12.0);
            assert!(!world.is_relayed());
        }
        // What must be so is so only because of the punching.
        let mut world = world(Plan { servers: servers(), ..Plan::nats(seed, pairs[0]) });
        world.offer();
        assert!(!world.until(State::Completed, 12.0), "{}", world.explain());
    }
}

#[test]
fn a_relayed_path_is_used_meanwhile_and_then_left_for_the_direct_one() {
    for seed in 0..10 {
        let pair = [hard(PortAssignment::Random), NatBehaviour::port_restricted()];
        let mut world = world(Plan { config: wanted, ..Plan::nats(seed, pair) });
        world.offer();
        assert!(world.until(State::Connected, 2.0), "{}", world.explain());
        assert!(world.is_relayed(), "{}", world.explain());
        world.exchange();
        assert!(world.until(State::Completed, 12.0), "{}", world.explain());
        world.exchange();
        if world.is_relayed() {
            // Two in a hundred; it has cost what it may cost.
            assert_eq!(punched(&world)[B].unwrap().packets, 1024, "seed {seed}");
        }
    }
}

#[test]
fn nothing_is_sent_unless_both_sides_want_it() {
    let pair = [hard(PortAssignment::Sequential), NatBehaviour::port_restricted()];
    let only_here = |side: usize, config: &mut Config| {
        config.punch = (side == A).then(Punch::default);
    };
    let mut world = world(Plan { config: only_here, ..Plan::nats(1, pair) });
    // What the other side has not said.
    world.with(A, |peer, now| peer.agent.set_remote_punching(now, false));
    world.connect(12.0);
    assert!(world.is_relayed());
    assert_eq!(punched(&world), [None; 2]);
    assert_eq!(world.peer(A).sockets, 1, "scouts are sent home");
}

#[test]
fn packets_are_counted_and_paced() {
    let mut world = in_vain(1);
    let limit = Punch::default().packets;
    let mut last = None;
    assert!(world.run(Duration::from_secs(20), |net, hosts| {
        let peer = net.machine::<world::Peer>(hosts[A]);
        let sent = peer.agent.report().punched.map_or(0, |punched| punched.packets);
        let (at, before) = last.unwrap_or((net.now(), 0));
        if sent != before {
            assert_eq!(sent, before + 1);
            assert!(before == 0 || net.now() - at >= Duration::from_millis(5), "{sent}");
            last = Some((net.now(), sent));
        }
        sent == limit
    }));
    world.run_for(20.0);
    assert_eq!(punched(&world)[A], Some(Punched { packets: limit, sockets: 0, under_way: false }));
    assert!(world.is_relayed() && world.agent(A).state() == State::Completed, "{}", world.explain());
}

#[test]
fn what_was_spent_is_spent_for_later_sessions_too() {
    let mut world = in_vain(2);
    world.run_for(20.0);
    let before = punched(&world);
    world.restart();
    world.run_for(20.0);
    assert_eq!(punched(&world), before);
    assert!(world.is_relayed());
}

#[test]
fn sockets_that_nothing_came_through_are_closed() {
    for (ports, most) in [(PortAssignment::Random, 256), (PortAssignment::Preserving, 10)] {
        let pair = [hard(ports), NatBehaviour::port_restricted()];
        let mut world = world(Plan { config: wanted, ..Plan::nats(3, pair) });
        world.connect(12.0);
        assert!(!world.is_relayed(), "{}", world.explain());
        world.run_for(4.0);
        let peer = world.peer(A);
        assert!(peer.most_sockets > 4 && peer.most_sockets <= most + 5, "{}", peer.most_sockets);
        assert_eq!(
            (peer.sockets, world.peer(B).sockets),
            (2, 1),
            "the first one, and the one that the path leaves from"
        );
        world.restart();
        world.run_for(20.0);
        world.exchange();
        assert!(world.peer(A).sockets <= 3, "{}", world.peer(A).sockets);
        world.with(A, |peer, now| peer.agent.close(now));
        world.run_for(1.0);
        assert_eq!(world.peer(A).sockets, 0);
    }
}

#[test]
fn two_hard_nats_without_a_rule_are_left_alone() {
    let pair = [hard(PortAssignment::Random), hard(PortAssignment::Sequential)];
    let mut world = world(Plan { config: wanted, ..Plan::nats(1, pair) });
    world.connect(12.0);
    assert!(world.is_relayed());
    assert_eq!(punched(&world), [None; 2]);
}

#[test]
fn an_announced_hole_is_no_candidate_to_those_who_do_not_punch() {
    let mut agent = sterna_ice::Agent::new(sansio::Time::ZERO, Config::new(Seed::from(1)));
    let credentials = sterna_ice::Credentials::new("abcd", "0123456789012345678901").unwrap();
    agent.set_remote_credentials(sansio::Time::ZERO, credentials);
    let line = "candidate:1 1 udp 1000 192.0.2.1 4000 typ srflx raddr 0.0.0.0 rport 9 sterna-aim 1";
    agent.add_remote_candidate(sansio::Time::ZERO, line.parse().unwrap());
    assert!(agent.report().remote.is_empty());
}

#[test]
fn announced_holes_are_told_once_in_each_session() {
    let pair = [hard(PortAssignment::Sequential), NatBehaviour::port_restricted()];
    let mut world = world(Plan { config: wanted, ..Plan::nats(1, pair) });
    world.connect(12.0);
    let aims = |world: &World| {
        let is_aim = |event: &Event| matches!(event, Event::CandidateGathered(it) if it.to_string().contains("sterna-aim"));
        world.peer(A).count(is_aim)
    };
    assert_eq!(aims(&world), 1);
    world.restart();
    world.run_for(10.0);
    assert_eq!(aims(&world), 2, "and not the old one again");
    assert_eq!(world.agent(A).local_candidates().filter(|it| !it.extensions.is_empty()).count(), 1);
}
