//! How much one user, one source and all together may take.

mod world;

use std::time::Duration;

use sterna_turn::{ChannelNumber, ClientEvent, Drop, EndReason, Passage, Quotas, ServerConfig, ServerEvent};
use stun::{Message, Method, kind};
use world::{Raw, World, address, allocate, client_path, credentials, server_config};

const PEER: &str = "203.0.113.9:4000";
/// What a bucket holds at least.
const BURST: usize = 1 << 16;
const SIZE: usize = 1200;

fn world(change: impl FnOnce(&mut Quotas)) -> World {
    let mut config: ServerConfig = server_config();
    change(&mut config.quotas);
    World::with(config)
}

/// How many of `count` datagrams reach the peer.
fn sent(world: &mut World, at: usize, count: usize) -> usize {
    world.sent_to_peers.clear();
    for _ in 0..count {
        world.send(at, address(PEER), &[7; SIZE]);
    }
    world.sent_to_peers.len()
}

/// How many of `count` datagrams reach the client.
fn received(world: &mut World, at: usize, count: usize) -> usize {
    let relayed = world.relayed(at);
    world.clients[at].inbox.clear();
    for _ in 0..count {
        world.peer_sends(address(PEER), relayed, &[7; SIZE]);
    }
    world.clients[at].inbox.len()
}

#[test]
fn what_is_beyond_a_users_bandwidth_is_dropped_and_counted() {
    let mut world = world(|quotas| quotas.bandwidth_per_user = Some(100_000));
    let at = world.connected("alice", 1000, address(PEER));
    let bob = world.connected("bob", 2000, address(PEER));
    let burst = BURST / SIZE;
    assert_eq!(sent(&mut world, at, 100), burst);
    assert_eq!(world.server.counters().dropped(Drop::Bandwidth), (100 - burst) as u64);
    assert_eq!(received(&mut world, at, 100), burst, "the other way has its own measure");
    assert_eq!(sent(&mut world, bob, 10), 10, "others have theirs");
    world.advance(Duration::from_millis(120));
    assert_eq!(sent(&mut world, at, 100), 10, "it comes back at the rate that was said");
    // A second allocation is no second measure.
    let other = world.connected("alice", 3000, address(PEER));
    assert_eq!(sent(&mut world, other, 10), 0);
}

#[test]
fn what_is_beyond_the_bandwidth_of_all_is_dropped() {
    let mut world = world(|quotas| quotas.bandwidth = Some(100_000));
    let alice = world.connected("alice", 1000, address(PEER));
    let bob = world.connected("bob", 2000, address(PEER));
    let burst = BURST / SIZE;
    assert_eq!(sent(&mut world, alice, 30) + sent(&mut world, bob, 100), burst);
}

#[test]
fn flows_take_no_more_along_than_the_bandwidth_allows() {
    let mut world = world(|quotas| quotas.bandwidth_per_user = Some(100_000));
    let at = world.connected("alice", 1000, address(PEER));
    let (now, local) = (world.now, world.relayed(at));
    let up = Passage::Channel { client: client_path(1000).reversed(), number: ChannelNumber::MIN };
    for passage in [up, Passage::Peer { local, peer: address(PEER) }] {
        let allowances: Vec<u64> = std::iter::from_fn(|| world.server.flow(now, passage))
            .map(|flow| flow.allowance.expect("there is a limit"))
            .collect();
        assert!(allowances.len() > 2, "not all at once: {allowances:?}");
        let total: u64 = allowances.iter().sum();
        assert!((BURST as u64 - 1500..=BURST as u64).contains(&total), "{allowances:?}");
    }
    assert_eq!(sent(&mut world, at, 10), 0, "what flows took along is gone");
    world.advance_secs(1);
    assert!(world.server.flow(world.now, up).is_some());
}

#[test]
fn without_a_limit_a_flow_carries_any_number() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let passage = Passage::Peer { local: world.relayed(at), peer: address(PEER) };
    assert_eq!(world.server.flow(world.now, passage).unwrap().allowance, None);
}

#[test]
fn a_session_ends_when_its_time_is_up_however_often_it_is_refreshed() {
    let mut world = world(|quotas| quotas.session = Some(Duration::from_secs(1000)));
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    world.advance_secs(550);
    let request = raw.write(Method::REFRESH, &|_| {});
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().u32(kind::LIFETIME), Some(450));
    world.advance_secs(449);
    assert_eq!(world.server.allocations(), 1);
    world.advance_secs(1);
    assert_eq!(world.server.allocations(), 0);
    let reason = world.server_events.iter().find_map(|event| match event {
        ServerEvent::AllocationEnded { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, Some(EndReason::TimeIsUp));
    // He may begin another.
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
}

#[test]
fn one_user_with_too_many_allocations_is_told_486_and_so_is_one_source() {
    for change in
        [(|quotas: &mut Quotas| quotas.per_user = 2) as fn(&mut Quotas), |quotas| quotas.per_source = 2]
    {
        let mut world = world(change);
        world.allocated("alice", 1000);
        let second = world.allocated("alice", 1001);
        let mut third = Raw::challenged(&mut world, client_path(1002), credentials("alice"));
        assert_eq!(third.ask(&mut world, Method::ALLOCATE, &allocate), Err(486));
        let now = world.now;
        world.client(second).close(now);
        world.settle();
        assert_eq!(world.events(second), [ClientEvent::Closed]);
        assert_eq!(third.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    }
}

#[test]
fn a_full_server_says_508() {
    let mut world = world(|quotas| quotas.total = 1);
    world.allocated("alice", 1000);
    let mut second = Raw::challenged(&mut world, client_path(1001), credentials("bob"));
    assert_eq!(second.ask(&mut world, Method::ALLOCATE, &allocate), Err(508));
}

#[test]
fn new_rules_are_kept_from_now_on() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    assert_eq!(sent(&mut world, at, 100), 100);
    let ServerConfig { auth, policy, quotas, .. } = server_config();
    let quotas = Quotas { bandwidth_per_user: Some(100_000), ..quotas };
    world.server.reconfigure(auth, policy, quotas).unwrap();
    assert_eq!(sent(&mut world, at, 100), BURST / SIZE);
}
