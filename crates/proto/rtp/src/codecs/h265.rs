//! H.265 (RFC 7798), without decoding order numbers: single units, aggregations and fragments.

use crate::codecs::packetizer::{Emit, PacketizeError};
use crate::codecs::split::split;
use crate::codecs::{PayloadInfo, nal, truncated};
use crate::error::{ParseError, ParseErrorKind};

/// Types of units (RFC 7798 §1.1.4, §4.4).
mod kind {
    pub(super) const AGGREGATION: u8 = 48;
    pub(super) const FRAGMENT: u8 = 49;
}

/// What a payload is (RFC 7798 §4.4).
enum Payload<'a> {
    Unit(&'a [u8]),
    Units(Vec<&'a [u8]>),
    /// The unit's header, whether it starts and ends here, and a piece of it.
    Fragment([u8; 2], bool, bool, &'a [u8]),
}

fn kind_of(first: u8) -> u8 {
    first >> 1 & 0x3f
}

fn payload(bytes: &[u8]) -> Result<Payload<'_>, ParseError> {
    let [first, second, ref rest @ ..] = *bytes else {
        return Err(ParseErrorKind::Truncated.at(bytes.len()));
    };
    match kind_of(first) {
        0..48 => Ok(Payload::Unit(bytes)),
        kind::AGGREGATION => {
            let units = nal::aggregated(rest).filter(|units| units.iter().all(|unit| unit.len() > 1));
            truncated(bytes, units).map(Payload::Units)
        }
        kind::FRAGMENT => {
            let [header, ref piece @ ..] = *rest else { return Err(ParseErrorKind::Truncated.at(2)) };
            let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
            // RFC 7798 §4.4.3: a unit that starts and ends in one packet must not be a fragment.
            if start && end || piece.is_empty() {
                return Err(ParseErrorKind::Value.at(2));
            }
            let own = [first & 0x81 | (header & 0x3f) << 1, second];
            Ok(Payload::Fragment(own, start, end, piece))
        }
        _ => Err(ParseErrorKind::Value.at(0)),
    }
}

/// Whether a decoder can begin with this unit: a picture that needs no other (16 to 21), or the parameters before it
/// (32 to 34).
fn begins(first: u8) -> bool {
    matches!(kind_of(first), 16..22 | 32..35)
}

pub(super) fn inspect(bytes: &[u8]) -> Result<PayloadInfo, ParseError> {
    let (starts, key_frame) = match payload(bytes)? {
        Payload::Unit(unit) => (true, begins(unit[0])),
        Payload::Units(units) => (true, units.iter().any(|unit| begins(unit[0]))),
        Payload::Fragment(header, start, ..) => (start, start && begins(header[0])),
    };
    // RFC 7798 §1.1.4: a temporal identifier of 0 is forbidden, so that it says one more.
    let temporal_layer = (bytes[1] & 7).checked_sub(1);
    Ok(PayloadInfo { starts, key_frame, temporal_layer, ..PayloadInfo::default() })
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
                nal::append(frame, &header);
                frame.extend_from_slice(piece);
                fragment = Some(header);
            }
            (Payload::Fragment(header, false, end, piece), Some(begun))
                if kind_of(header[0]) == kind_of(begun[0]) =>
            {
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
    if units.is_empty() || units.iter().any(|unit| unit.len() < 2 || kind_of(unit[0]) >= kind::AGGREGATION) {
        return Err(PacketizeError::Malformed);
    }
    let mut rest = &units[..];
    while let Some(unit) = rest.first() {
        let together = nal::fitting(rest, 2, max);
        let last = together == rest.len();
        if together > 1 {
            nal::aggregate(&aggregation(&rest[..together]), &rest[..together], last, emit);
        } else if unit.len() <= max {
            emit(&[unit], last);
        } else {
            fragments(unit, max, last, emit);
        }
        rest = &rest[together..];
    }
    Ok(())
}

/// RFC 7798 §4.4.2: the lowest layer and temporal identifier of all, and F if one has it.
fn aggregation(units: &[&[u8]]) -> [u8; 2] {
    let layer = |unit: &&[u8]| (unit[0] & 1) << 5 | unit[1] >> 3;
    let layer = units.iter().map(layer).min().unwrap_or(0);
    let temporal = units.iter().map(|unit| unit[1] & 7).min().unwrap_or(1);
    let forbidden = units.iter().fold(0, |all, unit| all | unit[0] & 0x80);
    [forbidden | kind::AGGREGATION << 1 | layer >> 5, layer << 3 | temporal]
}

/// RFC 7798 §4.4.3: the unit's own header goes into those of its fragments.
fn fragments(unit: &[u8], max: usize, last: bool, emit: &mut Emit<'_>) {
    let pieces = split(&unit[2..], max - 3);
    let end = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let position = if at == 0 { 0x80 } else { 0 } | if at == end { 0x40 } else { 0 };
        let header = [unit[0] & 0x81 | kind::FRAGMENT << 1, unit[1], position | kind_of(unit[0])];
        emit(&[&header, piece], last && at == end);
    }
}
