//! Machines that get any bytes from strangers.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, Seed, SocketOp, SocketReply, Time};

use crate::datagrams::datagrams;

/// NAT discovery whose servers say anything, if only as answers to what they were asked: it comes to an end.
pub(crate) fn discovery(data: &[u8]) {
    let servers = [5, 6].map(|last| SocketAddr::from(([5, 5, 5, last], 3478))).to_vec();
    let config = stun::discovery::Config::new([10, 0, 0, 2].into(), servers, Seed::from(1));
    let mut discovery = stun::discovery::Discovery::new(Time::ZERO, config);
    let lies: Vec<_> = datagrams(data).collect();
    let mut lies = lies.iter().cycle();
    let (mut now, mut port) = (Time::ZERO, 40_000);
    for _ in 0..3000 {
        while let Some(op) = discovery.poll_socket() {
            let SocketOp::Bind { ticket, local } = op else { continue };
            port += 1;
            discovery.handle_socket(now, SocketReply::Bound { ticket, local: (local.ip(), port).into() });
        }
        let mut out = Batches::new(1 << 20);
        discovery.poll_transmit(now, &mut out);
        while let Some(batch) = out.pop() {
            for request in batch.datagrams() {
                let Some(mut lie) = lies.next().cloned() else { continue };
                if let (Some(id), Some(asked)) = (lie.get_mut(4..20), request.get(4..20)) {
                    id.copy_from_slice(asked);
                }
                let datagram = Datagram { from: batch.path, payload: &mut lie };
                discovery.handle_datagram(now, datagram, &mut Batches::new(1 << 20));
            }
        }
        while discovery.poll_event().is_some() {}
        if discovery.is_finished() {
            let _ = discovery.report();
            return;
        }
        let Some(next) = discovery.poll_timeout() else { continue };
        now = next.max(now);
        discovery.handle_timeout(now);
    }
    panic!("it does not come to an end");
}

/// An SCTP association that is set up, and then hears anything.
pub(crate) fn sctp(data: &[u8]) {
    let mut association =
        sctp::Association::new(Time::ZERO, sctp::Config::new(sctp::Role::Server, Seed::from(1)));
    let mut now = Time::ZERO;
    for packet in datagrams(data) {
        association.handle_packet(now, &packet);
        let mut out = Lane(Batches::new(1 << 20));
        association.poll_transmit(now, &mut out);
        while association.poll_event().is_some() {}
        now += Duration::from_millis(10);
        association.handle_timeout(now);
    }
}

/// An SCTP association that is up, with a channel and data under way, and hears any chunks: each packet gets a header that
/// is right. The first byte decides whether messages are mixed.
pub(crate) fn sctp_chunks(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let config = |role, seed| sctp::Config {
        interleaving: first & 1 != 0,
        ..sctp::Config::new(role, Seed::from(seed))
    };
    let (ours, theirs) = (config(sctp::Role::Server, 1), config(sctp::Role::Client, 2));
    let tag: [u8; 4] = ours.init()[4..8].try_into().expect("an INIT begins with a tag");
    let mut association =
        sctp::Association::agreed(Time::ZERO, ours, &theirs.init()).expect("our own INIT is one");
    let id = association
        .open_channel(Time::ZERO, sctp::ChannelConfig::default())
        .expect("the first channel opens");
    let mut now = Time::ZERO;
    for chunks in datagrams(data) {
        let _ = association.send(now, id, sctp::MessageKind::Binary, &chunks);
        // Both ports are 5000, and there is no checksum.
        let packet = [&[0x13, 0x88, 0x13, 0x88][..], &tag, &[0; 4], &chunks].concat();
        association.handle_packet(now, &packet);
        let mut out = Lane(Batches::new(1 << 20));
        association.poll_transmit(now, &mut out);
        assert!(out.0.used() < 200_000, "{} bytes at once", out.0.used());
        while association.poll_event().is_some() {}
        now += Duration::from_millis(10);
        association.handle_timeout(now);
        assert!(association.poll_timeout().is_none_or(|at| at > now), "time moves forward");
    }
}

/// An outbox for machines that have no addresses.
pub(crate) struct Lane(pub(crate) Batches);

impl sansio::Outbox<()> for Lane {
    fn room(&self) -> usize {
        self.0.room()
    }
    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.0.send(Path::udp(([5, 5, 5, 5], 1).into(), ([5, 5, 5, 6], 1).into()), max, fill)
    }
}

static CERTIFICATE: LazyLock<crypto::Certificate> =
    LazyLock::new(|| crypto::Certificate::generate().expect("a certificate can be made"));

fn dtls_end(role: dtls::Role) -> dtls::Endpoint {
    let certificate = CERTIFICATE.clone();
    let fingerprints = vec![certificate.fingerprint()];
    let config = dtls::Config::new(role, certificate, fingerprints, Seed::from(1));
    dtls::Endpoint::new(Time::ZERO, config).expect("the settings are sound")
}

/// A DTLS end that hears anything before it knows anybody: it delivers nothing, and says no more than is bounded.
fn dtls_stranger(role: dtls::Role, data: &[u8]) {
    let mut endpoint = dtls_end(role);
    let mut now = Time::ZERO;
    for mut datagram in datagrams(data) {
        let mut out = Lane(Batches::new(1 << 20));
        endpoint.poll_transmit(now, &mut out);
        assert!(out.0.used() <= 16 << 10, "{} bytes at once", out.0.used());
        endpoint.open(now, &mut datagram, &mut |_| panic!("nobody has shaken hands"));
        while endpoint.poll_event().is_some() {}
        now += Duration::from_millis(10);
        endpoint.handle_timeout(now);
        assert!(endpoint.poll_timeout().is_none_or(|at| at > now));
    }
    assert!(!endpoint.is_connected());
}

/// A DTLS server that hears anything.
pub(crate) fn dtls(data: &[u8]) {
    dtls_stranger(dtls::Role::Server, data);
}

/// A DTLS client that hears anything.
pub(crate) fn dtls_client(data: &[u8]) {
    dtls_stranger(dtls::Role::Client, data);
}

/// The door of a relay that speaks DTLS: nobody leaves anything behind, or gets more than he sent, before he has brought
/// back the cookie that he was sent. Who has begins a handshake, and then says anything.
pub(crate) fn dtls_door(data: &[u8]) {
    let server = dtls::Server::new(dtls::ServerConfig::new(CERTIFICATE.clone(), Seed::from(1)));
    let server = server.expect("the settings are sound");
    let mut now = Time::ZERO;
    let mut session: Option<dtls::Endpoint> = None;
    for mut datagram in datagrams(data) {
        let verdict = match server.examine(now, b"192.0.2.1:9", &datagram) {
            dtls::Verdict::Challenge(challenge) => {
                assert!(
                    challenge.len() <= datagram.len(),
                    "{} bytes for {}",
                    challenge.len(),
                    datagram.len()
                );
                let cookie = &challenge[dtls::CHALLENGE_BYTES - 32..];
                let Some(hello) = with_cookie(&datagram, cookie) else { continue };
                assert!(
                    !matches!(server.examine(now, b"192.0.2.2:9", &hello), dtls::Verdict::Proven(_)),
                    "a cookie is good for one source alone"
                );
                server.examine(now, b"192.0.2.1:9", &hello)
            }
            other => other,
        };
        if let dtls::Verdict::Proven(hello) = verdict {
            session = server.welcome(now, &hello, Seed::from(2)).or(session);
        } else if let Some(endpoint) = &mut session {
            endpoint.open(now, &mut datagram, &mut |_| panic!("nobody has shaken hands"));
        }
        now += Duration::from_millis(100);
        let Some(endpoint) = &mut session else { continue };
        let mut out = Lane(Batches::new(1 << 20));
        endpoint.poll_transmit(now, &mut out);
        assert!(out.0.used() <= 16 << 10, "{} bytes at once", out.0.used());
        while endpoint.poll_event().is_some() {}
        endpoint.handle_timeout(now);
        assert!(endpoint.poll_timeout().is_none_or(|at| at > now));
        assert!(!endpoint.is_connected());
    }
}

/// The hello in `datagram` with this cookie: what stands behind the session's name.
fn with_cookie(datagram: &[u8], cookie: &[u8]) -> Option<Vec<u8>> {
    let at = 60 + usize::from(*datagram.get(59)?);
    let rest = at + 1 + usize::from(*datagram.get(at)?);
    let mut hello = [datagram.get(..at)?, &[cookie.len() as u8], cookie, datagram.get(rest..)?].concat();
    let length = (hello.len() - 25) as u32;
    hello[11..13].copy_from_slice(&(length as u16 + 12).to_be_bytes());
    for at in [14, 22] {
        hello[at..at + 3].copy_from_slice(&length.to_be_bytes()[1..]);
    }
    Some(hello)
}

/// A DTLS association that is up, and then hears anything between what the peer says: it delivers just that. The first byte
/// tells the version and who hears.
pub(crate) fn dtls_records(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let versions = if first & 1 == 0 { dtls::Versions::Dtls13 } else { dtls::Versions::Dtls12 };
    let mut ends = [dtls::Role::Client, dtls::Role::Server].map(|role| {
        let certificate = CERTIFICATE.clone();
        let fingerprints = vec![certificate.fingerprint()];
        let config = dtls::Config::new(role, certificate, fingerprints, Seed::from(u64::from(first)));
        dtls::Endpoint::new(Time::ZERO, dtls::Config { versions, ..config }).expect("the settings are sound")
    });
    for turn in 0..8 {
        let mut out = Lane(Batches::new(1 << 20));
        ends[turn % 2].poll_transmit(Time::ZERO, &mut out);
        while let Some(mut batch) = out.0.pop() {
            for datagram in batch.bytes.chunks_mut(batch.segment) {
                ends[1 - turn % 2].open(Time::ZERO, datagram, &mut |_| panic!("nothing was said"));
            }
        }
    }
    let [client, server] = &mut ends;
    let (speaker, listener) = if first & 2 == 0 { (client, server) } else { (server, client) };
    assert!(speaker.is_connected() && listener.is_connected());
    let mut now = Time::ZERO;
    for (number, mut lie) in datagrams(data).enumerate() {
        let said = (number as u32).to_be_bytes();
        let mut out = Lane(Batches::new(1 << 20));
        assert!(sansio::Outbox::send_bytes(&mut speaker.lane(&mut out), (), &said));
        let mut heard = Vec::new();
        listener.open(now, &mut lie, &mut |plain| heard.push(plain.to_vec()));
        while let Some(mut batch) = out.0.pop() {
            listener.open(now, &mut batch.bytes, &mut |plain| heard.push(plain.to_vec()));
        }
        assert_eq!(heard, [said], "the peer's words, and nobody else's");
        listener.poll_transmit(now, &mut Lane(Batches::new(1 << 20)));
        now += Duration::from_millis(10);
        listener.handle_timeout(now);
    }
    assert!(listener.is_connected(), "nobody else can end it");
}

/// Whatever description the other side sends, the answer to it can be read.
pub(crate) fn description(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for media in [false, true] {
        let mut configuration = peer::Configuration::new(Seed::from(1), CERTIFICATE.clone());
        configuration.media = media.then(Box::default);
        let mut connection = peer::Connection::new(Time::ZERO, configuration);
        if media {
            connection
                .add_track(Time::ZERO, peer::MediaKind::Video, vec!["s".into()])
                .expect("there is room");
        }
        let offer = peer::SessionDescription::offer(text);
        if connection.set_remote_description(Time::ZERO, offer).is_err() {
            continue;
        }
        if let Ok(answer) = connection.create_answer(Time::ZERO) {
            sdp::Session::parse(&answer.sdp).expect("what we print we can read");
            connection.set_local_description(Time::ZERO, Some(answer)).expect("our own answer is sound");
            for terms in connection.terms() {
                assert!(!terms.formats.is_empty() && terms.formats.len() == terms.expected.len());
                check_media(&connection, &terms.mid);
            }
            let next = connection.create_offer(Time::ZERO, peer::OfferOptions::default());
            let next = next.expect("nothing is in negotiation");
            sdp::Session::parse(&next.sdp).expect("what we print we can read");
        }
    }
}

/// What we say of media that is taken does not contradict itself.
fn check_media(connection: &peer::Connection, mid: &str) {
    let local = connection.local_description().expect("it was applied");
    let session = sdp::Session::parse(&local.sdp).expect("what we print we can read");
    let Some(index) = session.index_of(mid) else { return };
    session.section(index).expect("it is there").rtp().expect("it makes sense");
}
