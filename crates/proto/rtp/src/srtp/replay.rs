/// Which of the numbers up to the highest so far have been had: a window of 64 × `WORDS` numbers (RFC 3711 §3.3.2).
#[derive(Clone, Debug)]
pub(crate) struct Replay<const WORDS: usize> {
    highest: u64,
    /// A bit for each number of the window, at the place that is the number modulo the window.
    had: [u64; WORDS],
}

impl<const WORDS: usize> Replay<WORDS> {
    const WINDOW: u64 = 64 * WORDS as u64;

    /// The window after the first number.
    pub(crate) fn new(first: u64) -> Self {
        let mut window = Self { highest: first, had: [0; WORDS] };
        window.mark(first);
        window
    }

    /// The highest number so far.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a number is new: not had, and not too old to know.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        match number.checked_sub(self.highest) {
            None => {
                self.highest - number < Self::WINDOW && self.had[Self::word(number)] & Self::bit(number) == 0
            }
            ahead => ahead != Some(0),
        }
    }

    /// Remembers a number that is new.
    pub(crate) fn accept(&mut self, number: u64) {
        if number > self.highest {
            if number - self.highest >= Self::WINDOW {
                self.had = [0; WORDS];
            } else {
                (self.highest + 1..number)
                    .chain([number])
                    .for_each(|passed| self.had[Self::word(passed)] &= !Self::bit(passed));
            }
            self.highest = number;
        }
        self.mark(number);
    }

    fn mark(&mut self, number: u64) {
        self.had[Self::word(number)] |= Self::bit(number);
    }

    fn word(number: u64) -> usize {
        (number % Self::WINDOW / 64) as usize
    }

    fn bit(number: u64) -> u64 {
        1 << (number % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    proptest! {
        /// Against a window that remembers everything.
        #[test]
        fn nothing_is_had_twice(start in 0..1000u64, steps in prop::collection::vec(-200i64..150, 1..200)) {
            let mut window = Replay::<2>::new(start);
            let mut had = BTreeSet::from([start]);
            for step in steps {
                let highest = *had.last().unwrap();
                let number = highest.saturating_add_signed(step);
                let new = highest.saturating_sub(number) < 128 && !had.contains(&number);
                prop_assert_eq!(window.is_new(number), new, "{} of {}", number, highest);
                if new {
                    window.accept(number);
                    had.insert(number);
                }
            }
            prop_assert_eq!(window.highest(), *had.last().unwrap());
        }
    }
}
