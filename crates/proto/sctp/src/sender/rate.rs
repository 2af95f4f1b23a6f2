use std::time::Duration;

use sansio::Time;

/// Measures the rate at which things arrive (draft-cheng-iccrg-delivery-rate-estimation).
#[derive(Debug, Default)]
pub(crate) struct Meter {
    delivered: u64,
    delivered_at: Time,
    /// When the first of what is measured now was sent.
    first_sent: Time,
    /// While less than this is delivered, the application was the limit.
    starved_until: u64,
}

/// What the meter said when a chunk was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    starved: bool,
}

impl Meter {
    /// Something leaves, and `flight` bytes were on their way before it.
    pub(crate) fn sent(&mut self, now: Time, flight: usize) -> Snapshot {
        if flight == 0 {
            (self.first_sent, self.delivered_at) = (now, now);
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            starved: self.starved_until > self.delivered,
        }
    }

    /// What was sent before this, and by how much more than the path may reorder, has arrived before if it arrives now.
    pub(crate) fn late(&self, reordering: Duration) -> Time {
        Time::ZERO + (self.first_sent - Time::ZERO).saturating_sub(reordering)
    }

    /// There was nothing more to send while `flight` bytes were on their way.
    pub(crate) fn starve(&mut self, flight: usize) {
        self.starved_until = self.delivered + flight as u64 + 1;
    }

    /// So many bytes arrived, the newest of them sent at `at`. Returns bytes per second, and whether the application was
    /// the limit; nothing if that was in less than the `least` round trip: much arrives at once when a gap is filled.
    pub(crate) fn arrived(
        &mut self,
        now: Time,
        bytes: usize,
        at: Time,
        then: Snapshot,
        least: Duration,
    ) -> Option<(f64, bool)> {
        self.delivered += bytes as u64;
        self.delivered_at = now;
        self.first_sent = at;
        let elapsed = (at - then.first_sent).max(now - then.delivered_at);
        let delivered = self.delivered - then.delivered;
        (!elapsed.is_zero() && elapsed >= least)
            .then(|| (delivered as f64 / elapsed.as_secs_f64(), then.starved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_measured_as_what_it_is() {
        let mut meter = Meter::default();
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        let mut snapshots = std::collections::VecDeque::new();
        let mut rate = None;
        for millis in 0..500 {
            snapshots.push_back((at(millis), meter.sent(at(millis), if millis == 0 { 0 } else { 1 })));
            if millis >= 50 {
                let (sent, then) = snapshots.pop_front().unwrap();
                rate = meter.arrived(at(millis), 1000, sent, then, Duration::ZERO);
            }
        }
        let (rate, starved) = rate.unwrap();
        assert!((0.95e6..1.06e6).contains(&rate), "{rate}");
        assert!(!starved);
        meter.starve(1000);
        assert!(meter.sent(at(501), 1000).starved);
    }
}
