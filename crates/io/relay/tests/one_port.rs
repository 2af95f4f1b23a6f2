//! One relay port for all sessions, on real sockets and several threads.

mod rig;

use rig::{Server, machine, peer, peer_recv, tls_config};
use sansio::Transport;
use sterna_relay::RelayConfig;

#[tokio::test]
async fn sessions_of_all_threads_share_a_port_and_hear_their_own_peers() {
    let mut machine = machine(true);
    machine.shared_port = Some(free_port());
    let port = machine.shared_port;
    let listening = "127.0.0.3:0".parse().unwrap();
    let (certificate, tls) = tls_config();
    let config = RelayConfig {
        udp: vec![listening],
        tls: vec![(listening, tls)],
        shards: 3,
        ..RelayConfig::new(machine)
    };
    let server = Server::run(config, certificate);
    let mut sessions = Vec::new();
    for _ in 0..12 {
        let mut client = server.client(Transport::Udp).await;
        assert_eq!(Some(client.allocated().await.port()), port);
        let peer = peer().await;
        client.permit(peer.local_addr().unwrap()).await.unwrap();
        sessions.push((client, peer));
    }
    for round in 0..20u8 {
        for (number, (client, peer)) in sessions.iter_mut().enumerate() {
            let data = [round, number as u8];
            client.send(peer.local_addr().unwrap(), &data).await;
            let (received, relayed) = peer_recv(peer).await;
            assert_eq!(received, data);
            peer.send_to(&data, relayed).await.unwrap();
            assert_eq!(client.recv().await, (peer.local_addr().unwrap(), data.to_vec()));
        }
    }
    // Another's peer is nobody else's.
    let taken = sessions[0].1.local_addr().unwrap();
    let mut other = server.client(Transport::Udp).await;
    other.allocated().await;
    assert_eq!(other.permit(taken).await, Err(Some(403)));
    server.stop().await;
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind((rig::RELAY_ADDRESS, 0)).unwrap();
    socket.local_addr().unwrap().port()
}
