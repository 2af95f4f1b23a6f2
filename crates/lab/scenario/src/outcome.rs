use std::time::Duration;

use ice::CandidateKind;
use peer::{Failure, PathKind, PathSummary};

/// By which way data goes between two peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// Directly, between the hosts' own addresses.
    Host,
    /// Directly, and at least one end is the address that a STUN server saw and signalling told.
    Reflexive,
    /// Directly, and at least one end is an address that nobody knew before a check came from it.
    PeerReflexive,
    /// Through a TURN server.
    Relayed,
}

impl Way {
    /// The way of a connection whose two ends see these paths. An end that is peer-reflexive for one side makes
    /// the way peer-reflexive.
    pub fn of(paths: &[PathSummary]) -> Option<Self> {
        let kinds = || paths.iter().flat_map(|path| [path.local, path.remote]);
        if paths.is_empty() {
            None
        } else if paths.iter().any(|path| path.kind == PathKind::Relayed) {
            Some(Self::Relayed)
        } else if kinds().any(|kind| kind == CandidateKind::Prflx) {
            Some(Self::PeerReflexive)
        } else if kinds().any(|kind| kind == CandidateKind::Srflx) {
            Some(Self::Reflexive)
        } else {
            Some(Self::Host)
        }
    }

    /// Whether no server is in between.
    pub fn is_direct(self) -> bool {
        self != Self::Relayed
    }

    /// `host`, `srflx`, `prflx` or `relayed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Reflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relayed",
        }
    }
}

/// How an attempt to connect came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether a data message has passed each way.
    pub connected: bool,
    /// By which way data goes in the end; `None` if it does not.
    pub way: Option<Way>,
    /// The path as each side sees it.
    pub paths: [Option<PathSummary>; 2],
    /// From the call until a message had passed each way; the whole time if it did not.
    pub took: Duration,
    /// From the call until ICE was content with the path.
    pub settled: Duration,
    /// Packets that the hosts and the server have sent until then.
    pub packets: u64,
    /// Why each side failed, if it did.
    pub failures: [Option<Failure>; 2],
    /// Things that happened in the simulated internet.
    pub steps: u64,
    /// What each side has done to punch through NATs, if anything.
    pub punched: [Option<ice::Punched>; 2],
}

impl Outcome {
    /// The path as each side sees it, a line each; none if there is none.
    pub fn path_lines(&self) -> Vec<String> {
        let lines = ["a", "b"].into_iter().zip(&self.paths);
        lines.filter_map(|(side, path)| Some(format!("{side}: {}", path.as_ref()?))).collect()
    }
}
