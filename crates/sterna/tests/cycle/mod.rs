//! One life of two connections, and what the process holds on to.

use std::time::{Duration, Instant};

use sterna::prelude::*;

/// Connects two peers, sends a message each way, and ends it: by closing, or by dropping.
pub(crate) async fn cycle(close: bool) {
    let configuration = Configuration { trickle: false, include_loopback: true, ..Configuration::default() };
    let make = || PeerConnection::new(configuration.clone()).unwrap();
    let (here, there) = (make(), make());
    let init = DataChannelInit { negotiated: true, id: Some(0), ..DataChannelInit::default() };
    let ours = here.create_data_channel("cycle", init.clone()).unwrap();
    let theirs = there.create_data_channel("cycle", init).unwrap();
    there.set_remote_description(here.set_local_description(None).await.unwrap()).await.unwrap();
    here.set_remote_description(there.set_local_description(None).await.unwrap()).await.unwrap();
    ours.send("ping").await.unwrap();
    assert_eq!(theirs.recv().await, Some("ping".into()));
    theirs.send("pong").await.unwrap();
    assert_eq!(ours.recv().await, Some("pong".into()));
    if close {
        tokio::join!(here.close(), there.close());
    }
}

/// File descriptors, tasks, and bytes of memory that the process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holdings {
    pub(crate) descriptors: usize,
    pub(crate) tasks: usize,
    pub(crate) memory: usize,
}

impl Holdings {
    pub(crate) fn now() -> Self {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<usize>().ok());
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            memory: pages.unwrap_or(0) * 4096,
        }
    }

    /// Once nothing but `tasks` runs any more: connections that were dropped end in the background.
    pub(crate) async fn settled(tasks: usize) -> Self {
        let patience = Instant::now() + Duration::from_secs(30);
        while Self::now().tasks > tasks && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::now()
    }
}
