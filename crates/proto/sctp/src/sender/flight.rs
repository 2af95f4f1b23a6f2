use std::collections::VecDeque;

use bytes::Bytes;
use sansio::Time;

use super::backlog::{Fragment, Limit};
use super::rate::Snapshot;
use crate::chunk::{Data, Sack, Skipped, flag};
use crate::packet::padded;
use crate::ranges::Ranges;
use crate::serial::{START, unroll32};

/// Chunks that may be under way: what gap blocks can name.
const SPAN: usize = 65_000;
/// Losses that chance explains.
const FEW: usize = 16;
/// Whoever tells of so many blocks may have more to tell, so that what is above them may have arrived: `dcsctp` tells of no more
/// than this,
const CONCEALING: usize = 20;
/// and others of as many as fit into a packet, which is more than this.
const ROOM: usize = 128;

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

/// A chunk.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) fragment: Fragment,
    pub(crate) fate: Fate,
    pub(crate) transmissions: u16,
    /// The packet that it was last sent in, and when.
    pub(crate) packet: u64,
    pub(crate) at: Time,
    /// When it was sent before that.
    pub(crate) previous: Time,
    pub(crate) snapshot: Snapshot,
    /// Whether the packet that it was last sent in was larger than any path carries.
    pub(crate) large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    UnderWay,
    Arrived,
    /// To be sent again.
    Lost,
    /// Not to be sent again.
    Abandoned,
}

/// What a SACK told.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    /// Bytes of chunks that have arrived.
    pub(crate) bytes: usize,
    /// Bytes of those that were sent so long ago that they must have arrived before, and were not told of: a SACK has room for
    /// so many blocks only.
    pub(crate) late: usize,
    /// The chunk of them that was sent last.
    pub(crate) newest: Option<Newest>,
    /// The lowest packet of those that were sent once.
    pub(crate) oldest: Option<u64>,
    /// Whether the cumulative number grew.
    pub(crate) advanced: bool,
    /// Whether something was repeated in vain.
    pub(crate) news: bool,
    /// Whether one of the packets was larger than any path carries.
    pub(crate) large: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    pub(crate) packet: u64,
    pub(crate) at: Time,
    pub(crate) repeated: bool,
    /// When it was sent before that, if it was.
    pub(crate) previous: Time,
    pub(crate) snapshot: Snapshot,
}

/// What is found to be lost: its bytes, its last packet, and how many of its packets were larger
/// than any path carries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) bytes: usize,
    pub(crate) packet: u64,
    pub(crate) large: usize,
}

/// Something that cannot be: an acknowledgement of what was never sent, or blocks without order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absurd;

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

    /// Takes a SACK in. What was sent before `late` is told apart. `release` is told of each chunk that is acknowledged for
    /// good and was not given up.
    pub(crate) fn acknowledge(
        &mut self,
        sack: &Sack<'_>,
        late: Time,
        mut release: impl FnMut(&Fragment),
    ) -> Result<Acked, Absurd> {
        let cumulative = unroll32(self.first - 1, sack.cumulative);
        let last = self.next() - 1;
        let mut above = 1;
        let in_order = sack.gaps().all(|(first, end)| {
            let sound = u64::from(first) > above && first <= end && cumulative + u64::from(end) <= last;
            above = end.into();
            sound
        });
        if cumulative > last || !in_order && cumulative >= self.first - 1 {
            return Err(Absurd);
        }
        let mut acked = Acked::default();
        if cumulative + 1 < self.first {
            return Ok(acked); // overtaken by a later one
        }
        acked.news = true;
        while self.first <= cumulative {
            let Some(sent) = self.sent.pop_front() else { break };
            self.first += 1;
            acked.advanced = true;
            if sent.fate != Fate::Arrived {
                self.arrive(&sent, late, &mut acked);
            }
            if sent.fate != Fate::Abandoned {
                release(&sent.fragment);
            }
        }
        self.arrived.remove_below(self.first);
        self.advanced = self.advanced.max(self.first);
        let mut arrived = std::mem::take(&mut self.arrived);
        let (mut near, mut blocks, mut highest) = (0, 0, cumulative);
        for (first, end) in sack.gaps() {
            let (first, end) = (cumulative + u64::from(first), cumulative + u64::from(end));
            (blocks, highest) = (blocks + 1, end);
            near = arrived.insert_from(near, first, end, |new| {
                (new.first..=new.last).for_each(|tsn| self.arrive_early(tsn, late, &mut acked));
            });
        }
        self.arrived = arrived;
        self.told = self.told.max(highest);
        self.horizon = if blocks == CONCEALING || blocks >= ROOM { highest } else { u64::MAX };
        Ok(acked)
    }

    /// A chunk arrived although an earlier one has not.
    fn arrive_early(&mut self, tsn: u64, late: Time, acked: &mut Acked) {
        let at = (tsn - self.first) as usize;
        let Some(sent) = self.sent.get_mut(at).filter(|sent| sent.fate != Fate::Abandoned) else { return };
        let was = std::mem::replace(&mut sent.fate, Fate::Arrived);
        let sent = &self.sent[at];
        Self::count(sent, self.header, late, acked);
        if was == Fate::UnderWay {
            self.bytes -= self.size(&self.sent[at].fragment);
            self.payload -= self.sent[at].fragment.data.len();
        }
    }

    /// A chunk that was taken out has arrived.
    fn arrive(&mut self, sent: &Sent, late: Time, acked: &mut Acked) {
        if sent.fate == Fate::UnderWay {
            self.bytes -= self.size(&sent.fragment);
            self.payload -= sent.fragment.data.len();
        }
        if sent.fate != Fate::Abandoned {
            Self::count(sent, self.header, late, acked);
        }
    }

    fn count(sent: &Sent, header: usize, late: Time, acked: &mut Acked) {
        let bytes = padded(header + sent.fragment.data.len());
        acked.bytes += bytes;
        acked.large |= sent.large;
        acked.late += if sent.at < late { bytes } else { 0 };
        let repeated = sent.transmissions > 1;
        if acked.newest.is_none_or(|newest| newest.packet <= sent.packet) {
            acked.newest = Some(Newest {
                packet: sent.packet,
                at: sent.at,
                repeated,
                previous: sent.previous,
                snapshot: sent.snapshot,
            });
        }
        if !repeated {
            acked.oldest = Some(acked.oldest.map_or(sent.packet, |oldest| oldest.min(sent.packet)));
        }
    }

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

    /// A chunk and all others of its message are given up, apart from those that have arrived. `release` is told of each.
    pub(crate) fn abandon(&mut self, tsn: u64, mut release: impl FnMut(&Fragment)) {
        let Some(sent) = self.get(tsn) else { return };
        let (stream, message) = (sent.fragment.stream, sent.fragment.message);
        let unordered = sent.fragment.flags & flag::UNORDERED;
        let is_of_it = |fragment: &Fragment| {
            fragment.stream == stream
                && fragment.message == message
                && fragment.flags & flag::UNORDERED == unordered
        };
        let at = (tsn - self.first) as usize;
        let begins = |sent: &Sent| is_of_it(&sent.fragment) && sent.fragment.flags & flag::BEGIN != 0;
        let ends = |sent: &Sent| is_of_it(&sent.fragment) && sent.fragment.flags & flag::END != 0;
        let from = self.sent.range(..=at).rposition(begins).unwrap_or(0);
        let to = self.sent.range(at..).position(ends).map_or(self.sent.len(), |end| at + end + 1);
        for sent in self.sent.range_mut(from..to).filter(|sent| is_of_it(&sent.fragment)) {
            if sent.fate == Fate::UnderWay {
                self.bytes -= padded(self.header + sent.fragment.data.len());
                self.payload -= sent.fragment.data.len();
            }
            if matches!(sent.fate, Fate::UnderWay | Fate::Lost) {
                sent.fate = Fate::Abandoned;
                release(&sent.fragment);
                sent.fragment.data = Bytes::new();
            }
        }
    }

    /// Moves over what is given up, and returns whether the peer should be told.
    pub(crate) fn advance(&mut self) -> bool {
        let before = self.advanced;
        while self.get(self.advanced).is_some_and(|sent| sent.fate == Fate::Abandoned) {
            self.advanced += 1;
        }
        self.advanced > before
    }

    /// Whether the peer waits for something that is given up.
    pub(crate) fn is_advanced(&self) -> bool {
        self.advanced > self.first
    }

    /// What the peer should skip: up to which number, and the last message of each stream, at most `limit` streams.
    pub(crate) fn skipped(&self, interleaved: bool, limit: usize) -> (u32, Vec<Skipped>) {
        let mut last: std::collections::BTreeMap<(u16, bool), u32> = std::collections::BTreeMap::new();
        let mut cumulative = self.first.wrapping_sub(1);
        for tsn in self.first..self.advanced {
            let Some(sent) = self.get(tsn) else { break };
            let unordered = sent.fragment.flags & flag::UNORDERED != 0;
            let key = (sent.fragment.stream, unordered);
            if interleaved || !unordered {
                if last.len() >= limit && !last.contains_key(&key) {
                    break;
                }
                last.insert(key, sent.fragment.message);
            }
            cumulative = tsn;
        }
        let skipped =
            last.into_iter().map(|((stream, unordered), message)| Skipped { stream, unordered, message });
        (cumulative as u32, skipped.collect())
    }

    /// Whether a limit of this chunk's message is reached, so that it should not be sent again.
    pub(crate) fn is_limit_reached(&self, now: Time, tsn: u64) -> bool {
        self.get(tsn).is_some_and(|sent| {
            sent.fragment.limit != Limit::Never && sent.fragment.limit.is_reached(now, sent.transmissions)
        })
    }
}
