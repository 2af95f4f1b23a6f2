use std::time::Duration;

use sansio::Time;

use super::flight::Acked;
use crate::rtt::Rtt;

/// Packets that overtake one and so make it lost, as long as no reordering was seen (RFC 9260 §7.2.4 counts the same).
const OVERTAKEN: u64 = 3;
/// Quarters of the least round trip for which reordering is waited for, at most.
const MOST_PATIENCE: u32 = 8;

/// Finds losses by time (RFC 8985, RACK): what was sent well before something that has arrived is lost.
#[derive(Debug, Default)]
pub(crate) struct Rack {
    /// The packet that was sent last of those that arrived, and when.
    newest: Option<(u64, Time)>,
    /// The round trip of that.
    rtt: Duration,
    reordered: bool,
    /// Quarters of the least round trip.
    patience: u32,
}

impl Rack {
    /// Something arrived.
    pub(crate) fn arrived(&mut self, now: Time, acked: &Acked, rtt: &Rtt) {
        if let (Some(oldest), Some((newest, _))) = (acked.oldest, self.newest)
            && oldest < newest
        {
            self.reordered = true;
        }
        let Some(newest) = acked.newest else { return };
        let elapsed = now - newest.at;
        // What arrives so soon after its repetition is the original, if that can have been on its way for so long. (The least round
        // trip may be of a time when there was a queue.)
        let plausible = rtt.smoothed().is_none_or(|smoothed| now - newest.previous < 2 * smoothed);
        if newest.repeated && elapsed < rtt.least() && plausible {
            return;
        }
        if self.newest.is_none_or(|(packet, _)| packet <= newest.packet) {
            self.newest = Some((newest.packet, newest.at));
            self.rtt = elapsed;
        }
    }

    /// Something was repeated in vain: more reordering is waited for.
    pub(crate) fn duplicated(&mut self) {
        self.patience = (self.patience + 1).min(MOST_PATIENCE);
    }

    /// The packet that was sent last of those that arrived.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest.map(|(packet, _)| packet)
    }

    /// When a packet that was sent at `at` counts as lost; `None` if nothing that was sent later has arrived.
    pub(crate) fn due(&self, packet: u64, at: Time, rtt: &Rtt) -> Option<Time> {
        let (newest, _) = self.newest.filter(|(newest, _)| packet < *newest)?;
        let hurry = !self.reordered && newest - packet >= OVERTAKEN;
        let patience = if hurry { Duration::ZERO } else { rtt.least() / 4 * self.patience.max(1) };
        let most = rtt.smoothed().unwrap_or(self.rtt);
        Some(at + self.rtt + patience.min(most))
    }
}
