//! What strangers send on a guessed path neither ends a handshake nor an association, and panics nobody.

mod link;

use std::time::Duration;

use link::{FINE, Link};
use sansio::{Rng, Seed};
use sterna_dtls::{DtlsError, Event, Versions};

const LONG: Duration = Duration::from_secs(60);

fn plain(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 9, sequence, 0, body.len() as u8];
    record.extend(body);
    record
}

/// Noise, alerts, and messages that have the form of a handshake but make no sense.
fn insults() -> Vec<Vec<u8>> {
    let hello = |body: &[u8]| {
        let length = body.len() as u8;
        plain(22, 1, &[&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length], body].concat())
    };
    let mut no_suites = vec![0xfe, 0xfd];
    no_suites.extend([7; 32]);
    no_suites.extend([0, 0, 0, 2, 0, 0xff, 1, 0, 0, 0]);
    vec![
        vec![],
        vec![22],
        b"GET / HTTP/1.1".to_vec(),
        plain(21, 2, &[2, 40]),
        plain(21, 3, &[1, 0]),
        plain(23, 4, b"not sealed"),
        plain(26, 5, &[0, 0]),
        plain(22, 6, &[1, 0, 0]),
        hello(b""),
        hello(b"nonsense"),
        hello(&no_suites),
        plain(22, 7, &[20, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        plain(20, 8, &[1]),
        [0x2f; 60].to_vec(),
    ]
}

#[test]
fn a_server_survives_insults_before_the_true_client_comes() {
    for versions in [Versions::Auto, Versions::Dtls12, Versions::Dtls13] {
        for insult in insults() {
            let mut link = Link::new(1, FINE, [versions; 2]);
            link.hand(1, insult.clone());
            link.settle();
            link.rest(Duration::from_millis(500));
            link.run(Duration::from_secs(4), |link| link.connected() || link.ends[1].is_over());
            assert!(link.connected(), "{versions:?} {insult:?}: {:?}", link.ends[1].events);
        }
    }
}

#[test]
fn both_survive_alerts_and_noise_while_the_handshake_is_under_way() {
    for versions in [Versions::Dtls12, Versions::Dtls13, Versions::Auto] {
        for at in [5, 15, 25, 35] {
            for end in [0, 1] {
                let mut link = Link::new(2, FINE, [versions; 2]);
                link.settle();
                link.rest(Duration::from_millis(at));
                for insult in &insults() {
                    link.hand(end, insult.clone());
                }
                link.run(Duration::from_secs(4), |link| {
                    link.connected() || link.ends.iter().any(link::End::is_over)
                });
                assert!(link.connected(), "{versions:?} {end} after {at} ms: {:?}", link.ends[end].events);
                assert!(link.ends[end].plain.is_empty(), "nothing unsealed is delivered");
            }
        }
    }
}

#[test]
fn a_refusal_that_nobody_contradicts_is_believed_in_the_end() {
    let mut link = Link::new(3, FINE, [Versions::Auto; 2]);
    link.weather.loss = 100;
    link.settle();
    link.hand(0, plain(21, 2, &[2, 40]));
    link.run(LONG, |link| link.ends[0].is_over());
    assert_eq!(link.ends[0].events, [Event::Failed(DtlsError::PeerAlert(40))]);
    assert_eq!(link.now.elapsed().as_secs(), 3);
}

#[test]
fn a_client_that_has_nothing_in_common_is_told_apart_from_noise() {
    let mut link = Link::new(4, FINE, [Versions::Dtls12, Versions::Dtls13]);
    link.run(LONG, |link| link.ends[1].is_over());
    let events = &link.ends[1].events;
    assert!(matches!(events[..], [Event::Failed(DtlsError::Handshake(_))]), "{events:?}");
    assert!(link.now.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_association_survives_insults_and_replays() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut link = Link::new(5, FINE, [versions; 2]);
        link.run(LONG, Link::connected);
        link.say(0, b"one");
        link.rest(Duration::from_secs(1));
        let history: Vec<Vec<u8>> = link.ends[0].sent.clone();
        for datagram in
            insults().into_iter().chain(history.iter().cloned()).chain(history.iter().rev().cloned())
        {
            link.hand(1, datagram);
            link.settle();
        }
        assert_eq!(link.ends[1].plain, [b"one"], "a replay is not delivered again");
        link.say(0, b"two");
        link.run(LONG, |link| link.ends[1].plain.len() == 2);
        assert_eq!(link.ends[1].events.len(), 1);
    }
}

#[test]
fn good_records_beside_bad_ones_count() {
    let mut link = Link::new(6, FINE, [Versions::Dtls13; 2]);
    link.run(LONG, Link::connected);
    link.weather.loss = 100;
    link.say(0, b"sealed");
    let sealed = link.ends[0].sent.last().unwrap().clone();
    let datagram = [plain(21, 1, &[2, 10]), plain(23, 2, b"unsealed"), sealed, vec![1, 2, 3]].concat();
    link.hand(1, datagram);
    assert_eq!(link.ends[1].plain, [b"sealed"]);
    assert_eq!(link.ends[1].endpoint.drops().records, 3);
}

#[test]
fn mutated_datagrams_panic_nobody_and_deliver_nothing_false() {
    let mut rng = Rng::new(Seed::from(1));
    for seed in 0..120 {
        let versions = [Versions::Auto, Versions::Dtls12, Versions::Dtls13][seed as usize % 3];
        let mut link = Link::new(seed, FINE, [versions; 2]);
        let mut said = 0u32;
        for _ in 0..60 {
            if link.connected() {
                said += 1;
                link.say(0, &said.to_be_bytes());
            }
            if !link.step() {
                break;
            }
            // Everything that is under way arrives damaged as well, and first.
            let under_way: Vec<(usize, Vec<u8>)> = link.wire.values().cloned().collect();
            for (to, mut datagram) in under_way {
                for _ in 0..=rng.below(3) {
                    let at = rng.below(datagram.len() as u64) as usize;
                    match rng.below(4) {
                        0 => datagram[at] = rng.next_u32() as u8,
                        1 => datagram[at] ^= 1 << rng.below(8),
                        2 => datagram.truncate(at.max(1)),
                        _ => datagram.insert(at, rng.next_u32() as u8),
                    }
                }
                link.hand(to, datagram);
            }
        }
        for end in &link.ends {
            for plain in &end.plain {
                let number = u32::from_be_bytes(plain[..].try_into().expect("whole"));
                assert!((1..=said).contains(&number));
            }
        }
    }
}

#[test]
fn a_huge_certificate_is_no_trouble() {
    let mut link = Link::new(7, FINE, [Versions::Dtls12; 2]);
    link.settle();
    link.rest(Duration::from_millis(5));
    let mut rng = Rng::new(Seed::from(3));
    for sequence in 0..40u16 {
        let mut body = vec![11, 0, 0xff, 0xff, 0, 2];
        body.extend((u32::from(sequence) * 1000).to_be_bytes()[1..].to_vec());
        body.extend([0, 3, 232]);
        let mut chunk = [0; 1000];
        rng.fill(&mut chunk);
        body.extend(chunk);
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 1, sequence as u8];
        record.extend((body.len() as u16).to_be_bytes());
        record.extend(body);
        link.hand(0, record);
    }
    link.run(Duration::from_secs(40), |link| link.connected() || link.ends[0].is_over());
}

#[test]
fn an_older_version_is_not_spoken_because_somebody_in_between_wants_it() {
    // In the client's hello, DTLS 1.3 among the supported versions becomes one that nobody knows.
    let mut link = Link::new(8, FINE, [Versions::Auto; 2]);
    link.settle();
    let mut changed = 0;
    for (_, datagram) in link.wire.values_mut() {
        if let Some(at) = datagram.windows(4).position(|four| four == [0xfe, 0xfc, 0xfe, 0xfd]) {
            datagram[at + 1] = 0xfb;
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    link.run(LONG, |link| link.ends[0].is_over());
    let [Event::Failed(DtlsError::Handshake(why))] = &link.ends[0].events[..] else {
        panic!("{:?}", link.ends[0].events);
    };
    assert!(why.contains("older version"), "{why}");
    assert!(!link.ends[1].endpoint.is_connected());
}

#[test]
fn what_is_cut_short_does_not_stand_in_the_way_of_what_is_whole() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut link = Link::new(9, FINE, [versions; 2]);
        while !link.connected() {
            link.settle();
            let under_way: Vec<(usize, Vec<u8>)> = link.wire.values().cloned().collect();
            for (to, datagram) in under_way {
                for length in (0..datagram.len()).step_by(7) {
                    link.hand(to, datagram[..length].to_vec());
                }
            }
            assert!(link.step(), "{versions:?}");
        }
        assert!(link.now.elapsed() < Duration::from_secs(3), "{versions:?} {}", link.now);
        assert!(link.ends.iter().all(|end| end.plain.is_empty()));
    }
}

#[test]
fn claims_of_enormous_messages_are_dropped() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut link = Link::new(10, FINE, [versions; 2]);
        link.settle();
        for (end, kind) in [(0, 2), (0, 11), (1, 1), (1, 11)] {
            for number in 0..200_u8 {
                // 16 MiB, of which here is one byte, in the middle.
                let body = [kind, 0xff, 0xff, 0xff, 0, number % 8, 0x70, 0, number, 0, 0, 1, 7];
                link.hand(end, plain(22, number, &body));
                // A fragment beyond the end of its message.
                let body = [kind, 0, 0, 4, 0, number % 8, 0, 0, 4, 0, 0, 1, 7];
                link.hand(end, plain(22, number, &body));
            }
        }
        assert_eq!(link.ends[1].endpoint.drops().records, 800, "all of it");
        link.run(Duration::from_secs(3), Link::connected);
    }
}

#[test]
fn records_in_the_wrong_order_wait_for_their_keys() {
    // The server's flight arrives from its end to its beginning, and data before the client's last words.
    let mut link = Link::new(11, FINE, [Versions::Dtls13; 2]);
    link.settle();
    link.rest(FINE.delay);
    link.settle();
    let flight: Vec<Vec<u8>> =
        std::mem::take(&mut link.wire).into_values().map(|(_, datagram)| datagram).collect();
    assert!(flight.len() > 1);
    flight.into_iter().rev().for_each(|datagram| link.hand(0, datagram));
    assert!(link.ends[0].endpoint.is_connected(), "without being sent again");
    link.settle();
    assert!(link.say(0, b"at once"));
    let last: Vec<Vec<u8>> =
        std::mem::take(&mut link.wire).into_values().map(|(_, datagram)| datagram).collect();
    last.into_iter().rev().for_each(|datagram| link.hand(1, datagram));
    assert!(link.ends[1].endpoint.is_connected());
    assert_eq!(link.ends[1].plain, [b"at once"]);
}
