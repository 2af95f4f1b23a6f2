use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::{Assembled, Assembly, Flaw, MOST_PIECES, cost, whole};
use crate::chunk::{Data, flag};

/// Puts messages together from I-DATA chunks: each fragment says which message it is of, and its number (RFC 8260 §2.2.3).
#[derive(Debug, Default)]
pub(crate) struct Interleaved {
    open: BTreeMap<Key, Partial>,
    /// How many fragments continue nothing yet.
    loose: usize,
    /// The length of the message that grew last.
    growing: usize,
}

/// Stream, whether it is unordered, unrolled message identifier.
type Key = (u16, bool, u64);

#[derive(Debug, Default)]
struct Partial {
    /// From the beginning on; `None` before the first fragment has come.
    assembly: Option<Assembly>,
    /// The number of the fragment that continues it.
    next: u32,
    /// Fragments that continue nothing yet, by number.
    loose: BTreeMap<u32, Bytes>,
    /// The number of the last fragment.
    last: Option<u32>,
}

impl Partial {
    /// Whether a fragment was there before, lies beyond the end, or cannot be.
    fn contradicts(&self, data: &Data<'_>) -> bool {
        let number = data.fragment;
        let known = match data.has(flag::BEGIN) {
            true => self.assembly.is_some(),
            false => number == 0 || number < self.next || self.loose.contains_key(&number),
        };
        let ends = data.has(flag::END);
        let beyond = self.last.is_some_and(|last| number > last || ends);
        let not_last = ends && self.loose.last_key_value().is_some_and(|(highest, _)| *highest > number);
        known || beyond || not_last
    }

    fn len(&self) -> usize {
        let loose: usize = self.loose.values().map(Bytes::len).sum();
        self.assembly.as_ref().map_or(0, Assembly::len) + loose
    }
}

impl Interleaved {
    /// Takes a fragment that did not come before. Returns the message that is whole by it.
    pub(crate) fn insert(
        &mut self,
        number: u64,
        data: &Data<'_>,
        guess: usize,
    ) -> Result<Option<Assembled>, Flaw> {
        let unordered = data.has(flag::UNORDERED);
        let key = (data.stream, unordered, number);
        if data.has(flag::BEGIN) && data.has(flag::END) {
            return match self.open.contains_key(&key) {
                true => Err(self.discard(key, data)),
                false => Ok(Some(whole(data, number))),
            };
        }
        let others = self.open.len();
        let partial = self.open.entry(key).or_default();
        if partial.contradicts(data) || self.loose >= MOST_PIECES || others >= MOST_PIECES {
            return Err(self.discard(key, data));
        }
        if data.has(flag::END) {
            partial.last = Some(data.fragment);
        }
        if data.has(flag::BEGIN) {
            (partial.assembly, partial.next) = (Some(Assembly::begin(data, number, guess, others)), 1);
        } else if data.fragment == partial.next
            && let Some(assembly) = &mut partial.assembly
        {
            assembly.append(data.payload);
            partial.next += 1;
        } else {
            partial.loose.insert(data.fragment, Bytes::copy_from_slice(data.payload));
            self.loose += 1;
            return Ok(None);
        }
        if let Some(assembly) = &mut partial.assembly {
            while let Some(payload) = partial.loose.remove(&partial.next) {
                assembly.append(&payload);
                partial.next += 1;
                self.loose -= 1;
            }
            self.growing = assembly.len();
        }
        if partial.last.is_none_or(|last| partial.next <= last) {
            return Ok(None);
        }
        Ok(self.open.remove(&key).and_then(|partial| partial.assembly).map(Assembly::finish))
    }

    /// Drops a message that makes no sense.
    fn discard(&mut self, key: Key, data: &Data<'_>) -> Flaw {
        Flaw { dropped: self.remove(key) + data.payload.len() }
    }

    /// Removes a message in part, and returns its bytes.
    fn remove(&mut self, key: Key) -> usize {
        let Some(partial) = self.open.remove(&key) else { return 0 };
        self.loose -= partial.loose.len();
        partial.len()
    }

    /// The length of the message that grew last.
    pub(crate) fn growing(&self) -> usize {
        self.growing
    }

    /// What is held costs so much beyond its bytes.
    pub(crate) fn cost(&self) -> usize {
        cost(self.open.len(), self.loose)
    }

    /// Messages of a stream up to this one will not become whole. Returns how many bytes were dropped by that.
    pub(crate) fn forget(&mut self, stream: u16, unordered: bool, number: u64) -> usize {
        self.drop_range((stream, unordered, 0), (stream, unordered, number))
    }

    /// The stream begins anew.
    pub(crate) fn forget_all(&mut self, stream: u16) -> usize {
        self.drop_range((stream, false, 0), (stream, true, u64::MAX))
    }

    fn drop_range(&mut self, from: Key, to: Key) -> usize {
        let keys: Vec<Key> = self.open.range(from..=to).map(|(key, _)| *key).collect();
        keys.into_iter().map(|key| self.remove(key)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(flags: u8, stream: u16, fragment: u32, payload: &[u8]) -> Data<'_> {
        Data { flags, tsn: 0, stream, message: 0, protocol: 53, fragment, payload }
    }

    #[test]
    fn fragments_that_overlap_are_dropped_with_their_message() {
        let begin = |it: &mut Interleaved| it.insert(0, &data(flag::BEGIN, 1, 0, b"abc"), 0);
        let wrong = [
            (data(flag::BEGIN, 1, 0, b"x"), 4),
            (data(flag::BEGIN | flag::END, 1, 0, b"x"), 4),
            (data(0, 1, 0, b"x"), 4),
        ];
        for (fragment, dropped) in wrong {
            let mut it = Interleaved::default();
            assert_eq!(begin(&mut it), Ok(None));
            assert_eq!(it.insert(0, &fragment, 0), Err(Flaw { dropped }));
            assert!(it.open.is_empty());
        }
        // Beyond the end, and an end before what has come.
        let mut it = Interleaved::default();
        it.insert(0, &data(flag::END, 1, 3, b"end"), 0).unwrap();
        assert_eq!(it.insert(0, &data(0, 1, 4, b"x"), 0), Err(Flaw { dropped: 4 }));
        it.insert(0, &data(0, 1, 4, b"four"), 0).unwrap();
        assert_eq!(it.insert(0, &data(flag::END, 1, 3, b"x"), 0), Err(Flaw { dropped: 5 }));
        it.insert(0, &data(0, 1, 4, b"four"), 0).unwrap();
        assert_eq!(it.insert(0, &data(0, 1, 4, b"four"), 0), Err(Flaw { dropped: 8 }));
    }

    #[test]
    fn what_is_given_up_is_forgotten() {
        let mut it = Interleaved::default();
        for number in 0..4 {
            it.insert(number, &data(flag::BEGIN, 1, 0, b"abc"), 0).unwrap();
            it.insert(number, &data(flag::BEGIN | flag::UNORDERED, 1, 0, b"abc"), 0).unwrap();
        }
        assert_eq!(it.forget(1, true, 2), 9);
        assert_eq!(it.forget_all(1), 15);
        assert!(it.open.is_empty());
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_whatever_the_order(lengths in prop::collection::vec(1..6u32, 1..12), order in any::<u64>()) {
            let mut fragments = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                for at in 0..*length {
                    let flags = (u8::from(at == 0) * flag::BEGIN) | (u8::from(at + 1 == *length) * flag::END);
                    fragments.push((number as u64, at, flags));
                }
            }
            let mut dice = sansio::Rng::new(sansio::Seed::from(order));
            let mut it = Interleaved::default();
            let mut whole = BTreeMap::new();
            while !fragments.is_empty() {
                let (number, at, flags) = fragments.swap_remove(dice.below(fragments.len() as u64) as usize);
                if let Some(done) = it.insert(number, &data(flags, 1, at, &[at as u8]), 0).unwrap() {
                    whole.insert(done.number as usize, done.message.data.to_vec());
                }
            }
            for (number, length) in lengths.iter().enumerate() {
                prop_assert_eq!(&whole[&number], &(0..*length as u8).collect::<Vec<_>>());
            }
            prop_assert!(it.open.is_empty());
        }
    }
}
