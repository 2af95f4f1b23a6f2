use std::fmt;
use std::net::SocketAddr;

use crate::header::split_message_type;
use crate::password_algorithm::split_entry;
use crate::{
    AttributeKind, Class, ErrorCode, HEADER_BYTES, Integrity, IntegrityError, Key, MAGIC_COOKIE, Method,
    PasswordAlgorithm, PasswordAlgorithms, TransactionId, UnknownAttributes, address, kind,
};

/// What FINGERPRINT is combined with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// A parsed message, borrowed from the datagram it came in.
///
/// Parsing checks the header and the bounds of every attribute, and nothing allocates. Only the attributes
/// that count are shown: those before MESSAGE-INTEGRITY and, of those behind it, MESSAGE-INTEGRITY-SHA256 and
/// FINGERPRINT (RFC 8489 §9). If a kind occurs more than once, the first one is used, by everybody.
///
/// Values are not trusted before [`Message::check_integrity`] has said so.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the integrity attributes and FINGERPRINT stand, and where the others end.
    marks: Marks,
}

/// Offsets of attribute headers; 0 means absent, for no attribute stands in the header.
#[derive(Clone, Copy, Default)]
struct Marks {
    sha1: usize,
    sha256: usize,
    fingerprint: usize,
    /// The end of the attributes that are neither of these three.
    end: usize,
}

impl<'a> Message<'a> {
    /// Parses a datagram, or a frame of a stream, that is one whole message.
    ///
    /// # Errors
    /// If it is not: the bytes are then another protocol's, or noise.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let fail = |kind, offset| Err(ParseError { kind, offset });
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return fail(ParseErrorKind::Truncated, bytes.len());
        };
        if header[0] & 0xC0 != 0 {
            return fail(ParseErrorKind::NotStun, 0);
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length % 4 != 0 || HEADER_BYTES + length != bytes.len() {
            return fail(ParseErrorKind::WrongLength, 2);
        }
        if header[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return fail(ParseErrorKind::NotStun, 4);
        }
        let mut marks = Marks::default();
        let mut offset = HEADER_BYTES;
        while offset < bytes.len() {
            if marks.fingerprint != 0 {
                return fail(ParseErrorKind::AfterFingerprint, offset);
            }
            let Some(attribute) = attribute_at(bytes, offset) else {
                return fail(ParseErrorKind::AttributeBounds, offset);
            };
            match attribute.kind {
                kind::FINGERPRINT => marks.fingerprint = offset,
                kind::MESSAGE_INTEGRITY if marks.sha1 == 0 && marks.sha256 == 0 => marks.sha1 = offset,
                kind::MESSAGE_INTEGRITY_SHA256 if marks.sha256 == 0 => marks.sha256 = offset,
                _ => {}
            }
            if marks.end == 0 && (marks.sha1 != 0 || marks.sha256 != 0 || marks.fingerprint != 0) {
                marks.end = offset;
            }
            offset += attribute.size();
        }
        if marks.end == 0 {
            marks.end = bytes.len();
        }
        Ok(Self { bytes, marks })
    }

    /// The whole message, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the message is for.
    pub fn class(&self) -> Class {
        self.split_type().0
    }

    /// What the message is about.
    pub fn method(&self) -> Method {
        self.split_type().1
    }

    /// What ties an answer to its request.
    pub fn transaction_id(&self) -> TransactionId {
        TransactionId(self.bytes[8..HEADER_BYTES].try_into().expect("12 bytes are 12 bytes"))
    }

    /// The attributes that count, in their order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { message: *self, offset: HEADER_BYTES }
    }

    /// The value of the first attribute of this kind.
    pub fn raw(&self, kind: AttributeKind) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// The values of all attributes of this kind, for those few that may occur more than once.
    pub fn all(&self, kind: AttributeKind) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes().filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// The attributes that must be comprehended (RFC 8489 §14) and are neither in `known` nor in RFC 8489
    /// itself.
    ///
    /// A request with any is answered with 420 and this list; any other message with any is dropped
    /// (RFC 8489 §6.3). Reserved kinds of RFC 3489 (CHANGE-REQUEST, say) are unknown unless listed.
    pub fn unknown_comprehension_required(&self, known: &[AttributeKind]) -> UnknownAttributes {
        let mut unknown = UnknownAttributes::default();
        for RawAttribute { kind, .. } in self.attributes() {
            if kind.comprehension_required() && !kind::COMPREHENDED.contains(&kind) && !known.contains(&kind)
            {
                unknown.add(kind);
            }
        }
        unknown
    }

    /// Whether there is a FINGERPRINT, right or wrong.
    pub fn has_fingerprint(&self) -> bool {
        self.marks.fingerprint != 0
    }

    /// Whether there is a FINGERPRINT and it is right (RFC 8489 §14.7).
    pub fn check_fingerprint(&self) -> bool {
        let at = self.marks.fingerprint;
        at != 0
            && attribute_at(self.bytes, at)
                .is_some_and(|attribute| *attribute.value == fingerprint(&self.bytes[..at]).to_be_bytes())
    }

    /// Which signature [`Message::check_integrity`] will look at, if there is any.
    pub fn integrity(&self) -> Option<Integrity> {
        match (self.marks.sha256, self.marks.sha1) {
            (0, 0) => None,
            (0, _) => Some(Integrity::Sha1),
            _ => Some(Integrity::Sha256),
        }
    }

    /// Checks the signature: MESSAGE-INTEGRITY-SHA256 if there is one, MESSAGE-INTEGRITY otherwise
    /// (RFC 8489 §9.1.3, §9.2.4). Takes the same time for any wrong value.
    pub fn check_integrity(&self, key: &Key) -> Result<(), IntegrityError> {
        let (at, is_sha256) = match self.integrity() {
            None => return Err(IntegrityError::Missing),
            Some(Integrity::Sha1) => (self.marks.sha1, false),
            Some(Integrity::Sha256) => (self.marks.sha256, true),
        };
        let attribute = attribute_at(self.bytes, at).ok_or(IntegrityError::Mismatch)?;
        // The length counts as if the message ended with this attribute (RFC 8489 §14.5).
        let length = (at + attribute.size() - HEADER_BYTES) as u16;
        let head = &self.bytes[..at];
        // Truncated values are for usages that allow them, and none of ours does (RFC 8489 §14.6).
        let right = if is_sha256 {
            crypto::equal(&key.sha256(head, length), attribute.value)
        } else {
            crypto::equal(&key.sha1(head, length), attribute.value)
        };
        if right { Ok(()) } else { Err(IntegrityError::Mismatch) }
    }

    fn split_type(&self) -> (Class, Method) {
        split_message_type(u16::from_be_bytes([self.bytes[0], self.bytes[1]]))
    }
}

/// The values that have a form of their own. `None` stands for an absent and for a malformed attribute alike;
/// where the difference matters ask [`Message::raw`].
impl<'a> Message<'a> {
    /// The text of the first attribute of this kind, if it is UTF-8.
    pub fn string(&self, kind: AttributeKind) -> Option<&'a str> {
        std::str::from_utf8(self.raw(kind)?).ok()
    }

    /// The number in the first attribute of this kind.
    pub fn u32(&self, kind: AttributeKind) -> Option<u32> {
        Some(u32::from_be_bytes(self.raw(kind)?.try_into().ok()?))
    }

    /// The number in the first attribute of this kind.
    pub fn u64(&self, kind: AttributeKind) -> Option<u64> {
        Some(u64::from_be_bytes(self.raw(kind)?.try_into().ok()?))
    }

    /// The address in the first attribute of this kind, as it stands there: IPv4-mapped addresses stay
    /// mapped.
    pub fn address(&self, kind: AttributeKind) -> Option<SocketAddr> {
        address::decode(self.raw(kind)?)
    }

    /// The same for a kind that is XORed with cookie and transaction id (RFC 8489 §14.2).
    pub fn xor_address(&self, kind: AttributeKind) -> Option<SocketAddr> {
        self.xor_addresses(kind).next()?
    }

    /// The addresses in all attributes of such a kind; `None` for one that is malformed.
    pub fn xor_addresses(&self, kind: AttributeKind) -> impl Iterator<Item = Option<SocketAddr>> + use<'a> {
        let id = self.transaction_id();
        self.all(kind).map(move |value| address::decode(value).map(|masked| address::xor(masked, id)))
    }

    /// XOR-MAPPED-ADDRESS: where the server sees the client.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(kind::XOR_MAPPED_ADDRESS)
    }

    /// MAPPED-ADDRESS: the same from servers of RFC 3489.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.address(kind::MAPPED_ADDRESS)
    }

    /// USERNAME.
    pub fn username(&self) -> Option<&'a str> {
        self.string(kind::USERNAME)
    }

    /// USERHASH.
    pub fn user_hash(&self) -> Option<&'a [u8; 32]> {
        self.raw(kind::USERHASH)?.try_into().ok()
    }

    /// REALM.
    pub fn realm(&self) -> Option<&'a str> {
        self.string(kind::REALM)
    }

    /// NONCE.
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.raw(kind::NONCE)
    }

    /// ERROR-CODE.
    pub fn error_code(&self) -> Option<ErrorCode<'a>> {
        ErrorCode::decode(self.raw(kind::ERROR_CODE)?)
    }

    /// UNKNOWN-ATTRIBUTES: what the other side did not understand.
    pub fn unknown_attributes(&self) -> Option<UnknownAttributes> {
        let mut unknown = UnknownAttributes::default();
        for &[high, low] in self.raw(kind::UNKNOWN_ATTRIBUTES)?.as_chunks().0 {
            unknown.add(AttributeKind(u16::from_be_bytes([high, low])));
        }
        Some(unknown)
    }

    /// ALTERNATE-SERVER: the server to ask instead.
    pub fn alternate_server(&self) -> Option<SocketAddr> {
        self.address(kind::ALTERNATE_SERVER)
    }

    /// ALTERNATE-DOMAIN: the name on that server's certificate.
    pub fn alternate_domain(&self) -> Option<&'a str> {
        self.string(kind::ALTERNATE_DOMAIN)
    }

    /// SOFTWARE: which program sent this.
    pub fn software(&self) -> Option<&'a str> {
        self.string(kind::SOFTWARE)
    }

    /// PASSWORD-ALGORITHMS: what the server offers.
    pub fn password_algorithms(&self) -> Option<PasswordAlgorithms<'a>> {
        self.raw(kind::PASSWORD_ALGORITHMS).map(PasswordAlgorithms::new)
    }

    /// PASSWORD-ALGORITHM: what the client chose, if we have it.
    pub fn password_algorithm(&self) -> Option<PasswordAlgorithm> {
        let (number, parameters, after) = split_entry(self.raw(kind::PASSWORD_ALGORITHM)?)?;
        if after.is_empty() { PasswordAlgorithm::from_entry(number, parameters) } else { None }
    }

    /// PRIORITY: what a peer-reflexive candidate learned from this check would have.
    pub fn priority(&self) -> Option<u32> {
        self.u32(kind::PRIORITY)
    }

    /// Whether there is a USE-CANDIDATE.
    pub fn use_candidate(&self) -> bool {
        self.raw(kind::USE_CANDIDATE).is_some()
    }

    /// ICE-CONTROLLING: the tie breaker of a controlling agent.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.u64(kind::ICE_CONTROLLING)
    }

    /// ICE-CONTROLLED: the tie breaker of a controlled agent.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.u64(kind::ICE_CONTROLLED)
    }
}

impl fmt::Debug for Message<'_> {
    /// Kinds and lengths only: values may be secrets, or a stranger's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.method(), self.class(), self.transaction_id())?;
        self.attributes()
            .try_for_each(|attribute| write!(f, " {}({})", attribute.kind, attribute.value.len()))
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawAttribute<'a> {
    /// Its kind.
    pub kind: AttributeKind,
    /// Its value, without padding.
    pub value: &'a [u8],
    /// Where in the message it begins.
    pub offset: usize,
}

impl RawAttribute<'_> {
    /// Bytes it takes, with header and padding.
    fn size(&self) -> usize {
        4 + self.value.len().next_multiple_of(4)
    }
}

impl fmt::Debug for RawAttribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes at {})", self.kind, self.value.len(), self.offset)
    }
}

/// The attributes of a message that count, in their order.
#[derive(Clone)]
pub struct Attributes<'a> {
    message: Message<'a>,
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    fn next(&mut self) -> Option<RawAttribute<'a>> {
        let Marks { sha1, sha256, fingerprint, end } = self.message.marks;
        if self.offset >= end {
            // Of what stands behind, in this order, only these three count.
            self.offset = [sha1, sha256, fingerprint].into_iter().find(|&at| at != 0 && at >= self.offset)?;
        }
        let attribute = attribute_at(self.message.bytes, self.offset)?;
        self.offset += attribute.size();
        Some(attribute)
    }
}

/// The attribute at `offset`, if header, value and padding lie within `bytes`.
fn attribute_at(bytes: &[u8], offset: usize) -> Option<RawAttribute<'_>> {
    let &[k0, k1, l0, l1, ref rest @ ..] = bytes.get(offset..)? else { return None };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length.next_multiple_of(4) > rest.len() {
        return None;
    }
    Some(RawAttribute { kind: AttributeKind(u16::from_be_bytes([k0, k1])), value: &rest[..length], offset })
}

/// The value of FINGERPRINT for a message whose length field already counts it, and that begins with `head`.
pub(crate) fn fingerprint(head: &[u8]) -> u32 {
    crypto::crc32(&[head]) ^ FINGERPRINT_XOR
}

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where.
    pub offset: usize,
}

/// What is wrong with bytes that are not a STUN message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseErrorKind {
    /// Shorter than a header.
    #[error("the message is cut off")]
    Truncated,
    /// The first two bits, or the magic cookie, say that this is another protocol.
    #[error("not a STUN message")]
    NotStun,
    /// The length field is not that of the datagram, or no multiple of 4.
    #[error("the message length is wrong")]
    WrongLength,
    /// An attribute ends behind the message.
    #[error("an attribute exceeds the message")]
    AttributeBounds,
    /// Something stands behind FINGERPRINT, which must be the last attribute (RFC 8489 §14.7).
    #[error("something follows FINGERPRINT")]
    AfterFingerprint,
}
