//! VP8 (RFC 7741).

use crate::codecs::PayloadInfo;
use crate::codecs::packetizer::Emit;
use crate::codecs::split::split;
use crate::fields::Fields;

/// Bytes of the descriptor that we write: with the picture's number, of 15 bits.
const DESCRIPTOR: usize = 4;

/// Reads the payload descriptor (RFC 7741 §4.2); what follows is the picture.
pub(super) fn descriptor(payload: &[u8]) -> Option<(PayloadInfo, &[u8])> {
    let mut fields = Fields(payload);
    let first = fields.u8()?;
    let mut info = PayloadInfo { starts: first & 0x17 == 0x10, ..PayloadInfo::default() };
    if first & 0x80 != 0 {
        let present = fields.u8()?;
        if present & 0x80 != 0 {
            info.picture_id = Some(picture_id(&mut fields)?);
        }
        if present & 0x40 != 0 {
            fields.u8()?;
        }
        if present & 0x30 != 0 {
            let layer = fields.u8()?;
            if present & 0x20 != 0 {
                info.temporal_layer = Some(layer >> 6);
                info.layer_sync = layer & 0x20 != 0;
            }
        }
    }
    // RFC 7741 §4.3: P of the payload header is 0 in a picture that needs no other.
    info.key_frame = info.starts && fields.0.first()? & 1 == 0;
    Some((info, fields.0))
}

/// 7 or 15 bits, as the first one says; VP9 has the same.
pub(super) fn picture_id(fields: &mut Fields<'_>) -> Option<u16> {
    let first = fields.u8()?;
    match first & 0x80 {
        0 => Some(first.into()),
        _ => Some(u16::from_be_bytes([first & 0x7f, fields.u8()?])),
    }
}

pub(super) fn packetize(frame: &[u8], max: usize, picture_id: u16, emit: &mut Emit<'_>) {
    let pieces = split(frame, max - DESCRIPTOR);
    let last = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let [high, low] = picture_id.to_be_bytes();
        let start = if at == 0 { 0x10 } else { 0 };
        emit(&[&[0x80 | start, 0x80, 0x80 | high, low], piece], at == last);
    }
}
