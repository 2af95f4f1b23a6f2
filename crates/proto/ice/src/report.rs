use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::Transport;

use crate::{Candidate, GatheringState, State};

/// What an agent has done so far and what came of it: the evidence for a diagnosis.
///
/// Nothing in it tells more about addresses than the candidates do that were signalled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The state of the agent.
    pub state: State,
    /// How far gathering is.
    pub gathering: GatheringState,
    /// Whether this agent is controlling.
    pub controlling: bool,
    /// Whether the other side's credentials are known.
    pub has_remote_credentials: bool,
    /// Whether the other side said that it has no more candidates.
    pub remote_candidates_complete: bool,
    /// Our candidates.
    pub local: Vec<Candidate>,
    /// The other side's candidates, with those that are of no use.
    pub remote: Vec<RemoteReport>,
    /// Every question to a STUN or TURN server.
    pub servers: Vec<ServerReport>,
    /// Every pair that was to be checked, the preferred first.
    pub pairs: Vec<PairReport>,
    /// Checks as large as the largest packet, if there was reason to send some.
    pub padded: Option<Padded>,
    /// What was done to punch through NATs, if anything was.
    pub punched: Option<Punched>,
    /// What was received and not used.
    pub drops: Drops,
}

/// What was done to punch through NATs; see [`Config::punch`](crate::Config::punch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Punched {
    /// Packets that were sent for it, all sessions taken together.
    pub packets: usize,
    /// Sockets that are open for it.
    pub sockets: usize,
    /// Whether it goes on.
    pub under_way: bool,
}

/// Checks that were padded to the size of the largest packet; see
/// [`Agent::check_size`](crate::Agent::check_size).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padded {
    /// Their size, in bytes of UDP payload.
    pub size: usize,
    /// How many were sent.
    pub sent: u32,
    /// How many of them were answered.
    pub answered: u32,
    /// How many checks of ordinary size were answered on the same pair since the first of them.
    pub plain_answered: u32,
}

/// A candidate of the other side.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteReport {
    /// The candidate as it was signalled, or as it was found.
    pub candidate: Candidate,
    /// What became of it.
    pub fate: RemoteFate,
}

/// What became of a candidate of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteFate {
    /// It is paired with our candidates where that is possible.
    Used,
    /// Its name is being looked up.
    Resolving,
    /// Its name could not be looked up, for this reason.
    Unresolved(String),
    /// Its transport is not UDP, or its component not 1.
    Unsupported,
    /// No packet may be sent to such an address: multicast, unspecified, port 0, …
    Forbidden,
}

/// One question to one server from one address of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerReport {
    /// The server's URL.
    pub url: String,
    /// What it was asked.
    pub request: ServerRequest,
    /// How it was asked.
    pub transport: Transport,
    /// The address of ours that it was asked from, once there is one and if it may be known.
    pub local: Option<SocketAddr>,
    /// The server's address, once its name is resolved.
    pub address: Option<SocketAddr>,
    /// What came of it.
    pub outcome: ServerOutcome,
    /// Requests that were sent, repetitions included; 0 where TURN counts them itself.
    pub sent: u32,
    /// From the start until the outcome, names and connections included.
    pub took: Option<Duration>,
    /// The first address that it gave, if it gives another one now: a NAT has forgotten us meanwhile.
    pub earlier: Option<SocketAddr>,
    /// The realm of a TURN server that asked for credentials.
    pub realm: Option<String>,
    /// Until when the username is good, in Unix seconds, if it is one that says so (`timestamp:user`).
    pub expires: Option<u64>,
}

/// What a server was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerRequest {
    /// How it sees us: a STUN Binding request.
    Binding,
    /// To relay for us: a TURN Allocate request.
    Allocate,
}

/// What came of a question to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutcome {
    /// Nothing yet.
    Pending,
    /// It gave this address: the mapped or the relayed one.
    Succeeded(SocketAddr),
    /// Its name could not be looked up.
    NotResolved(String),
    /// No connection could be made to it.
    NotConnected(String),
    /// It did not answer.
    TimedOut,
    /// It answered with this STUN error.
    Refused {
        /// The STUN error code.
        code: u16,
        /// The server's words, and where we know it, what to do.
        text: String,
    },
    /// It was not asked, for this reason.
    NotAsked(String),
}

/// One candidate pair.
#[derive(Clone, Debug, PartialEq)]
pub struct PairReport {
    /// Our candidate: for a pair that is valid, the one that the other side saw.
    pub local: Candidate,
    /// The other side's candidate.
    pub remote: Candidate,
    /// Its state.
    pub state: PairState,
    /// Whether data may flow on it.
    pub valid: bool,
    /// Whether the controlling agent has chosen it.
    pub nominated: bool,
    /// Its priority (RFC 8445 §6.1.2.3).
    pub priority: u64,
    /// Checks that were sent, without repetitions.
    pub checks_sent: u32,
    /// Repetitions of checks.
    pub retransmissions: u32,
    /// Authenticated answers.
    pub responses_received: u32,
    /// Authenticated checks of the other side.
    pub requests_received: u32,
    /// The last thing that went wrong.
    pub error: Option<PairError>,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// The address of ours that the other side saw in the last check that it answered; it tells what NATs on this
    /// very way make of us.
    pub seen_as: Option<SocketAddr>,
}

/// The state of a pair (RFC 8445 §6.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairState {
    /// Not to be checked before another pair of the same foundation.
    Frozen,
    /// To be checked.
    Waiting,
    /// A check is under way.
    InProgress,
    /// A check has worked.
    Succeeded,
    /// A check has not worked.
    Failed,
}

/// Why a check of a pair did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// All checks stayed without an answer.
    #[error("no answer")]
    TimedOut,
    /// The other side answered with this STUN error.
    #[error("the peer answered {0}")]
    Refused(u16),
    /// An answer came that nobody had signed, with this error code (0 if it had none). It was not believed.
    #[error("an unsigned answer {0} came and was not believed")]
    Unauthenticated(u16),
    /// An answer came from or to another address than the check had.
    #[error("the answer came by another way than the check")]
    NonSymmetric,
    /// The TURN server does not want to relay to that address.
    #[error("the TURN server refused to relay to it: {code} {reason}")]
    PermissionRefused {
        /// The STUN error code.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// The TURN allocation ended.
    #[error("the TURN allocation ended")]
    RelayLost,
    /// The address of ours that it uses is gone.
    #[error("our address is gone")]
    AddressLost,
    /// The other side stopped answering consent checks, or took its consent back (RFC 7675).
    #[error("consent to send was lost")]
    ConsentLost,
}

/// Counts of what was received and not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Looked like STUN but was not, or had a wrong fingerprint.
    pub malformed: u64,
    /// STUN requests of other methods than Binding, indications and other things that need no answer.
    pub ignored: u64,
    /// Checks with a username fragment that is not ours.
    pub unknown_user: u64,
    /// Checks or answers that were signed with a wrong password, or not at all.
    pub unauthenticated: u64,
    /// Answers to no question of ours.
    pub unsolicited: u64,
    /// Application bytes from an address that no check had authenticated.
    pub unvalidated: u64,
    /// Early application bytes for which there was no more room.
    pub early_overflow: u64,
    /// Candidates and checks beyond the limits.
    pub over_limit: u64,
    /// Answers that did not fit into the outbox.
    pub no_room: u64,
}

impl fmt::Display for PairState {
    /// As W3C spells it: `frozen`, `waiting`, `in-progress`, `succeeded`, `failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "frozen",
            Self::Waiting => "waiting",
            Self::InProgress => "in-progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for ServerOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("no answer yet"),
            Self::Succeeded(address) => write!(f, "gave {address}"),
            Self::NotResolved(why) => write!(f, "name not resolved: {why}"),
            Self::NotConnected(why) => write!(f, "not connected: {why}"),
            Self::TimedOut => f.write_str("no answer"),
            Self::Refused { code, text } => write!(f, "refused: {code} {text}"),
            Self::NotAsked(why) => write!(f, "not asked: {why}"),
        }
    }
}
