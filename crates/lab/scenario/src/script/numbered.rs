use std::collections::BTreeMap;
use std::net::IpAddr;

use netsim::{Binding, Content, Forward, Hairpin, Nat, Refusal, Traffic};
use sansio::{Path, Time, Transport};

/// A box that gives out the outer UDP ports of a list before any others, so that a story can name them.
///
/// Everything else is up to the box inside; only the numbers of its ports are changed, both ways.
pub(crate) struct Numbered {
    nat: Box<dyn Nat>,
    /// The address whose ports they are: that of a host one to one has all of its own.
    external: IpAddr,
    ports: Vec<u16>,
    /// Outer ports that have a mapping of their own and keep their numbers.
    fixed: Vec<u16>,
    given: BTreeMap<u16, u16>,
}

impl Numbered {
    pub(crate) fn new(nat: Box<dyn Nat>, external: IpAddr, ports: Vec<u16>, fixed: Vec<u16>) -> Self {
        Self { nat, external, ports, fixed, given: BTreeMap::new() }
    }

    /// The number outside for a port that the box inside chose.
    fn outer(&mut self, port: u16) -> u16 {
        if let Some(outer) = self.given.get(&port) {
            return *outer;
        }
        let next = self.ports.iter().copied().find(|next| !self.given.values().any(|given| given == next));
        match next {
            Some(outer) if !self.fixed.contains(&port) => {
                // Whoever would have got this number without us gets the other one.
                self.given.insert(port, outer);
                self.given.entry(outer).or_insert(port);
                outer
            }
            _ => port,
        }
    }

    fn inner(&self, port: u16) -> u16 {
        self.given.iter().find(|(_, outer)| **outer == port).map_or(port, |(inner, _)| *inner)
    }
}

impl Nat for Numbered {
    fn outbound(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal> {
        let mut outer = self.nat.outbound(now, path, content)?;
        if Traffic::of(&path, content) == Traffic::Udp && outer.local.ip() == self.external {
            outer.local.set_port(self.outer(outer.local.port()));
        }
        Ok(outer)
    }

    fn inbound(&mut self, now: Time, mut path: Path, content: Content) -> Result<Path, Refusal> {
        if Traffic::of(&path, content) == Traffic::Udp && path.local.ip() == self.external {
            path.local.set_port(self.inner(path.local.port()));
        }
        self.nat.inbound(now, path, content)
    }

    fn hairpin(&self) -> Hairpin {
        self.nat.hairpin()
    }

    fn resets(&self) -> bool {
        self.nat.resets()
    }

    fn restart(&mut self, external: &[IpAddr]) {
        self.given.clear();
        self.external = external[0];
        self.nat.restart(external);
    }

    fn forward(&mut self, forward: Forward) {
        self.nat.forward(forward);
    }

    fn unforward(&mut self, transport: Transport, outer_port: u16) {
        self.nat.unforward(transport, outer_port);
    }

    fn map_host(&mut self, outer: IpAddr, inner: IpAddr) {
        self.nat.map_host(outer, inner);
    }

    fn bindings(&self, now: Time) -> Vec<Binding> {
        let mut bindings = self.nat.bindings(now);
        for binding in &mut bindings {
            let given = self
                .given
                .get(&binding.outer.port())
                .filter(|_| binding.traffic == Traffic::Udp && binding.outer.ip() == self.external);
            if let Some(outer) = given {
                binding.outer.set_port(*outer);
            }
        }
        bindings
    }
}
