//! Sterna as its users hold it: `PeerConnection` on tokio, with its own sockets.

use std::time::{Duration, Instant};

use driver::{Configuration, DataChannel, DataChannelInit, PeerConnection, PeerEvent};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

struct Pair {
    // Dropping them closes.
    _ends: [PeerConnection; 2],
    channels: [DataChannel; 2],
    opened: Duration,
}

async fn connect() -> Pair {
    let configuration = Configuration { include_loopback: true, trickle: false, ..Configuration::default() };
    let ends = [0, 1].map(|_| PeerConnection::new(configuration.clone()).expect("a connection"));
    let [a, b] = &ends;
    let ours = a.create_data_channel("bench", DataChannelInit::default()).expect("a channel");
    let offer = a.set_local_description(None).await.expect("an offer");
    b.set_remote_description(offer).await.expect("it is taken");
    let answer = b.set_local_description(None).await.expect("an answer");
    let begin = Instant::now();
    a.set_remote_description(answer).await.expect("it is taken");
    let said = async {
        ours.opened().await.expect("it opens");
        ours.send(b"first".to_vec()).await.expect("it is sent");
    };
    let heard = async {
        loop {
            match b.next_event().await.expect("an event") {
                PeerEvent::DataChannel(channel) => break channel,
                _ => continue,
            }
        }
    };
    let ((), theirs) = tokio::join!(said, heard);
    theirs.recv().await.expect("the first message");
    Pair { opened: begin.elapsed(), channels: [ours, theirs], _ends: ends }
}

/// Until the answerer has the offerer's first message, from when both know the other's description.
pub fn open() -> Duration {
    runtime().block_on(async { connect().await.opened })
}

/// Bytes per second from the offerer to the answerer.
pub fn throughput(message: usize, total: u64) -> f64 {
    runtime().block_on(async {
        let Pair { channels: [ours, theirs], _ends, .. } = connect().await;
        let payload = bytes::Bytes::from(vec![0x5a; message]);
        let begin = Instant::now();
        let sender = tokio::spawn(async move {
            let mut written = 0;
            while written < total {
                ours.send(payload.clone()).await.expect("it is sent");
                written += payload.len() as u64;
            }
            ours
        });
        let mut received = 0;
        while received < total {
            received += theirs.recv().await.expect("a message").as_bytes().len() as u64;
        }
        let rate = received as f64 / begin.elapsed().as_secs_f64();
        drop(sender.await);
        rate
    })
}
