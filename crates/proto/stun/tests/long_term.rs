//! Long-term credentials: both sides against each other, and against somebody on the path.

use std::sync::Arc;
use std::time::Duration;

use sansio::{Path, Seed, Time, Transport};
use sterna_stun::credential::{
    Account, Authenticated, Authenticator, AuthenticatorConfig, Challenged, Features, Identity, LongTerm,
    Refusal, Rejection,
};
use sterna_stun::transaction::Protection;
use sterna_stun::{
    AttributeKind, Class, Integrity, Key, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId,
    kind, user_hash,
};

const REALM: &str = "example.org";
const LIFETIME: Duration = Duration::from_secs(600);
const BOTH: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

fn authenticator(algorithms: &[PasswordAlgorithm], anonymous: bool) -> Authenticator {
    Authenticator::new(AuthenticatorConfig {
        realm: REALM.into(),
        nonce_lifetime: LIFETIME,
        algorithms: algorithms.to_vec(),
        anonymous,
        third_party: None,
        seed: Seed::from(42),
    })
}

fn home() -> Path {
    Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:1000".parse().unwrap())
}

/// Knows one user.
fn lookup(identity: Identity<'_>, algorithm: PasswordAlgorithm) -> Option<Account> {
    let known = match identity {
        Identity::Name(name) => name == "alice",
        Identity::Hash(hash) => *hash == user_hash("alice", REALM),
    };
    let key = Arc::new(Key::long_term(algorithm, "alice", REALM, "secret"));
    known.then(|| Account { username: "alice".into(), key })
}

fn message(class: Class, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1000];
    let mut writer = MessageWriter::new(&mut buffer, class, Method::ALLOCATE, TransactionId([3; 12]));
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

fn request(client: &LongTerm) -> Vec<u8> {
    message(Class::Request, |writer| client.sign(writer))
}

fn authenticate(
    server: &Authenticator,
    now: Time,
    source: Path,
    request: &[u8],
) -> Result<Authenticated, Rejection> {
    server.authenticate(now, source, &Message::parse(request).unwrap(), &mut lookup)
}

fn refusal(server: &Authenticator, now: Time, request: &[u8], rejection: Rejection) -> Vec<u8> {
    let mut buffer = [0; 256];
    let length =
        server.reject(now, home(), &Message::parse(request).unwrap(), rejection, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Asks until there is a result, with somebody on the path who changes what the server says.
fn converse(
    client: &mut LongTerm,
    server: &Authenticator,
    now: Time,
    tamper: &mut dyn FnMut(Vec<u8>) -> Vec<u8>,
) -> Result<Authenticated, (Rejection, Challenged)> {
    for _ in 0..10 {
        let request = request(client);
        let rejection = match authenticate(server, now, home(), &request) {
            Ok(authenticated) => return Ok(authenticated),
            Err(rejection) => rejection,
        };
        let answer = tamper(refusal(server, now, &request, rejection));
        let next = client.handle_error(&Message::parse(&request).unwrap(), &Message::parse(&answer).unwrap());
        if next != Challenged::Retry {
            return Err((rejection, next));
        }
    }
    panic!("the client never gives up");
}

/// The same message, each attribute replaced by what `change` makes of it.
fn rewrite(bytes: &[u8], change: impl Fn(AttributeKind, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let old = Message::parse(bytes).unwrap();
    message(old.class(), |writer| {
        for attribute in old.attributes() {
            if let Some(value) = change(attribute.kind, attribute.value) {
                writer.raw(attribute.kind, &value);
            }
        }
    })
}

#[test]
fn the_first_request_is_bare_and_the_second_is_accepted() {
    for (algorithms, anonymous, integrity) in [
        (&[][..], false, Integrity::Sha1),
        (&[PasswordAlgorithm::Md5][..], false, Integrity::Sha256),
        (&BOTH[..], false, Integrity::Sha256),
        (&BOTH[..], true, Integrity::Sha256),
        (&[][..], true, Integrity::Sha1),
    ] {
        let server = authenticator(algorithms, anonymous);
        let mut client = LongTerm::new("alice", "secret");
        assert_eq!(request(&client).len(), 20, "nothing is told before the server asks");
        assert!(matches!(client.protection(), Protection::Open));

        let accepted = converse(&mut client, &server, Time::ZERO, &mut |answer| answer).unwrap();
        assert_eq!((accepted.username.as_str(), accepted.integrity), ("alice", integrity));
        let signed = request(&client);
        let signed = Message::parse(&signed).unwrap();
        assert_eq!(signed.integrity(), Some(integrity));
        assert_eq!(signed.username().is_none(), anonymous, "USERHASH hides the name");
        assert_eq!(
            signed.password_algorithm(),
            algorithms.first().copied(),
            "the server's preference is taken"
        );

        let response = message(Class::Success, |writer| accepted.sign(writer));
        let Protection::LongTerm { key, .. } = client.protection() else { panic!() };
        assert_eq!(Message::parse(&response).unwrap().check_integrity(&key), Ok(()));
    }
}

#[test]
fn a_client_of_rfc_5389_is_served_with_md5_and_sha1() {
    let server = authenticator(&BOTH, false);
    let nonce = server.nonce(Time::ZERO, home());
    let key = Key::long_term(PasswordAlgorithm::Md5, "alice", REALM, "secret");
    let old = message(Class::Request, |writer| {
        writer
            .string(kind::USERNAME, "alice")
            .string(kind::REALM, REALM)
            .raw(kind::NONCE, &nonce)
            .integrity(&key);
    });
    assert_eq!(authenticate(&server, Time::ZERO, home(), &old).unwrap().integrity, Integrity::Sha1);
}

#[test]
fn wrong_credentials_are_tried_once() {
    let server = authenticator(&BOTH, false);
    for (username, password) in [("alice", "wrong"), ("bob", "secret")] {
        let mut client = LongTerm::new(username, password);
        let mut answers = 0;
        let result = converse(&mut client, &server, Time::ZERO, &mut |answer| {
            answers += 1;
            answer
        });
        let refused = Challenged::Refused(Refusal::WrongCredentials);
        assert_eq!(result.unwrap_err(), (Rejection::Unauthenticated, refused));
        assert_eq!(answers, 2);
    }
}

#[test]
fn whoever_has_no_username_does_not_pretend_to() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("", "");
    let result = converse(&mut client, &server, Time::ZERO, &mut |answer| answer);
    let refused = Challenged::Refused(Refusal::NoUsername);
    assert_eq!(result.unwrap_err(), (Rejection::Unauthenticated, refused));
    let written = request(&client);
    assert_eq!(Message::parse(&written).unwrap().username(), None);
}

#[test]
fn a_stale_nonce_is_replaced_without_a_word() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    let mut codes = Vec::new();
    for hour in 0..5 {
        let now = Time::ZERO + Duration::from_secs(3600 * hour);
        converse(&mut client, &server, now, &mut |answer| {
            codes.push(Message::parse(&answer).unwrap().error_code().unwrap().code);
            answer
        })
        .unwrap();
        client.handle_success();
    }
    assert_eq!(codes, [401, 438, 438, 438, 438]);
}

#[test]
fn requests_side_by_side_all_survive_the_end_of_a_nonce() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    converse(&mut client, &server, Time::ZERO, &mut |answer| answer).unwrap();
    let later = Time::ZERO + LIFETIME * 2;
    let old = request(&client);
    for _ in 0..20 {
        let answer = refusal(&server, later, &old, Rejection::StaleNonce);
        let next = client.handle_error(&Message::parse(&old).unwrap(), &Message::parse(&answer).unwrap());
        assert_eq!(next, Challenged::Retry);
    }
    assert!(authenticate(&server, later, home(), &request(&client)).is_ok());
}

#[test]
fn a_server_that_calls_every_nonce_stale_is_left_alone() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    converse(&mut client, &server, Time::ZERO, &mut |answer| answer).unwrap();
    let mut rounds = 0;
    let refused = loop {
        rounds += 1;
        let request = request(&client);
        let answer =
            refusal(&server, Time::ZERO + Duration::from_secs(rounds), &request, Rejection::StaleNonce);
        match client.handle_error(&Message::parse(&request).unwrap(), &Message::parse(&answer).unwrap()) {
            Challenged::Retry => assert!(rounds < 10, "it never gives up"),
            other => break other,
        }
    };
    assert_eq!(refused, Challenged::Refused(Refusal::StaleLoop));
}

/// RFC 8489 §9.2.4: an overheard request is of no use from another address.
#[test]
fn a_replay_from_another_source_is_refused() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    converse(&mut client, &server, Time::ZERO, &mut |answer| answer).unwrap();
    let overheard = request(&client);
    assert!(authenticate(&server, Time::ZERO, home(), &overheard).is_ok());
    for source in [
        Path { remote: "198.51.100.7:1001".parse().unwrap(), ..home() },
        Path { remote: "198.51.100.8:1000".parse().unwrap(), ..home() },
        Path { transport: Transport::Tcp, ..home() },
    ] {
        assert_eq!(authenticate(&server, Time::ZERO, source, &overheard).unwrap_err(), Rejection::StaleNonce);
    }
    let later = Time::ZERO + LIFETIME + LIFETIME / 32;
    assert_eq!(authenticate(&server, later, home(), &overheard).unwrap_err(), Rejection::StaleNonce);
}

/// RFC 8489 §9.2.1: the list is taken out, the nonce still announces it.
#[test]
fn bid_down_by_removing_the_algorithms_is_noticed_by_the_client() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    let result = converse(&mut client, &server, Time::ZERO, &mut |answer| {
        rewrite(&answer, |kind, value| (kind != kind::PASSWORD_ALGORITHMS).then(|| value.to_vec()))
    });
    assert_eq!(result.unwrap_err().1, Challenged::Refused(Refusal::BidDown));
    assert_eq!(request(&client).len(), 20, "and nothing is sent that could be attacked");
}

/// RFC 8489 §16.1.3: the announcement is taken out, too, so that the nonce is none of the server's.
#[test]
fn bid_down_by_changing_the_nonce_is_noticed_by_the_server() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    let result = converse(&mut client, &server, Time::ZERO, &mut |answer| {
        rewrite(&answer, |kind, value| match kind {
            kind::PASSWORD_ALGORITHMS => None,
            kind::NONCE => Some([&Features::default().cookie(), &value[Features::COOKIE_BYTES..]].concat()),
            _ => Some(value.to_vec()),
        })
    });
    assert_eq!(result.unwrap_err(), (Rejection::StaleNonce, Challenged::Refused(Refusal::StaleLoop)));
}

/// RFC 8489 §16.1.3: only the better algorithm is taken out of the list.
#[test]
fn bid_down_by_shortening_the_list_is_noticed_by_the_server() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    let result = converse(&mut client, &server, Time::ZERO, &mut |answer| {
        rewrite(&answer, |kind, value| {
            Some(if kind == kind::PASSWORD_ALGORITHMS { value[4..].to_vec() } else { value.to_vec() })
        })
    });
    assert_eq!(result.unwrap_err(), (Rejection::BadRequest, Challenged::OtherError));
}

#[test]
fn bid_down_of_a_running_session_is_noticed_by_the_client() {
    let server = authenticator(&BOTH, false);
    let mut client = LongTerm::new("alice", "secret");
    converse(&mut client, &server, Time::ZERO, &mut |answer| answer).unwrap();
    let request = request(&client);
    let old_style = message(Class::Error, |writer| {
        writer.error(438).string(kind::REALM, REALM).raw(kind::NONCE, b"plain");
    });
    let next = client.handle_error(&Message::parse(&request).unwrap(), &Message::parse(&old_style).unwrap());
    assert_eq!(next, Challenged::Refused(Refusal::BidDown));
}

#[test]
fn algorithms_that_do_not_go_together_are_bad_requests() {
    let server = authenticator(&BOTH, false);
    let nonce = server.nonce(Time::ZERO, home());
    let key = Key::long_term(PasswordAlgorithm::Sha256, "alice", REALM, "secret");
    let send = |offered: Option<&[u8]>, chosen: Option<&[u8]>| {
        let bytes = message(Class::Request, |writer| {
            writer.string(kind::USERNAME, "alice").string(kind::REALM, REALM).raw(kind::NONCE, &nonce);
            offered.map(|value| writer.raw(kind::PASSWORD_ALGORITHMS, value));
            chosen.map(|value| writer.raw(kind::PASSWORD_ALGORITHM, value));
            writer.integrity_sha256(&key);
        });
        authenticate(&server, Time::ZERO, home(), &bytes).map(|accepted| accepted.integrity)
    };
    let (list, sha256) = (&[0, 2, 0, 0, 0, 1, 0, 0][..], &[0, 2, 0, 0][..]);
    assert_eq!(send(Some(list), Some(sha256)), Ok(Integrity::Sha256));
    for (offered, chosen) in [
        (None, Some(sha256)),
        (Some(list), None),
        (Some(&list[..4]), Some(sha256)),
        (Some(&[0, 1, 0, 0, 0, 2, 0, 0]), Some(sha256)),
        (Some(&[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]), Some(sha256)),
        (Some(list), Some(&[0, 3, 0, 0])),
        (Some(list), Some(&[0, 2])),
        (Some(&[]), Some(sha256)),
    ] {
        assert_eq!(send(offered, chosen), Err(Rejection::BadRequest), "{offered:?} {chosen:?}");
    }
}

#[test]
fn incomplete_credentials_are_bad_requests_and_get_no_challenge() {
    let server = authenticator(&BOTH, false);
    let nonce = server.nonce(Time::ZERO, home());
    let key = Key::short_term("x");
    for missing in [kind::USERNAME, kind::REALM, kind::NONCE] {
        let bytes = message(Class::Request, |writer| {
            for (kind, value) in
                [(kind::USERNAME, &b"alice"[..]), (kind::REALM, REALM.as_bytes()), (kind::NONCE, &nonce)]
            {
                if kind != missing {
                    writer.raw(kind, value);
                }
            }
            writer.integrity(&key);
        });
        let rejection = authenticate(&server, Time::ZERO, home(), &bytes).unwrap_err();
        assert_eq!(rejection, Rejection::BadRequest, "{missing}");
        let answer = refusal(&server, Time::ZERO, &bytes, rejection);
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.error_code().unwrap().code, 400);
        assert!(answer.realm().is_none() && answer.nonce().is_none() && answer.integrity().is_none());
    }
}

#[test]
fn challenges_that_cannot_be_met_are_refused() {
    for (build, refusal) in [
        (
            &(|w: &mut MessageWriter<'_>| {
                w.raw(kind::NONCE, b"n");
            }) as &dyn Fn(&mut MessageWriter<'_>),
            Refusal::Malformed,
        ),
        (
            &|w| {
                w.string(kind::REALM, REALM);
            },
            Refusal::Malformed,
        ),
        (
            &|w| {
                w.string(kind::REALM, REALM).raw(kind::NONCE, &[b'n'; 764]);
            },
            Refusal::Malformed,
        ),
        (
            &|w| {
                w.string(kind::REALM, REALM)
                    .raw(kind::NONCE, b"n")
                    .raw(kind::PASSWORD_ALGORITHMS, &[0, 9, 0, 0]);
            },
            Refusal::NoAlgorithm,
        ),
        (
            &|w| {
                w.string(kind::REALM, REALM).raw(kind::NONCE, b"n").raw(kind::PASSWORD_ALGORITHMS, &[0; 132]);
            },
            Refusal::Malformed,
        ),
    ] {
        let mut client = LongTerm::new("alice", "secret");
        let request = request(&client);
        let answer = message(Class::Error, |writer| {
            writer.error(401);
            build(writer);
        });
        let next = client.handle_error(&Message::parse(&request).unwrap(), &Message::parse(&answer).unwrap());
        assert_eq!(next, Challenged::Refused(refusal));
    }
}

#[test]
fn other_errors_are_not_about_credentials() {
    let mut client = LongTerm::new("alice", "secret");
    let request = request(&client);
    let answer = message(Class::Error, |writer| {
        writer.error(486).string(kind::REALM, REALM).raw(kind::NONCE, b"n");
    });
    let next = client.handle_error(&Message::parse(&request).unwrap(), &Message::parse(&answer).unwrap());
    assert_eq!((next, client.realm()), (Challenged::OtherError, None));
}

/// Amplification: who sends 20 bytes under another's address shall not have much sent to that address.
#[test]
fn a_challenge_is_as_small_as_it_can_be() {
    let bare = message(Class::Request, |_| {});
    for (algorithms, rest) in [(&[][..], 20 + 8 + 4 + 28), (&BOTH[..], 20 + 8 + 4 + 28 + 12)] {
        let server = authenticator(algorithms, false);
        let answer = refusal(&server, Time::ZERO, &bare, Rejection::Unauthenticated);
        assert_eq!(answer.len(), rest + REALM.len().next_multiple_of(4));
        assert_eq!(answer.len(), server.challenge_bytes());
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.error_code().unwrap().reason, "");
        assert!(answer.software().is_none());
    }
}

#[test]
fn passwords_do_not_show_themselves() {
    let client = LongTerm::new("alice", "hunter2");
    assert!(!format!("{client:?}").contains("hunter2"));
}
