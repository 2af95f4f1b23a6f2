use std::net::{IpAddr, SocketAddr};

use sansio::{Rng, Seed, Time};

use super::table::{InsideKey, Remote, Table};
use super::{NatBehaviour, Pooling, PortAssignment};
use crate::nat::forward::Statics;

/// The ports a NAT gives out: all but the well-known ones.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=65535;
/// How many random ports are tried before the table is searched from end to end.
const GUESSES: usize = 64;

/// Who decides which outer address and port a new mapping gets.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) pool: Vec<IpAddr>,
    rng: Rng,
    next: u16,
    /// For paired pooling: which outer address an inner one has, as far as it has mappings.
    paired: std::collections::BTreeMap<IpAddr, usize>,
}

/// What is taken already.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) now: Time,
    pub(crate) table: &'a Table,
    pub(crate) statics: &'a Statics,
    pub(crate) overloads: bool,
}

impl Taken<'_> {
    fn is_free(&self, key: &InsideKey, outer: SocketAddr) -> bool {
        // Overloaded, a port is taken only if the remote end cannot tell the two apart.
        let clashes = |other: Remote| !self.overloads || other == key.remote && other != Remote::Any;
        self.statics.leaves_free(key.traffic, outer.port())
            && !self.table.at(self.now, key.traffic, outer).any(|id| clashes(self.table.get(id).key.remote))
    }
}

impl Ports {
    pub(crate) fn new(pool: &[IpAddr], seed: Seed) -> Self {
        assert!(!pool.is_empty(), "a box has at least one outer address");
        let mut rng = Rng::new(seed);
        let next = *PORTS.start() + rng.below(40_000) as u16;
        Self { pool: pool.to_vec(), rng, next, paired: std::collections::BTreeMap::new() }
    }

    pub(crate) fn restart(&mut self, pool: &[IpAddr]) {
        assert!(!pool.is_empty(), "a box has at least one outer address");
        self.pool = pool.to_vec();
        self.paired.clear();
    }

    /// An outer address and port for a new mapping; `None`: all are taken.
    pub(crate) fn pick(
        &mut self,
        behaviour: &NatBehaviour,
        key: &InsideKey,
        taken: Taken<'_>,
    ) -> Option<SocketAddr> {
        let first = self.address(behaviour.pooling, key.local.ip());
        let addresses = match behaviour.pooling {
            Pooling::Paired => 1,
            Pooling::Arbitrary => self.pool.len(),
        };
        (0..addresses).find_map(|n| {
            let address = self.pool[(first + n) % self.pool.len()];
            let port = self.port(behaviour.ports, address, key, taken)?;
            Some(SocketAddr::new(address, port))
        })
    }

    fn address(&mut self, pooling: Pooling, inner: IpAddr) -> usize {
        let count = self.pool.len() as u64;
        if count == 1 {
            return 0;
        }
        match pooling {
            Pooling::Arbitrary => self.rng.below(count) as usize,
            Pooling::Paired => *self.paired.entry(inner).or_insert_with(|| self.rng.below(count) as usize),
        }
    }

    fn port(
        &mut self,
        rule: PortAssignment,
        address: IpAddr,
        key: &InsideKey,
        taken: Taken<'_>,
    ) -> Option<u16> {
        let is_free = |port| taken.is_free(key, SocketAddr::new(address, port));
        let inner = key.local.port();
        let parity = matches!(rule, PortAssignment::Parity | PortAssignment::Contiguous);
        match rule {
            PortAssignment::Preserving | PortAssignment::Overloading if is_free(inner) => {
                return Some(inner);
            }
            PortAssignment::Contiguous => {
                let previous = inner.checked_sub(1).map(|port| SocketAddr::new(key.local.ip(), port));
                let previous = previous.map(|local| InsideKey { local, ..*key });
                let previous = previous.and_then(|key| taken.table.peek(taken.now, &key));
                let next = previous.filter(|it| it.outer.ip() == address).map(|it| it.outer.port());
                if let Some(port) = next.and_then(|port| port.checked_add(1)).filter(|&port| is_free(port)) {
                    return Some(port);
                }
            }
            _ => {}
        }
        let suits = |port: u16| {
            // RFC 4787 §4.2.1: without preservation the port differs from the inner one.
            port != inner && (!parity || port % 2 == inner % 2) && is_free(port)
        };
        // Contiguous: an even port is given only with its odd neighbour still free.
        let neighbour = rule == PortAssignment::Contiguous && inner.is_multiple_of(2);
        if rule != PortAssignment::Sequential {
            let span = u64::from(PORTS.end() - PORTS.start()) + 1;
            for _ in 0..GUESSES {
                let port = PORTS.start() + self.rng.below(span) as u16;
                if suits(port) && (!neighbour || is_free(port + 1)) {
                    return Some(port);
                }
            }
        }
        for _ in PORTS {
            let port = self.next;
            self.next = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
            if suits(port) {
                return Some(port);
            }
        }
        None
    }
}
