use std::fmt;

use crate::report::{PairError, RemoteFate, ServerOutcome, ServerRequest};
use crate::{CandidateKind, Report};

/// Why there is no path, or no longer one, with the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The most likely cause.
    pub cause: FailureCause,
    /// What was tried and what came back.
    pub report: Report,
}

/// The most likely cause of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureCause {
    /// This machine has no address to send from, or no socket could be bound.
    NoLocalCandidates,
    /// The other side sent no candidate that can be used, and no check either.
    NoRemoteCandidates,
    /// All candidates of the other side are `.local` names, and none could be looked up.
    MdnsUnresolved,
    /// One side has only IPv4 and the other only IPv6.
    NoCommonFamily,
    /// Checks of the other side arrived, but it did not recognise ours.
    WrongCredentials,
    /// A TURN server refused the username or the password.
    TurnUnauthorized,
    /// The TURN servers were not reachable, and there is no way without.
    TurnUnreachable,
    /// The TURN server does not relay to the addresses of the other side.
    RelayRefused,
    /// No server answered over UDP: a firewall seems to block it.
    UdpBlocked,
    /// Checks of the other side arrived, but no answer to ours.
    OneWay,
    /// No direct path works, and there is no TURN server for the other.
    NoDirectPath,
    /// Nothing came from the other side at all, relays included.
    PeerSilent,
    /// There was a path, but the other side has stopped answering (RFC 7675).
    ConsentLost,
    /// There was a path through a TURN server, which has ended it.
    RelayLost,
    /// There was a path, but the address of ours that it used is gone.
    AddressLost,
}

impl FailureCause {
    /// A word for programs, which never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoLocalCandidates => "ice-no-local-candidates",
            Self::NoRemoteCandidates => "ice-no-remote-candidates",
            Self::MdnsUnresolved => "ice-mdns-unresolved",
            Self::NoCommonFamily => "ice-no-common-family",
            Self::WrongCredentials => "ice-wrong-credentials",
            Self::TurnUnauthorized => "ice-turn-unauthorized",
            Self::TurnUnreachable => "ice-turn-unreachable",
            Self::RelayRefused => "ice-relay-refused",
            Self::UdpBlocked => "ice-udp-blocked",
            Self::OneWay => "ice-one-way",
            Self::NoDirectPath => "ice-no-direct-path",
            Self::PeerSilent => "ice-peer-silent",
            Self::ConsentLost => "ice-consent-lost",
            Self::RelayLost => "ice-relay-lost",
            Self::AddressLost => "ice-address-lost",
        }
    }

    /// What happened, in a sentence.
    pub fn message(self) -> &'static str {
        match self {
            Self::NoLocalCandidates => "this machine has no network address to connect from",
            Self::NoRemoteCandidates => "the other side sent no address that can be connected to",
            Self::MdnsUnresolved => {
                "the other side hides its addresses behind .local names that do not resolve here"
            }
            Self::NoCommonFamily => "one side has only IPv4 and the other only IPv6",
            Self::WrongCredentials => "the other side did not accept our connectivity checks",
            Self::TurnUnauthorized => "the TURN server refused the username or password",
            Self::TurnUnreachable => "no direct path works and no TURN server could be reached",
            Self::RelayRefused => "the TURN server does not relay to the other side's addresses",
            Self::UdpBlocked => "no server answered over UDP: a firewall seems to block it",
            Self::OneWay => "packets arrive from the other side but ours do not arrive there",
            Self::NoDirectPath => "no direct path works between the two networks and there is no relay",
            Self::PeerSilent => "nothing came back from the other side",
            Self::ConsentLost => "the other side has stopped answering",
            Self::RelayLost => "the TURN server has ended the relayed path",
            Self::AddressLost => "the network address that the path used is gone",
        }
    }

    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoLocalCandidates => "connect to a network, and allow this program to open UDP sockets",
            Self::NoRemoteCandidates => {
                "check that candidates reach this side: signalling may lose them, or send them before the description"
            }
            Self::MdnsUnresolved => {
                "if both are on one network let multicast DNS (UDP 5353) through, else add a STUN or TURN server"
            }
            Self::NoCommonFamily => "add a TURN server that has both IPv4 and IPv6",
            Self::WrongCredentials => {
                "check that both sides hold each other's latest description: ice-ufrag and ice-pwd do not match"
            }
            Self::TurnUnauthorized => {
                "check the TURN username and credential, and if they are time-limited the clocks of both machines"
            }
            Self::TurnUnreachable => {
                "check the TURN URL, its port and the firewall; try ?transport=tcp, or turns: on port 443"
            }
            Self::RelayRefused => "allow the other side's addresses in the TURN server's peer policy",
            Self::UdpBlocked => "add a TURN server with ?transport=tcp, or turns: on port 443",
            Self::OneWay => {
                "look for a firewall that lets packets through in one direction only, or add a TURN server"
            }
            Self::NoDirectPath => {
                "add a TURN server: both networks have NATs or firewalls that cannot be crossed directly"
            }
            Self::PeerSilent => {
                "check that the other side is running and has received this side's description and candidates"
            }
            Self::ConsentLost => "reconnect, or restart ICE if the network of either side has changed",
            Self::RelayLost => "restart ICE to get a new relayed path",
            Self::AddressLost => "restart ICE with the addresses that there are now",
        }
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause.message(), self.cause.advice())
    }
}

impl std::error::Error for Failure {}

/// The cause that the evidence of an agent that never had a path points to.
pub(crate) fn diagnose(report: &Report) -> FailureCause {
    let pairs = &report.pairs;
    if pairs.iter().any(|pair| pair.error == Some(PairError::ConsentLost)) {
        return FailureCause::ConsentLost;
    }
    if report.local.is_empty() && pairs.is_empty() {
        return match turn(report) {
            Turn::Unauthorized => FailureCause::TurnUnauthorized,
            Turn::Unreachable => FailureCause::TurnUnreachable,
            Turn::None | Turn::Works => FailureCause::NoLocalCandidates,
        };
    }
    if pairs.is_empty() {
        let unresolved =
            |fate: &RemoteFate| matches!(fate, RemoteFate::Unresolved(_) | RemoteFate::Resolving);
        return if report.remote.iter().any(|remote| remote.fate == RemoteFate::Used) {
            FailureCause::NoCommonFamily
        } else if report.remote.iter().any(|remote| unresolved(&remote.fate)) {
            FailureCause::MdnsUnresolved
        } else {
            FailureCause::NoRemoteCandidates
        };
    }
    let refused =
        |error: &PairError| matches!(error, PairError::Unauthenticated(400 | 401) | PairError::Refused(_));
    if pairs.iter().any(|pair| pair.error.as_ref().is_some_and(refused)) {
        return FailureCause::WrongCredentials;
    }
    let relayed: Vec<_> = pairs.iter().filter(|pair| pair.local.kind == CandidateKind::Relay).collect();
    let permission = |error: &PairError| matches!(error, PairError::PermissionRefused { .. });
    if !relayed.is_empty() && relayed.iter().all(|pair| pair.error.as_ref().is_some_and(permission)) {
        return FailureCause::RelayRefused;
    }
    let has_relay = report.local.iter().any(|candidate| candidate.kind == CandidateKind::Relay)
        || report.remote.iter().any(|remote| remote.candidate.kind == CandidateKind::Relay);
    match turn(report) {
        Turn::Unauthorized if !has_relay => return FailureCause::TurnUnauthorized,
        Turn::Unreachable if !has_relay && udp_is_silent(report) => return FailureCause::UdpBlocked,
        Turn::Unreachable if !has_relay => return FailureCause::TurnUnreachable,
        _ => {}
    }
    if udp_is_silent(report) {
        FailureCause::UdpBlocked
    } else if pairs.iter().any(|pair| pair.requests_received > 0) {
        FailureCause::OneWay
    } else if has_relay {
        FailureCause::PeerSilent
    } else {
        FailureCause::NoDirectPath
    }
}

/// How the TURN servers did, taken together.
enum Turn {
    None,
    Works,
    Unauthorized,
    Unreachable,
}

fn turn(report: &Report) -> Turn {
    let mut asked =
        report.servers.iter().filter(|server| server.request == ServerRequest::Allocate).peekable();
    if asked.peek().is_none() {
        return Turn::None;
    }
    let outcomes: Vec<_> = asked.map(|server| &server.outcome).collect();
    if outcomes.iter().any(|outcome| matches!(outcome, ServerOutcome::Succeeded(_))) {
        Turn::Works
    } else if outcomes.iter().any(|outcome| matches!(outcome, ServerOutcome::Refused { code: 401 | 441, .. }))
    {
        Turn::Unauthorized
    } else {
        Turn::Unreachable
    }
}

/// Whether servers were asked over UDP and none of them answered anything.
fn udp_is_silent(report: &Report) -> bool {
    let mut asked = report
        .servers
        .iter()
        .filter(|server| server.transport == sansio::Transport::Udp && server.address.is_some())
        .peekable();
    let silent =
        |outcome: &ServerOutcome| matches!(outcome, ServerOutcome::Pending | ServerOutcome::TimedOut);
    asked.peek().is_some() && asked.all(|server| silent(&server.outcome))
}
