use crate::error::{ParseError, ParseErrorKind};

/// Bytes of the fixed header.
pub(crate) const FIXED: usize = 12;

/// Where in a packet its header's parts lie. What follows the header is not looked at: it may be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Where the contributing sources end, and the header extension, if there is one, begins.
    pub(crate) sources_end: usize,
    /// Whether there is a header extension.
    pub(crate) extended: bool,
    /// Where the header ends and the payload begins.
    pub(crate) header_end: usize,
}

impl Layout {
    /// Of a packet (RFC 3550 §5.1, §5.3.1).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let Some(&first) = bytes.first() else { return Err(ParseErrorKind::Truncated.at(0)) };
        if first >> 6 != 2 {
            return Err(ParseErrorKind::Version.at(0));
        }
        let sources_end = FIXED + 4 * usize::from(first & 0x0f);
        let extended = first & 0x10 != 0;
        let mut header_end = sources_end;
        if extended {
            let Some(length) = bytes.get(sources_end + 2..sources_end + 4) else {
                return Err(ParseErrorKind::Truncated.at(bytes.len()));
            };
            header_end += 4 + 4 * usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        if bytes.len() < header_end {
            return Err(ParseErrorKind::Truncated.at(bytes.len()));
        }
        Ok(Self { sources_end, extended, header_end })
    }

    /// The header extension's first two bytes, "defined by profile".
    pub(crate) fn profile(&self, bytes: &[u8]) -> Option<u16> {
        self.extended.then(|| u16_at(bytes, self.sources_end))
    }
}

/// The big-endian number at a place that is known to be there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian number at a place that is known to be there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
