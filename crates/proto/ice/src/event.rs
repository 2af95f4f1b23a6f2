use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Candidate, Failure};

/// What an [`Agent`](crate::Agent) tells its owner.
#[derive(Clone, Debug)]
pub enum Event {
    /// A candidate for the other side, to be sent at once when trickling (RFC 8838).
    CandidateGathered(Candidate),
    /// Gathering started or ended. At [`GatheringState::Complete`] the other side is to be told
    /// `end-of-candidates`.
    GatheringStateChanged(GatheringState),
    /// A server gave no candidate. Others may.
    CandidateFailed {
        /// Its URL.
        url: String,
        /// The address of ours that it was asked from, if it may be known.
        address: Option<SocketAddr>,
        /// The STUN error code of its answer, or 701 if there was none (W3C's `icecandidateerror`).
        code: u16,
        /// What happened.
        text: String,
    },
    /// The state changed.
    StateChanged(State),
    /// Data goes by this path from now on: the nominated pair.
    PairSelected(Box<SelectedPair>),
    /// Data goes on by the path that it went by, from another address of ours: the allocation on the TURN server was taken
    /// along (RFC 8016). What was under way meanwhile may be lost.
    PathMoved,
    /// This agent is now controlling (`true`) or controlled, because both had taken the same role.
    RoleChanged(bool),
    /// It did not work, or ended: the last event until a restart.
    Failed(Box<Failure>),
}

/// Where an agent stands: W3C's `RTCIceConnectionState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is known of the other side.
    #[default]
    New,
    /// Pairs are checked.
    Checking,
    /// Data can flow; a better path may yet be found.
    Connected,
    /// The path is chosen.
    Completed,
    /// The other side has not been heard for a while.
    Disconnected,
    /// There is no path, or no longer one. Only a restart helps.
    Failed,
    /// Ended by its owner.
    Closed,
}

/// How far gathering is: W3C's `RTCIceGatheringState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GatheringState {
    /// Not asked for yet.
    #[default]
    New,
    /// Under way.
    Gathering,
    /// All candidates are known.
    Complete,
}

/// The path that data takes.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedPair {
    /// Our end.
    pub local: Candidate,
    /// The other end.
    pub remote: Candidate,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// Whether the controlling agent has chosen it; otherwise it is the best so far.
    pub nominated: bool,
}

impl SelectedPair {
    /// Whether packets pass through a TURN server on either side.
    pub fn is_relayed(&self) -> bool {
        [&self.local, &self.remote].iter().any(|candidate| candidate.kind == crate::CandidateKind::Relay)
    }
}

impl fmt::Display for State {
    /// As W3C spells it: `checking`, `connected`, …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        })
    }
}

impl fmt::Display for GatheringState {
    /// As W3C spells it: `new`, `gathering`, `complete`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Gathering => "gathering",
            Self::Complete => "complete",
        })
    }
}
