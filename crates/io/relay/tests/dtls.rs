//! DTLS clients, on the ports that all others use: who they are, what they may cost, and how they leave.

mod rig;

use std::net::SocketAddr;
use std::time::Duration;

use crypto::Certificate;
use dtls::Event;
use rig::tunnel::Tunnel;
use rig::*;
use sansio::Transport;
use sterna_relay::{Limits, RelayConfig, Status};
use stun::{Class, Message, MessageWriter, Method, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

async fn status(server: &Server) -> Status {
    server.handle.status().await.expect("it runs")
}

/// Waits until the server is as it should be.
async fn until(server: &Server, condition: impl Fn(&Status) -> bool) {
    let wait = async {
        while !condition(&status(server).await) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes about");
}

/// RFC 7983: what it is, its first byte tells.
#[tokio::test]
async fn one_port_serves_all_four_transports() {
    let (certificate, tls) = tls_config();
    // An address of this test alone.
    let port = free_port("127.0.0.5");
    let config = RelayConfig {
        udp: vec![port],
        tcp: vec![port],
        tls: vec![(port, tls)],
        dtls: Some(Certificate::generate().unwrap()),
        ..RelayConfig::new(machine(true))
    };
    let server = Server::run(config, certificate);
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls] {
        assert_eq!(server.address(transport), port);
        let mut client = server.client(transport).await;
        client.allocated().await;
        let peer = peer().await;
        client.permit(peer.local_addr().unwrap()).await.unwrap();
        client.send(peer.local_addr().unwrap(), b"through one port").await;
        assert_eq!(peer_recv(&peer).await.0, b"through one port", "{transport}");
    }
}

#[tokio::test]
async fn several_threads_receive_for_a_session_and_another_thread_answers() {
    let (certificate, _) = tls_config();
    let config = RelayConfig {
        udp: vec!["127.0.0.3:0".parse().unwrap()],
        dtls: Some(Certificate::generate().unwrap()),
        shards: 3,
        ..RelayConfig::new(machine(true))
    };
    let server = Server::run(config, certificate);
    for _ in 0..6 {
        server.client(Transport::Dtls).await.allocated().await;
    }
}

/// A hello from an address that nobody has verified costs a shorter answer, and no memory.
#[tokio::test]
async fn coturn_2012_hellos_without_a_cookie_leave_nothing_behind() {
    let server = Server::start(true);
    let at = server.address(Transport::Dtls);
    let listening = UdpSocket::bind(loopback()).await.unwrap();
    // Asks, and does not listen to the answer.
    let mut mute =
        Tunnel::start(UdpSocket::bind(loopback()).await.unwrap(), listening.local_addr().unwrap()).await;
    assert!(timeout(Duration::from_millis(50), mute.turn()).await.is_err());
    let mut hello = [0; 2000];
    let length = listening.recv(&mut hello).await.unwrap();
    for _ in 0..200 {
        let stranger = UdpSocket::bind(loopback()).await.unwrap();
        stranger.send_to(&hello[..length], at).await.unwrap();
        let mut answer = [0; 2000];
        let received = timeout(PATIENCE, stranger.recv(&mut answer)).await.unwrap().unwrap();
        assert!(received <= length, "{received} bytes for {length}");
        assert_eq!(answer[13], 3, "HelloVerifyRequest");
    }
    assert_eq!(status(&server).await.connections, 0);
    server.client(Transport::Dtls).await.allocated().await;
}

/// Hands hellos and what follows on to the server until there are enough, and the answers back: a client that stops in
/// the middle of its handshake.
async fn stop_after(server: SocketAddr, datagrams: usize) -> (UdpSocket, Tunnel) {
    let (front, back) =
        (UdpSocket::bind(loopback()).await.unwrap(), UdpSocket::bind(loopback()).await.unwrap());
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let client = socket.local_addr().unwrap();
    let mut tunnel = Tunnel::start(socket, front.local_addr().unwrap()).await;
    back.connect(server).await.unwrap();
    let mut buffer = [0; 2000];
    for sent in 0..datagrams {
        let length = tokio::select! {
            biased;
            length = front.recv(&mut buffer) => length.unwrap(),
            () = async { loop { tunnel.turn().await.unwrap() } } => unreachable!("it never ends"),
        };
        back.send(&buffer[..length]).await.unwrap();
        if sent + 1 < datagrams {
            let length = timeout(PATIENCE, back.recv(&mut buffer)).await.unwrap().unwrap();
            front.send_to(&buffer[..length], client).await.unwrap();
        }
    }
    (back, tunnel)
}

#[tokio::test]
async fn coturn_2013_handshakes_are_bounded_per_source_and_given_up() {
    let limits =
        Limits { handshakes_per_source: 2, handshake: Duration::from_millis(800), ..Limits::default() };
    let server = Server::with_limits(true, limits);
    let at = server.address(Transport::Dtls);
    let _stuck = [stop_after(at, 2).await, stop_after(at, 2).await];
    until(&server, |status| status.connections == 2).await;
    let third = stop_after(at, 2).await;
    let mut buffer = [0; 2000];
    assert!(
        timeout(Duration::from_millis(200), third.0.recv(&mut buffer)).await.is_err(),
        "no room for a third"
    );
    assert_eq!(status(&server).await.connections, 2);
    // They are given up, and others have their place.
    until(&server, |status| status.handshakes.late == 2).await;
    server.client(Transport::Dtls).await.allocated().await;
}

#[tokio::test]
async fn sessions_count_as_connections_and_end_when_they_say_nothing() {
    let limits = Limits {
        connections_per_source: 1,
        handshake: Duration::from_millis(500),
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Server::with_limits(true, limits);
    let mut silent = Tunnel::open(server.address(Transport::Dtls)).await;
    assert_eq!(status(&server).await.connections, 1);
    let tcp = server.address(Transport::Tcp);
    let mut refused = tokio::net::TcpStream::connect(tcp).await.unwrap();
    let read = tokio::io::AsyncReadExt::read(&mut refused, &mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "no place beside it");
    assert!(timeout(PATIENCE, silent.recv(&mut [0; 2000])).await.unwrap().is_err());
    assert_eq!(silent.ended, Some(Event::Closed));
    until(&server, |status| status.connections == 0).await;

    // With an allocation it may be silent.
    let mut client = server.client(Transport::Dtls).await;
    let relayed = client.allocated().await;
    let peer = peer().await;
    client.permit(peer.local_addr().unwrap()).await.unwrap();
    sleep(limits.idle * 3).await;
    peer.send_to(b"still there?", relayed).await.unwrap();
    assert_eq!(client.recv().await.1, b"still there?");
    client.close().await;
    until(&server, |status| status.connections == 0).await;
}

/// A session, and another socket at the client's address, by which anybody could write who forges it.
async fn with_twin(server: &Server) -> (Tunnel, UdpSocket) {
    let socket = std::net::UdpSocket::bind(loopback()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let twin = UdpSocket::from_std(socket.try_clone().unwrap()).unwrap();
    let at = server.address(Transport::Dtls);
    let mut tunnel = Tunnel::start(UdpSocket::from_std(socket).unwrap(), at).await;
    timeout(PATIENCE, async {
        while !tunnel.is_connected() {
            tunnel.turn().await.unwrap()
        }
    })
    .await
    .unwrap();
    (tunnel, twin)
}

/// Asks the server through the tunnel where it sees us, and returns the question.
async fn asks(tunnel: &mut Tunnel, number: u8) -> Vec<u8> {
    let mut request = vec![0; 20];
    let id = TransactionId([number; 12]);
    MessageWriter::new(&mut request, Class::Request, Method::BINDING, id).finish().unwrap();
    tunnel.send(&request);
    let mut answer = [0; 2000];
    let answered = timeout(PATIENCE, tunnel.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Message::parse(&answer[..answered]).unwrap().transaction_id(), id);
    request
}

/// Asterisk, FreeSWITCH, rtpengine: a hello or an alert from somebody else ended what two had begun.
#[tokio::test]
async fn cve_2023_49786_a_forged_hello_or_alert_does_not_end_a_session() {
    let server = Server::start(true);
    let listening = UdpSocket::bind(loopback()).await.unwrap();
    let mut other =
        Tunnel::start(UdpSocket::bind(loopback()).await.unwrap(), listening.local_addr().unwrap()).await;
    assert!(timeout(Duration::from_millis(50), other.turn()).await.is_err());
    let mut hello = [0; 2000];
    let length = listening.recv(&mut hello).await.unwrap();

    let (mut tunnel, twin) = with_twin(&server).await;
    let alert = |level, description| [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, level, description];
    for number in 0..20 {
        // Without a cookie, from an address that has a session; fatal alerts, and a goodbye; a change of ciphers.
        twin.send(&hello[..length]).await.unwrap();
        twin.send(&alert(2, 40)).await.unwrap();
        twin.send(&alert(1, 0)).await.unwrap();
        twin.send(&[20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1]).await.unwrap();
        asks(&mut tunnel, number).await;
    }
    assert_eq!((status(&server).await.connections, &tunnel.ended), (1, &None));
}

/// FreeSWITCH: a hundred bad packets hung up the call.
#[tokio::test]
async fn cve_2021_41105_bad_records_by_the_hundred_end_no_session() {
    let server = Server::start(true);
    let (mut tunnel, twin) = with_twin(&server).await;
    for number in 0..10 {
        for at in 0..50u8 {
            // Records that pretend to be sealed: of this epoch and of others, of any kind and length.
            let mut record = vec![20 + at % 8, 0xfe, 0xfd, 0, at % 3, 0, 0, 0, 0, number, at, 0, at];
            record.extend(vec![at; at.into()]);
            twin.send(&record).await.unwrap();
        }
        asks(&mut tunnel, number).await;
    }
    assert_eq!((status(&server).await.connections, &tunnel.ended), (1, &None));
}

/// What has no seal is another client's, even from the same address.
#[tokio::test]
async fn plain_messages_from_the_same_address_have_no_part_in_the_session() {
    let server = Server::start(true);
    let (mut tunnel, twin) = with_twin(&server).await;
    let request = asks(&mut tunnel, 7).await;
    let (mut answer, id) = ([0; 2000], TransactionId([7; 12]));
    // The same without DTLS is answered without DTLS.
    twin.send(&request).await.unwrap();
    let answered = timeout(PATIENCE, twin.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(Message::parse(&answer[..answered]).unwrap().transaction_id(), id);
}

/// RFC 6347 §4.2.8: it has lost its state, but not its address.
#[tokio::test]
async fn a_client_that_begins_anew_from_the_same_address_is_served() {
    let server = Server::start(true);
    let at = server.address(Transport::Dtls);
    let socket = std::net::UdpSocket::bind(loopback()).unwrap();
    socket.set_nonblocking(true).unwrap();
    for _ in 0..2 {
        let same = UdpSocket::from_std(socket.try_clone().unwrap()).unwrap();
        let mut tunnel = Tunnel::start(same, at).await;
        timeout(PATIENCE, async {
            while !tunnel.is_connected() {
                tunnel.turn().await.unwrap()
            }
        })
        .await
        .unwrap();
    }
    until(&server, |status| status.connections == 1).await;
}

#[tokio::test]
async fn clients_are_told_when_the_server_ends() {
    let server = Server::start(true);
    let mut client = server.client(Transport::Dtls).await;
    client.allocated().await;
    server.stop().await;
    client.closed().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_those_who_come_after() {
    let server = Server::start(true);
    let at = server.address(Transport::Dtls);
    let old = Tunnel::open(at).await;
    let new = Certificate::generate().unwrap();
    server.handle.show_to_dtls_clients(new.clone()).unwrap();
    assert_ne!(old.shown.as_ref(), Some(&new.der));
    assert_eq!(Tunnel::open(at).await.shown, Some(new.der.clone()));
    let mut broken = new.clone();
    broken.private_key_der.clear();
    assert!(server.handle.show_to_dtls_clients(broken).is_err());
    assert_eq!(Tunnel::open(at).await.shown, Some(new.der.clone()));
}
