use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sansio::Path;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::Limits;
use crate::admission::Admitted;

/// Upper ends of the classes that handshake times are counted in, milliseconds.
const CLASSES: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000];

/// Counts handshakes of TLS and DTLS, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    classes: [AtomicU64; CLASSES.len()],
    done: AtomicU64,
    micros: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

/// Handshakes of TLS and DTLS so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakesSoFar {
    /// How many took no longer than so long. Cumulative: each includes those before it.
    pub within: Vec<(Duration, u64)>,
    /// How many succeeded.
    pub done: u64,
    /// How long those took, together.
    pub took: Duration,
    /// How many failed.
    pub failed: u64,
    /// How many took too long, and were given up.
    pub late: u64,
}

impl Handshakes {
    /// Shakes hands by TLS with who was let in, if not too many do. `None`: it came to nothing.
    pub(crate) async fn shake(
        &self,
        limits: Limits,
        admitted: &mut Admitted,
        tls: &TlsAcceptor,
        stream: TcpStream,
        path: Path,
    ) -> Option<TlsStream<TcpStream>> {
        if let Err(refused) = admitted.shakes_hands() {
            debug!(%path, ?refused, "TLS handshake refused: too many");
            return None;
        }
        let began = Instant::now();
        let shaken = timeout(limits.handshake, tls.accept(stream)).await;
        admitted.has_shaken_hands();
        match shaken {
            Ok(Ok(stream)) => {
                self.succeeded(began.elapsed());
                return Some(stream);
            }
            Ok(Err(error)) => {
                self.failed();
                debug!(%path, %error, "TLS handshake failed");
            }
            Err(_) => {
                self.took_too_long();
                debug!(%path, "TLS handshake took too long");
            }
        }
        None
    }

    pub(crate) fn succeeded(&self, took: Duration) {
        if let Some(class) = CLASSES.iter().position(|end| took <= Duration::from_millis(*end)) {
            self.classes[class].fetch_add(1, Ordering::Relaxed);
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took_too_long(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> HandshakesSoFar {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut sum = 0;
        let within = CLASSES.iter().zip(&self.classes).map(|(end, count)| {
            sum += load(count);
            (Duration::from_millis(*end), sum)
        });
        HandshakesSoFar {
            within: within.collect(),
            done: load(&self.done),
            took: Duration::from_micros(load(&self.micros)),
            failed: load(&self.failed),
            late: load(&self.late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_includes_those_before_it() {
        let handshakes = Handshakes::default();
        for millis in [1, 4, 4, 900, 60_000] {
            handshakes.succeeded(Duration::from_millis(millis));
        }
        handshakes.failed();
        let so_far = handshakes.so_far();
        let within = |millis| {
            let class = so_far.within.iter().find(|(end, _)| *end == Duration::from_millis(millis));
            class.map(|(_, count)| *count)
        };
        assert_eq!(
            (within(1), within(2), within(5), within(1000), within(5000)),
            (Some(1), Some(1), Some(3), Some(4), Some(4))
        );
        assert_eq!((so_far.done, so_far.failed, so_far.late), (5, 1, 0));
        assert_eq!(so_far.took, Duration::from_millis(60_909));
    }
}
