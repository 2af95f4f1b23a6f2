use std::time::Instant;

use sansio::Time;

/// Where [`Time`] comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }
}
