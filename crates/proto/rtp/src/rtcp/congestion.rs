use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, format, kind};

/// When each packet of each source arrived (RFC 8888 §3.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CongestionFeedback {
    /// Who received them.
    pub sender: u32,
    /// What he received.
    pub streams: Vec<CongestionStream>,
    /// When he says so: the middle 32 bits of an NTP time, 65,536ths of a second.
    pub timestamp: u32,
}

/// What arrived of one source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CongestionStream {
    /// The source.
    pub ssrc: u32,
    /// The sequence number of the first packet that is reported.
    pub first: u16,
    /// That packet and those after it; `None` did not arrive. At most 16,384.
    pub packets: Vec<Option<PacketMetric>>,
}

/// A packet that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketMetric {
    /// The two bits of Explicit Congestion Notification that it had.
    pub ecn: u8,
    /// How long before the report's time it arrived, in 1,024ths of a second: 0x1FFE for that and more, 0x1FFF for
    /// unknown.
    pub offset: u16,
}

/// RFC 8888 §3.1: so many packets of a source at most.
const MAX_PACKETS: usize = 16_384;

impl CongestionStream {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (ssrc, first, count) = (fields.u32()?, fields.u16()?, usize::from(fields.u16()?));
        let words = Fields(fields.bytes((2 * count).next_multiple_of(4))?);
        let metric = |pair: &[u8]| {
            let word = u16::from_be_bytes([pair[0], pair[1]]);
            let metric = PacketMetric { ecn: (word >> 13 & 3) as u8, offset: word & 0x1fff };
            (word >> 15 == 1).then_some(metric)
        };
        let packets = words.0.chunks_exact(2).take(count).map(metric).collect();
        (count <= MAX_PACKETS).then_some(Self { ssrc, first, packets })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<(), WriteError> {
        if self.packets.len() > MAX_PACKETS {
            return Err(WriteError::TooMany);
        }
        sink.u32(self.ssrc)?;
        sink.u16(self.first)?;
        sink.u16(self.packets.len() as u16)?;
        for packet in &self.packets {
            let word =
                |packet: PacketMetric| 1 << 15 | u16::from(packet.ecn & 3) << 13 | packet.offset & 0x1fff;
            sink.u16(packet.map_or(0, word))?;
        }
        sink.align()
    }
}

impl Body for CongestionFeedback {
    const TYPE: u8 = kind::TRANSPORT_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut feedback = Self { sender: fields.u32()?, ..Self::default() };
        while fields.0.len() > 4 {
            feedback.streams.push(CongestionStream::read(&mut fields)?);
        }
        feedback.timestamp = fields.u32()?;
        Some(feedback)
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.sender)?;
        self.streams.iter().try_for_each(|stream| stream.write(sink))?;
        sink.u32(self.timestamp)?;
        Ok(format::CONGESTION)
    }
}
