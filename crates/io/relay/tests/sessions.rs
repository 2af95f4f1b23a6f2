//! Allocations and data, over every transport.

mod rig;

use rig::*;
use sansio::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

const ALL: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls];

#[tokio::test]
async fn data_goes_both_ways_over_every_transport() {
    let server = Server::start(true);
    for transport in ALL {
        let mut client = server.client(transport).await;
        let relayed = client.allocated().await;
        assert_eq!(relayed.ip(), RELAY_ADDRESS);
        let peer = peer().await;
        let peer_address = peer.local_addr().unwrap();
        client.permit(peer_address).await.unwrap();
        for length in [1, 2, 3, 4, 5, 160, 1200] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8 ^ length as u8).collect();
            client.send(peer_address, &bytes).await;
            assert_eq!(peer_recv(&peer).await, (bytes.clone(), relayed), "{transport} up {length}");
            peer.send_to(&bytes, relayed).await.unwrap();
            assert_eq!(client.recv().await, (peer_address, bytes), "{transport} down {length}");
        }
        client.close().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn data_goes_both_ways_before_there_is_a_channel() {
    let server = Server::start(true);
    for transport in ALL {
        let mut client = server.client(transport).await;
        let relayed = client.allocated().await;
        let peer = peer().await;
        let peer_address = peer.local_addr().unwrap();
        client.permit_without_channel(peer_address).await;
        client.send(peer_address, b"indication").await;
        assert_eq!(peer_recv(&peer).await, (b"indication".to_vec(), relayed));
        peer.send_to(b"back", relayed).await.unwrap();
        assert_eq!(client.recv().await, (peer_address, b"back".to_vec()));
    }
}

#[tokio::test]
async fn the_loopback_is_refused_unless_a_test_allows_it() {
    let server = Server::start(false);
    for transport in ALL {
        let mut client = server.client(transport).await;
        client.allocated().await;
        let peer = peer().await.local_addr().unwrap();
        assert_eq!(client.permit(peer).await, Err(Some(403)), "{transport}");
    }
}

#[tokio::test]
async fn what_has_no_permission_does_not_get_through() {
    let server = Server::start(true);
    let mut client = server.client(Transport::Tcp).await;
    let relayed = client.allocated().await;
    let (friend, stranger) = (peer().await, tokio::net::UdpSocket::bind("127.0.0.4:0").await.unwrap());
    client.permit(friend.local_addr().unwrap()).await.unwrap();
    stranger.send_to(b"unasked", relayed).await.unwrap();
    friend.send_to(b"asked", relayed).await.unwrap();
    assert_eq!(client.recv().await, (friend.local_addr().unwrap(), b"asked".to_vec()));
}

#[tokio::test]
async fn two_clients_meet_on_the_relay_whatever_carries_them() {
    let server = Server::start(false);
    let pairs = [
        (Transport::Udp, Transport::Tls),
        (Transport::Tcp, Transport::Udp),
        (Transport::Dtls, Transport::Dtls),
    ];
    for (one, other) in pairs {
        let (mut one, mut other) = (server.client(one).await, server.client(other).await);
        let (at_one, at_other) = (one.allocated().await, other.allocated().await);
        meet((&mut one, at_one), (&mut other, at_other)).await;
    }
}

#[tokio::test]
async fn wrong_credentials_get_no_allocation() {
    let server = Server::start(true);
    for transport in ALL {
        for (username, password) in [("alice", "wrong"), ("mallory", "wonderland")] {
            let mut client = server.client_with(transport, username, password).await;
            let turn::ClientEvent::Failed(error) = client.event().await else { panic!() };
            assert_eq!(error.code, Some(401), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_each_get_their_own() {
    let server = std::sync::Arc::new(Server::start(true));
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let server = server.clone();
        tasks.spawn(async move {
            let mut client = server.client(ALL[number % 3]).await;
            let relayed = client.allocated().await;
            let peer = peer().await;
            let peer_address = peer.local_addr().unwrap();
            client.permit(peer_address).await.unwrap();
            for round in 0..50u32 {
                let bytes = [number as u32, round].map(u32::to_be_bytes).concat();
                client.send(peer_address, &bytes).await;
                assert_eq!(peer_recv(&peer).await, (bytes.clone(), relayed));
                peer.send_to(&bytes, relayed).await.unwrap();
                assert_eq!(client.recv().await, (peer_address, bytes));
            }
            relayed
        });
    }
    let relayed: std::collections::BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(relayed.len(), 60);
}

#[tokio::test]
async fn a_burst_goes_through_whole_and_in_order() {
    let server = Server::start(true);
    for transport in ALL {
        let mut client = server.client(transport).await;
        let relayed = client.allocated().await;
        let peer = peer().await;
        let peer_address = peer.local_addr().unwrap();
        client.permit(peer_address).await.unwrap();
        // As many as the smallest socket buffer there is holds.
        for number in 0..64u8 {
            client.send(peer_address, &[number; 1000]).await;
        }
        for number in 0..64u8 {
            assert_eq!(peer_recv(&peer).await, (vec![number; 1000], relayed), "{transport}");
        }
        for number in 0..64u8 {
            peer.send_to(&[number; 1000], relayed).await.unwrap();
        }
        for number in 0..64u8 {
            assert_eq!(client.recv().await, (peer_address, vec![number; 1000]), "{transport}");
        }
    }
}

/// Far more messages at once than the machine takes from streams in one turn.
#[tokio::test]
async fn no_message_of_many_streams_is_forgotten() {
    let server = Server::start(false);
    let mut streams = Vec::new();
    for _ in 0..180 {
        streams.push(server.connect(Transport::Tcp).await.1);
    }
    let mut request = [0; 20];
    let id = stun::TransactionId([1; 12]);
    stun::MessageWriter::new(&mut request, stun::Class::Request, stun::Method::BINDING, id).finish().unwrap();
    for round in 0..5 {
        for stream in &mut streams {
            stream.write_all(&request).await.unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut answer = [0; 32];
            let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
            read.unwrap_or_else(|_| panic!("no answer for stream {number} in round {round}")).unwrap();
        }
    }
}
