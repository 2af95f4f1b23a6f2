mod abandoned;
mod acked;
mod lost;
mod sent;

use std::collections::VecDeque;

use sansio::Time;

pub(crate) use self::acked::{Absurd, Acked};
pub(crate) use self::lost::Found;
pub(crate) use self::sent::{Fate, Sent};
use super::backlog::Fragment;
use super::rate::Snapshot;
use crate::chunk::Data;
use crate::packet::padded;
use crate::ranges::Ranges;
use crate::serial::START;

/// Chunks that may be under way: what gap blocks can name.
const SPAN: usize = 65_000;
/// Losses that chance explains.
const FEW: usize = 16;

/// The chunks that are sent and not acknowledged to the last.
///
/// What arrived out of order is kept as ranges, and what was sent as a queue in the order of sending, so that the work for
/// a SACK depends on what it tells that is new and on the number of its blocks, and not on how much is under way.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The unrolled TSN of `sent[0]`.
    first: u64,
    sent: VecDeque<Sent>,
    /// What the peer has beyond a gap.
    arrived: Ranges,
    /// Each transmission: its packet and its TSN, in the order of packets. Those that are no longer the last of their
    /// chunk, or of no interest any more, are left in it until they come to the front.
    order: VecDeque<(u64, u64)>,
    /// Those that would count as lost if it were known that they have not arrived, and that are older than all in `order`.
    concealed: VecDeque<(u64, u64)>,
    /// The highest TSN that any SACK told of, and the one up to which the last one told all.
    told: u64,
    horizon: u64,
    /// What is to be sent again; as with `order`, some may have arrived meanwhile.
    lost: VecDeque<u64>,
    /// Up to here, excluded, everything is given up or acknowledged.
    advanced: u64,
    /// Bytes under way: of chunks, and of their payloads.
    bytes: usize,
    payload: usize,
    header: usize,
}

impl Flight {
    /// `first` is the first TSN.
    pub(crate) fn new(first: u32) -> Self {
        let first = START + u64::from(first);
        Self {
            first,
            sent: VecDeque::new(),
            arrived: Ranges::default(),
            order: VecDeque::new(),
            concealed: VecDeque::new(),
            told: 0,
            horizon: u64::MAX,
            lost: VecDeque::new(),
            advanced: first,
            bytes: 0,
            payload: 0,
            header: Data::header(false),
        }
    }

    pub(crate) fn set_interleaved(&mut self, interleaved: bool) {
        self.header = Data::header(interleaved);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether no more chunks may be sent before some are acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.sent.len() >= SPAN
    }

    /// Bytes of chunks under way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of payload under way.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// The TSN that was assigned last.
    pub(crate) fn last_assigned(&self) -> u64 {
        self.next() - 1
    }

    /// The TSN that is assigned next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    fn size(&self, fragment: &Fragment) -> usize {
        padded(self.header + fragment.data.len())
    }

    /// A chunk leaves for the first time.
    pub(crate) fn push(&mut self, now: Time, packet: u64, fragment: Fragment, snapshot: Snapshot) {
        self.bytes += self.size(&fragment);
        self.payload += fragment.data.len();
        self.order.push_back((packet, self.next()));
        let fate = Fate::UnderWay;
        self.sent.push_back(Sent {
            fragment,
            fate,
            transmissions: 1,
            packet,
            at: now,
            previous: now,
            snapshot,
            large: false,
        });
    }

    /// A chunk that is never sent: it takes the place of what is left of a message that is given up.
    pub(crate) fn push_abandoned(&mut self, now: Time, fragment: Fragment) {
        let (fate, snapshot) = (Fate::Abandoned, Snapshot::default());
        self.sent.push_back(Sent {
            fragment,
            fate,
            transmissions: 0,
            packet: 0,
            at: now,
            previous: now,
            snapshot,
            large: false,
        });
    }

    /// The packet that this chunk has left in is larger than any path carries.
    pub(crate) fn set_large(&mut self, tsn: u64) {
        if let Some(sent) = self.get_mut(tsn) {
            sent.large = true;
        }
    }

    /// Whether something is under way in a packet larger than any path carries.
    pub(crate) fn has_large(&self) -> bool {
        self.sent.iter().any(|sent| sent.large && sent.fate == Fate::UnderWay)
    }

    /// The next chunk that is to be sent again.
    pub(crate) fn next_lost(&mut self) -> Option<u64> {
        while let Some(&tsn) = self.lost.front() {
            if self.get(tsn).is_some_and(|sent| sent.fate == Fate::Lost) {
                return Some(tsn);
            }
            self.lost.pop_front();
        }
        None
    }

    /// Whether there may be something to send again.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The last chunk that is under way and may be sent again: for a probe. The first, if SACKs have no room for what is said
    /// of the last.
    pub(crate) fn repeatable(&self, now: Time) -> Option<u64> {
        let may = |sent: &Sent| {
            sent.fate == Fate::UnderWay && !sent.fragment.limit.is_reached(now, sent.transmissions)
        };
        let at = match self.horizon {
            u64::MAX => self.sent.iter().rposition(may),
            _ => self.sent.iter().position(may),
        };
        Some(self.first + at? as u64)
    }

    /// Whether what is sent again had better not be lost again: it was before, or all else waits for it.
    pub(crate) fn is_urgent(&self, tsn: u64) -> bool {
        let again = self.get(tsn).is_some_and(|sent| sent.transmissions > 2);
        // Where much is lost at once, the path is full.
        (again || self.sent.len() > SPAN / 2) && self.lost.len() <= FEW
    }

    pub(crate) fn get(&self, tsn: u64) -> Option<&Sent> {
        self.sent.get(tsn.checked_sub(self.first)? as usize)
    }

    fn get_mut(&mut self, tsn: u64) -> Option<&mut Sent> {
        self.sent.get_mut(tsn.checked_sub(self.first)? as usize)
    }

    /// A chunk leaves again.
    pub(crate) fn resend(&mut self, now: Time, packet: u64, tsn: u64, snapshot: Snapshot) {
        let Some(at) = tsn.checked_sub(self.first) else { return };
        let Some(sent) = self.sent.get_mut(at as usize) else { return };
        let was = std::mem::replace(&mut sent.fate, Fate::UnderWay);
        sent.previous = sent.at;
        (sent.packet, sent.at, sent.snapshot, sent.large) = (packet, now, snapshot, false);
        sent.transmissions = sent.transmissions.saturating_add(1);
        let (size, payload) = (padded(self.header + sent.fragment.data.len()), sent.fragment.data.len());
        if was != Fate::UnderWay {
            self.bytes += size;
            self.payload += payload;
        }
        self.order.push_back((packet, tsn));
    }
}
