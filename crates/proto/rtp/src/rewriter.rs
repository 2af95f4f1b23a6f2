use crate::error::ParseError;
use crate::extension::{element, form};
use crate::layout::{FIXED, Layout};

/// Changes a packet that is already written: what a forwarder does to one packet for each of its viewers, and what
/// a pacer fills in when a packet leaves.
#[derive(Debug)]
pub struct Rewriter<'a> {
    bytes: &'a mut [u8],
    layout: Layout,
}

impl<'a> Rewriter<'a> {
    /// Of a packet that is not encrypted.
    ///
    /// # Errors
    /// If its header is shorter than it says, or not of version 2.
    pub fn new(bytes: &'a mut [u8]) -> Result<Self, ParseError> {
        let layout = Layout::parse(bytes)?;
        Ok(Self { bytes, layout })
    }

    /// Sets the payload type; its 7 lower bits count.
    pub fn payload_type(&mut self, payload_type: u8) -> &mut Self {
        self.bytes[1] = self.bytes[1] & 0x80 | payload_type & 0x7f;
        self
    }

    /// Sets the sequence number.
    pub fn sequence_number(&mut self, number: u16) -> &mut Self {
        self.bytes[2..4].copy_from_slice(&number.to_be_bytes());
        self
    }

    /// Sets the timestamp.
    pub fn timestamp(&mut self, timestamp: u32) -> &mut Self {
        self.bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self
    }

    /// Sets the source.
    pub fn ssrc(&mut self, ssrc: u32) -> &mut Self {
        self.bytes[8..FIXED].copy_from_slice(&ssrc.to_be_bytes());
        self
    }

    /// The value of a header extension, to be changed where it lies.
    pub fn extension(&mut self, id: u8) -> Option<&mut [u8]> {
        let form = form(self.layout.profile(self.bytes)?)?;
        let mut at = self.layout.sources_end + 4;
        loop {
            let (found, start, length) = element(form, &self.bytes[at..self.layout.header_end])?;
            let value = at + start..at + start + length;
            if value.end > self.layout.header_end {
                return None;
            }
            if found == id {
                return Some(&mut self.bytes[value]);
            }
            at = value.end;
        }
    }
}
