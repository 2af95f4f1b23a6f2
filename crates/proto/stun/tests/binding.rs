//! The plain question and its answer: client and server machines.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sansio::{Batches, Datagram, Full, Machine, Path, Seed, Time, Transport};
use sterna_stun::client::{self, Client, Event, Failure};
use sterna_stun::credential::{Account, Authenticator, AuthenticatorConfig};
use sterna_stun::server::{Config, Counters, MAX_ANSWER_BYTES, Server};
use sterna_stun::transaction::Cause;
use sterna_stun::{
    AttributeKind, Class, Key, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId, kind,
};

fn path(transport: Transport) -> Path {
    Path::new(transport, "198.51.100.7:4000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap())
}

fn message(class: Class, method: Method, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let mut writer = MessageWriter::new(&mut buffer, class, method, TransactionId([5; 12]));
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn ask(server: &mut Server, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Batches::new(1 << 16);
    let mut payload = bytes.to_vec();
    let from = path(Transport::Udp).reversed();
    server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut payload }, &mut out);
    let mut answers = Vec::new();
    while let Some(batch) = out.pop() {
        assert_eq!(batch.path, from, "the answer goes back where the question came from");
        answers.extend(batch.datagrams().map(<[u8]>::to_vec));
    }
    answers
}

#[test]
fn a_request_is_answered_with_its_source() {
    let mut server = Server::default();
    let answers = ask(&mut server, &message(Class::Request, Method::BINDING, |_| {}));
    let answer = Message::parse(&answers[0]).unwrap();
    assert_eq!((answer.class(), answer.method()), (Class::Success, Method::BINDING));
    assert_eq!(answer.transaction_id(), TransactionId([5; 12]));
    assert_eq!(answer.xor_mapped_address(), Some(path(Transport::Udp).local));
    assert_eq!(answer.attributes().count(), 1, "no SOFTWARE, no FINGERPRINT unless asked");
    assert_eq!(server.counters(), Counters { answered: 1, ..Counters::default() });
}

#[test]
fn a_fingerprint_is_answered_with_a_fingerprint_and_a_wrong_one_not_at_all() {
    let mut request = message(Class::Request, Method::BINDING, |writer| {
        writer.fingerprint();
    });
    let answers = ask(&mut Server::default(), &request);
    assert!(Message::parse(&answers[0]).unwrap().check_fingerprint());
    *request.last_mut().unwrap() ^= 1;
    assert!(ask(&mut Server::default(), &request).is_empty());
}

#[test]
fn unknown_attributes_are_answered_with_420_and_their_list() {
    let mut server = Server::default();
    let request = message(Class::Request, Method::BINDING, |writer| {
        writer.flag(AttributeKind(0x7FFF)).u32(kind::CHANGE_REQUEST, 6).flag(AttributeKind(0xFFFF));
    });
    let answers = ask(&mut server, &request);
    let answer = Message::parse(&answers[0]).unwrap();
    assert_eq!((answer.class(), answer.error_code().unwrap().code), (Class::Error, 420));
    assert_eq!(answer.unknown_attributes().unwrap()[..], [0x7FFF, kind::CHANGE_REQUEST.0]);
    assert_eq!(server.counters().refused, 1);
}

#[test]
fn indications_responses_and_other_methods_are_not_answered() {
    let mut server = Server::default();
    for class in [Class::Indication, Class::Success, Class::Error] {
        assert!(ask(&mut server, &message(class, Method::BINDING, |_| {})).is_empty());
    }
    let unknown = message(Class::Indication, Method::BINDING, |writer| {
        writer.flag(AttributeKind(0x7FFF));
    });
    assert!(ask(&mut server, &unknown).is_empty());
    assert!(ask(&mut server, &message(Class::Request, Method::ALLOCATE, |_| {})).is_empty());
    assert_eq!(server.counters(), Counters { unanswerable: 4, other_methods: 1, ..Counters::default() });
}

#[test]
fn malformed_messages_are_not_answered() {
    let mut server = Server::default();
    let good = message(Class::Request, Method::BINDING, |writer| {
        writer.string(kind::SOFTWARE, "test");
    });
    let mut wrong_cookie = good.clone();
    wrong_cookie[4] = 0;
    let mut too_long = good.clone();
    too_long[3] += 4;
    for bad in
        [&good[..good.len() - 1], &good[..19], &wrong_cookie, &too_long, b"", b"GET / HTTP/1.1\r\n\r\n"]
    {
        assert!(ask(&mut server, bad).is_empty(), "{bad:?}");
    }
    assert_eq!(server.counters(), Counters { malformed: 6, ..Counters::default() });
}

#[test]
fn without_room_the_answer_is_left_out() {
    let mut server = Server::default();
    let mut request = message(Class::Request, Method::BINDING, |_| {});
    server.handle_datagram(
        Time::ZERO,
        Datagram { from: path(Transport::Udp), payload: &mut request },
        &mut Full,
    );
    assert_eq!(server.counters(), Counters { no_room: 1, ..Counters::default() });
}

#[test]
fn a_source_gets_no_more_than_its_share() {
    let mut server = Server::new(Config { answers_per_second: 10, ..Config::default() });
    let request = message(Class::Request, Method::BINDING, |_| {});
    let answered = (0..1000).filter(|_| !ask(&mut server, &request).is_empty()).count();
    assert_eq!(answered, 40, "four seconds' worth at once");
    assert_eq!(server.counters(), Counters { answered: 40, throttled: 960, ..Counters::default() });
    // Who can be answered on a stream is where he says he is.
    let from = path(Transport::Tcp).reversed();
    let mut out = Batches::new(1 << 16);
    server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut request.clone() }, &mut out);
    assert!(!out.is_empty());
}

#[test]
fn software_is_left_out_where_it_would_make_an_answer_too_long() {
    let mut server = Server::new(Config { software: Some("x".repeat(64)), ..Config::default() });
    let bare = &ask(&mut server, &message(Class::Request, Method::BINDING, |_| {}))[0];
    assert_eq!(Message::parse(bare).unwrap().software(), None);
    let request = message(Class::Request, Method::BINDING, |writer| {
        writer.string(kind::SOFTWARE, "somebody").fingerprint();
    });
    let answer = &ask(&mut server, &request)[0];
    let answer = Message::parse(answer).unwrap();
    assert!(answer.software().is_some() && answer.check_fingerprint());
}

proptest! {
    /// Amplification: at most one answer, of bounded size, and hardly larger than what was asked.
    #[test]
    fn answers_are_bounded(
        class in 0u8..4,
        kinds in prop::collection::vec((any::<u16>(), 0usize..40), 0..100),
        fingerprint in any::<bool>(),
        software in prop::option::of(prop::collection::vec(any::<char>(), 0..100)),
    ) {
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error][usize::from(class)];
        let request = message(class, Method::BINDING, |writer| {
            for (kind, length) in &kinds {
                writer.raw(AttributeKind(*kind), &vec![0; *length]);
            }
            if fingerprint {
                writer.fingerprint();
            }
        });
        let plain = software.is_none();
        let mut server = Server::new(Config { software: software.map(|text| text.into_iter().collect()), ..Config::default() });
        let answers = ask(&mut server, &request);
        prop_assert!(answers.len() <= usize::from(class == Class::Request));
        for answer in answers {
            prop_assert!(Message::parse(&answer).is_ok());
            prop_assert!(answer.len() <= MAX_ANSWER_BYTES);
            prop_assert!(answer.len() <= 4 * request.len());
            prop_assert!(!plain || answer.len() <= request.len() + 24);
        }
    }
}

/// What the client wants to send.
fn sent(client: &mut Client, now: Time) -> Option<(Path, Vec<u8>)> {
    let mut out = Batches::new(1 << 16);
    client.poll_transmit(now, &mut out);
    let batch = out.pop()?;
    assert!(out.pop().is_none());
    Some((batch.path, batch.bytes))
}

fn deliver(client: &mut Client, now: Time, from: Path, mut bytes: Vec<u8>) {
    client.handle_datagram(now, Datagram { from, payload: &mut bytes }, &mut Full);
}

fn answer(request: &[u8], class: Class, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 500];
    let mut writer = MessageWriter::answer(&mut buffer, class, &Message::parse(request).unwrap());
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

fn client(transport: Transport, account: Option<(&str, &str)>) -> Client {
    let account = account.map(|(username, password)| (username.into(), password.into()));
    Client::new(Time::ZERO, client::Config { account, ..client::Config::new(path(transport), Seed::from(1)) })
}

#[test]
fn a_client_learns_its_address_and_asks_again_when_told_to() {
    let mut client = client(Transport::Udp, None);
    for (second, address) in [(0, "203.0.113.1:1"), (30, "203.0.113.1:2")] {
        let now = Time::ZERO + Duration::from_secs(second);
        client.ask(now);
        let (_, request) = sent(&mut client, now).unwrap();
        client.ask(now);
        assert!(sent(&mut client, now).is_none(), "one question at a time");
        let response = answer(&request, Class::Success, |writer| {
            writer.xor_address(kind::XOR_MAPPED_ADDRESS, address.parse().unwrap());
        });
        deliver(&mut client, now + Duration::from_millis(20), path(Transport::Udp), response);
        let Some(Event::Mapped(mapped)) = client.poll_event() else { panic!() };
        assert_eq!((mapped.address, mapped.rtt), (address.parse().unwrap(), Some(Duration::from_millis(20))));
        assert_eq!((client.poll_event(), client.poll_timeout()), (None, None));
    }
}

#[test]
fn a_server_of_rfc_3489_that_says_mapped_address_is_understood() {
    let mut client = client(Transport::Udp, None);
    let (_, request) = sent(&mut client, Time::ZERO).unwrap();
    let response = answer(&request, Class::Success, |writer| {
        writer.address(kind::MAPPED_ADDRESS, "[::ffff:203.0.113.1]:7".parse().unwrap());
    });
    deliver(&mut client, Time::ZERO, path(Transport::Udp), response);
    let Some(Event::Mapped(mapped)) = client.poll_event() else { panic!() };
    assert_eq!(
        mapped.address,
        "203.0.113.1:7".parse().unwrap(),
        "mapped addresses are told as what they mean"
    );
}

#[test]
fn silence_and_refusals_are_told_with_their_reason() {
    let mut silent = client(Transport::Tcp, None);
    silent.handle_timeout(silent.poll_timeout().unwrap());
    assert_eq!(silent.poll_event(), Some(Event::Failed(Failure::NoAnswer(Cause::TimedOut { requests: 1 }))));

    let mut refused = client(Transport::Udp, None);
    let (_, request) = sent(&mut refused, Time::ZERO).unwrap();
    let response = answer(&request, Class::Error, |writer| {
        writer.error(500);
    });
    deliver(&mut refused, Time::ZERO, path(Transport::Udp), response);
    assert_eq!(
        refused.poll_event(),
        Some(Event::Failed(Failure::Refused { code: 500, reason: "Server Error".into() }))
    );

    let mut empty = client(Transport::Udp, None);
    let (_, request) = sent(&mut empty, Time::ZERO).unwrap();
    deliver(&mut empty, Time::ZERO, path(Transport::Udp), answer(&request, Class::Success, |_| {}));
    assert_eq!(empty.poll_event(), Some(Event::Failed(Failure::NoAddress)));
}

fn authenticator() -> Authenticator {
    Authenticator::new(AuthenticatorConfig {
        realm: "example.org".into(),
        nonce_lifetime: Duration::from_secs(600),
        algorithms: vec![PasswordAlgorithm::Sha256],
        anonymous: true,
        third_party: None,
        seed: Seed::from(9),
    })
}

/// What a server with accounts makes of a request: its challenge, or a signed response.
fn accounts(request: &[u8], from: Path, class: Class, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let (server, message) = (authenticator(), Message::parse(request).unwrap());
    let result = server.authenticate(Time::ZERO, from.reversed(), &message, &mut |_, algorithm| {
        let key = Arc::new(Key::long_term(algorithm, "alice", "example.org", "secret"));
        Some(Account { username: "alice".into(), key })
    });
    match result {
        Ok(authenticated) => answer(request, class, |writer| {
            build(writer);
            authenticated.sign(writer);
        }),
        Err(rejection) => {
            let mut buffer = [0; 256];
            let length =
                server.reject(Time::ZERO, from.reversed(), &message, rejection, &mut buffer).unwrap();
            buffer[..length].to_vec()
        }
    }
}

/// Lets servers refer the client: each request is answered with the next of `servers`, and then with an
/// address.
fn refer(client: &mut Client, servers: &[&str]) -> Event {
    let mut servers = servers.iter();
    for _ in 0..20 {
        if let Some(event) = client.poll_event() {
            return event;
        }
        let (to, request) = sent(client, Time::ZERO).expect("the client asks");
        let response = if Message::parse(&request).unwrap().integrity().is_none() {
            accounts(&request, to, Class::Error, |_| {})
        } else if let Some(next) = servers.next() {
            accounts(&request, to, Class::Error, |writer| {
                writer.error(300).address(kind::ALTERNATE_SERVER, next.parse().unwrap());
                writer.string(kind::ALTERNATE_DOMAIN, "other.example.org");
            })
        } else {
            accounts(&request, to, Class::Success, |writer| {
                writer.xor_address(kind::XOR_MAPPED_ADDRESS, to.local);
            })
        };
        deliver(client, Time::ZERO, to, response);
    }
    panic!("it never ends");
}

#[test]
fn an_account_is_used_when_the_server_asks_for_it() {
    let event = refer(&mut client(Transport::Udp, Some(("alice", "secret"))), &[]);
    assert!(matches!(event, Event::Mapped(_)), "{event:?}");
    let event = refer(&mut client(Transport::Udp, Some(("alice", "wrong"))), &[]);
    assert!(matches!(event, Event::Failed(Failure::Credentials(_))), "{event:?}");
}

#[test]
fn a_signed_redirection_is_followed() {
    let event = refer(&mut client(Transport::Udp, Some(("alice", "secret"))), &["192.0.2.2:3478"]);
    let Event::Mapped(mapped) = event else { panic!("{event:?}") };
    assert_eq!(mapped.server.remote, "192.0.2.2:3478".parse().unwrap());
}

#[test]
fn redirections_end() {
    for servers in [
        &["192.0.2.1:3478"][..],
        &["192.0.2.2:3478", "192.0.2.1:3478"],
        &["192.0.2.2:3478", "192.0.2.3:3478", "192.0.2.4:3478"],
        &["[2001:db8::1]:3478"],
    ] {
        let event = refer(&mut client(Transport::Udp, Some(("alice", "secret"))), servers);
        assert_eq!(event, Event::Failed(Failure::RedirectionLoop), "{servers:?}");
    }
}

#[test]
fn over_a_stream_a_redirection_is_told() {
    let event = refer(&mut client(Transport::Tls, Some(("alice", "secret"))), &["192.0.2.2:5349"]);
    let failure = Failure::Redirected {
        to: "192.0.2.2:5349".parse().unwrap(),
        domain: Some("other.example.org".into()),
    };
    assert_eq!(event, Event::Failed(failure));
}

/// RFC 8489 §14.8: else anybody on the path sends us to his victim.
#[test]
fn an_unsigned_redirection_is_not_followed() {
    let mut client = client(Transport::Udp, None);
    let (_, request) = sent(&mut client, Time::ZERO).unwrap();
    let response = answer(&request, Class::Error, |writer| {
        writer.error(300).address(kind::ALTERNATE_SERVER, "192.0.2.66:1".parse().unwrap());
    });
    deliver(&mut client, Time::ZERO, path(Transport::Udp), response);
    assert!(sent(&mut client, Time::ZERO).is_none());
    assert!(matches!(client.poll_event(), Some(Event::Failed(Failure::Refused { code: 300, .. }))));
}

proptest! {
    #[test]
    fn a_client_shrugs_off_noise(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20)) {
        let mut client = client(Transport::Udp, None);
        let before = sent(&mut client, Time::ZERO);
        prop_assert!(before.is_some());
        for bytes in noise {
            deliver(&mut client, Time::ZERO, path(Transport::Udp), bytes);
        }
        prop_assert!(client.poll_event().is_none() && sent(&mut client, Time::ZERO).is_none());
    }
}
