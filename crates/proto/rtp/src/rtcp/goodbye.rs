use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::{Sink, count};
use crate::rtcp::{Body, kind};

/// Sources that are no more (RFC 3550 §6.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Goodbye {
    /// Which: at most 31.
    pub sources: Vec<u32>,
    /// Why, in up to 255 bytes; mostly nothing is said.
    pub reason: Vec<u8>,
}

impl Body for Goodbye {
    const TYPE: u8 = kind::GOODBYE;

    fn read(count: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let sources = (0..count).map(|_| fields.u32()).collect::<Option<_>>()?;
        let length = fields.u8().unwrap_or(0);
        Some(Self { sources, reason: fields.bytes(length.into())?.to_vec() })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        self.sources.iter().try_for_each(|source| sink.u32(*source))?;
        if !self.reason.is_empty() {
            sink.u8(u8::try_from(self.reason.len()).map_err(|_| WriteError::TooMany)?)?;
            sink.bytes(&self.reason)?;
        }
        count(self.sources.len())
    }
}
