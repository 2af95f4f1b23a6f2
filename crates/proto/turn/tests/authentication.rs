//! Who is let in: credentials, nonces, and what others got wrong with them.

mod world;

use std::time::Duration;

use sterna_turn::{Auth, ClientEvent, Credentials, EndReason, LoginFailure, ServerEvent, Stage, User};
use stun::credential::{Features, SharedSecret};
use stun::{Class, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId, kind};
use world::{
    REALM, Raw, SECRET, START, World, address, allocate, client_path, credentials, outcome, server_config,
};

const PEER: &str = "203.0.113.9:4000";

#[test]
fn every_request_of_turn_is_challenged_first() {
    let mut world = World::new();
    for method in [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        let mut raw = Raw::new(client_path(1000), credentials("alice"));
        let request = raw.write(method, &allocate);
        let answer = world.ask(raw.path, &request).unwrap();
        assert_eq!(outcome(&answer), Err(401), "{method}");
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.realm(), Some(REALM));
        assert!(Features::of(answer.nonce().unwrap()).unwrap().password_algorithms);
        assert_eq!(answer.integrity(), None);
    }
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
}

#[test]
fn both_password_algorithms_are_offered_the_better_one_first_and_answers_are_signed_with_it() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let sent = Message::parse(&request).unwrap();
    assert_eq!(sent.password_algorithm(), Some(PasswordAlgorithm::Sha256));
    let offered: Vec<_> = sent.password_algorithms().unwrap().supported().collect();
    assert_eq!(offered, [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5]);
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().integrity(), Some(stun::Integrity::Sha256));
}

/// A request signed as RFC 5389 has it: MD5, SHA-1, no PASSWORD-ALGORITHMS.
fn old_request(username: &str, password: &str, nonce: &[u8], method: Method, id: u8) -> Vec<u8> {
    let key = stun::Key::long_term(PasswordAlgorithm::Md5, username, REALM, password);
    let mut buffer = vec![0; 2000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, TransactionId([id; 12]));
    allocate(&mut writer);
    writer.string(kind::USERNAME, username).string(kind::REALM, REALM).raw(kind::NONCE, nonce);
    let length = writer.integrity(&key).finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// A nonce as the server gives it to whoever asks from `path`.
fn nonce(world: &mut World, path: sansio::Path) -> Vec<u8> {
    let mut raw = Raw::new(path, credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(path, &request).unwrap();
    Message::parse(&answer).unwrap().nonce().unwrap().to_vec()
}

#[test]
fn clients_of_rfc_5389_are_served_with_md5_and_sha1() {
    let mut world = World::new();
    let path = client_path(1000);
    let nonce = nonce(&mut world, path);
    let Credentials { username, password } = credentials("alice");
    let answer = world.ask(path, &old_request(&username, &password, &nonce, Method::ALLOCATE, 1)).unwrap();
    assert_eq!(outcome(&answer), Ok(()));
    let key = stun::Key::long_term(PasswordAlgorithm::Md5, &username, REALM, &password);
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.integrity(), Some(stun::Integrity::Sha1));
    assert!(answer.check_integrity(&key).is_ok());
}

#[test]
fn a_password_algorithm_bid_down_is_refused() {
    let mut world = World::new();
    let path = client_path(1000);
    let nonce = nonce(&mut world, path);
    let Credentials { username, password } = credentials("alice");
    let key = stun::Key::long_term(PasswordAlgorithm::Md5, &username, REALM, &password);
    // Somebody shortened the list on its way to the client, who chose the only one left.
    let mut buffer = vec![0; 2000];
    let mut writer =
        MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    allocate(&mut writer);
    writer.string(kind::USERNAME, &username).string(kind::REALM, REALM).raw(kind::NONCE, &nonce);
    writer.password_algorithms(&[PasswordAlgorithm::Md5]).password_algorithm(PasswordAlgorithm::Md5);
    let length = writer.integrity_sha256(&key).finish().unwrap();
    assert_eq!(outcome(&world.ask(path, &buffer[..length]).unwrap()), Err(400));
    // Or took the cookie out of the nonce: then it is no nonce of ours.
    let stripped = &nonce[Features::COOKIE_BYTES..];
    let answer = world.ask(path, &old_request(&username, &password, stripped, Method::ALLOCATE, 2)).unwrap();
    assert_eq!(outcome(&answer), Err(438));
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn wrong_passwords_and_unknown_users_are_told_the_same() {
    let mut world = World::new();
    let path = client_path(1000);
    let nonce = nonce(&mut world, path);
    let Credentials { username, .. } = credentials("alice");
    let wrong = world.ask(path, &old_request(&username, "wrong", &nonce, Method::ALLOCATE, 1)).unwrap();
    let unknown = world.ask(path, &old_request("nobody", "wrong", &nonce, Method::ALLOCATE, 1)).unwrap();
    assert_eq!(outcome(&wrong), Err(401));
    assert_eq!(wrong, unknown);
    assert_eq!(world.server.counters().unauthorized(), 3);
}

#[test]
fn the_counters_and_the_events_say_which_check_failed() {
    let mut world = World::new();
    let path = client_path(1000);
    let nonce = nonce(&mut world, path);
    let Credentials { username, .. } = credentials("alice");
    let (late, password) = stun::credential::rest_credentials(SECRET, "late", START - 1).unwrap();
    let asked = [
        (old_request(&username, "wrong", &nonce, Method::ALLOCATE, 1), LoginFailure::WrongPassword),
        (old_request("nobody", "wrong", &nonce, Method::ALLOCATE, 2), LoginFailure::UnknownUser),
        (old_request(&late, &password, &nonce, Method::ALLOCATE, 3), LoginFailure::Expired),
    ];
    for (request, cause) in asked {
        world.server_events.clear();
        assert_eq!(outcome(&world.ask(path, &request).unwrap()), Err(401));
        assert_eq!(world.server.counters().login_failures(cause), 1, "{cause:?}");
        let [ServerEvent::LoginRefused { client, cause: told, .. }] = &world.server_events[..] else {
            panic!()
        };
        assert_eq!((*client, *told), (path.reversed(), cause));
    }
    // A nonce that is not his: nobody knows where he is, so the log is not his to fill.
    let request = old_request("nobody", "wrong", &nonce, Method::ALLOCATE, 4);
    world.server_events.clear();
    assert_eq!(outcome(&world.ask(client_path(1001), &request).unwrap()), Err(401));
    assert_eq!(world.server_events, []);
    assert_eq!(world.server.counters().login_failures(LoginFailure::Unsigned), 1);
}

#[test]
fn a_session_is_told_of_its_stale_nonce_in_the_middle_of_a_flood() {
    let mut config = world::server_config();
    config.nonce_lifetime = Duration::from_secs(100);
    config.quotas.unauthenticated_per_second = 1;
    let mut world = World::with(config);
    let at = world.connected("alice", 1000, address(PEER));
    for second in 0..3600 {
        world.advance_secs(1);
        // Somebody asks in the name of the client's address, and uses up all that it may be answered.
        for port in 0..10 {
            let mut flood = Raw::new(client_path(2000 + port), credentials("eve"));
            let request = flood.write(Method::ALLOCATE, &allocate);
            world.hand_to_server(flood.path.reversed(), request);
        }
        world.answers.clear();
        assert_eq!(world.events(at), [], "after {second} s");
    }
    assert!(world.server.counters().login_failures(LoginFailure::StaleNonce) > 10);
    assert!(world.send(at, address(PEER), b"still here"));
}

#[test]
fn a_nonce_replayed_from_another_source_is_stale() {
    let mut world = World::new();
    let nonce = nonce(&mut world, client_path(1000));
    let Credentials { username, password } = credentials("alice");
    let request = old_request(&username, &password, &nonce, Method::ALLOCATE, 1);
    for other in ["198.51.100.2:1001", "198.51.100.3:1000"] {
        let path = sansio::Path::udp(address(other), world::listening());
        let answer = world.ask(path, &request).unwrap();
        assert_eq!(outcome(&answer), Err(438), "{other}");
    }
    let tcp = world::stream_path(1000, sansio::Transport::Tcp);
    assert_eq!(outcome(&world.ask(tcp, &request).unwrap()), Err(438), "another transport");
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    assert_eq!(outcome(&world.ask(client_path(1000), &request).unwrap()), Ok(()));
}

#[test]
fn a_guessed_or_altered_nonce_is_stale() {
    let mut world = World::new();
    let path = client_path(1000);
    let nonce = nonce(&mut world, path);
    let Credentials { username, password } = credentials("alice");
    let mut last = nonce.clone();
    *last.last_mut().unwrap() ^= 1;
    for guess in [&b"x"[..], &[0; 33], &last, &nonce[..nonce.len() - 1], &[b'A'; 763]] {
        let answer = world.ask(path, &old_request(&username, &password, guess, Method::ALLOCATE, 1)).unwrap();
        assert_eq!(outcome(&answer), Err(438));
    }
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn nonces_differ_between_sources_times_and_servers() {
    let mut world = World::new();
    let first = nonce(&mut world, client_path(1000));
    assert_ne!(first, nonce(&mut world, client_path(1001)));
    world.advance_secs(60);
    assert_ne!(first, nonce(&mut world, client_path(1000)));
    let mut config = world::server_config();
    config.seed = sansio::Seed::from(2);
    assert_ne!(first, nonce(&mut World::with(config), client_path(1000)));
}

#[test]
fn an_expired_nonce_is_renewed_without_anybody_noticing() {
    let mut config = world::server_config();
    config.nonce_lifetime = Duration::from_secs(100);
    let mut world = World::with(config);
    let at = world.connected("alice", 1000, address(PEER));
    world.advance_secs(7200);
    assert_eq!(world.events(at), []);
    assert!(world.send(at, address(PEER), b"still here"));
    assert_eq!(world.sent_to_peers.len(), 1);
    assert!(world.server.counters().unauthorized() > 10, "there were stale nonces");
}

#[test]
fn pre_authentication_state_is_none() {
    // coturn #1999: a valid Allocate request from a spoofed source cost 18 KB and a socket for a minute.
    let mut world = World::new();
    let nonce = nonce(&mut world, client_path(1000));
    let Credentials { username, password } = credentials("alice");
    let before = format!("{:?}", world.server).len();
    for port in 2000..2500 {
        let path = client_path(port);
        let bare = Raw::new(path, credentials("alice")).write(Method::ALLOCATE, &allocate);
        world.ask(path, &bare);
        world.ask(path, &old_request(&username, &password, &nonce, Method::ALLOCATE, 1));
        world.ask(path, &old_request(&username, "wrong", &nonce, Method::ALLOCATE, 1));
    }
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    assert_eq!(world.server_events, []);
    let after = format!("{:?}", world.server).len();
    assert!(after < before + 2000, "the server's state grew from {before} to {after} characters");
}

#[test]
fn another_user_on_the_same_five_tuple_is_441() {
    let mut world = World::new();
    let path = client_path(1000);
    let _alice = Raw::allocated(&mut world, path, credentials("alice"));
    let mut mallory = Raw::challenged(&mut world, path, credentials("mallory"));
    let nothing = |_: &mut MessageWriter<'_>| {};
    let delete = |writer: &mut MessageWriter<'_>| {
        writer.u32(kind::LIFETIME, 0);
    };
    assert_eq!(mallory.ask(&mut world, Method::REFRESH, &nothing), Err(441));
    assert_eq!(mallory.ask(&mut world, Method::REFRESH, &delete), Err(441));
    assert_eq!(mallory.permit(&mut world, address(PEER)), Err(441));
    assert_eq!(mallory.bind(&mut world, 0x4000, address(PEER)), Err(441));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn without_an_allocation_every_other_request_is_437_and_a_made_up_ticket_does_not_help() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let ticket = |writer: &mut MessageWriter<'_>| {
        writer.raw(kind::MOBILITY_TICKET, &[7; 40]);
    };
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &ticket), Err(400));
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Err(437));
    assert_eq!(raw.permit(&mut world, address(PEER)), Err(437));
    assert_eq!(raw.bind(&mut world, 0x4000, address(PEER)), Err(437));
}

#[test]
fn an_oauth_token_of_any_length_is_an_unknown_attribute() {
    // CVE-2026-43994 coturn: the token's length overflowed before authentication.
    let mut world = World::new();
    let path = client_path(1000);
    for length in [0, 1, 65_000] {
        let token = vec![0xff; length];
        let attributes = |writer: &mut MessageWriter<'_>| {
            allocate(writer);
            writer.raw(kind::ACCESS_TOKEN, &token);
        };
        let bare = Raw::new(path, credentials("alice")).write(Method::ALLOCATE, &attributes);
        assert_eq!(outcome(&world.ask(path, &bare).unwrap()), Err(401));
        let mut raw = Raw::challenged(&mut world, path, credentials("alice"));
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &attributes), Err(420));
    }
}

#[test]
fn attributes_behind_the_signature_do_not_count() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    // A permission for the signed peer, and not for one that somebody appended.
    let mut request = raw.write(Method::CREATE_PERMISSION, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER));
    });
    let appended = {
        let mut buffer = [0; 100];
        let mut writer = MessageWriter::new(
            &mut buffer,
            Class::Request,
            Method::CREATE_PERMISSION,
            TransactionId([1; 12]),
        );
        writer.xor_address(kind::XOR_PEER_ADDRESS, address("203.0.113.66:1"));
        let length = writer.finish().unwrap();
        buffer[20..length].to_vec()
    };
    request.extend_from_slice(&appended);
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(outcome(&world.ask(raw.path, &request).unwrap()), Ok(()));
    let relayed = *world.sockets.first().unwrap();
    world.peer_sends(address("203.0.113.66:1"), relayed, b"let me in");
    assert!(world.answers.is_empty());
    world.peer_sends(address(PEER), relayed, b"invited");
    assert_eq!(world.answers.len(), 1);
}

#[test]
fn time_limited_usernames_expire_for_new_allocations_and_not_for_living_ones() {
    // livekit #4526: enforcing the time on refreshes killed sessions.
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    world.advance_secs(3700);
    assert_eq!(world.events(at), [], "refreshed beyond the end of its username");
    assert!(world.send(at, peer, b"alive"));
    world.permit(at, address("203.0.113.10:1"));
    assert_eq!(world.events(at).len(), 2, "even new permissions");
    let late = world.add_client("alice", 1001);
    world.settle();
    let [ClientEvent::Failed(error)] = world.events(late) else { panic!("{:?}", world.events(late)) };
    assert_eq!((error.code, error.stage, error.reason.as_str()), (Some(401), Stage::Allocate, "Expired"));
}

#[test]
fn a_second_shared_secret_serves_while_the_first_is_being_replaced() {
    let mut config = world::server_config();
    config.auth.shared_secrets.insert(0, SharedSecret::new("the secret of tomorrow").unwrap());
    let mut world = World::with(config);
    world.allocated("alice", 1000);
    let (username, password) =
        stun::credential::rest_credentials("the secret of tomorrow", "bob", START + 60).unwrap();
    let mut raw = Raw::challenged(&mut world, client_path(1001), Credentials { username, password });
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    let (username, password) =
        stun::credential::rest_credentials("the secret of nobody", "eve", START + 60).unwrap();
    let mut raw = Raw::challenged(&mut world, client_path(1002), Credentials { username, password });
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(401));
}

#[test]
fn users_are_known_by_their_hashes_alone() {
    let mut config = world::server_config();
    let line = User::new("george", "a long password").line(REALM);
    config.auth.users = vec![User::from_line(&line).unwrap()];
    let mut world = World::with(config);
    assert!(!format!("{:?}", world.server).contains("password\""));
    let george = Credentials { username: "george".into(), password: "a long password".into() };
    let mut raw = Raw::challenged(&mut world, client_path(1000), george);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    // And a client of RFC 5389 by the other hash.
    let path = client_path(1001);
    let nonce = nonce(&mut world, path);
    let request = old_request("george", "a long password", &nonce, Method::ALLOCATE, 1);
    assert_eq!(outcome(&world.ask(path, &request).unwrap()), Ok(()));
    let request = old_request("george", "another password", &nonce, Method::REFRESH, 2);
    assert_eq!(outcome(&world.ask(path, &request).unwrap()), Err(401));
}

#[test]
fn users_with_passwords_are_let_in_beside_shared_secrets() {
    let mut config = world::server_config();
    config.auth.users = Auth::user("george", "a long password").users;
    let mut world = World::with(config);
    let george = Credentials { username: "george".into(), password: "a long password".into() };
    let mut raw = Raw::challenged(&mut world, client_path(1000), george);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
}

#[test]
fn ends_are_logged_with_what_was_relayed() {
    let mut world = World::new();
    let peer = address(PEER);
    let at = world.connected("alice", 1000, peer);
    let relayed = world.relayed(at);
    world.send(at, peer, &[0; 100]);
    world.peer_sends(peer, relayed, &[0; 50]);
    world.advance_secs(10);
    let now = world.now;
    world.client(at).close(now);
    world.settle();
    let client = world.clients[at].path.reversed();
    assert_eq!(
        world.server_events.last(),
        Some(&ServerEvent::AllocationEnded {
            id: sterna_turn::AllocationId(0),
            username: credentials("alice").username,
            client,
            relayed: vec![relayed],
            duration: Duration::from_secs(10),
            peers: 1,
            bytes_to_peers: 100,
            bytes_to_client: 50,
            lost: 0,
            reason: EndReason::Deleted,
        })
    );
}

// RFC 8489 §9.2.2, §14.3: OpaqueString makes one of the ways in which a name can be written.
#[test]
fn a_name_and_a_password_let_in_however_they_were_typed() {
    let (composed, typed) = (("José", "zwölf Uhr"), ("Jose\u{301}", "zwo\u{308}lf\u{a0}Uhr"));
    for (ours, theirs) in [(composed, typed), (typed, composed)] {
        let mut config = server_config();
        config.auth = Auth::user(ours.0, ours.1);
        let mut world = World::with(config);
        let credentials = Credentials { username: theirs.0.into(), password: theirs.1.into() };
        let raw = Raw::allocated(&mut world, client_path(1000), credentials);
        assert_eq!(world.server.allocations(), 1, "{}", raw.path);
    }
}

/// Browsers send names as they got them, and make keys of them so.
#[test]
fn a_client_that_prepares_nothing_gets_in_with_a_name_of_a_shared_secret() {
    let mut world = World::new();
    let nonce = nonce(&mut world, client_path(1000));
    let username = "4000000000:Jose\u{301}";
    let password = SharedSecret::new(SECRET).unwrap().password_at(username, 0).unwrap();
    let request = old_request(username, &password, &nonce, Method::ALLOCATE, 1);
    let answer = world.ask(client_path(1000), &request).unwrap();
    assert_eq!(outcome(&answer), Ok(()));
}
