use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Path, Time, Transport};

use crate::content::Traffic;

/// A static mapping of one port, "port forwarding": what comes to the box's outer port goes to an inner socket,
/// from whomever it comes. Configured, so it survives a reboot. Made by [`Net::forward`](crate::Net::forward).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Forward {
    /// UDP, or streams (TCP and TLS alike).
    pub transport: Transport,
    /// The outer port.
    pub outer_port: u16,
    /// The inner socket; its port may be another.
    pub inner: SocketAddr,
    /// Whether what the inner socket sends first leaves from the outer port too. Otherwise only its answers do, and
    /// the rest gets a dynamic mapping like everything else, as on Linux.
    pub both_ways: bool,
}

impl Forward {
    /// Forwards UDP, both ways.
    pub const fn udp(outer_port: u16, inner: SocketAddr) -> Self {
        Self { transport: Transport::Udp, outer_port, inner, both_ways: true }
    }

    /// Forwards streams, both ways.
    pub const fn tcp(outer_port: u16, inner: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, ..Self::udp(outer_port, inner) }
    }

    /// The same for what comes from outside, and the answers to it.
    #[must_use]
    pub const fn inbound_only(self) -> Self {
        Self { both_ways: false, ..self }
    }

    fn is_for(&self, traffic: Traffic) -> bool {
        Traffic::over(self.transport) == traffic
    }
}

/// Answers by one-way forwards that are remembered before dead ones are looked for.
const ANSWERS: usize = 4096;

/// The static mappings of a box.
#[derive(Debug, Default)]
pub(crate) struct Statics {
    forwards: Vec<Forward>,
    /// One-to-one: outer and inner address.
    hosts: Vec<(IpAddr, IpAddr)>,
    /// Who has come in by a one-way forward, so that the answer leaves from where it came to.
    answers: BTreeMap<Path, (SocketAddr, Time)>,
}

impl Statics {
    /// In place of those for the same outer port.
    pub(crate) fn forward(&mut self, forward: Forward) {
        self.remove(forward.transport, forward.outer_port);
        self.forwards.push(forward);
    }

    pub(crate) fn remove(&mut self, transport: Transport, outer_port: u16) {
        let traffic = Traffic::over(transport);
        self.forwards.retain(|it| it.outer_port != outer_port || !it.is_for(traffic));
    }

    pub(crate) fn map_host(&mut self, outer: IpAddr, inner: IpAddr) {
        self.hosts.retain(|(old, _)| *old != outer);
        self.hosts.push((outer, inner));
    }

    pub(crate) fn forget_answers(&mut self) {
        self.answers.clear();
    }

    /// Where a packet from inside leaves from, if that is fixed.
    pub(crate) fn outer(
        &self,
        now: Time,
        path: &Path,
        traffic: Traffic,
        external: IpAddr,
    ) -> Option<SocketAddr> {
        if self.forwards.is_empty() && self.hosts.is_empty() {
            return None;
        }
        let answer = self.answers.get(path).filter(|_| traffic != Traffic::Query);
        if let Some((outer, _)) = answer.filter(|(_, until)| *until > now) {
            return Some(*outer);
        }
        if let Some(forward) =
            self.forwards.iter().find(|it| it.both_ways && it.inner == path.local && it.is_for(traffic))
        {
            return Some(SocketAddr::new(external, forward.outer_port));
        }
        let (outer, _) = self.hosts.iter().find(|(_, inner)| *inner == path.local.ip())?;
        Some(SocketAddr::new(*outer, path.local.port()))
    }

    /// Where a packet from outside goes to, if that is fixed. Answers leave by the same way for `keep`.
    pub(crate) fn inner(
        &mut self,
        now: Time,
        path: &Path,
        traffic: Traffic,
        keep: Duration,
    ) -> Option<SocketAddr> {
        if let Some((_, inner)) = self.hosts.iter().find(|(outer, _)| *outer == path.local.ip()) {
            return Some(SocketAddr::new(*inner, path.local.port()));
        }
        let forward =
            *self.forwards.iter().find(|it| it.outer_port == path.local.port() && it.is_for(traffic))?;
        if !forward.both_ways {
            if self.answers.len() >= ANSWERS {
                self.answers.retain(|_, (_, until)| *until > now);
            }
            self.answers.insert(Path { local: forward.inner, ..*path }, (path.local, now + keep));
        }
        Some(forward.inner)
    }

    /// Whether a dynamic mapping may have this port.
    pub(crate) fn leaves_free(&self, traffic: Traffic, port: u16) -> bool {
        !self.forwards.iter().any(|it| it.outer_port == port && it.is_for(traffic))
    }

    pub(crate) fn forwards(&self) -> &[Forward] {
        &self.forwards
    }

    pub(crate) fn hosts(&self) -> &[(IpAddr, IpAddr)] {
        &self.hosts
    }
}
