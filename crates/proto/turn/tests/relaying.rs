//! Packets between clients and peers.

mod world;

use sansio::{Seed, Transport};
use sterna_turn::{ClientConfig, ClientEvent, Drop, Family, Opened};
use world::{World, address, credentials, stream_path};

const PEER: &str = "203.0.113.9:4000";

#[test]
fn packets_go_both_ways_by_channel() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let relayed = world.relayed(at);
    assert!(world.send(at, peer, b"hello"));
    assert_eq!(world.sent_to_peers.pop_front(), Some((relayed, peer, b"hello".to_vec())));
    world.peer_sends(peer, relayed, b"hello yourself");
    assert_eq!(world.clients[at].inbox, [(peer, b"hello yourself".to_vec())]);
    assert_eq!(world.clients[at].opened.last(), Some(&Opened::Data));
    assert_eq!(world.clients[at].received.last().unwrap().len(), 4 + 14);
    let counters = world.server.counters();
    assert_eq!((counters.packets_to_peers, counters.bytes_to_peers), (1, 5));
    assert_eq!((counters.packets_to_clients, counters.bytes_to_clients), (1, 14));
}

#[test]
fn packets_go_both_ways_by_indication() {
    let mut world = World::new();
    let mut config = ClientConfig::new(world::client_path(1000), credentials("alice"), Seed::from(3));
    config.channels = false;
    let at = world.add(config);
    let peer = address(PEER);
    world.permit(at, peer);
    let relayed = world.relayed(at);
    assert_eq!(world.clients[at].client.overhead(peer), 36);
    assert!(world.send(at, peer, b"hello"));
    assert_eq!(world.clients[at].sent.last().unwrap().len(), 36 + 5 + 3);
    assert_eq!(world.sent_to_peers.pop_front(), Some((relayed, peer, b"hello".to_vec())));
    // From another port of the same address, too.
    let other_port = address("203.0.113.9:4001");
    world.peer_sends(other_port, relayed, b"hello yourself");
    assert_eq!(world.clients[at].inbox, [(other_port, b"hello yourself".to_vec())]);
    assert_eq!(world.clients[at].received.last().unwrap().len(), 36 + 14 + 2);
}

#[test]
fn overheads_are_36_48_and_4_bytes() {
    let mut world = World::new();
    for (family, peer, indication) in [(Family::Ipv4, PEER, 36), (Family::Ipv6, "[2001:db8:1::9]:4000", 48)] {
        let peer = address(peer);
        for channels in [false, true] {
            let port = 1000 + indication as u16 + u16::from(channels);
            let mut config = ClientConfig::new(world::client_path(port), credentials("alice"), Seed::from(3));
            (config.families, config.channels) = (family.into(), channels);
            let at = world.add(config);
            world.permit(at, peer);
            let expected = if channels { 4 } else { indication };
            assert_eq!(world.clients[at].client.overhead(peer), expected);
            assert!(world.send(at, peer, &[7; 1200]));
            assert_eq!(world.clients[at].sent.last().unwrap().len(), 1200 + expected);
            let (relayed, to, bytes) = world.sent_to_peers.pop_front().unwrap();
            assert_eq!((to, bytes), (peer, vec![7; 1200]));
            world.peer_sends(peer, relayed, &[8; 1200]);
            assert_eq!(world.clients[at].received.last().unwrap().len(), 1200 + expected);
            assert_eq!(world.clients[at].inbox, [(peer, vec![8; 1200])]);
        }
    }
}

#[test]
fn on_streams_channel_data_is_padded_to_four_bytes() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut world = World::new();
        let peer = address(PEER);
        let config = ClientConfig::new(stream_path(1000, transport), credentials("alice"), Seed::from(3));
        let at = world.add(config);
        world.permit(at, peer);
        let relayed = world.relayed(at);
        for length in [1, 2, 3, 4, 5] {
            assert!(world.send(at, peer, &vec![7; length]));
            assert_eq!(world.clients[at].sent.last().unwrap().len(), 4 + length.next_multiple_of(4));
            assert_eq!(world.sent_to_peers.pop_front(), Some((relayed, peer, vec![7; length])));
            world.peer_sends(peer, relayed, &vec![8; length]);
            assert_eq!(world.clients[at].received.last().unwrap().len(), 4 + length.next_multiple_of(4));
            assert_eq!(world.clients[at].inbox.pop(), Some((peer, vec![8; length])));
        }
    }
}

#[test]
fn two_allocations_of_one_server_meet_inside_it() {
    let mut world = World::new();
    let alice = world.allocated("alice", 1000);
    let bob = world.allocated("bob", 1001);
    let (a, b) = (world.relayed(alice), world.relayed(bob));
    world.permit(alice, b);
    assert!(world.send(alice, b, b"too early"), "Alice may, Bob has not asked");
    assert_eq!(world.clients[bob].inbox, []);
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 1);
    world.permit(bob, a);
    assert!(world.send(alice, b, b"hello Bob"));
    assert!(world.send(bob, a, b"hello Alice"));
    assert_eq!(world.clients[bob].inbox, [(a, b"hello Bob".to_vec())]);
    assert_eq!(world.clients[alice].inbox, [(b, b"hello Alice".to_vec())]);
    assert!(world.sent_to_peers.is_empty(), "nothing left the server");
    assert_eq!(world.clients[bob].received.last().unwrap().len(), 4 + 9);
}

#[test]
fn a_server_behind_a_one_to_one_nat_speaks_of_its_public_address_and_uses_its_private_one() {
    let mut config = world::server_config();
    config.relay_addresses =
        vec![sterna_turn::RelayAddress { bind: world::ip("10.0.0.5"), advertised: world::ip("192.0.2.77") }];
    let mut world = World::with(config);
    let peer = address(PEER);
    let alice = world.connected("alice", 1000, peer);
    let relayed = world.relayed(alice);
    assert_eq!(relayed.ip(), world::ip("192.0.2.77"));
    let local = std::net::SocketAddr::new(world::ip("10.0.0.5"), relayed.port());
    assert!(world.send(alice, peer, b"out"));
    assert_eq!(world.sent_to_peers.pop_front(), Some((local, peer, b"out".to_vec())));
    world.peer_sends(peer, local, b"in");
    assert_eq!(world.clients[alice].inbox, [(peer, b"in".to_vec())]);
    // Inside, too, everybody goes by the public address.
    let bob = world.allocated("bob", 1001);
    let b = world.relayed(bob);
    world.permit(alice, b);
    world.permit(bob, relayed);
    assert!(world.send(alice, b, b"hello"));
    assert_eq!(world.clients[bob].inbox, [(relayed, b"hello".to_vec())]);
}

#[test]
fn an_empty_datagram_of_a_peer_is_passed_on() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let relayed = world.relayed(at);
    world.peer_sends(peer, relayed, b"");
    world.peer_sends(address("203.0.113.9:4001"), relayed, b"");
    let lengths: Vec<usize> = world.clients[at].received.iter().rev().take(2).map(Vec::len).collect();
    assert_eq!(lengths, [36, 4]);
    assert_eq!(world.clients[at].inbox.len(), 2);
}

#[test]
fn the_largest_datagrams_pass_and_too_large_ones_vanish() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let relayed = world.relayed(at);
    world.peer_sends(peer, relayed, &vec![1; 65_507]);
    assert_eq!(
        world.clients[at].inbox.pop().map(|(_, data)| data.len()),
        Some(65_507 - 4 + 4).filter(|_| true)
    );
    // An indication adds more than a STUN message can say.
    world.peer_sends(address("203.0.113.9:4001"), relayed, &vec![1; 65_535]);
    assert!(world.clients[at].inbox.is_empty());
}

#[test]
fn nothing_passes_without_a_permission() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.allocated("alice", 1000);
    let relayed = world.relayed(at);
    assert!(!world.send(at, peer, b"no lane"));
    world.peer_sends(peer, relayed, b"uninvited");
    assert!(world.clients[at].inbox.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 1);
    // The server too holds a client to it who does not hold himself.
    let send = world::send_indication(&|writer| {
        writer.xor_address(stun::kind::XOR_PEER_ADDRESS, peer).raw(stun::kind::DATA, b"uninvited");
    });
    let path = world.clients[at].path;
    world.hand_to_server(path.reversed(), send);
    assert!(world.sent_to_peers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 2);
}

#[test]
fn permissions_and_channels_live_as_long_as_they_are_wanted() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let relayed = world.relayed(at);
    for _ in 0..12 {
        world.advance_secs(300);
        world.peer_sends(peer, relayed, b"still there?");
        assert!(world.send(at, peer, b"yes"));
    }
    assert_eq!(world.clients[at].inbox.len(), 12);
    assert_eq!(world.sent_to_peers.len(), 12);
    assert_eq!(world.events(at), [], "an hour without news");
    world.client(at).forget(peer);
    world.advance_secs(300);
    world.peer_sends(peer, relayed, b"still there?");
    assert_eq!(world.clients[at].inbox.len(), 12);
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 1);
    assert!(!world.send(at, peer, b"no"));
    // Asked for again, the peer gets its old channel back.
    world.permit(at, peer);
    assert_eq!(world.events(at), [ClientEvent::PermissionGranted(peer)]);
    assert!(world.send(at, peer, b"again"));
    assert_eq!(world.clients[at].sent.last().unwrap().len(), 4 + 5);
}

#[test]
fn data_that_overtakes_the_answer_to_the_channel_request_is_delivered() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    // A second peer at the same address: the permission is there, the channel's answer gets lost.
    let second = address("203.0.113.9:4001");
    let now = world.now;
    world.client(at).permit(now, second);
    let mut out = sansio::Batches::new(1 << 20);
    world.client(at).poll_transmit(now, &mut out);
    let request = out.pop().unwrap();
    let mut answers = sansio::Batches::new(1 << 20);
    let mut bytes = request.bytes.clone();
    let datagram = sansio::Datagram { from: request.path.reversed(), payload: &mut bytes };
    sansio::Machine::handle_datagram(&mut world.server, now, datagram, &mut answers);
    assert!(answers.pop().is_some(), "the server has bound the channel");
    let relayed = world.relayed(at);
    world.peer_sends(second, relayed, b"early");
    assert_eq!(world.clients[at].received.last().unwrap()[0], 0x40, "by channel");
    assert_eq!(world.clients[at].inbox, [(second, b"early".to_vec())]);
}
