//! What those do who mean no good, or do nothing: limits, garbage, silence.

mod rig;

use std::time::Duration;

use rig::*;
use sansio::Transport;
use sterna_relay::{Limits, Loss};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const STREAMS: [Transport; 2] = [Transport::Tcp, Transport::Tls];

/// Reads until the other side closes, and returns what came.
async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection may end by a reset as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    bytes
}

async fn assert_alive(server: &Server) {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls] {
        server.client(transport).await.allocated().await;
    }
}

#[tokio::test]
async fn garbage_on_every_port_is_harmless_and_unanswered() {
    let server = Server::start(true);
    let http = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec();
    // A good header whose length promises more than follows, or whose attribute does.
    let mut lying = vec![0, 1, 0, 8, 0x21, 0x12, 0xA4, 0x42];
    lying.extend([7; 12]);
    lying.extend([0, 6, 0xFF, 0xFF, 0, 0, 0, 0]);
    let garbage =
        [http, lying, vec![], vec![0xFF; 1400], vec![0x40, 0x00, 0xFF, 0xFF, 1], vec![0x16, 3, 1, 2, 0, 1]];

    let udp = UdpSocket::bind(loopback()).await.unwrap();
    for bytes in &garbage {
        udp.send_to(bytes, server.address(Transport::Udp)).await.unwrap();
    }
    for bytes in &garbage {
        for transport in STREAMS {
            // Raw bytes, also on the TLS port.
            let mut tcp = tokio::net::TcpStream::connect(server.address(transport)).await.unwrap();
            tcp.write_all(bytes).await.unwrap();
            tcp.shutdown().await.unwrap();
            let answer = read_to_end(&mut tcp).await;
            assert!(transport == Transport::Tls || answer.is_empty(), "{bytes:?} was answered");
        }
        let (_, mut tls) = server.connect(Transport::Tls).await;
        tls.write_all(bytes).await.unwrap();
        let _ = tls.shutdown().await;
        assert!(read_to_end(&mut tls).await.is_empty());
    }
    assert_alive(&server).await;
    let mut buffer = [0; 100];
    assert!(udp.try_recv(&mut buffer).is_err(), "no answer to garbage");
}

#[tokio::test]
async fn another_protocol_on_a_stream_is_shown_the_door_at_once() {
    let server = Server::start(true);
    for transport in STREAMS {
        let (_, mut stream) = server.connect(transport).await;
        // SSH; the connection is not closed by us.
        stream.write_all(b"\xFFSSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        assert!(read_to_end(&mut stream).await.is_empty());
    }
}

#[tokio::test]
async fn one_source_has_its_share_of_connections() {
    let limits = Limits { connections_per_source: 2, ..Limits::default() };
    let server = Server::with_limits(true, limits);
    let mut first = server.client(Transport::Tcp).await;
    first.allocated().await;
    let mut second = server.client(Transport::Tls).await;
    second.allocated().await;
    let mut third = tokio::net::TcpStream::connect(server.address(Transport::Tcp)).await.unwrap();
    assert!(read_to_end(&mut third).await.is_empty());
    // Who leaves makes room. The server notices in its own time.
    drop(first);
    let admitted = async {
        loop {
            let (_, mut stream) = server.connect(Transport::Tcp).await;
            let mut byte = [0];
            if timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, admitted).await.expect("there is room again");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = Server::with_limits(true, limits);
    for transport in STREAMS {
        let mut silent = tokio::net::TcpStream::connect(server.address(transport)).await.unwrap();
        assert!(read_to_end(&mut silent).await.is_empty(), "{transport} before any handshake");
        let (_, mut silent) = server.connect(transport).await;
        assert!(read_to_end(&mut silent).await.is_empty(), "{transport} after it");
        let (_, mut slow) = server.connect(transport).await;
        slow.write_all(&[0, 1, 0]).await.unwrap();
        assert!(read_to_end(&mut slow).await.is_empty(), "{transport} in the middle of a message");
    }
}

#[tokio::test]
async fn an_allocation_may_be_silent_and_an_idle_stranger_may_not() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with_limits(true, limits);
    let mut client = server.client(Transport::Tcp).await;
    let relayed = client.allocated().await;
    let peer = peer().await;
    client.permit(peer.local_addr().unwrap()).await.unwrap();

    // A Binding request makes nobody known; its sender is sent away after the idle time.
    let (_, mut stranger) = server.connect(Transport::Tcp).await;
    let mut request = [0; 20];
    let id = stun::TransactionId([1; 12]);
    stun::MessageWriter::new(&mut request, stun::Class::Request, stun::Method::BINDING, id).finish().unwrap();
    stranger.write_all(&request).await.unwrap();
    let answer = read_to_end(&mut stranger).await;
    assert!(stun::Message::parse(&answer).unwrap().xor_mapped_address().is_some());

    // Meanwhile more than the idle time has passed for the client as well.
    peer.send_to(b"still there?", relayed).await.unwrap();
    assert_eq!(client.recv().await.1, b"still there?");
}

#[tokio::test]
async fn strangers_may_not_send_long_messages() {
    let server = Server::start(true);
    let (_, mut stream) = server.connect(Transport::Tcp).await;
    stream.write_all(&[0x40, 0x00, 0xFF, 0xFF]).await.unwrap();
    assert!(read_to_end(&mut stream).await.is_empty());
}

/// A client that does not read loses datagrams. It costs the server a bounded queue, and others nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_loses_datagrams_and_keeps_nobody_waiting() {
    let limits = Limits { queue: 64 * 1024, ..Limits::default() };
    let server = Server::with_limits(true, limits);
    let (mut slow, mut quick) = (server.client(Transport::Tcp).await, server.client(Transport::Tcp).await);
    let (at_slow, at_quick) = (slow.allocated().await, quick.allocated().await);
    let peer = peer().await;
    let peer_address = peer.local_addr().unwrap();
    slow.permit(peer_address).await.unwrap();
    quick.permit(peer_address).await.unwrap();

    // Far more than the queue and what the system holds for both ends of a connection.
    const FLOOD: u32 = 40_000;
    for number in 0..FLOOD {
        let mut bytes = [0; 1000];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        peer.send_to(&bytes, at_slow).await.unwrap();
        if number % 200 == 0 {
            peer.send_to(b"quick", at_quick).await.unwrap();
            assert_eq!(quick.recv().await.1, b"quick", "after {number} datagrams for the slow one");
        }
    }
    peer.send_to(b"the end", at_quick).await.unwrap();
    assert_eq!(quick.recv().await.1, b"the end");

    // What the slow one gets in the end is whole and in order, and not all.
    let (mut count, mut last) = (0u64, None);
    loop {
        let Ok((_, bytes)) = timeout(Duration::from_millis(500), slow.recv()).await else { break };
        let number = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!(bytes.len() == 1000 && last.is_none_or(|last| number > last));
        last = Some(number);
        count += 1;
    }
    assert!(count > 50 && count < FLOOD.into(), "{count}");
    // The operator knows. (What the system lost on the way to the server nobody can know.)
    let lost = server.handle.status().await.unwrap().lost.of(Loss::SlowReader);
    assert!(lost > 0 && lost + count <= FLOOD.into(), "{lost} of {FLOOD}, {count} arrived");
}
