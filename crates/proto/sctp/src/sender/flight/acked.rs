//! What SACKs tell of what is under way.

use sansio::Time;

use super::{Fate, Flight, Sent};
use crate::chunk::Sack;
use crate::packet::padded;
use crate::sender::backlog::Fragment;
use crate::sender::rate::Snapshot;
use crate::serial::unroll32;

/// Whoever tells of so many blocks may have more to tell, so that what is above them may have arrived: `dcsctp` tells of no more
/// than this,
const CONCEALING: usize = 20;
/// and others of as many as fit into a packet, which is more than this.
const ROOM: usize = 128;

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

/// Something that cannot be: an acknowledgement of what was never sent, or blocks without order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absurd;

impl Flight {
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
}
