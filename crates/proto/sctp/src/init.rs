//! What INIT and INIT ACK say about their sender (RFC 9260 §3.3.2, §3.3.3).

use crate::packet::{CHUNK_HEADER, Chunk, Parameters, kind, u16_at, u32_at};

const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
/// Reserved by RFC 9260 §3.3.2; RFC 4960, appendix A.
const ECN_CAPABLE: u16 = 0x8000;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
/// RFC 9653 §4, and its only method of error detection: DTLS.
const ZERO_CHECKSUM_ACCEPTABLE: u16 = 0x8001;
const DTLS: u32 = 1;
/// Bytes of the fields that are always there.
const FIXED: usize = 16;

/// One side's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Init {
    /// The verification tag of the packets that it wants to receive. Not 0.
    pub(crate) tag: u32,
    /// Its receive window, in bytes.
    pub(crate) window: u32,
    /// Streams that it wants to send on.
    pub(crate) outbound: u16,
    /// Streams that it accepts.
    pub(crate) inbound: u16,
    /// The sequence number of its first DATA chunk.
    pub(crate) tsn: u32,
    /// Whether it knows FORWARD-TSN (RFC 3758).
    pub(crate) partial: bool,
    /// Whether it knows RE-CONFIG (RFC 6525).
    pub(crate) reconfig: bool,
    /// Whether it knows I-DATA (RFC 8260).
    pub(crate) interleaving: bool,
    /// Whether it takes packets without a checksum (RFC 9653).
    pub(crate) unsummed: bool,
    /// Whether it tells of congestion marks (RFC 4960, appendix A).
    pub(crate) marks: bool,
}

impl Init {
    /// Reads the value of an INIT or INIT ACK chunk, and the state cookie if there is one.
    pub(crate) fn parse(value: &[u8]) -> Option<(Self, Option<&[u8]>)> {
        let mut init = Self {
            tag: u32_at(value, 0)?,
            window: u32_at(value, 4)?,
            outbound: u16_at(value, 8)?,
            inbound: u16_at(value, 10)?,
            tsn: u32_at(value, 12)?,
            partial: false,
            reconfig: false,
            interleaving: false,
            unsummed: false,
            marks: false,
        };
        if init.tag == 0 || init.outbound == 0 || init.inbound == 0 {
            return None;
        }
        let mut cookie = None;
        // Parameters that we do not know are skipped, whatever their upper bits say about reporting.
        for (parameter, value) in Parameters(value.get(FIXED..)?) {
            match parameter {
                STATE_COOKIE => cookie = Some(value),
                FORWARD_TSN_SUPPORTED => init.partial = true,
                SUPPORTED_EXTENSIONS => {
                    init.partial |= value.contains(&kind::FORWARD_TSN);
                    init.reconfig |= value.contains(&kind::RE_CONFIG);
                    init.interleaving |= value.contains(&kind::I_DATA);
                    // Without I-FORWARD-TSN, interleaving and partial reliability exclude each other (RFC 8260 §2.3.1).
                    init.interleaving &=
                        value.contains(&kind::I_FORWARD_TSN) || !value.contains(&kind::FORWARD_TSN);
                }
                ECN_CAPABLE => init.marks = true,
                ZERO_CHECKSUM_ACCEPTABLE => init.unsummed |= u32_at(value, 0) == Some(DTLS),
                _ => {}
            }
        }
        Some((init, cookie))
    }

    /// The value of the chunk that says this, with a state cookie if there is one.
    pub(crate) fn value(&self, cookie: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend(self.window.to_be_bytes());
        bytes.extend(self.outbound.to_be_bytes());
        bytes.extend(self.inbound.to_be_bytes());
        bytes.extend(self.tsn.to_be_bytes());
        let mut parameter = |kind: u16, value: &[u8]| {
            let length = 4 + value.len() as u16;
            // Padding goes between parameters, not after the last, which the chunk's own padding covers.
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend(value);
        };
        if let Some(cookie) = cookie {
            parameter(STATE_COOKIE, cookie);
        }
        if self.partial {
            parameter(FORWARD_TSN_SUPPORTED, &[]);
        }
        let extensions: Vec<u8> = [
            (self.reconfig, kind::RE_CONFIG),
            (self.partial, kind::FORWARD_TSN),
            (self.interleaving, kind::I_DATA),
            (self.interleaving && self.partial, kind::I_FORWARD_TSN),
        ]
        .into_iter()
        .filter_map(|(known, kind)| known.then_some(kind))
        .collect();
        if !extensions.is_empty() {
            parameter(SUPPORTED_EXTENSIONS, &extensions);
        }
        if self.marks {
            parameter(ECN_CAPABLE, &[]);
        }
        if self.unsummed {
            parameter(ZERO_CHECKSUM_ACCEPTABLE, &DTLS.to_be_bytes());
        }
        bytes
    }

    /// The whole INIT chunk, as SNAP has it in descriptions.
    pub(crate) fn chunk(&self) -> Vec<u8> {
        let value = self.value(None);
        let length = (CHUNK_HEADER + value.len()) as u16;
        [&[kind::INIT, 0][..], &length.to_be_bytes(), &value].concat()
    }

    /// Reads a whole INIT chunk.
    pub(crate) fn parse_chunk(bytes: &[u8]) -> Option<Self> {
        let length = usize::from(u16_at(bytes, 2)?);
        // Whether its own padding follows is left to the sender.
        let padding = bytes.len().checked_sub(length)?;
        if bytes[0] != kind::INIT || length < CHUNK_HEADER || padding > 3 {
            return None;
        }
        Self::parse(Chunk { bytes: &bytes[..length] }.value()).map(|(init, _)| init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terms_survive_print_and_parse() {
        let init = Init {
            tag: 1,
            window: 1 << 20,
            outbound: 65535,
            inbound: 1024,
            tsn: 0xffff_ffff,
            partial: true,
            reconfig: true,
            interleaving: true,
            unsummed: true,
            marks: true,
        };
        for (cookie, partial) in [(None, true), (Some(&b"12345"[..]), false)] {
            for interleaving in [true, false] {
                let init = Init {
                    partial,
                    interleaving,
                    unsummed: partial ^ interleaving,
                    marks: interleaving,
                    ..init
                };
                assert_eq!(Init::parse(&init.value(cookie)), Some((init, cookie)));
                assert_eq!(Init::parse_chunk(&init.chunk()), Some(init));
            }
        }
    }

    #[test]
    fn terms_without_a_tag_or_streams_are_refused() {
        let good = Init {
            tag: 1,
            window: 1,
            outbound: 1,
            inbound: 1,
            tsn: 0,
            partial: false,
            reconfig: false,
            interleaving: false,
            unsummed: false,
            marks: false,
        };
        assert!(Init::parse(&good.value(None)).is_some());
        for bad in [Init { tag: 0, ..good }, Init { outbound: 0, ..good }, Init { inbound: 0, ..good }] {
            assert_eq!(Init::parse(&bad.value(None)), None);
        }
        assert_eq!(Init::parse(&good.value(None)[..15]), None);
    }

    #[test]
    fn the_example_of_the_snap_draft_is_understood() {
        let bytes = [
            1, 0, 0, 0x1e, 0x89, 0x6c, 0xdd, 0x1d, 0, 0x50, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xe0, 0x79, 0x65,
            0x1d, 0xc0, 0, 0, 4, 0x80, 8, 0, 6, 0x82, 0xc0,
        ];
        let init = Init::parse_chunk(&bytes).unwrap();
        assert_eq!((init.tag, init.window, init.tsn), (0x896c_dd1d, 5 << 20, 0xe079_651d));
        assert!(init.partial && init.reconfig && !init.interleaving && !init.unsummed);
        assert_eq!(Init::parse_chunk(&[&bytes[..], &[0, 0]].concat()), Some(init), "padded");
        for bad in [&bytes[..29], &bytes[1..], &[], &[&bytes[..], &[0; 4]].concat()] {
            assert_eq!(Init::parse_chunk(bad), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            Init::parse(&bytes);
            Init::parse_chunk(&bytes);
        }
    }
}
