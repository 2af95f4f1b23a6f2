//! What the operator is told of each session: all that it carried, and all that was lost, whichever shard did it. Alone in
//! its file, as what looks at the log is.

mod rig;

use std::net::SocketAddr;

use rig::log::Log;
use rig::*;
use sansio::Transport;
use sterna_relay::{Loss, RelayConfig};

/// Datagrams that each client sends to its peer, and as many come back.
const COUNT: usize = 50;
/// To there the system sends nothing: no socket here has asked to broadcast.
const BROADCAST: &str = "255.255.255.255:9";

#[tokio::test]
async fn every_byte_and_every_loss_stands_in_the_line_at_the_sessions_end() {
    for shards in [1, 2] {
        let (log, _guard) = Log::start();
        let mut machine = machine(true);
        machine.policy = machine.policy.allow("255.255.255.255/32".parse().unwrap());
        let listening = "127.0.0.3:0".parse().unwrap();
        let config = RelayConfig { udp: vec![listening], shards, ..RelayConfig::new(machine) };
        let server = Server::run(config, tls_config().0);
        let nowhere: SocketAddr = BROADCAST.parse().unwrap();
        let mut clients = Vec::new();
        // So many that each shard has some.
        for number in 0..12 {
            let mut client = server.client(Transport::Udp).await;
            let relayed = client.allocated().await;
            let peer = peer().await;
            let address = peer.local_addr().unwrap();
            client.permit(address).await.unwrap();
            client.permit(nowhere).await.unwrap();
            for _ in 0..COUNT {
                client.send(address, &[1; 100]).await;
                let (bytes, from) = peer_recv(&peer).await;
                assert_eq!((bytes.len(), from), (100, relayed));
                peer.send_to(&[2; 60], relayed).await.unwrap();
                assert_eq!(client.recv().await, (address, vec![2; 60]));
            }
            for _ in 0..number {
                client.send(nowhere, &[3; 10]).await;
            }
            clients.push((client, peer));
        }
        let sent = (0..12).sum::<u64>();
        let all_lost = async {
            while server.handle.status().await.unwrap().lost.of(Loss::Refused) < sent {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all_lost).await.expect("every shard counts");
        let status = server.handle.status().await.unwrap();
        assert_eq!((status.lost.of(Loss::Refused), status.lost.total()), (sent, sent));
        // At once, or when the server ends: before the next report would have been due.
        for (client, _) in &mut clients[..6] {
            client.close().await;
        }
        server.stop().await;

        let log = log.text();
        let ended: Vec<_> = log.lines().filter(|line| line.contains("relay session ended")).collect();
        assert_eq!(ended.len(), 12, "{log}");
        for number in 0..12 {
            let (to_peers, to_client) = (COUNT * 100 + number * 10, COUNT * 60);
            let reason = if number < 6 { "Deleted" } else { "Closed" };
            let words = format!(
                "bytes_to_peers={to_peers} bytes_to_client={to_client} lost={number} reason={reason}"
            );
            assert!(ended.iter().any(|line| line.contains(&words)), "{shards} shards: {words} in {ended:#?}");
        }
    }
}
