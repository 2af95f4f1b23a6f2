//! IPv4 and IPv6: one relayed address, or one of each in a dual allocation.

mod world;

use std::time::Duration;

use sterna_turn::{ClientConfig, ClientEvent, Drop, EndReason, Families, ServerEvent};
use stun::{Message, MessageWriter, Method, kind};
use world::{Raw, World, address, allocate_and, client_path, credentials, relayed_in, send_indication};

const V4: &[u8] = &[1, 0, 0, 0];
const V6: &[u8] = &[2, 0, 0, 0];
const PEER_4: &str = "203.0.113.9:4000";
const PEER_6: &str = "[2001:db8:9::9]:4000";

fn dual(writer: &mut MessageWriter<'_>) {
    allocate_and(writer, kind::ADDITIONAL_ADDRESS_FAMILY, V6);
}

/// A client with a dual allocation, and its relayed addresses.
fn dual_client(world: &mut World) -> (Raw, [std::net::SocketAddr; 2]) {
    let mut raw = Raw::challenged(world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &dual);
    let answer = world.ask(raw.path, &request).unwrap();
    let relayed = relayed_in(&answer).try_into().expect("two addresses");
    assert_eq!(Message::parse(&answer).unwrap().raw(kind::ADDRESS_ERROR_CODE), None);
    // A retransmission has the same answer, but for the time that has gone by.
    assert_eq!(world.ask(raw.path, &request).unwrap(), answer);
    (raw, relayed)
}

fn refresh(world: &mut World, raw: &mut Raw, family: Option<&[u8]>, lifetime: u32) -> Result<(), u16> {
    raw.ask(world, Method::REFRESH, &|writer| {
        writer.u32(kind::LIFETIME, lifetime);
        if let Some(family) = family {
            writer.raw(kind::REQUESTED_ADDRESS_FAMILY, family);
        }
    })
}

#[test]
fn who_asks_for_both_families_gets_both_and_one_allocation_counts() {
    let mut config = world::server_config();
    config.quotas.per_user = 1;
    let mut world = World::with(config);
    let (mut raw, [v4, v6]) = dual_client(&mut world);
    assert!(v4.is_ipv4() && v6.is_ipv6());
    assert_eq!((world.server.allocations(), world.sockets.len()), (1, 2));
    // Each peer is reached from the address of its family.
    for (number, peer) in [(0x4000, PEER_4), (0x4001, PEER_6)] {
        assert_eq!(raw.bind(&mut world, number, address(peer)), Ok(()));
        let send = send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(peer)).raw(kind::DATA, b"hello");
        });
        assert_eq!(world.ask(raw.path, &send), None);
        let (from, to, data) = world.sent_to_peers.pop_front().unwrap();
        assert_eq!((from.is_ipv4(), to, &data[..]), (to.is_ipv4(), address(peer), &b"hello"[..]));
    }
    for (peer, relayed, number) in [(PEER_4, v4, 0x4000u16), (PEER_6, v6, 0x4001)] {
        world.answers.clear();
        world.peer_sends(address(peer), relayed, b"data");
        assert_eq!(world.answers[0].1[..2], number.to_be_bytes());
    }
}

#[test]
fn one_of_two_relayed_addresses_is_deleted_alone_with_its_permissions_and_channels() {
    let mut world = World::new();
    let (mut raw, [v4, v6]) = dual_client(&mut world);
    raw.bind(&mut world, 0x4000, address(PEER_4)).unwrap();
    raw.bind(&mut world, 0x4001, address(PEER_6)).unwrap();
    assert_eq!(refresh(&mut world, &mut raw, Some(V4), 0), Ok(()));
    assert_eq!(world.sockets.iter().copied().collect::<Vec<_>>(), [v6]);
    assert_eq!(raw.permit(&mut world, address(PEER_4)), Err(443));
    assert_eq!(refresh(&mut world, &mut raw, Some(V4), 600), Err(443), "it is no more");
    world.answers.clear();
    world.peer_sends(address(PEER_4), v4, b"late");
    assert!(world.answers.is_empty());
    world.peer_sends(address(PEER_6), v6, b"data");
    assert_eq!(world.answers.len(), 1, "the other one is as it was");
    assert_eq!(refresh(&mut world, &mut raw, Some(V6), 0), Ok(()));
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    let ends = world
        .server_events
        .iter()
        .filter(|event| matches!(event, ServerEvent::AllocationEnded { reason: EndReason::Deleted, .. }));
    assert_eq!(ends.count(), 1, "one session, one end");
}

#[test]
fn each_of_two_relayed_addresses_lives_as_long_as_it_is_refreshed() {
    let mut world = World::new();
    let (mut raw, [_, v6]) = dual_client(&mut world);
    world.advance_secs(500);
    assert_eq!(refresh(&mut world, &mut raw, Some(V6), 0x3fff_ffff), Ok(()));
    world.advance_secs(100);
    assert_eq!(world.sockets.iter().copied().collect::<Vec<_>>(), [v6]);
    assert_eq!(world.server.allocations(), 1);
    world.advance(Duration::from_secs(3500));
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn without_the_attribute_a_refresh_is_for_both_relayed_addresses() {
    let mut world = World::new();
    let (mut raw, _) = dual_client(&mut world);
    world.advance_secs(500);
    assert_eq!(refresh(&mut world, &mut raw, None, 600), Ok(()));
    world.advance_secs(599);
    assert_eq!(world.sockets.len(), 2);
    assert_eq!(refresh(&mut world, &mut raw, None, 0), Ok(()));
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn of_two_families_one_will_do_and_the_client_is_told_why() {
    for (relay, error) in [(world::RELAY, [2, 0, 4, 40]), (world::RELAY_6, [1, 0, 4, 40])] {
        let mut config = world::server_config();
        config.relay_addresses = vec![world::ip(relay).into()];
        let mut world = World::with(config);
        let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
        let request = raw.write(Method::ALLOCATE, &dual);
        let answer = world.ask(raw.path, &request).unwrap();
        assert_eq!(relayed_in(&answer).len(), 1);
        assert_eq!(Message::parse(&answer).unwrap().raw(kind::ADDRESS_ERROR_CODE), Some(&error[..]));
    }
}

#[test]
fn a_family_whose_ports_cannot_be_bound_is_508_beside_the_other() {
    for (failing, families) in [(8, 1), (16, 0)] {
        let mut world = World::new();
        let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
        world.failing_binds = failing;
        let request = raw.write(Method::ALLOCATE, &dual);
        let answer = world.ask(raw.path, &request).unwrap();
        assert_eq!((world.server.allocations(), world.sockets.len()), (families, families));
        if families == 0 {
            assert_eq!(world::outcome(&answer), Err(508));
            continue;
        }
        assert!(relayed_in(&answer)[0].is_ipv6());
        let error = Message::parse(&answer).unwrap().raw(kind::ADDRESS_ERROR_CODE).unwrap();
        assert_eq!(error, [1, 0, 5, 8]);
    }
}

#[test]
fn a_server_without_ipv4_says_so_to_who_asks_for_no_family() {
    let mut config = world::server_config();
    config.relay_addresses = vec![world::ip(world::RELAY_6).into()];
    let mut world = World::with(config);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &world::allocate), Err(440));
}

#[test]
fn a_peer_of_the_family_that_is_not_there_is_443_and_its_data_is_dropped() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.permit(&mut world, address(PEER_6)), Err(443));
    assert_eq!(raw.bind(&mut world, 0x4000, address(PEER_6)), Err(443));
    let send = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER_6)).raw(kind::DATA, b"x");
    });
    assert_eq!(world.ask(raw.path, &send), None);
    assert_eq!(world.server.counters().dropped(Drop::Family), 1);
    assert_eq!(refresh(&mut world, &mut raw, Some(V6), 600), Err(443));
    assert_eq!(refresh(&mut world, &mut raw, Some(&[7, 0, 0, 0]), 600), Err(443));
    assert_eq!(refresh(&mut world, &mut raw, Some(V4), 600), Ok(()));
}

/// Our client, which asks for both families, at a server that relays from these addresses.
fn asks_for_both(relays: &[&str]) -> (World, usize) {
    let mut config = world::server_config();
    config.relay_addresses = relays.iter().map(|relay| world::ip(relay).into()).collect();
    let mut world = World::with(config);
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), sansio::Seed::from(1));
    config.families = Families::Both;
    let at = world.add(config);
    // Peers may be named before anything is known.
    for peer in [PEER_4, PEER_6] {
        let now = world.now;
        world.client(at).permit(now, address(peer));
    }
    world.settle();
    (world, at)
}

#[test]
fn our_client_has_one_allocation_for_peers_of_both_families() {
    let (mut world, at) = asks_for_both(&[world::RELAY, world::RELAY_6]);
    let ClientEvent::Allocated { relayed, additional: Some(additional), .. } = world.events(at)[0] else {
        panic!("{:?}", world.events(at))
    };
    assert_eq!((relayed.ip(), additional.ip()), (world::ip(world::RELAY), world::ip(world::RELAY_6)));
    // Longer than any lifetime.
    for _ in 0..5 {
        world.advance_secs(700);
        for (peer, from) in [(PEER_4, relayed), (PEER_6, additional)] {
            assert!(world.send(at, address(peer), b"hello"), "{:?}", world.events(at));
            assert_eq!(world.sent_to_peers.pop_back().unwrap(), (from, address(peer), b"hello".to_vec()));
            world.peer_sends(address(peer), from, b"back");
            assert_eq!(world.clients[at].inbox.pop().unwrap(), (address(peer), b"back".to_vec()));
        }
    }
    assert_eq!((world.server.allocations(), world.sockets.len()), (1, 2));
    let now = world.now;
    world.client(at).close(now);
    world.settle();
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn our_client_takes_one_family_where_the_other_is_not_to_be_had() {
    for (relay, there, missing) in [(world::RELAY, PEER_4, PEER_6), (world::RELAY_6, PEER_6, PEER_4)] {
        let (mut world, at) = asks_for_both(&[relay]);
        assert_eq!(world.relayed(at).ip(), world::ip(relay));
        assert!(matches!(world.events(at)[0], ClientEvent::Allocated { additional: None, .. }));
        let refused = |event: &&ClientEvent| matches!(event, ClientEvent::PermissionRefused { peer, code: Some(443), .. } if *peer == address(missing));
        assert_eq!(world.events(at).iter().filter(refused).count(), 1, "{:?}", world.events(at));
        assert!(world.send(at, address(there), b"x") && !world.send(at, address(missing), b"x"));
        world.permit(at, address(missing));
        assert_eq!(world.events(at).iter().filter(refused).count(), 2, "now it is known at once");
    }
}
