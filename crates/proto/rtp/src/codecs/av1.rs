//! AV1 (AV1 RTP payload format, version 1.0).

use crate::codecs::obu::{Obu, kind, read_size, size};
use crate::codecs::packetizer::{Emit, PacketizeError};
use crate::codecs::{PayloadInfo, truncated};
use crate::error::{ParseError, ParseErrorKind};
use crate::fields::Fields;

/// The bits of the aggregation header (§4.4).
mod bit {
    /// The first element goes on with a unit of the packet before.
    pub(super) const CONTINUES: u8 = 0x80;
    /// The last element's unit goes on in the next packet.
    pub(super) const UNFINISHED: u8 = 0x40;
    /// A coded video sequence begins.
    pub(super) const NEW_SEQUENCE: u8 = 0x08;
}

/// The aggregation header and the elements that follow it.
fn elements(payload: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let mut fields = Fields(payload);
    let header = fields.u8()?;
    let count = usize::from(header >> 4 & 3);
    let mut elements = Vec::new();
    while !fields.0.is_empty() {
        // The last of those that are counted does not say its size; of those that are not, each does.
        let length = if elements.len() + 1 == count { fields.0.len() } else { read_size(&mut fields)? };
        let element = fields.bytes(length)?;
        if !element.is_empty() {
            elements.push(element);
        }
    }
    (count == 0 || elements.len() == count)
        .then_some((header, elements))
        .filter(|(_, elements)| !elements.is_empty())
}

pub(super) fn inspect(payload: &[u8]) -> Result<PayloadInfo, ParseError> {
    let (header, elements) = truncated(payload, elements(payload))?;
    let starts = header & bit::CONTINUES == 0;
    // What goes on has no header here that could tell its layers.
    let first = elements.get(usize::from(!starts)).and_then(|element| Obu::read(&mut Fields(element)));
    let layers = first.and_then(|obu| obu.layers());
    Ok(PayloadInfo {
        starts,
        key_frame: header & bit::NEW_SEQUENCE != 0,
        temporal_layer: layers.map(|(temporal, _)| temporal),
        spatial_layer: layers.map(|(_, spatial)| spatial),
        ..PayloadInfo::default()
    })
}

pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    let mut begun: Option<Vec<u8>> = None;
    for payload in payloads {
        let (header, elements) = truncated(payload, elements(payload))?;
        if (header & bit::CONTINUES != 0) != begun.is_some() {
            return Err(ParseErrorKind::Value.at(0));
        }
        let last = elements.len() - 1;
        for (at, element) in elements.into_iter().enumerate() {
            let unfinished = at == last && header & bit::UNFINISHED != 0;
            match (begun.take(), unfinished) {
                (None, false) => append(element, frame)?,
                (None, true) => begun = Some(element.to_vec()),
                (Some(mut pieces), _) => {
                    pieces.extend_from_slice(element);
                    if unfinished {
                        begun = Some(pieces);
                    } else {
                        append(&pieces, frame)?;
                    }
                }
            }
        }
    }
    if begun.is_some() { Err(ParseErrorKind::Truncated.at(0)) } else { Ok(()) }
}

/// Appends a unit to a frame.
fn append(element: &[u8], frame: &mut Vec<u8>) -> Result<(), ParseError> {
    let obu = truncated(element, Obu::read(&mut Fields(element)))?;
    if !obu.is_dropped() {
        obu.append(frame);
    }
    Ok(())
}

/// Bytes that an element's size takes at most, in payloads of what a datagram holds.
const SIZE: usize = 3;

pub(super) fn packetize(frame: &[u8], max: usize, emit: &mut Emit<'_>) -> Result<(), PacketizeError> {
    let mut fields = Fields(frame);
    let mut units = Vec::new();
    while !fields.0.is_empty() {
        let obu = Obu::read(&mut fields).ok_or(PacketizeError::Malformed)?;
        if !obu.is_dropped() {
            units.push(obu);
        }
    }
    if units.is_empty() {
        return Err(PacketizeError::Malformed);
    }
    let new_sequence = units.iter().any(|unit| unit.kind() == kind::SEQUENCE_HEADER);
    let mut flags = if new_sequence { bit::NEW_SEQUENCE } else { 0 };
    let mut packet: Vec<Piece<'_>> = Vec::new();
    let mut room = max - 1;
    let last = units.len() - 1;
    for (at, unit) in units.iter().enumerate() {
        let mut from = 0;
        while from < unit.len() {
            // A piece that would be almost nothing but its size waits for the next packet.
            if room < SIZE + 8 {
                flags = flush(&mut packet, flags, from > 0, false, emit);
                room = max - 1;
            }
            let piece = Piece { unit, from, to: unit.len().min(from + (room - SIZE)) };
            room -= SIZE + (piece.to - from);
            from = piece.to;
            packet.push(piece);
        }
        if at == last {
            flush(&mut packet, flags, false, true, emit);
        }
    }
    Ok(())
}

/// A part of a unit.
#[derive(Clone, Copy)]
struct Piece<'a> {
    unit: &'a Obu<'a>,
    from: usize,
    to: usize,
}

impl Piece<'_> {
    /// What it has of the unit's header, and of its payload.
    fn parts(&self) -> [&[u8]; 2] {
        let header = self.unit.header();
        let within = |at: usize| (at.min(header.len()), at.saturating_sub(header.len()));
        let (from, to) = (within(self.from), within(self.to));
        [&header[from.0..to.0], &self.unit.payload[from.1..to.1]]
    }
}

/// Hands over the payload of these pieces; returns the flags that the next one begins with.
fn flush(packet: &mut Vec<Piece<'_>>, flags: u8, unfinished: bool, last: bool, emit: &mut Emit<'_>) -> u8 {
    if packet.is_empty() {
        return flags;
    }
    let goes_on = if unfinished { bit::UNFINISHED } else { 0 };
    // A single element is counted, so that it need not say its size.
    let counted = packet.len() == 1;
    let header = [flags | goes_on | u8::from(counted) << 4];
    let sizes: Vec<_> = packet.iter().map(|piece| size(piece.to - piece.from)).collect();
    let mut parts: Vec<&[u8]> = vec![&header];
    for (piece, (size, bytes)) in packet.iter().zip(&sizes) {
        if !counted {
            parts.push(&size[..*bytes]);
        }
        parts.extend(piece.parts());
    }
    emit(&parts, last);
    packet.clear();
    if unfinished { bit::CONTINUES } else { 0 }
}
