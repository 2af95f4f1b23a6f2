use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Limits;

/// Counts the connections, in all and per source, and lets no more in than the limits say.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    limits: Limits,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection that was let in. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admitted {
    source: IpAddr,
    counts: Arc<Mutex<Counts>>,
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
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Lets a connection in, or says why not.
    pub(crate) fn admit(&self, source: IpAddr) -> Result<Admitted, Refused> {
        let source = block(source);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.limits.connections {
            return Err(Refused::Total);
        }
        let of_source = counts.by_source.get(&source).copied().unwrap_or_default();
        if of_source >= self.limits.connections_per_source {
            return Err(Refused::Source);
        }
        counts.total += 1;
        counts.by_source.insert(source, of_source + 1);
        Ok(Admitted { source, counts: self.counts.clone() })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(count) = counts.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

/// What one host or home has: an IPv4 address, or an IPv6 /64.
fn block(source: IpAddr) -> IpAddr {
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
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let admission = Admission::new(Limits::default());
        drop(admission.admit("192.0.2.1".parse().unwrap()));
        let counts = admission.counts.lock().unwrap();
        assert!(counts.total == 0 && counts.by_source.is_empty());
    }
}
