use std::time::Duration;

use sansio::Time;

use super::Extension;

/// When a packet left its sender: 24 bits of seconds with 18 behind the point, which go around every 64 seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AbsoluteSendTime(u32);

impl AbsoluteSendTime {
    /// Of a packet that leaves now. The clock's zero does not matter, only differences do.
    pub fn new(now: Time) -> Self {
        let fraction = (now.elapsed().as_nanos() << 18) / 1_000_000_000;
        Self((fraction & 0xff_ffff) as u32)
    }

    /// The time modulo 64 seconds.
    pub fn since_wrap(self) -> Duration {
        Duration::from_nanos((u64::from(self.0) * 1_000_000_000) >> 18)
    }
}

impl Extension<'_> for AbsoluteSendTime {
    const URI: &'static str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

    fn read(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    fn write(&self, place: &mut [u8; 255]) -> usize {
        place[..3].copy_from_slice(&self.0.to_be_bytes()[1..]);
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_around_every_64_seconds() {
        let at = |milliseconds| AbsoluteSendTime::new(Time::from_start(Duration::from_millis(milliseconds)));
        assert_eq!(at(500).since_wrap(), Duration::from_millis(500));
        assert_eq!(at(64_500), at(500));
        assert_eq!(at(1000).0, 1 << 18);
        let mut place = [0; 255];
        assert_eq!(at(63_999).write(&mut place), 3);
        assert_eq!(AbsoluteSendTime::read(&place[..3]), Some(at(63_999)));
        assert_eq!(AbsoluteSendTime::read(&place[..4]), None);
    }
}
