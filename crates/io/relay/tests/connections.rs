//! TCP allocations (RFC 6062) on real sockets: what goes in at one end comes out at the other, all of it, and as it was.

mod rig;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rig::{PATIENCE, Server, loopback, machine, tls_config};
use sansio::Transport;
use sterna_relay::{RelayConfig, Rules};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout, timeout_at};
use turn::{ClientEvent, Quotas};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    timeout(PATIENCE, listener.accept()).await.expect("somebody connects").unwrap()
}

async fn ended(stream: &mut TcpStream) {
    let mut buffer = [0; 16];
    let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it ends");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// Bytes that tell where they stand.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect()
}

#[tokio::test]
async fn a_client_connects_to_a_peer_and_what_the_peer_said_before_is_not_lost() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let server = Server::start(true);
        let (listener, address) = listener().await;
        let mut client = server.stream_client(transport).await;
        let relayed = client.allocated().await;
        let talking = tokio::spawn(async move {
            let (mut peer, from) = accept(&listener).await;
            // Before the client can have joined.
            peer.write_all(b"hello, who is it?").await.unwrap();
            (peer, from)
        });
        let mut data = client.connect(&server, address).await.unwrap();
        let (mut peer, from) = talking.await.unwrap();
        assert_eq!(from, relayed, "it comes from the relayed address");
        assert_eq!(data.read(17).await, b"hello, who is it?");
        // Nothing is framed: not even what looks like a message.
        let like_a_message = [&[0, 0x0b, 0xff, 0xff][..], &[0x21, 0x12, 0xa4, 0x42], &[7; 100]].concat();
        data.stream.write_all(&like_a_message).await.unwrap();
        let mut buffer = vec![0; like_a_message.len()];
        timeout(PATIENCE, peer.read_exact(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(buffer, like_a_message);
        server.stop().await;
    }
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once_past_a_reader_that_dawdles_and_none_is_lost() {
    const LENGTH: usize = 4 << 20;
    let server = Server::start(true);
    let (listener, address) = listener().await;
    let mut client = server.stream_client(Transport::Tcp).await;
    client.allocated().await;
    let data = client.connect(&server, address).await.unwrap();
    let (peer, _) = accept(&listener).await;
    let (mut peer_in, mut peer_out) = peer.into_split();
    let sending = tokio::spawn(async move {
        peer_out.write_all(&pattern(LENGTH)).await.unwrap();
        peer_out
    });
    let receiving = tokio::spawn(async move {
        // Long enough for all buffers between to be full.
        sleep(Duration::from_millis(300)).await;
        let mut bytes = vec![0; LENGTH];
        timeout(PATIENCE, peer_in.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    });
    assert!(data.head.is_empty());
    let (mut from, mut to) = tokio::io::split(data.stream);
    let upward = tokio::spawn(async move {
        to.write_all(&pattern(LENGTH)).await.unwrap();
        to
    });
    sleep(Duration::from_millis(300)).await;
    let mut bytes = vec![0; LENGTH];
    timeout(PATIENCE, from.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes == pattern(LENGTH), "what came to the client differs");
    assert!(receiving.await.unwrap() == pattern(LENGTH), "what came to the peer differs");
    drop((sending.await.unwrap(), upward.await.unwrap()));
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_before_the_end_arrives_before_the_end() {
    let server = Server::start(true);
    let (listener, address) = listener().await;
    let mut client = server.stream_client(Transport::Tls).await;
    client.allocated().await;
    let mut data = client.connect(&server, address).await.unwrap();
    let (mut peer, _) = accept(&listener).await;
    data.stream.write_all(&pattern(100_000)).await.unwrap();
    data.stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut all)).await.unwrap().unwrap();
    assert!(all == pattern(100_000));
    peer.write_all(b"thanks").await.unwrap();
    drop(peer);
    assert_eq!(data.read(6).await, b"thanks");
    data.ended().await;
    // There may be another connection to the same peer now.
    let mut again = client.connect(&server, address).await.unwrap();
    let (mut peer, _) = accept(&listener).await;
    peer.write_all(b"again").await.unwrap();
    assert_eq!(again.read(5).await, b"again");
    drop(again);
    ended(&mut peer).await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_with_a_permission_connects_and_one_without_is_shut_out() {
    let server = Server::start(true);
    let mut client = server.stream_client(Transport::Tcp).await;
    let relayed = client.allocated().await;
    let mut stranger = TcpStream::connect(relayed).await.unwrap();
    ended(&mut stranger).await;
    client.permit_without_channel(loopback()).await;
    let mut peer = TcpStream::connect(relayed).await.unwrap();
    peer.write_all(b"early").await.unwrap();
    let ClientEvent::PeerConnecting { peer: from, connection } = client.event().await else { panic!() };
    assert_eq!(from, peer.local_addr().unwrap());
    let mut data = client.join(&server, connection).await;
    assert_eq!(data.read(5).await, b"early");
    data.stream.write_all(b"late").await.unwrap();
    let mut buffer = [0; 4];
    timeout(PATIENCE, peer.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer, b"late");
    client.close().await;
    data.ended().await;
    ended(&mut peer).await;
    server.stop().await;
}

#[tokio::test]
async fn two_clients_of_one_server_reach_each_other() {
    let server = Server::start(false);
    let mut alice = server.stream_client(Transport::Tcp).await;
    let mut bob = server.stream_client(Transport::Tcp).await;
    let (at_alice, at_bob) = (alice.allocated().await, bob.allocated().await);
    bob.permit_without_channel(at_alice).await;
    let mut from_alice = alice.connect(&server, at_bob).await.unwrap();
    let ClientEvent::PeerConnecting { peer, connection } = bob.event().await else { panic!() };
    assert_eq!(peer, at_alice);
    let mut at_bobs = bob.join(&server, connection).await;
    from_alice.stream.write_all(b"hello, bob").await.unwrap();
    assert_eq!(at_bobs.read(10).await, b"hello, bob");
    at_bobs.stream.write_all(b"hello, alice").await.unwrap();
    assert_eq!(from_alice.read(12).await, b"hello, alice");
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_listen_is_447_and_one_that_is_denied_403() {
    let server = Server::start(true);
    let mut client = server.stream_client(Transport::Tcp).await;
    client.allocated().await;
    let (gone, address) = listener().await;
    drop(gone);
    assert_eq!(client.connect(&server, address).await.err(), Some(Some(447)));
    assert_eq!(client.connect(&server, "127.0.0.9:80".parse().unwrap()).await.err(), Some(Some(403)));
    server.stop().await;
}

/// A server where each user may have so many bytes a second.
fn with_bandwidth(rate: u64) -> Server {
    let mut machine = machine(true);
    machine.quotas = limit(Some(rate));
    let listening = "127.0.0.3:0".parse().unwrap();
    let (certificate, tls) = tls_config();
    let config = RelayConfig {
        udp: vec![listening],
        tcp: vec![listening],
        tls: vec![(listening, tls)],
        ..RelayConfig::new(machine)
    };
    Server::run(config, certificate)
}

fn limit(rate: Option<u64>) -> Quotas {
    Quotas { bandwidth_per_user: rate, ..Quotas::default() }
}

#[tokio::test]
async fn connections_go_no_faster_than_their_user_may() {
    let server = with_bandwidth(1_000_000);
    let (listener, address) = listener().await;
    let mut client = server.stream_client(Transport::Tcp).await;
    client.allocated().await;
    let mut data = client.connect(&server, address).await.unwrap();
    let (mut peer, _) = accept(&listener).await;
    let start = Instant::now();
    let sending =
        tokio::spawn(async move { data.stream.write_all(&pattern(1_000_000)).await.map(|()| data) });
    let mut bytes = vec![0; 1_000_000];
    timeout(PATIENCE, peer.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    assert!(bytes == pattern(1_000_000));
    drop(sending.await.unwrap());
    server.stop().await;
}

#[tokio::test]
async fn a_reload_changes_how_fast_a_running_connection_goes() {
    const MEGABYTE: usize = 1_000_000;
    let server = with_bandwidth(MEGABYTE as u64);
    let (listener, address) = listener().await;
    let mut client = server.stream_client(Transport::Tcp).await;
    client.allocated().await;
    let mut data = client.connect(&server, address).await.unwrap();
    let (mut peer, _) = accept(&listener).await;
    let sending = tokio::spawn(async move { while data.stream.write_all(&[7; 10_000]).await.is_ok() {} });
    let mut bytes = vec![0; 30 * MEGABYTE];
    // How much, and how long it may take: by the rate before, it would take longer (or less).
    for (rate, megabytes, seconds) in [
        (None, 1, 0.7..2.5),
        (Some(Some(4 * MEGABYTE as u64)), 6, 1.0..4.0),
        (Some(None), 30, 0.0..5.0),
        (Some(Some(MEGABYTE as u64)), 2, 1.2..5.0),
    ] {
        if let Some(rate) = rate {
            let rules = machine(true);
            let (auth, policy, quotas) = (rules.auth, rules.policy, limit(rate));
            server.handle.apply(Rules { auth, policy, quotas, others: Vec::new() }).await.unwrap();
        }
        // What was under way before goes first.
        let settled = Instant::now() + Duration::from_millis(300);
        while timeout_at(settled.into(), peer.read(&mut bytes)).await.is_ok_and(|read| read.unwrap() > 0) {}
        let begun = Instant::now();
        timeout(PATIENCE, peer.read_exact(&mut bytes[..megabytes * MEGABYTE])).await.unwrap().unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert!(seconds.contains(&took), "{megabytes} MB at {rate:?} took {took} s");
    }
    drop(peer);
    sending.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_and_connections_of_a_user_have_no_more_together() {
    const RATE: u64 = 1_000_000;
    let server = with_bandwidth(RATE);
    let (listener, address) = listener().await;
    let mut client = server.stream_client(Transport::Tcp).await;
    client.allocated().await;
    let mut data = client.connect(&server, address).await.unwrap();
    let (mut peer, _) = accept(&listener).await;
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while peer.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
    let mut beside = server.client(Transport::Udp).await;
    beside.allocated().await;
    let datagrams = rig::peer().await;
    let to = datagrams.local_addr().unwrap();
    beside.permit(to).await.unwrap();
    let begun = Instant::now();
    let by_stream = tokio::spawn(async move { while data.stream.write_all(&[7; 10_000]).await.is_ok() {} });
    // Twice what may go, by datagrams alone.
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut buffer = [0; 2000];
    let mut by_datagram = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        ticks.tick().await;
        beside.send(to, &[7; 1000]).await;
        beside.send(to, &[7; 1000]).await;
        while let Ok((length, _)) = datagrams.try_recv_from(&mut buffer) {
            by_datagram += length as u64;
        }
    }
    // Streams are counted once a second.
    sleep(Duration::from_millis(1100)).await;
    let (took, counters) = (begun.elapsed(), server.handle.status().await.unwrap().counters);
    let most = (RATE as f64 * (took.as_secs_f64() + 0.25)) as u64;
    assert!(counters.bytes_to_peers <= most, "{} of {most} in {took:?}", counters.bytes_to_peers);
    // Both got something.
    assert!(by_datagram > RATE / 10 && counters.bytes_to_peers > by_datagram + RATE / 10, "{by_datagram}");
    by_stream.abort();
    server.stop().await;
    reading.abort();
}
