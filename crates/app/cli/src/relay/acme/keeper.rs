//! When a certificate is made, and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sansio::{Rng, Seed};
use signal::{ConnectOptions, WebClient};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::order::{self, Trouble};
use super::{Acme, Store};
use crate::failure::Failure;
use crate::relay::station::unix_time;
use crate::relay::tls::Challenges;
use crate::session::trusted;

/// How long the authority's web server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest sleep: clocks are set, and machines sleep themselves.
const LOOK: Duration = Duration::from_secs(3600);
/// After the first failure: nobody was there, or the authority said no.
const SOON: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(15 * 60);
/// After many.
const SELDOM: Duration = Duration::from_secs(6 * 3600);

/// What came of the attempts so far.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Renewals {
    /// Each with its name.
    pub(crate) fn so_far(&self) -> [(&'static str, u64); 2] {
        [("succeeded", &self.succeeded), ("failed", &self.failed)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// Sees to it that there is a certificate, and a new one in time.
pub(crate) struct Keeper {
    acme: Acme,
    store: Store,
    web: WebClient,
    challenges: Challenges,
    renewals: Arc<Renewals>,
    rng: Rng,
    /// Servers that were started together do not ask together: from 0 to 1.
    jitter: f64,
}

impl Keeper {
    pub(crate) fn new(acme: &Acme, challenges: Challenges) -> Result<Self, Failure> {
        let options = ConnectOptions { timeout: TIMEOUT, ..trusted(acme.ca.as_deref())? };
        let mut rng = Rng::new(Seed(crypto::seed()));
        let jitter = fraction(&mut rng);
        Ok(Self {
            acme: acme.clone(),
            store: Store::new(acme),
            web: WebClient::new(options),
            challenges,
            renewals: Arc::default(),
            rng,
            jitter,
        })
    }

    pub(crate) fn renewals(&self) -> Arc<Renewals> {
        self.renewals.clone()
    }

    /// Never ends. After a failure, `again` has it try at once.
    pub(crate) async fn run(mut self, again: Arc<Notify>) {
        let mut failures = 0;
        loop {
            let left = self.left();
            if !left.is_zero() {
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            match self.obtain().await {
                Ok(()) => {
                    failures = 0;
                    self.renewals.succeeded.fetch_add(1, Ordering::Relaxed);
                    let days = self.left().as_secs() / 86_400;
                    info!(domains = self.acme.domains.join(", "), renewed_in_days = days, "certificate made");
                }
                Err(trouble) => {
                    failures += 1;
                    self.renewals.failed.fetch_add(1, Ordering::Relaxed);
                    let wait = pause(failures, trouble.refused, fraction(&mut self.rng));
                    warn!(
                        domains = self.acme.domains.join(", "),
                        authority = self.acme.directory,
                        why = trouble.why,
                        again_in_seconds = wait.as_secs(),
                        "no new certificate: the present one stays"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = again.notified() => {}
                    }
                }
            }
        }
    }

    async fn obtain(&self) -> Result<(), Trouble> {
        order::obtain(&self.acme, &self.store, self.web.clone(), &self.challenges).await?;
        if self.left().is_zero() {
            // Asking again would bring the same again.
            let why = "the new certificate is due for another one: is this machine's clock right?".to_owned();
            return Err(Trouble { why, refused: true });
        }
        Ok(())
    }

    /// How long the certificate that is there need not be looked after. Zero: now.
    fn left(&self) -> Duration {
        let due = self.store.validity().map_or(0, |(from, until)| due(from, until, self.jitter));
        Duration::from_secs(due.saturating_sub(unix_time()))
    }
}

/// When two thirds of a certificate's life are over, or a little before, Unix time.
fn due(from: u64, until: u64, jitter: f64) -> u64 {
    let life = until.saturating_sub(from) as f64;
    from + (life * (2.0 / 3.0 - jitter / 20.0)) as u64
}

/// How long to wait after so many failures.
fn pause(failures: u32, refused: bool, jitter: f64) -> Duration {
    let first = if refused { LATER } else { SOON };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(SELDOM).mul_f64(0.75 + jitter / 2.0)
}

/// From 0 to 1.
fn fraction(rng: &mut Rng) -> f64 {
    rng.below(1 << 20) as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let day = 86_400;
        let from = 20_000 * day;
        assert_eq!(due(from, from + 90 * day, 0.0), from + 60 * day);
        let earliest = due(from, from + 90 * day, 1.0);
        assert!((from + 55 * day..from + 56 * day).contains(&earliest), "{earliest}");
        assert_eq!(due(from, from, 0.5), from, "a certificate that never was good");
    }

    #[test]
    fn failures_are_repeated_seldom_and_refusals_more_so() {
        let seconds = |failures, refused| pause(failures, refused, 0.5).as_secs();
        assert_eq!([1, 2, 3].map(|failures| seconds(failures, false)), [30, 60, 120]);
        assert_eq!([1, 2].map(|failures| seconds(failures, true)), [900, 1800]);
        for refused in [false, true] {
            assert_eq!(seconds(40, refused), 6 * 3600, "and never not at all");
        }
        assert!(pause(1, false, 0.0) < pause(1, false, 0.9));
    }
}
