//! A host behind a box, probed from two servers as RFC 5780 does.

use std::net::SocketAddr;

use sansio::Path;
use sterna_netsim::{Dependence, HostId, NatBehaviour, Net, Preset, Puppet, SegmentId};

use super::{PORT, ms, puppet, received, send};
use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

/// A host behind a box, and two servers with two ports each.
pub(crate) struct Probe {
    pub(crate) net: Net,
    pub(crate) home: SegmentId,
    pub(crate) inner: HostId,
    pub(crate) servers: [HostId; 2],
}

pub(crate) const OTHER_PORT: u16 = 6000;

impl Probe {
    pub(crate) fn new(behaviour: NatBehaviour) -> Self {
        Self::build(|net| net.add_network(Net::INTERNET, "home", behaviour))
    }

    pub(crate) fn preset(preset: Preset) -> Self {
        Self::build(|net| net.add_preset(Net::INTERNET, "home", preset))
    }

    fn build(home: impl FnOnce(&mut Net) -> SegmentId) -> Self {
        let mut net = Net::new(1);
        let home = home(&mut net);
        let inner = puppet(&mut net, "inner", home);
        let servers = ["server1", "server2"].map(|name| {
            let server = puppet(&mut net, name, Net::INTERNET);
            net.bind(server, net.socket(server, OTHER_PORT)).unwrap();
            server
        });
        Self { net, home, inner, servers }
    }

    pub(crate) fn socket(&self, server: usize, port: u16) -> SocketAddr {
        self.net.socket(self.servers[server], port)
    }

    /// Where a server sees the inner host when that sends to it.
    pub(crate) fn mapped(&mut self, server: usize, port: u16) -> SocketAddr {
        let to = self.socket(server, port);
        send(&mut self.net, self.inner, to, "who am I?");
        let heard = received(&mut self.net, self.servers[server]);
        assert_eq!(heard.len(), 1, "the box lets packets out");
        heard[0].0
    }

    /// Whether a packet from a server's port to `to` reaches the inner host.
    pub(crate) fn reaches(&mut self, server: usize, port: u16, to: SocketAddr) -> bool {
        let path = Path::udp(self.socket(server, port), to);
        self.net.machine_mut::<Puppet>(self.servers[server]).send(path, b"knock");
        self.net.run_for(ms(200));
        !received(&mut self.net, self.inner).is_empty()
    }

    /// RFC 5780 §4.3.
    pub(crate) fn mapping(&mut self) -> Option<Dependence> {
        let first = self.mapped(0, PORT);
        if first == self.net.socket(self.inner, PORT) {
            return None;
        }
        let other_address = self.mapped(1, PORT);
        let other_port = self.mapped(0, OTHER_PORT);
        assert_eq!(first, self.mapped(0, PORT), "a mapping lasts");
        Some(match (first == other_port, first == other_address) {
            (true, true) => EndpointIndependent,
            (true, false) => AddressDependent,
            (false, false) => AddressAndPortDependent,
            (false, true) => panic!("the port alone matters"),
        })
    }

    /// RFC 5780 §4.4; `None` if even a port that was never used is open.
    pub(crate) fn filtering(&mut self) -> Option<Dependence> {
        let unused = SocketAddr::new(self.net.external_address(self.home), 60_000);
        let own = self.net.socket(self.inner, PORT);
        if self.reaches(1, PORT, unused) || self.reaches(1, PORT, own) {
            return None;
        }
        let mapped = self.mapped(0, PORT);
        assert!(self.reaches(0, PORT, mapped), "an answer comes back");
        let other_port = self.reaches(0, OTHER_PORT, mapped);
        Some(match (other_port, self.reaches(1, PORT, mapped)) {
            (true, true) => EndpointIndependent,
            (true, false) => AddressDependent,
            (false, false) => AddressAndPortDependent,
            (false, true) => panic!("the port alone matters"),
        })
    }
}
