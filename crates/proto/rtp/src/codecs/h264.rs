//! H.264 (RFC 6184), in the modes that WebRTC has: single units, aggregations (STAP-A) and fragments (FU-A).

use crate::codecs::nal::{Fragment, Payload};
use crate::codecs::packetizer::{Emit, PacketizeError};
use crate::codecs::{PayloadInfo, nal, truncated};
use crate::error::{ParseError, ParseErrorKind};

/// Types of units (RFC 6184 §5.2, table 1).
mod kind {
    pub(super) const IDR: u8 = 5;
    pub(super) const SEQUENCE_PARAMETERS: u8 = 7;
    pub(super) const AGGREGATION: u8 = 24;
    pub(super) const FRAGMENT: u8 = 28;
}

/// Reads a payload (RFC 6184 §5.2).
fn payload(bytes: &[u8]) -> Result<Payload<'_>, ParseError> {
    let first = truncated(bytes, bytes.first())?;
    match first & 0x1f {
        1..24 => Ok(Payload::Unit(bytes)),
        kind::AGGREGATION => truncated(bytes, nal::aggregated(&bytes[1..])).map(Payload::Units),
        kind::FRAGMENT => {
            let [indicator, header, ref piece @ ..] = *bytes else {
                return Err(ParseErrorKind::Truncated.at(bytes.len()));
            };
            Fragment::read(&[indicator & 0xe0 | header & 0x1f], header, piece).map(Payload::Fragment)
        }
        _ => Err(ParseErrorKind::Value.at(0)),
    }
}

/// Whether a decoder can begin with this unit: a picture that needs no other, or the parameters before it.
fn begins(unit: u8) -> bool {
    matches!(unit & 0x1f, kind::IDR | kind::SEQUENCE_PARAMETERS)
}

pub(super) fn inspect(bytes: &[u8]) -> Result<PayloadInfo, ParseError> {
    payload(bytes).map(|payload| payload.info(begins))
}

pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    nal::depacketize(payloads, payload, frame)
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
        } else {
            // RFC 6184 §5.8: the unit's own header goes into those of its fragments.
            let header = |position| [unit[0] & 0xe0 | kind::FRAGMENT, position | unit[0] & 0x1f];
            nal::emit_unit(unit, 1, max, last, header, emit);
        }
        rest = &rest[together..];
    }
    Ok(())
}
