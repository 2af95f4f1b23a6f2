//! The end of a channel, from both sides at once and with words still under way.

use std::time::Duration;

use sterna::{Configuration, DataChannel, PeerConnection, PeerEvent};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration { include_loopback: true, ..Configuration::default() }).unwrap()
}

async fn pair() -> (PeerConnection, PeerConnection, DataChannel, DataChannel) {
    let (here, there) = (connection(), connection());
    let ours = here.create_data_channel("test", Default::default()).unwrap();
    here.set_local_description(None).await.unwrap();
    here.gathering_complete().await.unwrap();
    there.set_remote_description(here.local_description().unwrap()).await.unwrap();
    there.set_local_description(None).await.unwrap();
    there.gathering_complete().await.unwrap();
    here.set_remote_description(there.local_description().unwrap()).await.unwrap();
    let theirs = loop {
        if let PeerEvent::DataChannel(channel) = timeout(LONG, there.next_event()).await.unwrap().unwrap() {
            break channel;
        }
    };
    (here, there, ours, theirs)
}

#[tokio::test]
async fn both_sides_may_close_at_once() {
    for round in 0..50 {
        let (here, there, ours, theirs) = pair().await;
        ours.send_text("last words").await.unwrap();
        theirs.send_text("mine too").await.unwrap();
        let both = async { tokio::join!(ours.close(), theirs.close()) };
        let both =
            timeout(LONG, both).await.unwrap_or_else(|_| panic!("round {round}: a close that does not end"));
        both.0.unwrap();
        both.1.unwrap();
        timeout(LONG, async { tokio::join!(here.close(), there.close()) }).await.unwrap();
    }
}

#[tokio::test]
async fn one_side_may_leave_while_the_other_says_goodbye() {
    for round in 0..50 {
        let (here, there, ours, theirs) = pair().await;
        ours.send_text("last words").await.unwrap();
        assert!(theirs.recv().await.is_some());
        theirs.send_text("thank you").await.unwrap();
        let leave = async {
            ours.recv().await.unwrap();
            let _ = ours.close().await;
            here.close().await;
        };
        let both = async { tokio::join!(leave, theirs.close()) };
        timeout(LONG, both)
            .await
            .unwrap_or_else(|_| panic!("round {round}: a close that does not end"))
            .1
            .ok();
        timeout(LONG, there.close()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_both_sides_soon() {
    for round in 0..30 {
        let (here, there, ours, theirs) = pair().await;
        let watch = here.clone();
        let here_events = tokio::spawn(async move { while watch.next_event().await.is_some() {} });
        let ask = async {
            ours.send_text("an offer").await.unwrap();
            ours.recv().await.unwrap();
            // By now the channel may be closed.
            let _ = ours.send_text("then not").await;
            ours.close().await
        };
        let refuse = async {
            theirs.recv().await.unwrap();
            theirs.send_text("no").await.unwrap();
            theirs.send_text("no, thank you").await.unwrap();
            theirs.close().await
        };
        let both = timeout(LONG, async { tokio::join!(ask, refuse) }).await;
        both.unwrap_or_else(|_| panic!("round {round}: a close that does not end")).1.unwrap();
        timeout(LONG, async { tokio::join!(here.close(), there.close()) }).await.unwrap();
        here_events.await.unwrap();
    }
}
