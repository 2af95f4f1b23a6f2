/// How far behind the newest record one may come and still be taken.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// Which records have been here (RFC 9147 §4.5.1): a ring of bits that ends with the newest.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// One more than the highest number that was seen.
    next: u64,
    seen: [u64; WORDS],
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// One more than the highest number that was seen.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether a record with this number is neither known nor too old to tell.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        number >= self.next || (number + WINDOW >= self.next && self.word(number) & bit(number) == 0)
    }

    /// Notes a record that is authentic.
    pub(crate) fn note(&mut self, number: u64) {
        if number >= self.next {
            let steps = (number - self.next + 1).min(WINDOW);
            for ahead in number + 1 - steps..=number {
                self.seen[slot(ahead)] &= !bit(ahead);
            }
            self.next = number + 1;
        }
        self.seen[slot(number)] |= bit(number);
    }

    fn word(&self, number: u64) -> u64 {
        self.seen[slot(number)]
    }
}

fn slot(number: u64) -> usize {
    (number % WINDOW / 64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_does_what_a_set_would_do(numbers in proptest::collection::vec(0_u64..5000, 1..400)) {
            let mut replay = Replay::new();
            let mut set = BTreeSet::new();
            for number in numbers {
                let next = set.last().map_or(0, |last| last + 1);
                let expected = number >= next || (number + WINDOW >= next && !set.contains(&number));
                prop_assert_eq!(replay.is_new(number), expected);
                if expected {
                    replay.note(number);
                    set.insert(number);
                }
                prop_assert!(!replay.is_new(number));
            }
        }
    }
}
