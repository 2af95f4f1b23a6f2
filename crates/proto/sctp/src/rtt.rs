use std::time::Duration;

use sansio::Time;

/// Before anything was measured.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// RFC 9260 §16 says 1 s and 60 s. ICE notices dead paths, and one that comes back must not lie idle for a minute.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(400);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the least round trip stays the least.
const MEMORY: Duration = Duration::from_secs(10);
/// A probe waits at least so long.
const SHORTEST_PROBE: Duration = Duration::from_millis(5);

/// What is known of the round-trip time (RFC 9260 §6.3.1).
#[derive(Debug, Default)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Duration,
    /// When the least was measured.
    least_at: Time,
    /// Timeouts in a row, and probes.
    backoff: u32,
    probes: u32,
}

impl Rtt {
    /// Something that was sent once arrived after so long.
    pub(crate) fn measured(&mut self, now: Time, rtt: Duration) {
        if self.smoothed.is_none() || rtt <= self.least || now - self.least_at > MEMORY {
            (self.least, self.least_at) = (rtt, now);
        }
        self.smoothed = Some(match self.smoothed {
            None => {
                self.variation = rtt / 2;
                rtt
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                (smoothed * 7 + rtt) / 8
            }
        });
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The least of the last seconds; zero if nothing was measured.
    pub(crate) fn least(&self) -> Duration {
        self.least
    }

    /// After how long what is not acknowledged counts as lost.
    pub(crate) fn timeout(&self) -> Duration {
        let base = self.smoothed.map_or(FIRST_TIMEOUT, |smoothed| smoothed + self.variation * 4);
        let base = base.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT);
        base.saturating_mul(1 << self.backoff.min(5)).min(LONGEST_TIMEOUT)
    }

    /// After how long of silence the last packet is sent again, to provoke an answer (RFC 8985 §7.2): twice as long after each
    /// that provoked none. `None` if it is not known how long to wait, or the retransmission timer has gone off already.
    pub(crate) fn probe_timeout(&self) -> Option<Duration> {
        let smoothed = self.smoothed.filter(|_| self.backoff == 0)?;
        let wait = (smoothed * 2 + self.variation).max(SHORTEST_PROBE);
        Some(wait.saturating_mul(1 << self.probes.min(8)))
    }

    pub(crate) fn backoff(&self) -> u32 {
        self.backoff
    }

    pub(crate) fn probed(&mut self) {
        self.probes = self.probes.saturating_add(1);
    }

    pub(crate) fn timed_out(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Something arrived.
    pub(crate) fn progressed(&mut self) {
        (self.backoff, self.probes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_what_is_measured_and_doubles_in_silence() {
        let mut rtt = Rtt::default();
        assert_eq!((rtt.timeout(), rtt.probe_timeout()), (FIRST_TIMEOUT, None));
        for _ in 0..50 {
            rtt.measured(Time::ZERO, Duration::from_millis(300));
        }
        assert!(rtt.timeout() < Duration::from_millis(401), "{:?}", rtt.timeout());
        rtt.measured(Time::ZERO, Duration::from_millis(900));
        assert!(rtt.timeout() > Duration::from_millis(900));
        let before = rtt.timeout();
        rtt.timed_out();
        assert_eq!(rtt.timeout(), before * 2);
        (0..100).for_each(|_| rtt.timed_out());
        assert_eq!((rtt.timeout(), rtt.probe_timeout()), (LONGEST_TIMEOUT, None));
        rtt.progressed();
        assert_eq!(rtt.timeout(), before);
    }

    #[test]
    fn the_least_is_forgotten_after_a_while() {
        let mut rtt = Rtt::default();
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        rtt.measured(at(0), Duration::from_millis(10));
        rtt.measured(at(9), Duration::from_millis(50));
        assert_eq!(rtt.least(), Duration::from_millis(10));
        rtt.measured(at(11), Duration::from_millis(50));
        assert_eq!(rtt.least(), Duration::from_millis(50));
    }
}
