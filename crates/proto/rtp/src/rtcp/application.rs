use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, kind};

/// What an application made up for itself (RFC 3550 §6.7).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Application {
    /// The application's own numbering: 0 to 31.
    pub subtype: u8,
    /// Who sent it.
    pub ssrc: u32,
    /// Whose it is: 4 letters.
    pub name: [u8; 4],
    /// What it says; a multiple of 4 bytes.
    pub data: Vec<u8>,
}

impl Body for Application {
    const TYPE: u8 = kind::APPLICATION;

    fn read(count: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        Some(Self { subtype: count, ssrc: fields.u32()?, name: fields.array()?, data: fields.0.to_vec() })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.ssrc)?;
        sink.bytes(&self.name)?;
        sink.bytes(&self.data)?;
        Ok(self.subtype & 0x1f)
    }
}
