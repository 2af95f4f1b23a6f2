use std::time::Duration;

use sansio::Time;

/// The rate by what is lost (draft-ietf-rmcat-gcc-02 §6): for queues that are too short to be noticed.
#[derive(Debug)]
pub(super) struct LossControl {
    since: Time,
    sent: u32,
    lost: u32,
}

/// How long losses are counted before they mean something.
const INTERVAL: Duration = Duration::from_millis(500);
/// Fewer packets say nothing.
const PACKETS: u32 = 20;

impl LossControl {
    pub(super) fn new() -> Self {
        Self { since: Time::ZERO, sent: 0, lost: 0 }
    }

    /// Counts packets that were reported. Returns by which factor the rate is to fall, when that is due.
    pub(super) fn push(&mut self, now: Time, sent: u32, lost: u32) -> Option<f64> {
        self.sent += sent;
        self.lost += lost;
        if now.since(self.since) < INTERVAL || self.sent < PACKETS {
            return None;
        }
        let fraction = f64::from(self.lost) / f64::from(self.sent);
        *self = Self { since: now, sent: 0, lost: 0 };
        (fraction > 0.1).then_some(1.0 - 0.5 * fraction)
    }
}
