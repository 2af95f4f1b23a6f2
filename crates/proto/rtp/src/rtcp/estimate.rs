use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, format, kind};

/// How many bits a second the receiver thinks possible, of several sources together
/// (draft-alvestrand-rmcat-remb-03 §2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiverEstimate {
    /// Who thinks so.
    pub sender: u32,
    /// Bits per second; 18 digits of it are transmitted.
    pub bits_per_second: u64,
    /// Of which sources: at most 255.
    pub sources: Vec<u32>,
}

const NAME: [u8; 4] = *b"REMB";

/// Whether feedback of an application layer is this.
pub(super) fn is_estimate(body: &[u8]) -> bool {
    body.get(8..12) == Some(&NAME)
}

impl Body for ReceiverEstimate {
    const TYPE: u8 = kind::PAYLOAD_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let sender = fields.u32()?;
        fields.bytes(8)?;
        let count = fields.u8()?;
        let number = fields.u24()?;
        let (exponent, mantissa) = (number >> 18, u64::from(number & 0x3_ffff));
        // What 64 bits cannot say is more than anybody has.
        let bits_per_second =
            if mantissa.leading_zeros() < exponent { u64::MAX } else { mantissa << exponent };
        let sources = (0..count).map(|_| fields.u32()).collect::<Option<_>>()?;
        Some(Self { sender, bits_per_second, sources })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        let exponent = (64 - self.bits_per_second.leading_zeros()).saturating_sub(18);
        let mantissa = (self.bits_per_second >> exponent) as u32;
        sink.u32(self.sender)?;
        sink.u32(0)?;
        sink.bytes(&NAME)?;
        sink.u8(u8::try_from(self.sources.len()).map_err(|_| WriteError::TooMany)?)?;
        sink.u24(exponent << 18 | mantissa)?;
        self.sources.iter().try_for_each(|source| sink.u32(*source))?;
        Ok(format::APPLICATION_LAYER)
    }
}
