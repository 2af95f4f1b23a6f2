use super::state::{Negotiation, Sides};
use crate::{Error, SdpType, SignalingState};

impl Negotiation {
    /// Takes back what is in negotiation (RFC 9429 §5.7): whatever was offered or answered provisionally, by
    /// whomever, is as if it had never been.
    ///
    /// # Errors
    /// In the stable state there is nothing to take back.
    pub(crate) fn rollback(&mut self, side: &'static str) -> Result<(), Error> {
        match self.signaling {
            SignalingState::Closed => Err(Error::Closed),
            SignalingState::Stable => {
                Err(Error::WrongState { side, kind: SdpType::Rollback, state: SignalingState::Stable })
            }
            _ => {
                self.pending = Sides::default();
                self.created = None;
                self.signaling = SignalingState::Stable;
                Ok(())
            }
        }
    }

    /// Whether a remote description of this kind takes our own offer back first: W3C's implicit rollback, the
    /// polite half of perfect negotiation.
    pub(crate) fn yields_to(&self, kind: SdpType) -> bool {
        kind == SdpType::Offer && self.signaling == SignalingState::HaveLocalOffer
    }
}
