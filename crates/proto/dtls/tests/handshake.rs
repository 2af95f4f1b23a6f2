//! Two ends come together, whatever versions they speak and whatever the path does to their datagrams.

mod link;

use std::time::Duration;

use link::{FINE, Link, Weather};
use sansio::{Seed, Time};
use sterna_dtls::{Config, ConfigError, DtlsError, Endpoint, Event, Role, Trust, Version, Versions};

const LONG: Duration = Duration::from_secs(60);
const ALL: [Versions; 3] = [Versions::Auto, Versions::Dtls12, Versions::Dtls13];

#[test]
fn all_versions_that_have_something_in_common_connect() {
    for client in ALL {
        for server in ALL {
            let mut link = Link::new(1, FINE, [client, server]);
            let expected = match (client, server) {
                (Versions::Dtls12, Versions::Dtls13) | (Versions::Dtls13, Versions::Dtls12) => None,
                (Versions::Dtls12, _) | (_, Versions::Dtls12) => Some(Version::Dtls12),
                _ => Some(Version::Dtls13),
            };
            let Some(version) = expected else {
                link.run(LONG, |link| link.ends.iter().any(link::End::is_over));
                assert!(!link.connected());
                continue;
            };
            link.run(LONG, Link::connected);
            // The client of DTLS 1.3 needs one round trip, and half a one more to tell the server.
            let trips = if version == Version::Dtls13 { 3 } else { 4 };
            assert_eq!(link.now.elapsed(), FINE.delay * trips, "{client:?} {server:?}");
            let [a, b] = [0, 1].map(|end| link.ends[end].connected().expect("connected").clone());
            assert_eq!((a.version, b.version), (version, version));
            assert_eq!(a.cipher, b.cipher);
            assert!(a.cipher.name().contains("AES_128_GCM"), "{}", a.cipher);
            assert_eq!(a.srtp, b.srtp, "both have the same keys for media");
            assert!(a.srtp.is_some());
            assert!(a.peer_certificate != b.peer_certificate);
            for (from, text) in [(0, &b"from the client"[..]), (1, b"from the server")] {
                assert!(link.say(from, text));
                link.run(LONG, |link| link.ends[1 - from].plain == [text]);
            }
        }
    }
}

#[test]
fn a_chain_is_shown_in_both_versions_and_what_counts_is_the_first() {
    let chain = vec![vec![1; 900], vec![2; 1500]];
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut link = Link::with(1, FINE, |config| {
            config.versions = versions;
            config.certificate.chain = chain.clone();
        });
        link.run(LONG, Link::connected);
        // A server needs no chain: it knows its client by the fingerprint.
        let shown = [0, 1].map(|end| link.ends[end].connected().expect("connected").peer_chain.clone());
        assert_eq!(shown, [chain.clone(), Vec::new()], "{versions:?}");
    }
}

#[test]
fn loss_and_reordering_delay_but_do_not_prevent() {
    for versions in [[Versions::Auto; 2], [Versions::Dtls12; 2], [Versions::Auto, Versions::Dtls12]] {
        let mut slowest = Duration::ZERO;
        for seed in 0..60 {
            let weather = Weather {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(20),
                loss: 10 + seed % 21,
                twice: 10,
            };
            let mut link = Link::new(seed, weather, versions);
            link.run(Duration::from_secs(30), |link| {
                link.connected() || link.ends.iter().any(link::End::is_over)
            });
            assert!(link.connected(), "seed {seed} {versions:?}: {:?}", link.ends[0].events);
            slowest = slowest.max(link.now.elapsed());
        }
        assert!(slowest > Duration::from_millis(300), "the weather is bad");
    }
}

#[test]
fn small_datagrams_do_as_well() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        for seed in 0..40 {
            let weather = Weather {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(20),
                loss: seed % 10,
                twice: 5,
            };
            let mut link = Link::with(seed, weather, |config| {
                config.versions = versions;
                config.mtu = [256, 300, 400, 576][seed as usize % 4];
            });
            link.run(Duration::from_secs(30), |link| {
                link.connected() || link.ends.iter().any(link::End::is_over)
            });
            assert!(link.connected(), "seed {seed} {versions:?}: {:?}", link.ends[0].events);
            assert!(link.ends.iter().all(|end| end.sent.iter().all(|datagram| datagram.len() <= 576)));
        }
    }
}

#[test]
fn nothing_can_be_said_before_it_is_known_who_listens() {
    let mut link = Link::new(2, FINE, [Versions::Auto; 2]);
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let mut lane = link.ends[0].endpoint.lane(&mut datagrams);
    assert_eq!(sansio::Outbox::room(&lane), 0);
    assert!(!sansio::Outbox::send(&mut lane, (), 10, &mut |_| panic!("not filled")));
    assert!(datagrams.is_empty());
}

#[test]
fn what_is_sealed_is_as_long_as_promised_and_arrives_whole() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut link = Link::new(3, FINE, [versions; 2]);
        assert_eq!(link.ends[0].endpoint.overhead(), 37, "the worst, as long as the version is open");
        link.run(LONG, Link::connected);
        let overhead = link.ends[0].endpoint.overhead();
        assert_eq!(overhead, if versions == Versions::Dtls12 { 37 } else { 22 });
        link.ends[0].sent.clear();
        for length in [1, 2, 100, 1160] {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert!(link.say(0, &plain));
            assert_eq!(link.ends[0].sent.last().unwrap().len(), length + overhead);
            link.run(LONG, |link| link.ends[1].plain.last() == Some(&plain));
        }
    }
}

#[test]
fn the_nonces_of_dtls_1_2_are_sequence_numbers() {
    let mut link = Link::new(4, FINE, [Versions::Dtls12; 2]);
    link.run(LONG, Link::connected);
    link.ends[0].sent.clear();
    for _ in 0..100 {
        assert!(link.say(0, b"again and again the same"));
    }
    link.rest(Duration::from_secs(1));
    assert_eq!(link.ends[1].plain.len(), 100);
    let mut nonces = Vec::new();
    for datagram in &link.ends[0].sent {
        assert_eq!(datagram[3..11], datagram[13..21]);
        nonces.push(datagram[13..21].to_vec());
    }
    nonces.dedup();
    assert_eq!(nonces.len(), 100);
}

#[test]
fn a_stranger_is_not_let_in_and_both_learn_it() {
    for versions in [[Versions::Dtls12; 2], [Versions::Dtls13; 2], [Versions::Auto; 2]] {
        for deceived in [Role::Client, Role::Server] {
            let other = crypto::Certificate::generate().unwrap().fingerprint();
            let mut link = Link::with(5, FINE, |config| {
                config.versions = versions[0];
                if config.role == deceived {
                    config.trust = Trust::Fingerprints(vec![other.clone()]);
                }
            });
            let deceived = if deceived == Role::Client { 0 } else { 1 };
            link.run(LONG, |link| {
                // The other end may speak as soon as it thinks that it is connected.
                link.ends[deceived].is_over()
            });
            link.say(1 - deceived, b"let me in");
            link.run(LONG, |link| link.ends[1 - deceived].is_over());
            let end = &link.ends[deceived];
            let [Event::Failed(DtlsError::FingerprintMismatch { presented })] = &end.events[..] else {
                panic!("{:?}", end.events);
            };
            assert_ne!(*presented, other);
            assert!(end.plain.is_empty(), "nothing is delivered");
            assert!(!end.endpoint.is_connected());
            assert!(link.now.elapsed() < Duration::from_secs(5), "the other end learns it soon");
        }
    }
}

#[test]
fn one_of_several_fingerprints_is_enough_and_sha_1_is_none() {
    let mut link = Link::with(6, FINE, |config| {
        let others = crypto::Certificate::generate().unwrap().fingerprint();
        let Trust::Fingerprints(promised) = &mut config.trust else { unreachable!("there are some") };
        promised.insert(0, others);
    });
    link.run(LONG, Link::connected);

    let certificate = crypto::Certificate::generate().unwrap();
    let sha1 = crypto::Fingerprint::of(crypto::FingerprintAlgorithm::Sha1, &certificate.der);
    let mut link = Link::with(7, FINE, |config| {
        if config.role == Role::Client {
            config.certificate = certificate.clone();
        } else {
            config.trust = Trust::Fingerprints(vec![sha1.clone()]);
        }
    });
    link.run(LONG, |link| link.ends[1].is_over());
    assert!(matches!(link.ends[1].events[..], [Event::Failed(DtlsError::FingerprintMismatch { .. })]));
}

#[test]
fn unusable_settings_are_refused() {
    let certificate = crypto::Certificate::generate().unwrap();
    let fingerprint = certificate.fingerprint();
    let config = |certificate, fingerprints| {
        Config::new(Role::Client, certificate, fingerprints, sansio::Seed::from(1))
    };
    let new = |config| Endpoint::new(sansio::Time::ZERO, config).err();
    assert_eq!(new(config(certificate.clone(), vec![])), Some(ConfigError::NoFingerprint));
    let server = Config { role: Role::Server, trust: Trust::Owner, ..config(certificate.clone(), vec![]) };
    assert_eq!(new(server), Some(ConfigError::NobodyJudges));
    let mut broken = certificate.clone();
    broken.private_key_der = vec![1, 2, 3];
    assert_eq!(new(config(broken, vec![fingerprint])), Some(ConfigError::UnusableKey));
}

#[test]
fn closing_is_told_to_the_other_end() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        for first in [0, 1] {
            let mut link = Link::new(8, FINE, [versions; 2]);
            link.run(LONG, Link::connected);
            assert!(link.say(first, b"last words"));
            let now = link.now;
            link.ends[first].endpoint.close(now);
            link.run(LONG, |link| link.ends.iter().all(link::End::is_over));
            for end in &link.ends {
                assert_eq!(end.events.last(), Some(&Event::Closed));
                assert_eq!(end.events.len(), 2);
            }
            assert_eq!(link.ends[1 - first].plain, [b"last words"]);
            assert!(!link.say(first, b"too late"));
            link.rest(LONG);
            assert!(link.wire.is_empty() && link.ends[0].endpoint.poll_timeout().is_none());
        }
    }
}

#[test]
fn nobody_there_is_an_error_in_the_end() {
    let mut link = Link::new(9, Weather { loss: 100, ..FINE }, [Versions::Auto; 2]);
    link.run(LONG, |link| link.ends[0].is_over());
    assert_eq!(link.ends[0].events, [Event::Failed(DtlsError::Timeout)]);
    assert!((25..=31).contains(&link.now.elapsed().as_secs()), "{:?}", link.now);
    assert!(link.ends[1].events.is_empty(), "a server waits for its first hello");
    // Those that begin a hello: its fragment's offset is 0.
    let hellos = link.ends[0].sent.iter().filter(|datagram| datagram[19..22] == [0, 0, 0]).count();
    assert!((5..=13).contains(&hellos), "{hellos} hellos");
}

#[test]
fn a_long_transfer_outlives_the_numbers_that_are_sent() {
    // Of a sequence number only 16 bits are sent.
    let mut link = Link::new(10, FINE, [Versions::Dtls13; 2]);
    link.run(LONG, Link::connected);
    for number in 0..140_000u32 {
        let mut datagrams = Vec::new();
        let taken = sansio::Outbox::send_bytes(
            &mut link.ends[0].endpoint.lane(&mut datagrams),
            (),
            &number.to_be_bytes(),
        );
        assert!(taken);
        for mut datagram in datagrams {
            let mut received = Vec::new();
            let now = link.now;
            link.ends[1].endpoint.open(now, &mut datagram, &mut |plain| received.extend_from_slice(plain));
            assert_eq!(received, number.to_be_bytes());
        }
    }
}

#[test]
fn keys_are_renewed_and_nothing_is_lost_by_it() {
    const RECORDS: u32 = 3000;
    let shaken = Weather { jitter: Duration::from_millis(3), ..FINE };
    let weathers = [FINE, shaken, Weather { loss: 10, twice: 10, ..shaken }];
    for (seed, weather) in (20..).zip(weathers) {
        for speakers in [&[0][..], &[1], &[0, 1]] {
            let mut link = Link::with(seed, weather, |config| {
                config.versions = Versions::Dtls13;
                config.rekey_after = 200;
            });
            link.run(LONG, Link::connected);
            link.rest(Duration::from_secs(1));
            link.ends.iter_mut().for_each(|end| end.sent.clear());
            for number in 0..RECORDS {
                for &end in speakers {
                    assert!(link.say(end, &number.to_be_bytes()), "{speakers:?} {weather:?}: {number}");
                }
                link.rest(Duration::from_millis(1));
            }
            link.rest(Duration::from_secs(1));
            for &end in speakers {
                // The lowest two bits of the first byte are those of the epoch.
                let renewals =
                    link.ends[end].sent.windows(2).filter(|two| (two[0][0] ^ two[1][0]) & 3 != 0).count();
                assert!(renewals >= 5, "{speakers:?} {weather:?}: {renewals} renewals of {end}");
                let mut heard = link.ends[1 - end].plain.clone();
                heard.sort();
                heard.dedup();
                let least = RECORDS as usize * (100 - weather.loss as usize * 3 / 2) / 100;
                assert!(heard.len() >= least, "{speakers:?} {weather:?}: {} from {end}", heard.len());
            }
            assert!(link.connected());
        }
    }
}

#[test]
fn a_flight_is_repeated_as_soon_as_the_path_demands() {
    for retransmission in [50, 400].map(Duration::from_millis) {
        let [ours, theirs] = [(); 2].map(|()| crypto::Certificate::generate().expect("a certificate"));
        let config = Config {
            retransmission,
            ..Config::new(Role::Client, ours, vec![theirs.fingerprint()], Seed::from(1))
        };
        let mut endpoint = Endpoint::new(Time::ZERO, config).expect("the settings are fine");
        let mut datagrams = Vec::new();
        endpoint.poll_transmit(Time::ZERO, &mut datagrams);
        assert_eq!(datagrams.len(), 2, "a hello with a share of X25519MLKEM768");
        let mut again = Time::ZERO + retransmission;
        for _ in 0..3 {
            assert_eq!(endpoint.poll_timeout(), Some(again));
            endpoint.handle_timeout(again);
            datagrams.clear();
            endpoint.poll_transmit(again, &mut datagrams);
            assert!(datagrams.len() >= 2, "the same again");
            again = again + again.elapsed() + retransmission;
        }
    }
}
