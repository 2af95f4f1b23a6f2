use crate::srtp::replay::Replay;

/// Sources that one direction of a session remembers. Further ones are refused: to forget one would make its packets
/// repeatable.
pub const MAX_SOURCES: usize = 1024;

/// The highest number of a packet: 32 bits of rollovers and 16 of sequence number.
pub(crate) const MAX_INDEX: u64 = (1 << 48) - 1;

/// What is remembered of each source: which of its packets there have been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources<const WORDS: usize> {
    /// In the order of their numbers.
    known: Vec<(u32, Replay<WORDS>)>,
    /// Where the one was found that was asked for last: mostly the next one is the same.
    last: usize,
}

/// Where a source has its place, or would have.
pub(crate) type Slot = Result<usize, usize>;

impl<const WORDS: usize> Sources<WORDS> {
    /// The place of a source.
    pub(crate) fn slot(&mut self, ssrc: u32) -> Slot {
        if self.known.get(self.last).is_some_and(|(known, _)| *known == ssrc) {
            return Ok(self.last);
        }
        let slot = self.known.binary_search_by_key(&ssrc, |(known, _)| *known);
        self.last = slot.unwrap_or(self.last);
        slot
    }

    /// Whether there is no place for this source.
    pub(crate) fn is_full(&self, slot: Slot) -> bool {
        slot.is_err() && self.known.len() >= MAX_SOURCES
    }

    /// The number that a sequence number stands for: the nearest to the highest so far (RFC 3711 §3.3.1). `None` if
    /// it would lie before all others.
    pub(crate) fn index(&self, slot: Slot, sequence_number: u16) -> Option<u64> {
        let Ok(at) = slot else { return Some(u64::from(sequence_number)) };
        let highest = self.known[at].1.highest();
        let ahead = sequence_number.wrapping_sub(highest as u16);
        if ahead <= 0x8000 {
            Some(highest + u64::from(ahead))
        } else {
            highest.checked_sub(u64::from(ahead.wrapping_neg()))
        }
    }

    /// Whether a packet with this number is new.
    pub(crate) fn is_new(&self, slot: Slot, index: u64) -> bool {
        slot.is_err() || slot.is_ok_and(|at| self.known[at].1.is_new(index))
    }

    /// Remembers a packet that is new.
    pub(crate) fn accept(&mut self, slot: Slot, ssrc: u32, index: u64) {
        match slot {
            Ok(at) => self.known[at].1.accept(index),
            Err(at) => self.known.insert(at, (ssrc, Replay::new(index))),
        }
    }
}
