//! Our client takes its allocation along, with our server at the other end.

mod world;

use std::net::SocketAddr;

use sansio::Path;
use sterna_turn::{ClientConfig, ClientEvent, Immobile};
use world::{World, address, client_path, credentials};

const PEER: &str = "203.0.113.9:4000";

fn away() -> Path {
    client_path(7777)
}

/// A client with a ticket and a channel.
fn mobile(world: &mut World) -> (usize, SocketAddr) {
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), sansio::Seed::from(1));
    config.mobility = true;
    let at = world.add(config);
    world.settle();
    world.permit(at, address(PEER));
    world.clients[at].events.clear();
    (at, world.relayed(at))
}

/// The network changes: what leaves by the new path comes in by it.
fn go(world: &mut World, at: usize) {
    let now = world.now;
    world.clients[at].other_path = Some(away());
    assert_eq!(world.client(at).migrate(now, away()), Ok(()));
    world.settle();
}

#[test]
fn an_allocation_is_taken_along_and_nothing_is_lost() {
    let mut world = World::new();
    let (at, relayed) = mobile(&mut world);
    go(&mut world, at);
    assert_eq!(world.events(at), [ClientEvent::Moved(away())]);
    assert_eq!(world.client(at).server(), away());
    // Still by the old path, for the server has not heard from the new one.
    world.peer_sends(address(PEER), relayed, b"one");
    assert!(world.send(at, address(PEER), b"hello"));
    assert_eq!(world.sent_to_peers.pop_back().unwrap(), (relayed, address(PEER), b"hello".to_vec()));
    world.peer_sends(address(PEER), relayed, b"two");
    let heard: Vec<_> = world.clients[at].inbox.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(heard, [b"one", b"two"]);
    // It lives on at the new place, and moves once more.
    world.advance_secs(3000);
    assert_eq!(world.events(at).len(), 1);
    assert!(world.send(at, address(PEER), b"still here"));
    let (old, further) = (away(), client_path(8888));
    (world.clients[at].path, world.clients[at].other_path) = (old, Some(further));
    let now = world.now;
    assert_eq!(world.client(at).migrate(now, further), Ok(()));
    world.settle();
    assert_eq!(world.events(at).last(), Some(&ClientEvent::Moved(further)));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut world = World::new();
    let (at, _) = mobile(&mut world);
    let mut count = 0;
    world.lose = Box::new(move |_| {
        count += 1;
        count % 2 == 1
    });
    go(&mut world, at);
    world.advance_secs(10);
    assert_eq!(world.events(at), [ClientEvent::Moved(away())]);
}

#[test]
fn without_a_ticket_nothing_moves_and_a_server_that_forbids_it_still_gives_an_allocation() {
    let mut config = world::server_config();
    config.mobility = false;
    let mut world = World::with(config);
    let (at, _) = mobile(&mut world);
    let now = world.now;
    assert_eq!(world.client(at).migrate(now, away()), Err(Immobile::NoTicket));
    world.client(at).close(now);
    assert_eq!(world.client(at).migrate(now, away()), Err(Immobile::NoAllocation));
}

#[test]
fn a_refused_move_leaves_everything_as_it_was() {
    let mut world = World::new();
    let (at, relayed) = mobile(&mut world);
    // Somebody is there already.
    let other = world.add(ClientConfig::new(away(), credentials("alice"), sansio::Seed::from(2)));
    world.settle();
    world.clients[other].path = client_path(9999);
    let now = world.now;
    world.clients[at].other_path = Some(away());
    // Nobody answers there.
    world.lose = Box::new(|_| true);
    assert_eq!(world.client(at).migrate(now, away()), Ok(()));
    world.advance_secs(40);
    world.lose = Box::new(|_| false);
    let [ClientEvent::MoveRefused { code: None, .. }] = world.events(at) else {
        panic!("{:?}", world.events(at))
    };
    assert!(world.send(at, address(PEER), b"here"));
    world.peer_sends(address(PEER), relayed, b"there");
    assert_eq!(world.clients[at].inbox.len(), 1);
}

/// The NAT in front of the client has forgotten it, and gives it another address.
fn rebind(world: &mut World, at: usize, port: u16) {
    world.clients[at].outer_path = Some(client_path(port));
}

#[test]
fn a_nat_that_gives_another_address_is_found_out_by_asking_and_nothing_else_changes() {
    let mut world = World::new();
    let (at, relayed) = mobile(&mut world);
    rebind(&mut world, at, 2000);
    assert!(world.send(at, address(PEER), b"lost"));
    assert_eq!(world.sent_to_peers.pop_back(), None, "the server knows nobody there");
    let now = world.now;
    world.client(at).make_sure(now);
    world.client(at).make_sure(now);
    world.settle();
    assert_eq!(world.events(at), [ClientEvent::Moved(client_path(1000))]);
    assert!(world.send(at, address(PEER), b"hello"));
    assert_eq!(world.sent_to_peers.pop_back().unwrap(), (relayed, address(PEER), b"hello".to_vec()));
    world.peer_sends(address(PEER), relayed, b"hello yourself");
    assert_eq!(world.clients[at].inbox.len(), 1);
    // Where all is well asking costs one Refresh, and no ticket (RFC 8016 §3.2.1).
    let sent = world.clients[at].sent.len();
    world.client(at).make_sure(now);
    world.settle();
    assert_eq!((world.events(at).len(), world.clients[at].sent.len()), (1, sent + 1));
    // And again, and again, for hours.
    for port in 2001..2020 {
        rebind(&mut world, at, port);
        world.advance_secs(700);
        assert!(world.send(at, address(PEER), b"x"), "{:?}", world.events(at));
        assert_eq!(world.sent_to_peers.len(), 1);
        world.sent_to_peers.clear();
    }
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_permission_that_is_asked_for_from_another_outer_address_is_granted_there() {
    let mut world = World::new();
    let (at, _) = mobile(&mut world);
    rebind(&mut world, at, 2000);
    let other = address("203.0.113.10:4000");
    world.permit(at, other);
    let moved = ClientEvent::Moved(client_path(1000));
    let events = [moved, ClientEvent::PermissionGranted(other), ClientEvent::ChannelBound(other)];
    assert_eq!(world.events(at), events);
}

#[test]
fn a_server_that_has_lost_the_allocation_is_not_taken_for_a_nat() {
    let mut world = World::new();
    let (at, _) = mobile(&mut world);
    let now = world.now;
    // Another one, with other keys.
    let mut config = world::server_config();
    config.seed = sansio::Seed::from(77);
    world.server = sterna_turn::Server::new(config).unwrap();
    world.sockets.clear();
    world.client(at).make_sure(now);
    world.settle();
    let [ClientEvent::Failed(error)] = world.events(at) else { panic!("{:?}", world.events(at)) };
    assert_eq!((error.code, error.reason.as_str()), (Some(437), "Allocation Mismatch"), "{error}");
}

#[test]
fn a_nat_with_another_address_for_every_packet_ends_it() {
    let mut world = World::new();
    let (at, _) = mobile(&mut world);
    let now = world.now;
    world.client(at).make_sure(now);
    for port in 2000..2100 {
        rebind(&mut world, at, port);
        let other = [203, 0, 113, (port - 2000) as u8 + 20];
        world.permit(at, (other, 4000).into());
        rebind(&mut world, at, port + 1000);
        world.client(at).make_sure(now);
    }
    assert!(matches!(world.events(at).last(), Some(ClientEvent::Failed(_))), "{:?}", world.events(at));
    assert!(world.clients[at].sent.len() < 100, "{} requests", world.clients[at].sent.len());
}
