use std::time::Duration;

use sansio::Time;

/// What a timer cannot do better than: bursts are as long as this.
const GRAIN: Duration = Duration::from_millis(2);
/// Packets that may always leave at once.
const BURST: usize = 16;

/// Spreads packets over time: a bucket that fills at a rate.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes that may leave now. Negative after a packet that was larger.
    tokens: f64,
    at: Time,
}

impl Pacer {
    pub(crate) fn new(now: Time) -> Self {
        Self { tokens: f64::MAX, at: now }
    }

    /// Lets time pass. `rate` is in bytes per second.
    pub(crate) fn fill(&mut self, now: Time, rate: f64, mtu: usize) {
        let elapsed = (now - self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + elapsed * rate).min(depth(rate, mtu));
    }

    /// A packet left.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Whether a packet may leave.
    pub(crate) fn is_ready(&self) -> bool {
        self.tokens > 0.0
    }

    /// When the next ones should leave: not each alone, since timers are coarse.
    pub(crate) fn ready_at(&self, rate: f64, mtu: usize) -> Time {
        let missing = depth(rate, mtu) / 2.0 - self.tokens;
        self.at + Duration::from_secs_f64((missing / rate.max(1.0)).clamp(1e-6, 1.0))
    }
}

fn depth(rate: f64, mtu: usize) -> f64 {
    (rate * GRAIN.as_secs_f64()).max((BURST * mtu) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_at_the_rate() {
        let (rate, mtu) = (1e6, 1000);
        let mut pacer = Pacer::new(Time::ZERO);
        let (mut now, mut sent) = (Time::ZERO, 0);
        while now < Time::ZERO + Duration::from_secs(2) {
            pacer.fill(now, rate, mtu);
            while pacer.is_ready() {
                pacer.spend(mtu);
                sent += mtu;
            }
            let next = pacer.ready_at(rate, mtu);
            assert!(next > now);
            now = next;
        }
        assert!((2_000_000..2_040_000).contains(&sent), "{sent}");
    }
}
