//! The one place where the borrowed engine's idea of time meets ours.

use std::sync::OnceLock;
use std::time::Duration;

use sansio::Time;

/// The engine's type of time.
#[allow(clippy::disallowed_types, reason = "the engine wants this type; it only ever compares and subtracts")]
pub(crate) type Instant = std::time::Instant;

/// What the engine says when it waits for nothing is years away.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the engine is told for [`Time::ZERO`]. An `Instant` cannot be made but from the clock; which one it is has
/// no influence, because all that the engine sees are distances from it.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "see above: never read again, and never compared with")]
    *BASE.get_or_init(Instant::now)
}

/// Our time for the engine.
pub(crate) fn instant(time: Time) -> Instant {
    base() + time.elapsed()
}

/// The engine's time for us; `None` if it waits for nothing.
pub(crate) fn time(now: Time, instant: Instant) -> Option<Time> {
    let elapsed = instant.saturating_duration_since(base());
    Some(Time::from_start(elapsed)).filter(|&at| at.since(now) < NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_journey_and_never_is_none() {
        for micros in [0, 1, 999, 1_000_000, 86_400_000_000] {
            let there = Time::from_start(Duration::from_micros(micros));
            assert_eq!(time(Time::ZERO, instant(there)), Some(there));
        }
        assert_eq!(time(Time::ZERO, instant(Time::ZERO) + 10 * NEVER), None);
    }
}
