//! A TURN server that gets any bytes: from strangers, from the address of a client, from peers.

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, Seed, SocketOp, SocketReply, Time};

use crate::datagrams::datagrams;

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
