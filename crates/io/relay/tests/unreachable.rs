//! What the network says about datagrams that did not reach their peer is told the client, and costs nobody else anything.

#![cfg(target_os = "linux")]

mod rig;

use rig::{Server, machine, peer, peer_recv, tls_config};
use sansio::Transport;
use sterna_relay::RelayConfig;
use turn::ClientEvent;

#[tokio::test]
async fn a_closed_port_at_the_peer_is_told_the_client() {
    for (transport, shards) in [(Transport::Udp, 1), (Transport::Udp, 4), (Transport::Tcp, 1)] {
        let (certificate, _) = tls_config();
        let listening = "127.0.0.3:0".parse().unwrap();
        let (udp, tcp) = (vec![listening], vec![listening]);
        let config = RelayConfig { udp, tcp, shards, ..RelayConfig::new(machine(true)) };
        let server = Server::run(config, certificate);
        let mut client = server.client(transport).await;
        client.allocated().await;
        let gone = peer().await;
        let address = gone.local_addr().unwrap();
        client.permit(address).await.unwrap();
        drop(gone);
        client.send(address, b"anybody?").await;
        let event = client.event().await;
        // ICMPv4: destination unreachable, port unreachable.
        assert_eq!(
            event,
            ClientEvent::PeerUnreachable { peer: address, icmp_type: 3, icmp_code: 3, data: 0 }
        );
        server.stop().await;
    }
}

#[tokio::test]
async fn what_goes_to_others_is_not_lost_for_a_peer_that_is_gone() {
    let server = Server::start(true);
    let mut client = server.client(Transport::Udp).await;
    client.allocated().await;
    let (here, gone) = (peer().await, peer().await);
    let (at, nowhere) = (here.local_addr().unwrap(), gone.local_addr().unwrap());
    client.permit(at).await.unwrap();
    client.permit(nowhere).await.unwrap();
    drop(gone);
    // One by one: the error of the first comes back before the second leaves.
    for number in 0..100u32 {
        client.send(nowhere, b"anybody?").await;
        client.send(at, &number.to_be_bytes()).await;
        let (bytes, _) = peer_recv(&here).await;
        assert_eq!(bytes, number.to_be_bytes());
    }
    server.stop().await;
}
