use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::nat::Nat;
use crate::net::{HostId, SegmentId};
use crate::prefix::Prefix;
use crate::record::Place;

/// One broadcast domain, or the internet's core: who is attached, and where everything else goes.
pub(crate) struct Segment {
    /// The box that leads out of it; the internet has none.
    pub(crate) gateway: Option<Gateway>,
    /// `None`: the segment speaks IPv6 alone.
    pub(crate) ipv4: Option<Prefix>,
    pub(crate) ipv6: Option<Prefix>,
    /// Whether its DNS gives IPv6 addresses to names that have none (RFC 6147).
    pub(crate) dns64: bool,
    /// The HTTP proxy that its hosts ask for streams out of it.
    pub(crate) proxy: Option<SocketAddr>,
    attached: BTreeMap<IpAddr, Attached>,
    /// Prefixes behind boxes that do not translate, by their first address. They do not overlap.
    routes: BTreeMap<IpAddr, (Prefix, SegmentId)>,
    next_address: u32,
}

/// Who owns an address on a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attached {
    Host(HostId, usize),
    /// The outer side of the box that leads to this segment.
    Gateway(SegmentId),
}

/// Where a packet on a segment goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hop {
    To(Attached),
    /// Out through the segment's own box.
    Out,
    /// It would be here, but is not.
    NoHost,
    NoRoute,
}

/// The box between a segment and the segment outside it.
pub(crate) struct Gateway {
    pub(crate) place: Place,
    pub(crate) nat: Box<dyn Nat>,
    pub(crate) outside: SegmentId,
    /// Its outer IPv4 addresses, the first one first.
    pub(crate) external: Vec<IpAddr>,
    /// Further ones, each for one inner host alone.
    pub(crate) mapped: Vec<IpAddr>,
    pub(crate) uplink: usize,
}

impl Gateway {
    pub(crate) fn owns(&self, outer: IpAddr) -> bool {
        self.external.contains(&outer) || self.mapped.contains(&outer)
    }
}

impl Segment {
    pub(crate) fn new(gateway: Option<Gateway>, ipv4: Option<Prefix>) -> Self {
        Self {
            gateway,
            ipv4,
            ipv6: None,
            dns64: false,
            proxy: None,
            attached: BTreeMap::new(),
            routes: BTreeMap::new(),
            next_address: 10,
        }
    }

    /// Addresses that nobody has yet, of the families that the segment has, IPv4 first.
    pub(crate) fn free_addresses(&mut self) -> Vec<IpAddr> {
        loop {
            let number = self.next_address;
            self.next_address += 1;
            let ipv4 = self
                .ipv4
                .map(|prefix| prefix.address(number).expect("the segment has run out of IPv4 addresses"));
            let ipv6 = self.ipv6.and_then(|prefix| prefix.address(number));
            let addresses: Vec<IpAddr> = ipv4.into_iter().chain(ipv6).collect();
            if !addresses.iter().any(|address| self.attached.contains_key(address)) {
                return addresses;
            }
        }
    }

    /// # Panics
    /// If somebody has the address already.
    pub(crate) fn attach(&mut self, address: IpAddr, who: Attached) {
        let old = self.attached.insert(address, who);
        assert!(old.is_none(), "{address} is taken on this segment");
    }

    pub(crate) fn detach(&mut self, address: IpAddr) {
        self.attached.remove(&address);
    }

    pub(crate) fn add_route(&mut self, prefix: Prefix, via: SegmentId) {
        self.routes.insert(prefix.base(), (prefix, via));
    }

    /// Whether an address is one of this segment's own.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        [self.ipv4, self.ipv6].into_iter().flatten().any(|prefix| prefix.contains(address))
    }

    pub(crate) fn hop(&self, to: IpAddr) -> Hop {
        if let Some(&who) = self.attached.get(&to) {
            return Hop::To(who);
        }
        if let Some((_, &(prefix, via))) = self.routes.range(..=to).next_back()
            && prefix.contains(to)
        {
            return Hop::To(Attached::Gateway(via));
        }
        if self.contains(to) {
            return Hop::NoHost;
        }
        if self.gateway.is_some() { Hop::Out } else { Hop::NoRoute }
    }
}
