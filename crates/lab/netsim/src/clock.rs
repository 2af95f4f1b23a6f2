use std::time::Duration;

use sansio::Time;

/// A host's clock: what it says, against the time of the net. It never goes backwards.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Clock {
    ahead: Duration,
    behind: Duration,
}

impl Clock {
    /// It jumps forwards.
    pub(crate) fn jump(&mut self, by: Duration) {
        self.ahead += by;
    }

    /// It has stood still for so long.
    pub(crate) fn stand(&mut self, by: Duration) {
        self.behind += by;
    }

    /// What the clock says at a time of the net.
    pub(crate) fn tell(self, now: Time) -> Time {
        Time::from_start((now + self.ahead).elapsed().saturating_sub(self.behind))
    }

    /// When the clock will say that, in the time of the net.
    pub(crate) fn when(self, told: Time) -> Time {
        Time::from_start((told + self.behind).elapsed().saturating_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_tells_its_own_time_and_is_understood() {
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        let mut clock = Clock::default();
        assert_eq!(clock.tell(at(5)), at(5));
        clock.stand(Duration::from_secs(3));
        assert_eq!((clock.tell(at(5)), clock.when(at(2))), (at(2), at(5)));
        clock.jump(Duration::from_secs(100));
        assert_eq!((clock.tell(at(5)), clock.when(at(102))), (at(102), at(5)));
        assert_eq!(clock.when(at(1)), Time::ZERO, "that was before the net began");
    }
}
