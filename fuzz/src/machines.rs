//! Machines that get any bytes from strangers.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, Seed, SocketOp, SocketReply, Time};

/// The datagrams in `data`: each with its length, in two bytes, in front.
fn datagrams(data: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, body) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(body.len());
        let (datagram, left) = body.split_at(length);
        rest = left;
        Some(datagram.to_vec())
    })
}

/// A TURN server answers strangers with little.
pub(crate) fn turn_server(data: &[u8]) {
    let listen: SocketAddr = ([5, 5, 5, 5], 3478).into();
    let auth = turn::Auth::shared_secret("b7c1e0b1b7a94bd29ab1").expect("the secret is long enough");
    let config = turn::ServerConfig::new("fuzz", listen.ip(), auth, Seed::from(1));
    let mut server = turn::Server::new(config).expect("the settings are sound");
    let mut now = Time::ZERO;
    for (number, mut datagram) in datagrams(data).enumerate() {
        let from = Path::udp(listen, ([5, 5, 9, (number % 3) as u8], 4000).into());
        let mut out = Batches::new(1 << 20);
        let length = datagram.len();
        server.handle_datagram(now, Datagram { from, payload: &mut datagram }, &mut out);
        server.poll_transmit(now, &mut out);
        while let Some(SocketOp::Bind { ticket, local }) = server.poll_socket() {
            server.handle_socket(now, SocketReply::Bound { ticket, local });
        }
        while server.poll_event().is_some() {}
        assert!(out.used() <= 4 * length, "{} bytes for {length}", out.used());
        now += Duration::from_millis(10);
        server.handle_timeout(now);
        assert!(server.poll_timeout().is_none_or(|at| at > now));
    }
    assert_eq!(server.allocations(), 0, "nobody has the secret");
}

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

/// A TURN server with one client, who has a channel and a permission; and that client.
fn relaying() -> (turn::Server, turn::Client, Path, SocketAddr) {
    let listen: SocketAddr = ([5, 5, 5, 5], 3478).into();
    let mut config =
        turn::ServerConfig::new("fuzz", listen.ip(), turn::Auth::user("a", "a password"), Seed::from(1));
    config.listening = vec![listen];
    let mut server = turn::Server::new(config).expect("the settings are sound");
    let path = Path::udp(([5, 5, 9, 9], 4000).into(), listen);
    let credentials = turn::Credentials { username: "a".into(), password: "a password".into() };
    let mut config = turn::ClientConfig::new(path, credentials, Seed::from(2));
    config.mobility = true;
    let mut client = turn::Client::new(Time::ZERO, config);
    client.permit(Time::ZERO, PEER.into());
    let mut out = Batches::new(1 << 20);
    for _ in 0..8 {
        client.poll_transmit(Time::ZERO, &mut out);
        while let Some(mut batch) = out.pop() {
            let from = batch.path.reversed();
            if from.remote == listen {
                client.open(Time::ZERO, &mut batch.bytes, &mut |_, _| {});
            } else {
                server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut batch.bytes }, &mut out);
            }
        }
        while let Some(SocketOp::Bind { ticket, local }) = server.poll_socket() {
            server.handle_socket(Time::ZERO, SocketReply::Bound { ticket, local });
        }
        server.poll_transmit(Time::ZERO, &mut out);
    }
    let relayed = client.relayed().expect("the password is right");
    (server, client, path.reversed(), relayed)
}

const PEER: ([u8; 4], u16) = ([6, 6, 6, 6], 4000);

/// A TURN server hears anything from the address of a client who has an allocation: it gives him no other.
pub(crate) fn turn_client(data: &[u8]) {
    let (mut server, _, client, _) = relaying();
    let mut now = Time::ZERO;
    for mut datagram in datagrams(data) {
        let mut out = Batches::new(1 << 20);
        let length = datagram.len();
        server.handle_datagram(now, Datagram { from: client, payload: &mut datagram }, &mut out);
        server.poll_transmit(now, &mut out);
        while server.poll_event().is_some() {}
        assert!(out.used() <= 4 * length, "{} bytes for {length}", out.used());
        now += Duration::from_millis(10);
        server.handle_timeout(now);
        assert!(server.poll_socket().is_none(), "nothing that is not signed opens or closes a socket");
    }
    assert_eq!(server.allocations(), 1, "nothing that is not signed ends an allocation");
}

/// A TURN server hears anything from peers: its client gets what permitted ones sent, unchanged, and nothing else.
pub(crate) fn turn_peer(data: &[u8]) {
    let (mut server, mut client, _, relayed) = relaying();
    for (number, mut datagram) in datagrams(data).enumerate() {
        let permitted = number % 2 == 0;
        let peer = if permitted { PEER } else { ([6, 6, 6, 7], 4000) };
        let from = Path::udp(relayed, peer.into());
        let (sent, mut heard) = (datagram.clone(), Vec::new());
        let mut out = Batches::new(1 << 20);
        server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut datagram }, &mut out);
        while let Some(mut batch) = out.pop() {
            client.open(Time::ZERO, &mut batch.bytes, &mut |_, data| heard.push(data.to_vec()));
        }
        assert_eq!(heard, if permitted { vec![sent] } else { Vec::new() });
    }
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
