use std::fmt;
use std::time::Duration;

use ice::{CandidateKind, PairReport, SelectedPair, ServerOutcome, ServerRequest, TransportPolicy};
use sansio::Transport;

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
    pub(crate) fn of(agent: &ice::Agent, policy: TransportPolicy) -> Option<Self> {
        let pair = agent.selected()?;
        let relayed = pair.is_relayed();
        let because = relayed.then(|| why_relayed(&pair, &agent.report(), policy));
        let our_relay = pair.local.kind == CandidateKind::Relay;
        let wire = pair.local.base.filter(|_| our_relay).or_else(|| pair.remote.address.ip());
        Some(Self {
            kind: if relayed { PathKind::Relayed } else { PathKind::Direct },
            local: pair.local.kind,
            remote: pair.remote.kind,
            protocol: pair.local.relay_protocol.filter(|_| our_relay).unwrap_or(Transport::Udp),
            family: if wire.is_some_and(|address| address.is_ipv6()) { 6 } else { 4 },
            rtt: pair.rtt,
            relay: pair.local.url.filter(|_| our_relay),
            because,
        })
    }
}

/// Why data goes through a TURN server, as far as this side can tell.
fn why_relayed(selected: &SelectedPair, report: &ice::Report, policy: TransportPolicy) -> String {
    if policy == TransportPolicy::Relay {
        return "only relayed paths are allowed here".into();
    }
    let asked = |request: ServerRequest, transport: Transport| {
        report.servers.iter().filter(move |server| server.request == request && server.transport == transport)
    };
    let udp_answers = [ServerRequest::Binding, ServerRequest::Allocate]
        .into_iter()
        .flat_map(|request| asked(request, Transport::Udp))
        .map(|server| matches!(server.outcome, ServerOutcome::Succeeded(_) | ServerOutcome::Refused { .. }));
    if selected.local.relay_protocol.is_some_and(|protocol| protocol != Transport::Udp) {
        let answers: Vec<bool> = udp_answers.collect();
        if !answers.is_empty() && !answers.contains(&true) {
            return "no server answers over UDP from this network".into();
        }
    }
    let direct: Vec<&PairReport> = report
        .pairs
        .iter()
        .filter(|pair| [&pair.local, &pair.remote].iter().all(|it| it.kind != CandidateKind::Relay))
        .collect();
    if report.remote.iter().all(|remote| remote.candidate.kind == CandidateKind::Relay) {
        return "the other side gave only relayed candidates".into();
    }
    if direct.is_empty() {
        return "the two sides have no candidates that could be tried directly".into();
    }
    if direct.iter().any(|pair| pair.valid) {
        return "a direct path was found only later, or was lost".into();
    }
    let heard = direct.iter().any(|pair| pair.requests_received > 0);
    let tried = direct.iter().filter(|pair| pair.checks_sent > 0).count();
    let answer = if heard { "their checks arrived, ours were not answered" } else { "no check was answered" };
    format!("{tried} direct pairs were tried and {answer}")
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
