use std::net::SocketAddr;
use std::time::Duration;

use sansio::Time;

use crate::check::CheckId;
use crate::local::BaseId;
use crate::remote::RemoteId;
use crate::report::{PairError, PairState};
use crate::route::Route;

/// Names a [`Pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairId(pub(crate) u32);

/// One of our bases and one of the other side's candidates (RFC 8445 §6.1.2.2).
///
/// It is also its own valid pair: what the RFC calls the valid pair differs from the pair that was checked only
/// in the local candidate, and packets leave from the same base either way.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) id: PairId,
    pub(crate) base: BaseId,
    pub(crate) remote: RemoteId,
    pub(crate) route: Route,
    pub(crate) priority: u64,
    /// The foundations of both candidates.
    pub(crate) foundation: (String, String),
    pub(crate) state: PairState,
    /// Whether packets can go: for a relayed pair, whether the server permits it or was asked to.
    pub(crate) permitted: bool,
    /// The check that decides about the state.
    pub(crate) current: Option<CheckId>,
    /// Set while the pair may carry data.
    pub(crate) valid: Option<Valid>,
    /// RFC 8445 §7.3.1.5: the next success makes it nominated.
    pub(crate) nominate_on_success: bool,
    pub(crate) nominated: bool,
    pub(crate) relayed: bool,
    pub(crate) evidence: Evidence,
}

/// What makes a pair valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Valid {
    /// Since when.
    pub(crate) since: Time,
    /// How the other side sees us.
    pub(crate) mapped: SocketAddr,
    /// When the other side last consented to receive (RFC 7675 §5.1).
    pub(crate) consented: Time,
}

/// What was sent on a pair and what came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) checks_sent: u32,
    pub(crate) retransmissions: u32,
    pub(crate) responses_received: u32,
    pub(crate) requests_received: u32,
    pub(crate) error: Option<PairError>,
    pub(crate) rtt: Option<Duration>,
    /// How the other side saw us last.
    pub(crate) seen_as: Option<SocketAddr>,
}

impl Evidence {
    /// Whether a check that goes now is every third one.
    pub(crate) fn is_third_try(&self) -> bool {
        (self.checks_sent + self.retransmissions).is_multiple_of(3)
    }
}

impl Pair {
    /// Whether its check can still change something.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, PairState::Frozen | PairState::Waiting | PairState::InProgress)
    }

    /// Nothing more is to be expected of it.
    pub(crate) fn fail(&mut self, error: PairError) {
        self.state = PairState::Failed;
        self.valid = None;
        self.current = None;
        self.nominate_on_success = false;
        self.evidence.error = Some(error);
    }
}
