use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Time since the driver started. Received, never read: nothing in a protocol crate can make one from a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(Duration);

impl Time {
    /// The moment the driver started.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The time that is `elapsed` after the driver's start.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the driver's start this is.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Time {
    type Output = Duration;
    /// The same as [`Time::since`].
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_ordered_and_never_negative() {
        let later = Time::ZERO + Duration::from_millis(12_050);
        assert_eq!(format!("{later:?}"), "12.050s");
        assert_eq!(Time::ZERO - later, Duration::ZERO);
        assert_eq!(later.since(Time::ZERO), Duration::from_millis(12_050));
        assert!(later > Time::ZERO);
    }
}
