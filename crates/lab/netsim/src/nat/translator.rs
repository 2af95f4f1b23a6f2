use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Path, Rng, Seed, Time, Transport};

use super::{Dependence, Egress, Hairpin, Nat, NatBehaviour, PortAssignment, Refusal};

/// The ports a NAT gives out: all but the well-known ones.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=65535;
/// How many random ports are tried before the table is searched from end to end.
const GUESSES: usize = 64;
/// New mappings between two sweeps for dead ones.
const SWEEP_EVERY: usize = 1024;

/// A [`NatBehaviour`] at work: the table of its mappings.
#[derive(Debug)]
pub struct Translator {
    behaviour: NatBehaviour,
    external: IpAddr,
    rng: Rng,
    /// From the inside: which mapping a packet uses.
    inside: BTreeMap<InsideKey, OutsideKey>,
    /// From the outside: the mappings.
    outside: BTreeMap<OutsideKey, Mapping>,
    next_port: u16,
    since_sweep: usize,
}

/// A mapping as the outside names it; the flag tells streams from datagrams.
type OutsideKey = (bool, SocketAddr);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct InsideKey {
    stream: bool,
    local: SocketAddr,
    remote: Remote,
}

/// The part of a remote address that matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Remote {
    Any,
    Address(IpAddr),
    Socket(SocketAddr),
}

#[derive(Debug)]
struct Mapping {
    key: InsideKey,
    expires: Time,
    /// Whom packets were sent to, as far as the filter cares, and until when that counts.
    allowed: BTreeMap<Remote, Time>,
}

impl Remote {
    fn new(dependence: Dependence, remote: SocketAddr) -> Self {
        match dependence {
            Dependence::EndpointIndependent => Self::Any,
            Dependence::AddressDependent => Self::Address(remote.ip()),
            Dependence::AddressAndPortDependent => Self::Socket(remote),
        }
    }
}

impl Translator {
    /// A box with an empty table. `external` is the address it gives to the IPv4 packets of all inner hosts.
    pub fn new(behaviour: NatBehaviour, external: IpAddr, seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let next_port = *PORTS.start() + rng.below(40_000) as u16;
        Self {
            behaviour,
            external,
            rng,
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
            next_port,
            since_sweep: 0,
        }
    }

    fn lets_out(&self, path: &Path) -> bool {
        match self.behaviour.egress {
            Egress::All => true,
            Egress::TcpOnly => path.transport != Transport::Udp,
            Egress::TcpPort(port) => path.transport != Transport::Udp && path.remote.port() == port,
        }
    }

    fn timeout(&self, stream: bool) -> Duration {
        if stream { self.behaviour.tcp_timeout } else { self.behaviour.udp_timeout }
    }

    /// Whether packets of this address keep it: IPv6 is filtered, not translated.
    fn keeps(&self, address: IpAddr) -> bool {
        !self.behaviour.translates() || address.is_ipv6()
    }

    /// The mapping that a packet from inside uses: the one it has, or a new one.
    fn map(&mut self, now: Time, key: InsideKey) -> Result<OutsideKey, Refusal> {
        if let Some(&outside) = self.inside.get(&key) {
            if self.outside.get(&outside).is_some_and(|mapping| mapping.expires > now) {
                return Ok(outside);
            }
            self.forget(outside);
        }
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_EVERY {
            self.sweep(now);
        }
        let outside = if self.keeps(key.local.ip()) {
            (key.stream, key.local)
        } else {
            let port = self.pick_port(now, key).ok_or(Refusal::NoFreePort)?;
            (key.stream, SocketAddr::new(self.external, port))
        };
        self.forget(outside);
        self.inside.insert(key, outside);
        self.outside.insert(outside, Mapping { key, expires: now, allowed: BTreeMap::new() });
        Ok(outside)
    }

    fn pick_port(&mut self, now: Time, key: InsideKey) -> Option<u16> {
        let inner = key.local.port();
        if self.behaviour.ports == PortAssignment::Preserving && self.is_free(now, key.stream, inner) {
            return Some(inner);
        }
        let span = u64::from(PORTS.end() - PORTS.start()) + 1;
        if self.behaviour.ports != PortAssignment::Sequential {
            for _ in 0..GUESSES {
                let port = PORTS.start() + self.rng.below(span) as u16;
                // RFC 4787 §4.2.1: without preservation the port differs from the inner one.
                if port != inner && self.is_free(now, key.stream, port) {
                    return Some(port);
                }
            }
        }
        for _ in 0..span {
            let port = self.next_port;
            self.next_port = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
            if self.is_free(now, key.stream, port) {
                return Some(port);
            }
        }
        None
    }

    fn is_free(&self, now: Time, stream: bool, port: u16) -> bool {
        let key = (stream, SocketAddr::new(self.external, port));
        self.outside.get(&key).is_none_or(|mapping| mapping.expires <= now)
    }

    fn forget(&mut self, outside: OutsideKey) {
        if let Some(mapping) = self.outside.remove(&outside) {
            self.inside.remove(&mapping.key);
        }
    }

    fn sweep(&mut self, now: Time) {
        self.since_sweep = 0;
        self.outside.retain(|_, mapping| mapping.expires > now);
        let outside = &self.outside;
        self.inside.retain(|_, key| outside.contains_key(key));
        for mapping in self.outside.values_mut() {
            mapping.allowed.retain(|_, until| *until > now);
        }
    }
}

impl Nat for Translator {
    fn outbound(&mut self, now: Time, path: Path) -> Result<Path, Refusal> {
        if !self.lets_out(&path) {
            return Err(Refusal::Blocked);
        }
        let stream = path.transport != Transport::Udp;
        let keeps = self.keeps(path.local.ip());
        if keeps && self.behaviour.filtering.is_none() {
            return Ok(path);
        }
        let mapping = match self.behaviour.mapping {
            Some(mapping) if !keeps => mapping,
            _ => Dependence::EndpointIndependent,
        };
        let key = InsideKey { stream, local: path.local, remote: Remote::new(mapping, path.remote) };
        let outside = self.map(now, key)?;
        let expires = now + self.timeout(stream);
        let filter = self.behaviour.filtering.unwrap_or(Dependence::EndpointIndependent);
        let mapping = self.outside.get_mut(&outside).expect("map returns a mapping that is there");
        // RFC 4787 REQ-6: outgoing packets refresh the mapping.
        mapping.expires = expires;
        mapping.allowed.insert(Remote::new(filter, path.remote), expires);
        Ok(Path { local: outside.1, ..path })
    }

    fn inbound(&mut self, now: Time, path: Path) -> Result<Path, Refusal> {
        let stream = path.transport != Transport::Udp;
        if self.keeps(path.local.ip()) && self.behaviour.filtering.is_none() {
            return Ok(path);
        }
        let expires = now + self.timeout(stream);
        let filter = self.behaviour.filtering.unwrap_or(Dependence::EndpointIndependent);
        let mapping = self.outside.get_mut(&(stream, path.local)).ok_or(Refusal::NoMapping)?;
        if mapping.expires <= now {
            return Err(Refusal::NoMapping);
        }
        let until = mapping.allowed.get_mut(&Remote::new(filter, path.remote)).ok_or(Refusal::Filtered)?;
        if *until <= now {
            return Err(Refusal::Filtered);
        }
        if self.behaviour.refreshed_by_inbound {
            *until = expires;
            mapping.expires = expires;
        }
        Ok(Path { local: mapping.key.local, ..path })
    }

    fn hairpin(&self) -> Hairpin {
        self.behaviour.hairpin
    }

    fn restart(&mut self, external: Option<IpAddr>) {
        self.external = external.unwrap_or(self.external);
        self.inside.clear();
        self.outside.clear();
    }
}
