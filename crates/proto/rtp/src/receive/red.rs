use crate::error::{ParseError, ParseErrorKind, WriteError};
use crate::fields::Fields;
use crate::packet::Header;

/// A payload with copies of what earlier packets carried (RED, RFC 2198): who loses a packet finds it in the next one.
#[derive(Clone, Debug)]
pub struct Redundancy<'a> {
    header: Header,
    /// The headers of the copies that have not been looked at.
    headers: Fields<'a>,
    /// The copies, and at last what is new.
    blocks: Fields<'a>,
    /// Copies that are yet to come.
    copies: u16,
    done: bool,
}

/// Copies that are looked at in a packet.
const MAX_COPIES: u16 = 16;

impl<'a> Redundancy<'a> {
    /// Of the payload of a packet with this header.
    ///
    /// # Errors
    /// If its lengths do not fit, or it claims more than 16 copies.
    pub fn parse(header: Header, payload: &'a [u8]) -> Result<Self, ParseError> {
        let mut fields = Fields(payload);
        let (mut copies, mut bytes) = (0, 0);
        loop {
            let start = payload.len() - fields.0.len();
            let first = fields.u8().ok_or(ParseErrorKind::Truncated.at(start))?;
            if first & 0x80 == 0 {
                break;
            }
            let rest = fields.u24().ok_or(ParseErrorKind::Truncated.at(start))?;
            bytes += rest as usize & 0x3ff;
            copies += 1;
            if copies > MAX_COPIES {
                return Err(ParseErrorKind::Value.at(start));
            }
        }
        if bytes > fields.0.len() {
            return Err(ParseErrorKind::Truncated.at(payload.len()));
        }
        Ok(Self { header, headers: Fields(payload), blocks: fields, copies, done: false })
    }

    /// Writes a payload: copies with how much earlier their timestamps are, the oldest first, and what is new. All of
    /// one payload type. Returns how many bytes of the buffer it has.
    ///
    /// # Errors
    /// If there is no room, or a copy is too old (16,383 units of the timestamp) or too long (1,023 bytes) to say.
    pub fn write(
        payload_type: u8,
        copies: &[(u32, &[u8])],
        new: &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, WriteError> {
        let heads = copies.len() * 4 + 1;
        let bytes = heads + copies.iter().map(|(_, copy)| copy.len()).sum::<usize>() + new.len();
        let place = buffer.get_mut(..bytes).ok_or(WriteError::NoRoom)?;
        let (head, mut body) = place.split_at_mut(heads);
        for (at, (offset, copy)) in copies.iter().enumerate() {
            if *offset >= 1 << 14 || copy.len() >= 1 << 10 {
                return Err(WriteError::TooMany);
            }
            let word = 1 << 31 | u32::from(payload_type & 0x7f) << 24 | offset << 10 | copy.len() as u32;
            head[4 * at..4 * at + 4].copy_from_slice(&word.to_be_bytes());
            let (place, rest) = body.split_at_mut(copy.len());
            place.copy_from_slice(copy);
            body = rest;
        }
        head[heads - 1] = payload_type & 0x7f;
        body.copy_from_slice(new);
        Ok(bytes)
    }
}

impl<'a> Iterator for Redundancy<'a> {
    type Item = (Header, &'a [u8]);

    /// The packets that it stands for: those that were sent before, as far as it has them, and the new one last. That
    /// they were sent one after another is what senders do (RFC 2198 does not say it).
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let first = self.headers.u8()?;
        if first & 0x80 == 0 {
            self.done = true;
            return Some((Header { payload_type: first & 0x7f, ..self.header }, self.blocks.0));
        }
        let rest = self.headers.u24()?;
        let block = self.blocks.bytes(rest as usize & 0x3ff)?;
        let header = Header {
            marker: false,
            payload_type: first & 0x7f,
            sequence_number: self.header.sequence_number.wrapping_sub(self.copies),
            timestamp: self.header.timestamp.wrapping_sub(rest >> 10),
            ssrc: self.header.ssrc,
        };
        self.copies -= 1;
        Some((header, block))
    }
}
