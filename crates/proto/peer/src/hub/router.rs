use sansio::{Datagram, Transport};
use stun::{Class, Message, Method, Packet};

use super::{Hub, Resident};

/// What a [`Hub`] has dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubDrops {
    /// Came by a path that is nobody's, and is not STUN.
    pub strangers: u64,
    /// Checks that name nobody who is here.
    pub unknown_user: u64,
    /// Answers to nobody's question.
    pub unsolicited: u64,
    /// STUN that cannot be read, or is no business of a peer's.
    pub malformed: u64,
}

/// Why a datagram is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Stranger,
    UnknownUser,
    Unsolicited,
    Malformed,
}

impl HubDrops {
    pub(super) fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Stranger => &mut self.strangers,
            Reason::UnknownUser => &mut self.unknown_user,
            Reason::Unsolicited => &mut self.unsolicited,
            Reason::Malformed => &mut self.malformed,
        } += 1;
    }
}

/// The transaction of a request.
pub(super) fn question(bytes: &[u8]) -> Option<[u8; 12]> {
    let header = bytes.first_chunk::<{ stun::HEADER_BYTES }>()?;
    // The two bits of the class are 0 in requests (RFC 8489 §5).
    let request = header[0] < 4 && header[0] & 1 == 0 && header[1] & 0x10 == 0;
    let cookie = header[4..8] == stun::MAGIC_COOKIE.to_be_bytes();
    header.last_chunk::<12>().copied().filter(|_| request && cookie)
}

impl<C: Resident> Hub<C> {
    /// Whose a datagram is.
    pub(super) fn route(&self, datagram: &Datagram<'_>) -> Result<u32, Reason> {
        let from = &datagram.from;
        if from.transport != Transport::Udp {
            return self.sockets.owner(*from).ok_or(Reason::Stranger);
        }
        let owner = || self.claims.owner(from).ok_or(Reason::Stranger);
        if stun::classify(datagram.payload) != Packet::Stun {
            return owner();
        }
        let message = Message::parse(datagram.payload).map_err(|_| Reason::Malformed)?;
        if message.method() != Method::BINDING {
            return Err(Reason::Malformed);
        }
        match message.class() {
            // RFC 8445 §7.3: "the first part of the username".
            Class::Request => {
                let (ours, _) =
                    message.username().and_then(|name| name.split_once(':')).ok_or(Reason::Malformed)?;
                self.slots.by_ufrag(ours).ok_or(Reason::UnknownUser)
            }
            Class::Success | Class::Error => {
                let asker = self.questions.asker(message.transaction_id().0);
                let asker = asker.filter(|id| self.slots.find(*id).is_some()).map(|id| id.slot);
                asker.or(self.claims.owner(from)).ok_or(Reason::Unsolicited)
            }
            Class::Indication => owner(),
        }
    }
}
