use std::net::SocketAddr;

use crate::error_code::default_reason;
use crate::header::message_type;
use crate::message::fingerprint;
use crate::{
    AttributeKind, Class, HEADER_BYTES, Key, MAGIC_COOKIE, Message, Method, PasswordAlgorithm, TransactionId,
    address, kind,
};

/// Writes a message where it leaves from.
///
/// Attributes are written in the order of the calls; [`MessageWriter::integrity`] and
/// [`MessageWriter::fingerprint`] come last and cover what was written before them. What does not fit is
/// remembered, and [`MessageWriter::finish`] tells it: nothing panics and nothing is cut off.
///
/// ```
/// use sterna_stun::{Class, MessageWriter, Method, TransactionId, WriteError, kind};
///
/// let mut buffer = [0; 24];
/// let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([0; 12]));
/// writer.string(kind::SOFTWARE, "too long for this buffer");
/// assert_eq!(writer.finish(), Err(WriteError::NoRoom));
/// ```
#[derive(Debug)]
pub struct MessageWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
    failed: bool,
}

impl<'b> MessageWriter<'b> {
    /// Begins a message in `buffer`. Bytes that it does not need stay as they are.
    pub fn new(buffer: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Self {
        let Some(header) = buffer.first_chunk_mut::<HEADER_BYTES>() else {
            return Self { buffer, used: 0, failed: true };
        };
        header[..2].copy_from_slice(&message_type(class, method).to_be_bytes());
        header[2..4].copy_from_slice(&[0, 0]);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&id.0);
        Self { buffer, used: HEADER_BYTES, failed: false }
    }

    /// Begins the answer to `request`: the same method and transaction id.
    pub fn answer(buffer: &'b mut [u8], class: Class, request: &Message<'_>) -> Self {
        Self::new(buffer, class, request.method(), request.transaction_id())
    }

    /// Writes attributes that the message can do without: if they leave fewer than `reserve` bytes, they are left out.
    pub fn if_it_fits(&mut self, reserve: usize, write: impl FnOnce(&mut Self)) -> &mut Self {
        let (used, failed) = (self.used, self.failed);
        write(self);
        if self.failed || self.buffer.len() - self.used < reserve {
            (self.used, self.failed) = (used, failed);
        }
        self
    }

    /// Writes an attribute.
    pub fn raw(&mut self, kind: AttributeKind, value: &[u8]) -> &mut Self {
        if let Some(space) = self.attribute(kind, value.len()) {
            space.copy_from_slice(value);
        }
        self
    }

    /// Writes an attribute without a value.
    pub fn flag(&mut self, kind: AttributeKind) -> &mut Self {
        self.raw(kind, &[])
    }

    /// Writes a text.
    pub fn string(&mut self, kind: AttributeKind, text: &str) -> &mut Self {
        self.raw(kind, text.as_bytes())
    }

    /// Writes a number.
    pub fn u32(&mut self, kind: AttributeKind, value: u32) -> &mut Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// Writes a number.
    pub fn u64(&mut self, kind: AttributeKind, value: u64) -> &mut Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// Writes an address in the clear (RFC 8489 §14.1).
    pub fn address(&mut self, kind: AttributeKind, address: SocketAddr) -> &mut Self {
        let mut value = [0; 20];
        let length = address::encode(address, &mut value);
        self.raw(kind, &value[..length])
    }

    /// Writes an address XORed with cookie and transaction id (RFC 8489 §14.2).
    pub fn xor_address(&mut self, kind: AttributeKind, address: SocketAddr) -> &mut Self {
        let Some(id) = self.buffer.get(8..HEADER_BYTES).and_then(|id| id.try_into().ok()) else {
            return self;
        };
        self.address(kind, address::xor(address, TransactionId(id)))
    }

    /// Writes ERROR-CODE with the registry's phrase for the code.
    pub fn error(&mut self, code: u16) -> &mut Self {
        self.error_code(code, default_reason(code))
    }

    /// Writes ERROR-CODE (RFC 8489 §14.8). The code is 300 to 699, or the message fails.
    pub fn error_code(&mut self, code: u16, reason: &str) -> &mut Self {
        if !(300..700).contains(&code) {
            self.failed = true;
            return self;
        }
        if let Some(space) = self.attribute(kind::ERROR_CODE, 4 + reason.len()) {
            space[..4].copy_from_slice(&[0, 0, (code / 100) as u8, (code % 100) as u8]);
            space[4..].copy_from_slice(reason.as_bytes());
        }
        self
    }

    /// Writes UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
    pub fn unknown_attributes(&mut self, kinds: &[u16]) -> &mut Self {
        if let Some(space) = self.attribute(kind::UNKNOWN_ATTRIBUTES, 2 * kinds.len()) {
            for (place, kind) in space.as_chunks_mut::<2>().0.iter_mut().zip(kinds) {
                *place = kind.to_be_bytes();
            }
        }
        self
    }

    /// Writes PASSWORD-ALGORITHMS, the preferred first (RFC 8489 §14.11).
    pub fn password_algorithms(&mut self, algorithms: &[PasswordAlgorithm]) -> &mut Self {
        if let Some(space) = self.attribute(kind::PASSWORD_ALGORITHMS, 4 * algorithms.len()) {
            for (place, algorithm) in space.as_chunks_mut::<4>().0.iter_mut().zip(algorithms) {
                *place = entry(*algorithm);
            }
        }
        self
    }

    /// Writes PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub fn password_algorithm(&mut self, algorithm: PasswordAlgorithm) -> &mut Self {
        self.raw(kind::PASSWORD_ALGORITHM, &entry(algorithm))
    }

    /// Writes an attribute whose value `fill` puts straight into the message, without a copy: TURN's DATA.
    ///
    /// `fill` gets exactly `max` bytes, whose contents are unspecified, and returns how many it used, which
    /// is returned. If `max` bytes do not fit `fill` is not called, and the message fails.
    pub fn data_in_place(
        &mut self,
        kind: AttributeKind,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let before = self.used;
        let Some(space) = self.attribute(kind, max) else { return 0 };
        let used = fill(space).min(max);
        self.used = before;
        self.attribute(kind, used);
        used
    }

    /// Signs what was written so far with HMAC-SHA1 (RFC 8489 §14.5).
    pub fn integrity(&mut self, key: &Key) -> &mut Self {
        if let Some(length) = self.length_with(20) {
            let value = key.sha1(&self.buffer[..self.used], length);
            self.raw(kind::MESSAGE_INTEGRITY, &value);
        }
        self
    }

    /// Signs what was written so far with HMAC-SHA256 (RFC 8489 §14.6).
    pub fn integrity_sha256(&mut self, key: &Key) -> &mut Self {
        if let Some(length) = self.length_with(32) {
            let value = key.sha256(&self.buffer[..self.used], length);
            self.raw(kind::MESSAGE_INTEGRITY_SHA256, &value);
        }
        self
    }

    /// Adds a CRC-32 of what was written so far; nothing may follow (RFC 8489 §14.7).
    pub fn fingerprint(&mut self) -> &mut Self {
        if let Some(length) = self.length_with(4) {
            self.buffer[2..4].copy_from_slice(&length.to_be_bytes());
            let value = fingerprint(&self.buffer[..self.used]);
            self.u32(kind::FINGERPRINT, value);
        }
        self
    }

    /// Completes the message and returns its length in the buffer.
    ///
    /// # Errors
    /// If something did not fit, or an error code was none.
    pub fn finish(&mut self) -> Result<usize, WriteError> {
        if self.failed {
            return Err(WriteError::NoRoom);
        }
        let length = u16::try_from(self.used - HEADER_BYTES).map_err(|_| WriteError::NoRoom)?;
        self.buffer[2..4].copy_from_slice(&length.to_be_bytes());
        Ok(self.used)
    }

    /// The message's length field once an attribute with a value of `value` bytes is added.
    fn length_with(&mut self, value: usize) -> Option<u16> {
        if self.failed {
            return None;
        }
        let length = u16::try_from(self.used - HEADER_BYTES + 4 + value).ok();
        self.failed = length.is_none();
        length
    }

    /// Adds an attribute's header and padding, and returns the space of its value.
    fn attribute(&mut self, kind: AttributeKind, length: usize) -> Option<&mut [u8]> {
        if self.failed {
            return None;
        }
        // The length fields, of the attribute and of the message, have 16 bits: never let them wrap.
        let end = self.used + 4 + length.min(usize::from(u16::MAX) + 1).next_multiple_of(4);
        if end > self.buffer.len() || end - HEADER_BYTES > usize::from(u16::MAX) {
            self.failed = true;
            return None;
        }
        let space = &mut self.buffer[self.used..end];
        self.used = end;
        space[..2].copy_from_slice(&kind.0.to_be_bytes());
        space[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        space[4 + length..].fill(0);
        Some(&mut space[4..4 + length])
    }
}

/// An entry of PASSWORD-ALGORITHMS; neither of our algorithms has parameters.
fn entry(algorithm: PasswordAlgorithm) -> [u8; 4] {
    let [high, low] = algorithm.number().to_be_bytes();
    [high, low, 0, 0]
}

/// Why a message could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// It does not fit into the buffer, or into what a STUN message can carry.
    #[error("the message does not fit")]
    NoRoom,
}
