use super::Extension;

/// When what a packet carries was captured, by the clock of who captured it: what keeps lips and voices together
/// behind a mixer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AbsoluteCaptureTime {
    /// The time as NTP has it: seconds since 1900, 32 bits before the point and 32 behind it.
    pub ntp: u64,
    /// What to add to it to have it by the sender's clock, in the same units, if he knows.
    pub offset: Option<i64>,
}

impl Extension<'_> for AbsoluteCaptureTime {
    const URI: &'static str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

    fn read(value: &[u8]) -> Option<Self> {
        let ntp = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
        let offset = match value.get(8..) {
            Some([]) => None,
            Some(offset) => Some(i64::from_be_bytes(offset.try_into().ok()?)),
            None => return None,
        };
        Some(Self { ntp, offset })
    }

    fn write(&self, place: &mut [u8; 255]) -> usize {
        place[..8].copy_from_slice(&self.ntp.to_be_bytes());
        let Some(offset) = self.offset else { return 8 };
        place[8..16].copy_from_slice(&offset.to_be_bytes());
        16
    }
}
