use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::Sink;
use crate::rtcp::{Body, format, kind};

/// When each packet of a transport arrived, whichever its source
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransportFeedback {
    /// Who received them.
    pub sender: u32,
    /// One of the sources.
    pub media: u32,
    /// The transport-wide number of the first packet that is reported.
    pub first: u16,
    /// How many packets are reported, with those that did not arrive.
    pub count: u16,
    /// When it begins, in units of 64 ms of the receiver's clock; of 24 bits.
    pub reference: i32,
    /// Counts feedback, so that one that is lost is noticed.
    pub number: u8,
    /// The packets that arrived, in the order of their numbers. What lies between did not.
    pub arrivals: Vec<Arrival>,
}

/// A packet that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its transport-wide number.
    pub sequence_number: u16,
    /// How long after the one before it, or after the reference time, in quarters of a millisecond.
    pub delta: i16,
}

/// How a packet is reported (§3.1.1): not at all, with a delta of a byte, or with one of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Missing = 0,
    Small = 1,
    Large = 2,
}

impl Status {
    fn of(arrival: &Arrival) -> Self {
        if (0..=255).contains(&arrival.delta) { Self::Small } else { Self::Large }
    }

    fn read(bits: u16) -> Option<Self> {
        match bits {
            0 => Some(Self::Missing),
            1 => Some(Self::Small),
            2 => Some(Self::Large),
            _ => None,
        }
    }
}

/// Packets in a chunk that has 2 bits for each.
const PER_CHUNK: usize = 7;
/// Packets that a run may have.
const MAX_RUN: u16 = 0x1fff;

impl TransportFeedback {
    /// The packets that are reported as arrived, with how each is, out of the chunks of §3.1.2 to §3.1.4.
    fn statuses(fields: &mut Fields<'_>, first: u16, count: u16) -> Option<Vec<(u16, Status)>> {
        let mut arrived = Vec::new();
        let mut at = 0;
        while at < count {
            let chunk = fields.u16()?;
            let run = chunk >> 15 == 0;
            let length = match (run, chunk >> 14 & 1) {
                (true, _) => chunk & MAX_RUN,
                (false, 0) => 14,
                (false, _) => PER_CHUNK as u16,
            };
            // Whoever claims runs of nothing would never come to an end.
            if length == 0 {
                return None;
            }
            let length = length.min(count - at);
            let status = |place: u16| match (run, chunk >> 14 & 1) {
                (true, _) => Status::read(chunk >> 13 & 3),
                (false, 0) => Status::read(chunk >> (13 - place) & 1),
                (false, _) => Status::read(chunk >> (12 - 2 * place) & 3),
            };
            // What did not arrive takes no memory, however much of it is claimed.
            if !(run && status(0) == Some(Status::Missing)) {
                for place in 0..length {
                    match status(place)? {
                        Status::Missing => {}
                        status => arrived.push((first.wrapping_add(at + place), status)),
                    }
                }
                // Each of them has a delta behind the chunks.
                if arrived.len() > fields.0.len() {
                    return None;
                }
            }
            at += length;
        }
        Some(arrived)
    }
}

impl Body for TransportFeedback {
    const TYPE: u8 = kind::TRANSPORT_FEEDBACK;

    fn read(_: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (sender, media) = (fields.u32()?, fields.u32()?);
        let (first, count) = (fields.u16()?, fields.u16()?);
        let reference = (fields.u24()? << 8).cast_signed() >> 8;
        let number = fields.u8()?;
        let arrived = Self::statuses(&mut fields, first, count)?;
        let mut arrivals = Vec::with_capacity(arrived.len());
        for (sequence_number, status) in arrived {
            let delta = match status {
                Status::Small => i16::from(fields.u8()?),
                _ => fields.u16()?.cast_signed(),
            };
            arrivals.push(Arrival { sequence_number, delta });
        }
        Some(Self { sender, media, first, count, reference, number, arrivals })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        sink.u32(self.sender)?;
        sink.u32(self.media)?;
        sink.u16(self.first)?;
        sink.u16(self.count)?;
        sink.u24(self.reference.cast_unsigned())?;
        sink.u8(self.number)?;
        let mut arrivals = self.arrivals.iter().peekable();
        let mut at = 0;
        while at < self.count {
            // Nothing arrived for a while: a run of it; otherwise two bits for each of the next ones.
            let next =
                arrivals.peek().map_or(self.count, |next| next.sequence_number.wrapping_sub(self.first));
            if next >= self.count && arrivals.peek().is_some() || next < at {
                return Err(WriteError::TooMany);
            }
            let missing = (next - at).min(MAX_RUN);
            if usize::from(missing) >= PER_CHUNK || next == self.count {
                sink.u16(missing)?;
                at += missing;
                continue;
            }
            let mut chunk = 0b11 << 14;
            for place in 0..PER_CHUNK as u16 {
                let here = |next: &&Arrival| next.sequence_number.wrapping_sub(self.first) == at + place;
                if let Some(arrival) = arrivals.next_if(here) {
                    chunk |= (Status::of(arrival) as u16) << (12 - 2 * place);
                }
            }
            sink.u16(chunk)?;
            at = at.saturating_add(PER_CHUNK as u16);
        }
        if arrivals.next().is_some() {
            return Err(WriteError::TooMany);
        }
        for arrival in &self.arrivals {
            match Status::of(arrival) {
                Status::Small => sink.u8(arrival.delta as u8)?,
                _ => sink.u16(arrival.delta.cast_unsigned())?,
            }
        }
        Ok(format::TRANSPORT)
    }
}
