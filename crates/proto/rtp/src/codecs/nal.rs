use crate::codecs::PayloadInfo;
use crate::codecs::packetizer::Emit;
use crate::codecs::split::split;
use crate::error::{ParseError, ParseErrorKind};

/// What a payload of H.264 or H.265 is.
pub(super) enum Payload<'a> {
    /// A unit.
    Unit(&'a [u8]),
    /// Several.
    Units(Vec<&'a [u8]>),
    /// A piece of one.
    Fragment(Fragment<'a>),
}

/// A piece of a unit.
pub(super) struct Fragment<'a> {
    /// The unit's own header: a byte with H.264, two with H.265.
    header: [u8; 2],
    header_bytes: usize,
    start: bool,
    end: bool,
    piece: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// With the byte that says where in the unit it is, and what follows it.
    pub(super) fn read(header: &[u8], position: u8, piece: &'a [u8]) -> Result<Self, ParseError> {
        let (start, end) = (position & 0x80 != 0, position & 0x40 != 0);
        // RFC 6184 §5.8, RFC 7798 §4.4.3: a unit that starts and ends in one packet must not be a fragment.
        if start && end || piece.is_empty() {
            return Err(ParseErrorKind::Value.at(header.len()));
        }
        let mut own = [0; 2];
        own[..header.len()].copy_from_slice(header);
        Ok(Self { header: own, header_bytes: header.len(), start, end, piece })
    }
}

impl Payload<'_> {
    /// What it is part of; `begins` says of the first byte of a unit whether a decoder can begin with it.
    pub(super) fn info(&self, begins: fn(u8) -> bool) -> PayloadInfo {
        let (starts, key_frame) = match self {
            Self::Unit(unit) => (true, begins(unit[0])),
            Self::Units(units) => (true, units.iter().any(|unit| begins(unit[0]))),
            Self::Fragment(fragment) => (fragment.start, fragment.start && begins(fragment.header[0])),
        };
        PayloadInfo { starts, key_frame, ..PayloadInfo::default() }
    }
}

/// Puts units together, each behind a start code.
pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    read: impl Fn(&[u8]) -> Result<Payload<'_>, ParseError>,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let mut begun = None;
    for bytes in payloads {
        match (read(bytes)?, begun) {
            (Payload::Unit(unit), None) => append(frame, unit),
            (Payload::Units(units), None) => units.iter().for_each(|unit| append(frame, unit)),
            (Payload::Fragment(Fragment { header, header_bytes, start: true, piece, .. }), None) => {
                append(frame, &header[..header_bytes]);
                frame.extend_from_slice(piece);
                begun = Some(header);
            }
            (Payload::Fragment(next), Some(header)) if !next.start && next.header == header => {
                frame.extend_from_slice(next.piece);
                begun = begun.filter(|_| !next.end);
            }
            _ => return Err(ParseErrorKind::Value.at(0)),
        }
    }
    if begun.is_some() { Err(ParseErrorKind::Truncated.at(0)) } else { Ok(()) }
}

/// Hands over a unit, cut if it has to be: `header` makes what stands before each piece out of where it is.
pub(super) fn emit_unit<const N: usize>(
    unit: &[u8],
    own: usize,
    max: usize,
    last: bool,
    header: impl Fn(u8) -> [u8; N],
    emit: &mut Emit<'_>,
) {
    if unit.len() <= max {
        return emit(&[unit], last);
    }
    let pieces = split(&unit[own..], max - N);
    let end = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let position = if at == 0 { 0x80 } else { 0 } | if at == end { 0x40 } else { 0 };
        emit(&[&header(position), piece], last && at == end);
    }
}

/// What stands before each unit in a frame (H.264 annex B, H.265 annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The units of a frame with start codes of 3 or 4 bytes, without those, and without zeros at their ends.
pub(super) fn units(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(frame);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let code = bytes.windows(3).position(|window| window == [0, 0, 1]);
        rest = code.map(|at| &bytes[at + 3..]);
        let unit = &bytes[..code.unwrap_or(bytes.len())];
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..end])
    })
    .filter(|unit| !unit.is_empty())
}

fn after_start_code(frame: &[u8]) -> Option<&[u8]> {
    let at = frame.windows(3).position(|window| window == [0, 0, 1])?;
    Some(&frame[at + 3..])
}

/// The units of an aggregation: each behind its length, of 16 bits. `None` if they do not fit.
pub(super) fn aggregated(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (unit, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        if unit.is_empty() {
            return None;
        }
        units.push(unit);
        bytes = rest;
    }
    (!units.is_empty()).then_some(units)
}

/// How many of the units, from the first on, an aggregation of at most `max` bytes with a header takes: 1 is none.
pub(super) fn fitting(units: &[&[u8]], header: usize, max: usize) -> usize {
    let mut used = header;
    let fitting = units.iter().take_while(|unit| {
        used += 2 + unit.len();
        used <= max
    });
    fitting.count().max(1)
}

/// The parts of an aggregation: its header, and each unit behind its length.
pub(super) fn aggregate(header: &[u8], units: &[&[u8]], last: bool, emit: &mut Emit<'_>) {
    let lengths: Vec<[u8; 2]> = units.iter().map(|unit| (unit.len() as u16).to_be_bytes()).collect();
    let units = lengths.iter().zip(units).flat_map(|(length, unit)| [&length[..], unit]);
    let parts: Vec<&[u8]> = std::iter::once(header).chain(units).collect();
    emit(&parts, last);
}

/// Appends a unit to a frame.
fn append(frame: &mut Vec<u8>, unit: &[u8]) {
    frame.extend_from_slice(&START_CODE);
    frame.extend_from_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_stand_between_start_codes() {
        let list = |frame: &[u8]| units(frame).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(list(&[0, 0, 0, 1, 7, 0, 0, 1, 8, 0, 0, 0, 0, 1, 5, 9]), [vec![7], vec![8], vec![5, 9]]);
        assert_eq!(list(&[0, 0, 1, 0, 0, 1, 6]), [vec![6]]);
        assert_eq!(list(&[1, 2, 3]), Vec::<Vec<u8>>::new());
        assert_eq!(list(&[]), Vec::<Vec<u8>>::new());
    }
}
