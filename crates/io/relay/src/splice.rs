use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sansio::Path;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, interval, timeout, timeout_at};
use turn::{Direction, StreamNews};

use crate::connection::StreamEvent;
use crate::post::Post;

/// Bytes of one direction that are neither here nor there: what is read and not yet written. Who does not read is not
/// written to, and whom nobody reads from stops sending.
const BUFFER: usize = 16 * 1024;
/// How long one direction may be silent after the other has ended.
const LINGER: Duration = Duration::from_secs(60);
/// How often the machine hears what went by.
const REPORT: Duration = Duration::from_secs(1);

/// A peer's connection that a client's is joined with (RFC 6062 §5.4).
#[derive(Debug)]
pub(crate) struct Partner {
    pub(crate) stream: TcpStream,
    pub(crate) path: Path,
    pub(crate) toll: Arc<Toll>,
    /// Ready, or gone, when the machine closes it.
    pub(crate) stop: oneshot::Receiver<()>,
}

/// What may go each way by one connection, if the machine meters it.
#[derive(Debug)]
pub(crate) struct Toll([Way; 2]);

#[derive(Debug)]
struct Way {
    purse: Mutex<Purse>,
    news: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Purse {
    metered: bool,
    /// What may go.
    bytes: u64,
    /// When more may be asked for.
    ready: Instant,
    /// More was asked for.
    asked: bool,
}

impl Purse {
    fn new(metered: bool) -> Self {
        Self { metered, bytes: 0, ready: Instant::now(), asked: false }
    }
}

impl Way {
    fn new(metered: bool) -> Self {
        Self { purse: Mutex::new(Purse::new(metered)), news: Notify::new() }
    }

    fn purse(&self) -> MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Toll {
    pub(crate) fn new(metered: bool) -> Self {
        Self([Way::new(metered), Way::new(metered)])
    }

    /// What was granted is no longer; from now on it has to be asked for, or need not any more.
    pub(crate) fn meter(&self, metered: bool) {
        for way in &self.0 {
            *way.purse() = Purse::new(metered);
            way.news.notify_one();
        }
    }

    /// So much more may go; for what is beyond that it may ask later.
    pub(crate) fn grant(&self, direction: Direction, bytes: u64, after: Duration) {
        let way = &self.0[direction as usize];
        {
            let mut purse = way.purse();
            purse.bytes += bytes;
            purse.ready = Instant::now() + after;
            purse.asked = false;
        }
        way.news.notify_one();
    }
}

/// A connection that pays.
struct Payer<'a> {
    path: Path,
    toll: &'a Toll,
    events: &'a Post,
}

impl Payer<'_> {
    /// Waits until so many bytes may go. What is missing is asked for, once.
    async fn pay(&self, direction: Direction, bytes: usize) {
        let (way, bytes) = (&self.toll.0[direction as usize], bytes as u64);
        loop {
            let (ready, asks) = {
                let mut purse = way.purse();
                if !purse.metered {
                    return;
                }
                if purse.bytes >= bytes {
                    purse.bytes -= bytes;
                    return;
                }
                let ready = Some(purse.ready).filter(|ready| *ready > Instant::now());
                (ready, ready.is_none() && !std::mem::replace(&mut purse.asked, true))
            };
            if asks {
                let wants = StreamNews::Wants { path: self.path, direction };
                let _ = self.events.send(StreamEvent::Peer(wants)).await;
            }
            // Whatever changes meanwhile is looked at at once.
            match ready {
                Some(ready) => _ = timeout_at(ready, way.news.notified()).await,
                None => way.news.notified().await,
            }
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
    let payer = Payer { path, toll: &toll, events };
    let up = async {
        payer.pay(Direction::ToPeers, head.len()).await;
        to_peer.write_all(&head).await?;
        common.carried[0].fetch_add(head.len() as u64, Ordering::Relaxed);
        pump(&mut from_client, &mut to_peer, Direction::ToPeers, &payer, &common).await
    };
    let down = pump(&mut from_peer, &mut to_client, Direction::ToClient, &payer, &common);
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
    direction: Direction,
    payer: &Payer<'_>,
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
        payer.pay(direction, length).await;
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        common.carried[direction as usize].fetch_add(length as u64, Ordering::Relaxed);
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
    use sansio::Transport;
    use tokio::sync::mpsc;

    use super::*;

    /// Bytes that got through until nothing moved.
    async fn paid(payer: &Payer<'_>, most: usize) -> usize {
        let mut paid = 0;
        let paying = async {
            while paid < most {
                payer.pay(Direction::ToPeers, 100).await;
                paid += 100;
            }
        };
        let _ = timeout(Duration::from_millis(40), paying).await;
        paid
    }

    #[tokio::test]
    async fn what_is_metered_is_asked_for_once_and_waits_until_it_may_go() {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (sender, mut asked) = mpsc::channel(9);
        let events = &Post { events: sender, waker };
        let path = Path::new(Transport::Tcp, ([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into());
        let toll = &Toll::new(true);
        let payer = Payer { path, toll, events };
        let mut asks = || std::iter::from_fn(|| asked.try_recv().ok()).count();

        assert_eq!((paid(&payer, 1000).await, asks()), (0, 1));
        assert_eq!((paid(&payer, 1000).await, asks()), (0, 0), "once");
        toll.grant(Direction::ToPeers, 350, Duration::from_millis(200));
        assert_eq!((paid(&payer, 1000).await, asks()), (300, 0), "and no more yet");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((paid(&payer, 1000).await, asks()), (0, 1));
        toll.grant(Direction::ToPeers, 0, Duration::from_secs(3600));
        assert_eq!((paid(&payer, 1000).await, asks()), (0, 0));
        // Other limits: who waits begins anew.
        toll.meter(true);
        assert_eq!((paid(&payer, 1000).await, asks()), (0, 1));
        toll.meter(false);
        assert_eq!((paid(&payer, 1000).await, asks()), (1000, 0));
    }
}
