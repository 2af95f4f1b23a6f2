use std::time::Instant;

use sansio::Time;

/// The one clock of an engine: where [`Time`] comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// A moment as engines count; what was before the start is at the start.
    pub(crate) fn time(&self, at: Instant) -> Time {
        Time::from_start(at.saturating_duration_since(self.start))
    }

    /// The moment that `time` stands for; a century from the start if the platform cannot express it.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        const FAR: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);
        self.start.checked_add(time.elapsed().min(FAR)).unwrap_or(self.start)
    }
}
