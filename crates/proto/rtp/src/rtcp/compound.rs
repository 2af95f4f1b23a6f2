use crate::error::{ParseError, ParseErrorKind};
use crate::rtcp::Packet;

/// The packets of a datagram of RTCP, one after another.
///
/// A packet whose body is not what its header says is an error of its own, after which the next one comes.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compound<'a> {
    /// Of a datagram that is not, or no longer, encrypted.
    ///
    /// # Errors
    /// If the lengths of its packets do not add up to it, or one is not of version 2: then none of it can be trusted
    /// (RFC 3550 §A.2). What the first one is does not matter (RFC 5506).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(&[first, _, high, low]) = bytes[at..].first_chunk() else {
                return Err(ParseErrorKind::Truncated.at(at));
            };
            if first >> 6 != 2 {
                return Err(ParseErrorKind::Version.at(at));
            }
            let end = at + 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
            if end > bytes.len() {
                return Err(ParseErrorKind::Truncated.at(at));
            }
            // RFC 3550 §6.4.1: only the last one may be padded, to a multiple of 4 bytes.
            if first & 0x20 != 0 {
                let padding = usize::from(bytes[end - 1]);
                if end < bytes.len() || padding == 0 || padding % 4 != 0 || padding > end - at - 4 {
                    return Err(ParseErrorKind::Padding.at(at));
                }
            }
            at = end;
        }
        if bytes.is_empty() { Err(ParseErrorKind::Truncated.at(0)) } else { Ok(Self { bytes, at: 0 }) }
    }
}

impl Iterator for Compound<'_> {
    type Item = Result<Packet, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let &[first, packet_type, high, low] = self.bytes[start..].first_chunk()?;
        let mut end = start + 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        self.at = end;
        if first & 0x20 != 0 {
            end -= usize::from(self.bytes[end - 1]);
        }
        let packet = Packet::read(packet_type, first & 0x1f, &self.bytes[start + 4..end]);
        Some(packet.ok_or(ParseErrorKind::Value.at(start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Vec<Result<Packet, ParseError>>, ParseError> {
        Compound::parse(bytes).map(Iterator::collect)
    }

    #[test]
    fn lengths_must_add_up() {
        assert_eq!(parse(&[]), Err(ParseErrorKind::Truncated.at(0)));
        assert_eq!(parse(&[0x80, 201, 0, 1, 0, 0, 0]), Err(ParseErrorKind::Truncated.at(0)));
        assert_eq!(parse(&[0x40, 201, 0, 0]), Err(ParseErrorKind::Version.at(0)));
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        assert_eq!(parse(&report).unwrap().len(), 1);
        assert_eq!(parse(&[&report[..], &[0x80, 203]].concat()), Err(ParseErrorKind::Truncated.at(8)));
    }

    #[test]
    fn only_the_last_is_padded() {
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4];
        assert_eq!(
            parse(&padded).unwrap(),
            [Ok(crate::rtcp::ReceiverReport { ssrc: 9, reports: vec![] }.into())]
        );
        assert_eq!(parse(&[padded, padded].concat()), Err(ParseErrorKind::Padding.at(0)));
        for wrong in [0, 3, 12] {
            let mut bytes = padded;
            bytes[11] = wrong;
            assert_eq!(parse(&bytes), Err(ParseErrorKind::Padding.at(0)), "{wrong}");
        }
        assert_eq!(parse(&[0xa0, 201, 0, 0]), Err(ParseErrorKind::Padding.at(0)));
    }

    #[test]
    fn a_broken_packet_does_not_spoil_the_next() {
        // It counts a report that it has not.
        let broken = [0x81, 201, 0, 1, 0, 0, 0, 9];
        let packets = parse(&[broken, [0x81, 203, 0, 1, 0, 0, 0, 9]].concat()).unwrap();
        assert_eq!(packets[0], Err(ParseErrorKind::Value.at(0)));
        assert!(matches!(&packets[1], Ok(Packet::Goodbye(goodbye)) if goodbye.sources == [9]));
        let unknown = parse(&[0x83, 210, 0, 1, 1, 2, 3, 4]).unwrap();
        assert_eq!(unknown, [Ok(Packet::Unknown { packet_type: 210, count: 3, body: vec![1, 2, 3, 4] })]);
    }
}
