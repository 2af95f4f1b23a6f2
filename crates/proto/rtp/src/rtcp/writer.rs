use crate::error::WriteError;
use crate::rtcp::Packet;

/// Writes packets of RTCP one after another into a buffer of the caller's.
#[derive(Debug)]
pub struct CompoundWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl<'b> CompoundWriter<'b> {
    /// An empty compound.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// If there is no room for it, or it has more of something than can be counted; then it is left out, and
    /// others may follow.
    pub fn add(&mut self, packet: &Packet) -> Result<(), WriteError> {
        let place = self.buffer[self.used..].get_mut(4..).ok_or(WriteError::NoRoom)?;
        let mut sink = Sink { buffer: place, used: 0 };
        let (packet_type, count) = packet.write(&mut sink)?;
        sink.align()?;
        let written = sink.used;
        let words = u16::try_from(written / 4).map_err(|_| WriteError::TooMany)?;
        let head = &mut self.buffer[self.used..self.used + 4];
        head[..2].copy_from_slice(&[0x80 | count, packet_type]);
        head[2..].copy_from_slice(&words.to_be_bytes());
        self.used += 4 + written;
        Ok(())
    }

    /// Bytes that the compound has so far.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Ends the compound; returns how many bytes of the buffer it has.
    pub fn finish(self) -> usize {
        self.used
    }
}

/// A buffer that is written from front to back.
pub(super) struct Sink<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl Sink<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let place = self.buffer.get_mut(self.used..self.used + bytes.len()).ok_or(WriteError::NoRoom)?;
        place.copy_from_slice(bytes);
        self.used += bytes.len();
        Ok(())
    }

    pub(super) fn u8(&mut self, value: u8) -> Result<(), WriteError> {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    /// The lower 24 bits.
    pub(super) fn u24(&mut self, value: u32) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes()[1..])
    }

    pub(super) fn u32(&mut self, value: u32) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> Result<(), WriteError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Zeros up to a multiple of 4 bytes.
    pub(super) fn align(&mut self) -> Result<(), WriteError> {
        let missing = self.used.next_multiple_of(4) - self.used;
        self.bytes(&[0; 3][..missing])
    }
}

/// A number of things for the 5 bits that count them.
pub(super) fn count(things: usize) -> Result<u8, WriteError> {
    u8::try_from(things).ok().filter(|count| *count < 32).ok_or(WriteError::TooMany)
}
