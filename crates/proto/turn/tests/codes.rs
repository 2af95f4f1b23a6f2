//! The error codes of RFC 8656 §19, one test each, and what must not end in one: a session that is entitled to go on.

mod world;

use std::net::IpAddr;

use sterna_turn::{Auth, PeerPolicy, Quotas, ServerConfig};
use stun::credential::SharedSecret;
use stun::{Message, Method, kind};
use world::{
    Raw, World, address, allocate, allocate_and, client_path, credentials, ip, outcome, server_config,
};

const PEER: &str = "203.0.113.9:4000";

#[test]
fn error_437_allocation_mismatch() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Err(437), "there is none");
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(437), "there is one");
}

#[test]
fn error_438_stale_nonce() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    for _ in 0..8 {
        world.advance_secs(500);
        let request = raw.write(Method::REFRESH, &|_| {});
        let answer = world.ask(raw.path, &request).unwrap();
        if outcome(&answer) == Err(438) {
            let message = Message::parse(&answer).unwrap();
            assert!(message.nonce().is_some() && message.realm().is_some());
            raw.learn(&request, &answer);
            return assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
        }
    }
    panic!("an hour is over and the nonce is still good");
}

#[test]
fn error_440_address_family_not_supported() {
    let mut config = server_config();
    config.relay_addresses.retain(|relay| relay.bind.is_ipv4());
    let mut world = World::with(config);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let six = |writer: &mut stun::MessageWriter<'_>| {
        allocate_and(writer, kind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    };
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &six), Err(440));
}

#[test]
fn error_441_wrong_credentials() {
    let mut world = World::new();
    Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    let mut bob = Raw::challenged(&mut world, client_path(1000), credentials("bob"));
    assert_eq!(bob.ask(&mut world, Method::REFRESH, &|_| {}), Err(441));
}

#[test]
fn error_442_unsupported_transport_protocol() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    for protocol in [0, 1, 6, 18, 132, 255] {
        let other = |writer: &mut stun::MessageWriter<'_>| {
            writer.raw(kind::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
        };
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &other), Err(442), "{protocol}");
    }
}

#[test]
fn error_443_peer_address_family_mismatch() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    let six = address("[2001:db8:1::9]:4000");
    assert_eq!(raw.permit(&mut world, six), Err(443));
    assert_eq!(raw.bind(&mut world, 0x4000, six), Err(443));
}

#[test]
fn error_486_allocation_quota_reached() {
    let mut config = server_config();
    config.quotas = Quotas { per_user: 1, ..config.quotas };
    let mut world = World::with(config);
    Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    let mut second = Raw::challenged(&mut world, client_path(1001), credentials("alice"));
    assert_eq!(second.ask(&mut world, Method::ALLOCATE, &allocate), Err(486));
}

#[test]
fn error_508_insufficient_capacity() {
    let mut config = server_config();
    config.ports = 50_000..=50_000;
    let mut world = World::with(config);
    Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    let mut second = Raw::challenged(&mut world, client_path(1001), credentials("bob"));
    assert_eq!(second.ask(&mut world, Method::ALLOCATE, &allocate), Err(508));
}

#[test]
fn error_403_forbidden() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.permit(&mut world, address("10.0.0.1:80")), Err(403));
}

#[test]
fn expiry_never_cuts_a_running_session_that_is_entitled_to_go_on() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let relayed = world.relayed(at);
    // The username is good for one hour, the nonce for one, the channel for ten minutes, the permission for five; and
    // after half an hour the secret is another.
    for minute in 0..240 {
        if minute == 30 {
            let ServerConfig { policy, quotas, .. } = server_config();
            let shared_secrets = vec![SharedSecret::new("another secret of this test").unwrap()];
            let auth = Auth { shared_secrets, ..Auth::default() };
            world.server.reconfigure(auth, policy, quotas).unwrap();
        }
        world.advance_secs(60);
        assert!(world.send(at, address(PEER), b"up"), "minute {minute}: {:?}", world.events(at));
        assert_eq!(world.sent_to_peers.pop_front(), Some((relayed, address(PEER), b"up".to_vec())));
        world.peer_sends(address(PEER), relayed, b"down");
        assert_eq!(world.clients[at].inbox.pop(), Some((address(PEER), b"down".to_vec())));
    }
    // What is not entitled any more is cut off: a new policy is no expiry.
    let ServerConfig { auth, quotas, .. } = server_config();
    let none: IpAddr = ip("203.0.113.9");
    let policy = PeerPolicy::default().deny(format!("{none}/32").parse().unwrap());
    world.server.reconfigure(auth, policy, quotas).unwrap();
    world.send(at, address(PEER), b"up");
    assert_eq!(world.sent_to_peers.pop_front(), None);
}
