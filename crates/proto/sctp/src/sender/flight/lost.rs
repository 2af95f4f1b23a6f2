//! What of it is lost.

use sansio::Time;

use super::{Fate, Flight, Sent};
use crate::packet::padded;

/// What is found to be lost: its bytes, its last packet, and how many of its packets were larger
/// than any path carries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) bytes: usize,
    pub(crate) packet: u64,
    pub(crate) large: usize,
}

impl Flight {
    /// Finds what is lost: in the order of sending, from the oldest on, as long as `is_lost` says so of a packet and its
    /// time.
    pub(crate) fn find_lost(&mut self, mut is_lost: impl FnMut(u64, Time) -> bool) -> Option<Found> {
        let mut found: Option<Found> = None;
        // The last packet that was counted as large: some chunks of it are within what any path carries.
        let mut counted = 0;
        self.reveal();
        while let Some(&(packet, tsn)) = self.order.front() {
            if let Some(sent) = self.under_way(packet, tsn) {
                if !is_lost(packet, sent.at) {
                    break;
                }
                if self.is_concealed(tsn, sent) {
                    self.order.pop_front();
                    self.concealed.push_back((packet, tsn));
                    continue;
                }
                let before = found.unwrap_or_default();
                let (size, large) = (self.size(&sent.fragment), usize::from(sent.large && packet != counted));
                counted = if sent.large { packet } else { counted };
                self.lose(tsn);
                found = Some(Found { bytes: before.bytes + size, packet, large: before.large + large });
            }
            self.order.pop_front();
        }
        found
    }

    /// The chunk, if it is under way in this packet.
    pub(crate) fn under_way(&self, packet: u64, tsn: u64) -> Option<&Sent> {
        self.get(tsn).filter(|sent| sent.packet == packet && sent.fate == Fate::UnderWay)
    }

    /// Whether this chunk may have arrived without having been told of: there was no room for it.
    fn is_concealed(&self, tsn: u64, sent: &Sent) -> bool {
        tsn > self.horizon && (tsn > self.told || sent.transmissions > 1)
    }

    /// Puts those back in the queue of which is known again whether they have arrived.
    fn reveal(&mut self) {
        let known = |&(packet, tsn): &(u64, u64)| {
            self.under_way(packet, tsn).is_none_or(|sent| !self.is_concealed(tsn, sent))
        };
        let count = self.concealed.iter().take_while(|it| known(it)).count();
        self.concealed.drain(..count).rev().for_each(|it| self.order.push_front(it));
    }

    fn lose(&mut self, tsn: u64) {
        let Some(sent) = self.get_mut(tsn) else { return };
        sent.fate = Fate::Lost;
        let payload = sent.fragment.data.len();
        self.bytes -= padded(self.header + payload);
        self.payload -= payload;
        self.lost.push_back(tsn);
    }

    /// Everything under way counts as lost. What had arrived beyond a gap counts as lost, too, if the peer must have dropped
    /// it again (RFC 9260 §6.2.1 D): it has the first of it, but does not say so.
    pub(crate) fn lose_all(&mut self) {
        let reneged = self.sent.front().is_some_and(|sent| sent.fate == Fate::Arrived);
        self.lost.clear();
        self.order.clear();
        self.concealed.clear();
        for (at, sent) in self.sent.iter_mut().enumerate() {
            if reneged && sent.fate == Fate::Arrived || sent.fate == Fate::UnderWay {
                sent.fate = Fate::Lost;
            }
            if sent.fate == Fate::Lost {
                self.lost.push_back(self.first + at as u64);
            }
        }
        if reneged {
            self.arrived.clear();
        }
        (self.bytes, self.payload) = (0, 0);
    }
}
