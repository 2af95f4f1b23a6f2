use sdp::Session;

use super::Media;
use crate::Transceiver;

impl Media {
    /// Whether there is something to tell the other side: W3C's "check if negotiation is needed" (webrtc-pc §4.7.3), about
    /// the descriptions of the last exchange.
    pub(crate) fn is_negotiation_needed(
        &self,
        local: Option<&Session>,
        remote: Option<&Session>,
        we_offered: bool,
    ) -> bool {
        self.transceivers.iter().any(|it| is_news(it, local, remote, we_offered))
    }
}

fn is_news(it: &Transceiver, local: Option<&Session>, remote: Option<&Session>, we_offered: bool) -> bool {
    let own = local.and_then(|all| all.section(it.index?));
    let theirs = remote.and_then(|all| all.section(it.index?));
    let (Some(own), Some(theirs)) = (own, theirs) else { return !it.stopping };
    if it.stopping {
        return !own.is_rejected() && !theirs.is_rejected();
    }
    let Ok(told) = own.rtp() else { return false };
    if it.direction.sends() && told.direction.sends() {
        let streams = told.msids.iter().filter_map(|msid| msid.stream.as_ref());
        if !streams.eq(it.streams.iter()) {
            return true;
        }
    }
    let offered = theirs.direction().reversed();
    match we_offered {
        true => told.direction != it.direction && offered != it.direction,
        false => told.direction != it.direction.and(offered),
    }
}
