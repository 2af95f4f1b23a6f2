use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::net::{HostId, SegmentId};

/// The names of a simulated internet: one DNS for all, and what hosts publish on their segments by mDNS.
#[derive(Default)]
pub(crate) struct Names {
    dns: BTreeMap<String, Vec<IpAddr>>,
    services: BTreeMap<String, Vec<(String, u16)>>,
    local: BTreeMap<(SegmentId, String), Vec<(HostId, IpAddr)>>,
}

impl Names {
    pub(crate) fn set(&mut self, name: &str, addresses: &[IpAddr]) {
        self.dns.insert(name.to_ascii_lowercase(), addresses.to_vec());
    }

    pub(crate) fn dns(&self, name: &str) -> Vec<IpAddr> {
        self.dns.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// Adds an SRV record.
    pub(crate) fn serve(&mut self, service: &str, target: &str, port: u16) {
        self.services.entry(service.to_ascii_lowercase()).or_default().push((target.to_owned(), port));
    }

    /// The targets of a name's SRV records, in their order.
    pub(crate) fn services(&self, service: &str) -> Vec<(String, u16)> {
        self.services.get(&service.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    pub(crate) fn publish(&mut self, host: HostId, segment: SegmentId, name: &str, address: IpAddr) {
        let published = self.local.entry((segment, name.to_ascii_lowercase())).or_default();
        if !published.contains(&(host, address)) {
            published.push((host, address));
        }
    }

    /// Forgets what a host published: its process has ended.
    pub(crate) fn withdraw(&mut self, host: HostId) {
        self.local.retain(|_, published| {
            published.retain(|(owner, _)| *owner != host);
            !published.is_empty()
        });
    }

    pub(crate) fn mdns(&self, segment: SegmentId, name: &str) -> Vec<(HostId, IpAddr)> {
        let key = (segment, name.to_ascii_lowercase());
        self.local.get(&key).cloned().unwrap_or_default()
    }
}
