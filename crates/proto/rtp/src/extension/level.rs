use super::Extension;

/// How loud a packet's sound is, and whether somebody speaks (RFC 6464).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AudioLevel {
    /// How many dB below the loudest that can be: 0 is loudest, 127 silence.
    pub below_full: u8,
    /// Whether the sender believes that it is speech.
    pub voice: bool,
}

impl Extension<'_> for AudioLevel {
    const URI: &'static str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

    fn read(value: &[u8]) -> Option<Self> {
        // RFC 6464 §3: in the two-byte form a second byte of padding may follow.
        let byte = *value.first()?;
        Some(Self { below_full: byte & 0x7f, voice: byte & 0x80 != 0 })
    }

    fn write(&self, place: &mut [u8; 255]) -> usize {
        place[0] = self.below_full.min(127) | u8::from(self.voice) << 7;
        1
    }
}
