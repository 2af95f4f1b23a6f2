use std::fmt;

use crate::error::{ParseError, ParseErrorKind};
use crate::extension::{Extension, Extensions};
use crate::layout::{FIXED, Layout, u16_at, u32_at};

/// An RTP packet, borrowed from the bytes it came in (RFC 3550 §5.1).
///
/// Parsing copies nothing and checks all lengths, so that nothing that is read from a packet later can fail.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    layout: Layout,
    payload_end: usize,
}

impl<'a> Packet<'a> {
    /// Reads a packet that is not, or no longer, encrypted.
    ///
    /// # Errors
    /// If it is shorter than it says, not of version 2, or has more padding than payload.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let layout = Layout::parse(bytes)?;
        let mut payload_end = bytes.len();
        if bytes[0] & 0x20 != 0 {
            // RFC 3550 §5.1: the last byte counts the padding, itself included.
            let padding = usize::from(bytes[bytes.len() - 1]);
            if padding == 0 || padding > bytes.len() - layout.header_end {
                return Err(ParseErrorKind::Padding.at(bytes.len() - 1));
            }
            payload_end -= padding;
        }
        Ok(Self { bytes, layout, payload_end })
    }

    /// What the fixed header says.
    pub fn header(&self) -> Header {
        Header {
            marker: self.bytes[1] & 0x80 != 0,
            payload_type: self.bytes[1] & 0x7f,
            sequence_number: u16_at(self.bytes, 2),
            timestamp: u32_at(self.bytes, 4),
            ssrc: u32_at(self.bytes, 8),
        }
    }

    /// The contributing sources: whose sound a mixer has put into this.
    pub fn contributing_sources(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.bytes[FIXED..self.layout.sources_end].chunks_exact(4).map(|source| u32_at(source, 0))
    }

    /// The header extensions, in their order; none if the header is extended in another way than RFC 8285's.
    pub fn extensions(&self) -> Extensions<'a> {
        match self.layout.profile(self.bytes) {
            Some(profile) => {
                Extensions::new(profile, &self.bytes[self.layout.sources_end + 4..self.layout.header_end])
            }
            None => Extensions::none(),
        }
    }

    /// The header extension that was negotiated under this identifier, if the packet has it and it can be read.
    pub fn extension<E: Extension<'a>>(&self, id: u8) -> Option<E> {
        self.extensions().find(|(known, _)| *known == id).and_then(|(_, value)| E::read(value))
    }

    /// What it carries, without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.layout.header_end..self.payload_end]
    }

    /// Bytes of padding at its end.
    pub fn padding(&self) -> usize {
        self.bytes.len() - self.payload_end
    }

    /// Bytes of the header, with contributing sources and extensions: where the payload begins.
    pub fn header_bytes(&self) -> usize {
        self.layout.header_end
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("header", &self.header())
            .field("payload", &self.payload().len())
            .field("padding", &self.padding())
            .finish()
    }
}

/// The fixed header of an RTP packet (RFC 3550 §5.1), without what the packet itself shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// What the profile makes of it: mostly the last packet of a picture, or the first after a silence.
    pub marker: bool,
    /// Which format the payload has, as negotiated: 0 to 127.
    pub payload_type: u8,
    /// Counts the source's packets, modulo 65,536.
    pub sequence_number: u16,
    /// When the payload was sampled, in units of the format's clock.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 12] = [0x80, 0x80 | 111, 0x12, 0x34, 0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef];

    #[test]
    fn a_packet_is_read_where_it_lies() {
        let bytes = [&HEADER[..], b"voice"].concat();
        let packet = Packet::parse(&bytes).unwrap();
        let header = Header {
            marker: true,
            payload_type: 111,
            sequence_number: 0x1234,
            timestamp: 9,
            ssrc: 0xdead_beef,
        };
        assert_eq!(packet.header(), header);
        assert_eq!(packet.payload(), b"voice");
        assert_eq!((packet.padding(), packet.header_bytes()), (0, 12));
        assert_eq!(packet.contributing_sources().count(), 0);
        assert_eq!(packet.extensions().count(), 0);
    }

    #[test]
    fn contributing_sources_and_foreign_extensions_are_passed_over() {
        let mut bytes = HEADER.to_vec();
        bytes[0] = 0x92;
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        bytes.extend([0x12, 0x34, 0, 1, 9, 9, 9, 9]);
        bytes.extend(b"x");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.contributing_sources().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(packet.extensions().count(), 0);
        assert_eq!(packet.payload(), b"x");
        // Every cut within the header is one.
        for length in 0..packet.header_bytes() {
            let error = Packet::parse(&bytes[..length]).unwrap_err();
            assert_eq!(error, ParseErrorKind::Truncated.at(length), "{length}");
        }
    }

    #[test]
    fn absurd_padding_is_refused() {
        let mut bytes = [&HEADER[..], b"abc", &[2]].concat();
        bytes[0] |= 0x20;
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.payload(), packet.padding()), (&b"ab"[..], 2));
        for count in [0, 5, 255] {
            bytes[15] = count;
            assert_eq!(Packet::parse(&bytes).unwrap_err().kind, ParseErrorKind::Padding, "{count}");
        }
        // Nothing but padding is what a probe is.
        bytes[15] = 4;
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), b"");
        let mut bare = HEADER;
        bare[0] |= 0x20;
        assert_eq!(Packet::parse(&bare).unwrap_err().kind, ParseErrorKind::Padding);
    }

    #[test]
    fn only_version_2_is_rtp() {
        for version in [0, 1, 3] {
            let mut bytes = HEADER;
            bytes[0] = version << 6;
            assert_eq!(Packet::parse(&bytes).unwrap_err(), ParseErrorKind::Version.at(0));
        }
    }
}
