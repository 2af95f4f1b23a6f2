//! H.264 (RFC 6184), in the modes that WebRTC has: single units, aggregations (STAP-A) and fragments (FU-A).

use crate::codecs::packetizer::{Emit, PacketizeError};
use crate::codecs::split::split;
use crate::codecs::{PayloadInfo, nal, truncated};
use crate::error::{ParseError, ParseErrorKind};

/// Types of units (RFC 6184 §5.2, table 1).
mod kind {
    pub(super) const IDR: u8 = 5;
    pub(super) const SEQUENCE_PARAMETERS: u8 = 7;
    pub(super) const AGGREGATION: u8 = 24;
    pub(super) const FRAGMENT: u8 = 28;
}

/// What a payload is (RFC 6184 §5.2).
enum Payload<'a> {
    Unit(&'a [u8]),
    Units(Vec<&'a [u8]>),
    /// The unit's header, whether it starts and ends here, and a piece of it.
    Fragment(u8, bool, bool, &'a [u8]),
}

fn payload(bytes: &[u8]) -> Result<Payload<'_>, ParseError> {
    let first = truncated(bytes, bytes.first())?;
    match first & 0x1f {
        1..24 => Ok(Payload::Unit(bytes)),
        kind::AGGREGATION => truncated(bytes, nal::aggregated(&bytes[1..])).map(Payload::Units),
        kind::FRAGMENT => {
            let [indicator, header, ref piece @ ..] = *bytes else {
                return Err(ParseErrorKind::Truncated.at(bytes.len()));
            };
            let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
            // RFC 6184 §5.8: a unit that starts and ends in one packet must not be a fragment.
            if start && end || piece.is_empty() {
                return Err(ParseErrorKind::Value.at(1));
            }
            Ok(Payload::Fragment(indicator & 0xe0 | header & 0x1f, start, end, piece))
        }
        _ => Err(ParseErrorKind::Value.at(0)),
    }
}

/// Whether a decoder can begin with this unit: a picture that needs no other, or the parameters before it.
fn begins(unit: u8) -> bool {
    matches!(unit & 0x1f, kind::IDR | kind::SEQUENCE_PARAMETERS)
}

pub(super) fn inspect(bytes: &[u8]) -> Result<PayloadInfo, ParseError> {
    let (starts, key_frame) = match payload(bytes)? {
        Payload::Unit(unit) => (true, begins(unit[0])),
        Payload::Units(units) => (true, units.iter().any(|unit| begins(unit[0]))),
        Payload::Fragment(header, start, ..) => (start, start && begins(header)),
    };
    Ok(PayloadInfo { starts, key_frame, ..PayloadInfo::default() })
}

pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let mut fragment = None;
    for bytes in payloads {
        match (payload(bytes)?, fragment) {
            (Payload::Unit(unit), None) => nal::append(frame, unit),
            (Payload::Units(units), None) => units.iter().for_each(|unit| nal::append(frame, unit)),
            (Payload::Fragment(header, true, _, piece), None) => {
                nal::append(frame, &[header]);
                frame.extend_from_slice(piece);
                fragment = Some(header);
            }
            (Payload::Fragment(header, false, end, piece), Some(begun)) if header & 0x1f == begun & 0x1f => {
                frame.extend_from_slice(piece);
                fragment = fragment.filter(|_| !end);
            }
            _ => return Err(ParseErrorKind::Value.at(0)),
        }
    }
    if fragment.is_some() { Err(ParseErrorKind::Truncated.at(0)) } else { Ok(()) }
}

pub(super) fn packetize(frame: &[u8], max: usize, emit: &mut Emit<'_>) -> Result<(), PacketizeError> {
    let units: Vec<&[u8]> = nal::units(frame).collect();
    // What is no unit cannot be one in a packet either: those types mean other things there.
    if units.is_empty() || units.iter().any(|unit| !(1..24).contains(&(unit[0] & 0x1f))) {
        return Err(PacketizeError::Malformed);
    }
    let mut rest = &units[..];
    while let Some(unit) = rest.first() {
        let together = nal::fitting(rest, 1, max);
        let last = together == rest.len();
        if together > 1 {
            // RFC 6184 §5.7: the header has the highest importance of its units, and F if one has it.
            let important = rest[..together].iter().map(|unit| unit[0] & 0x60).max().unwrap_or(0);
            let forbidden = rest[..together].iter().fold(0, |all, unit| all | unit[0] & 0x80);
            nal::aggregate(&[forbidden | important | kind::AGGREGATION], &rest[..together], last, emit);
        } else if unit.len() <= max {
            emit(&[unit], last);
        } else {
            fragments(unit, max, last, emit);
        }
        rest = &rest[together..];
    }
    Ok(())
}

/// RFC 6184 §5.8: the unit's own header goes into those of its fragments.
fn fragments(unit: &[u8], max: usize, last: bool, emit: &mut Emit<'_>) {
    let pieces = split(&unit[1..], max - 2);
    let end = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let position = if at == 0 { 0x80 } else { 0 } | if at == end { 0x40 } else { 0 };
        let header = [unit[0] & 0xe0 | kind::FRAGMENT, position | unit[0] & 0x1f];
        emit(&[&header, piece], last && at == end);
    }
}
