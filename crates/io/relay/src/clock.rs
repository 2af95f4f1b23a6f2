use std::time::{Duration, Instant};

use sansio::Time;

/// Further ahead than anything that happens, and near enough for every platform's clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

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

    /// The moment that `time` stands for.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + time.elapsed().min(self.start.elapsed() + FAR)
    }
}
