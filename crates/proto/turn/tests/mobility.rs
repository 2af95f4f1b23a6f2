//! Allocations that move with their clients (RFC 8016).

mod world;

use std::time::Duration;

use sansio::{Path, SocketError, SocketReply, Transport};
use sterna_turn::{EndReason, ServerEvent};
use stun::{Message, Method, kind};
use world::{
    Raw, World, address, allocate, allocate_and, client_path, credentials, outcome, relayed_in,
    send_indication,
};

const PEER: &str = "203.0.113.9:4000";

fn home() -> Path {
    client_path(1000)
}

fn away() -> Path {
    Path::udp(address("198.51.100.99:7777"), world::listening())
}

fn ticket_in(answer: &[u8]) -> Vec<u8> {
    Message::parse(answer).unwrap().raw(kind::MOBILITY_TICKET).expect("a ticket").to_vec()
}

/// A client at home with an allocation, a channel to the peer, and a ticket.
fn mobile(world: &mut World, path: Path) -> (Raw, std::net::SocketAddr, Vec<u8>) {
    let mut raw = Raw::challenged(world, path, credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &|w| allocate_and(w, kind::MOBILITY_TICKET, &[]));
    let answer = world.ask(path, &request).unwrap();
    raw.bind(world, 0x4000, address(PEER)).unwrap();
    (raw, relayed_in(&answer)[0], ticket_in(&answer))
}

/// The same user somewhere else, who knows the nonce of that place.
fn elsewhere(world: &mut World, path: Path, user: &str) -> Raw {
    Raw::challenged(world, path, credentials(user))
}

fn refresh(world: &mut World, raw: &mut Raw, ticket: &[u8]) -> Vec<u8> {
    let request = raw.write(Method::REFRESH, &|writer| _ = writer.raw(kind::MOBILITY_TICKET, ticket));
    world.ask(raw.path, &request).unwrap()
}

/// Where the server sends what comes from the peer.
fn heard_at(world: &mut World, relayed: std::net::SocketAddr) -> Path {
    world.answers.clear();
    world.peer_sends(address(PEER), relayed, b"data");
    let (to, bytes) = world.answers.pop_front().expect("it is relayed");
    assert_eq!(bytes, b"\x40\x00\x00\x04data");
    to.reversed()
}

fn send(world: &mut World, from: Path) -> bool {
    world.sent_to_peers.clear();
    world.ask(from, b"\x40\x00\x00\x05hello");
    world.sent_to_peers.len() == 1
}

#[test]
fn nothing_is_lost_before_during_and_after_the_switch() {
    let mut world = World::new();
    let (_raw, relayed, ticket) = mobile(&mut world, home());
    let mut moved = elsewhere(&mut world, away(), "alice");
    assert!(!send(&mut world, away()), "nobody knows him there yet");
    let answer = refresh(&mut world, &mut moved, &ticket);
    assert_eq!(outcome(&answer), Ok(()));
    assert_ne!(ticket_in(&answer), ticket);
    // Both are his, and what peers send goes where he was heard last.
    assert_eq!(heard_at(&mut world, relayed), home());
    assert!(send(&mut world, home()), "what was on its way still arrives");
    assert_eq!(heard_at(&mut world, relayed), home());
    // The first data from the new place switches.
    assert!(send(&mut world, away()));
    assert_eq!(heard_at(&mut world, relayed), away());
    assert!(!send(&mut world, home()), "the old one is nobody's");
    assert_eq!(world.server.allocations(), 1);
    let [.., ServerEvent::AllocationMoved { from, to, .. }] = &world.server_events[..] else { panic!() };
    assert_eq!((*from, *to), (home().reversed(), away().reversed()));
    // The channel is as it was, requests are taken, and the same relayed address ends once.
    assert_eq!(moved.permit(&mut world, address("203.0.113.10:1")), Ok(()));
    let delete = |writer: &mut stun::MessageWriter<'_>| _ = writer.u32(kind::LIFETIME, 0);
    assert_eq!(moved.ask(&mut world, Method::REFRESH, &delete), Ok(()));
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn a_send_indication_switches_as_well_and_frees_the_old_place_for_others() {
    let mut world = World::new();
    let (_raw, relayed, ticket) = mobile(&mut world, home());
    let mut moved = elsewhere(&mut world, away(), "alice");
    refresh(&mut world, &mut moved, &ticket);
    world.ask(
        away(),
        &send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER)).raw(kind::DATA, b"x");
        }),
    );
    assert_eq!(heard_at(&mut world, relayed), away());
    let mut bob = elsewhere(&mut world, home(), "bob");
    assert_eq!(bob.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert_eq!(heard_at(&mut world, relayed), away());
}

#[test]
fn flows_are_taken_back_when_a_client_arrives() {
    use sterna_turn::{ChannelNumber, Passage};
    let mut world = World::new();
    let (_raw, relayed, ticket) = mobile(&mut world, home());
    let now = world.now;
    let inbound = Passage::Peer { local: relayed, peer: address(PEER) };
    assert_eq!(world.server.flow(now, inbound).unwrap().to, home().reversed());
    let mut moved = elsewhere(&mut world, away(), "alice");
    refresh(&mut world, &mut moved, &ticket);
    let outbound = Passage::Channel { client: away().reversed(), number: ChannelNumber::MIN };
    assert!(world.server.flow(now, outbound).is_some());
    assert!(world.server.poll_stale().is_some());
    assert_eq!(world.server.flow(now, inbound).unwrap().to, away().reversed());
}

#[test]
fn a_lost_answer_is_given_again_to_the_same_place_for_a_while() {
    let mut world = World::new();
    let (_raw, _, ticket) = mobile(&mut world, home());
    let mut moved = elsewhere(&mut world, away(), "alice");
    assert_eq!(outcome(&refresh(&mut world, &mut moved, &ticket)), Ok(()));
    world.advance_secs(30);
    let again = refresh(&mut world, &mut moved, &ticket);
    assert_eq!(outcome(&again), Ok(()));
    let mut third = elsewhere(&mut world, client_path(3000), "alice");
    assert_eq!(outcome(&refresh(&mut world, &mut third, &ticket)), Err(400), "from a third place it is old");
    assert_eq!(outcome(&refresh(&mut world, &mut third, &ticket_in(&again))), Ok(()));
    world.advance_secs(41);
    assert_eq!(outcome(&refresh(&mut world, &mut moved, &ticket)), Err(400));
    assert!(!send(&mut world, away()), "the second place was given up for the third");
    assert!(send(&mut world, client_path(3000)));
}

#[test]
fn another_users_ticket_an_unknown_one_and_none_of_ours_move_nothing() {
    // coturn #1969: the resumed session took its owner's credentials from whoever came.
    let mut world = World::new();
    let (mut raw, relayed, ticket) = mobile(&mut world, home());
    let mut mallory = elsewhere(&mut world, away(), "mallory");
    assert_eq!(outcome(&refresh(&mut world, &mut mallory, &ticket)), Err(441));
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(outcome(&refresh(&mut world, &mut mallory, &changed)), Err(400), "byte {at}");
    }
    for short in [&ticket[..0], &ticket[..11], &ticket[..12], &[0; 500]] {
        assert_eq!(outcome(&refresh(&mut world, &mut mallory, short)), Err(400));
    }
    assert_eq!(outcome(&refresh(&mut world, &mut raw, &ticket)), Err(400), "he has not moved");
    assert_eq!(heard_at(&mut world, relayed), home());
    let delete = |writer: &mut stun::MessageWriter<'_>| _ = writer.u32(kind::LIFETIME, 0);
    raw.ask(&mut world, Method::REFRESH, &delete).unwrap();
    let mut alice = elsewhere(&mut world, away(), "alice");
    assert_eq!(outcome(&refresh(&mut world, &mut alice, &ticket)), Err(437), "its allocation is no more");
}

#[test]
fn a_place_that_has_an_allocation_of_its_own_is_437() {
    let mut world = World::new();
    let (_raw, _, ticket) = mobile(&mut world, home());
    let mut other = elsewhere(&mut world, away(), "alice");
    assert_eq!(other.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert_eq!(outcome(&refresh(&mut world, &mut other, &ticket)), Err(437));
}

#[test]
fn a_ticket_is_asked_for_with_an_empty_one_and_may_be_forbidden() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, home(), credentials("alice"));
    let full = |w: &mut stun::MessageWriter<'_>| allocate_and(w, kind::MOBILITY_TICKET, &[1]);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &full), Err(400));
    let mut config = world::server_config();
    config.mobility = false;
    let mut world = World::with(config);
    let mut raw = Raw::challenged(&mut world, home(), credentials("alice"));
    let empty = |w: &mut stun::MessageWriter<'_>| allocate_and(w, kind::MOBILITY_TICKET, &[]);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &empty), Err(405));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert_eq!(outcome(&refresh(&mut world, &mut raw, &[7; 40])), Err(405));
}

#[test]
fn a_session_whose_username_is_over_may_still_move() {
    let mut world = World::new();
    let (mut raw, _, ticket) = mobile(&mut world, home());
    for _ in 0..8 {
        world.advance_secs(500);
        let mut fresh = Raw::challenged(&mut world, home(), credentials("alice"));
        std::mem::swap(&mut raw.long_term, &mut fresh.long_term);
        assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
    }
    let mut moved = elsewhere(&mut world, away(), "alice");
    assert_eq!(moved.ask(&mut world, Method::ALLOCATE, &allocate), Err(401), "his hour is over");
    assert_eq!(outcome(&refresh(&mut world, &mut moved, &ticket)), Ok(()));
}

#[test]
fn a_client_whose_stream_broke_has_two_minutes_to_come_back() {
    for (late, comes_back) in [(119, Ok(())), (121, Err(437))] {
        let mut world = World::new();
        let tcp = world::stream_path(1000, Transport::Tcp);
        let (_raw, relayed, ticket) = mobile(&mut world, tcp);
        break_stream(&mut world, tcp);
        world.advance(Duration::from_secs(late));
        let mut moved = elsewhere(&mut world, away(), "alice");
        assert_eq!(outcome(&refresh(&mut world, &mut moved, &ticket)), comes_back, "after {late} s");
        if comes_back.is_ok() {
            assert!(send(&mut world, away()));
            assert_eq!(heard_at(&mut world, relayed), away());
        } else {
            let [.., ServerEvent::AllocationEnded { reason, .. }] = &world.server_events[..] else {
                panic!()
            };
            assert_eq!(*reason, EndReason::Expired);
        }
    }
}

fn break_stream(world: &mut World, path: Path) {
    let broke = SocketReply::Disconnected { path: path.reversed(), error: SocketError::Closed };
    let now = world.now;
    sansio::Machine::handle_socket(&mut world.server, now, broke);
}

#[test]
fn who_connects_from_where_a_stream_broke_is_somebody_else() {
    // Behind a NAT the next connection from an address and port may be anybody's.
    use sterna_turn::{ChannelNumber, Drop, Passage};
    let mut world = World::new();
    let tcp = world::stream_path(1000, Transport::Tcp);
    let (_raw, relayed, ticket) = mobile(&mut world, tcp);
    let outbound = Passage::Channel { client: tcp.reversed(), number: ChannelNumber::MIN };
    let now = world.now;
    assert!(world.server.flow(now, outbound).is_some());
    break_stream(&mut world, tcp);
    assert!(world.server.poll_stale().is_some());
    assert!(world.server.flow(now, outbound).is_none());
    assert!(!send(&mut world, tcp));
    let mut bob = elsewhere(&mut world, tcp, "bob");
    world.answers.clear();
    world.peer_sends(address(PEER), relayed, b"for alice");
    assert!(world.answers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Away), 1);
    assert_eq!(bob.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert_eq!(bob.permit(&mut world, address(PEER)), Ok(()));

    let mut alice = elsewhere(&mut world, away(), "alice");
    assert_eq!(outcome(&refresh(&mut world, &mut alice, &ticket)), Ok(()));
    assert_eq!(heard_at(&mut world, relayed), away(), "where else, before she has sent anything");
    assert!(send(&mut world, away()));
    let delete = |writer: &mut stun::MessageWriter<'_>| _ = writer.u32(kind::LIFETIME, 0);
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &delete), Ok(()));
    assert_eq!(bob.ask(&mut world, Method::REFRESH, &delete), Ok(()));
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn a_client_may_come_back_by_another_stream_from_where_it_was() {
    let mut world = World::new();
    let tcp = world::stream_path(1000, Transport::Tcp);
    let (_raw, relayed, mut ticket) = mobile(&mut world, tcp);
    for _ in 0..3 {
        break_stream(&mut world, tcp);
        assert!(!send(&mut world, tcp));
        let mut alice = elsewhere(&mut world, tcp, "alice");
        let answer = refresh(&mut world, &mut alice, &ticket);
        assert_eq!(outcome(&answer), Ok(()));
        ticket = ticket_in(&answer);
        assert_eq!(heard_at(&mut world, relayed), tcp);
        assert!(send(&mut world, tcp));
    }
    // And go elsewhere from there.
    let mut moved = elsewhere(&mut world, away(), "alice");
    assert_eq!(outcome(&refresh(&mut world, &mut moved, &ticket)), Ok(()));
    assert!(send(&mut world, away()));
    assert_eq!(heard_at(&mut world, relayed), away());
    assert!(!send(&mut world, tcp));
    // Or not come back.
    break_stream(&mut world, tcp);
    world.advance_secs(1000);
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn a_stream_that_breaks_after_the_refresh_switches_at_once() {
    let mut world = World::new();
    let tcp = world::stream_path(1000, Transport::Tcp);
    let (_raw, relayed, ticket) = mobile(&mut world, tcp);
    let mut moved = elsewhere(&mut world, away(), "alice");
    refresh(&mut world, &mut moved, &ticket);
    break_stream(&mut world, tcp);
    assert_eq!(heard_at(&mut world, relayed), away());
}
