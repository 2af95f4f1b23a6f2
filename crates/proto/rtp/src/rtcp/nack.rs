use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, format, kind};

/// Packets are missing and should be sent again (RFC 4585 §6.2.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nack {
    /// Who misses them.
    pub sender: u32,
    /// Whose packets they are.
    pub media: u32,
    /// Their sequence numbers. Those that lie near to each other take little room if they come in their order.
    pub lost: Vec<u16>,
}

impl Body for Nack {
    const TYPE: u8 = kind::TRANSPORT_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut nack = Self { sender: fields.u32()?, media: fields.u32()?, lost: Vec::new() };
        while let (Some(first), Some(following)) = (fields.u16(), fields.u16()) {
            nack.lost.push(first);
            let bits = (0..16).filter(|bit| following >> bit & 1 == 1);
            nack.lost.extend(bits.map(|bit| first.wrapping_add(bit + 1)));
        }
        Some(nack)
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.sender)?;
        sink.u32(self.media)?;
        let mut rest = self.lost.iter().copied().peekable();
        while let Some(first) = rest.next() {
            let mut following = 0u16;
            while let Some(behind) =
                rest.peek().map(|next| next.wrapping_sub(first)).filter(|next| (1..=16).contains(next))
            {
                following |= 1 << (behind - 1);
                rest.next();
            }
            sink.u16(first)?;
            sink.u16(following)?;
        }
        Ok(format::NACK)
    }
}
