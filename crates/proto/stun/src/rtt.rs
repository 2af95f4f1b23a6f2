use std::time::Duration;

use sansio::Time;

use crate::transaction::Timing;

/// After so long without a sample the estimate is worth nothing (RFC 8489 §6.2.1).
const STALE_AFTER: Duration = Duration::from_secs(600);
/// No interval is shorter: a server that answers in a millisecond now may be busy the next time.
const SHORTEST: Duration = Duration::from_millis(100);

/// The retransmission interval towards one server, from the round-trip times seen (RFC 6298 §2, RFC 8489
/// §6.2.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct RttEstimate {
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    smoothed: Duration,
    variation: Duration,
    at: Time,
}

impl RttEstimate {
    /// Takes a round-trip time, of a request that was sent once only (Karn's algorithm).
    pub fn sample(&mut self, now: Time, rtt: Duration) {
        self.state = Some(match self.fresh(now) {
            None => State { smoothed: rtt, variation: rtt / 2, at: now },
            Some(State { smoothed, variation, .. }) => State {
                variation: variation * 3 / 4 + smoothed.abs_diff(rtt) / 4,
                smoothed: smoothed * 7 / 8 + rtt / 8,
                at: now,
            },
        });
    }

    /// The interval to start the next request with: 500 ms until there is something better.
    pub fn rto(&self, now: Time) -> Duration {
        match self.fresh(now) {
            None => Timing::INITIAL_RTO,
            Some(state) => (state.smoothed + state.variation * 4).max(SHORTEST),
        }
    }

    /// The smoothed round-trip time, if there was one lately.
    pub fn smoothed(&self, now: Time) -> Option<Duration> {
        self.fresh(now).map(|state| state.smoothed)
    }

    fn fresh(&self, now: Time) -> Option<State> {
        self.state.filter(|state| now.since(state.at) < STALE_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_follows_the_samples_and_goes_stale() {
        let ms = Duration::from_millis;
        let mut estimate = RttEstimate::default();
        assert_eq!(estimate.rto(Time::ZERO), ms(500));
        estimate.sample(Time::ZERO, ms(200));
        assert_eq!(estimate.rto(Time::ZERO), ms(600), "the first: R + 4 * R/2");
        for second in 1..60 {
            estimate.sample(Time::ZERO + ms(1000 * second), ms(200));
        }
        let now = Time::ZERO + ms(60_000);
        assert!(estimate.rto(now) < ms(210), "{:?}", estimate.rto(now));
        assert_eq!(estimate.rto(now + STALE_AFTER), ms(500));
    }

    #[test]
    fn a_fast_server_does_not_make_us_impatient() {
        let mut estimate = RttEstimate::default();
        for second in 0..60 {
            estimate.sample(Time::ZERO + Duration::from_secs(second), Duration::from_micros(80));
        }
        assert_eq!(estimate.rto(Time::ZERO + Duration::from_secs(60)), SHORTEST);
    }
}
