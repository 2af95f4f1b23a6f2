use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sansio::Path;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep_until, timeout};
use turn::StreamNews;

use crate::connection::StreamEvent;
use crate::post::Post;

/// Bytes of one direction that are neither here nor there: what is read and not yet written. Who does not read is not
/// written to, and whom nobody reads from stops sending.
const BUFFER: usize = 16 * 1024;
/// How long one direction may be silent after the other has ended.
const LINGER: Duration = Duration::from_secs(60);
/// How often the machine hears what went by.
const REPORT: Duration = Duration::from_secs(1);
/// What may go at once, as time at the rate that is allowed.
const BURST: Duration = Duration::from_millis(250);

/// A peer's connection that a client's is joined with (RFC 6062 §5.4).
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) stream: TcpStream,
    pub(crate) path: Path,
    pub(crate) toll: Toll,
    /// Ready, or gone, when the machine closes it.
    pub(crate) stop: oneshot::Receiver<()>,
}

/// How fast bytes may go each way, to the peer and to the client: by user, and for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Toll(pub(crate) Vec<Arc<[Pace; 2]>>);

/// A rate that several connections share.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second.
    rate: u64,
    /// When what has gone so far would have gone at that rate.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes more may go.
    async fn take(&self, bytes: usize) {
        let paid = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
            *paid
        };
        if paid > Instant::now() + BURST {
            sleep_until(paid - BURST).await;
        }
    }
}

impl Toll {
    async fn pay(&self, way: usize, bytes: usize) {
        for paces in &self.0 {
            paces[way].take(bytes).await;
        }
    }
}

/// What both directions share.
#[derive(Default)]
struct Common {
    carried: [AtomicU64; 2],
    /// One of them has ended.
    ending: AtomicBool,
}

/// Carries what either side sends to the other, `head` first, until both have ended or one is broken.
pub(crate) async fn run(
    client: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    head: Vec<u8>,
    partner: Partner,
    events: &Post,
) {
    let Partner { mut stream, path, toll, stop } = partner;
    let (mut from_client, mut to_client) = client;
    let (mut from_peer, mut to_peer) = stream.split();
    let common = Common::default();
    let up = async {
        toll.pay(0, head.len()).await;
        to_peer.write_all(&head).await?;
        common.carried[0].fetch_add(head.len() as u64, Ordering::Relaxed);
        pump(&mut from_client, &mut to_peer, 0, &toll, &common).await
    };
    let down = pump(&mut from_peer, &mut to_client, 1, &toll, &common);
    let reports = async {
        let mut ticks = interval(REPORT);
        loop {
            ticks.tick().await;
            report(path, &common, events).await;
        }
    };
    tokio::select! {
        _ = async { tokio::try_join!(up, down) } => {}
        _ = stop => {}
        () = reports => {}
    }
    report(path, &common, events).await;
}

/// One direction.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: usize,
    toll: &Toll,
    common: &Common,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match timeout(LINGER, from.read(&mut buffer)).await {
            Ok(read) => read?,
            Err(_) if common.ending.load(Ordering::Relaxed) => 0,
            Err(_) => continue,
        };
        if length == 0 {
            common.ending.store(true, Ordering::Relaxed);
            // The other side hears that there is no more, and may still say what it has.
            return to.shutdown().await;
        }
        toll.pay(way, length).await;
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        common.carried[way].fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn report(path: Path, common: &Common, events: &Post) {
    let [to_peer, to_client] = [0, 1].map(|way| common.carried[way].swap(0, Ordering::Relaxed));
    if to_peer + to_client > 0 {
        let news = StreamNews::Carried { path, to_peer, to_client };
        let _ = events.send(StreamEvent::Peer(news)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pace_lets_a_burst_go_and_then_its_rate() {
        let pace = Pace::new(1_000_000);
        let start = Instant::now();
        for _ in 0..6 {
            pace.take(100_000).await;
        }
        // 600,000 bytes less the burst.
        assert!(start.elapsed() >= Duration::from_millis(340), "{:?}", start.elapsed());
    }
}
