//! The chunks that carry data and say what arrived (RFC 9260 §3.3.1, §3.3.4, RFC 8260 §2, RFC 3758 §3.2), read where they
//! lie. Those of the handshake are in `init.rs`, those of stream resets in `reconfig.rs`.

use crate::packet::{Chunk, Writer, kind, u16_at, u32_at};

/// The flags of DATA and I-DATA.
pub(crate) mod flag {
    /// The last fragment of a message.
    pub(crate) const END: u8 = 1;
    /// The first fragment of a message.
    pub(crate) const BEGIN: u8 = 2;
    pub(crate) const UNORDERED: u8 = 4;
    /// Asks for a SACK at once (RFC 7053).
    pub(crate) const IMMEDIATELY: u8 = 8;
}

/// Bytes of a DATA chunk before its payload.
pub(crate) const DATA_HEADER: usize = 16;
/// Bytes of an I-DATA chunk before its payload.
pub(crate) const I_DATA_HEADER: usize = 20;
/// Bytes of a SACK chunk without gap blocks.
pub(crate) const SACK_HEADER: usize = 16;
/// Duplicates that a SACK reports at most.
pub(crate) const DUPLICATES: usize = 16;

/// DATA or I-DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    pub(crate) flags: u8,
    pub(crate) tsn: u32,
    pub(crate) stream: u16,
    /// Stream sequence number of DATA, message identifier of I-DATA.
    pub(crate) message: u32,
    /// Of DATA in each fragment, of I-DATA in the first.
    pub(crate) protocol: u32,
    /// Fragment sequence number of I-DATA.
    pub(crate) fragment: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Data<'a> {
    /// `None` if it is too short. The payload may be empty, which is a violation.
    pub(crate) fn parse(chunk: Chunk<'a>) -> Option<Self> {
        let (bytes, flags) = (chunk.bytes, chunk.flags());
        let (tsn, stream) = (u32_at(bytes, 4)?, u16_at(bytes, 8)?);
        if chunk.kind() == kind::DATA {
            let (message, protocol) = (u16_at(bytes, 10)?.into(), u32_at(bytes, 12)?);
            let payload = &bytes[DATA_HEADER..];
            return Some(Self { flags, tsn, stream, message, protocol, fragment: 0, payload });
        }
        let (message, last) = (u32_at(bytes, 12)?, u32_at(bytes, 16)?);
        // One field for both: the first fragment has number 0.
        let (protocol, fragment) = if flags & flag::BEGIN != 0 { (last, 0) } else { (0, last) };
        Some(Self { flags, tsn, stream, message, protocol, fragment, payload: &bytes[I_DATA_HEADER..] })
    }

    /// Bytes before the payload.
    pub(crate) const fn header(interleaved: bool) -> usize {
        if interleaved { I_DATA_HEADER } else { DATA_HEADER }
    }

    pub(crate) fn write(&self, interleaved: bool, writer: &mut Writer<'_>) {
        let (tsn, stream) = (self.tsn.to_be_bytes(), self.stream.to_be_bytes());
        let mut fields = [0; I_DATA_HEADER - 4];
        fields[..4].copy_from_slice(&tsn);
        fields[4..6].copy_from_slice(&stream);
        if interleaved {
            let last = if self.flags & flag::BEGIN != 0 { self.protocol } else { self.fragment };
            fields[8..12].copy_from_slice(&self.message.to_be_bytes());
            fields[12..16].copy_from_slice(&last.to_be_bytes());
            writer.chunk(kind::I_DATA, self.flags, &[&fields, self.payload]);
        } else {
            fields[6..8].copy_from_slice(&(self.message as u16).to_be_bytes());
            fields[8..12].copy_from_slice(&self.protocol.to_be_bytes());
            writer.chunk(kind::DATA, self.flags, &[&fields[..DATA_HEADER - 4], self.payload]);
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What the other side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sack<'a> {
    /// All up to this number.
    pub(crate) cumulative: u32,
    /// Bytes that it can take.
    pub(crate) window: u32,
    gaps: &'a [u8],
    /// How many numbers came more than once.
    pub(crate) duplicates: u16,
}

impl<'a> Sack<'a> {
    /// `None` if it is shorter than its counts say.
    pub(crate) fn parse(chunk: Chunk<'a>) -> Option<Self> {
        let bytes = chunk.bytes;
        let (cumulative, window) = (u32_at(bytes, 4)?, u32_at(bytes, 8)?);
        let (gaps, duplicates) = (u16_at(bytes, 12)?, u16_at(bytes, 14)?);
        let end = SACK_HEADER + 4 * usize::from(gaps);
        if bytes.len() < end + 4 * usize::from(duplicates) {
            return None;
        }
        Some(Self { cumulative, window, gaps: &bytes[SACK_HEADER..end], duplicates })
    }

    /// First and last of each block, as distances from the cumulative number.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let (blocks, _) = self.gaps.as_chunks::<4>();
        blocks.iter().map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
    }
}

/// What the other side has given up (RFC 3758 §3.2, RFC 8260 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward<'a> {
    /// Everything up to this number counts as received.
    pub(crate) cumulative: u32,
    entries: &'a [u8],
    interleaved: bool,
}

/// The last message of a stream that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skipped {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    pub(crate) message: u32,
}

impl<'a> Forward<'a> {
    pub(crate) fn parse(chunk: Chunk<'a>) -> Option<Self> {
        let (cumulative, entries) = (u32_at(chunk.bytes, 4)?, &chunk.bytes[8..]);
        Some(Self { cumulative, entries, interleaved: chunk.kind() == kind::I_FORWARD_TSN })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Skipped> + use<'a> {
        let (entries, interleaved) = (self.entries, self.interleaved);
        entries.chunks_exact(Self::entry(interleaved)).filter_map(move |entry| {
            let stream = u16_at(entry, 0)?;
            Some(match interleaved {
                true => Skipped { stream, unordered: entry[3] & 1 != 0, message: u32_at(entry, 4)? },
                false => Skipped { stream, unordered: false, message: u16_at(entry, 2)?.into() },
            })
        })
    }

    /// Bytes of an entry.
    pub(crate) const fn entry(interleaved: bool) -> usize {
        if interleaved { 8 } else { 4 }
    }

    pub(crate) fn write(
        cumulative: u32,
        interleaved: bool,
        skipped: impl Iterator<Item = Skipped>,
        writer: &mut Writer<'_>,
    ) {
        let mut entries = Vec::new();
        for entry in skipped {
            entries.extend(entry.stream.to_be_bytes());
            if interleaved {
                entries.extend([0, entry.unordered.into()]);
                entries.extend(entry.message.to_be_bytes());
            } else {
                entries.extend((entry.message as u16).to_be_bytes());
            }
        }
        let kind = if interleaved { kind::I_FORWARD_TSN } else { kind::FORWARD_TSN };
        writer.chunk(kind, 0, &[&cumulative.to_be_bytes(), &entries]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Header, parse};
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = vec![0; 2000];
        let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
        write(&mut writer);
        let used = writer.finish(true);
        buffer.truncate(used);
        buffer
    }

    #[test]
    fn data_survives_print_and_parse() {
        for (interleaved, flags) in [(false, 3), (false, 4), (true, 3), (true, 12)] {
            let first = flags & flag::BEGIN != 0;
            let data = Data {
                flags,
                tsn: 0xffff_fffe,
                stream: 7,
                message: if interleaved { 0x1_0001 } else { 0xffff },
                protocol: if first || !interleaved { 51 } else { 0 },
                fragment: if first || !interleaved { 0 } else { 9 },
                payload: b"hello",
            };
            let packet = written(|writer| data.write(interleaved, writer));
            assert_eq!(packet.len() % 4, 0);
            let chunk = parse(&packet).unwrap().1.next().unwrap();
            assert_eq!(chunk.bytes.len(), Data::header(interleaved) + 5);
            assert_eq!(Data::parse(chunk), Some(data));
        }
    }

    #[test]
    fn forward_survives_print_and_parse() {
        for interleaved in [false, true] {
            let skipped = [(1, false, 5), (9, interleaved, 0xfffe)]
                .map(|(stream, unordered, message)| Skipped { stream, unordered, message });
            let packet = written(|writer| Forward::write(77, interleaved, skipped.into_iter(), writer));
            let forward = Forward::parse(parse(&packet).unwrap().1.next().unwrap()).unwrap();
            assert_eq!(forward.cumulative, 77);
            assert_eq!(forward.entries().collect::<Vec<_>>(), skipped);
        }
    }

    #[test]
    fn a_sack_that_promises_more_blocks_than_it_has_is_refused() {
        let mut bytes = [3, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 2, 0, 3];
        let sack = Sack::parse(Chunk { bytes: &bytes }).unwrap();
        assert_eq!((sack.cumulative, sack.window, sack.gaps().collect::<Vec<_>>()), (1, 2, vec![(2, 3)]));
        bytes[15] = 1;
        assert_eq!(Sack::parse(Chunk { bytes: &bytes }), None);
        bytes[13] = 2;
        assert_eq!(Sack::parse(Chunk { bytes: &bytes }), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in prop::sample::select(vec![0u8, 3, 64, 192, 194]), rest in prop::collection::vec(any::<u8>(), 3..60)) {
            let bytes = [&[kind][..], &rest].concat();
            let chunk = Chunk { bytes: &bytes };
            Data::parse(chunk);
            if let Some(sack) = Sack::parse(chunk) { sack.gaps().for_each(drop); }
            if let Some(forward) = Forward::parse(chunk) { forward.entries().for_each(drop); }
        }
    }
}
