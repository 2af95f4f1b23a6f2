//! What a relay must not be used for. Each test is somebody's incident. Which addresses are not reached at all, by whatever
//! door: `pitfalls.rs`.

mod world;

use sterna_turn::{ClientConfig, ClientEvent, Denial, Drop, Family, Quotas, ServerEvent};
use stun::{Method, kind};
use world::{RELAY, Raw, World, address, client_path, credentials, listening, send_indication};

fn allocated(world: &mut World, port: u16, family: Family) -> Raw {
    let mut raw = Raw::challenged(world, client_path(port), credentials("mallory"));
    let outcome = raw.ask(world, Method::ALLOCATE, &|writer| {
        world::allocate(writer);
        if family == Family::Ipv6 {
            writer.raw(kind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
    });
    assert_eq!(outcome, Ok(()));
    raw
}

#[test]
fn an_address_of_the_other_family_is_refused_as_such() {
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    for peer in ["[2606:4700::1111]:53", "[::ffff:127.0.0.1]:80", "[::ffff:1.1.1.1]:53"] {
        assert_eq!(raw.permit(&mut world, address(peer)), Err(443), "{peer}");
        assert_eq!(raw.bind(&mut world, 0x4000, address(peer)), Err(443), "{peer}");
    }
    let mut raw = allocated(&mut world, 1001, Family::Ipv6);
    assert_eq!(raw.permit(&mut world, address("1.1.1.1:53")), Err(443));
}

#[test]
fn one_denied_address_among_good_ones_refuses_them_all() {
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    let relayed = *world.sockets.first().unwrap();
    let outcome = raw.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
        for peer in ["203.0.113.9:1", "127.0.0.1:80", "203.0.113.10:1"] {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(peer));
        }
    });
    assert_eq!(outcome, Err(403));
    for peer in ["203.0.113.9:1", "203.0.113.10:1"] {
        world.peer_sends(address(peer), relayed, b"in?");
    }
    assert!(world.answers.is_empty());
    // While several good ones are all granted.
    let outcome = raw.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
        for peer in ["203.0.113.9:1", "203.0.113.10:1"] {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(peer));
        }
    });
    assert_eq!(outcome, Ok(()));
    for peer in ["203.0.113.9:1", "203.0.113.10:1"] {
        world.peer_sends(address(peer), relayed, b"in!");
    }
    assert_eq!(world.answers.len(), 2);
}

#[test]
fn of_two_peer_addresses_the_first_is_checked_and_used() {
    // coturn #2016: check and use took different ones.
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    let (good, bad) = (address("203.0.113.9:1000"), address("127.0.0.1:80"));
    assert_eq!(raw.permit(&mut world, good), Ok(()));
    let send = |first, second| {
        send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, first).xor_address(kind::XOR_PEER_ADDRESS, second);
            writer.raw(kind::DATA, b"x");
        })
    };
    world.ask(raw.path, &send(good, bad));
    assert_eq!(world.sent_to_peers.pop_front().map(|(_, to, _)| to), Some(good));
    world.ask(raw.path, &send(bad, good));
    assert!(world.sent_to_peers.is_empty());
    let bind = |raw: &mut Raw, world: &mut World, number: u32, first, second| {
        raw.ask(world, Method::CHANNEL_BIND, &|writer| {
            writer.u32(kind::CHANNEL_NUMBER, number << 16);
            writer.xor_address(kind::XOR_PEER_ADDRESS, first).xor_address(kind::XOR_PEER_ADDRESS, second);
        })
    };
    assert_eq!(bind(&mut raw, &mut world, 0x4000, bad, good), Err(403));
    assert_eq!(bind(&mut raw, &mut world, 0x4000, good, bad), Ok(()));
    world.ask(raw.path, b"\x40\x00\x00\x01x");
    assert_eq!(world.sent_to_peers.pop_front().map(|(_, to, _)| to), Some(good));
}

#[test]
fn the_servers_own_addresses_and_ports_are_not_peers() {
    // coturn #1946: its own ports, and what else listens on its machine.
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    for port in [3478, 22, 80, 5432, 6379, 60_000] {
        let own = std::net::SocketAddr::new(world::ip(RELAY), port);
        assert_eq!(raw.bind(&mut world, 0x4000, own), Err(403), "{own}");
    }
    // The permission is for the other relayed addresses there, and for nothing else.
    assert_eq!(raw.permit(&mut world, listening()), Ok(()));
    for port in [3478, 22, 80, 5432, 6379, 60_000] {
        let own = std::net::SocketAddr::new(world::ip(RELAY), port);
        let send = send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, own).raw(kind::DATA, b"x");
        });
        assert_eq!(world.ask(raw.path, &send), None);
    }
    assert!(world.sent_to_peers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Own), 6);
    // And what comes from them is no peer's answer.
    let relayed = *world.sockets.first().unwrap();
    world.peer_sends(std::net::SocketAddr::new(world::ip(RELAY), 5432), relayed, b"rows");
    assert!(world.answers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Own), 7);
}

#[test]
fn an_address_that_is_only_listened_on_gets_no_permission() {
    let mut config = world::server_config();
    config.listening.push(address("192.0.2.200:3478"));
    let mut world = World::with(config);
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    assert_eq!(raw.permit(&mut world, address("192.0.2.200:22")), Err(403));
    assert_eq!(raw.permit(&mut world, address("192.0.2.201:22")), Ok(()));
}

/// A second address of the machine: others' services listen there, and ours, if we listen everywhere.
#[test]
fn what_else_the_machine_is_reached_at_gets_no_permission() {
    for allowed in [false, true] {
        let mut config = world::server_config();
        config.listening = vec![address("0.0.0.0:3478")];
        config.machine = vec![world::ip("203.0.113.200")];
        if allowed {
            config.policy = config.policy.allow("203.0.113.0/24".parse().unwrap());
        }
        let mut world = World::with(config);
        let mut raw = allocated(&mut world, 1000, Family::Ipv4);
        // Where the operator opened the range, its services are reached, but for our own.
        let expected = if allowed { Ok(()) } else { Err(403) };
        assert_eq!(raw.permit(&mut world, address("203.0.113.200:22")), expected);
        assert_eq!(raw.bind(&mut world, 0x4000, address("203.0.113.200:22")), expected);
        assert_eq!(raw.bind(&mut world, 0x4001, address("203.0.113.200:3478")), Err(403));
        assert_eq!(raw.permit(&mut world, address("203.0.113.201:22")), Ok(()));
    }
}

#[test]
fn where_tests_allow_loopback_the_servers_own_port_stays_shut() {
    for listening in ["127.0.0.1:3478", "0.0.0.0:3478"] {
        let mut config = world::server_config();
        config.relay_addresses = vec![world::ip("127.0.0.1").into()];
        config.policy = sterna_turn::PeerPolicy::default().allow("127.0.0.0/8".parse().unwrap());
        config.listening.push(address(listening));
        let mut world = World::with(config);
        let mut raw = allocated(&mut world, 1000, Family::Ipv4);
        assert_eq!(raw.bind(&mut world, 0x4000, address("127.0.0.1:3478")), Err(403), "{listening}");
        assert_eq!(raw.bind(&mut world, 0x4000, address("127.0.0.1:9999")), Ok(()));
        assert_eq!(raw.permit(&mut world, address("127.0.0.1:3478")), Ok(()));
        let send = send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address("127.0.0.1:3478")).raw(kind::DATA, b"x");
        });
        assert_eq!(world.ask(raw.path, &send), None);
        assert!(world.sent_to_peers.is_empty());
    }
}

#[test]
fn an_allowed_range_is_reached_and_its_disguises_are_not() {
    let mut world = World::allowing("10.0.0.0/8");
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    assert_eq!(raw.permit(&mut world, address("10.1.2.3:1")), Ok(()));
    assert_eq!(raw.permit(&mut world, address("192.168.1.1:1")), Err(403));
    let mut raw = allocated(&mut world, 1001, Family::Ipv6);
    for disguise in ["[::ffff:10.1.2.3]:1", "[64:ff9b::10.1.2.3]:1", "[2002:a01:203::]:1"] {
        assert_eq!(raw.permit(&mut world, address(disguise)), Err(403), "{disguise}");
    }
}

#[test]
fn every_refusal_leaves_a_line_for_the_audit() {
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    assert_eq!(raw.permit(&mut world, address("169.254.169.254:80")), Err(403));
    assert_eq!(
        world.server_events.last(),
        Some(&ServerEvent::PeerDenied {
            username: credentials("mallory").username,
            client: raw.path.reversed(),
            peer: world::ip("169.254.169.254"),
            denial: Denial::LinkLocal,
        })
    );
    assert_eq!(world.server.counters().forbidden, 1);
}

#[test]
fn channel_numbers_outside_the_range_are_refused() {
    // coturn #2006.
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    let peer = address("203.0.113.9:1000");
    for number in [0, 0x3fff, 0x5000, 0x7fff, 0xffff] {
        assert_eq!(raw.bind(&mut world, number, peer), Err(400), "{number:#x}");
    }
    assert_eq!(raw.bind(&mut world, 0x4fff, peer), Ok(()));
}

#[test]
fn channels_are_bound_one_to_one_and_the_request_is_complete() {
    let mut world = World::new();
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    let (one, two) = (address("203.0.113.9:1"), address("203.0.113.9:2"));
    assert_eq!(raw.bind(&mut world, 0x4000, one), Ok(()));
    assert_eq!(raw.bind(&mut world, 0x4000, one), Ok(()), "again");
    assert_eq!(raw.bind(&mut world, 0x4000, two), Err(400));
    assert_eq!(raw.bind(&mut world, 0x4001, one), Err(400));
    assert_eq!(raw.bind(&mut world, 0x4001, address("203.0.113.9:0")), Err(400));
    let no_number = raw.ask(&mut world, Method::CHANNEL_BIND, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, two);
    });
    assert_eq!(no_number, Err(400));
    let no_peer = raw.ask(&mut world, Method::CHANNEL_BIND, &|writer| {
        writer.u32(kind::CHANNEL_NUMBER, 0x4001_0000);
    });
    assert_eq!(no_peer, Err(400));
    assert_eq!(raw.ask(&mut world, Method::CREATE_PERMISSION, &|_| {}), Err(400));
    let malformed = raw.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, two).raw(kind::XOR_PEER_ADDRESS, &[0, 1, 2]);
    });
    assert_eq!(malformed, Err(400));
}

#[test]
fn an_unbound_channel_leads_nowhere() {
    let mut world = World::new();
    let raw = allocated(&mut world, 1000, Family::Ipv4);
    assert_eq!(world.ask(raw.path, b"\x40\x00\x00\x01x"), None);
    assert_eq!(world.server.counters().dropped(Drop::NoChannel), 1);
    assert_eq!(world.ask(client_path(1001), b"\x40\x00\x00\x01x"), None);
    assert_eq!(world.server.counters().dropped(Drop::NoAllocation), 1);
}

#[test]
fn one_allocation_cannot_scan_the_internet_without_end() {
    let mut config = world::server_config();
    config.quotas = Quotas { permissions: 10, channels: 5, ..Quotas::default() };
    let mut world = World::with(config);
    let mut raw = allocated(&mut world, 1000, Family::Ipv4);
    let target = |number: u8| std::net::SocketAddr::from(([203, 0, 113, number], 53));
    for number in 0..5 {
        assert_eq!(raw.bind(&mut world, 0x4000 + u16::from(number), target(number)), Ok(()));
    }
    assert_eq!(raw.bind(&mut world, 0x4005, target(0)), Err(400), "has a channel");
    assert_eq!(raw.bind(&mut world, 0x4005, target(5)), Err(508));
    for number in 5..10 {
        assert_eq!(raw.permit(&mut world, target(number)), Ok(()));
    }
    assert_eq!(raw.permit(&mut world, target(10)), Err(508));
    world.advance_secs(300);
    assert_eq!(raw.permit(&mut world, target(10)), Ok(()), "the old ones are over");
}

#[test]
fn a_loop_through_the_relay_cannot_be_built() {
    // RFC 8656 §21.1.7, with one server in both roles: the client's packets would come from a relayed address.
    let mut world = World::new();
    let raw = allocated(&mut world, 1000, Family::Ipv4);
    let relayed = *world.sockets.first().unwrap();
    let looped = sansio::Path::udp(listening(), relayed);
    let bare = Raw::new(looped.reversed(), credentials("mallory")).write(Method::ALLOCATE, &world::allocate);
    // Even if such a packet came in, its answer goes to a relayed address and would find no permission there.
    world.hand_to_server(looped, bare);
    let (path, answer) = world.answers.pop_front().expect("a challenge");
    assert_eq!(path.remote, relayed);
    world.peer_sends(path.local, relayed, &answer);
    assert!(world.answers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Own), 1);
    drop(raw);
}

#[test]
fn our_client_reports_the_refusal_for_each_peer() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    let peers = [address("10.0.0.1:1"), address("10.0.0.1:2"), address("203.0.113.9:1")];
    for peer in peers {
        world.permit(at, peer);
    }
    let refused = |peer| ClientEvent::PermissionRefused { peer, code: Some(403), reason: "Forbidden".into() };
    assert_eq!(
        world.events(at),
        [
            refused(peers[0]),
            refused(peers[1]),
            ClientEvent::PermissionGranted(peers[2]),
            ClientEvent::ChannelBound(peers[2])
        ]
    );
    assert!(!world.send(at, peers[0], b"x") && world.send(at, peers[2], b"x"));
    // The wrong family does not even go out.
    let sent = world.clients[at].sent.len();
    world.permit(at, address("[2001:db8::1]:1"));
    assert!(matches!(world.events(at).last(), Some(ClientEvent::PermissionRefused { code: Some(443), .. })));
    assert_eq!(world.clients[at].sent.len(), sent);
}

#[test]
fn packets_for_a_relay_socket_that_is_gone_are_not_answered() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    let relayed = world.relayed(at);
    let now = world.now;
    world.client(at).close(now);
    world.settle();
    // A check of ICE, which is a Binding request, on its way while the allocation ended.
    let check = Raw::new(client_path(1), credentials("x")).write(Method::BINDING, &|_| {});
    world.hand_to_server(sansio::Path::udp(relayed, address("203.0.113.9:1")), check);
    assert!(world.answers.is_empty());
}

#[test]
fn a_client_delivers_no_data_from_peers_it_did_not_ask_for() {
    // RFC 8656 §11.4: someone may have tricked the server into a permission.
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    let mut data = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address("203.0.113.9:1")).raw(kind::DATA, b"x");
    });
    // A Send indication is a Data indication but for one bit of its method.
    data[1] = 0x17;
    let now = world.now;
    let opened = world.client(at).open(now, &mut data, &mut |_, _| panic!("delivered"));
    assert_eq!(opened, sterna_turn::Opened::Control);
    let config = ClientConfig::new(client_path(7), credentials("x"), sansio::Seed::from(7));
    let mut fresh = sterna_turn::Client::new(now, config);
    let opened =
        fresh.open(now, b"\x40\x00\x00\x01x".to_vec().as_mut_slice(), &mut |_, _| panic!("delivered"));
    assert_eq!(opened, sterna_turn::Opened::Control);
}
