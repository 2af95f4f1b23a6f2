use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ice::CandidateKind;
use sansio::Transport;

use crate::Connection;

/// The path that data takes, in a few words.
///
/// [`Display`](fmt::Display) is the line that people see: `direct · udp4 · host–srflx · 23 ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSummary {
    /// Whether a TURN server is in between.
    pub kind: PathKind,
    /// What our end is.
    pub local: CandidateKind,
    /// What the other end is.
    pub remote: CandidateKind,
    /// Where our end is: the address of its candidate as others see it, so the relay's if it is relayed.
    pub local_address: Option<SocketAddr>,
    /// Where the other end is.
    pub remote_address: Option<SocketAddr>,
    /// What carries our packets: to the TURN server if our end is relayed, else to the other side.
    pub protocol: Transport,
    /// 4 or 6: the IP version of the same way.
    pub family: u8,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// The TURN server of our end, if it is relayed.
    pub relay: Option<String>,
    /// If it is relayed: why not direct.
    pub because: Option<String>,
}

/// Whether a TURN server is in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// No: packets go from one side to the other, through NATs at most.
    Direct,
    /// Yes.
    Relayed,
}

impl PathKind {
    /// `direct` or `relayed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }
}

impl PathSummary {
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let agent = connection.transport.agent()?;
        let pair = agent.selected()?;
        let relayed = pair.is_relayed();
        let because = relayed.then(|| connection.why_relayed());
        let our_relay = pair.local.kind == CandidateKind::Relay;
        let wire = pair.local.base.filter(|_| our_relay).or_else(|| pair.remote.address.ip());
        Some(Self {
            kind: if relayed { PathKind::Relayed } else { PathKind::Direct },
            local: pair.local.kind,
            remote: pair.remote.kind,
            local_address: pair.local.address.ip().or(pair.local.base.filter(|_| !our_relay)),
            remote_address: pair.remote.address.ip(),
            protocol: pair.local.relay_protocol.filter(|_| our_relay).unwrap_or(Transport::Udp),
            family: if wire.is_some_and(|address| address.is_ipv6()) { 6 } else { 4 },
            rtt: pair.rtt,
            relay: pair.local.url.filter(|_| our_relay),
            because,
        })
    }
}

impl fmt::Display for PathSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.as_str())?;
        if let Some(relay) = &self.relay {
            write!(f, " via {relay}")?;
        }
        write!(f, " · {}{} · {}–{}", self.protocol, self.family, self.local, self.remote)?;
        if let Some(rtt) = self.rtt {
            write!(f, " · {} ms", rtt.as_millis())?;
        }
        if let Some(because) = &self.because {
            write!(f, " · because {because}")?;
        }
        Ok(())
    }
}
