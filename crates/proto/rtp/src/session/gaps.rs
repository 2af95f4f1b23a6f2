use std::time::Duration;

use sansio::Time;

use crate::receive::Lost;
use crate::sequence::Unroller;

/// Which packets of a source are missing, for who hands packets on as they come.
#[derive(Debug)]
pub(super) struct Gaps {
    numbers: Unroller,
    lost: Lost,
}

/// What lies further behind nobody waits for.
const WINDOW: u64 = 500;

impl Gaps {
    pub(super) fn new() -> Self {
        Self { numbers: Unroller::default(), lost: Lost::default() }
    }

    /// A packet came. Returns whether it had been asked for.
    pub(super) fn handle_packet(&mut self, now: Time, sequence_number: u16) -> bool {
        let expected = self.numbers.highest().map(|highest| highest + 1);
        let number = self.numbers.unroll(sequence_number);
        match expected {
            Some(expected) if number > expected => {
                self.lost.forget_before(number.saturating_sub(WINDOW));
                // Who leaves out so many counts anew.
                if !self.lost.add(now, expected.max(number.saturating_sub(WINDOW)), number) {
                    self.lost = Lost::default();
                }
                false
            }
            Some(expected) if number < expected => self.lost.remove(number) == Some(true),
            _ => false,
        }
    }

    pub(super) fn due(&mut self, now: Time, round_trip: Duration) -> Vec<u16> {
        self.lost.due(now, round_trip)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.lost.next()
    }
}
