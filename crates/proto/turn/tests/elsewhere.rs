//! Clients that this server does not take, and sends to another (RFC 8489 §10).

mod world;

use sterna_turn::{ClientEvent, OtherServer};
use stun::{Message, Method, kind};
use world::{Raw, World, address, allocate, client_path, credentials, outcome};

const PEER: &str = "203.0.113.9:4000";

fn config() -> sterna_turn::ServerConfig {
    let mut config = world::server_config();
    config.others = vec![
        OtherServer { address: address("[2001:db8::99]:3478"), domain: None },
        OtherServer { address: address("192.0.2.99:3478"), domain: Some("b.example.org".into()) },
    ];
    config
}

#[test]
fn a_server_that_drains_sends_new_clients_away_and_keeps_those_it_has() {
    let mut world = World::with(config());
    let at = world.connected("alice", 1000, address(PEER));
    world.server.drain(Some(address("192.0.2.99:3478")));
    let late = world.add_client("bob", 1001);
    world.settle();
    let redirected = ClientEvent::Redirected { server: address("192.0.2.99:3478"), domain: None };
    assert_eq!(world.events(late), [redirected]);
    world.advance_secs(7200);
    assert_eq!(world.events(at), [], "who is here stays");
    assert!(world.send(at, address(PEER), b"still here"));
    let now = world.now;
    world.client(at).close(now);
    world.settle();
    assert_eq!(world.server.allocations(), 0, "drained");
}

#[test]
fn strangers_are_challenged_and_not_redirected_and_the_redirection_is_signed() {
    let mut world = World::with(config());
    world.server.drain(Some(address("192.0.2.99:3478")));
    let mut raw = Raw::new(client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    assert_eq!(outcome(&world.ask(raw.path, &request).unwrap()), Err(401));
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code().unwrap().code, 300);
    assert!(answer.integrity().is_some());
    assert_eq!(answer.address(kind::ALTERNATE_SERVER), Some(address("192.0.2.99:3478")));
}

#[test]
fn a_full_server_sends_clients_away_and_without_another_says_508() {
    let (full, no_ports) = (1, 100);
    for (total, others, expected) in [
        (full, config().others, 300),
        (full, Vec::new(), 508),
        (no_ports, config().others, 300),
        (no_ports, Vec::new(), 508),
    ] {
        let mut config = config();
        config.others = others;
        config.quotas.total = total;
        config.ports = 50_000..=50_000;
        let mut world = World::with(config);
        world.allocated("alice", 1000);
        let mut raw = Raw::challenged(&mut world, client_path(1001), credentials("bob"));
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(expected));
    }
}

#[test]
fn a_server_that_drains_sends_clients_to_the_others_that_it_was_told_of_last() {
    let mut world = World::with(config());
    world.server.drain(None);
    world.server.send_to(vec![OtherServer { address: address("192.0.2.77:3478"), domain: None }]);
    let late = world.add_client("bob", 1001);
    world.settle();
    let redirected = ClientEvent::Redirected { server: address("192.0.2.77:3478"), domain: None };
    assert_eq!(world.events(late), [redirected]);
    world.server.send_to(Vec::new());
    let mut raw = Raw::challenged(&mut world, client_path(1002), credentials("carol"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(508));
}

/// RFC 8155 §6: "performs checks 1 through 7 … If all checks pass, the TURN anycast server MUST respond with a 300".
#[test]
fn at_the_anycast_address_clients_are_told_where_this_server_is() {
    let mut path = client_path(1000);
    path.remote.set_ip(sterna_turn::discovery::ANYCAST_V4.into());
    let mut config = world::server_config();
    config.listening.push(path.remote);
    config.quotas.per_user = 1;
    let mut world = World::with(config);
    let mut raw = Raw::new(path, credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    assert_eq!(outcome(&world.ask(path, &request).unwrap()), Err(401), "the first check is the password");
    let mut raw = Raw::challenged(&mut world, path, credentials("alice"));
    assert_eq!(
        raw.ask(&mut world, Method::ALLOCATE, &|_| {}),
        Err(400),
        "and the third is what is asked for"
    );
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(path, &request).unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code().unwrap().code, 300);
    assert!(answer.integrity().is_some());
    let home =
        std::net::SocketAddr::new(world::server_config().relay_addresses[0].advertised, path.remote.port());
    assert_eq!(answer.address(kind::ALTERNATE_SERVER), Some(home));
    assert_eq!(world.server.allocations(), 0);
    // It costs nobody's quota, and at its own address the same client is welcome.
    for _ in 0..3 {
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(300));
    }
    world.allocated("alice", 1001);
}
