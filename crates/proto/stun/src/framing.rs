//! Messages on a stream: how TCP and TLS connections to STUN and TURN servers are cut into frames.
//!
//! A stream has no boundaries, but both kinds of frame begin with two bits that tell them apart and carry
//! their own length: a STUN message (RFC 8489 §6.2.2) and TURN's ChannelData, which is padded to 4 bytes on
//! streams (RFC 8656 §12.5). Nothing else may come; once something does, the rest of the stream means nothing
//! and the connection has to be closed.
//!
//! There is no counterpart for sending: what a machine writes for a stream is already framed.
//!
//! ```
//! use sterna_stun::framing::Deframer;
//!
//! let mut deframer = Deframer::new();
//! deframer.push(&[0x40, 0x00, 0x00, 0x01, b'x']);
//! assert!(deframer.next_frame().is_none(), "the padding is still on its way");
//! deframer.push(&[0, 0, 0]);
//! assert_eq!(deframer.next_frame().unwrap().unwrap(), [0x40, 0x00, 0x00, 0x01, b'x']);
//! ```

use crate::{HEADER_BYTES, MAGIC_COOKIE, Packet, classify};

/// The longest frame there can be: a STUN message whose length field is at its highest.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES + 0xFFFC;

/// A buffer emptied with more room than this gives it back: connections that once were busy shall not keep
/// it.
const KEPT_BYTES: usize = 16 * 1024;

/// Cuts the bytes of one direction of a stream into frames.
///
/// Holds at most one unfinished frame beyond what was pushed and not yet taken, and copies each byte once.
#[derive(Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Where the first frame that was not yet taken begins.
    start: usize,
    limit: usize,
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// A deframer that takes frames of any length.
    pub fn new() -> Self {
        Self::with_limit(MAX_FRAME_BYTES)
    }

    /// A deframer that takes frames of at most `limit` bytes: a longer one is an error as soon as its header
    /// is here.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Takes frames of at most `limit` bytes from now on: for a stream whose other end has become known.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Appends what was read from the stream. Take all frames out before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        let rest = self.buffer.len() - self.start;
        if rest == 0 {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
            self.start = 0;
        } else if self.start >= rest {
            // Moves fewer bytes than were taken since the last move, so that each byte moves at most once on
            // average.
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(rest);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is here: a STUN message, or ChannelData without its padding.
    ///
    /// # Errors
    /// If what comes next is neither, or too long. Every further call gives the same error.
    pub fn next_frame(&mut self) -> Option<Result<&mut [u8], FramingError>> {
        let (length, padded) = match frame_length(&self.buffer[self.start..]) {
            Ok(length) => length?,
            Err(error) => return Some(Err(error)),
        };
        if padded > self.limit {
            return Some(Err(FramingError::TooLong(padded)));
        }
        if self.buffer.len() - self.start < padded {
            return None;
        }
        let frame = self.start..self.start + length;
        self.start += padded;
        Some(Ok(&mut self.buffer[frame]))
    }

    /// What was pushed and not taken: for a stream that carries something else from here on.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.start)
    }

    /// Bytes that were pushed and do not yet make a frame.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// The length of the first frame without and with its padding; `None` if its header is not here yet.
fn frame_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FramingError> {
    let kind = classify(bytes);
    match kind {
        _ if bytes.is_empty() => return Ok(None),
        Packet::Stun | Packet::ChannelData => {}
        _ => return Err(FramingError::NotAFrame),
    }
    let &[_, _, high, low, ref rest @ ..] = bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if kind == Packet::ChannelData {
        return Ok(Some((4 + length, 4 + length.next_multiple_of(4))));
    }
    // What there is of the cookie is looked at before the message is complete: whoever speaks another
    // protocol shall not keep us waiting for 64 KiB of it.
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let known = rest.len().min(cookie.len());
    if length % 4 != 0 || rest[..known] != cookie[..known] {
        return Err(FramingError::NotAFrame);
    }
    Ok(Some((HEADER_BYTES + length, HEADER_BYTES + length)))
}

/// Why a stream cannot be cut any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FramingError {
    /// Neither a STUN message nor ChannelData begins here.
    #[error("the stream carries neither STUN nor ChannelData")]
    NotAFrame,
    /// A frame of so many bytes, which is more than we take.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, MessageWriter, Method, TransactionId, kind};

    fn stun(bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes + 24];
        let used = MessageWriter::new(&mut buffer, Class::Indication, Method::DATA, TransactionId([1; 12]))
            .raw(kind::DATA, &vec![7; bytes])
            .finish()
            .unwrap();
        buffer.truncate(used);
        buffer
    }

    fn channel_data(bytes: usize) -> Vec<u8> {
        let mut frame = vec![0x4f, 0xff];
        frame.extend((bytes as u16).to_be_bytes());
        frame.resize(4 + bytes, 9);
        frame
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let frames = [stun(0), channel_data(0), channel_data(5), stun(400), channel_data(1000), stun(4)];
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend_from_slice(frame);
            stream.resize(stream.len().next_multiple_of(4), 0xEE);
        }
        for step in [1, 2, 3, 7, 19, 64, 500, stream.len()] {
            let mut deframer = Deframer::new();
            let mut out = Vec::new();
            for part in stream.chunks(step) {
                deframer.push(part);
                while let Some(frame) = deframer.next_frame() {
                    out.push(frame.unwrap().to_vec());
                }
            }
            assert_eq!(out, frames, "in steps of {step}");
            assert_eq!(deframer.buffered(), 0);
        }
    }

    #[test]
    fn another_protocol_is_told_at_its_first_bytes() {
        for start in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"\x80",
            b"\x50\x00",
            b"\x00\x01\x00\x02",
            b"\x00\x01\x00\x00\x21\x13",
        ] {
            let mut deframer = Deframer::new();
            deframer.push(start);
            assert_eq!(deframer.next_frame(), Some(Err(FramingError::NotAFrame)), "{start:?}");
            assert_eq!(deframer.next_frame(), Some(Err(FramingError::NotAFrame)), "it stays broken");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_header() {
        let mut deframer = Deframer::with_limit(1500);
        deframer.push(&channel_data(1497)[..4]);
        assert_eq!(deframer.next_frame(), Some(Err(FramingError::TooLong(1504))));
        deframer.set_limit(1504);
        assert_eq!(deframer.next_frame(), None);
    }

    #[test]
    fn many_small_frames_in_one_push_are_not_copied_again_and_again() {
        let mut deframer = Deframer::new();
        let frame = channel_data(4);
        deframer.push(&frame.repeat(100_000));
        let mut count = 0;
        while let Some(next) = deframer.next_frame() {
            assert_eq!(next.unwrap(), frame);
            count += 1;
        }
        assert_eq!(count, 100_000);
    }

    #[test]
    fn what_follows_a_frame_can_be_had_as_it_is() {
        let mut deframer = Deframer::new();
        deframer.push(&[&stun(4)[..], b"anything"].concat());
        assert!(deframer.next_frame().unwrap().is_ok());
        assert_eq!(deframer.into_rest(), b"anything");
    }

    #[test]
    fn memory_is_bounded_by_one_frame_and_given_back() {
        let mut deframer = Deframer::new();
        let frame = stun(60_000);
        for part in frame.repeat(50).chunks(1000) {
            deframer.push(part);
            while let Some(next) = deframer.next_frame() {
                next.unwrap();
            }
            assert!(deframer.buffer.len() <= 2 * MAX_FRAME_BYTES);
        }
        deframer.push(&[]);
        assert!(deframer.buffer.capacity() <= KEPT_BYTES);
    }
}
