use crate::layout::{FIXED, Layout};

/// The one-byte form of header extensions, encrypted (RFC 9335 §5).
pub(crate) const ENCRYPTED_ONE_BYTE: u16 = 0xc0de;
/// The two-byte form of header extensions, encrypted (RFC 9335 §5).
pub(crate) const ENCRYPTED_TWO_BYTE: u16 = 0xc2de;

/// What of a packet stays readable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clear {
    /// So many bytes at its front.
    pub(crate) bytes: usize,
    /// With cryptex: where its contributing sources end, which are encrypted although the 4 bytes after them are not.
    pub(crate) sources_end: Option<usize>,
}

impl Clear {
    /// The whole header (RFC 3711 §3.1).
    pub(crate) fn header(layout: &Layout) -> Self {
        Self { bytes: layout.header_end, sources_end: None }
    }

    /// The fixed header, and the first 4 bytes of the extension (RFC 9335 §6).
    pub(crate) fn cryptex(layout: &Layout) -> Self {
        Self { bytes: FIXED + 4, sources_end: Some(layout.sources_end) }
    }

    /// Moves what stays readable to the front, so that both parts are in one piece (RFC 9335 §6.2).
    pub(crate) fn gather(&self, packet: &mut [u8]) {
        if let Some(end) = self.sources_end {
            packet[FIXED..end + 4].rotate_right(4);
        }
    }

    /// Moves it back.
    pub(crate) fn restore(&self, packet: &mut [u8]) {
        if let Some(end) = self.sources_end {
            packet[FIXED..end + 4].rotate_left(4);
        }
    }
}
