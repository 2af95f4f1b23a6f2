//! A server that anybody may write to: it keeps nothing of those who have not shown where they are.

mod link;

use std::time::Duration;

use crypto::Certificate;
use proptest::prelude::*;
use sansio::{Outbox as _, Seed, Time};
use sterna_dtls::{
    CHALLENGE_BYTES, Config, Endpoint, Event, Hello, Role, Server, ServerConfig, Trust, Verdict, Version,
    Versions,
};

const HERE: &[u8] = b"192.0.2.1:1000";
const ELSEWHERE: &[u8] = b"192.0.2.2:1000";

fn server() -> (Server, Certificate) {
    let certificate = Certificate::generate().unwrap();
    let config = ServerConfig::new(certificate.clone(), Seed::from(1));
    (Server::new(config).unwrap(), certificate)
}

fn client(versions: Versions) -> Endpoint {
    let certificate = Certificate::generate().unwrap();
    let usual = Config::new(Role::Client, certificate, Vec::new(), Seed::from(2));
    Endpoint::new(Time::ZERO, Config { trust: Trust::Owner, versions, ..usual }).unwrap()
}

/// What an end wants to send now.
fn sent(end: &mut Endpoint, now: Time) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    end.poll_transmit(now, &mut datagrams);
    datagrams
}

fn take(end: &mut Endpoint, now: Time, datagrams: Vec<Vec<u8>>) {
    datagrams.into_iter().for_each(|mut datagram| end.open(now, &mut datagram, &mut |_| {}));
}

fn challenge(server: &Server, now: Time, source: &[u8], datagram: &[u8]) -> Vec<u8> {
    match server.examine(now, source, datagram) {
        Verdict::Challenge(challenge) => challenge.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn proven(server: &Server, now: Time, source: &[u8], datagram: &[u8]) -> Hello {
    match server.examine(now, source, datagram) {
        Verdict::Proven(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// A hello of this client with the cookie that it was sent.
fn with_cookie(server: &Server, client: &mut Endpoint, now: Time) -> Vec<u8> {
    let [first] = &sent(client, now)[..] else { panic!("a hello is one datagram") };
    let challenge = challenge(server, now, HERE, first);
    take(client, now, vec![challenge]);
    let [second] = &sent(client, now)[..] else { panic!("so is the second") };
    second.clone()
}

/// Hands all that both have to say to and fro.
fn settle(now: Time, ends: [&mut Endpoint; 2]) {
    let [client, server] = ends;
    loop {
        let (to_client, to_server) = (sent(server, now), sent(client, now));
        if to_client.is_empty() && to_server.is_empty() {
            return;
        }
        take(client, now, to_client);
        take(server, now, to_server);
    }
}

#[test]
fn a_client_that_brings_the_cookie_back_is_connected() {
    for versions in [Versions::Auto, Versions::Dtls12] {
        let (server, certificate) = server();
        let mut client = client(versions);
        let now = Time::ZERO;
        let hello = proven(&server, now, HERE, &with_cookie(&server, &mut client, now));
        let mut end = server.welcome(now, &hello, Seed::from(3)).expect("they have something in common");
        settle(now, [&mut client, &mut end]);
        let Some(Event::Connected(theirs)) = end.poll_event() else { panic!("{versions:?}: not connected") };
        assert_eq!((theirs.version, theirs.peer_certificate), (Version::Dtls12, None));
        let Some(Event::Connected(ours)) = client.poll_event() else { panic!("{versions:?}") };
        assert_eq!(ours.peer_certificate.as_ref(), Some(&certificate.der), "for the client's owner to judge");

        let (mut wire, mut plain) = (Vec::new(), Vec::new());
        assert!(client.lane(&mut wire).send_bytes((), b"an allocation, please"));
        end.open(now, &mut wire[0], &mut |bytes| plain.extend_from_slice(bytes));
        assert_eq!(plain, b"an allocation, please");
    }
}

// RFC 5246 §7.4.2: "Each following certificate MUST directly certify the one preceding it." Who vouches is the owner's to judge.
#[test]
fn a_server_shows_who_vouches_for_it() {
    let chain = vec![vec![1; 900], vec![2; 1500]];
    let mut certificate = Certificate::generate().unwrap();
    certificate.chain = chain.clone();
    let server = Server::new(ServerConfig::new(certificate.clone(), Seed::from(1))).unwrap();
    let mut client = client(Versions::Auto);
    let now = Time::ZERO;
    let hello = proven(&server, now, HERE, &with_cookie(&server, &mut client, now));
    let mut end = server.welcome(now, &hello, Seed::from(3)).unwrap();
    settle(now, [&mut client, &mut end]);
    let Some(Event::Connected(ours)) = client.poll_event() else { panic!("not connected") };
    assert_eq!((ours.peer_certificate.as_ref(), ours.peer_chain), (Some(&certificate.der), chain));
}

#[test]
fn a_hello_that_was_sent_again_does_not_upset_the_numbers() {
    let (server, _) = server();
    let mut client = client(Versions::Dtls12);
    let mut now = Time::ZERO;
    let first = sent(&mut client, now).remove(0);
    // The first answer is late, and the client asks again.
    now += Duration::from_secs(1);
    client.handle_timeout(now);
    let again = sent(&mut client, now).remove(0);
    assert_ne!(first, again, "with another number");
    let number = |datagram: &[u8]| datagram[5..11].to_vec();
    let answers = [first, again].map(|hello| {
        let answer = challenge(&server, now, HERE, &hello);
        assert_eq!(number(&answer), number(&hello), "RFC 6347 §4.2.1");
        answer
    });
    take(&mut client, now, answers.to_vec());
    let second = sent(&mut client, now).remove(0);
    let hello = proven(&server, now, HERE, &second);
    let mut end = server.welcome(now, &hello, Seed::from(3)).unwrap();
    let flight = sent(&mut end, now);
    assert_eq!(number(&flight[0]), number(&second), "its first record has the number of the hello");
    take(&mut client, now, flight);
    settle(now, [&mut client, &mut end]);
    assert!(client.is_connected() && end.is_connected());
}

#[test]
fn an_answer_to_a_stranger_is_shorter_than_what_it_sent() {
    let (server, _) = server();
    for versions in [Versions::Auto, Versions::Dtls12, Versions::Dtls13] {
        let hello = sent(&mut client(versions), Time::ZERO).remove(0);
        assert!(hello.len() > CHALLENGE_BYTES, "{} bytes", hello.len());
        assert_eq!(challenge(&server, Time::ZERO, HERE, &hello).len(), CHALLENGE_BYTES);
    }
    // The shortest that there can be: one suite, one compression, nothing else.
    let mut body = vec![0xfe, 0xfd];
    body.extend([7; 32]);
    body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let length = body.len() as u8;
    let mut shortest = vec![
        22,
        0xfe,
        0xfd,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        length + 12,
        1,
        0,
        0,
        length,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        length,
    ];
    shortest.extend(&body);
    assert!(shortest.len() > CHALLENGE_BYTES);
    assert_eq!(challenge(&server, Time::ZERO, HERE, &shortest).len(), CHALLENGE_BYTES);
    shortest.pop();
    assert!(matches!(server.examine(Time::ZERO, HERE, &shortest), Verdict::Ignored));
}

#[test]
fn a_cookie_is_good_where_it_was_sent_to_and_for_a_minute() {
    let (server, _) = server();
    let now = Time::from_start(Duration::from_secs(100));
    let second = with_cookie(&server, &mut client(Versions::Dtls12), now);
    let at = |seconds| now + Duration::from_secs(seconds);
    proven(&server, at(29), HERE, &second);
    challenge(&server, now, ELSEWHERE, &second);
    challenge(&server, at(61), HERE, &second);
    let other = Server::new(ServerConfig::new(Certificate::generate().unwrap(), Seed::from(9))).unwrap();
    challenge(&other, now, HERE, &second);
    let mut forged = second.clone();
    let random = 13 + 12 + 2;
    forged[random] ^= 1;
    challenge(&server, now, HERE, &forged);
}

#[test]
fn what_has_nothing_in_common_with_the_server_is_not_welcome() {
    let (server, _) = server();
    let now = Time::ZERO;
    let mut second = with_cookie(&server, &mut client(Versions::Dtls12), now);
    // The suites stand behind random, session and cookie.
    let suites = 13 + 12 + 2 + 32 + 1 + 33;
    let count = usize::from(u16::from_be_bytes([second[suites], second[suites + 1]]));
    second[suites + 2..suites + 2 + count].fill(0xee);
    let hello = proven(&server, now, HERE, &second);
    assert!(server.welcome(now, &hello, Seed::from(3)).is_none());
}

/// As coturn's `turnutils_uclient` does every other time.
#[test]
fn a_client_of_dtls_1_0_is_told_and_not_left_to_wait() {
    let (server, _) = server();
    let now = Time::ZERO;
    let mut second = with_cookie(&server, &mut client(Versions::Dtls12), now);
    let version = 13 + 12;
    assert_eq!(second[version..version + 2], [0xfe, 0xfd]);
    second[version + 1] = 0xff;
    let hello = proven(&server, now, HERE, &second);
    assert!(server.welcome(now, &hello, Seed::from(3)).is_none());
}

#[test]
fn a_new_certificate_is_shown_from_then_on_and_a_bad_one_never() {
    let (server, old) = server();
    let mut broken = old;
    broken.private_key_der = vec![1, 2, 3];
    assert!(server.renewed(broken).is_err());
    let new = Certificate::generate().unwrap();
    let server = server.renewed(new.clone()).unwrap();
    let mut client = client(Versions::Dtls12);
    let hello = proven(&server, Time::ZERO, HERE, &with_cookie(&server, &mut client, Time::ZERO));
    let mut end = server.welcome(Time::ZERO, &hello, Seed::from(3)).unwrap();
    settle(Time::ZERO, [&mut client, &mut end]);
    let Some(Event::Connected(connected)) = client.poll_event() else { panic!("not connected") };
    assert_eq!(connected.peer_certificate, Some(new.der.clone()));
}

#[test]
fn a_hello_in_pieces_is_not_waited_for() {
    let (server, _) = server();
    let whole = sent(&mut client(Versions::Dtls12), Time::ZERO).remove(0);
    // The first half, as a fragment of its own.
    let half = (whole.len() - 25) / 2;
    let mut piece = whole[..25 + half].to_vec();
    piece[11..13].copy_from_slice(&(12 + half as u16).to_be_bytes());
    piece[23..25].copy_from_slice(&(half as u16).to_be_bytes());
    assert!(matches!(server.examine(Time::ZERO, HERE, &piece), Verdict::Ignored));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_answer_is_longer_than_the_question(
        noise in proptest::collection::vec(any::<u8>(), 0..120),
        at in 0_usize..200,
        byte: u8,
    ) {
        let (server, _) = server();
        let mut hello = sent(&mut client(Versions::Dtls12), Time::ZERO).remove(0);
        let place = at % hello.len();
        hello[place] = byte;
        for datagram in [&noise[..], &hello] {
            if let Verdict::Challenge(answer) = server.examine(Time::ZERO, HERE, datagram) {
                prop_assert!(answer.len() <= datagram.len());
            }
        }
    }
}
