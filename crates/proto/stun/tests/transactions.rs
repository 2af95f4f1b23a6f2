//! Requests and their answers: when they are sent again, given up, and believed.

use std::sync::Arc;
use std::time::Duration;

use sansio::{Batches, Full, Path, Rng, Seed, Time, Transport};
use sterna_stun::transaction::{Cause, Dropped, Protection, Request, Timing, Transactions};
use sterna_stun::{
    AttributeKind, Class, Integrity, Key, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId,
    kind,
};

type Table = Transactions<&'static str>;

fn path(transport: Transport) -> Path {
    Path::new(transport, "10.0.0.1:1000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap())
}

fn ms(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn table() -> Table {
    Transactions::new(Timing::default(), &[kind::XOR_RELAYED_ADDRESS])
}

fn start(table: &mut Table, now: Time, transport: Transport, protection: Protection) -> TransactionId {
    let request = Request { protection, ..Request::new(path(transport), Method::BINDING) };
    table.start(now, &mut Rng::new(Seed::from(1)), request, "token", |_| {}).unwrap()
}

fn sent(table: &mut Table, now: Time) -> usize {
    let mut out = Batches::new(1 << 16);
    table.poll_transmit(now, &mut out);
    std::iter::from_fn(|| out.pop()).map(|batch| batch.datagrams().count()).sum()
}

fn response(class: Class, id: TransactionId, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 300];
    let mut writer = MessageWriter::new(&mut buffer, class, Method::BINDING, id);
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

fn success(id: TransactionId) -> Vec<u8> {
    response(Class::Success, id, |_| {})
}

/// Runs until nothing is due any more, and returns when requests were sent.
fn run(table: &mut Table) -> Vec<u128> {
    let mut times = Vec::new();
    let mut now = Time::ZERO;
    loop {
        times.extend((0..sent(table, now)).map(|_| now.elapsed().as_millis()));
        let Some(next) = table.poll_timeout() else { return times };
        assert!(next > now, "a timeout moves forward");
        now = next;
        table.handle_timeout(now);
    }
}

// The example of RFC 8489 §6.2.1.
#[test]
fn over_udp_requests_are_repeated_at_doubling_intervals_until_39500_ms() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    assert_eq!(run(&mut table), [0, 500, 1500, 3500, 7500, 15500, 31500]);
    let failed = table.poll_failed().unwrap();
    assert_eq!((failed.id, failed.token, failed.cause), (id, "token", Cause::TimedOut { requests: 7 }));
    assert!(table.poll_failed().is_none() && table.is_empty());

    start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    let mut last = Time::ZERO;
    while let Some(next) = table.poll_timeout() {
        last = next;
        table.handle_timeout(last);
    }
    assert_eq!(last, ms(39_500));
}

#[test]
fn over_streams_a_request_is_sent_once_and_waits_as_long() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut table = table();
        start(&mut table, Time::ZERO, transport, Protection::Open);
        assert_eq!(table.poll_timeout(), Some(ms(39_500)));
        assert_eq!(run(&mut table), [0]);
        assert_eq!(table.poll_failed().unwrap().cause, Cause::TimedOut { requests: 1 });
    }
}

#[test]
fn timing_is_configurable() {
    let timing = Timing { requests: 3, last_wait: 2, ..Timing::default() };
    let mut table = Transactions::new(timing, &[]);
    let request =
        Request { rto: Duration::from_millis(100), ..Request::new(path(Transport::Udp), Method::BINDING) };
    table.start(Time::ZERO, &mut Rng::new(Seed::from(1)), request, "token", |_| {}).unwrap();
    assert_eq!(run(&mut table), [0, 100, 300]);
}

#[test]
fn a_response_ends_the_transaction_and_a_second_one_is_unknown() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    assert_eq!(sent(&mut table, ms(3)), 1);
    let bytes = success(id);
    let message = Message::parse(&bytes).unwrap();
    let answer = table.handle_response(ms(45), &message, path(Transport::Udp)).unwrap();
    assert_eq!((answer.id, answer.token, answer.rtt), (id, "token", Some(Duration::from_millis(42))));
    assert_eq!(Message::parse(&answer.request).unwrap().transaction_id(), id);
    let again = table.handle_response(ms(46), &message, path(Transport::Udp));
    assert_eq!(again.unwrap_err(), Dropped::Unknown);
    assert_eq!((table.poll_timeout(), sent(&mut table, ms(600))), (None, 0));
}

#[test]
fn after_a_retransmission_nobody_knows_the_round_trip_time() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    sent(&mut table, Time::ZERO);
    table.handle_timeout(ms(500));
    assert_eq!(sent(&mut table, ms(500)), 1);
    let bytes = success(id);
    let answer = table.handle_response(ms(510), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
    assert_eq!(answer.unwrap().rtt, None);
}

#[test]
fn responses_from_elsewhere_of_another_method_or_class_do_not_count() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    let from = path(Transport::Udp);
    let elsewhere = Path { remote: "192.0.2.2:3478".parse().unwrap(), ..from };
    let bytes = success(id);
    let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), elsewhere);
    assert_eq!(result.unwrap_err(), Dropped::WrongPath(id));
    for class in [Class::Request, Class::Indication] {
        let bytes = response(class, id, |_| {});
        let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), from);
        assert_eq!(result.unwrap_err(), Dropped::Unknown);
    }
    let mut buffer = [0; 20];
    MessageWriter::new(&mut buffer, Class::Success, Method::ALLOCATE, id).finish().unwrap();
    let result = table.handle_response(ms(1), &Message::parse(&buffer).unwrap(), from);
    assert_eq!(result.unwrap_err(), Dropped::Unknown);
    assert_eq!(table.len(), 1, "it still waits");
}

fn short_term(integrity: Option<Integrity>) -> Protection {
    Protection::ShortTerm { key: Arc::new(Key::short_term("password")), integrity }
}

fn long_term(integrity: Option<Integrity>) -> Protection {
    Protection::LongTerm { key: Arc::new(Key::short_term("password")), integrity }
}

#[test]
fn over_udp_an_unauthentic_response_is_as_if_it_never_came_and_shows_in_the_end() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, short_term(None));
    let forged = response(Class::Error, id, |writer| {
        writer.error(486);
    });
    for bytes in [
        success(id),
        response(Class::Success, id, |w| {
            w.integrity(&Key::short_term("wrong"));
        }),
        forged,
    ] {
        let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
        assert_eq!(result.unwrap_err(), Dropped::NotAuthentic(id));
    }
    assert_eq!(run(&mut table).len(), 7, "retransmissions go on");
    let cause = table.poll_failed().unwrap().cause;
    assert_eq!(cause, Cause::IntegrityViolated { error: Some(486) });
    assert_eq!(cause.to_string(), "only responses with a wrong signature or none came back (they said 486)");
}

#[test]
fn over_a_stream_an_unauthentic_response_ends_the_transaction_at_once() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Tcp, long_term(None));
    let bytes = success(id);
    let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Tcp));
    assert_eq!(result.unwrap_err(), Dropped::NotAuthentic(id));
    assert_eq!(table.poll_failed().unwrap().cause, Cause::IntegrityViolated { error: None });
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn only_challenges_may_come_unsigned_and_only_to_long_term_credentials() {
    for (protection, code, accepted) in [
        (long_term(None), 401, true),
        (long_term(None), 438, true),
        (long_term(None), 400, false),
        (long_term(None), 300, false),
        (long_term(None), 486, false),
        (short_term(None), 401, false),
        (short_term(None), 400, false),
        (Protection::Open, 400, true),
    ] {
        let mut table = table();
        let id = start(&mut table, Time::ZERO, Transport::Udp, protection.clone());
        let bytes = response(Class::Error, id, |writer| {
            writer.error(code);
        });
        let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
        assert_eq!(result.is_ok(), accepted, "{code} to {protection:?}");
        assert!(result.is_ok_and(|answer| !answer.authenticated) || !accepted);
    }
}

#[test]
fn a_success_with_a_challenges_code_is_no_challenge() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, long_term(None));
    let bytes = response(Class::Success, id, |writer| {
        writer.error(401);
    });
    let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
    assert_eq!(result.unwrap_err(), Dropped::NotAuthentic(id));
}

#[test]
fn the_signature_must_be_of_the_kind_that_the_request_had() {
    let key = Key::short_term("password");
    for (asked, sent, accepted) in [
        (None, Integrity::Sha1, true),
        (None, Integrity::Sha256, true),
        (Some(Integrity::Sha1), Integrity::Sha256, false),
        (Some(Integrity::Sha256), Integrity::Sha1, false),
        (Some(Integrity::Sha256), Integrity::Sha256, true),
    ] {
        for protection in [short_term(asked), long_term(asked)] {
            let mut table = table();
            let id = start(&mut table, Time::ZERO, Transport::Udp, protection);
            let bytes = response(Class::Success, id, |writer| {
                match sent {
                    Integrity::Sha1 => writer.integrity(&key),
                    Integrity::Sha256 => writer.integrity_sha256(&key),
                };
            });
            let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
            assert_eq!(result.is_ok(), accepted, "{asked:?} {sent:?}");
        }
    }
}

/// RFC 8489 §9.2.5: the nonce says that there is a list of algorithms, and there is none.
#[test]
fn a_response_whose_announced_algorithms_are_missing_is_ignored() {
    let key = Key::short_term("password");
    let nonce = b"obMatJos2gAAAxyz";
    for (with_list, accepted) in [(true, true), (false, false)] {
        let mut table = table();
        let id = start(&mut table, Time::ZERO, Transport::Udp, long_term(None));
        let bytes = response(Class::Success, id, |writer| {
            writer.raw(kind::NONCE, nonce);
            if with_list {
                writer.password_algorithms(&[PasswordAlgorithm::Sha256]);
            }
            writer.integrity_sha256(&key);
        });
        let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
        assert_eq!(result.is_ok(), accepted);
    }
}

// RFC 8489 §6.3.3.
#[test]
fn a_response_with_unknown_attributes_fails_the_transaction() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    let bytes = response(Class::Success, id, |writer| {
        writer.flag(kind::XOR_RELAYED_ADDRESS).flag(AttributeKind(0x7777));
    });
    let result = table.handle_response(ms(1), &Message::parse(&bytes).unwrap(), path(Transport::Udp));
    assert_eq!(result.unwrap_err(), Dropped::NotComprehended(id));
    let Cause::UnknownAttributes(unknown) = table.poll_failed().unwrap().cause else { panic!() };
    assert_eq!(unknown[..], [0x7777], "those that the owner knows are not among them");
}

#[test]
fn an_abandoned_request_is_not_repeated_but_its_answer_counts() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    sent(&mut table, Time::ZERO);
    table.abandon(id);
    table.handle_timeout(ms(500));
    assert_eq!(sent(&mut table, ms(500)), 0);
    let bytes = success(id);
    assert!(table.handle_response(ms(700), &Message::parse(&bytes).unwrap(), path(Transport::Udp)).is_ok());

    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    table.abandon(id);
    assert_eq!(run(&mut table), [0u128; 0]);
    assert_eq!(table.poll_failed().unwrap().cause, Cause::Abandoned);
}

#[test]
fn a_cancelled_request_is_forgotten() {
    let mut table = table();
    let id = start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    assert_eq!(table.cancel(id), Some("token"));
    assert_eq!((table.cancel(id), sent(&mut table, Time::ZERO), table.poll_timeout()), (None, 0, None));
}

#[test]
fn all_requests_to_a_broken_stream_fail() {
    let mut table = table();
    let mut rng = Rng::new(Seed::from(1));
    for (transport, token) in [(Transport::Tcp, "a"), (Transport::Tcp, "b"), (Transport::Udp, "c")] {
        table
            .start(Time::ZERO, &mut rng, Request::new(path(transport), Method::BINDING), token, |_| {})
            .unwrap();
    }
    table.handle_unreachable(path(Transport::Tcp));
    let mut failed: Vec<_> = std::iter::from_fn(|| table.poll_failed()).map(|f| (f.token, f.cause)).collect();
    failed.sort_by_key(|(token, _)| *token);
    assert_eq!(failed, [("a", Cause::Unreachable), ("b", Cause::Unreachable)]);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_full_outbox_only_delays() {
    let mut table = table();
    start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    table.poll_transmit(Time::ZERO, &mut Full);
    assert_eq!(sent(&mut table, ms(10)), 1);
    assert_eq!(sent(&mut table, ms(10)), 0, "drained polls stay empty");
}

#[test]
fn an_early_timeout_changes_nothing_and_a_late_one_sends_once() {
    let mut table = table();
    start(&mut table, Time::ZERO, Transport::Udp, Protection::Open);
    sent(&mut table, Time::ZERO);
    table.handle_timeout(ms(499));
    assert_eq!((sent(&mut table, ms(499)), table.poll_timeout()), (0, Some(ms(500))));
    // The machine slept for a while: it does not make up for what it has missed.
    table.handle_timeout(ms(20_000));
    assert_eq!(sent(&mut table, ms(20_000)), 1);
    assert_eq!(table.poll_timeout(), Some(ms(21_000)));
}

#[test]
fn transaction_ids_come_from_the_seed_and_do_not_repeat() {
    let ids = |seed: u64| {
        let mut table = table();
        let mut rng = Rng::new(Seed::from(seed));
        (0..50)
            .map(|_| {
                let request = Request::new(path(Transport::Udp), Method::BINDING);
                table.start(Time::ZERO, &mut rng, request, "", |_| {}).unwrap()
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids(1).len(), 50);
    assert_eq!(ids(1), ids(1));
    assert!(ids(1).is_disjoint(&ids(2)));
}

#[test]
fn a_request_that_is_too_long_is_not_started() {
    let mut table = table();
    let request = Request::new(path(Transport::Udp), Method::BINDING);
    let result = table.start(Time::ZERO, &mut Rng::new(Seed::from(1)), request, "", |writer| {
        writer.raw(kind::SOFTWARE, &[0; 1300]);
    });
    assert!(result.is_err() && table.is_empty() && table.poll_timeout().is_none());
}
