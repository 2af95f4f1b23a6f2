use std::net::IpAddr;
use std::time::Duration;

use sansio::{Time, Transport};

use super::{HostId, LinkId, Net, SegmentId};
use crate::nat::{Binding, Forward};

/// What happens to boxes and hosts while time goes on. Schedule it with [`Net::at`] or [`Net::after`].
impl Net {
    /// The box of a network loses its power and with it all dynamic mappings, and comes back at once. What is
    /// configured ([`Net::forward`], [`Net::map_host`]) stays.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn reboot(&mut self, segment: SegmentId) {
        let gateway = self.gateway_mut(segment);
        gateway.nat.restart(&gateway.external);
    }

    /// Like [`Net::reboot`], and the box gets other outer addresses; the first one is returned.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn renumber(&mut self, segment: SegmentId) -> IpAddr {
        let gateway = self.gateway(segment);
        let (outside, old) = (gateway.outside, gateway.external.clone());
        let new: Vec<IpAddr> = old.iter().map(|_| self.outer_address(outside, segment)).collect();
        for address in old {
            self.segments[outside.0].detach(address);
        }
        let gateway = self.gateway_mut(segment);
        gateway.nat.restart(&new);
        gateway.external = new;
        self.external_address(segment)
    }

    /// Adds a port forwarding to a network's box. It replaces the one that the outer port had.
    ///
    /// # Panics
    /// If `segment` is the internet, or its box is of one's own making and knows no static mappings.
    pub fn forward(&mut self, segment: SegmentId, forward: Forward) {
        self.gateway_mut(segment).nat.forward(forward);
    }

    /// Removes the port forwarding of an outer port, if there is one.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn unforward(&mut self, segment: SegmentId, transport: Transport, outer_port: u16) {
        self.gateway_mut(segment).nat.unforward(transport, outer_port);
    }

    /// Gives an inner address an outer one of its own, with all ports and both ways: one-to-one NAT. Nothing is
    /// filtered. Returns the outer address.
    ///
    /// # Panics
    /// If `segment` is the internet, or its box is of one's own making and knows no static mappings.
    pub fn map_host(&mut self, segment: SegmentId, inner: IpAddr) -> IpAddr {
        let outside = self.gateway(segment).outside;
        let outer = self.outer_address(outside, segment);
        let gateway = self.gateway_mut(segment);
        gateway.mapped.push(outer);
        gateway.nat.map_host(outer, inner);
        outer
    }

    /// What a network's box remembers, sorted.
    ///
    /// # Panics
    /// If `segment` is the internet.
    pub fn bindings(&self, segment: SegmentId) -> Vec<Binding> {
        let mut bindings = self.gateway(segment).nat.bindings(self.now);
        bindings.sort_unstable();
        bindings
    }

    /// Gives a host an interface on one more segment, with addresses chosen for it: it has come into reach of
    /// another network. If it has been there before, it gets new addresses.
    pub fn join(&mut self, host: HostId, segment: SegmentId) -> LinkId {
        let addresses = self.segments[segment.0].free_addresses();
        if self.hosts[host.0].interfaces.iter().any(|interface| interface.segment == segment) {
            self.set_addresses(host, segment, &addresses);
            return self.access(host, segment);
        }
        self.add_interface(host, segment, &addresses)
    }

    /// Takes the addresses that a host has on a segment away: it has gone out of reach. Sockets and streams of
    /// those addresses are dead. [`Net::join`] brings it back.
    ///
    /// # Panics
    /// If the host has no interface there.
    pub fn leave(&mut self, host: HostId, segment: SegmentId) {
        self.set_addresses(host, segment, &[]);
    }

    /// What a host's clock shows: what its machine is told. The same as [`Net::now`] unless the clock has jumped
    /// or the host has slept.
    pub fn clock(&self, host: HostId) -> Time {
        let host = &self.hosts[host.0];
        host.clock.tell(host.asleep.unwrap_or(self.now))
    }

    /// A host's clock jumps forwards, as when a virtual machine was halted and its clock is set right. All that was
    /// due meanwhile is due now.
    pub fn jump_clock(&mut self, host: HostId, by: Duration) {
        self.hosts[host.0].clock.jump(by);
        self.hosts[host.0].armed = None;
        self.mark_dirty(host);
    }

    /// A host falls asleep: its lid is closed. Nothing runs there, what arrives is lost, and its clock stands still,
    /// as the clock of Linux and macOS does that timers go by.
    pub fn suspend(&mut self, host: HostId) {
        self.settle_dirty();
        let now = self.now;
        self.hosts[host.0].asleep.get_or_insert(now);
    }

    /// A host wakes up. If its clock should have gone on, follow up with [`Net::jump_clock`]. What was asked for
    /// before (a name, a connection) is answered now.
    pub fn resume(&mut self, host: HostId) {
        let now = self.now;
        let sleeper = &mut self.hosts[host.0];
        let Some(since) = sleeper.asleep.take() else { return };
        sleeper.clock.stand(now - since);
        sleeper.armed = None;
        for reply in std::mem::take(&mut sleeper.held) {
            self.tell(host, reply);
        }
        self.mark_dirty(host);
    }

    /// Whether a host is asleep.
    pub fn is_asleep(&self, host: HostId) -> bool {
        self.hosts[host.0].asleep.is_some()
    }
}
