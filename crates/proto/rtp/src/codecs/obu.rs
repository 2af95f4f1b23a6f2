use crate::fields::Fields;

/// Types of units that matter here (AV1 bitstream specification §6.2.2).
pub(super) mod kind {
    pub(crate) const SEQUENCE_HEADER: u8 = 1;
    pub(crate) const TEMPORAL_DELIMITER: u8 = 2;
    pub(crate) const TILE_LIST: u8 = 8;
}

const HAS_SIZE: u8 = 0x02;
const EXTENDED: u8 = 0x04;

/// A unit of AV1, without the size that it may say (AV1 bitstream specification §5.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Obu<'a> {
    /// One byte, and one more for its layers; the size is said not to be there.
    header: [u8; 2],
    header_bytes: usize,
    pub(super) payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// The next unit. One that does not say its size is all that is left.
    pub(super) fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let first = fields.u8()?;
        let extended = first & EXTENDED != 0;
        let header = [first & !HAS_SIZE, if extended { fields.u8()? } else { 0 }];
        let length = if first & HAS_SIZE != 0 { read_size(fields)? } else { fields.0.len() };
        let payload = fields.bytes(length)?;
        // The first bit is forbidden.
        (first & 0x80 == 0).then_some(Self { header, header_bytes: 1 + usize::from(extended), payload })
    }

    pub(super) fn kind(&self) -> u8 {
        self.header[0] >> 3 & 0xf
    }

    /// The bytes before the payload.
    pub(super) fn header(&self) -> &[u8] {
        &self.header[..self.header_bytes]
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.header_bytes + self.payload.len()
    }

    /// The layers in time and in space.
    pub(super) fn layers(&self) -> Option<(u8, u8)> {
        (self.header_bytes > 1).then_some((self.header[1] >> 5, self.header[1] >> 3 & 3))
    }

    /// Whether it means nothing in a packet (AV1 RTP payload format §5).
    pub(super) fn is_dropped(&self) -> bool {
        matches!(self.kind(), kind::TEMPORAL_DELIMITER | kind::TILE_LIST)
    }

    /// Appends it, with its size.
    pub(super) fn append(&self, frame: &mut Vec<u8>) {
        frame.push(self.header[0] | HAS_SIZE);
        frame.extend_from_slice(&self.header()[1..]);
        let (size, bytes) = size(self.payload.len());
        frame.extend_from_slice(&size[..bytes]);
        frame.extend_from_slice(self.payload);
    }
}

/// A number in groups of 7 bits, the lowest first (`leb128`, AV1 bitstream specification §4.10.5).
pub(super) fn read_size(fields: &mut Fields<'_>) -> Option<usize> {
    let mut size = 0;
    for group in 0..8 {
        let byte = fields.u8()?;
        size |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return u32::try_from(size).ok().map(|size| size as usize);
        }
    }
    None
}

/// The same, written: its bytes, and how many they are.
pub(super) fn size(mut number: usize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut at = 0;
    loop {
        bytes[at] = (number & 0x7f) as u8;
        number >>= 7;
        at += 1;
        if number == 0 {
            return (bytes, at);
        }
        bytes[at - 1] |= 0x80;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_there_and_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX as usize] {
            let (bytes, used) = size(number);
            assert_eq!(read_size(&mut Fields(&bytes[..used])), Some(number));
            assert_eq!(read_size(&mut Fields(&bytes[..used - 1])), None);
        }
        assert_eq!(read_size(&mut Fields(&[0xff; 9])), None);
        assert_eq!(read_size(&mut Fields(&[0xff, 0xff, 0xff, 0xff, 0x1f])), None);
    }
}
