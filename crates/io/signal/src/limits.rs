//! How much of the server one stranger may use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Bounds on everything a stranger can fill or do often.
///
/// Sources are counted by address (IPv6 by /64), and loopback is not counted: behind a reverse proxy on
/// the same machine everybody comes from there, and so do tests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// WebSocket connections in all.
    pub connections: usize,
    /// WebSocket connections from one source.
    pub connections_per_source: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// Members in a room of links and pages, at most and unless its opener asks for fewer.
    pub members: usize,
    /// Bytes in one message of a client.
    pub message: usize,
    /// Messages a second that one client may send in the long run; faster ones are read later, not lost.
    pub messages_per_second: u32,
    /// Messages one client may send at once.
    pub message_burst: u32,
    /// Seconds between two tries (join, allocate, look) of one source in the long run.
    pub seconds_per_try: f64,
    /// Tries one source may make at once.
    pub try_burst: u32,
    /// Messages that wait for one slow client before it is dropped.
    pub queue: usize,
    /// How often a client is pinged.
    pub ping: Duration,
    /// How long a client may be silent before it counts as gone.
    pub silence: Duration,
    /// How long a nameplate rests after its host left, so that a late guest does not meet a stranger.
    pub nameplate_rest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_source: 64,
            rooms: 10_000,
            members: 6,
            message: 64 * 1024,
            messages_per_second: 50,
            message_burst: 400,
            seconds_per_try: 1.0,
            try_burst: 30,
            queue: 128,
            ping: Duration::from_secs(4),
            silence: Duration::from_secs(10),
            nameplate_rest: Duration::from_secs(600),
        }
    }
}

/// A token bucket: `burst` at once, one more every `interval`.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(burst: u32, per_second: f64, now: Instant) -> Self {
        Self { tokens: f64::from(burst), burst: f64::from(burst), per_second, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = now;
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// Takes a token on credit and says how long to wait for it.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.tokens / self.per_second.max(0.001))
    }

    fn is_full(&self, now: Instant) -> bool {
        self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * self.per_second >= self.burst
    }
}

/// What each source has open and how often it tried.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_address: BTreeMap<IpAddr, Usage>,
    connections: usize,
}

#[derive(Debug)]
struct Usage {
    connections: usize,
    tries: Bucket,
}

impl Sources {
    /// Counts a connection in; `false` if it is one too many.
    pub(crate) fn connect(&mut self, source: Option<IpAddr>, limits: &Limits, now: Instant) -> bool {
        if self.connections >= limits.connections {
            return false;
        }
        if let Some(source) = counted(source) {
            let usage = self.usage(source, limits, now);
            if usage.connections >= limits.connections_per_source {
                return false;
            }
            usage.connections += 1;
        }
        self.connections += 1;
        true
    }

    /// Counts a connection out.
    pub(crate) fn disconnect(&mut self, source: Option<IpAddr>, now: Instant) {
        self.connections = self.connections.saturating_sub(1);
        if let Some(source) = counted(source)
            && let Some(usage) = self.by_address.get_mut(&source)
        {
            usage.connections = usage.connections.saturating_sub(1);
        }
        // Kept only while it says something: a source that is gone but has tried a lot is remembered until
        // its bucket is full again.
        self.by_address.retain(|_, usage| usage.connections > 0 || !usage.tries.is_full(now));
    }

    /// Whether this source may try (join, allocate, look) once more now.
    pub(crate) fn may_try(&mut self, source: Option<IpAddr>, limits: &Limits, now: Instant) -> bool {
        match counted(source) {
            Some(source) => self.usage(source, limits, now).tries.take(now),
            None => true,
        }
    }

    fn usage(&mut self, source: IpAddr, limits: &Limits, now: Instant) -> &mut Usage {
        self.by_address.entry(source).or_insert_with(|| Usage {
            connections: 0,
            tries: Bucket::new(limits.try_burst, 1.0 / limits.seconds_per_try.max(0.001), now),
        })
    }
}

/// The address a source is counted by, if it is counted.
fn counted(source: Option<IpAddr>) -> Option<IpAddr> {
    match source?.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(IpAddr::V6(network.into()))
        }
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_bounded_and_loopback_is_not() {
        let limits = Limits { connections_per_source: 2, ..Limits::default() };
        let now = Instant::now();
        let mut sources = Sources::default();
        let a = Some("2001:db8::1".parse().unwrap());
        let same_network = Some("2001:db8::2".parse().unwrap());
        assert!(sources.connect(a, &limits, now));
        assert!(sources.connect(same_network, &limits, now));
        assert!(!sources.connect(a, &limits, now));
        sources.disconnect(same_network, now);
        assert!(sources.connect(a, &limits, now));
        for _ in 0..10 {
            assert!(sources.connect(Some("127.0.0.1".parse().unwrap()), &limits, now));
            assert!(sources.connect(Some("::ffff:127.0.0.1".parse().unwrap()), &limits, now));
        }
    }

    #[test]
    fn tries_run_out_and_come_back() {
        let limits = Limits { try_burst: 3, seconds_per_try: 2.0, ..Limits::default() };
        let mut now = Instant::now();
        let mut sources = Sources::default();
        let source = Some("192.0.2.1".parse().unwrap());
        assert!(sources.connect(source, &limits, now));
        for _ in 0..3 {
            assert!(sources.may_try(source, &limits, now));
        }
        assert!(!sources.may_try(source, &limits, now));
        // A new connection does not wash the record clean.
        sources.disconnect(source, now);
        assert!(sources.connect(source, &limits, now));
        assert!(!sources.may_try(source, &limits, now));
        now += Duration::from_secs(2);
        assert!(sources.may_try(source, &limits, now));
        assert!(!sources.may_try(source, &limits, now));
        // And it is forgotten when it no longer matters.
        now += Duration::from_secs(60);
        sources.disconnect(source, now);
        assert!(sources.by_address.is_empty());
    }

    #[test]
    fn a_bucket_on_credit_says_how_long_to_wait() {
        let now = Instant::now();
        let mut bucket = Bucket::new(1, 10.0, now);
        assert_eq!(bucket.wait(now), Duration::ZERO);
        assert_eq!(bucket.wait(now), Duration::from_millis(100));
        assert_eq!(bucket.wait(now + Duration::from_secs(1)), Duration::ZERO);
    }
}
