use crate::codecs::{PayloadInfo, truncated};
use crate::error::{ParseError, ParseErrorKind};

/// Reads the descriptor that stands before a piece of a picture, with VP8 and VP9.
pub(super) type Descriptor = fn(&[u8]) -> Option<(PayloadInfo, &[u8])>;

pub(super) fn inspect(payload: &[u8], descriptor: Descriptor) -> Result<PayloadInfo, ParseError> {
    truncated(payload, descriptor(payload)).map(|(info, _)| info)
}

/// Puts a picture together out of its pieces, the first of which has to be its start.
pub(super) fn depacketize(
    payloads: &mut dyn Iterator<Item = &[u8]>,
    descriptor: Descriptor,
    frame: &mut Vec<u8>,
) -> Result<(), ParseError> {
    for (at, payload) in payloads.enumerate() {
        let (info, piece) = truncated(payload, descriptor(payload))?;
        if at == 0 && !info.starts {
            return Err(ParseErrorKind::Value.at(0));
        }
        frame.extend_from_slice(piece);
    }
    Ok(())
}
