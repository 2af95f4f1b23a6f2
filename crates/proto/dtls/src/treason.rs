//! Peers that do all that is needed to be believed, and lie in one place.

use crypto::Certificate;
use sansio::{Outbox, Seed, Time};

use crate::message::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, ENCRYPTED_EXTENSIONS,
    FINISHED, SERVER_KEY_EXCHANGE,
};
use crate::{Config, DtlsError, Endpoint, Event, Role, Versions};

fn ends(versions: Versions) -> [Endpoint; 2] {
    let certificates = [(); 2].map(|()| Certificate::generate().unwrap());
    [(0, Role::Client), (1, Role::Server)].map(|(end, role)| {
        let expected = vec![certificates[1 - end].fingerprint()];
        let config = Config::new(role, certificates[end].clone(), expected, Seed::from(end as u64));
        Endpoint::new(Time::ZERO, Config { versions, ..config }).unwrap()
    })
}

/// Lets both shake hands, where `traitor` changes a message. Returns whether it did, and what came of it for the other.
fn shake(versions: Versions, traitor: usize, kind: u8, change: fn(&mut Vec<u8>)) -> (bool, Vec<Event>) {
    let mut ends = ends(versions);
    let mut lied = false;
    let mut delivered = false;
    for _ in 0..10 {
        for from in [0, 1] {
            let mut sink: Vec<Vec<u8>> = Vec::new();
            if from == traitor && !lied {
                lied = ends[from].outgoing.flight.tamper(kind, change);
            }
            ends[from].poll_transmit(Time::ZERO, &mut sink);
            if from == traitor {
                ends[from].lane(&mut sink).send_bytes((), b"believe me");
            }
            for mut datagram in sink {
                ends[1 - from].open(Time::ZERO, &mut datagram, &mut |_| delivered |= from == traitor);
            }
        }
    }
    let victim = &mut ends[1 - traitor];
    assert_eq!(delivered, victim.is_connected());
    let suspicion = victim.suspicion.take().map(|suspicion| Event::Failed(suspicion.error));
    (lied, std::iter::from_fn(|| victim.poll_event()).chain(suspicion).collect())
}

#[test]
fn whoever_lies_is_not_believed() {
    let flip: fn(&mut Vec<u8>) = |body| *body.last_mut().unwrap() ^= 1;
    let stop: fn(&mut Vec<u8>) = |body| body.truncate(body.len() - 1);
    let empty: fn(&mut Vec<u8>) = |body| body.clear();
    let cases = [
        (Versions::Dtls13, 0, &[CERTIFICATE, CERTIFICATE_VERIFY, FINISHED][..]),
        (
            Versions::Dtls13,
            1,
            &[ENCRYPTED_EXTENSIONS, CERTIFICATE_REQUEST, CERTIFICATE, CERTIFICATE_VERIFY, FINISHED],
        ),
        (Versions::Dtls12, 0, &[CERTIFICATE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED]),
        (Versions::Dtls12, 1, &[CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, FINISHED]),
    ];
    for (versions, traitor, kinds) in cases {
        for &kind in kinds {
            for change in [flip, stop, empty] {
                let (lied, events) = shake(versions, traitor, kind, change);
                assert!(lied, "{versions:?} {traitor} {kind}");
                let is_noticed = match &events[..] {
                    // With another key nothing that follows can be read.
                    [] => kind == CLIENT_KEY_EXCHANGE,
                    [Event::Failed(DtlsError::FingerprintMismatch { .. })] => kind == CERTIFICATE,
                    [Event::Failed(DtlsError::Handshake(_))] => true,
                    _ => false,
                };
                assert!(is_noticed, "{versions:?} {traitor} {kind}: {events:?}");
            }
        }
    }
    let (_, events) = shake(Versions::Dtls13, 0, 255, empty);
    assert!(matches!(events[..], [Event::Connected(_)]), "without a lie: {events:?}");
}

#[test]
fn whoever_shows_no_certificate_is_not_let_in() {
    let none_13: fn(&mut Vec<u8>) = |body| *body = vec![0, 0, 0, 0];
    let none_12: fn(&mut Vec<u8>) = |body| *body = vec![0, 0, 0];
    for (versions, none) in [(Versions::Dtls13, none_13), (Versions::Dtls12, none_12)] {
        for traitor in [0, 1] {
            let (lied, events) = shake(versions, traitor, CERTIFICATE, none);
            assert!(lied);
            assert!(matches!(events[..], [Event::Failed(DtlsError::Handshake(_))]), "{events:?}");
        }
    }
}

#[test]
fn a_share_of_a_key_that_is_none_is_refused() {
    // The point that any key agrees with on the same.
    let (lied, events) = shake(Versions::Dtls12, 0, CLIENT_KEY_EXCHANGE, |body| body[1..].fill(0));
    assert!(lied);
    assert!(matches!(events[..], [Event::Failed(DtlsError::Handshake(_))]), "{events:?}");
}
