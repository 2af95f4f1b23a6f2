use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::{Sink, count};
use crate::rtcp::{Body, kind};

/// What a sender sent, and which moment of a common clock his timestamps mean (RFC 3550 §6.4.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SenderReport {
    /// Who sent it.
    pub ssrc: u32,
    /// The time of the report: seconds since 1900, 32 bits before the point and 32 behind it.
    pub ntp: u64,
    /// The same moment by the clock of the RTP timestamps.
    pub timestamp: u32,
    /// Packets sent so far, modulo 2^32.
    pub packets: u32,
    /// Bytes of payload sent so far, modulo 2^32.
    pub bytes: u32,
    /// What he received himself: at most 31.
    pub reports: Vec<ReportBlock>,
}

/// What a receiver received who sends nothing himself (RFC 3550 §6.4.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiverReport {
    /// Who received it.
    pub ssrc: u32,
    /// One for each source: at most 31.
    pub reports: Vec<ReportBlock>,
}

/// What was received of one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// The part of its packets that was lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost so far, of 24 bits; less than none, if more came than were expected.
    pub lost: i32,
    /// The highest sequence number so far, and in the upper 16 bits how often the numbers have gone around.
    pub highest_sequence_number: u32,
    /// How irregularly packets come, in units of the timestamps.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's time; 0 if there was none.
    pub last_report: u32,
    /// How long ago that came, in 65,536ths of a second.
    pub delay: u32,
}

impl ReportBlock {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            ssrc: fields.u32()?,
            fraction_lost: fields.u8()?,
            lost: (fields.u24()? << 8).cast_signed() >> 8,
            highest_sequence_number: fields.u32()?,
            jitter: fields.u32()?,
            last_report: fields.u32()?,
            delay: fields.u32()?,
        })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<(), WriteError> {
        sink.u32(self.ssrc)?;
        sink.u8(self.fraction_lost)?;
        // RFC 3550 §A.3: what does not fit into 24 bits stays at their end.
        sink.u24(self.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned())?;
        sink.u32(self.highest_sequence_number)?;
        sink.u32(self.jitter)?;
        sink.u32(self.last_report)?;
        sink.u32(self.delay)
    }
}

impl Body for SenderReport {
    const TYPE: u8 = kind::SENDER_REPORT;

    fn read(count: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        Some(Self {
            ssrc: fields.u32()?,
            ntp: fields.u64()?,
            timestamp: fields.u32()?,
            packets: fields.u32()?,
            bytes: fields.u32()?,
            reports: (0..count).map(|_| ReportBlock::read(&mut fields)).collect::<Option<_>>()?,
        })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.ssrc)?;
        sink.u64(self.ntp)?;
        sink.u32(self.timestamp)?;
        sink.u32(self.packets)?;
        sink.u32(self.bytes)?;
        self.reports.iter().try_for_each(|report| report.write(sink))?;
        count(self.reports.len())
    }
}

impl Body for ReceiverReport {
    const TYPE: u8 = kind::RECEIVER_REPORT;

    fn read(count: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        Some(Self {
            ssrc: fields.u32()?,
            reports: (0..count).map(|_| ReportBlock::read(&mut fields)).collect::<Option<_>>()?,
        })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.ssrc)?;
        self.reports.iter().try_for_each(|report| report.write(sink))?;
        count(self.reports.len())
    }
}
