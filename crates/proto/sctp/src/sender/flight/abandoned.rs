//! What of it is given up, and what the peer is told of that (RFC 3758).

use bytes::Bytes;
use sansio::Time;

use super::{Fate, Flight, Sent};
use crate::chunk::{Skipped, flag};
use crate::packet::padded;
use crate::sender::backlog::{Fragment, Limit};

impl Flight {
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
