//! What is carried by a flow is what the machine would have sent, and is taken back when it would not send it any more.

mod world;

use std::net::SocketAddr;

use sansio::{Batches, Datagram, Machine as _, Path, Seed};
use sterna_turn::{ChannelNumber, ClientConfig, Flow, Framing, Passage, parse_channel_data, parse_send};
use stun::TransactionId;
use world::{World, address, client_path, credentials, listening};

const PEER: &str = "203.0.113.9:4000";
const PEER_6: &str = "[2001:db8:1::9]:4000";

/// The passage of the newest packet that client `at` has sent, and its data.
fn passage(world: &World, at: usize) -> (Passage, Vec<u8>) {
    let (client, bytes) = (world.clients[at].path.reversed(), world.clients[at].sent.last().unwrap());
    if let Some((number, data)) = parse_channel_data(bytes) {
        return (Passage::Channel { client, number }, bytes[data].to_vec());
    }
    let (peer, data) = parse_send(bytes).unwrap();
    (Passage::Send { client, peer }, bytes[data].to_vec())
}

/// What a flow makes of `data`; the transaction id of an indication is zero.
fn carried(flow: &Flow, data: &[u8]) -> (Path, Vec<u8>) {
    let mut bytes = vec![0xaa; flow.framing.header()];
    flow.framing.write_header(&mut bytes, data.len(), TransactionId([0; 12]));
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len() + flow.framing.padding(data.len()), 0);
    (flow.to, bytes)
}

/// What the machine makes of a packet.
fn decided(world: &mut World, from: Path, bytes: &[u8]) -> (Path, Vec<u8>) {
    let mut out = Batches::new(1 << 20);
    world.server.handle_datagram(world.now, Datagram { from, payload: &mut bytes.to_vec() }, &mut out);
    let batch = out.pop().expect("the machine relays it");
    (batch.path, batch.bytes)
}

/// The same without the transaction id, if it is an indication to an IPv4 peer. (Towards IPv6 it is in the address, too.)
fn without_id((path, mut bytes): (Path, Vec<u8>)) -> (Path, Vec<u8>) {
    if bytes[..2] == [0, 0x17] {
        bytes[8..20].fill(0);
    }
    (path, bytes)
}

fn without_channels(world: &mut World, port: u16, peer: SocketAddr) -> usize {
    let mut config = ClientConfig::new(client_path(port), credentials("alice"), Seed::from(3));
    config.channels = false;
    let at = world.add(config);
    world.permit(at, peer);
    at
}

#[test]
fn a_flow_carries_what_the_machine_would_send() {
    let mut world = World::new();
    let peer = address(PEER);
    let bound = world.connected("alice", 1000, peer);
    let unbound = without_channels(&mut world, 2000, peer);
    for length in [1, 2, 3, 4, 160, 1200] {
        let data = vec![length as u8; length];
        for at in [bound, unbound] {
            let now = world.now;
            assert!(world.send(at, peer, &data));
            let (passage, read) = passage(&world, at);
            assert_eq!(read, data);
            let flow = world.server.flow(now, passage).unwrap();
            let sent = world.clients[at].sent.last().unwrap().clone();
            let from = world.clients[at].path.reversed();
            assert_eq!(carried(&flow, &data), decided(&mut world, from, &sent));

            let local = world.relayed(at);
            let back = world.server.flow(now, Passage::Peer { local, peer }).unwrap();
            let expected = without_id(decided(&mut world, Path::udp(local, peer), &data));
            assert_eq!(carried(&back, &data), expected);
        }
    }
}

#[test]
fn an_indication_for_an_ipv6_peer_reads_as_the_machines_does() {
    let mut world = World::new();
    let peer = address(PEER_6);
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(3));
    (config.channels, config.families) = (false, sterna_turn::Family::Ipv6.into());
    let at = world.add(config);
    world.permit(at, peer);
    let flow = world.server.flow(world.now, Passage::Peer { local: world.relayed(at), peer }).unwrap();
    let (_, mut bytes) = carried(&flow, b"hello");
    assert_eq!(bytes.len(), 48 + 8);
    let now = world.now;
    let mut inbox = Vec::new();
    world.client(at).open(now, &mut bytes, &mut |peer, data| inbox.push((peer, data.to_vec())));
    assert_eq!(inbox, [(peer, b"hello".to_vec())]);
}

#[test]
fn between_two_allocations_a_flow_leads_from_client_to_client() {
    let mut world = World::new();
    let (one, other) = (world.allocated("alice", 1000), world.allocated("bob", 2000));
    let (at_one, at_other) = (world.relayed(one), world.relayed(other));
    world.permit(one, at_other);
    assert!(world.send(one, at_other, b"too early"));
    let (passage, _) = passage(&world, one);
    assert_eq!(world.server.flow(world.now, passage), None, "the other side has given no permission");
    world.permit(other, at_one);
    let flow = world.server.flow(world.now, passage).unwrap();
    assert_eq!(flow.to, client_path(2000).reversed());
    assert!(matches!(flow.framing, Framing::Channel(_)) && flow.source.is_some() && flow.target.is_some());
    let (sent, from) = (world.clients[one].sent.last().unwrap().clone(), world.clients[one].path.reversed());
    let sent = [&sent[..4], b"too early"].concat();
    assert_eq!(carried(&flow, b"too early"), decided(&mut world, from, &sent));
}

#[test]
fn what_the_machine_drops_has_no_flow() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let (now, client, local) = (world.now, world.clients[at].path.reversed(), world.relayed(at));
    let number = ChannelNumber::new(0x4abc).unwrap();
    let stranger = Path::udp(listening(), address("198.51.100.66:6"));
    for passage in [
        Passage::Channel { client, number },
        Passage::Channel { client: stranger, number: ChannelNumber::MIN },
        Passage::Send { client, peer: address("203.0.113.10:1") },
        Passage::Send { client, peer: address("203.0.113.9:0") },
        Passage::Send { client, peer: address("127.0.0.1:80") },
        Passage::Send { client, peer: address(PEER_6) },
        Passage::Peer { local, peer: address("203.0.113.10:4000") },
        Passage::Peer { local, peer: listening() },
        Passage::Peer { local: listening(), peer },
    ] {
        assert_eq!(world.server.flow(now, passage), None, "{passage:?}");
    }
}

#[test]
fn a_flow_lasts_no_longer_than_its_channel_and_its_permission() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let (client, local) = (world.clients[at].path.reversed(), world.relayed(at));
    assert!(world.send(at, peer, b"hello"));
    let (channel, _) = passage(&world, at);
    let until = |world: &mut World, passage| {
        let now = world.now;
        world.server.flow(now, passage).map(|flow| flow.until.since(now).as_secs())
    };
    assert_eq!(until(&mut world, channel), Some(600), "a channel's");
    assert_eq!(until(&mut world, Passage::Send { client, peer }), Some(300), "a permission's");
    assert_eq!(until(&mut world, Passage::Peer { local, peer }), Some(300), "the shorter of both");
}

#[test]
fn a_flow_is_taken_back_when_its_allocation_ends_and_when_a_channel_is_bound() {
    let mut world = World::new();
    let (peer, another) = (address(PEER), address("203.0.113.10:4000"));
    let at = without_channels(&mut world, 1000, peer);
    let passage = Passage::Peer { local: world.relayed(at), peer };
    assert_eq!(world.server.poll_stale(), None, "nobody was told a flow");
    let flow = world.server.flow(world.now, passage).unwrap();
    assert!(matches!(flow.framing, Framing::Data(_)));
    // A permission more changes nothing.
    world.permit(at, another);
    assert_eq!(world.server.poll_stale(), None);

    let with = world.connected("alice", 2000, peer);
    let now = world.now;
    let bound = world.server.flow(now, Passage::Peer { local: world.relayed(with), peer }).unwrap();
    world.permit(with, another);
    assert_eq!(world.server.poll_stale(), bound.target, "a channel has come");
    assert_eq!(world.server.poll_stale(), None);

    world.client(at).close(now);
    world.settle();
    assert_eq!(world.server.poll_stale(), flow.target, "the allocation has ended");
    assert_eq!(world.server.poll_stale(), None);
    assert_eq!(world.server.flow(now, passage), None);
}

#[test]
fn what_flows_carried_counts() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    assert!(world.send(at, peer, b"hello"));
    let (up, _) = passage(&world, at);
    let (now, down) = (world.now, Passage::Peer { local: world.relayed(at), peer });
    let (up, down) = (world.server.flow(now, up).unwrap(), world.server.flow(now, down).unwrap());
    world.server.carried(&up, 3, 300);
    world.server.carried(&down, 2, 20);
    // Whatever way they should have gone: to the client, to the peer, or from either to nobody's desk.
    let client = world.clients[at].path.reversed();
    for (path, datagrams) in [(client, 1), (up.to, 2), (Path::udp(address("203.0.113.99:1"), peer), 4)] {
        world.server.lost(path, datagrams);
    }
    let counters = world.server.counters();
    assert_eq!((counters.packets_to_peers, counters.bytes_to_peers), (4, 305));
    assert_eq!((counters.packets_to_clients, counters.bytes_to_clients), (2, 20));
    assert_eq!(counters.dropped_in_all(), 0, "that is for the owner to count");
    world.client(at).close(now);
    world.settle();
    let ended = world.server_events.iter().find_map(|event| match event {
        sterna_turn::ServerEvent::AllocationEnded { bytes_to_peers, bytes_to_client, lost, .. } => {
            Some((*bytes_to_peers, *bytes_to_client, *lost))
        }
        _ => None,
    });
    assert_eq!(ended, Some((305, 20, 3)));
}
