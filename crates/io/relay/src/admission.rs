use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Limits;

/// Counts the connections and DTLS sessions, in all and per source, and lets no more in than the limits say. Those whose
/// handshake is under way, which costs most, are counted once more.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    limits: Limits,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Crowd,
    shaking_hands: Crowd,
}

#[derive(Debug, Default)]
struct Crowd {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
    /// How often somebody was kept out.
    refused: u64,
}

/// A connection that was let in. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admitted {
    source: IpAddr,
    limits: Limits,
    counts: Arc<Mutex<Counts>>,
    shakes_hands: bool,
}

/// Which limit keeps a connection out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Total,
    Source,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counts: Arc::default() }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.counts).all.total
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        let counts = lock(&self.counts);
        let (all, hands) = (&counts.all, &counts.shaking_hands);
        vec![
            ("connections", all.total),
            ("sources of connections", all.by_source.len()),
            ("handshakes", hands.total),
            ("sources of handshakes", hands.by_source.len()),
        ]
    }

    /// How many connections were kept out, and how many handshakes did not begin.
    pub(crate) fn refused(&self) -> [u64; 2] {
        let counts = lock(&self.counts);
        [counts.all.refused, counts.shaking_hands.refused]
    }

    /// Lets a connection in, or says why not.
    pub(crate) fn admit(&self, source: IpAddr) -> Result<Admitted, Refused> {
        let (source, limits) = (block(source), self.limits);
        lock(&self.counts).all.enter(source, limits.connections, limits.connections_per_source)?;
        Ok(Admitted { source, limits, counts: self.counts.clone(), shakes_hands: false })
    }
}

impl Admitted {
    /// Its handshake begins, or does not: there are too many.
    pub(crate) fn shakes_hands(&mut self) -> Result<(), Refused> {
        let Limits { handshakes, handshakes_per_source, .. } = self.limits;
        lock(&self.counts).shaking_hands.enter(self.source, handshakes, handshakes_per_source)?;
        self.shakes_hands = true;
        Ok(())
    }

    /// Its handshake is over.
    pub(crate) fn has_shaken_hands(&mut self) {
        if std::mem::take(&mut self.shakes_hands) {
            lock(&self.counts).shaking_hands.leave(self.source);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.has_shaken_hands();
        lock(&self.counts).all.leave(self.source);
    }
}

impl Crowd {
    fn enter(&mut self, source: IpAddr, most: usize, most_of_source: usize) -> Result<(), Refused> {
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if self.total >= most || of_source >= most_of_source {
            self.refused += 1;
            return Err(if self.total >= most { Refused::Total } else { Refused::Source });
        }
        self.total += 1;
        self.by_source.insert(source, of_source + 1);
        Ok(())
    }

    fn leave(&mut self, source: IpAddr) {
        self.total -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one host or home has: an IPv4 address, or an IPv6 /64.
pub(crate) fn block(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_share_and_all_together_theirs() {
        let limits = Limits { connections: 3, connections_per_source: 2, ..Limits::default() };
        let admission = Admission::new(limits);
        let admit = |source: &str| admission.admit(source.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("::ffff:192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), Refused::Source);
        let _third = admit("2001:db8::1").unwrap();
        assert_eq!(admit("192.0.2.9").unwrap_err(), Refused::Total);
        drop(first);
        let _fourth = admit("2001:db8::ffff:1").unwrap();
        assert_eq!(admit("2001:db8:0:1::1").unwrap_err(), Refused::Total);
        assert_eq!(admission.refused(), [3, 0]);
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let admission = Admission::new(Limits::default());
        let mut admitted = admission.admit("192.0.2.1".parse().unwrap()).unwrap();
        admitted.shakes_hands().unwrap();
        drop(admitted);
        let counts = admission.counts.lock().unwrap();
        for crowd in [&counts.all, &counts.shaking_hands] {
            assert!(crowd.total == 0 && crowd.by_source.is_empty());
        }
    }

    #[test]
    fn handshakes_are_fewer_than_connections() {
        let limits = Limits { handshakes: 3, handshakes_per_source: 1, ..Limits::default() };
        let admission = Admission::new(limits);
        let admit = |source: &str| admission.admit(source.parse().unwrap()).unwrap();
        let (mut first, mut second) = (admit("192.0.2.1"), admit("192.0.2.1"));
        first.shakes_hands().unwrap();
        assert_eq!(second.shakes_hands(), Err(Refused::Source));
        first.has_shaken_hands();
        first.has_shaken_hands();
        second.shakes_hands().unwrap();
        let others = ["192.0.2.2", "192.0.2.3"].map(|source| {
            let mut other = admit(source);
            other.shakes_hands().unwrap();
            other
        });
        assert_eq!(admit("192.0.2.4").shakes_hands(), Err(Refused::Total));
        drop(others);
        admit("192.0.2.4").shakes_hands().unwrap();
        assert_eq!(admission.connections(), 2);
        assert_eq!(admission.refused(), [0, 2]);
    }
}
