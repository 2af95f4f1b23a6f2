//! Even ports, and the port after one that is kept for later (RFC 8656 §7.2).

mod world;

use stun::{Message, Method, kind};
use world::{Raw, World, allocate_and, client_path, credentials, relayed_in};

/// A client that asks for a pair of ports: its relayed port, and the token for the next one.
fn pair(world: &mut World, port: u16) -> (Raw, u16, [u8; 8]) {
    let mut raw = Raw::challenged(world, client_path(port), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &|w| allocate_and(w, kind::EVEN_PORT, &[0x80]));
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(world.ask(raw.path, &request).unwrap(), answer, "a retransmission gets the same token");
    let token = Message::parse(&answer).unwrap().raw(kind::RESERVATION_TOKEN).unwrap();
    (raw, relayed_in(&answer)[0].port(), token.try_into().unwrap())
}

/// What somebody gets who comes with the token.
fn redeem(world: &mut World, port: u16, token: [u8; 8]) -> Result<u16, u16> {
    let mut raw = Raw::challenged(world, client_path(port), credentials("bob"));
    let request = raw.write(Method::ALLOCATE, &|w| allocate_and(w, kind::RESERVATION_TOKEN, &token));
    let answer = world.ask(raw.path, &request).unwrap();
    world::outcome(&answer).map(|()| relayed_in(&answer)[0].port())
}

#[test]
fn an_even_port_is_even() {
    let mut world = World::new();
    for port in 1000..1020 {
        let mut raw = Raw::challenged(&mut world, client_path(port), credentials("alice"));
        let request = raw.write(Method::ALLOCATE, &|w| allocate_and(w, kind::EVEN_PORT, &[0]));
        let answer = world.ask(raw.path, &request).unwrap();
        assert!(relayed_in(&answer)[0].port().is_multiple_of(2));
        assert_eq!(Message::parse(&answer).unwrap().raw(kind::RESERVATION_TOKEN), None);
    }
}

#[test]
fn the_next_port_is_kept_for_who_has_the_token_and_once() {
    let mut world = World::new();
    let (_rtp, port, token) = pair(&mut world, 1000);
    assert!(port.is_multiple_of(2));
    assert_eq!(world.sockets.len(), 1, "nobody listens on a reserved port");
    let mut wrong = token;
    wrong[0] ^= 1;
    assert_eq!(redeem(&mut world, 1001, wrong), Err(508));
    assert_eq!(redeem(&mut world, 1002, token), Ok(port + 1));
    assert_eq!(redeem(&mut world, 1003, token), Err(508));
}

#[test]
fn a_reservation_lasts_30_seconds_at_least_and_then_its_port_is_free() {
    let mut config = world::server_config();
    config.ports = 50_000..=50_001;
    let mut world = World::with(config.clone());
    let (_rtp, port, token) = pair(&mut world, 1000);
    world.advance_secs(30);
    assert_eq!(redeem(&mut world, 1001, token), Ok(port + 1));

    let mut world = World::with(config);
    let (_rtp, port, token) = pair(&mut world, 1000);
    let ask = |world: &mut World, client| {
        let mut raw = Raw::challenged(world, client_path(client), credentials("bob"));
        raw.ask(world, Method::ALLOCATE, &world::allocate)
    };
    assert_eq!(ask(&mut world, 1001), Err(508), "no port is free for others");
    world.advance_secs(61);
    assert_eq!(redeem(&mut world, 1002, token), Err(508));
    assert_eq!(ask(&mut world, 1003), Ok(()));
    assert!(world.sockets.iter().any(|socket| socket.port() == port + 1));
}

#[test]
fn a_pair_that_cannot_be_bound_is_given_back_and_another_is_tried() {
    let mut config = world::server_config();
    config.ports = 50_000..=50_003;
    let mut world = World::with(config);
    world.failing_binds = 1;
    let (_rtp, port, token) = pair(&mut world, 1000);
    assert_eq!(redeem(&mut world, 1001, token), Ok(port + 1));
    // The pair that was tried first is free as well.
    let (_other, other, _) = pair(&mut world, 1002);
    assert_eq!(other ^ port, 2);
}

#[test]
fn a_reserved_port_that_somebody_else_has_bound_is_508() {
    let mut world = World::new();
    let (_rtp, _, token) = pair(&mut world, 1000);
    world.failing_binds = 1;
    assert_eq!(redeem(&mut world, 1001, token), Err(508));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn reservations_are_bounded() {
    let mut config = world::server_config();
    config.quotas.per_user = 1000;
    let mut world = World::with(config);
    for port in 1000..1256 {
        pair(&mut world, port);
    }
    let mut raw = Raw::challenged(&mut world, client_path(2000), credentials("alice"));
    let refused = raw.ask(&mut world, Method::ALLOCATE, &|w| allocate_and(w, kind::EVEN_PORT, &[0x80]));
    assert_eq!(refused, Err(508));
    world.advance_secs(61);
    pair(&mut world, 2001);
}
