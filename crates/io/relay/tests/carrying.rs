//! What is carried by flows: in order, whole, in bundles and alone, through one shard and through several.

mod rig;

use std::io::IoSlice;
use std::net::SocketAddr;

use rig::*;
use sansio::Transport;
use sterna_relay::RelayConfig;
use tokio::net::UdpSocket;
use udp::{Bundles, Outcome, Socket, Transmit};

fn start(shards: usize) -> Server {
    let config =
        RelayConfig { udp: vec!["127.0.0.3:0".parse().unwrap()], shards, ..RelayConfig::new(machine(true)) };
    Server::run(config, tls_config().0)
}

/// Datagrams of all lengths that groups have to be cut at: equal ones, shorter, longer, and tiny.
fn lengths() -> impl Iterator<Item = usize> {
    [1200, 1200, 1200, 700, 1200, 1, 2, 3, 1203, 1203, 64, 64, 65, 1200].into_iter().cycle().take(56)
}

fn bytes(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (number ^ at) as u8).collect()
}

#[tokio::test]
async fn lengths_of_all_kinds_arrive_whole_and_in_order() {
    for shards in [1, 2] {
        let server = start(shards);
        for with_channel in [true, false] {
            let mut client = server.client(Transport::Udp).await;
            let relayed = client.allocated().await;
            let peer = peer().await;
            let address = peer.local_addr().unwrap();
            match with_channel {
                true => client.permit(address).await.unwrap(),
                false => client.permit_without_channel(address).await,
            }
            // The first datagram each way makes the flow.
            for round in 0..2 {
                for (number, length) in lengths().enumerate() {
                    client.send(address, &bytes(number, length)).await;
                    if number == 0 {
                        assert_eq!(peer_recv(&peer).await, (bytes(number, length), relayed));
                    }
                }
                for (number, length) in lengths().enumerate().skip(1) {
                    assert_eq!(peer_recv(&peer).await, (bytes(number, length), relayed), "{round} {number}");
                }
                for (number, length) in lengths().enumerate() {
                    peer.send_to(&bytes(number, length), relayed).await.unwrap();
                    if number == 0 {
                        assert_eq!(client.recv().await, (address, bytes(number, length)));
                    }
                }
                for (number, length) in lengths().enumerate().skip(1) {
                    assert_eq!(client.recv().await, (address, bytes(number, length)), "{round} {number}");
                }
            }
        }
        server.stop().await;
    }
}

/// A whole bundle comes in by one call and goes out by one, and each datagram is what it was.
#[tokio::test]
async fn a_bundle_stays_one_on_its_way_to_the_client() {
    let server = start(1);
    for with_channel in [true, false] {
        let mut client = server.client(Transport::Udp).await;
        let relayed = client.allocated().await;
        let peer = Socket::bind(loopback()).unwrap();
        match with_channel {
            true => client.permit(peer.local()).await.unwrap(),
            false => client.permit_without_channel(peer.local()).await,
        }
        // 333 bytes: indications need padding.
        let all: Vec<u8> = (0..40).flat_map(|number| bytes(number, 333)).collect();
        for _ in 0..3 {
            let pieces = [IoSlice::new(&all)];
            let sent = peer.try_send(&Transmit { from: None, to: relayed, segment: 333, bytes: &pieces });
            assert!(matches!(sent, Outcome::Sent), "{sent:?}");
            for number in 0..40 {
                assert_eq!(client.recv().await, (peer.local(), bytes(number, 333)), "{number}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_bundle_of_the_client_reaches_the_peer_as_one() {
    let server = start(1);
    let mut client = server.client(Transport::Udp).await;
    let relayed = client.allocated().await;
    let peer = Socket::bind(loopback()).unwrap();
    client.permit(peer.local()).await.unwrap();
    client.send(peer.local(), &bytes(0, 100)).await;
    let mut bundles = Bundles::new(8);
    // The first makes the flow.
    assert_eq!(arrivals(&peer, &mut bundles, 1).await, [(relayed, vec![bytes(0, 100)])]);
    client.send_bundle(peer.local(), &(0..30).map(|number| bytes(number, 500)).collect::<Vec<_>>()).await;
    let expected: Vec<Vec<u8>> = (0..30).map(|number| bytes(number, 500)).collect();
    assert_eq!(arrivals(&peer, &mut bundles, 30).await, [(relayed, expected)]);
    server.stop().await;
}

/// Bundles until `count` datagrams have come: from whom, and what.
async fn arrivals(socket: &Socket, bundles: &mut Bundles, count: usize) -> Vec<(SocketAddr, Vec<Vec<u8>>)> {
    let mut all: Vec<(SocketAddr, Vec<Vec<u8>>)> = Vec::new();
    while all.iter().map(|(_, datagrams)| datagrams.len()).sum::<usize>() < count {
        tokio::time::timeout(PATIENCE, socket.readable()).await.expect("something comes").unwrap();
        socket.try_recv(bundles).unwrap();
        for bundle in bundles.iter_mut() {
            all.push((bundle.path.remote, bundle.datagrams().map(|datagram| datagram.to_vec()).collect()));
        }
    }
    all
}

#[tokio::test]
async fn two_clients_of_one_server_meet_inside_whatever_shards_they_are_on() {
    for shards in [1, 2] {
        let server = start(shards);
        // Enough pairs that some are on one shard and some on two.
        for _ in 0..6 {
            let (mut one, mut other) =
                (server.client(Transport::Udp).await, server.client(Transport::Udp).await);
            let (at_one, at_other) = (one.allocated().await, other.allocated().await);
            one.permit(at_other).await.unwrap();
            other.permit(at_one).await.unwrap();
            for (number, length) in lengths().enumerate() {
                one.send(at_other, &bytes(number, length)).await;
                assert_eq!(other.recv().await, (at_one, bytes(number, length)));
                other.send(at_one, &bytes(number, length)).await;
                assert_eq!(one.recv().await, (at_other, bytes(number, length)));
            }
        }
        server.stop().await;
    }
}

/// Each client's way is another: some shard has each of them.
#[tokio::test]
async fn with_several_shards_every_client_is_served() {
    let server = start(3);
    for _ in 0..12 {
        let mut client = server.client(Transport::Udp).await;
        let relayed = client.allocated().await;
        let peer = peer().await;
        let address = peer.local_addr().unwrap();
        client.permit(address).await.unwrap();
        for number in 0..20 {
            client.send(address, &bytes(number, 200)).await;
            assert_eq!(peer_recv(&peer).await, (bytes(number, 200), relayed));
            peer.send_to(&bytes(number, 300), relayed).await.unwrap();
            assert_eq!(client.recv().await, (address, bytes(number, 300)));
        }
        client.close().await;
        // Nothing of it is left: what a peer sends now reaches nobody, and the port can be had.
        let freed = async {
            while UdpSocket::bind(relayed).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.expect("the relayed port is free again");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_port_of_another_program_is_not_shared_with_several_shards_either() {
    let taken = std::net::UdpSocket::bind(loopback()).unwrap();
    let config =
        RelayConfig { udp: vec![taken.local_addr().unwrap()], shards: 2, ..RelayConfig::new(machine(false)) };
    let error = sterna_relay::Relay::bind(config).unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");
    let first = start(2);
    let config = RelayConfig {
        udp: vec![first.address(Transport::Udp)],
        shards: 2,
        ..RelayConfig::new(machine(false))
    };
    let error = sterna_relay::Relay::bind(config).unwrap_err().to_string();
    assert!(error.contains("is in use"), "{error}");
    first.stop().await;
}
