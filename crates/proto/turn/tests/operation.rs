//! What an operator changes while the server runs.

mod world;

use sterna_turn::{Auth, ClientEvent, ConfigError, Drop, Passage, PeerPolicy, Quotas, Stage};
use world::{SECRET, World, address, server_config};

const NEW_SECRET: &str = "another secret of this test";

#[test]
fn a_server_that_drains_keeps_what_it_has_and_sends_new_clients_elsewhere() {
    let mut world = World::new();
    let old = world.add_client("alice", 1000);
    world.settle();
    let elsewhere = address("203.0.113.50:3478");
    world.server.drain(Some(elsewhere));
    let new = world.add_client("bob", 1001);
    world.settle();
    assert!(world.clients[old].client.relayed().is_some());
    let redirected = ClientEvent::Redirected { server: elsewhere, domain: None };
    assert!(world.clients[new].events.contains(&redirected), "{:?}", world.clients[new].events);
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn without_another_server_of_their_family_new_clients_are_told_that_there_is_no_room() {
    for alternate in [None, Some(address("[2001:db8::50]:3478"))] {
        let mut world = World::new();
        world.server.drain(alternate);
        let new = world.add_client("bob", 1001);
        world.settle();
        let refused = world.clients[new].events.iter().find_map(|event| match event {
            ClientEvent::Failed(error) => Some((error.stage, error.code)),
            _ => None,
        });
        assert_eq!(refused, Some((Stage::Allocate, Some(508))), "{alternate:?}");
    }
}

#[test]
fn strangers_do_not_learn_where_clients_are_sent() {
    let mut world = World::new();
    world.server.drain(Some(address("203.0.113.50:3478")));
    let mut raw = world::Raw::new(world::client_path(1000), world::credentials("alice"));
    let request = raw.write(stun::Method::ALLOCATE, &world::allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    let answer = stun::Message::parse(&answer).unwrap();
    assert_eq!((answer.error_code().unwrap().code, answer.alternate_server()), (401, None));
}

#[test]
fn another_secret_counts_from_now_on_and_a_mistake_changes_nothing() {
    let mut world = World::new();
    let old = world.add_client("alice", 1000);
    world.settle();
    let rules = |auth| (auth, PeerPolicy::default(), Quotas::default());
    let (auth, policy, quotas) = rules(Auth::default());
    assert_eq!(world.server.reconfigure(auth, policy, quotas), Err(ConfigError::NoAuth));
    let still = world.add_client("bob", 1001);
    world.settle();
    assert!(world.clients[still].client.relayed().is_some(), "a mistake has changed something");

    let mut both = Auth::shared_secret(NEW_SECRET).unwrap();
    both.shared_secrets.extend(server_config().auth.shared_secrets);
    let (auth, policy, quotas) = rules(both);
    world.server.reconfigure(auth, policy, quotas).unwrap();
    let expires = world::START + 3600;
    for (port, secret) in [(1002, SECRET), (1003, NEW_SECRET)] {
        let (username, password) = stun::credential::rest_credentials(secret, "carol", expires).unwrap();
        let mut config = sterna_turn::ClientConfig::new(
            world::client_path(port),
            sterna_turn::Credentials { username, password },
            sansio::Seed::from(u64::from(port)),
        );
        config.lifetime = None;
        let client = world.add(config);
        world.settle();
        assert!(world.clients[client].client.relayed().is_some(), "{secret}");
    }
    assert!(world.clients[old].client.relayed().is_some());

    let (auth, policy, quotas) = rules(Auth::shared_secret(NEW_SECRET).unwrap());
    world.server.reconfigure(auth, policy, quotas).unwrap();
    let late = world.add_client("dave", 1004);
    world.settle();
    assert!(world.clients[late].client.relayed().is_none(), "the old secret is over");
}

#[test]
fn peers_that_a_new_policy_refuses_are_cut_off_at_once() {
    let mut world = World::new();
    let [kept, refused] = ["203.0.113.9:4000", "198.51.100.9:4000"].map(address);
    let alice = world.connected("alice", 1000, kept);
    world.permit(alice, refused);
    let local = world.relayed(alice);
    let flow = |world: &mut World, peer| world.server.flow(world.now, Passage::Peer { local, peer });
    assert!(flow(&mut world, kept).is_some() && flow(&mut world, refused).is_some());
    let before = server_config();
    let policy = before.policy.deny("198.51.100.0/24".parse().unwrap());
    world.server.reconfigure(before.auth, policy, before.quotas).unwrap();
    assert!(world.server.poll_stale().is_some(), "what was carried without asking is asked for again");
    assert!(flow(&mut world, kept).is_some());
    assert_eq!(flow(&mut world, refused), None);
    let client = world.clients[alice].path.reversed();
    assert_eq!(world.server.flow(world.now, Passage::Send { client, peer: refused }), None);
    let denied = world.server.counters().dropped(Drop::Denied);
    assert!(world.send(alice, refused, b"too late"));
    world.settle();
    assert_eq!(world.server.counters().dropped(Drop::Denied), denied + 1);
}
