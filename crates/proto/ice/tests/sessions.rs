//! What sessions go through: roles, lite agents, restarts, lost consent, trickling.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_ice::{CandidateKind, Credentials, Event, GatheringState, Interface, State};
use world::{A, B, Peer, Plan, World, interfaces, set_credentials};

fn seconds(world: &World, side: usize, state: State) -> f64 {
    world.peer(side).entered(state).unwrap().elapsed().as_secs_f64()
}

#[test]
fn a_role_conflict_is_repaired() {
    for seed in 0..100 {
        for controlling in [true, false] {
            let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
            for side in [A, B] {
                world.with(side, |peer, now| peer.agent.set_controlling(now, controlling));
            }
            world.connect(10.0);
            let roles = [A, B].map(|side| world.agent(side).is_controlling());
            assert_ne!(roles[A], roles[B], "{}", world.explain());
            let changes =
                [A, B].map(|side| world.peer(side).count(|event| matches!(event, Event::RoleChanged(_))));
            assert_eq!(changes[A] + changes[B], 1, "exactly one gives way");
        }
    }
}

#[test]
fn a_full_agent_connects_to_a_lite_one_and_controls() {
    for seed in 0..50 {
        for lite in [A, B] {
            let behaviours = match lite {
                A => [NatBehaviour::none(), NatBehaviour::symmetric()],
                _ => [NatBehaviour::symmetric(), NatBehaviour::none()],
            };
            let config: fn(usize, &mut sterna_ice::Config) = match lite {
                A => |side, config| config.lite = side == A,
                _ => |side, config| config.lite = side == B,
            };
            let mut world = World::new(Plan { config, ..Plan::nats(seed, behaviours) });
            world.with(lite, |peer, now| peer.agent.set_controlling(now, false));
            world.with(1 - lite, |peer, now| peer.agent.set_remote_lite(now, true));
            world.connect(10.0);
            assert!(world.agent(1 - lite).is_controlling());
            assert!(!world.is_relayed());
            let sent: u32 = world.agent(lite).report().pairs.iter().map(|pair| pair.checks_sent).sum();
            assert_eq!(sent, 0, "a lite agent checks nothing");
            // Both stay, with no more than the checks of one side.
            world.run_for(120.0);
            world.exchange();
            let states = [A, B].map(|side| world.agent(side).state());
            assert_eq!(states, [State::Completed; 2]);
        }
    }
}

#[test]
fn two_lite_agents_take_what_there_is() {
    let mut world = World::new(Plan { config: |_, config| config.lite = true, ..Plan::open(1) });
    for side in [A, B] {
        world.with(side, |peer, now| peer.agent.set_remote_lite(now, true));
    }
    world.connect(5.0);
}

#[test]
fn a_restart_keeps_data_flowing_and_ends_on_new_credentials() {
    for seed in 0..50 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.connect(10.0);
        let old = [A, B].map(|side| world.agent(side).local_credentials().clone());
        let (restarter, other) = if seed % 2 == 0 { (A, B) } else { (B, A) };
        for side in [A, B] {
            world.with(side, |peer, _| peer.inbox.clear());
        }
        let host = world.hosts[other];
        let back = world.hosts[restarter];
        world.with(restarter, |peer, now| peer.agent.restart(now));
        world.gather(restarter);
        let fresh = world.agent(restarter).local_credentials().clone();
        world.net.after(Duration::from_millis(200), move |net| {
            net.with(host, |peer: &mut Peer, now| peer.agent.restart(now));
            let found = interfaces(net, host);
            net.with(host, |peer: &mut Peer, now| peer.agent.gather(now, &found));
            set_credentials(net, host, fresh);
            let answer = net.machine::<Peer>(host).agent.local_credentials().clone();
            net.after(Duration::from_millis(200), move |net| set_credentials(net, back, answer));
        });
        // A steady stream in both directions does not notice.
        for number in 0..100u8 {
            for side in [A, B] {
                world.with(side, |peer, _| peer.outbox.push_back(vec![number; 50]));
            }
            world.run_for(0.02);
        }
        world.run_for(1.0);
        for side in [A, B] {
            let numbers: Vec<u8> = world.peer(side).inbox.iter().map(|bytes| bytes[0]).collect();
            assert_eq!(numbers, (0..100).collect::<Vec<u8>>(), "seed {seed}\n{}", world.explain());
            assert_ne!(world.agent(side).local_credentials(), &old[side]);
            let selections = world.peer(side).count(|event| matches!(event, Event::PairSelected(_)));
            assert_eq!(selections, 2);
            assert!(!world.peer(side).states().contains(&State::Disconnected));
        }
        world.run_for(60.0);
        world.exchange();
    }
}

#[test]
fn a_restart_that_the_other_side_does_not_join_can_be_undone() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::port_restricted(); 2]));
    world.connect(10.0);
    let before = world.agent(A).local_credentials().clone();
    world.with(A, |peer, now| peer.agent.restart(now));
    assert_ne!(world.agent(A).local_credentials(), &before);
    world.run_for(20.0);
    assert_eq!(world.agent(A).state(), State::Completed, "{}", world.explain());
    world.with(A, |peer, now| peer.agent.undo_restart(now));
    assert_eq!(world.agent(A).local_credentials(), &before);
    world.run_for(60.0);
    world.exchange();
}

#[test]
fn a_restart_finds_the_way_after_the_address_has_changed() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.connect(10.0);
        let other = world.net.add_network(Net::INTERNET, "other", NatBehaviour::address_restricted());
        // From Wi-Fi to another network.
        let host = world.hosts[A];
        world.net.set_addresses(host, world.nets[A], &[]);
        let addresses = world.net.free_addresses(other);
        world.net.add_interface(host, other, &addresses);
        world.run_for(3.0);
        for side in [A, B] {
            world.with(side, |peer, now| peer.agent.restart(now));
            world.gather(side);
        }
        assert_ne!(world.agent(A).state(), State::Failed);
        world.send_credentials(A);
        world.send_credentials(B);
        assert!(world.until(State::Completed, 10.0), "{}", world.explain());
        world.exchange();
        assert!(world.peer(A).failure().is_none());
    }
}

#[test]
fn the_loss_of_the_own_address_is_told_at_once() {
    let mut world = World::new(Plan::open(1));
    world.connect(5.0);
    let gone: Vec<Interface> = Vec::new();
    world.with(A, |peer, now| peer.agent.gather(now, &gone));
    world.run_for(0.1);
    assert_eq!(world.agent(A).state(), State::Failed);
    assert_eq!(world.peer(A).failure().unwrap().cause.code(), "ice-address-lost");
}

#[test]
fn lost_consent_ends_sending_within_30_seconds() {
    for seed in 0..50 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.connect(10.0);
        world.run_for(20.0);
        let cut = world.net.now();
        let uplink = world.net.uplink(world.nets[B]);
        world.net.set_link_up(uplink, false);
        // Somebody who always has something to say.
        let mut sent_after = 0;
        for _ in 0..100 {
            world.with(A, |peer, _| peer.outbox.push_back(vec![1; 100]));
            world.run_for(0.5);
            if world.agent(A).state() == State::Failed {
                sent_after = world.net.trace().total();
                break;
            }
        }
        let peer = world.peer(A);
        let since = |state| peer.entered(state).unwrap().since(cut).as_secs_f64();
        assert!(since(State::Disconnected) <= 10.1, "{}", world.explain());
        assert!(since(State::Failed) <= 30.1, "{}", world.explain());
        assert!(since(State::Failed) >= 20.0);
        assert_eq!(peer.failure().unwrap().cause.code(), "ice-consent-lost");
        // The network comes back: nobody says anything any more, but for farewells to the TURN server.
        world.run_for(5.0);
        world.net.set_link_up(uplink, true);
        world.run_for(40.0);
        let quiet = world.net.trace().total();
        assert!(quiet - sent_after < 200, "B goes on until its own consent is lost");
        world.with(A, |peer, _| peer.outbox.push_back(vec![1; 100]));
        world.run_for(100.0);
        assert_eq!(world.net.trace().total(), quiet, "silence\n{}", world.explain());
    }
}

#[test]
fn a_short_outage_is_only_a_disconnection() {
    for seed in 0..50 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.connect(10.0);
        let uplink = world.net.uplink(world.nets[B]);
        world.net.set_link_up(uplink, false);
        world.run_for(20.0);
        assert_eq!([A, B].map(|side| world.agent(side).state()), [State::Disconnected; 2]);
        world.net.set_link_up(uplink, true);
        world.run_for(9.0);
        assert_eq!(
            [A, B].map(|side| world.agent(side).state()),
            [State::Completed; 2],
            "{}",
            world.explain()
        );
        world.exchange();
    }
}

#[test]
fn an_idle_connection_keeps_its_nat_bindings() {
    for seed in 0..10 {
        let behaviour =
            NatBehaviour { udp_timeout: Duration::from_secs(30), ..NatBehaviour::port_restricted() };
        let mut world = World::new(Plan::nats(seed, [behaviour, behaviour]));
        world.connect(10.0);
        world.run_for(1800.0);
        world.exchange();
        let states = [A, B].map(|side| world.peer(side).states());
        for states in states {
            assert_eq!(states, [State::Checking, State::Connected, State::Completed]);
        }
    }
}

#[test]
fn relayed_connections_outlive_permissions_channels_and_allocations() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::symmetric(); 2]));
    world.connect(10.0);
    world.run_for(3700.0);
    world.exchange();
    assert!(world.is_relayed());
}

#[test]
fn gathered_candidates_stay_good_until_the_other_side_is_there() {
    for seed in 0..10 {
        let behaviour =
            NatBehaviour { udp_timeout: Duration::from_secs(30), ..NatBehaviour::port_restricted() };
        let mut world =
            World::new(Plan { servers: vec!["stun:server.example"], ..Plan::nats(seed, [behaviour; 2]) });
        world.gather(A);
        world.run_for(600.0);
        world.connect(10.0);
        assert!(world.agent(A).report().pairs.iter().any(|pair| pair.local.kind == CandidateKind::Srflx));
    }
}

#[test]
fn candidates_may_come_before_the_description() {
    for seed in 0..50 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.gather(A);
        world.gather(B);
        // All candidates of both sides are there long before any credentials.
        world.run_for(6.0);
        assert_eq!([A, B].map(|side| world.agent(side).gathering_state()), [GatheringState::Complete; 2]);
        assert_eq!([A, B].map(|side| world.agent(side).state()), [State::New; 2]);
        world.send_credentials(A);
        world.run_for(0.5);
        world.send_credentials(B);
        assert!(world.until(State::Completed, 10.0), "{}", world.explain());
        world.exchange();
        assert!(!world.is_relayed());
    }
}

#[test]
fn checks_that_come_before_the_answer_are_answered_and_used() {
    for seed in 0..50 {
        let mut world = World::new(Plan::open(seed));
        world.gather(A);
        world.gather(B);
        world.send_credentials(A);
        // B checks for a while, with nothing known of it to A. Its candidates do not come at all.
        world.filter = |side, candidate| (side == A).then_some(candidate);
        world.run_for(2.0);
        assert_eq!(world.agent(B).state(), State::Connected, "A answers what it can authenticate");
        let answered = world.net.now();
        world.send_credentials(B);
        assert!(world.until(State::Completed, 5.0), "{}", world.explain());
        assert_eq!(world.kinds(A).1, CandidateKind::Prflx);
        assert!(
            world.peer(A).entered(State::Connected).unwrap().since(answered) < Duration::from_millis(100)
        );
        world.exchange();
    }
}

#[test]
fn everything_at_once_works_as_well_as_trickling() {
    for seed in 0..50 {
        let config: fn(usize, &mut sterna_ice::Config) = |_, config| config.trickle = false;
        let mut world = World::new(Plan { config, ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2]) });
        world.gather(A);
        world.gather(B);
        // Nothing is signalled before all is gathered.
        let done =
            |net: &Net, host| net.machine::<Peer>(host).agent.gathering_state() == GatheringState::Complete;
        assert!(
            world
                .net
                .run_until(Duration::from_secs(5), |net| world.hosts.iter().all(|host| done(net, *host)))
        );
        world.send_credentials(A);
        world.send_credentials(B);
        assert!(world.until(State::Completed, 5.0), "{}", world.explain());
        assert!(!world.is_relayed());
    }
}

#[test]
fn candidates_of_an_earlier_session_and_after_the_end_are_ignored() {
    let mut world = World::new(Plan::open(1));
    world.connect(5.0);
    let known = world.agent(A).report().remote.len();
    let late = "1 1 udp 5 192.0.2.9 9 typ host".parse().unwrap();
    world.with(A, |peer, now| peer.agent.add_remote_candidate(now, late));
    assert_eq!(world.agent(A).report().remote.len(), known, "RFC 8838 §14");
    let old = world.agent(B).local_credentials().ufrag.clone();
    world.with(A, |peer, now| peer.agent.restart(now));
    let stale = format!("1 1 udp 5 192.0.2.9 9 typ host ufrag {old}").parse().unwrap();
    let fresh: sterna_ice::Candidate = "1 1 udp 5 192.0.2.10 9 typ host ufrag next".parse().unwrap();
    world.with(A, |peer, now| {
        peer.agent.add_remote_candidate(now, stale);
        peer.agent.add_remote_candidate(now, fresh.clone());
        let credentials =
            Credentials::new("next", "a password of 22 letters".replace(' ', "-").as_str()).unwrap();
        peer.agent.set_remote_credentials(now, credentials);
    });
    let remote = world.agent(A).report().remote;
    assert_eq!(remote.len(), 1);
    assert_eq!(remote[0].candidate.address, fresh.address);
}

#[test]
fn no_more_than_the_limits_is_paired_and_remembered() {
    let mut world = World::new(Plan::open(1));
    world.gather(A);
    world.run_for(0.1);
    let credentials = world.agent(B).local_credentials().clone();
    world.with(A, |peer, now| {
        for number in 0..1000u32 {
            let line =
                format!("1 1 udp {} 198.51.{}.{} 9 typ host", 5000 + number, number / 200, number % 200 + 1);
            peer.agent.add_remote_candidate(now, line.parse().unwrap());
            let line = format!("1 1 udp {} name-{number}.local 9 typ host", 5000 + number);
            peer.agent.add_remote_candidate(now, line.parse().unwrap());
        }
        peer.agent.set_remote_credentials(now, credentials);
    });
    let before = world.net.trace().total();
    world.run_for(1.0);
    let report = world.agent(A).report();
    assert!(report.pairs.len() <= 100 && report.remote.len() <= 100);
    let resolving = |remote: &sterna_ice::RemoteReport| matches!(&remote.fate, sterna_ice::RemoteFate::Unresolved(why) if why == "too many names");
    assert!(report.remote.iter().filter(|remote| resolving(remote)).count() >= 50 - 16);
    // At Ta = 5 ms, and one repetition each.
    assert!(world.net.trace().total() - before <= 3 * 200, "{}", world.net.trace().total() - before);
    assert!(report.drops.over_limit > 0);
}

#[test]
fn closing_gives_everything_back() {
    for seed in 0..10 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::symmetric(); 2]));
        world.connect(10.0);
        for side in [A, B] {
            world.with(side, |peer, now| peer.agent.close(now));
        }
        world.run_for(5.0);
        let quiet = world.net.trace().total();
        world.run_for(1000.0);
        assert_eq!(world.net.trace().total(), quiet);
        assert_eq!([A, B].map(|side| world.agent(side).state()), [State::Closed; 2]);
        // The port is free again.
        let local = world.agent(A).report().servers.iter().find_map(|server| server.local).unwrap();
        let host = world.hosts[A];
        world.net.bind(host, local).unwrap();
    }
}

#[test]
fn unselected_relays_are_given_back() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::port_restricted(); 2]));
    world.connect(10.0);
    world.run_for(10.0);
    let server = world.net.machine::<turn::Server>(world.server);
    assert_eq!(server.allocations(), 0);
    assert!(!world.is_relayed());
}

#[test]
fn jitter_reordering_and_duplicates_change_nothing() {
    for seed in 0..100 {
        let uplink =
            Link { jitter: Duration::from_millis(40), duplicate: 0.2, reorder: 0.3, ..Link::delay_ms(10) };
        let plan =
            Plan { uplink, ..Plan::nats(seed, [NatBehaviour::port_restricted(), NatBehaviour::full_cone()]) };
        let mut world = World::new(plan);
        world.offer();
        assert!(world.until(State::Completed, 10.0), "seed {seed}\n{}", world.explain());
        assert!(seconds(&world, A, State::Completed) < 2.0);
        assert!(!world.is_relayed(), "seed {seed}\n{}", world.explain());
    }
}

#[test]
fn after_a_failure_a_restart_connects_again() {
    for seed in 0..20 {
        let behaviour = if seed % 2 == 0 { NatBehaviour::symmetric() } else { NatBehaviour::full_cone() };
        let mut world = World::new(Plan::nats(seed, [behaviour; 2]));
        world.connect(10.0);
        let uplink = world.net.uplink(world.nets[B]);
        world.net.set_link_up(uplink, false);
        world.run_for(50.0);
        assert_eq!([A, B].map(|side| world.agent(side).state()), [State::Failed; 2]);
        world.net.set_link_up(uplink, true);
        for side in [A, B] {
            world.with(side, |peer, now| peer.agent.restart(now));
            world.gather(side);
        }
        world.send_credentials(A);
        world.send_credentials(B);
        assert!(world.until(State::Completed, 10.0), "{}", world.explain());
        world.exchange();
        assert_eq!(world.is_relayed(), seed % 2 == 0);
    }
}

#[test]
fn a_restart_right_after_the_relay_was_given_back_gets_a_new_one() {
    for milliseconds in [0u64, 1, 10, 20, 30, 40, 60] {
        let mut world = World::new(Plan::nats(1, [NatBehaviour::full_cone(); 2]));
        world.offer();
        assert!(world.until(State::Completed, 5.0));
        let given_back = world.peer(A).entered(State::Completed).unwrap() + Duration::from_secs(3);
        let until = given_back.since(world.net.now()) + Duration::from_millis(milliseconds);
        world.run(until, |_, _| false);
        world.with(A, |peer, now| peer.agent.restart(now));
        world.gather(A);
        world.run_for(1.0);
        let relayed = |candidate: &sterna_ice::Candidate| candidate.kind == CandidateKind::Relay;
        assert!(world.agent(A).local_candidates().any(relayed), "{milliseconds} ms\n{}", world.explain());
        assert_eq!(world.agent(A).gathering_state(), GatheringState::Complete);
    }
}

#[test]
fn a_new_interface_brings_candidates_without_a_restart() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::port_restricted(); 2]));
    world.gather(A);
    world.run_for(1.0);
    let before = world.agent(A).local_candidates().count();
    let other = world.net.add_network(Net::INTERNET, "other", NatBehaviour::address_restricted());
    let addresses = world.net.free_addresses(other);
    world.net.add_interface(world.hosts[A], other, &addresses);
    let told = world.peer(A).count(|event| matches!(event, Event::CandidateGathered(_)));
    world.gather(A);
    world.run_for(1.0);
    let after = world.agent(A).local_candidates().count();
    let told_now = world.peer(A).count(|event| matches!(event, Event::CandidateGathered(_)));
    assert_eq!(told_now - told, after - before, "only what is new");
    assert_eq!(after - before, 3, "host, reflexive and relayed\n{}", world.explain());
}

#[test]
fn a_restart_in_the_middle_of_checks_can_be_undone() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::port_restricted(); 2]));
        world.offer();
        assert!(world.run(Duration::from_secs(1), |net, hosts| {
            net.machine::<Peer>(hosts[A]).agent.report().pairs.len() > 1
        }));
        world.with(A, |peer, now| peer.agent.restart(now));
        // Long enough for the first session to have lost its chance, had it gone on.
        world.run_for(5.0);
        world.with(A, |peer, now| peer.agent.undo_restart(now));
        assert!(world.until(State::Completed, 10.0), "{}", world.explain());
        world.exchange();
    }
}
