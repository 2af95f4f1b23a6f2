use std::net::IpAddr;
use std::time::Duration;

use sansio::{Rng, Time};

/// Buckets. Their number is fixed: a flood of spoofed sources costs no memory.
const BUCKETS: usize = 2048;
/// Seconds' worth of answers that a bucket holds.
const BURST: u32 = 4;

/// Limits what strangers get sent: one token bucket per source address, by a hash that nobody outside can
/// aim at.
///
/// Whoever has not shown that he receives what is sent to his address could be asking on someone else's
/// account. Answers to him are small, and here they are few.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// When each bucket will be full again. In the past: it is full.
    full_at: Vec<Time>,
    /// Time in which one token comes back.
    interval: Duration,
    keys: [u64; 2],
}

impl Throttle {
    pub(crate) fn new(per_second: u32, rng: &mut Rng) -> Self {
        Self {
            full_at: vec![Time::ZERO; BUCKETS],
            interval: Duration::from_secs(1) / per_second.max(1),
            keys: [rng.next_u64(), rng.next_u64()],
        }
    }

    /// Takes one token of `source`; `false` if there is none.
    pub(crate) fn allows(&mut self, now: Time, source: IpAddr) -> bool {
        let depth = Duration::from_secs(BURST.into());
        let bucket = self.bucket(source);
        let full_at = self.full_at[bucket].max(now) + self.interval;
        if full_at.since(now) > depth {
            return false;
        }
        self.full_at[bucket] = full_at;
        true
    }

    fn bucket(&self, source: IpAddr) -> usize {
        let bits = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let mixed = mix(mix(bits as u64 ^ self.keys[0]) ^ (bits >> 64) as u64 ^ self.keys[1]);
        mixed as usize % BUCKETS
    }
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Seed;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let mut throttle = Throttle::new(10, &mut Rng::new(Seed::from(1)));
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        assert_eq!((0..1000).filter(|_| throttle.allows(at(0), ip(1))).count(), 40);
        assert_eq!((0..1000).filter(|_| throttle.allows(at(1000), ip(1))).count(), 10);
        assert_eq!((0..1000).filter(|_| throttle.allows(at(60_000), ip(1))).count(), 40);
    }

    #[test]
    fn sources_spread_over_the_buckets_and_memory_stays() {
        let mut throttle = Throttle::new(1, &mut Rng::new(Seed::from(1)));
        let served: usize =
            (0..1000).filter(|source| throttle.allows(Time::ZERO, ip(0xc000_0200 + source))).count();
        assert_eq!(served, 1000);
        for source in 0..100_000 {
            throttle.allows(Time::ZERO, ip(source));
        }
        assert_eq!(throttle.full_at.len(), BUCKETS);
    }
}
