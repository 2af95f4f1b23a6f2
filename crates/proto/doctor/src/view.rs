//! Facts that follow from the evidence, each asked for by more than one verdict.

use std::net::{IpAddr, SocketAddr};

use ice::{
    CandidateAddress, CandidateKind, GatheringState, PairReport, RemoteReport, ServerOutcome, ServerReport,
    ServerRequest,
};
use sansio::Transport;

use crate::{Evidence, Outcome};

/// The evidence, and what follows from it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) evidence: &'a Evidence,
}

/// Whether something holds, and what shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `None`: not known.
    pub(crate) holds: Option<bool>,
    pub(crate) shown: Vec<String>,
}

impl Finding {
    fn known(holds: bool, shown: impl Into<String>) -> Self {
        Self { holds: Some(holds), shown: vec![shown.into()] }
    }
}

/// How an outer end of `local` looked from `destination`.
struct Sighting {
    local: SocketAddr,
    destination: SocketAddr,
    mapped: SocketAddr,
}

impl<'a> View<'a> {
    pub(crate) fn of(evidence: &'a Evidence) -> Self {
        Self { evidence }
    }

    /// Whether the attempt is over and did not lead to a connection.
    pub(crate) fn failed(&self) -> bool {
        self.evidence.outcome == Outcome::Failed
    }

    /// Candidates of the other side that signalling brought.
    pub(crate) fn signalled(&self) -> impl Iterator<Item = &'a RemoteReport> + use<'a> {
        self.evidence.ice.remote.iter().filter(|remote| remote.candidate.kind != CandidateKind::Prflx)
    }

    /// Pairs without a relay at either end.
    pub(crate) fn direct(&self) -> impl Iterator<Item = &'a PairReport> + use<'a> {
        self.evidence.ice.pairs.iter().filter(|pair| {
            [&pair.local, &pair.remote].iter().all(|candidate| candidate.kind != CandidateKind::Relay)
        })
    }

    /// `4 direct pairs were tried with 28 checks, and none was answered`.
    pub(crate) fn direct_tried(&self) -> String {
        let tried: Vec<_> = self.direct().filter(|pair| pair.checks_sent > 0).collect();
        let checks: u32 = tried.iter().map(|pair| pair.checks_sent + pair.retransmissions).sum();
        let heard: u32 = tried.iter().map(|pair| pair.requests_received).sum();
        let answered: u32 = tried.iter().map(|pair| pair.responses_received).sum();
        let pairs = plural(tried.len(), "direct pair was", "direct pairs were");
        let sent = plural(checks as usize, "check", "checks");
        let answer = match (answered, heard) {
            (0, 0) => "none was answered and none came from the other side".to_owned(),
            (0, _) => format!("{heard} came from the other side, but none of ours was answered"),
            _ => format!("{answered} were answered"),
        };
        format!("{pairs} tried with {sent}: {answer}")
    }

    /// Whether we have a relayed address.
    pub(crate) fn has_relay(&self) -> bool {
        self.allocations().any(|server| matches!(server.outcome, ServerOutcome::Succeeded(_)))
    }

    pub(crate) fn allocations(&self) -> impl Iterator<Item = &'a ServerReport> + use<'a> {
        self.evidence.ice.servers.iter().filter(|server| server.request == ServerRequest::Allocate)
    }

    /// Whether a question to a server got no answer at all, and has had its time.
    pub(crate) fn is_silent(&self, server: &ServerReport) -> bool {
        match server.outcome {
            ServerOutcome::TimedOut => true,
            ServerOutcome::Pending if server.address.is_some() => {
                let over = self.failed() || self.evidence.ice.gathering == GatheringState::Complete;
                // A stream to the same machine took three round trips at least, and came about.
                let slow = 2 + u32::from(!self.has_stream_to(server));
                over && (server.request == ServerRequest::Allocate || server.sent > 1) || server.sent >= slow
            }
            _ => false,
        }
    }

    /// Whether a TURN server at the same address relays for us over a stream.
    fn has_stream_to(&self, server: &ServerReport) -> bool {
        self.allocations().any(|other| {
            other.transport != Transport::Udp
                && matches!(other.outcome, ServerOutcome::Succeeded(_))
                && other.address.is_some_and(|one| server.address.is_some_and(|two| one.ip() == two.ip()))
        })
    }

    /// Servers that were asked over UDP, by address: those that answered, and those that did not.
    pub(crate) fn udp_servers(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let (mut answered, mut silent) = (Vec::new(), Vec::new());
        for server in self.evidence.ice.servers.iter().filter(|server| server.transport == Transport::Udp) {
            let Some(address) = server.address else { continue };
            match &server.outcome {
                ServerOutcome::Succeeded(_) | ServerOutcome::Refused { .. } => answered.push(address),
                _ if self.is_silent(server) => silent.push(address),
                _ => {}
            }
        }
        silent.retain(|address| !answered.contains(address));
        for list in [&mut answered, &mut silent] {
            list.sort();
            list.dedup();
        }
        (answered, silent)
    }

    /// Whether UDP gets out of this network and back; `None` if that is not known.
    pub(crate) fn udp(&self) -> Option<bool> {
        if let Some(udp) = self.evidence.nat.as_ref().and_then(|nat| nat.udp) {
            return Some(udp);
        }
        let (answered, silent) = self.udp_servers();
        let heard = self.direct().any(|pair| pair.requests_received > 0 || pair.responses_received > 0);
        if !answered.is_empty() || heard {
            return Some(true);
        }
        if silent.is_empty() {
            return None;
        }
        // One dead server proves nothing. Two are, and so is one that is alive on another transport.
        let mut machines: Vec<IpAddr> = silent.iter().map(SocketAddr::ip).collect();
        machines.dedup();
        (machines.len() > 1 || self.alive_otherwise(&silent).is_some()).then_some(false)
    }

    /// A server that is silent over UDP and answers over a stream.
    pub(crate) fn alive_otherwise(&self, silent: &[SocketAddr]) -> Option<&'a ServerReport> {
        self.evidence.ice.servers.iter().find(|server| {
            server.transport != Transport::Udp
                && server.address.is_some_and(|address| silent.iter().any(|other| other.ip() == address.ip()))
                && matches!(server.outcome, ServerOutcome::Succeeded(_) | ServerOutcome::Refused { .. })
        })
    }

    /// Whether our NAT gives another address for each destination.
    pub(crate) fn our_mapping_depends(&self) -> Finding {
        if let Some(nat) = &self.evidence.nat {
            if nat.mapping.is_dependent() {
                return Finding::known(true, format!("our NAT's mapping is {}", nat.mapping));
            }
            if nat.mapping.is_independent() {
                return Finding::known(false, format!("our NAT's mapping is {}", nat.mapping));
            }
        }
        let sightings = self.sightings();
        for (at, one) in sightings.iter().enumerate() {
            for other in sightings[at + 1..].iter().filter(|other| other.local == one.local) {
                if one.mapped != other.mapped && one.destination != other.destination {
                    return Finding::known(
                        true,
                        format!(
                            "{} saw us at {}, {} saw us at {}",
                            one.destination, one.mapped, other.destination, other.mapped
                        ),
                    );
                }
                if one.mapped == other.mapped && one.destination.ip() != other.destination.ip() {
                    return Finding::known(
                        false,
                        format!(
                            "{} and {} both saw us at {}",
                            one.destination, other.destination, one.mapped
                        ),
                    );
                }
            }
        }
        match sightings.iter().find(|one| one.local == one.mapped) {
            Some(one) => {
                Finding::known(false, format!("{} saw us at our own address {}", one.destination, one.mapped))
            }
            None => Finding::default(),
        }
    }

    /// From where we were seen at which public address.
    fn sightings(&self) -> Vec<Sighting> {
        let servers = self.evidence.ice.servers.iter().filter_map(|server| match server.outcome {
            ServerOutcome::Succeeded(mapped) if server.request == ServerRequest::Binding => {
                Some(Sighting { local: server.local?, destination: server.address?, mapped })
            }
            _ => None,
        });
        let pairs = self.evidence.ice.pairs.iter().filter_map(|pair| {
            let destination = pair.remote.address.ip().filter(|_| pair.local.kind != CandidateKind::Relay)?;
            Some(Sighting { local: pair.local.base?, destination, mapped: pair.seen_as? })
        });
        // Who is inside the same network sees us otherwise, and that says nothing of the NAT.
        servers.chain(pairs).filter(|one| is_public(one.mapped.ip())).collect()
    }

    /// Whether the other side's NAT gives another address for each destination.
    pub(crate) fn their_mapping_depends(&self) -> Finding {
        if let Some(nat) = self.evidence.theirs.as_ref().and_then(|theirs| theirs.nat.as_ref()) {
            if nat.mapping.is_dependent() {
                return Finding::known(true, format!("the other side's NAT's mapping is {}", nat.mapping));
            }
            if nat.mapping.is_independent() {
                return Finding::known(false, format!("the other side's NAT's mapping is {}", nat.mapping));
            }
        }
        if let Some(depends) = self.evidence.theirs.as_ref().and_then(|theirs| theirs.mapping_depends) {
            let word = if depends { "gives another" } else { "keeps one" };
            return Finding::known(
                depends,
                format!("the other side reports that its NAT {word} address for different destinations"),
            );
        }
        let told: Vec<SocketAddr> = self
            .signalled()
            .filter(|remote| remote.candidate.kind == CandidateKind::Srflx)
            .filter_map(|remote| remote.candidate.address.ip())
            .collect();
        let shown =
            self.evidence.ice.remote.iter().filter(|remote| remote.candidate.kind == CandidateKind::Prflx);
        for shown in shown.filter_map(|remote| remote.candidate.address.ip()) {
            if let Some(told) =
                told.iter().find(|told| told.ip() == shown.ip() && told.port() != shown.port())
            {
                return Finding::known(
                    true,
                    format!("the other side told us {told}, but its checks came from {shown}"),
                );
            }
        }
        let own = self.signalled().find(|remote| {
            remote.candidate.kind == CandidateKind::Host
                && remote.candidate.address.ip().is_some_and(|address| is_public(address.ip()))
        });
        match own {
            Some(own) => Finding::known(
                false,
                format!(
                    "the other side has the public address {}",
                    crate::summary::spell(&own.candidate.address)
                ),
            ),
            None => Finding::default(),
        }
    }

    /// The public addresses at which STUN servers saw us.
    pub(crate) fn our_public(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = self
            .evidence
            .ice
            .servers
            .iter()
            .filter(|server| server.request == ServerRequest::Binding)
            .filter_map(|server| match server.outcome {
                ServerOutcome::Succeeded(mapped) => Some(mapped.ip()),
                _ => None,
            })
            .collect();
        found.extend(self.evidence.nat.iter().flat_map(|nat| nat.mapped.iter().map(SocketAddr::ip)));
        found.sort();
        found.dedup();
        found
    }

    /// Which families a side's addresses have: IPv4, IPv6.
    pub(crate) fn families<'b>(addresses: impl Iterator<Item = &'b CandidateAddress>) -> [bool; 2] {
        let mut families = [false; 2];
        for address in addresses.filter_map(CandidateAddress::ip) {
            families[usize::from(address.is_ipv6())] = true;
        }
        families
    }
}

/// Whether an address is known everywhere, as far as the address itself tells.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || shared)
        }
        IpAddr::V6(address) => {
            let first = address.segments()[0];
            let local = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80;
            !(address.is_loopback() || address.is_unspecified() || local)
        }
    }
}

/// `1 check`, `2 checks`.
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
