//! One relay port for all allocations, told apart by their peers (decision 010): who hears whom, and who cannot.

mod world;

use std::net::SocketAddr;

use sterna_turn::{Drop, IcmpError, Passage, ServerConfig};
use stun::{Class, MessageWriter, Method, TransactionId, kind};
use world::{Raw, World, address, allocate_and, client_path, credentials, server_config};

const PORT: u16 = 50_000;
const PEER: &str = "203.0.113.9:4000";
const OTHER_PORT: &str = "203.0.113.9:4001";

fn config() -> ServerConfig {
    ServerConfig { shared_port: Some(PORT), ..server_config() }
}

fn world() -> World {
    World::with(config())
}

/// A connectivity check.
fn check(to: &str, from: &str) -> Vec<u8> {
    let mut buffer = vec![0; 200];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([5; 12]));
    writer.string(kind::USERNAME, &format!("{to}:{from}"));
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// What a client has received of peers since this was last asked.
fn heard(world: &mut World, at: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    std::mem::take(&mut world.clients[at].inbox)
}

/// A client with a permission for [`PEER`]'s address and nothing more.
fn permitted(world: &mut World, name: &str, port: u16) -> usize {
    let mut config = sterna_turn::ClientConfig::new(
        client_path(port),
        credentials(name),
        sansio::Seed::from(u64::from(port)),
    );
    config.channels = false;
    let at = world.add(config);
    world.permit(at, address(PEER));
    assert!(world.client(at).relayed().is_some());
    at
}

#[test]
fn all_allocations_have_one_address_and_one_socket_and_leave_nothing_behind() {
    let mut world = world();
    let clients: Vec<usize> = (0..20).map(|at| world.allocated("alice", 1000 + at)).collect();
    let addresses: Vec<SocketAddr> = clients.iter().map(|at| world.relayed(*at)).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]) && addresses[0].port() == PORT);
    assert_eq!(world.sockets.len(), 1);
    world.send(clients[0], address(PEER), b"to nobody");
    let now = world.now;
    for at in clients {
        world.client(at).close(now);
    }
    world.settle();
    assert!(world.server.is_idle());
    world.allocated("alice", 2000);
}

#[test]
fn a_peer_is_heard_by_who_has_sent_to_it_and_by_nobody_before() {
    let mut world = world();
    let at = permitted(&mut world, "alice", 1000);
    let relayed = world.relayed(at);
    world.peer_sends(address(PEER), relayed, b"first");
    assert_eq!(heard(&mut world, at), [], "a permission is not enough");
    assert!(world.send(at, address(PEER), b"hello"));
    assert_eq!(world.sent_to_peers.pop_front(), Some((relayed, address(PEER), b"hello".to_vec())));
    world.peer_sends(address(PEER), relayed, b"hi");
    world.peer_sends(address(OTHER_PORT), relayed, b"not you");
    assert_eq!(heard(&mut world, at), [(address(PEER), b"hi".to_vec())]);
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 2);
}

#[test]
fn a_channel_is_a_claim_too() {
    let mut world = world();
    let at = world.connected("alice", 1000, address(PEER));
    let relayed = world.relayed(at);
    world.peer_sends(address(PEER), relayed, b"hi");
    assert_eq!(heard(&mut world, at), [(address(PEER), b"hi".to_vec())]);
}

#[test]
fn one_client_cannot_steal_anothers_peer() {
    let mut world = world();
    let alice = world.connected("alice", 1000, address(PEER));
    let relayed = world.relayed(alice);
    // With a permission, by sending, by a channel, and by a name.
    let mut mallory = Raw::allocated(&mut world, client_path(2000), credentials("mallory"));
    mallory.permit(&mut world, address(PEER)).unwrap();
    assert_eq!(mallory.bind(&mut world, 0x4000, address(PEER)), Err(403));
    for data in [&b"mine"[..], &check("x", "mallory")] {
        let send = world::send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER)).raw(kind::DATA, data);
        });
        world.hand_to_server(mallory.path.reversed(), send);
    }
    assert!(world.sent_to_peers.is_empty(), "nor can he speak in her place");
    assert_eq!(world.server.counters().dropped(Drop::PeerTaken), 2);
    world.answers.clear();
    world.peer_sends(address(PEER), relayed, b"for alice");
    assert!(world.answers.is_empty());
    assert_eq!(heard(&mut world, alice), [(address(PEER), b"for alice".to_vec())]);
    // Another port of the same peer is another peer.
    assert_eq!(mallory.bind(&mut world, 0x4001, address(OTHER_PORT)), Ok(()));
}

#[test]
fn a_peer_is_free_when_its_allocation_or_its_permission_is_over() {
    let mut world = world();
    let alice = permitted(&mut world, "alice", 1000);
    assert!(world.send(alice, address(PEER), b"hello"));
    let bob = permitted(&mut world, "bob", 2000);
    let relayed = world.relayed(bob);
    assert!(world.send(bob, address(PEER), b"taken"));
    let now = world.now;
    world.client(alice).close(now);
    world.settle();
    assert!(world.send(bob, address(PEER), b"free"));
    world.peer_sends(address(PEER), relayed, b"hi");
    assert_eq!(heard(&mut world, bob), [(address(PEER), b"hi".to_vec())]);

    world.client(bob).forget(address(PEER));
    world.advance_secs(301);
    let carol = permitted(&mut world, "carol", 3000);
    assert!(world.send(carol, address(PEER), b"free again"));
    world.peer_sends(address(PEER), relayed, b"hi");
    assert_eq!((heard(&mut world, bob), heard(&mut world, carol).len()), (vec![], 1));
}

#[test]
fn a_check_finds_who_it_names_although_nothing_was_sent_to_where_it_comes_from() {
    let mut world = world();
    let (alice, bob) = (permitted(&mut world, "alice", 1000), permitted(&mut world, "bob", 2000));
    let relayed = world.relayed(alice);
    // Their agents have introduced themselves elsewhere.
    world.send(alice, address(PEER), &check("far", "alices"));
    world.send(bob, address(OTHER_PORT), &check("far", "bobs"));
    let from = address("203.0.113.9:7777");
    world.peer_sends(from, relayed, &check("bobs", "far"));
    assert_eq!(
        (heard(&mut world, alice), heard(&mut world, bob)),
        (vec![], vec![(from, check("bobs", "far"))])
    );
    world.peer_sends(address("203.0.113.10:7777"), relayed, &check("bobs", "far"));
    assert_eq!(heard(&mut world, bob), [], "it takes a permission all the same");
    // To the peer of one, for the other.
    world.peer_sends(address(PEER), relayed, &check("bobs", "far"));
    assert_eq!((heard(&mut world, alice), heard(&mut world, bob).len()), (vec![], 1));
    // What has no name is for who has claimed the peer.
    world.peer_sends(address(PEER), relayed, &check("nobodys", "far"));
    assert_eq!(heard(&mut world, alice).len(), 1);
}

#[test]
fn a_name_belongs_to_who_had_it_first_and_an_allocation_has_few() {
    let mut world = world();
    let (alice, mallory) = (permitted(&mut world, "alice", 1000), permitted(&mut world, "mallory", 2000));
    let relayed = world.relayed(alice);
    world.send(alice, address(PEER), &check("far", "alices"));
    world.send(mallory, address(OTHER_PORT), &check("far", "alices"));
    for name in 0..100 {
        world.send(mallory, address(OTHER_PORT), &check("far", &format!("name{name}")));
    }
    world.peer_sends(address("203.0.113.9:7777"), relayed, &check("alices", "far"));
    assert_eq!((heard(&mut world, alice).len(), heard(&mut world, mallory)), (1, vec![]));
    world.peer_sends(address("203.0.113.9:7777"), relayed, &check("name1", "far"));
    assert_eq!(heard(&mut world, mallory), [], "only the latest are kept");
    world.peer_sends(address("203.0.113.9:7777"), relayed, &check("name99", "far"));
    assert_eq!(heard(&mut world, mallory).len(), 1);
}

#[test]
fn two_allocations_of_one_server_meet_by_the_names_of_their_agents() {
    let mut world = world();
    let (alice, bob) = (world.allocated("alice", 1000), world.allocated("bob", 2000));
    let third = world.allocated("carol", 3000);
    let relayed = world.relayed(alice);
    for at in [alice, bob, third] {
        world.permit(at, relayed);
    }
    world.send(third, relayed, &check("nobodys", "carols"));
    world.send(alice, relayed, &check("bobs", "alices"));
    assert_eq!(heard(&mut world, bob), [], "nobody knows yet who that is");
    world.send(bob, relayed, &check("alices", "bobs"));
    assert_eq!(heard(&mut world, alice), [(relayed, check("alices", "bobs"))]);
    world.send(alice, relayed, b"an answer");
    world.send(alice, relayed, &check("bobs", "alices"));
    world.send(alice, relayed, b"data");
    let expected = [b"an answer".to_vec(), check("bobs", "alices"), b"data".to_vec()];
    assert_eq!(heard(&mut world, bob), expected.map(|data| (relayed, data)));
    world.send(bob, relayed, b"back");
    assert_eq!(heard(&mut world, alice), [(relayed, b"back".to_vec())]);
    world.send(third, relayed, b"hello?");
    assert_eq!((heard(&mut world, alice), heard(&mut world, bob)), (vec![], vec![]));
    assert!(world.sent_to_peers.is_empty(), "nothing leaves the process");
}

#[test]
fn flows_go_the_same_ways() {
    let mut world = world();
    let alice = world.connected("alice", 1000, address(PEER));
    let bob = permitted(&mut world, "bob", 2000);
    let (now, local) = (world.now, world.relayed(alice));
    let back = world.server.flow(now, Passage::Peer { local, peer: address(PEER) }).unwrap();
    assert_eq!(back.to, client_path(1000).reversed());
    assert_eq!(world.server.flow(now, Passage::Peer { local, peer: address(OTHER_PORT) }), None);
    let send = |client: u16, peer: &str| Passage::Send {
        client: client_path(client).reversed(),
        peer: address(peer),
    };
    assert_eq!(world.server.flow(now, send(2000, PEER)), None, "it is another's");
    world.send(bob, address(OTHER_PORT), b"mine");
    assert!(world.server.flow(now, send(2000, OTHER_PORT)).is_some());
    world.client(alice).close(now);
    world.settle();
    assert!(std::iter::from_fn(|| world.server.poll_stale()).any(|id| Some(id) == back.target));
    world.send(bob, address(PEER), b"mine, too");
    let back = world.server.flow(now, Passage::Peer { local, peer: address(PEER) }).unwrap();
    assert_eq!(back.to, client_path(2000).reversed());
}

#[test]
fn what_needs_a_port_of_its_own_is_refused() {
    let mut world = World::with(ServerConfig { tcp_relay: true, ..config() });
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &|w| allocate_and(w, kind::EVEN_PORT, &[0])), Err(508));
    let path = world::stream_path(1001, sansio::Transport::Tcp);
    let mut raw = Raw::challenged(&mut world, path, credentials("alice"));
    let tcp = raw.ask(&mut world, Method::ALLOCATE, &|writer| {
        writer.raw(kind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    });
    assert_eq!(tcp, Err(442));
}

#[test]
fn a_port_that_cannot_be_bound_is_508_and_tried_again_for_the_next() {
    let mut world = world();
    world.failing_binds = 1;
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &world::allocate), Err(508));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &world::allocate), Ok(()));
}

#[test]
fn an_icmp_error_is_told_who_has_the_peer() {
    let mut world = world();
    let alice = world.connected("alice", 1000, address(PEER));
    permitted(&mut world, "bob", 2000);
    let error = |peer: &str| IcmpError {
        local: address("192.0.2.15:50000"),
        peer: address(peer),
        icmp_type: 3,
        icmp_code: 3,
        mtu: 0,
    };
    let mut out = sansio::Batches::new(1 << 16);
    world.server.handle_icmp(world.now, error(OTHER_PORT), &mut out);
    assert!(out.is_empty());
    world.server.handle_icmp(world.now, error(PEER), &mut out);
    assert_eq!(out.pop().unwrap().path, world.clients[alice].path.reversed());
}

#[test]
fn an_allocation_claims_no_more_peers_than_it_may_have_permissions() {
    let mut config = config();
    config.quotas.permissions = 4;
    let mut world = World::with(config);
    let at = permitted(&mut world, "mallory", 1000);
    for port in 1..=10 {
        world.send(at, SocketAddr::new(address(PEER).ip(), port), b"mine");
    }
    assert_eq!(world.sent_to_peers.len(), 4);
}
