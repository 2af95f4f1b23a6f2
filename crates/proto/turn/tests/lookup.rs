//! Users whom only somebody else knows: they are asked for, nobody waits, and nobody can make the server ask or keep more
//! than it is willing to.

mod world;

use std::time::Duration;

use sterna_turn::{Auth, Drop, LoginFailure, LookupId, LookupRules, ServerEvent, User, Verdict};
use stun::Method;
use world::{REALM, Raw, World, address, allocate, client_path, outcome, server_config};

fn world_with(change: impl FnOnce(&mut LookupRules)) -> World {
    let mut rules = LookupRules::default();
    change(&mut rules);
    let mut config = server_config();
    config.auth = Auth { lookup: Some(rules), ..Auth::default() };
    World::with(config)
}

fn credentials(name: &str) -> sterna_turn::Credentials {
    sterna_turn::Credentials { username: name.into(), password: "wonderland".into() }
}

fn known(name: &str) -> Verdict {
    Verdict::Known(User::new(name, "wonderland"))
}

/// The questions since this was last called.
fn questions(world: &mut World) -> Vec<(LookupId, String)> {
    let events = std::mem::take(&mut world.server_events);
    let questions = events.into_iter().filter_map(|event| match event {
        ServerEvent::UserAsked { id, username, .. } => Some((id, username)),
        _ => None,
    });
    questions.collect()
}

fn the_question(world: &mut World) -> LookupId {
    let [(id, _)] = questions(world)[..] else { panic!("not one question") };
    id
}

/// What the server says to an answer.
fn told(world: &mut World, id: LookupId, verdict: Verdict) -> Vec<Result<(), u16>> {
    world.answers.clear();
    world.answer(id, verdict);
    world.answers.drain(..).map(|(_, answer)| outcome(&answer)).collect()
}

#[test]
fn a_request_waits_for_the_answer_and_later_ones_do_not() {
    let mut world = world_with(|_| {});
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    assert_eq!(world.ask(raw.path, &request), None, "it waits");
    let id = the_question(&mut world);
    assert_eq!(world.ask(raw.path, &request), None, "sent again it waits as before");
    assert_eq!(questions(&mut world), []);
    assert_eq!(told(&mut world, id, known("alice")), [Ok(())]);
    assert_eq!(told(&mut world, id, Verdict::Unknown), [], "answered once");

    let mut again = Raw::challenged(&mut world, client_path(2000), credentials("alice"));
    assert_eq!(again.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    assert!(questions(&mut world).is_empty(), "it is remembered who she is");
    world.advance_secs(299);
    let mut expired = Raw::challenged(&mut world, client_path(3000), credentials("alice"));
    world.advance_secs(2);
    let request = expired.write(Method::ALLOCATE, &allocate);
    assert_eq!(world.ask(expired.path, &request), None);
    assert_eq!(questions(&mut world).len(), 1, "but not for ever");
}

#[test]
fn a_session_is_refreshed_without_asking_although_its_user_is_gone() {
    let mut world = world_with(|_| {});
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    world.ask(raw.path, &request);
    let id = the_question(&mut world);
    assert_eq!(told(&mut world, id, known("alice")), [Ok(())]);
    for _ in 0..5 {
        world.advance_secs(500);
        assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
        assert_eq!(raw.permit(&mut world, address("203.0.113.9:9")), Ok(()));
    }
    assert_eq!(questions(&mut world), []);
}

#[test]
fn who_is_unknown_or_has_another_password_is_refused() {
    let mut world = world_with(|_| {});
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("mallory"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    world.ask(raw.path, &request);
    let id = the_question(&mut world);
    assert_eq!(told(&mut world, id, Verdict::Unknown), [Err(401)]);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(401));
    assert_eq!(questions(&mut world), [], "nor is it asked again at once");

    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    world.ask(raw.path, &request);
    let id = the_question(&mut world);
    let verdict = Verdict::Known(User::new("alice", "another"));
    assert_eq!(told(&mut world, id, verdict), [Err(401)]);
    assert_eq!(world.server.counters().login_failures(LoginFailure::WrongPassword), 1);
}

#[test]
fn without_an_answer_the_request_is_dropped_and_asked_again() {
    let mut world = world_with(|_| {});
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    world.ask(raw.path, &request);
    let late = the_question(&mut world);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.server.counters().login_failures(LoginFailure::NobodyToAsk), 1);
    assert!(world.server.is_idle());
    assert_eq!(told(&mut world, late, known("alice")), [], "too late");
    world.ask(raw.path, &request);
    let id = the_question(&mut world);
    assert_ne!(id, late);
    assert_eq!(told(&mut world, id, Verdict::Failed), []);
    assert!(world.server.is_idle());
}

#[test]
fn several_requests_of_one_user_are_one_question() {
    let mut world = world_with(|_| {});
    let mut raws: Vec<Raw> = (1000..1003)
        .map(|port| Raw::challenged(&mut world, client_path(port), credentials("alice")))
        .collect();
    for raw in &mut raws {
        let request = raw.write(Method::ALLOCATE, &allocate);
        assert_eq!(world.ask(raw.path, &request), None);
    }
    let id = the_question(&mut world);
    assert_eq!(told(&mut world, id, known("alice")), [Ok(()); 3]);
}

#[test]
fn a_spoofed_source_makes_nobody_ask() {
    let mut world = world_with(|_| {});
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    // The nonce is that of another source.
    raw.path = client_path(1001);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(438));
    assert_eq!(questions(&mut world), []);
    assert!(world.server.is_idle());
}

#[test]
fn one_source_cannot_take_all_the_room_and_nobody_more_than_there_is() {
    let mut world = world_with(|rules| (rules.waiting, rules.waiting_per_source) = (3, 2));
    let ask = |world: &mut World, host: u8, name: &str| {
        let mut path = client_path(1000);
        path.local = ([198, 51, 100, host], 1000).into();
        let mut raw = Raw::challenged(world, path, credentials(name));
        let request = raw.write(Method::ALLOCATE, &allocate);
        assert_eq!(world.ask(raw.path, &request), None);
        questions(world).len()
    };
    assert_eq!([ask(&mut world, 1, "a"), ask(&mut world, 1, "b"), ask(&mut world, 1, "c")], [1, 1, 0]);
    assert_eq!([ask(&mut world, 2, "d"), ask(&mut world, 3, "e")], [1, 0]);
    assert_eq!(world.server.counters().dropped(Drop::Throttled), 2);
    world.advance_secs(5);
    assert!(world.server.is_idle(), "nothing is left of them");
    assert_eq!(ask(&mut world, 3, "e"), 1);
}

#[test]
fn no_more_users_are_remembered_than_told() {
    let mut world = world_with(|rules| rules.remembered = 2);
    let mut ask = |name: &str| {
        let mut raw = Raw::challenged(&mut world, client_path(1000), credentials(name));
        let request = raw.write(Method::CREATE_PERMISSION, &|_| {});
        let answer = world.ask(raw.path, &request);
        for (id, name) in questions(&mut world) {
            assert_eq!(told(&mut world, id, known(&name)), [Err(437)]);
        }
        answer.is_some()
    };
    assert_eq!(["a", "b", "a", "c", "b", "a"].map(&mut ask), [false, false, true, false, true, false]);
}

#[test]
fn our_own_users_and_secrets_are_nobody_elses_business() {
    let mut config = server_config();
    config.auth.users = vec![User::new("bob", "wonderland")];
    config.auth.lookup = Some(LookupRules::default());
    let mut world = World::with(config);
    world.allocated("alice", 1000);
    let mut bob = Raw::challenged(&mut world, client_path(2000), credentials("bob"));
    assert_eq!(bob.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
    let wrong = sterna_turn::Credentials { username: "bob".into(), password: "guess".into() };
    let mut wrong = Raw::challenged(&mut world, client_path(3000), wrong);
    assert_eq!(wrong.ask(&mut world, Method::ALLOCATE, &allocate), Err(401));
    assert_eq!(questions(&mut world), []);
    assert_eq!(bob.long_term.realm(), Some(REALM));
}
