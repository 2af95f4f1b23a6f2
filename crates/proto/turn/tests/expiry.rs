//! What ends by itself ends on time, each at its own, and wakes the server no more often than that.

mod world;

use std::time::Duration;

use sansio::{Machine, Time};
use sterna_turn::{EndReason, ServerEvent};
use stun::{Method, kind};
use world::{Raw, World, address, allocate_and, client_path, credentials};

const PEER: &str = "203.0.113.9:4000";
const OTHER: &str = "203.0.113.10:4000";

fn at(seconds: u64) -> Time {
    Time::from_start(Duration::from_secs(seconds))
}

/// Hears of `peer`? By whatever the client has for it.
fn hears(world: &mut World, peer: &str) -> bool {
    world.answers.clear();
    let relayed = *world.sockets.first().expect("a relay socket");
    world.peer_sends(address(peer), relayed, b"hello");
    !world.answers.is_empty()
}

#[test]
fn permission_channel_and_allocation_end_each_at_its_own_time() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(world.server.poll_timeout(), Some(at(600)));
    world.advance_secs(10);
    raw.permit(&mut world, address(OTHER)).unwrap();
    assert_eq!(world.server.poll_timeout(), Some(at(310)));
    world.advance_secs(10);
    raw.bind(&mut world, 0x4000, address(PEER)).unwrap();
    assert_eq!(world.server.poll_timeout(), Some(at(310)), "what is later does not postpone it");

    // Refreshed before it is due: the timer goes by, and nothing ends.
    world.advance_secs(230);
    raw.permit(&mut world, address(OTHER)).unwrap();
    world.advance_secs(65);
    assert!(hears(&mut world, OTHER) && hears(&mut world, PEER));
    assert_eq!(world.server.poll_timeout(), Some(at(320)));
    world.advance_secs(5);
    assert!(hears(&mut world, OTHER) && !hears(&mut world, PEER));
    assert_eq!(world.server.poll_timeout(), Some(at(550)));
    world.advance_secs(230);
    assert!(!hears(&mut world, OTHER));
    assert_eq!(world.server.poll_timeout(), Some(at(600)));

    // The channel outlives its permission, and the allocation, once refreshed, the channel.
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
    assert_eq!(world.server.poll_timeout(), Some(at(620)));
    raw.permit(&mut world, address(PEER)).unwrap();
    assert!(hears(&mut world, PEER));
    assert_eq!(world.answers[0].1[..2], [0x40, 0]);
    world.advance_secs(70);
    assert!(hears(&mut world, PEER));
    assert_ne!(world.answers[0].1[..2], [0x40, 0], "the channel is over");
    world.advance_secs(530);
    assert_eq!(world.server.poll_timeout(), None);
    let end = world.server_events.last();
    assert!(matches!(end, Some(ServerEvent::AllocationEnded { reason: EndReason::Expired, .. })), "{end:?}");
    assert!(world.server.is_idle());
}

#[test]
fn days_without_a_call_end_all_that_was_due_at_once() {
    let mut world = World::new();
    for port in 1000..1040 {
        let mut raw = Raw::challenged(&mut world, client_path(port), credentials(&format!("user {port}")));
        let even = |w: &mut stun::MessageWriter<'_>| allocate_and(w, kind::EVEN_PORT, &[0x80]);
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &even), Ok(()));
        raw.bind(&mut world, 0x4000, address(PEER)).unwrap();
        raw.permit(&mut world, address(OTHER)).unwrap();
        world.now += Duration::from_millis(7);
    }
    world.now += Duration::from_secs(9 * 86_400);
    world.server.handle_timeout(world.now);
    assert_eq!(world.server.poll_timeout(), None);
    world.settle();
    assert!(world.server.is_idle() && world.sockets.is_empty());
}
