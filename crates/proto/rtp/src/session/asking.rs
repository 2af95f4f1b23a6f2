use std::time::Duration;

use sansio::Time;

/// Asks for a picture that needs no other, until one comes: several wishes are one question, questions have a distance, and one
/// that gets no answer is asked again, less and less often. Chromium, for example, makes no second such picture within 300 ms
/// of another, and forgets that it was asked.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asking {
    wanted: bool,
    asked: Option<Time>,
    /// Questions since the last wish, none of which has had an answer.
    tries: u32,
    number: u8,
}

/// How far questions are apart at least: what was asked for is on its way for a while, and large.
const DISTANCE: Duration = Duration::from_millis(300);
/// Who has not answered by then has nothing to say.
const MAX_TRIES: u32 = 8;

impl Asking {
    /// One is wanted, or still.
    pub(super) fn want(&mut self) {
        if !self.wanted {
            self.number = self.number.wrapping_add(1);
        }
        (self.wanted, self.tries) = (true, 0);
    }

    /// One has come.
    pub(super) fn satisfy(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now. With the number that a request of RFC 5104 §4.3.1 has: the same while it is the same question.
    pub(super) fn take(&mut self, now: Time) -> Option<u8> {
        let is_due = self.wanted && self.tries < MAX_TRIES && self.due().is_none_or(|due| due <= now);
        is_due.then(|| {
            self.asked = Some(now);
            self.tries += 1;
            self.number
        })
    }

    /// When to ask.
    pub(super) fn next(&self) -> Option<Time> {
        self.due().filter(|_| self.wanted && self.tries < MAX_TRIES)
    }

    /// When the next question would be due, if there was one.
    fn due(&self) -> Option<Time> {
        let times = 1 << self.tries.saturating_sub(1).min(3);
        self.asked.map(|asked| asked + DISTANCE * times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_start(Duration::from_millis(milliseconds))
    }

    #[test]
    fn wishes_are_merged_and_questions_have_a_distance() {
        let mut asking = Asking::default();
        assert_eq!(asking.take(at(0)), None);
        asking.want();
        asking.want();
        assert_eq!((asking.take(at(0)), asking.take(at(0))), (Some(1), None));
        asking.satisfy();
        assert_eq!((asking.take(at(900)), asking.next()), (None, None));
        asking.want();
        assert_eq!(asking.take(at(900)), Some(2));
        asking.satisfy();
        asking.want();
        assert_eq!((asking.take(at(1000)), asking.next()), (None, Some(at(1200))));
        assert_eq!(asking.take(at(1200)), Some(3));
    }

    #[test]
    fn what_gets_no_answer_is_asked_again_less_and_less_often() {
        let mut asking = Asking::default();
        asking.want();
        let asked = |asking: &mut Asking| {
            let times = (0..60_000).filter(|milliseconds| asking.take(at(*milliseconds)) == Some(1));
            times.collect::<Vec<_>>()
        };
        assert_eq!(asked(&mut asking), [0, 300, 900, 2100, 4500, 6900, 9300, 11_700]);
        assert_eq!(asking.next(), None);
        asking.want();
        assert_eq!(asking.take(at(60_000)), Some(1), "it is the same question");
    }
}
