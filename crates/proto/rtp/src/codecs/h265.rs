//! H.265 (RFC 7798), without decoding order numbers: single units, aggregations and fragments.

use crate::codecs::nal::{Fragment, Payload};
use crate::codecs::packetizer::{Emit, PacketizeError};
use crate::codecs::{PayloadInfo, nal, truncated};
use crate::error::{ParseError, ParseErrorKind};

/// Types of units (RFC 7798 §1.1.4, §4.4).
mod kind {
    pub(super) const AGGREGATION: u8 = 48;
    pub(super) const FRAGMENT: u8 = 49;
}

fn kind_of(first: u8) -> u8 {
    first >> 1 & 0x3f
}

/// Reads a payload (RFC 7798 §4.4).
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
            let own = [first & 0x81 | (header & 0x3f) << 1, second];
            Fragment::read(&own, header, piece).map(Payload::Fragment)
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
    let info = payload(bytes)?.info(begins);
    // RFC 7798 §1.1.4: a temporal identifier of 0 is forbidden, so that it says one more.
    Ok(PayloadInfo { temporal_layer: (bytes[1] & 7).checked_sub(1), ..info })
}

pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    nal::depacketize(payloads, payload, frame)
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
        } else {
            // RFC 7798 §4.4.3: the unit's own header goes into those of its fragments.
            let head = unit[0] & 0x81 | kind::FRAGMENT << 1;
            nal::emit_unit(unit, 2, max, last, |position| [head, unit[1], position | kind_of(unit[0])], emit);
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
