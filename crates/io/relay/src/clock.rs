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
        let elapsed = self.start.elapsed();
        #[cfg(test)]
        let elapsed = elapsed + AHEAD.get();
        Time::from_start(elapsed)
    }
}

#[cfg(test)]
thread_local! {
    /// How far all clocks of this thread are ahead of what they would show.
    pub(crate) static AHEAD: std::cell::Cell<std::time::Duration> = const { std::cell::Cell::new(std::time::Duration::ZERO) };
}
