//! Servers that the DNS names by SRV records (RFC 8489 §8, RFC 5928 §3).

mod world;

use netsim::NatBehaviour;
use sterna_ice::Event;
use world::{A, Plan, World};

fn world(seed: u64, server: &'static str) -> World {
    World::new(Plan { servers: vec![server], ..Plan::nats(seed, [NatBehaviour::symmetric(); 2]) })
}

#[test]
fn a_domain_that_is_no_server_says_where_its_relay_is() {
    for seed in 0..10 {
        let mut world = world(seed, "turn:office.example");
        world.net.add_service("_turn._udp.office.example", "server.example", 3478);
        world.connect(5.0);
        assert!(world.is_relayed(), "{}", world.explain());
    }
}

#[test]
fn with_a_port_in_its_url_a_domain_is_a_server_and_nothing_else() {
    let mut world = world(1, "turn:office.example:3478");
    world.net.add_service("_turn._udp.office.example", "server.example", 3478);
    world.gather(A);
    world.run_for(2.0);
    let unresolved = |event: &Event| matches!(event, Event::CandidateFailed { code: 701, text, .. } if text.contains("name not found"));
    assert_eq!(world.peer(A).count(unresolved), 1, "{}", world.explain());
}
