use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sansio::{Path, Seed, Time, Transport};

use super::forward::Statics;
use super::ports::{Ports, Taken};
use super::table::{InsideKey, Remote, Table};
use super::{Binding, Dependence, Egress, Forward, Hairpin, Nat, NatBehaviour, PortAssignment, Refusal};
use crate::content::{Content, Traffic};

/// New mappings and remote ends between two sweeps for dead ones.
const SWEEP_EVERY: usize = 1024;

/// A [`NatBehaviour`] at work: the table of its mappings.
#[derive(Debug)]
pub struct Translator {
    behaviour: NatBehaviour,
    ports: Ports,
    table: Table,
    statics: Statics,
    since_sweep: usize,
}

impl Translator {
    /// A box with an empty table. `external` are the addresses it gives to the IPv4 packets of inner hosts.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(behaviour: NatBehaviour, external: &[IpAddr], seed: Seed) -> Self {
        Self {
            behaviour,
            ports: Ports::new(external, seed),
            table: Table::default(),
            statics: Statics::default(),
            since_sweep: 0,
        }
    }

    fn lets_out(&self, path: &Path, content: Content) -> bool {
        let stream = Traffic::of(path, content) == Traffic::Stream;
        // What belongs to a stream that was let through passes, whichever side has opened it.
        let later = stream && content != Content::Syn;
        match self.behaviour.egress {
            Egress::All => true,
            Egress::Nothing => false,
            Egress::TcpOnly => stream,
            Egress::TcpPort(port) => later || stream && path.remote.port() == port,
            Egress::OnlyFrom(address) => later || path.local.ip() == address,
        }
    }

    /// How long a mapping lives that is used now.
    fn timeout(&self, id: u32) -> Duration {
        let mapping = self.table.get(id);
        match (mapping.key.traffic, mapping.answered, mapping.closing) {
            (Traffic::Stream, true, false) => self.behaviour.tcp_timeout,
            (Traffic::Stream, ..) => self.behaviour.tcp_transitory_timeout.min(self.behaviour.tcp_timeout),
            (Traffic::Udp, true, _) => self.behaviour.udp_timeout,
            (Traffic::Udp, false, _) => self.behaviour.udp_unanswered_timeout.min(self.behaviour.udp_timeout),
            (Traffic::Query, ..) => self.behaviour.icmp_timeout,
        }
    }

    /// Whether packets of this address keep it: IPv6 is filtered, not translated.
    fn keeps(&self, address: IpAddr) -> bool {
        !self.behaviour.translates() || address.is_ipv6()
    }

    /// The mapping that a packet from inside uses: the one it has, or a new one.
    fn map(&mut self, now: Time, key: InsideKey, keeps: bool) -> Result<u32, Refusal> {
        if let Some(id) = self.table.find(now, &key) {
            return Ok(id);
        }
        self.grow(now);
        let outer = if keeps {
            key.local
        } else {
            // A query's remote end cannot tell two askers apart.
            let overloads =
                self.behaviour.ports == PortAssignment::Overloading && key.traffic != Traffic::Query;
            let taken = Taken { now, table: &self.table, statics: &self.statics, overloads };
            self.ports.pick(&self.behaviour, &key, taken).ok_or(Refusal::NoFreePort)?
        };
        Ok(self.table.add(now, key, outer))
    }

    /// The table gets longer: from time to time, look for what is dead.
    fn grow(&mut self, now: Time) {
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP_EVERY {
            self.since_sweep = 0;
            self.table.sweep(now);
        }
    }

    /// A packet goes through a mapping: how far its stream is, and how long the mapping lives from now on.
    fn observe(&mut self, now: Time, id: u32, content: Content, refreshes: bool) -> Time {
        let mapping = self.table.get_mut(id);
        mapping.closing = content.closes() || mapping.closing && content != Content::Syn;
        let until = now + self.timeout(id);
        let mapping = self.table.get_mut(id);
        mapping.used = now;
        if content.closes() {
            // RFC 5382 §5: a stream that ends needs its mapping for some minutes only.
            mapping.expires = mapping.expires.min(until);
        } else if refreshes {
            mapping.expires = mapping.expires.max(until);
        }
        until
    }
}

impl Nat for Translator {
    fn outbound(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal> {
        let (traffic, error) = (Traffic::of(&path, content), content.error().is_some());
        if !error && !self.lets_out(&path, content) {
            return Err(Refusal::Blocked);
        }
        let embedded = if self.behaviour.nat64 { extract(path.remote) } else { None };
        let path = Path { remote: embedded.unwrap_or(path.remote), ..path };
        // An inner IPv6 address may have a static IPv4 one, which is not for its IPv6 packets.
        let fixed = self.statics.outer(now, &path, traffic, self.ports.pool[0]);
        if let Some(local) = fixed.filter(|outer| outer.is_ipv4() == path.remote.is_ipv4()) {
            return Ok(Path { local, ..path });
        }
        let keeps = self.keeps(path.local.ip()) && embedded.is_none();
        if keeps && self.behaviour.filtering.is_none() {
            return Ok(path);
        }
        let dependence = match self.behaviour.mapping {
            // RFC 5508 REQ-1: queries are mapped for all remote ends alike.
            Some(mapping) if !keeps && traffic != Traffic::Query => mapping,
            _ => Dependence::EndpointIndependent,
        };
        let key = InsideKey { traffic, local: path.local, remote: Remote::new(dependence, path.remote) };
        // With NAT64 an inner address has two mappings: to itself for IPv6, and to an IPv4 address.
        let key = if embedded.is_some() { InsideKey { local: marked(key.local), ..key } } else { key };
        if error || matches!(content, Content::EchoReply { .. }) {
            // RFC 5508 §4.2.2: an error about a packet that came in leaves as that had come, and changes nothing. And
            // an answer is no reason for a mapping.
            let mapping = self.table.peek(now, &key).ok_or(Refusal::NoMapping)?;
            return Ok(Path { local: mapping.outer, ..path });
        }
        let id = self.map(now, key, keeps)?;
        // RFC 4787 REQ-6: outgoing packets refresh the mapping.
        let until = self.observe(now, id, content, true);
        let mapping = self.table.get_mut(id);
        let outer = mapping.outer;
        if mapping.sent_to(path.remote, until) {
            self.grow(now);
        }
        Ok(Path { local: outer, ..path })
    }

    fn inbound(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal> {
        let traffic = Traffic::of(&path, content);
        let stream = traffic == Traffic::Stream;
        let keep = if stream { self.behaviour.tcp_timeout } else { self.behaviour.udp_timeout };
        if let Some(local) = self.statics.inner(now, &path, traffic, keep) {
            return Ok(inside(path, local));
        }
        if self.keeps(path.local.ip()) && self.behaviour.filtering.is_none() {
            return Ok(path);
        }
        if matches!(content, Content::Echo { .. }) {
            // A dynamic mapping is an asker's: it is for answers.
            return Err(Refusal::NoMapping);
        }
        let error = content.error().is_some();
        let filtering = match self.behaviour.filtering {
            // RFC 5508 §4.2.1: an error comes in if it is about a packet that went out, whatever the filter.
            _ if error => Dependence::AddressAndPortDependent,
            Some(filtering) => filtering,
            None => Dependence::EndpointIndependent,
        };
        // Overloaded, the remote end decides; if it is nobody's, whoever has used the port last.
        let admits = |id: u32| self.table.get(id).admits(now, filtering, path.remote);
        let id = self
            .table
            .at(now, traffic, path.local)
            .max_by_key(|&id| {
                (admits(id).map(|session| session == Some(path.remote)), self.table.get(id).used)
            })
            .ok_or(Refusal::NoMapping)?;
        let session = admits(id).ok_or(Refusal::Filtered)?;
        let path = inside(path, unmarked(self.table.get(id).key.local));
        if error {
            // RFC 4787 REQ-12, RFC 5382 REQ-10: it changes nothing.
            return Ok(path);
        }
        // RFC 5382 §5: two SYNs that cross are not a connection yet.
        self.table.get_mut(id).answered |= content != Content::Syn;
        // What comes in by a stream is acknowledged, so that something goes out.
        let refreshes = self.behaviour.refreshed_by_inbound || stream;
        let until = self.observe(now, id, content, refreshes);
        let mapping = self.table.get_mut(id);
        if refreshes && let Some(remote) = session {
            mapping.sent_to(remote, until);
        }
        Ok(path)
    }

    fn hairpin(&self) -> Hairpin {
        self.behaviour.hairpin
    }

    fn resets(&self) -> bool {
        self.behaviour.resets
    }

    fn restart(&mut self, external: &[IpAddr]) {
        self.ports.restart(external);
        self.table.clear();
        self.statics.forget_answers();
    }

    fn forward(&mut self, forward: Forward) {
        self.statics.forward(forward);
    }

    fn unforward(&mut self, transport: Transport, outer_port: u16) {
        self.statics.remove(transport, outer_port);
    }

    fn map_host(&mut self, outer: IpAddr, inner: IpAddr) {
        self.statics.map_host(outer, inner);
    }

    fn bindings(&self, now: Time) -> Vec<Binding> {
        let external = self.ports.pool[0];
        let forwards = self.statics.forwards().iter().map(|forward| Binding {
            traffic: Traffic::over(forward.transport),
            inner: forward.inner,
            outer: SocketAddr::new(external, forward.outer_port),
            remote: None,
            expires: None,
        });
        let hosts = self.statics.hosts().iter().flat_map(|&(outer, inner)| {
            [Traffic::Udp, Traffic::Stream, Traffic::Query].map(|traffic| Binding {
                traffic,
                inner: SocketAddr::new(inner, 0),
                outer: SocketAddr::new(outer, 0),
                remote: None,
                expires: None,
            })
        });
        let live = self.table.iter().filter(|mapping| mapping.expires > now);
        let dynamic = live.map(|mapping| Binding {
            traffic: mapping.key.traffic,
            inner: unmarked(mapping.key.local),
            outer: mapping.outer,
            remote: match mapping.key.remote {
                Remote::Any => None,
                Remote::Address(address) => Some(SocketAddr::new(address, 0)),
                Remote::Socket(socket) => Some(socket),
            },
            expires: Some(mapping.expires),
        });
        forwards.chain(hosts).chain(dynamic).collect()
    }
}

/// The well-known prefix of RFC 6052 §2.1, `64:ff9b::/96`.
const WELL_KNOWN: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// The IPv6 address by which NAT64 knows an IPv4 address (RFC 6052 §2.1).
pub(crate) fn synthesize(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets().map(u16::from);
    let [p0, p1, p2, p3, p4, p5] = WELL_KNOWN;
    Ipv6Addr::new(p0, p1, p2, p3, p4, p5, a << 8 | b, c << 8 | d)
}

/// The path inside of a packet for `local`, which may speak IPv6 where the outside does not.
fn inside(path: Path, local: SocketAddr) -> Path {
    let remote = match local.is_ipv6() && path.remote.is_ipv4() {
        true => synthesized(path.remote),
        false => path.remote,
    };
    Path { local, remote, ..path }
}

fn synthesized(remote: SocketAddr) -> SocketAddr {
    match remote.ip() {
        IpAddr::V4(address) => SocketAddr::new(synthesize(address).into(), remote.port()),
        IpAddr::V6(_) => remote,
    }
}

/// The IPv4 address that such an IPv6 address stands for.
fn extract(remote: SocketAddr) -> Option<SocketAddr> {
    let IpAddr::V6(address) = remote.ip() else { return None };
    let [head @ .., high, low] = address.segments();
    let address = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    (head == WELL_KNOWN).then(|| SocketAddr::new(address.into(), remote.port()))
}

/// An inner address as the key of its IPv4 mapping. The scope is no part of a global address, so it is free for that.
fn marked(local: SocketAddr) -> SocketAddr {
    scoped(local, 1)
}

fn unmarked(local: SocketAddr) -> SocketAddr {
    scoped(local, 0)
}

fn scoped(mut local: SocketAddr, scope: u32) -> SocketAddr {
    if let SocketAddr::V6(v6) = &mut local {
        v6.set_scope_id(scope);
    }
    local
}
