use crate::codecs::{Codec, av1, h264, h265, vp8, vp9};

/// What a payload must have room for at least, so that headers leave something over.
pub const MIN_PAYLOAD: usize = 64;

/// Cuts frames into payloads.
#[derive(Clone, Copy, Debug)]
pub struct Packetizer {
    codec: Codec,
    /// Counts pictures, for formats that say their number.
    picture_id: u16,
}

/// Why a frame was not cut: the caller's fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketizeError {
    /// A payload has to have room for [`MIN_PAYLOAD`] bytes.
    #[error("payloads would be too small")]
    TooSmall,
    /// Sound is never cut; a frame of it is larger than a payload.
    #[error("the frame does not fit into one packet")]
    TooLarge,
    /// It is no frame of the format: empty, without start codes, or with units that end too early.
    #[error("the frame is not of its format")]
    Malformed,
}

/// Takes a payload, as parts that follow one another, and whether it is the frame's last: the marker of RTP.
pub(super) type Emit<'e> = dyn FnMut(&[&[u8]], bool) + 'e;

impl Packetizer {
    /// For frames of a format.
    pub fn new(codec: Codec) -> Self {
        Self { codec, picture_id: 0 }
    }

    /// Whose frames it cuts.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Cuts a frame into payloads of at most `max` bytes. Each is handed to `emit` in parts that follow one another,
    /// and with whether it is the last one. With pictures that goes into the marker of RTP (RFC 3551 §4.1 has another
    /// use for it with sound).
    ///
    /// # Errors
    /// Then nothing was handed over.
    pub fn packetize(&mut self, frame: &[u8], max: usize, emit: &mut Emit<'_>) -> Result<(), PacketizeError> {
        if max < MIN_PAYLOAD {
            return Err(PacketizeError::TooSmall);
        }
        if frame.is_empty() {
            return Err(PacketizeError::Malformed);
        }
        // What a datagram can hold at most; aggregations say lengths in 16 bits.
        let max = max.min(u16::MAX.into());
        match self.codec {
            Codec::Opus | Codec::Pcmu | Codec::Pcma if frame.len() > max => {
                return Err(PacketizeError::TooLarge);
            }
            Codec::Opus | Codec::Pcmu | Codec::Pcma => emit(&[frame], true),
            Codec::Vp8 => vp8::packetize(frame, max, self.picture_id, emit),
            Codec::Vp9 => vp9::packetize(frame, max, self.picture_id, emit),
            Codec::H264 => h264::packetize(frame, max, emit)?,
            Codec::H265 => h265::packetize(frame, max, emit)?,
            Codec::Av1 => av1::packetize(frame, max, emit)?,
        }
        self.picture_id = self.picture_id.wrapping_add(1) & 0x7fff;
        Ok(())
    }
}
