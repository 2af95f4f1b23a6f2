//! What INIT and INIT ACK say about their sender (RFC 9260 §3.3.2, §3.3.3).

use crate::packet::{Parameters, kind, u16_at, u32_at};

const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
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
                }
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
        let extensions: Vec<u8> = [(self.reconfig, kind::RE_CONFIG), (self.partial, kind::FORWARD_TSN)]
            .into_iter()
            .filter_map(|(known, kind)| known.then_some(kind))
            .collect();
        if !extensions.is_empty() {
            parameter(SUPPORTED_EXTENSIONS, &extensions);
        }
        bytes
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
        };
        for (cookie, partial) in [(None, true), (Some(&b"12345"[..]), false)] {
            let init = Init { partial, ..init };
            assert_eq!(Init::parse(&init.value(cookie)), Some((init, cookie)));
        }
    }

    #[test]
    fn terms_without_a_tag_or_streams_are_refused() {
        let good =
            Init { tag: 1, window: 1, outbound: 1, inbound: 1, tsn: 0, partial: false, reconfig: false };
        assert!(Init::parse(&good.value(None)).is_some());
        for bad in [Init { tag: 0, ..good }, Init { outbound: 0, ..good }, Init { inbound: 0, ..good }] {
            assert_eq!(Init::parse(&bad.value(None)), None);
        }
        assert_eq!(Init::parse(&good.value(None)[..15]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            Init::parse(&bytes);
        }
    }
}
