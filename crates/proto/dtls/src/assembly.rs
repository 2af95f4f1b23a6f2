use crate::message::{Fragment, Message};

/// How far ahead of what is expected a message may be. A flight has seven at most.
const AHEAD: u16 = 10;
/// Messages of which parts are kept at the same time.
const MOST: usize = 24;
/// Different messages under the same number. Only one can be the peer's; the others are a stranger's.
const RIVALS: usize = 4;
/// Bytes of a message. Certificates need less than 2,000.
const LONGEST: usize = 64 * 1024;
/// Bytes of all messages.
const MOST_BYTES: usize = 128 * 1024;
/// Holes in a message.
const MOST_PARTS: usize = 256;

/// Handshake messages of which parts are here.
///
/// What is not protected may come from anybody. So one that contradicts another under the same number is
/// kept beside it, and whoever looks at a message that is whole, and finds that it makes no sense, takes the next.
#[derive(Debug, Default)]
pub(crate) struct Assembly(Vec<Partial>);

#[derive(Debug)]
struct Partial {
    message: Message,
    /// What is here, as ranges that neither touch nor overlap, in order.
    parts: Vec<(usize, usize)>,
}

impl Partial {
    fn is_whole(&self) -> bool {
        self.parts == [(0, self.message.body.len())] || self.message.body.is_empty()
    }

    /// Returns whether anything was new.
    fn add(&mut self, from: usize, bytes: &[u8]) -> bool {
        let (mut start, mut end) = (from, from + bytes.len());
        if self.parts.iter().any(|&(first, last)| first <= start && end <= last) {
            return false;
        }
        // Where two say different things, the first is believed.
        for (at, &byte) in (start..end).zip(bytes) {
            if !self.parts.iter().any(|&(first, last)| (first..last).contains(&at)) {
                self.message.body[at] = byte;
            }
        }
        self.parts.retain(|&(first, last)| {
            let touches = first <= end && start <= last;
            if touches {
                (start, end) = (start.min(first), end.max(last));
            }
            !touches
        });
        let place = self.parts.partition_point(|&(first, _)| first < start);
        self.parts.insert(place, (start, end));
        true
    }
}

impl Assembly {
    /// Takes a fragment out of a record of an epoch, if its message's number is not far from `next`.
    /// Returns whether it is kept, now or since it came before.
    pub(crate) fn add(&mut self, fragment: &Fragment<'_>, epoch: u64, next: u16) -> bool {
        let Fragment { kind, number, length, from, bytes } = *fragment;
        if number < next || number - next > AHEAD || length > LONGEST {
            return false;
        }
        let is_it = |partial: &Partial| {
            let message = &partial.message;
            (message.kind, message.number, message.epoch, message.body.len()) == (kind, number, epoch, length)
        };
        if let Some(at) = self.0.iter().position(is_it) {
            let partial = &mut self.0[at];
            partial.add(from, bytes);
            if partial.parts.len() > MOST_PARTS {
                self.0.remove(at);
                return false;
            }
            return true;
        }
        self.make_room(number, length);
        let message = Message { kind, number, epoch, body: vec![0; length] };
        let mut partial = Partial { message, parts: Vec::new() };
        partial.add(from, bytes);
        self.0.push(partial);
        true
    }

    /// Forgets the oldest where there are too many.
    fn make_room(&mut self, number: u16, length: usize) {
        let rivals = |partial: &&Partial| partial.message.number == number;
        if self.0.iter().filter(rivals).count() >= RIVALS {
            let oldest = self.0.iter().position(|partial| partial.message.number == number);
            self.0.remove(oldest.expect("there are rivals"));
        }
        let bytes = |all: &[Partial]| all.iter().map(|partial| partial.message.body.len()).sum::<usize>();
        while !self.0.is_empty() && (self.0.len() >= MOST || bytes(&self.0) + length > MOST_BYTES) {
            self.0.remove(0);
        }
    }

    /// Takes out a message with this number that is whole; with any number, if none is given.
    pub(crate) fn take(&mut self, number: Option<u16>) -> Option<Message> {
        let at = self.0.iter().position(|partial| {
            number.is_none_or(|number| number == partial.message.number) && partial.is_whole()
        })?;
        Some(self.0.remove(at).message)
    }

    /// Forgets messages before `next`.
    pub(crate) fn forget_before(&mut self, next: u16) {
        self.0.retain(|partial| partial.message.number >= next);
    }

    /// Forgets all of an epoch.
    pub(crate) fn forget_epoch(&mut self, epoch: u64) {
        self.0.retain(|partial| partial.message.epoch != epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(number: u16, length: usize, from: usize, bytes: &[u8]) -> Fragment<'_> {
        Fragment { kind: 1, number, length, from, bytes }
    }

    #[test]
    fn a_message_is_whole_whatever_the_order_of_its_parts() {
        let mut assembly = Assembly::default();
        assert!(assembly.add(&fragment(0, 9, 5, b"5678"), 0, 0));
        assert!(assembly.add(&fragment(0, 9, 5, b"5678"), 0, 0));
        assert_eq!(assembly.take(Some(0)), None, "twice the same is not the whole");
        assert!(assembly.add(&fragment(0, 8, 0, b"01234"), 0, 0), "a part of another one");
        assert!(assembly.add(&fragment(0, 9, 0, b"012345"), 0, 0));
        assert_eq!(assembly.take(Some(1)), None);
        assert_eq!(assembly.take(None).unwrap().body, b"012345678");
        assert_eq!(assembly.take(None), None);
        assert!(!assembly.0.is_empty());
        assembly.forget_before(1);
        assert!(assembly.0.is_empty());
        assert!(!assembly.add(&fragment(0, 1, 0, b"0"), 0, 1), "too late");
        assert!(!assembly.add(&fragment(1 + AHEAD + 1, 1, 0, b"0"), 0, 1), "too early");
        assert!(assembly.add(&fragment(1, 0, 0, b""), 0, 1));
        assert_eq!(assembly.take(Some(1)).unwrap().body, b"");
    }

    #[test]
    fn what_strangers_claim_is_bounded() {
        let mut assembly = Assembly::default();
        assert!(!assembly.add(&fragment(0, LONGEST + 1, 0, b"0"), 0, 0));
        for length in 1..=2 * LONGEST / 1000 {
            for number in 0..AHEAD {
                assembly.add(&fragment(number, length * 500, 0, b"0"), 0, 0);
            }
        }
        let bytes: usize = assembly.0.iter().map(|partial| partial.message.body.len()).sum();
        assert!(bytes <= MOST_BYTES && assembly.0.len() <= MOST, "{bytes}");
        for at in 0..MOST_PARTS + 1 {
            assembly.add(&fragment(3, 9000, 2 * at + 1, b"0"), 0, 0);
        }
        assert!(assembly.0.iter().all(|partial| partial.parts.len() <= MOST_PARTS));
    }

    proptest! {
        #[test]
        fn parts_add_up(cuts in proptest::collection::vec((0_usize..300, 1_usize..80), 1..60)) {
            let body: Vec<u8> = (0..300).map(|at| at as u8).collect();
            let mut assembly = Assembly::default();
            let mut covered = vec![false; 300];
            for (from, length) in cuts {
                let end = (from + length).min(300);
                assembly.add(&fragment(0, 300, from, &body[from..end]), 0, 0);
                covered[from..end].fill(true);
                let whole = assembly.take(Some(0));
                prop_assert_eq!(whole.is_some(), covered.iter().all(|&byte| byte));
                if let Some(whole) = whole {
                    prop_assert_eq!(&whole.body, &body);
                    return Ok(());
                }
            }
        }
    }
}
