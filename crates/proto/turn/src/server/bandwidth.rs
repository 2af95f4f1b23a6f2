//! How many bytes a user, and all together, may have relayed in a second.

use std::collections::BTreeMap;
use std::time::Duration;

use sansio::Time;

use super::Server;
use super::allocation::AllocationId;
use super::quota::{Quotas, user};

/// How long a bucket that is full lasts. Media comes in bursts, a picture at a time.
const BURST: Duration = Duration::from_millis(250);
/// What a bucket holds at least: a bundle.
const SMALLEST_BURST: u64 = 1 << 16;
/// Parts of a bucket that a flow may take along at a time.
const PARTS: u64 = 4;
/// What a flow takes along at least; with less there is none.
const SMALLEST_ALLOWANCE: u64 = 1500;
/// What a stream gets at a time at most: it may end without having used it.
const LARGEST_GRANT: u64 = 1 << 16;

/// Which way. Each has its own measure, as a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client to its peers.
    ToPeers,
    /// From peers to a client.
    ToClient,
}

/// A bucket for each user, and one for all.
#[derive(Debug, Default)]
pub(super) struct Meters {
    per_user: Option<u64>,
    total: Option<u64>,
    users: BTreeMap<String, [Bucket; 2]>,
    all: [Bucket; 2],
}

/// Tokens, a byte each, that come back by and by.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// When it will be full again. In the past: it is.
    full_at: Time,
    /// When a stream took something, last.
    stream_at: Option<Time>,
}

impl Bucket {
    /// How many bytes it has, if so many come back in a second.
    fn available(self, now: Time, rate: u64) -> u64 {
        let missing = self.full_at.since(now).as_nanos() * u128::from(rate) / 1_000_000_000;
        u128::from(capacity(rate)).saturating_sub(missing) as u64
    }

    fn take(&mut self, now: Time, rate: u64, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.full_at = self.full_at.max(now) + cost;
    }

    /// How long until a stream may take `bytes`: until as many are left for datagrams, which cannot wait. But where those
    /// leave none, streams still get their half.
    fn wait(&self, now: Time, rate: u64, bytes: u64) -> Duration {
        let time = |bytes: u64| {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let holds = capacity(rate).saturating_sub(2 * bytes);
        let plenty = self.full_at.since(now).saturating_sub(time(holds));
        match self.stream_at {
            Some(before) => plenty.min((before + time(2 * bytes)).since(now)),
            None => plenty.min(time(2 * bytes)),
        }
    }
}

fn capacity(rate: u64) -> u64 {
    let burst = u128::from(rate) * BURST.as_millis() / 1000;
    u64::try_from(burst).unwrap_or(u64::MAX).max(SMALLEST_BURST)
}

impl Meters {
    pub(super) fn configure(&mut self, quotas: &Quotas) {
        let rates =
            (quotas.bandwidth_per_user.map(|rate| rate.max(1)), quotas.bandwidth.map(|rate| rate.max(1)));
        if rates != (self.per_user, self.total) {
            // What was taken at the old rate says nothing about the new one.
            *self = Self { per_user: rates.0, total: rates.1, ..Self::default() };
        }
    }

    fn is_off(&self) -> bool {
        self.per_user.is_none() && self.total.is_none()
    }

    /// How many bytes `user` may have relayed at once.
    fn available(&self, now: Time, user: &str, direction: Direction) -> u64 {
        let all = self.total.map(|rate| self.all[direction as usize].available(now, rate));
        let own = self.per_user.map(|rate| {
            let bucket = self.users.get(user).copied().unwrap_or_default()[direction as usize];
            bucket.available(now, rate)
        });
        all.unwrap_or(u64::MAX).min(own.unwrap_or(u64::MAX))
    }

    fn take(&mut self, now: Time, user: &str, direction: Direction, bytes: u64) {
        if let Some(rate) = self.total {
            self.all[direction as usize].take(now, rate, bytes);
        }
        if let Some(rate) = self.per_user {
            if !self.users.contains_key(user) {
                self.users.insert(user.to_owned(), Default::default());
            }
            if let Some(buckets) = self.users.get_mut(user) {
                buckets[direction as usize].take(now, rate, bytes);
            }
        }
    }

    /// What a stream may carry, or 0 and after what time it may ask again: it does not lose what is too much, but waits.
    fn grant(&mut self, now: Time, user: &str, direction: Direction) -> (u64, Duration) {
        let (bytes, way) = (self.portion().min(LARGEST_GRANT), direction as usize);
        let own = self.users.get(user).copied().unwrap_or_default()[way];
        let own = self.per_user.map(|rate| own.wait(now, rate, bytes));
        let all = self.total.map(|rate| self.all[way].wait(now, rate, bytes));
        match own.max(all) {
            Some(wait) if !wait.is_zero() => (0, wait),
            _ => {
                self.take(now, user, direction, bytes);
                self.all[way].stream_at = Some(now);
                if let Some(own) = self.users.get_mut(user) {
                    own[way].stream_at = Some(now);
                }
                (bytes, Duration::ZERO)
            }
        }
    }

    /// What a flow may take along at a time.
    fn portion(&self) -> u64 {
        let rate = self.per_user.into_iter().chain(self.total).min().unwrap_or(u64::MAX);
        capacity(rate) / PARTS
    }

    /// The user has no allocation any more.
    pub(super) fn forget(&mut self, username: &str) {
        self.users.remove(user(username));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl Server {
    /// Whether anything has a limit.
    pub(super) fn is_metered(&self) -> bool {
        !self.meters.is_off()
    }

    /// What a stream of this allocation may carry next that way, and after what time.
    pub(super) fn grant(
        &mut self,
        now: Time,
        id: AllocationId,
        direction: Direction,
    ) -> Option<(u64, Duration)> {
        let allocation = self.allocations.by_id(id)?;
        Some(self.meters.grant(now, user(&allocation.username), direction))
    }

    /// Takes the bytes of one datagram out of what the user of an allocation may have relayed. `false`: that is too much.
    pub(super) fn affords(&mut self, now: Time, id: AllocationId, direction: Direction, bytes: u64) -> bool {
        if self.meters.is_off() {
            return true;
        }
        let Some(allocation) = self.allocations.by_id(id) else { return false };
        let user = user(&allocation.username);
        let affords = self.meters.available(now, user, direction) >= bytes;
        if affords {
            self.meters.take(now, user, direction, bytes);
        }
        affords
    }

    /// How many bytes a flow may take along from `source` to `target`; the inner `None` is as many as it likes. They count
    /// as relayed. `None`: there is too little left.
    pub(super) fn allowance(
        &mut self,
        now: Time,
        source: Option<AllocationId>,
        target: Option<AllocationId>,
    ) -> Option<Option<u64>> {
        if self.meters.is_off() {
            return Some(None);
        }
        let ends = [(source, Direction::ToPeers), (target, Direction::ToClient)];
        let mut bytes = self.meters.portion();
        for (id, direction) in ends {
            let Some(allocation) = id.and_then(|id| self.allocations.by_id(id)) else { continue };
            bytes = bytes.min(self.meters.available(now, user(&allocation.username), direction));
        }
        if bytes < SMALLEST_ALLOWANCE {
            return None;
        }
        for (id, direction) in ends {
            let Some(allocation) = id.and_then(|id| self.allocations.by_id(id)) else { continue };
            self.meters.take(now, user(&allocation.username), direction, bytes);
        }
        Some(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let rate = 1_000_000;
        assert_eq!(bucket.available(at(0), rate), 250_000);
        bucket.take(at(0), rate, 250_000);
        assert_eq!(bucket.available(at(0), rate), 0);
        assert_eq!(bucket.available(at(100), rate), 100_000);
        assert_eq!(bucket.available(at(100_000), rate), 250_000, "no more than it holds");
    }

    #[test]
    fn streams_take_what_datagrams_leave_and_half_of_it_if_they_leave_nothing() {
        let mut meters = Meters { per_user: Some(1_000_000), ..Meters::default() };
        let carried = |meters: &mut Meters, from: u64, datagrams: bool| {
            let (mut bytes, mut ready) = ([0, 0], at(from));
            for millis in from..from + 10_000 {
                let now = at(millis);
                while datagrams && meters.available(now, "a", Direction::ToPeers) >= 1000 {
                    meters.take(now, "a", Direction::ToPeers, 1000);
                    bytes[1] += 1000;
                }
                while ready <= now {
                    let (granted, after) = meters.grant(now, "a", Direction::ToPeers);
                    bytes[0] += granted;
                    ready = now + after.max(Duration::from_nanos(u64::from(granted == 0)));
                }
            }
            bytes
        };
        // In ten seconds, and with the burst at the beginning.
        let [streams, _] = carried(&mut meters, 0, false);
        assert!((9_900_000..=10_250_000).contains(&streams), "{streams}");
        let [streams, datagrams] = carried(&mut meters, 10_000, true);
        assert!((9_900_000..=10_250_000).contains(&(streams + datagrams)), "{streams} {datagrams}");
        assert!((4_500_000..=5_500_000).contains(&streams), "{streams} {datagrams}");
        // Nobody else has to wait for that, nor the other way.
        assert_eq!(meters.grant(at(20_000), "a", Direction::ToClient), (62_500, Duration::ZERO));
        assert_eq!(meters.grant(at(20_000), "b", Direction::ToPeers), (62_500, Duration::ZERO));
        let quotas = Quotas { bandwidth_per_user: Some(2_000_000), ..Quotas::default() };
        meters.configure(&quotas);
        assert_eq!(
            meters.grant(at(20_000), "a", Direction::ToPeers),
            (65_536, Duration::ZERO),
            "all begins anew"
        );
        meters.configure(&quotas);
        assert_eq!(meters.available(at(20_000), "a", Direction::ToPeers), 500_000 - 65_536, "nothing is new");
    }

    #[test]
    fn a_slow_one_still_takes_a_bundle() {
        assert_eq!(Bucket::default().available(at(0), 1), 1 << 16);
    }

    #[test]
    fn directions_and_users_do_not_share_but_all_share_the_total() {
        let mut meters = Meters { per_user: Some(1_000_000), total: Some(1_600_000), ..Meters::default() };
        meters.take(at(0), "a", Direction::ToPeers, 250_000);
        assert_eq!(meters.available(at(0), "a", Direction::ToPeers), 0);
        assert_eq!(meters.available(at(0), "a", Direction::ToClient), 250_000);
        assert_eq!(meters.available(at(0), "b", Direction::ToPeers), 150_000);
        meters.forget("1700000000:a");
        assert!(meters.is_empty());
    }
}
