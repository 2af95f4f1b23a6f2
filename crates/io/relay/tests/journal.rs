//! What the log says. Alone in its file: which lines are wanted is kept for a whole process.

mod rig;

use rig::log::Log;
use rig::*;
use sansio::Transport;

#[tokio::test]
async fn the_log_tells_who_how_long_how_much_and_why() {
    let (log, _guard) = Log::start();
    let server = Server::start(true);
    let mut client = server.client(Transport::Udp).await;
    let relayed = client.allocated().await;
    let peer = peer().await;
    let peer_address = peer.local_addr().unwrap();
    client.permit(peer_address).await.unwrap();
    client.send(peer_address, &[1; 300]).await;
    peer_recv(&peer).await;
    peer.send_to(&[2; 50], relayed).await.unwrap();
    client.recv().await;
    assert_eq!(client.permit("127.0.0.9:9".parse().unwrap()).await, Err(Some(403)));
    client.close().await;
    let mut second = server.client(Transport::Tcp).await;
    second.allocated().await;
    server.stop().await;

    let log = log.text();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    let ended = lines("relay session ended");
    assert_eq!((lines("relay session started").len(), ended.len()), (2, 2), "{log}");
    for word in [
        "user=alice",
        &format!("relayed={relayed}"),
        "seconds=",
        "bytes_to_peers=300",
        "bytes_to_client=50",
        "reason=Deleted",
    ] {
        assert!(ended[0].contains(word), "{word} in {}", ended[0]);
    }
    assert!(ended[1].contains("reason=Closed"), "{}", ended[1]);
    let denied = lines("may not reach");
    assert!(denied.len() == 1 && denied[0].contains("peer=127.0.0.9") && denied[0].contains("WARN"), "{log}");
    assert!(!log.contains(PASSWORD), "no password in the log");
}
