//! SCTP packets as bytes (RFC 9260 §3): the common header, and one chunk after another, each padded to 4 bytes.

/// Bytes of the common header.
pub(crate) const HEADER: usize = 12;
/// Bytes of a chunk's header.
pub(crate) const CHUNK_HEADER: usize = 4;

/// The chunk types (RFC 9260 §3.2, RFC 8260 §2, RFC 6525 §3, RFC 4820 §3, RFC 3758 §3.2).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const INIT: u8 = 1;
    pub(crate) const INIT_ACK: u8 = 2;
    pub(crate) const SACK: u8 = 3;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const HEARTBEAT_ACK: u8 = 5;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const SHUTDOWN: u8 = 7;
    pub(crate) const SHUTDOWN_ACK: u8 = 8;
    pub(crate) const COOKIE_ECHO: u8 = 10;
    pub(crate) const COOKIE_ACK: u8 = 11;
    /// RFC 4960, appendix A.
    pub(crate) const ECNE: u8 = 12;
    pub(crate) const CWR: u8 = 13;
    pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(crate) const I_DATA: u8 = 64;
    pub(crate) const RE_CONFIG: u8 = 130;
    pub(crate) const PAD: u8 = 132;
    /// Our own: a SACK that goes on where another had no room left. By its highest bits, whoever does not know it passes over it and
    /// says nothing.
    pub(crate) const FURTHER_SACK: u8 = 174;
    pub(crate) const FORWARD_TSN: u8 = 192;
    pub(crate) const I_FORWARD_TSN: u8 = 194;
}

/// The common header, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) tag: u32,
}

/// A chunk where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    /// Header and value, without padding. At least [`CHUNK_HEADER`] long.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0]
    }

    pub(crate) fn flags(&self) -> u8 {
        self.bytes[1]
    }

    pub(crate) fn value(&self) -> &'a [u8] {
        &self.bytes[CHUNK_HEADER..]
    }
}

/// The chunks of a packet. Ends early at a chunk whose length is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let length = usize::from(u16::from_be_bytes([*self.0.get(2)?, *self.0.get(3)?]));
        if length < CHUNK_HEADER {
            return None;
        }
        let bytes = self.0.get(..length)?;
        // The padding of the last chunk may be missing.
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(Chunk { bytes })
    }
}

/// Type-length-value parameters, as in INIT (RFC 9260 §3.2.1). Ends early at one whose length is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    /// The type and the value.
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = u16::from_be_bytes([*self.0.first()?, *self.0.get(1)?]);
        let length = usize::from(u16::from_be_bytes([*self.0.get(2)?, *self.0.get(3)?]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The header and the chunks of `packet`. The checksum is not looked at.
pub(crate) fn parse(packet: &[u8]) -> Option<(Header, Chunks<'_>)> {
    let header = Header {
        source: u16::from_be_bytes([*packet.first()?, *packet.get(1)?]),
        destination: u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]),
        tag: u32_at(packet, 4)?,
    };
    Some((header, Chunks(packet.get(HEADER..)?)))
}

/// What the checksum of a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Right,
    /// Zero, which is right only by agreement (RFC 9653).
    Zero,
    Wrong,
}

/// Looks at the checksum of `packet`.
pub(crate) fn checked(packet: &[u8]) -> Checksum {
    match packet.get(8..HEADER) {
        Some([0, 0, 0, 0]) => Checksum::Zero,
        Some(sum) if sum == checksum(packet).to_le_bytes() => Checksum::Right,
        _ => Checksum::Wrong,
    }
}

/// CRC32c over `packet` with the checksum field taken as zero (RFC 9260 §6.8, appendix A).
pub(crate) fn checksum(packet: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&packet[..8]);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, &packet[HEADER..])
}

/// `length` rounded up to the 4 bytes that chunks and parameters are padded to.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The big-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The big-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes a packet into a buffer. What does not fit makes [`Writer::finish`] return 0.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    used: usize,
    overrun: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(buffer: &'b mut [u8], header: Header) -> Self {
        let mut writer = Self { buffer, used: 0, overrun: false };
        writer.put(&header.source.to_be_bytes());
        writer.put(&header.destination.to_be_bytes());
        writer.put(&header.tag.to_be_bytes());
        writer.put(&[0; 4]);
        writer
    }

    /// Bytes that still fit, padding included.
    pub(crate) fn room(&self) -> usize {
        (self.buffer.len() - self.used) & !3
    }

    /// Bytes that are written.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether there is no chunk yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.used <= HEADER
    }

    /// Appends a chunk made of `parts`.
    pub(crate) fn chunk(&mut self, kind: u8, flags: u8, parts: &[&[u8]]) {
        let length = CHUNK_HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
        let Ok(written) = u16::try_from(length) else {
            self.overrun = true;
            return;
        };
        let [high, low] = written.to_be_bytes();
        self.put(&[kind, flags, high, low]);
        parts.iter().for_each(|part| self.put(part));
        let padding = padded(length) - length;
        if padding > 0 {
            self.put(&[0; 3][..padding]);
        }
    }

    /// Makes the packet `length` bytes long by a chunk that says nothing (RFC 4820 §3).
    pub(crate) fn pad_to(&mut self, length: usize) {
        let bytes = length.min(self.buffer.len()).saturating_sub(self.used) & !3;
        if bytes >= CHUNK_HEADER {
            let [high, low] = (bytes.min(0xfffc) as u16).to_be_bytes();
            self.put(&[kind::PAD, 0, high, low]);
            let end = self.used + bytes.min(0xfffc) - CHUNK_HEADER;
            self.buffer[self.used..end].fill(0);
            self.used = end;
        }
    }

    /// Writes the checksum, or leaves it out, and returns the packet's length.
    pub(crate) fn finish(self, summed: bool) -> usize {
        if self.overrun {
            return 0;
        }
        if summed {
            // The field is still zero, as the sum wants it.
            let sum = crc32c::crc32c(&self.buffer[..self.used]);
            self.buffer[8..HEADER].copy_from_slice(&sum.to_le_bytes());
        }
        self.used
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.used..self.used + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.overrun = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_can_be_read() {
        let header = Header { source: 5000, destination: 5001, tag: 0xdead_beef };
        let mut buffer = [0xff; 64];
        let mut writer = Writer::new(&mut buffer, header);
        writer.chunk(kind::COOKIE_ECHO, 0, &[b"ab", b"c"]);
        writer.chunk(kind::COOKIE_ACK, 1, &[]);
        let used = writer.finish(true);
        assert_eq!(used, HEADER + 8 + 4);
        assert_eq!(checked(&buffer[..used]), Checksum::Right);
        let (read, chunks) = parse(&buffer[..used]).unwrap();
        assert_eq!(read, header);
        let chunks: Vec<_> = chunks.map(|c| (c.kind(), c.flags(), c.value().to_vec())).collect();
        assert_eq!(chunks, [(kind::COOKIE_ECHO, 0, b"abc".to_vec()), (kind::COOKIE_ACK, 1, vec![])]);
        buffer[20] ^= 1;
        assert_eq!(checked(&buffer[..used]), Checksum::Wrong);
        buffer[8..12].fill(0);
        assert_eq!(checked(&buffer[..used]), Checksum::Zero);
    }

    #[test]
    fn too_small_a_buffer_gives_nothing() {
        let header = Header { source: 1, destination: 2, tag: 3 };
        for length in 0..HEADER + 8 {
            let mut buffer = vec![0; length];
            let mut writer = Writer::new(&mut buffer, header);
            writer.chunk(kind::INIT, 0, &[&[0; 4]]);
            assert_eq!(writer.finish(true), 0);
        }
    }

    #[test]
    fn padding_fills_a_packet() {
        let mut buffer = [0xff; 64];
        let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
        writer.chunk(kind::COOKIE_ACK, 0, &[]);
        writer.pad_to(60);
        assert_eq!(writer.finish(false), 60);
        let kinds: Vec<u8> = parse(&buffer[..60]).unwrap().1.map(|chunk| chunk.kind()).collect();
        assert_eq!(kinds, [kind::COOKIE_ACK, kind::PAD]);
        assert_eq!(checked(&buffer[..60]), Checksum::Zero);
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720 appendix B.4: 32 bytes of zeros.
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            checked(&bytes);
            if let Some((_, chunks)) = parse(&bytes) {
                for chunk in chunks {
                    prop_assert!(chunk.bytes.len() >= CHUNK_HEADER);
                    Parameters(chunk.value()).for_each(drop);
                }
            }
        }
    }
}
