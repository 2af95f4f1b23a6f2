use std::time::Duration;

use sansio::Time;

/// Asks for a picture that needs no other: several wishes are one question, and questions have a distance.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asking {
    wanted: bool,
    asked: Option<Time>,
    number: u8,
}

/// How far questions are apart at least: what was asked for is on its way for a while, and large.
const DISTANCE: Duration = Duration::from_millis(300);

impl Asking {
    /// One is wanted.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// One has come.
    pub(super) fn satisfy(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now. With the number that a request of RFC 5104 §4.3.1 has.
    pub(super) fn take(&mut self, now: Time) -> Option<u8> {
        if !self.wanted || self.asked.is_some_and(|asked| now.since(asked) < DISTANCE) {
            return None;
        }
        self.wanted = false;
        self.asked = Some(now);
        self.number = self.number.wrapping_add(1);
        Some(self.number)
    }

    /// When to ask.
    pub(super) fn next(&self) -> Option<Time> {
        self.asked.filter(|_| self.wanted).map(|asked| asked + DISTANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_merged_and_questions_have_a_distance() {
        let at = |milliseconds| Time::from_start(Duration::from_millis(milliseconds));
        let mut asking = Asking::default();
        assert_eq!(asking.take(at(0)), None);
        asking.want();
        asking.want();
        assert_eq!((asking.take(at(0)), asking.take(at(0))), (Some(1), None));
        asking.want();
        assert_eq!((asking.take(at(100)), asking.next()), (None, Some(at(300))));
        assert_eq!(asking.take(at(300)), Some(2));
        asking.want();
        asking.satisfy();
        assert_eq!((asking.take(at(900)), asking.next()), (None, None));
    }
}
