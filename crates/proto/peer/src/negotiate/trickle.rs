use sdp::{Line, Session};

use super::remote::ufrag_of;
use super::state::Negotiation;
use crate::{Error, IceCandidateInit};

/// The most candidates that wait for their description; real peers have a dozen.
const MAX_EARLY: usize = 256;
/// The most candidates that one section keeps.
const MAX_CANDIDATES: usize = 256;

/// A candidate of the other side, or the end of them, that belongs to a known generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteCandidate {
    /// Which generation.
    pub(crate) ufrag: String,
    /// `candidate:…`; `None` says that no more follow.
    pub(crate) line: Option<String>,
}

impl Negotiation {
    /// Puts a candidate into the remote description that it belongs to, or keeps it until that comes.
    ///
    /// # Errors
    /// Only if it is malformed: that it comes early is nobody's fault.
    pub(crate) fn add_candidate(
        &mut self,
        candidate: IceCandidateInit,
    ) -> Result<Option<RemoteCandidate>, Error> {
        if !candidate.is_end_of_candidates() {
            if candidate.line().is_none() {
                return Err(Error::Candidate("it is not a candidate attribute"));
            }
            if candidate.sdp_mid.is_none() && candidate.sdp_mline_index.is_none() {
                return Err(Error::Candidate("neither sdpMid nor sdpMLineIndex tells its section"));
            }
        }
        let placed = self.place(&candidate);
        if placed.is_none() {
            if self.early.len() == MAX_EARLY {
                self.early.pop_front();
            }
            self.early.push_back(candidate);
        }
        Ok(placed)
    }

    /// Candidates that came before the remote description that was just applied.
    pub(crate) fn place_early(&mut self) -> Vec<RemoteCandidate> {
        let mut placed = Vec::new();
        for candidate in std::mem::take(&mut self.early) {
            match self.place(&candidate) {
                Some(candidate) => placed.push(candidate),
                None => self.early.push_back(candidate),
            }
        }
        placed
    }

    /// The description in negotiation is asked before the one in force: after a restart both have a section of
    /// the same name, and only the user name fragment tells the generations apart.
    fn place(&mut self, candidate: &IceCandidateInit) -> Option<RemoteCandidate> {
        let descriptions = [self.pending.remote.as_mut(), self.current.remote.as_mut()];
        descriptions.into_iter().flatten().find_map(|description| place(&mut description.session, candidate))
    }
}

fn place(session: &mut Session, candidate: &IceCandidateInit) -> Option<RemoteCandidate> {
    let index = match (&candidate.sdp_mid, candidate.sdp_mline_index) {
        (Some(mid), _) => session.index_of(mid)?,
        (None, Some(index)) => usize::from(index),
        // The end of candidates of all sections.
        (None, None) => crate::description::anchor(session)?,
    };
    let ufrag = ufrag_of(session, session.section(index)?)?.to_owned();
    if candidate.ufrag().is_some_and(|told| told != ufrag) {
        return None;
    }
    let lines = &mut session.media.get_mut(index)?.lines;
    let Some(line) = candidate.line() else {
        if !lines.has("end-of-candidates") {
            lines.push_flag("end-of-candidates");
        }
        return Some(RemoteCandidate { ufrag, line: None });
    };
    let known = |it: &Line| it.letter() == 'a' && it.value() == line;
    if !lines.iter().any(known) && lines.attributes("candidate").count() < MAX_CANDIDATES {
        lines.push(Line::new('a', line));
    }
    Some(RemoteCandidate { ufrag, line: Some(line.into()) })
}
