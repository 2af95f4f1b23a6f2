//! Times as NTP counts them, by which reports say when something was.

use std::time::Duration;

use sansio::Time;

/// The clock that both sides of a call have in common, as NTP counts: seconds since 1900, 32 bits before the point and
/// 32 behind it. Nothing here reads it: the owner says what it showed when the driver started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NtpClock {
    at_start: u64,
}

impl NtpClock {
    /// The clock that showed this at [`Time::ZERO`].
    pub fn new(at_start: u64) -> Self {
        Self { at_start }
    }

    /// The clock of somebody who knows how long after 1 January 1970 the driver started.
    pub fn from_unix(at_start: Duration) -> Self {
        // RFC 5905 §6: 70 years with 17 leap days lie between.
        const YEARS: u64 = 2_208_988_800;
        Self::new(fixed(at_start).wrapping_add(YEARS << 32))
    }

    /// What it shows.
    pub fn at(&self, now: Time) -> u64 {
        self.at_start.wrapping_add(fixed(now.elapsed()))
    }
}

/// A time of NTP in the 32 bits that reports have for it: 16 of seconds, and 65,536ths (RFC 3550 §4).
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A duration in 65,536ths of a second, at most what 32 bits hold.
pub fn units(duration: Duration) -> u32 {
    u32::try_from(fixed(duration) >> 16).unwrap_or(u32::MAX)
}

/// A duration out of 65,536ths of a second.
pub fn duration(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// Seconds with 32 bits behind the point.
fn fixed(duration: Duration) -> u64 {
    (duration.as_secs() << 32) | ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_as_ntp_does() {
        let clock = NtpClock::from_unix(Duration::from_secs(0));
        assert_eq!(clock.at(Time::from_start(Duration::from_millis(1500))), (2_208_988_801 << 32) | 1 << 31);
        assert_eq!(middle(0x1234_5678_9abc_def0), 0x5678_9abc);
        assert_eq!(units(Duration::from_millis(500)), 1 << 15);
        assert_eq!(duration(3 << 15), Duration::from_millis(1500));
        assert_eq!(units(Duration::MAX), u32::MAX);
    }
}
