use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::{Assembled, Assembly, Flaw, MOST_PIECES, cost, whole};
use crate::chunk::{Data, flag};

/// Puts messages together from DATA chunks: the fragments of one have consecutive TSNs (RFC 9260 §6.9).
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// The message that grew last, and the TSN that continues it.
    hot: Option<(u64, Assembly)>,
    /// The others, by the TSN that continues them.
    open: BTreeMap<u64, Assembly>,
    /// Fragments that continue nothing yet, by TSN.
    loose: BTreeMap<u64, Loose>,
}

/// A fragment that came before its predecessor.
#[derive(Debug)]
struct Loose {
    stream: u16,
    flags: u8,
    number: u64,
    payload: Bytes,
}

impl Plain {
    /// Takes a fragment that did not come before. Returns the message that is whole by it.
    pub(crate) fn insert(
        &mut self,
        tsn: u64,
        number: u64,
        data: &Data<'_>,
        guess: usize,
    ) -> Result<Option<Assembled>, Flaw> {
        let (begins, ends) = (data.has(flag::BEGIN), data.has(flag::END));
        let continued = self.take_open(tsn);
        if begins {
            // Nobody else can continue what was open here.
            if let Some(assembly) = continued {
                return Err(Flaw { dropped: assembly.len() + data.payload.len() });
            }
            if ends {
                return Ok(Some(whole(data, number)));
            }
            return self.grow(tsn + 1, Assembly::begin(data, number, guess, self.open.len()));
        }
        let Some(mut assembly) = continued else {
            if self.open.len() + self.loose.len() >= MOST_PIECES {
                return Err(Flaw { dropped: data.payload.len() });
            }
            let payload = Bytes::copy_from_slice(data.payload);
            self.loose.insert(tsn, Loose { stream: data.stream, flags: data.flags, number, payload });
            return Ok(None);
        };
        if !belongs(&assembly, data.stream, data.has(flag::UNORDERED), number) {
            return Err(Flaw { dropped: assembly.len() + data.payload.len() });
        }
        assembly.append(data.payload);
        if ends { Ok(Some(assembly.finish())) } else { self.grow(tsn + 1, assembly) }
    }

    /// Adds the loose fragments that continue a message.
    fn grow(&mut self, mut next: u64, mut assembly: Assembly) -> Result<Option<Assembled>, Flaw> {
        if !self.loose.is_empty() {
            while let Some(loose) = self.loose.remove(&next) {
                if !belongs(&assembly, loose.stream, loose.flags & flag::UNORDERED != 0, loose.number) {
                    return Err(Flaw { dropped: assembly.len() + loose.payload.len() });
                }
                assembly.append(&loose.payload);
                next += 1;
                if loose.flags & flag::END != 0 {
                    return Ok(Some(assembly.finish()));
                }
            }
        }
        if let Some((next, assembly)) = self.hot.replace((next, assembly)) {
            self.open.insert(next, assembly);
        }
        Ok(None)
    }

    fn take_open(&mut self, tsn: u64) -> Option<Assembly> {
        match self.hot.take_if(|(next, _)| *next == tsn) {
            Some((_, assembly)) => Some(assembly),
            None if self.open.is_empty() => None,
            None => self.open.remove(&tsn),
        }
    }

    /// The length of the message that grew last.
    pub(crate) fn growing(&self) -> usize {
        self.hot.as_ref().map_or(0, |(_, assembly)| assembly.len())
    }

    /// What is held costs so much beyond its bytes.
    pub(crate) fn cost(&self) -> usize {
        cost(self.open.len() + usize::from(self.hot.is_some()), self.loose.len())
    }

    /// Nothing up to this TSN will come any more. Returns how many bytes were dropped by that.
    pub(crate) fn forget_through(&mut self, tsn: u64) -> usize {
        let mut dropped = 0;
        if let Some((next, assembly)) = self.hot.take() {
            self.open.insert(next, assembly);
        }
        let kept = self.open.split_off(&(tsn + 1));
        dropped += std::mem::replace(&mut self.open, kept).values().map(Assembly::len).sum::<usize>();
        let kept = self.loose.split_off(&(tsn + 1));
        dropped +=
            std::mem::replace(&mut self.loose, kept).values().map(|loose| loose.payload.len()).sum::<usize>();
        dropped
    }
}

fn belongs(assembly: &Assembly, stream: u16, unordered: bool, number: u64) -> bool {
    assembly.stream == stream && assembly.unordered == unordered && (unordered || assembly.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(flags: u8, stream: u16, payload: &[u8]) -> Data<'_> {
        Data { flags, tsn: 0, stream, message: 0, protocol: 53, fragment: 0, payload }
    }

    #[test]
    fn fragments_that_contradict_each_other_are_dropped() {
        let mut plain = Plain::default();
        assert_eq!(plain.insert(10, 0, &data(flag::BEGIN, 1, b"abc"), 0), Ok(None));
        assert_eq!(
            plain.insert(11, 0, &data(flag::END, 2, b"x"), 0),
            Err(Flaw { dropped: 4 }),
            "another stream"
        );
        assert_eq!(plain.insert(20, 0, &data(flag::BEGIN, 1, b"abc"), 0), Ok(None));
        assert_eq!(
            plain.insert(21, 0, &data(flag::BEGIN, 1, b"x"), 0),
            Err(Flaw { dropped: 4 }),
            "two beginnings"
        );
        assert_eq!(plain.insert(31, 1, &data(flag::END, 1, b"de"), 0), Ok(None));
        assert_eq!(
            plain.insert(30, 0, &data(flag::BEGIN, 1, b"abc"), 0),
            Err(Flaw { dropped: 5 }),
            "another number"
        );
        assert_eq!((plain.growing(), plain.open.len(), plain.loose.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_given_up_is_forgotten() {
        let mut plain = Plain::default();
        plain.insert(10, 0, &data(flag::BEGIN, 1, b"abc"), 0).unwrap();
        plain.insert(13, 0, &data(0, 1, b"d"), 0).unwrap();
        plain.insert(20, 0, &data(flag::BEGIN, 1, b"kept"), 0).unwrap();
        assert_eq!(plain.forget_through(15), 4);
        let whole = plain.insert(21, 0, &data(flag::END, 1, b"!"), 0).unwrap().unwrap();
        assert_eq!(whole.message.data, "kept!");
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_whatever_the_order(lengths in prop::collection::vec(1..6u64, 1..12), order in any::<u64>()) {
            let mut fragments = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                for at in 0..*length {
                    let flags = (u8::from(at == 0) * flag::BEGIN) | (u8::from(at + 1 == *length) * flag::END);
                    fragments.push((fragments.len() as u64, number as u64, flags, [number as u8, at as u8]));
                }
            }
            let mut dice = sansio::Rng::new(sansio::Seed::from(order));
            let mut plain = Plain::default();
            let mut whole = BTreeMap::new();
            while !fragments.is_empty() {
                let (tsn, number, flags, payload) = fragments.swap_remove(dice.below(fragments.len() as u64) as usize);
                if let Some(done) = plain.insert(tsn, number, &data(flags, 1, &payload), 0).unwrap() {
                    whole.insert(done.number, done.message.data.len() as u64);
                }
            }
            let wanted: BTreeMap<u64, u64> = lengths.iter().enumerate().map(|(number, length)| (number as u64, 2 * length)).collect();
            prop_assert_eq!(whole, wanted);
            prop_assert!(plain.hot.is_none() && plain.open.is_empty() && plain.loose.is_empty());
        }
    }
}
