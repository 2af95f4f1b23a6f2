//! The parameters of RE-CONFIG chunks (RFC 6525 §4), read where they lie.

use crate::packet::{Chunk, Parameters, Writer, kind, u32_at};

const OUTGOING_RESET: u16 = 13;
/// The other requests: to reset incoming streams, all streams, and to add streams.
const OTHERS: std::ops::RangeInclusive<u16> = 14..=18;
const RESPONSE: u16 = 16;
/// Bytes of a request to reset streams, with the chunk around it, before the streams.
pub(crate) const REQUEST_HEADER: usize = 4 + 16;
/// Bytes of a chunk with a response.
pub(crate) const RESPONSE_CHUNK: usize = 4 + 12;

/// How a request ended (RFC 6525 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) u32);

impl Outcome {
    pub(crate) const PERFORMED: Self = Self(1);
    pub(crate) const DENIED: Self = Self(2);
    pub(crate) const BUSY: Self = Self(4);
    pub(crate) const BAD_NUMBER: Self = Self(5);
    pub(crate) const IN_PROGRESS: Self = Self(6);
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter<'a> {
    /// The sender begins anew on these streams, or on all if there are none, once everything up to `last` has come.
    Reset {
        number: u32,
        last: u32,
        streams: Streams<'a>,
    },
    /// Something else is asked for.
    Other {
        number: u32,
    },
    Response {
        number: u32,
        outcome: Outcome,
    },
}

/// Stream numbers as they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams<'a>(&'a [u8]);

impl Streams<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        let (pairs, _) = self.0.as_chunks::<2>();
        pairs.iter().map(|pair| u16::from_be_bytes(*pair))
    }
}

/// The parameters of a chunk. What is too short is left out.
pub(crate) fn parameters(chunk: Chunk<'_>) -> impl Iterator<Item = Parameter<'_>> {
    Parameters(chunk.value()).filter_map(|(kind, value)| match kind {
        OUTGOING_RESET => Some(Parameter::Reset {
            number: u32_at(value, 0)?,
            last: u32_at(value, 8)?,
            streams: Streams(&value[12..]),
        }),
        RESPONSE => {
            Some(Parameter::Response { number: u32_at(value, 0)?, outcome: Outcome(u32_at(value, 4)?) })
        }
        kind if OTHERS.contains(&kind) => Some(Parameter::Other { number: u32_at(value, 0)? }),
        _ => None,
    })
}

/// Writes a request to reset streams. `seen` is the peer's last request that was answered.
pub(crate) fn write_reset(number: u32, seen: u32, last: u32, streams: &[u16], writer: &mut Writer<'_>) {
    let mut value = Vec::with_capacity(16 + 2 * streams.len());
    let length = (16 + 2 * streams.len()) as u16;
    value.extend(OUTGOING_RESET.to_be_bytes());
    value.extend(length.to_be_bytes());
    [number, seen, last].iter().for_each(|field| value.extend(field.to_be_bytes()));
    streams.iter().for_each(|stream| value.extend(stream.to_be_bytes()));
    writer.chunk(kind::RE_CONFIG, 0, &[&value]);
}

/// Writes a response.
pub(crate) fn write_response(number: u32, outcome: Outcome, writer: &mut Writer<'_>) {
    let header = [RESPONSE.to_be_bytes(), 12u16.to_be_bytes()].concat();
    writer.chunk(kind::RE_CONFIG, 0, &[&header, &number.to_be_bytes(), &outcome.0.to_be_bytes()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Header, parse, u16_at};
    use proptest::prelude::*;

    #[test]
    fn requests_and_responses_survive_print_and_parse() {
        let mut buffer = [0; 100];
        let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
        write_reset(7, 6, 5, &[1, 2, 65_534], &mut writer);
        write_response(9, Outcome::IN_PROGRESS, &mut writer);
        let used = writer.finish(true);
        let mut chunks = parse(&buffer[..used]).unwrap().1;
        let chunk = chunks.next().unwrap();
        assert_eq!(u16_at(chunk.bytes, 4), Some(OUTGOING_RESET));
        let Some(Parameter::Reset { number: 7, last: 5, streams }) = parameters(chunk).next() else {
            panic!()
        };
        assert_eq!(streams.iter().collect::<Vec<_>>(), [1, 2, 65_534]);
        let response = parameters(chunks.next().unwrap()).next();
        assert_eq!(response, Some(Parameter::Response { number: 9, outcome: Outcome::IN_PROGRESS }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 4..80)) {
            parameters(Chunk { bytes: &bytes }).for_each(drop);
        }
    }
}
