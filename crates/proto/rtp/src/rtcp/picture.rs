use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, format, kind};

/// The picture is broken, a whole one is needed (RFC 4585 §6.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PictureLoss {
    /// Who cannot see.
    pub sender: u32,
    /// Whose picture it is.
    pub media: u32,
}

/// Whole pictures are needed (RFC 5104 §4.3.1). Unlike with [`PictureLoss`], asking twice with one number counts once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FullIntraRequest {
    /// Who asks.
    pub sender: u32,
    /// Whose pictures, and the number of the request, one higher for each new one.
    pub requests: Vec<(u32, u8)>,
}

impl Body for PictureLoss {
    const TYPE: u8 = kind::PAYLOAD_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        Some(Self { sender: fields.u32()?, media: fields.u32()? })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.sender)?;
        sink.u32(self.media)?;
        Ok(format::PICTURE_LOSS)
    }
}

impl Body for FullIntraRequest {
    const TYPE: u8 = kind::PAYLOAD_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut request = Self { sender: fields.u32()?, requests: Vec::new() };
        // RFC 5104 §4.3.1.2: the media source of the header is 0 and means nothing.
        fields.u32()?;
        while let (Some(ssrc), Some(number), Some(_)) = (fields.u32(), fields.u8(), fields.u24()) {
            request.requests.push((ssrc, number));
        }
        Some(request)
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.sender)?;
        sink.u32(0)?;
        for (ssrc, number) in &self.requests {
            sink.u32(*ssrc)?;
            sink.u8(*number)?;
            sink.u24(0)?;
        }
        Ok(format::FULL_INTRA)
    }
}
