//! VP9 (RFC 9628).

use crate::codecs::PayloadInfo;
use crate::codecs::packetizer::Emit;
use crate::codecs::split::split;
use crate::codecs::vp8::picture_id;
use crate::fields::Fields;

/// Bytes of the descriptor that we write: with the picture's number, of 15 bits.
const DESCRIPTOR: usize = 3;

/// The bits of the descriptor's first byte (RFC 9628 §4.2).
mod bit {
    pub(super) const PICTURE_ID: u8 = 0x80;
    pub(super) const PREDICTED: u8 = 0x40;
    pub(super) const LAYERS: u8 = 0x20;
    pub(super) const FLEXIBLE: u8 = 0x10;
    pub(super) const BEGIN: u8 = 0x08;
    pub(super) const END: u8 = 0x04;
    pub(super) const STRUCTURE: u8 = 0x02;
}

/// Reads the payload descriptor; what follows is the picture.
pub(super) fn descriptor(payload: &[u8]) -> Option<(PayloadInfo, &[u8])> {
    let mut fields = Fields(payload);
    let first = fields.u8()?;
    let has = |bit| first & bit != 0;
    let mut info = PayloadInfo { starts: has(bit::BEGIN), ..PayloadInfo::default() };
    if has(bit::PICTURE_ID) {
        info.picture_id = Some(picture_id(&mut fields)?);
    }
    if has(bit::LAYERS) {
        let layer = fields.u8()?;
        info.temporal_layer = Some(layer >> 5);
        info.layer_sync = layer & 0x10 != 0;
        info.spatial_layer = Some(layer >> 1 & 7);
        if !has(bit::FLEXIBLE) {
            fields.u8()?;
        }
    }
    if has(bit::FLEXIBLE) && has(bit::PREDICTED) {
        // At most 3 references; N says whether another one follows.
        for reference in 0.. {
            let more = fields.u8()? & 1 == 1;
            if !more {
                break;
            }
            if reference == 2 {
                return None;
            }
        }
    }
    if has(bit::STRUCTURE) {
        structure(&mut fields)?;
    }
    // A layer above is predicted from the one below, of the same picture: a decoder cannot begin there.
    info.key_frame = info.starts && !has(bit::PREDICTED) && info.spatial_layer.unwrap_or(0) == 0;
    (!fields.0.is_empty()).then_some((info, fields.0))
}

/// Passes over the scalability structure (RFC 9628 §4.2.1).
fn structure(fields: &mut Fields<'_>) -> Option<()> {
    let first = fields.u8()?;
    if first & 0x10 != 0 {
        fields.bytes(4 * (usize::from(first >> 5) + 1))?;
    }
    if first & 0x08 != 0 {
        for _ in 0..fields.u8()? {
            let picture = fields.u8()?;
            fields.bytes(usize::from(picture >> 2 & 3))?;
        }
    }
    Some(())
}

/// Without layers, and without being flexible: each picture needs those before it, or none.
pub(super) fn packetize(frame: &[u8], max: usize, picture_id: u16, emit: &mut Emit<'_>) {
    let predicted = if is_key_frame(frame) { 0 } else { bit::PREDICTED };
    let pieces = split(frame, max - DESCRIPTOR);
    let last = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let [high, low] = picture_id.to_be_bytes();
        let begin = if at == 0 { bit::BEGIN } else { 0 };
        let end = if at == last { bit::END } else { 0 };
        emit(&[&[bit::PICTURE_ID | predicted | begin | end, 0x80 | high, low], piece], at == last);
    }
}

/// By the bits of the uncompressed header: marker (2), profile (2, and 1 more for the third), show_existing_frame,
/// frame_type.
fn is_key_frame(frame: &[u8]) -> bool {
    let Some(&first) = frame.first() else { return false };
    let rest = if first >> 4 & 3 == 3 { first << 5 } else { first << 4 };
    first >> 6 == 2 && rest & 0xc0 == 0
}
