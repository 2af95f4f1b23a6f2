use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sansio::{Rng, Seed, Transport};

use super::{HostId, LinkId, Net, SegmentId};
use crate::host::{Host, Interface};
use crate::link::Link;
use crate::nat::{Egress, Nat, NatBehaviour, Translator};
use crate::prefix::Prefix;
use crate::preset::{Preset, PresetBox, shared_prefix};
use crate::proxy::HttpProxy;
use crate::record::{Place, PlaceKind};
use crate::segment::{Attached, Gateway, Segment};

/// One-way delay between the internet and what hangs on it: two hosts there are 10 ms apart.
const INTERNET_DELAY_MS: u64 = 5;

/// Building, and rebuilding while time goes on.
impl Net {
    /// Adds a network behind a box that behaves like this; `outside` is the internet, or another such network.
    ///
    /// If the box translates, the network has private addresses, public ones otherwise. The box's uplink takes
    /// 5 ms each way; see [`Net::uplink`].
    pub fn add_network(&mut self, outside: SegmentId, name: &str, behaviour: NatBehaviour) -> SegmentId {
        let inside = self.own_prefix(behaviour);
        self.add_network_at(outside, name, inside, behaviour)
    }

    /// Addresses that no other network has, for the next one: private ones behind a box that translates.
    fn own_prefix(&self, behaviour: NatBehaviour) -> Prefix {
        let number = self.segments.len();
        let (high, low) = ((number >> 8) as u8, number as u8);
        let base = if behaviour.translates() {
            Ipv4Addr::new(10, high, low, 0)
        } else {
            Ipv4Addr::new(5, 128 | high, low, 0)
        };
        Prefix::new(base.into(), 24)
    }

    /// Like [`Net::add_network`], with these IPv4 addresses inside. Two private networks may have the same.
    ///
    /// # Panics
    /// If `inside` is not a range of IPv4 addresses.
    pub fn add_network_at(
        &mut self,
        outside: SegmentId,
        name: &str,
        inside: Prefix,
        behaviour: NatBehaviour,
    ) -> SegmentId {
        let routed = !behaviour.translates();
        let build =
            |external: &[IpAddr], seed| Box::new(Translator::new(behaviour, external, seed)) as Box<dyn Nat>;
        let inside_ipv4 = (!behaviour.nat64).then_some(inside);
        let segment = self.add_box(outside, name, inside_ipv4, behaviour.pool.max(1), build);
        if behaviour.nat64 {
            self.add_ipv6(segment);
            self.segments[segment.0].dns64 = true;
        } else if routed {
            self.route(inside, segment);
        }
        segment
    }

    /// Adds a network behind the box or boxes of a preset, and returns the innermost one: where its hosts belong.
    /// The innermost box is called `name`, those further out `name-carrier` or the like; [`Net::outside`] leads
    /// to their networks.
    pub fn add_preset(&mut self, outside: SegmentId, name: &str, preset: Preset) -> SegmentId {
        self.add_boxes(outside, name, None, &preset.boxes())
    }

    /// Like [`Net::add_preset`], for boxes of one's own making: those of a preset with changes, perhaps. `inside` are
    /// the IPv4 addresses of the innermost network; chosen for it if nobody says which.
    ///
    /// # Panics
    /// If `inside` is not a range of IPv4 addresses.
    pub fn add_boxes(
        &mut self,
        outside: SegmentId,
        name: &str,
        inside: Option<Prefix>,
        boxes: &[PresetBox],
    ) -> SegmentId {
        let innermost = boxes.len().saturating_sub(1);
        boxes.iter().enumerate().fold(outside, |outside, (at, it)| {
            let inside = inside.filter(|_| at == innermost).unwrap_or_else(|| match it.shared_addresses {
                true => shared_prefix(self.segments.len()),
                false => self.own_prefix(it.behaviour),
            });
            self.add_preset_box(outside, &format!("{name}{}", it.suffix), inside, it)
        })
    }

    fn add_preset_box(
        &mut self,
        outside: SegmentId,
        name: &str,
        inside: Prefix,
        it: &PresetBox,
    ) -> SegmentId {
        let proxy = inside.address(3).filter(|_| it.proxy);
        let egress = proxy.map_or(it.behaviour.egress, Egress::OnlyFrom);
        let behaviour = NatBehaviour { egress, ..it.behaviour };
        let segment = self.add_network_at(outside, name, inside, behaviour);
        if it.ipv6 {
            self.add_ipv6(segment);
        }
        if let Some(address) = proxy {
            let proxy = self.add_host_at(&format!("{name}-proxy"), segment, &[address]);
            let socket = SocketAddr::new(address, HttpProxy::PORT);
            self.listen(proxy, Transport::Tcp, socket).expect("the host is new");
            self.start(proxy, HttpProxy::default());
            self.set_proxy(segment, Some(socket));
        }
        segment
    }

    /// Like [`Net::add_network_at`], behind a box of one's own making. `build` gets the box's outer IPv4 address
    /// and a seed. `inside` is not routed from outside.
    ///
    /// # Panics
    /// If `inside` is not a range of IPv4 addresses.
    pub fn add_network_behind(
        &mut self,
        outside: SegmentId,
        name: &str,
        inside: Prefix,
        build: impl FnOnce(IpAddr, Seed) -> Box<dyn Nat>,
    ) -> SegmentId {
        self.add_box(outside, name, Some(inside), 1, |external, seed| build(external[0], seed))
    }

    fn add_box(
        &mut self,
        outside: SegmentId,
        name: &str,
        inside: Option<Prefix>,
        pool: u8,
        build: impl FnOnce(&[IpAddr], Seed) -> Box<dyn Nat>,
    ) -> SegmentId {
        if let Some(inside) = inside {
            assert!(inside.base().is_ipv4(), "{inside} is not a range of IPv4 addresses");
        }
        let id = SegmentId(self.segments.len());
        let external: Vec<IpAddr> = (0..pool).map(|_| self.outer_address(outside, id)).collect();
        let nat = build(&external, self.rng.fork());
        let place = self.trace.add_place(name.to_owned(), PlaceKind::Gateway);
        let uplink = self.add_wire(Link::delay_ms(INTERNET_DELAY_MS));
        let gateway = Gateway { place, nat, outside, external, mapped: Vec::new(), uplink };
        self.segments.push(Segment::new(Some(gateway), inside));
        id
    }

    /// An address on `outside` for the box of `segment`.
    pub(super) fn outer_address(&mut self, outside: SegmentId, segment: SegmentId) -> IpAddr {
        let outside = &mut self.segments[outside.0];
        let address = outside.free_addresses()[0];
        outside.attach(address, Attached::Gateway(segment));
        address
    }

    /// Makes `prefix` reachable from everywhere outside `segment`.
    fn route(&mut self, prefix: Prefix, segment: SegmentId) {
        let mut via = segment;
        while let Some(gateway) = &self.segments[via.0].gateway {
            let outside = gateway.outside;
            self.segments[outside.0].add_route(prefix, via);
            via = outside;
        }
    }

    /// Gives a network IPv6 as well, with public addresses of its own. Hosts that are added later have both.
    pub fn add_ipv6(&mut self, segment: SegmentId) -> Prefix {
        let number = segment.0 as u32;
        let base = Ipv6Addr::new(0x2a00, (number >> 16) as u16, number as u16, 0, 0, 0, 0, 0);
        let prefix = Prefix::new(base.into(), 64);
        self.add_ipv6_at(segment, prefix);
        prefix
    }

    /// Like [`Net::add_ipv6`], with these addresses: not those of another network, and out of none that the net has
    /// chosen (2a00::/16).
    ///
    /// # Panics
    /// If `prefix` is not a range of IPv6 addresses.
    pub fn add_ipv6_at(&mut self, segment: SegmentId, prefix: Prefix) {
        assert!(prefix.base().is_ipv6(), "{prefix} is not a range of IPv6 addresses");
        self.segments[segment.0].ipv6 = Some(prefix);
        self.route(prefix, segment);
    }

    /// Adds a host with an interface on each of these segments. Its addresses are chosen for it; see
    /// [`Net::addresses`]. Its links take 5 ms each way to the internet, nothing to a network.
    pub fn add_host(&mut self, name: &str, segments: &[SegmentId]) -> HostId {
        let id = self.add_bare_host(name);
        for &segment in segments {
            let addresses = self.segments[segment.0].free_addresses();
            self.add_interface(id, segment, &addresses);
        }
        id
    }

    /// Adds a host with one interface that has these addresses.
    ///
    /// # Panics
    /// If another host on the segment has one of them.
    pub fn add_host_at(&mut self, name: &str, segment: SegmentId, addresses: &[IpAddr]) -> HostId {
        let id = self.add_bare_host(name);
        self.add_interface(id, segment, addresses);
        id
    }

    fn add_bare_host(&mut self, name: &str) -> HostId {
        let place = self.trace.add_place(name.to_owned(), PlaceKind::Host);
        let rng = Rng::new(self.rng.fork());
        self.hosts.push(Host::new(place, rng));
        HostId(self.hosts.len() - 1)
    }

    /// Gives a host one more interface.
    ///
    /// # Panics
    /// If another host on the segment has one of the addresses.
    pub fn add_interface(&mut self, host: HostId, segment: SegmentId, addresses: &[IpAddr]) -> LinkId {
        let delay = if segment == Self::INTERNET { INTERNET_DELAY_MS } else { 0 };
        let wire = self.add_wire(Link::delay_ms(delay));
        let index = self.hosts[host.0].interfaces.len();
        self.hosts[host.0].interfaces.push(Interface { segment, addresses: addresses.to_vec(), wire });
        for &address in addresses {
            self.segments[segment.0].attach(address, Attached::Host(host, index));
        }
        LinkId(wire)
    }

    /// Replaces the addresses that a host has on a segment. Sockets and streams of the old ones are dead.
    ///
    /// # Panics
    /// If the host has no interface there, or another host has one of the addresses.
    pub fn set_addresses(&mut self, host: HostId, segment: SegmentId, addresses: &[IpAddr]) {
        let index = self.interface_on(host, segment);
        let old = std::mem::replace(&mut self.hosts[host.0].interfaces[index].addresses, addresses.to_vec());
        for address in old {
            self.segments[segment.0].detach(address);
        }
        for &address in addresses {
            self.segments[segment.0].attach(address, Attached::Host(host, index));
        }
    }

    /// Addresses on a segment that nobody has, for [`Net::set_addresses`] and [`Net::add_interface`].
    pub fn free_addresses(&mut self, segment: SegmentId) -> Vec<IpAddr> {
        self.segments[segment.0].free_addresses()
    }

    /// All addresses of a host, interface by interface, IPv4 first. Without loopback.
    pub fn addresses(&self, host: HostId) -> Vec<IpAddr> {
        self.hosts[host.0].addresses().collect()
    }

    /// The first address of a host.
    ///
    /// # Panics
    /// If it has none.
    pub fn address(&self, host: HostId) -> IpAddr {
        self.hosts[host.0].addresses().next().expect("the host has an address")
    }

    /// The address and port: short for a host that has one address.
    pub fn socket(&self, host: HostId, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(host), port)
    }

    /// The link between a host and a segment.
    ///
    /// # Panics
    /// If the host has no interface there.
    pub fn access(&self, host: HostId, segment: SegmentId) -> LinkId {
        LinkId(self.hosts[host.0].interfaces[self.interface_on(host, segment)].wire)
    }

    /// The link between the box of a network and what is outside.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn uplink(&self, segment: SegmentId) -> LinkId {
        LinkId(self.gateway(segment).uplink)
    }

    /// The outer IPv4 address of a network's box, the first one if it has several.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn external_address(&self, segment: SegmentId) -> IpAddr {
        self.gateway(segment).external[0]
    }

    /// All outer IPv4 addresses of a network's box.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn external_addresses(&self, segment: SegmentId) -> &[IpAddr] {
        &self.gateway(segment).external
    }

    /// The segment on the other side of a network's box; `None` for the internet.
    pub fn outside(&self, segment: SegmentId) -> Option<SegmentId> {
        self.segments[segment.0].gateway.as_ref().map(|gateway| gateway.outside)
    }

    /// The place in the trace of a network's box.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn gateway_place(&self, segment: SegmentId) -> Place {
        self.gateway(segment).place
    }

    fn interface_on(&self, host: HostId, segment: SegmentId) -> usize {
        let found = self.hosts[host.0].interfaces.iter().position(|interface| interface.segment == segment);
        found.unwrap_or_else(|| panic!("host `{}` has no interface there", self.host_name(host)))
    }

    pub(super) fn gateway(&self, segment: SegmentId) -> &Gateway {
        self.segments[segment.0].gateway.as_ref().expect("the internet is behind no box")
    }

    pub(super) fn gateway_mut(&mut self, segment: SegmentId) -> &mut Gateway {
        self.segments[segment.0].gateway.as_mut().expect("the internet is behind no box")
    }
}
