//! IPv4 and IPv6 on real sockets: clients, relayed addresses and peers of either, and several addresses at once.

mod rig;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rig::*;
use sansio::Transport;
use sterna_relay::RelayConfig;
use tokio::net::UdpSocket;
use turn::{Families, Family, PeerPolicy};

const ALL: [Transport; 4] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls];

/// All four transports on one port of each of these addresses, relayed from both families, peers on either loopback.
fn start(addresses: &[&str], shards: usize) -> (Server, Vec<SocketAddr>) {
    let (certificate, tls) = tls_config();
    // One port: then it is nobody else's, on IPv6 either, where all have one address.
    let ports: Vec<SocketAddr> = addresses.iter().map(|address| free_port(address)).collect();
    let mut machine = machine(true);
    machine.relay_addresses.push(IpAddr::from(Ipv6Addr::LOCALHOST).into());
    machine.policy = ["127.0.0.1/32", "::1/128"]
        .into_iter()
        .fold(PeerPolicy::default(), |policy, range| policy.allow(range.parse().unwrap()));
    let config = RelayConfig {
        udp: ports.clone(),
        tcp: ports.clone(),
        tls: ports.iter().map(|port| (*port, tls.clone())).collect(),
        dtls: Some(crypto::Certificate::generate().unwrap()),
        shards,
        ..RelayConfig::new(machine)
    };
    (Server::run(config, certificate), ports)
}

/// Data of many lengths goes both ways between a client and a peer.
async fn exchange(client: &mut TestClient, relayed: SocketAddr, peer: &UdpSocket, what: &str) {
    let address = peer.local_addr().unwrap();
    for length in [1, 2, 3, 4, 5, 160, 1200] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ length as u8).collect();
        client.send(address, &bytes).await;
        assert_eq!(peer_recv(peer).await, (bytes.clone(), relayed), "{what}, up, {length}");
        peer.send_to(&bytes, relayed).await.unwrap();
        assert_eq!(client.recv().await, (address, bytes), "{what}, down, {length}");
    }
}

#[tokio::test]
async fn clients_and_peers_on_ipv6_are_served_over_every_transport() {
    let (server, ports) = start(&["::1"], 1);
    let ask = |config: &mut turn::ClientConfig| config.families = Families::One(Family::Ipv6);
    for transport in ALL {
        for with_channel in [true, false] {
            let mut client = server.client_at(ports[0], transport, ask).await;
            let relayed = client.allocated().await;
            assert_eq!(relayed.ip(), Ipv6Addr::LOCALHOST);
            let peer = peer_v6().await;
            match with_channel {
                true => client.permit(peer.local_addr().unwrap()).await.unwrap(),
                false => client.permit_without_channel(peer.local_addr().unwrap()).await,
            }
            exchange(&mut client, relayed, &peer, &format!("{transport}, channel: {with_channel}")).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn two_ipv4_addresses_and_one_ipv6_address_serve_at_once_over_every_transport() {
    for shards in [1, 2] {
        let (server, ports) = start(&["127.0.0.6", "127.0.0.7", "::1"], shards);
        let mut clients = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            for transport in ALL {
                let mut client = server.client_at(*port, transport, |_| {}).await;
                let relayed = client.allocated().await;
                assert_eq!(relayed.ip(), RELAY_ADDRESS);
                let peer = peer().await;
                client.permit(peer.local_addr().unwrap()).await.unwrap();
                clients.push((client, relayed, peer, format!("{transport} to address {number}")));
            }
        }
        // While all of them are there.
        for (client, relayed, peer, what) in &mut clients {
            exchange(client, *relayed, peer, what).await;
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_dual_allocation_carries_data_of_both_families() {
    let (server, ports) = start(&["127.0.0.8", "::1"], 1);
    for port in ports {
        for transport in ALL {
            let ask = |config: &mut turn::ClientConfig| config.families = Families::Both;
            let mut client = server.client_at(port, transport, ask).await;
            let (first, second) = client.allocated_both().await;
            let second = second.expect("one of each family");
            assert_eq!((first.ip(), second.ip()), (RELAY_ADDRESS, Ipv6Addr::LOCALHOST.into()));
            for (relayed, peer) in [(first, peer().await), (second, peer_v6().await)] {
                client.permit(peer.local_addr().unwrap()).await.unwrap();
                exchange(&mut client, relayed, &peer, &format!("{transport} by {relayed}")).await;
            }
            client.close().await;
        }
    }
    server.stop().await;
}

/// An IPv4 client meets one on IPv6: each has a relayed address of the other's family.
#[tokio::test]
async fn clients_of_different_families_meet_on_the_relay() {
    let (server, ports) = start(&["127.0.0.9", "::1"], 2);
    let ask = |config: &mut turn::ClientConfig| config.families = Families::One(Family::Ipv6);
    let mut one = server.client_at(ports[0], Transport::Udp, ask).await;
    let mut other = server.client_at(ports[1], Transport::Dtls, ask).await;
    let (at_one, at_other) = (one.allocated().await, other.allocated().await);
    meet((&mut one, at_one), (&mut other, at_other)).await;
    server.stop().await;
}
