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
    let mut association = sctp::Association::new(Time::ZERO, sctp::Config::new(sctp::Role::Server, Seed::from(1)));
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

/// A DTLS server that hears anything: it delivers nothing.
pub(crate) fn dtls(data: &[u8]) {
    let certificate = CERTIFICATE.clone();
    let fingerprints = vec![certificate.fingerprint()];
    let config = dtls::Config::new(dtls::Role::Server, certificate, fingerprints, Seed::from(1));
    let Ok(mut endpoint) = dtls::Endpoint::new(Time::ZERO, config) else { return };
    let mut now = Time::ZERO;
    for mut datagram in datagrams(data) {
        endpoint.open(now, &mut datagram, &mut |_| panic!("nobody has shaken hands"));
        endpoint.poll_transmit(now, &mut Lane(Batches::new(1 << 20)));
        while endpoint.poll_event().is_some() {}
        now += Duration::from_millis(10);
        endpoint.handle_timeout(now);
    }
}

/// Whatever description the other side sends, the answer to it can be read.
pub(crate) fn description(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut connection = peer::Connection::new(Time::ZERO, peer::Configuration::new(Seed::from(1), CERTIFICATE.clone()));
    let offer = peer::SessionDescription::offer(text);
    if connection.set_remote_description(Time::ZERO, offer).is_err() {
        return;
    }
    if let Ok(answer) = connection.create_answer(Time::ZERO) {
        sdp::Session::parse(&answer.sdp).expect("what we print we can read");
        connection.set_local_description(Time::ZERO, Some(answer)).expect("our own answer is sound");
    }
}
