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
