use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, kind};

/// Further reports (RFC 3611): how receivers who send nothing learn the round-trip time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtendedReport {
    /// Who reports.
    pub ssrc: u32,
    /// What.
    pub blocks: Vec<ExtendedBlock>,
}

/// One of the further reports.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExtendedBlock {
    /// The time by the receiver's clock (RFC 3611 §4.4), as [`SenderReport::ntp`](super::SenderReport::ntp).
    ReferenceTime(u64),
    /// How long ago such times came from each receiver (RFC 3611 §4.5).
    Delays(Vec<ReportDelay>),
    /// A report that nobody here knows: its type, its byte of its own, and what follows, a multiple of 4 bytes.
    Unknown(u8, u8, Vec<u8>),
}

/// How long ago the time of a receiver came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportDelay {
    /// The receiver.
    pub ssrc: u32,
    /// The middle 32 bits of his time.
    pub last_report: u32,
    /// How long ago it came, in 65,536ths of a second.
    pub delay: u32,
}

const REFERENCE_TIME: u8 = 4;
const DELAYS: u8 = 5;

impl ExtendedBlock {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (kind, own) = (fields.u8()?, fields.u8()?);
        let words = fields.u16()?;
        let mut body = Fields(fields.bytes(4 * usize::from(words))?);
        match kind {
            REFERENCE_TIME => body.u64().map(Self::ReferenceTime),
            DELAYS => {
                let delay = |entry: &[u8]| {
                    let mut entry = Fields(entry);
                    Some(ReportDelay { ssrc: entry.u32()?, last_report: entry.u32()?, delay: entry.u32()? })
                };
                body.0.chunks(12).map(delay).collect::<Option<_>>().map(Self::Delays)
            }
            _ => Some(Self::Unknown(kind, own, body.0.to_vec())),
        }
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<(), WriteError> {
        let mut head = |kind, own, bytes: usize| {
            sink.bytes(&[kind, own])?;
            sink.u16(u16::try_from(bytes / 4).map_err(|_| WriteError::TooMany)?)
        };
        match self {
            Self::ReferenceTime(ntp) => {
                head(REFERENCE_TIME, 0, 8)?;
                sink.u64(*ntp)
            }
            Self::Delays(delays) => {
                head(DELAYS, 0, 12 * delays.len())?;
                delays.iter().try_for_each(|delay| {
                    sink.u32(delay.ssrc)?;
                    sink.u32(delay.last_report)?;
                    sink.u32(delay.delay)
                })
            }
            Self::Unknown(kind, own, body) => {
                head(*kind, *own, body.len())?;
                sink.bytes(&body[..body.len() / 4 * 4])
            }
        }
    }
}

impl Body for ExtendedReport {
    const TYPE: u8 = kind::EXTENDED_REPORT;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let mut report = Self { ssrc: fields.u32()?, blocks: Vec::new() };
        while !fields.0.is_empty() {
            report.blocks.push(ExtendedBlock::read(&mut fields)?);
        }
        Some(report)
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.ssrc)?;
        self.blocks.iter().try_for_each(|block| block.write(sink))?;
        Ok(0)
    }
}
