use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::nat::Nat;
use crate::net::{HostId, SegmentId};
use crate::prefix::Prefix;
use crate::trace::Place;

/// One broadcast domain, or the internet's core: who is attached, and where everything else goes.
pub(crate) struct Segment {
    /// The box that leads out of it; the internet has none.
    pub(crate) gateway: Option<Gateway>,
    pub(crate) ipv4: Prefix,
    pub(crate) ipv6: Option<Prefix>,
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
    pub(crate) external: IpAddr,
    pub(crate) uplink: usize,
}

impl Segment {
    pub(crate) fn new(gateway: Option<Gateway>, ipv4: Prefix) -> Self {
        Self {
            gateway,
            ipv4,
            ipv6: None,
            attached: BTreeMap::new(),
            routes: BTreeMap::new(),
            next_address: 10,
        }
    }

    /// Addresses that nobody has yet: IPv4, and IPv6 if the segment has it.
    pub(crate) fn free_addresses(&mut self) -> Vec<IpAddr> {
        loop {
            let number = self.next_address;
            self.next_address += 1;
            let ipv4 = self.ipv4.address(number).expect("the segment has run out of IPv4 addresses");
            let ipv6 = self.ipv6.and_then(|prefix| prefix.address(number));
            let addresses: Vec<IpAddr> = std::iter::once(ipv4).chain(ipv6).collect();
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

    pub(crate) fn hop(&self, to: IpAddr) -> Hop {
        if let Some(&who) = self.attached.get(&to) {
            return Hop::To(who);
        }
        if let Some((_, &(prefix, via))) = self.routes.range(..=to).next_back()
            && prefix.contains(to)
        {
            return Hop::To(Attached::Gateway(via));
        }
        if self.ipv4.contains(to) || self.ipv6.is_some_and(|prefix| prefix.contains(to)) {
            return Hop::NoHost;
        }
        if self.gateway.is_some() { Hop::Out } else { Hop::NoRoute }
    }
}
