//! Datagrams that shall not be fragmented (DONT-FRAGMENT), and what the network says when one did not arrive (ICMP).

mod world;

use std::net::SocketAddr;

use sansio::{Batches, Datagram, Machine as _, Outbox as _, Path, Seed};
use sterna_turn::{Client, ClientConfig, ClientEvent, IcmpError, ServerConfig, parse_send};
use stun::{Class, Message, Method, kind};
use world::{Raw, World, address, allocate_and, client_path, credentials, send_indication, server_config};

const PEER: &str = "203.0.113.9:4000";

fn config() -> ServerConfig {
    ServerConfig { dont_fragment: true, ..server_config() }
}

/// What the server sends to peers for one packet of a client: whether whole, and the bytes.
fn sent(world: &mut World, client: Path, bytes: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut out = Batches::new(1 << 20);
    let payload = &mut bytes.to_vec()[..];
    world.server.handle_datagram(world.now, Datagram { from: client.reversed(), payload }, &mut out);
    std::iter::from_fn(|| out.pop()).map(|batch| (batch.whole, batch.bytes)).collect()
}

fn marked(peer: SocketAddr) -> Vec<u8> {
    send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, peer).flag(kind::DONT_FRAGMENT).raw(kind::DATA, b"data");
    })
}

#[test]
fn with_dont_fragment_a_send_indication_leaves_whole_and_without_it_like_any_other() {
    let mut world = World::with(config());
    let peer = address(PEER);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &|w| allocate_and(w, kind::DONT_FRAGMENT, &[])), Ok(()));
    raw.permit(&mut world, peer).unwrap();
    assert_eq!(sent(&mut world, raw.path, &marked(peer)), [(true, b"data".to_vec())]);
    let plain = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, peer).raw(kind::DATA, b"data");
    });
    assert_eq!(sent(&mut world, raw.path, &plain), [(false, b"data".to_vec())]);
    assert!(parse_send(&plain).is_some());
    assert_eq!(parse_send(&marked(peer)), None, "what is carried past the machine has no DF bit");
}

#[test]
fn who_cannot_set_the_df_bit_says_420_and_drops_such_indications() {
    let mut world = World::with(server_config());
    let peer = address(PEER);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &|w| allocate_and(w, kind::DONT_FRAGMENT, &[]));
    let answer = world.ask(raw.path, &request).unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code().unwrap().code, 420);
    assert_eq!(answer.unknown_attributes().unwrap()[..], [kind::DONT_FRAGMENT.0]);
    raw.ask(&mut world, Method::ALLOCATE, &world::allocate).unwrap();
    raw.permit(&mut world, peer).unwrap();
    assert_eq!(sent(&mut world, raw.path, &marked(peer)), []);
}

fn client(world: &mut World) -> usize {
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(7));
    config.dont_fragment = true;
    let at = world.add(config);
    world.permit(at, address(PEER));
    at
}

fn whole(client: &mut Client, peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Batches::new(1 << 16);
    client.whole_lane(peer, &mut out)?.send_bytes((), data).then_some(())?;
    out.pop().map(|batch| batch.bytes)
}

#[test]
fn our_client_asks_for_it_and_does_without_where_it_must() {
    let mut world = World::with(config());
    let (at, path) = (client(&mut world), client_path(1000));
    let bytes = whole(world.client(at), address(PEER), b"data").expect("the server can");
    assert_eq!(bytes.len(), 36 + 4 + 4);
    assert_eq!(sent(&mut world, path, &bytes), [(true, b"data".to_vec())]);

    let mut world = World::with(server_config());
    let at = client(&mut world);
    assert!(world.client(at).relayed().is_some(), "{:?}", world.events(at));
    assert_eq!(whole(world.client(at), address(PEER), b"data"), None);
}

fn icmp(world: &World, at: usize) -> IcmpError {
    IcmpError { local: world.relayed(at), peer: address(PEER), icmp_type: 3, icmp_code: 1, mtu: 0 }
}

/// What the client hears of an error.
fn heard(world: &mut World, at: usize, error: IcmpError) -> Vec<ClientEvent> {
    let mut out = Batches::new(1 << 16);
    world.server.handle_icmp(world.now, error, &mut out);
    let now = world.now;
    world.clients[at].events.clear();
    while let Some(mut batch) = out.pop() {
        let message = Message::parse(&batch.bytes).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
        assert_eq!(message.raw(kind::DATA), None);
        world.client(at).open(now, &mut batch.bytes, &mut |_, _| panic!("no data"));
    }
    std::iter::from_fn(|| world.client(at).poll_event()).collect()
}

#[test]
fn an_icmp_error_reaches_the_client_with_its_mtu() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let error = icmp(&world, at);
    let event = |icmp_code, data| ClientEvent::PeerUnreachable { peer, icmp_type: 3, icmp_code, data };
    assert_eq!(heard(&mut world, at, error), [event(1, 0)]);
    let too_large = IcmpError { icmp_code: 4, mtu: 1280, ..error };
    assert_eq!(heard(&mut world, at, too_large), [event(4, 1280)]);
    let odd = IcmpError { mtu: 1280, ..error };
    assert_eq!(heard(&mut world, at, odd), [event(1, 0)], "data is zero where it means nothing");
    let without_port = IcmpError { peer: SocketAddr::new(peer.ip(), 0), ..error };
    assert_eq!(heard(&mut world, at, without_port).len(), 1);
}

#[test]
fn an_icmp_error_of_another_kind_peer_or_allocation_is_dropped() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let error = icmp(&world, at);
    for bad in [
        IcmpError { icmp_type: 5, ..error },
        IcmpError { icmp_type: 8, ..error },
        IcmpError { peer: address("203.0.113.10:4000"), ..error },
        IcmpError { peer: address("[2001:db8::9]:4000"), icmp_type: 1, ..error },
        IcmpError { local: address("192.0.2.15:1"), ..error },
    ] {
        assert_eq!(heard(&mut world, at, bad), [], "{bad:?}");
    }
    world.advance_secs(1);
    assert_eq!(heard(&mut world, at, error).len(), 1);
}
