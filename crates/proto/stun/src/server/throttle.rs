use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sansio::{Path, Rng, Time, Transport};

/// Buckets of each sort. Their number is fixed: a flood of spoofed sources costs no memory.
const BUCKETS: usize = 2048;
/// Seconds' worth of answers that a bucket holds.
const BURST: u32 = 4;
/// How many times the share of one host the network around it gets: someone who floods a whole network by spoofing each
/// of its addresses is stopped as well.
const NETWORK: u32 = 8;

/// Limits what strangers get sent: one token bucket per host and one per network around it, by a hash that nobody
/// outside can aim at.
///
/// Whoever has not shown that he receives what is sent to his address could be asking on someone else's
/// account. Answers to him are small, and here they are few. A host is an IPv4 address or an IPv6 /64, the network
/// around it an IPv4 /24 or an IPv6 /48.
#[derive(Debug)]
pub struct Throttle {
    hosts: Buckets,
    networks: Buckets,
}

#[derive(Debug)]
struct Buckets {
    /// When each bucket will be full again. In the past: it is full.
    full_at: Vec<Time>,
    /// Time in which one token comes back.
    interval: Duration,
    keys: [u64; 2],
}

impl Throttle {
    /// A throttle that lets each host have so many answers in a second, and four times as many at once; eight times
    /// that for the network around it.
    pub fn new(per_second: u32, rng: &mut Rng) -> Self {
        let per_second = per_second.max(1);
        Self {
            hosts: Buckets::new(per_second, rng),
            networks: Buckets::new(per_second.saturating_mul(NETWORK), rng),
        }
    }

    /// Whether a stranger gets an answer to what came by `from`. On a stream he is where he says he is.
    pub fn allows_answer(&mut self, now: Time, from: Path) -> bool {
        from.transport != Transport::Udp || self.allows(now, from.remote.ip())
    }

    /// Takes one token of `source`; `false` if there is none.
    pub fn allows(&mut self, now: Time, source: IpAddr) -> bool {
        let (address, host, network) = match source.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), 128, 128 - 8),
            IpAddr::V6(v6) => (v6, 64, 48),
        };
        let host = self.hosts.bucket(prefix(address, host));
        let network = self.networks.bucket(prefix(address, network));
        let has = self.hosts.has(now, host) && self.networks.has(now, network);
        if has {
            self.hosts.take(now, host);
            self.networks.take(now, network);
        }
        has
    }
}

/// The first `bits` bits of `address`, which are more than 0; the others are 0.
fn prefix(address: Ipv6Addr, bits: u32) -> u128 {
    address.to_bits() & (u128::MAX << (128 - bits))
}

impl Buckets {
    fn new(per_second: u32, rng: &mut Rng) -> Self {
        Self {
            full_at: vec![Time::ZERO; BUCKETS],
            interval: Duration::from_secs(1) / per_second,
            keys: [rng.next_u64(), rng.next_u64()],
        }
    }

    fn has(&self, now: Time, bucket: usize) -> bool {
        let full_at = self.full_at[bucket].max(now) + self.interval;
        full_at.since(now) <= Duration::from_secs(BURST.into())
    }

    fn take(&mut self, now: Time, bucket: usize) {
        self.full_at[bucket] = self.full_at[bucket].max(now) + self.interval;
    }

    fn bucket(&self, bits: u128) -> usize {
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

    fn throttle(per_second: u32) -> Throttle {
        Throttle::new(per_second, &mut Rng::new(Seed::from(1)))
    }

    /// How many of 1000 requests of these sources at one moment are answered.
    fn served(throttle: &mut Throttle, ms: u64, source: impl Fn(u32) -> IpAddr) -> usize {
        let now = Time::from_start(Duration::from_millis(ms));
        (0..1000).filter(|number| throttle.allows(now, source(*number))).count()
    }

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let mut throttle = throttle(10);
        assert_eq!(served(&mut throttle, 0, |_| ip(1)), 40);
        assert_eq!(served(&mut throttle, 1000, |_| ip(1)), 10);
        assert_eq!(served(&mut throttle, 60_000, |_| ip(1)), 40);
        let mapped = |_| "::ffff:0.0.0.1".parse().unwrap();
        assert_eq!(served(&mut throttle, 60_000, mapped), 0, "the same source in other clothes");
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let mut throttle = throttle(10);
        let in_64 = |number| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, number as u16));
        assert_eq!(served(&mut throttle, 0, in_64), 40);
        assert_eq!(served(&mut throttle, 0, |_| "2001:db8:0:2::1".parse().unwrap()), 40);
    }

    #[test]
    fn a_flood_spread_over_a_network_is_limited_too() {
        assert_eq!(served(&mut throttle(10), 0, |number| ip(0xc000_0200 + number % 256)), 320);
        let in_48 = |number| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, number as u16, 0, 0, 0, 1));
        assert_eq!(served(&mut throttle(10), 0, in_48), 320);
    }

    #[test]
    fn sources_spread_over_the_buckets_and_memory_stays() {
        let mut throttle = throttle(1);
        assert!(served(&mut throttle, 0, |number| ip(number << 12)) > 950);
        for source in 0..100_000 {
            throttle.allows(Time::ZERO, ip(source << 8));
        }
        assert_eq!((throttle.hosts.full_at.len(), throttle.networks.full_at.len()), (BUCKETS, BUCKETS));
    }
}
