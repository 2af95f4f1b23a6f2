//! What the other side, and who reads reports, may learn of our addresses (RFC 8828).

mod world;

use netsim::NatBehaviour;
use sterna_ice::{AddressPolicy, CandidateAddress, CandidateKind, Config, State, TransportPolicy};
use world::{A, B, Plan, World};

/// Everything that an agent tells, as text.
fn told(world: &World, side: usize) -> String {
    let peer = world.peer(side);
    let events: Vec<_> = peer.events.iter().map(|(_, event)| format!("{event:?}")).collect();
    let report = peer.agent.report();
    let candidates: Vec<_> = peer.agent.local_candidates().map(ToString::to_string).collect();
    // Of the other side's report only what is about us matters, and the other way round.
    format!(
        "{events:?} {:?} {:?} {candidates:?} {:?} {:?} {:?}",
        report.local,
        report.servers,
        report.pairs.iter().map(|pair| &pair.local).collect::<Vec<_>>(),
        peer.agent.selected().map(|pair| pair.local),
        peer.agent.default_candidate(),
    )
}

fn own_address(world: &World, side: usize) -> String {
    world.net.address(world.hosts[side]).to_string()
}

#[test]
fn mdns_hides_addresses_and_connects_on_one_network() {
    for seed in 0..20 {
        let plan = Plan {
            config: |_, config: &mut Config| config.mdns = true,
            same_network: true,
            ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2])
        };
        let mut world = World::new(plan);
        world.connect(10.0);
        assert_eq!(world.kinds(A), (CandidateKind::Host, CandidateKind::Host), "{}", world.explain());
        for side in [A, B] {
            let selected = world.agent(side).selected().unwrap();
            assert!(matches!(selected.local.address, CandidateAddress::Mdns { .. }));
            assert!(matches!(selected.remote.address, CandidateAddress::Mdns { .. }));
            let told = told(&world, side);
            assert!(!told.contains(&own_address(&world, side)), "{told}");
        }
    }
}

#[test]
fn mdns_does_not_hide_the_way_from_outside() {
    for seed in 0..20 {
        let config: fn(usize, &mut Config) = |_, config| config.mdns = true;
        let mut world = World::new(Plan { config, ..Plan::nats(seed, [NatBehaviour::port_restricted(); 2]) });
        world.connect(10.0);
        assert!(!world.is_relayed());
        for side in [A, B] {
            let told = told(&world, side);
            assert!(!told.contains(&own_address(&world, side)), "{told}");
        }
        // Without a NAT, the address that servers see has to be told for anybody to come in.
        let mut world = World::new(Plan { config, servers: vec!["stun:server.example"], ..Plan::open(seed) });
        world.connect(10.0);
    }
}

#[test]
fn mode_3_tells_only_what_servers_see() {
    for seed in 0..20 {
        for same_network in [false, true] {
            let config: fn(usize, &mut Config) =
                |_, config| config.address_policy = AddressPolicy::DefaultRouteOnly;
            let behaviour =
                NatBehaviour { hairpin: netsim::Hairpin::External, ..NatBehaviour::port_restricted() };
            let mut world = World::new(Plan { config, same_network, ..Plan::nats(seed, [behaviour; 2]) });
            world.connect(10.0);
            for side in [A, B] {
                let host = |c: &sterna_ice::Candidate| c.kind == CandidateKind::Host;
                assert!(!world.agent(side).local_candidates().any(host));
                let told = told(&world, side);
                assert!(!told.contains(&own_address(&world, side)), "{told}");
            }
        }
    }
}

#[test]
fn relay_only_uses_and_tells_nothing_else() {
    for seed in 0..20 {
        let config: fn(usize, &mut Config) = |side, config| {
            if side == A {
                config.policy = TransportPolicy::Relay;
            }
        };
        let mut world = World::new(Plan { config, ..Plan::nats(seed, [NatBehaviour::full_cone(); 2]) });
        world.connect(10.0);
        assert_eq!(world.kinds(A).0, CandidateKind::Relay);
        assert!(world.agent(A).local_candidates().all(|candidate| candidate.kind == CandidateKind::Relay));
        let told = told(&world, A);
        let outer = world.net.external_address(world.nets[A]).to_string();
        assert!(!told.contains(&own_address(&world, A)) && !told.contains(&outer), "{told}");
        // B never saw a packet from there.
        let seen = world.agent(B).report();
        assert!(!format!("{:?}", seen.remote).contains(&outer));
        assert_eq!(seen.drops.unvalidated, 0);
    }
}

#[test]
fn mode_4_uses_streams_to_turn_servers_only() {
    let config: fn(usize, &mut Config) = |_, config| config.address_policy = AddressPolicy::ProxyOnly;
    let servers = vec!["stun:server.example", "turn:server.example", "turn:server.example?transport=tcp"];
    let mut world = World::new(Plan { config, servers, ..Plan::nats(1, [NatBehaviour::full_cone(); 2]) });
    world.connect(10.0);
    let relayed = world.agent(A).selected().unwrap().local;
    assert_eq!(relayed.relay_protocol, Some(sansio::Transport::Tcp));
    assert_eq!(world.agent(A).state(), State::Completed);
}

#[test]
fn mode_3_does_not_tell_what_a_peer_next_door_sees() {
    let config: fn(usize, &mut Config) = |side, config| {
        if side == A {
            config.address_policy = AddressPolicy::DefaultRouteOnly;
        }
    };
    let plan = Plan { config, same_network: true, ..Plan::nats(1, [NatBehaviour::port_restricted(); 2]) };
    let mut world = World::new(plan);
    world.connect(10.0);
    // They meet on the local network, where B sees A's address; A says nothing of it.
    assert_eq!(world.kinds(A), (CandidateKind::Prflx, CandidateKind::Host), "{}", world.explain());
    let told = told(&world, A);
    assert!(!told.contains(&own_address(&world, A)), "{told}");
}
