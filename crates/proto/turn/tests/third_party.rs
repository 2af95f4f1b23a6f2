//! Access tokens of other parties (RFC 7635): our client against our server.

mod world;

use std::time::Duration;

use sansio::Seed;
use sterna_turn::{Auth, ClientConfig, ClientEvent, ConfigError, Credentials, Server, ThirdParty};
use stun::credential::{AccessToken, LongTerm, SessionKey, TokenKey};
use stun::{Message, Method, kind};
use world::{Raw, START, World, address, allocate, client_path, credentials, outcome, server_config};

const NAME: &str = "turn.example.org";
const KID: &str = "north";

fn key() -> TokenKey {
    TokenKey::new(KID, [9; 32])
}

fn auth() -> Auth {
    let third_party = ThirdParty { server_name: NAME.into(), keys: vec![key()] };
    Auth { third_party: Some(third_party), ..server_config().auth }
}

fn world() -> World {
    let mut config = server_config();
    config.auth = auth();
    World::with(config)
}

/// A token that is given out `after` seconds and good for `lifetime`.
fn token(number: u8, after: u64, lifetime: u64) -> AccessToken {
    let issued = Duration::from_secs(START + after);
    let session = SessionKey::new(vec![number; 20], issued, Duration::from_secs(lifetime));
    let token = key().seal(NAME, [number; 12], &session);
    AccessToken { kid: KID.into(), mac_key: vec![number; 20], token }
}

fn nobody() -> Credentials {
    Credentials { username: "nobody".into(), password: "nothing".into() }
}

fn with_token(world: &mut World, port: u16, token: AccessToken) -> usize {
    let mut config = ClientConfig::new(client_path(port), nobody(), Seed::from(u64::from(port)));
    config.token = Some(token);
    let at = world.add(config);
    world.settle();
    at
}

/// Someone with a token who has been challenged, and what he asks next with it.
fn asks(world: &mut World, token: AccessToken, method: Method) -> Result<(), u16> {
    let path = client_path(4000);
    let mut raw = Raw::new(path, nobody());
    raw.long_term = LongTerm::new("nobody", "nothing").with_token(token);
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(path, &request).expect("a challenge");
    raw.learn(&request, &answer);
    let mut buffer = vec![0; 2000];
    let id = stun::TransactionId([77; 12]);
    let mut writer = stun::MessageWriter::new(&mut buffer, stun::Class::Request, method, id);
    allocate(&mut writer);
    raw.long_term.present(&mut writer);
    let length = writer.finish().unwrap();
    outcome(&world.ask(path, &buffer[..length]).expect("an answer"))
}

#[test]
fn a_token_gets_an_allocation_and_everything_that_goes_with_it() {
    let mut world = world();
    let at = with_token(&mut world, 1000, token(1, 0, 3600));
    assert!(matches!(world.events(at), [ClientEvent::Allocated { .. }]), "{:?}", world.events(at));
    assert_eq!(world.client(at).third_party(), Some(NAME));
    world.clients[at].events.clear();
    let peer = address("203.0.113.9:4000");
    world.permit(at, peer);
    assert_eq!(world.events(at), [ClientEvent::PermissionGranted(peer), ClientEvent::ChannelBound(peer)]);
    assert!(world.send(at, peer, b"hello"));
    assert_eq!(world.sent_to_peers.pop_front().unwrap().2, b"hello");
    // Only in Allocate and Refresh requests.
    let shows = |bytes: &Vec<u8>| {
        Message::parse(bytes).is_ok_and(|message| {
            message.raw(kind::ACCESS_TOKEN).is_some() && message.method() != Method::ALLOCATE
        })
    };
    assert!(!world.clients[at].sent.iter().any(shows));
}

#[test]
fn who_has_a_password_is_still_let_in_and_who_has_both_shows_the_token() {
    let mut world = world();
    world.allocated("alice", 1000);
    let mut config = ClientConfig::new(client_path(2000), credentials("alice"), Seed::from(3));
    config.token = Some(token(1, 0, 3600));
    let at = world.add(config);
    world.settle();
    assert!(world.client(at).relayed().is_some());
    let last = world.clients[at].sent.last().unwrap();
    assert_eq!(Message::parse(last).unwrap().username(), Some(KID));
}

#[test]
fn an_allocation_lives_no_longer_than_its_token_unless_it_is_renewed() {
    let mut world = world();
    let at = with_token(&mut world, 1000, token(1, 0, 300));
    let [ClientEvent::Allocated { lifetime, .. }] = world.events(at)[..] else { panic!() };
    assert_eq!(lifetime, Duration::from_secs(305));
    let renewed = with_token(&mut world, 2000, token(2, 0, 300));
    world.advance_secs(200);
    let now = world.now;
    world.client(renewed).renew_token(now, token(3, 200, 7200));
    world.settle();
    let peer = address("203.0.113.9:4000");
    world.permit(renewed, peer);
    world.advance_secs(200);
    assert_eq!(world.server.allocations(), 1);
    assert!(matches!(world.events(at).last(), Some(ClientEvent::Failed(_))), "{:?}", world.events(at));
    world.advance_secs(3000);
    assert_eq!(world.server.allocations(), 1);
    assert!(world.client(renewed).relayed().is_some(), "{:?}", world.events(renewed));
    assert!(world.send(renewed, peer, b"still here"));
}

#[test]
fn tokens_that_are_over_changed_or_for_others_are_refused() {
    let mut world = world();
    let good = token(1, 0, 60);
    let mut changed = good.clone();
    changed.token[20] ^= 1;
    let mut stolen = good.clone();
    stolen.mac_key = vec![2; 20];
    // coturn's client signs with as many bytes as an MD5 has.
    let mut part = good.clone();
    part.mac_key.truncate(16);
    let mut unknown = good.clone();
    unknown.kid = "south".into();
    let session = SessionKey::new(vec![1; 20], Duration::from_secs(START), Duration::from_secs(60));
    let elsewhere = AccessToken { token: key().seal("other.example.org", [5; 12], &session), ..good.clone() };
    // The sixth is over by five seconds, by which clocks may differ, when it is shown.
    for bad in [changed, stolen, part, unknown, elsewhere, token(4, 0, 0), token(4, 7200, 60)] {
        world.advance_secs(1);
        assert_eq!(asks(&mut world, bad.clone(), Method::ALLOCATE), Err(401), "{bad:?}");
    }
    let mut world = self::world();
    assert_eq!(asks(&mut world, good.clone(), Method::CREATE_PERMISSION), Err(401), "not to be shown here");
    world.advance_secs(66);
    assert_eq!(asks(&mut world, good, Method::ALLOCATE), Err(401), "replayed");
    assert_eq!(asks(&mut world, token(7, 66, 60), Method::ALLOCATE), Ok(()));
}

#[test]
fn who_takes_no_tokens_says_420_and_nothing_of_them() {
    let mut world = World::new();
    let mut raw = Raw::new(client_path(1000), nobody());
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().raw(kind::THIRD_PARTY_AUTHORIZATION), None);
    raw.learn(&request, &answer);
    let request = raw.write(Method::ALLOCATE, &|writer| {
        allocate(writer);
        writer.raw(kind::ACCESS_TOKEN, &token(1, 0, 60).token);
    });
    let answer = world.ask(raw.path, &request).unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code().unwrap().code, 420);
    assert_eq!(answer.unknown_attributes().unwrap()[..], [kind::ACCESS_TOKEN.0]);
}

#[test]
fn a_challenge_with_the_servers_name_is_no_more_than_four_times_what_it_answers() {
    let mut world = world();
    let mut raw = Raw::new(client_path(1000), nobody());
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    assert!(answer.len() <= 4 * request.len(), "{} for {}", answer.len(), request.len());
    let mut config = server_config();
    config.realm = "a-realm-of-thirty-bytes-exactly".into();
    config.auth = auth();
    assert!(matches!(Server::new(config), Err(ConfigError::Realm(_))));
}

#[test]
fn the_session_of_one_token_is_not_refreshed_at_another_5_tuple_by_a_second() {
    let mut world = world();
    let at = with_token(&mut world, 1000, token(1, 0, 3600));
    assert!(world.client(at).relayed().is_some());
    assert_eq!(asks(&mut world, token(2, 0, 3600), Method::REFRESH), Err(437));
}
