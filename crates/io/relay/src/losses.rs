use std::sync::atomic::{AtomicU64, Ordering};

use sansio::Path;
use tracing::debug;
use udp::Outcome;

/// Why a datagram was lost that the machine had let through, or that it was never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// A buffer of the system was full.
    SystemFull,
    /// The system would not send it: a firewall, no route, too large. Of datagrams that were sent together, all count.
    Refused,
    /// A client of TCP, TLS or DTLS takes less than is sent to it.
    SlowReader,
    /// The thread that decides had more to do than it could.
    Busy,
    /// What is DTLS came faster than it could be opened.
    Dtls,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::SystemFull, Self::Refused, Self::SlowReader, Self::Busy, Self::Dtls];

    /// A word for it that does not change: a metric's label, say.
    pub fn code(self) -> &'static str {
        match self {
            Self::SystemFull => "system_full",
            Self::Refused => "refused",
            Self::SlowReader => "slow_reader",
            Self::Busy => "busy",
            Self::Dtls => "dtls",
        }
    }
}

/// Counts them, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Losses([AtomicU64; Loss::ALL.len()]);

impl Losses {
    pub(crate) fn add(&self, reason: Loss, datagrams: u64) {
        self.0[reason as usize].fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> LossesSoFar {
        LossesSoFar(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

/// What of `total` bytes in datagrams of `segment` did not go, and why.
pub(crate) fn of(outcome: &Outcome, path: Path, segment: usize, total: usize) -> Option<(Loss, u64)> {
    let (reason, rest) = match outcome {
        Outcome::Sent => return None,
        Outcome::Blocked { sent } => (Loss::SystemFull, total - sent),
        Outcome::Lost(error) => {
            debug!(%path, %error, "not sent");
            (Loss::Refused, total)
        }
    };
    Some((reason, rest.div_ceil(segment.max(1)) as u64))
}

/// How many datagrams were lost so far, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossesSoFar([u64; Loss::ALL.len()]);

impl LossesSoFar {
    /// How many for `reason`.
    pub fn of(&self, reason: Loss) -> u64 {
        self.0[reason as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place() {
        let losses = Losses::default();
        for (at, reason) in Loss::ALL.into_iter().enumerate() {
            losses.add(reason, 1 << at);
        }
        let so_far = losses.so_far();
        assert!(Loss::ALL.into_iter().enumerate().all(|(at, reason)| so_far.of(reason) == 1 << at));
        assert_eq!(so_far.total(), 0b11111);
    }
}
