use std::fmt;

use sansio::Rng;

/// Bytes of a message before its attributes (RFC 8489 §5).
pub const HEADER_BYTES: usize = 20;

/// Bytes 4 to 8 of every message (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// What a message is about: 12 bits (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(pub u16);

impl Method {
    /// Which address do you see me at? Also the connectivity check of ICE.
    pub const BINDING: Self = Self(0x001);
    /// TURN: give me a relayed address (RFC 8656 §7).
    pub const ALLOCATE: Self = Self(0x003);
    /// TURN: keep it, or give it back (RFC 8656 §8).
    pub const REFRESH: Self = Self(0x004);
    /// TURN: send these bytes to that peer; indications only (RFC 8656 §11).
    pub const SEND: Self = Self(0x006);
    /// TURN: these bytes came from that peer; indications only (RFC 8656 §11).
    pub const DATA: Self = Self(0x007);
    /// TURN: let these peers send to me (RFC 8656 §10).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// TURN: let this number stand for that peer (RFC 8656 §12).
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// TURN over TCP: connect to that peer (RFC 6062 §4.3).
    pub const CONNECT: Self = Self(0x00A);
    /// TURN over TCP: this connection carries that peer's bytes (RFC 6062 §4.4).
    pub const CONNECTION_BIND: Self = Self(0x00B);
    /// TURN over TCP: a peer wants to connect; indications only (RFC 6062 §5.3).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00C);
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            Self(other) => return write!(f, "Method({other:#05x})"),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a message is for: 2 bits (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none, and never gets one.
    Indication,
    /// The answer to a request: yes.
    Success,
    /// The answer to a request: no, with an [`ErrorCode`](crate::ErrorCode).
    Error,
}

/// Ties an answer to its request: 96 random bits, which nobody off the path can guess (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl TransactionId {
    /// A new one. The generator must be cryptographically secure, as a machine's own is.
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.bytes())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The 14-bit message type: the class's two bits stand between the method's twelve (RFC 8489 §5, figure 3).
pub(crate) fn message_type(class: Class, method: Method) -> u16 {
    let m = method.0 & 0x0FFF;
    let c = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    (m & 0x0F80) << 2 | (m & 0x0070) << 1 | m & 0x000F | c
}

/// The inverse of [`message_type`], for a value whose two highest bits are zero.
pub(crate) fn split_message_type(value: u16) -> (Class, Method) {
    let class = match value & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    (class, Method((value & 0x3E00) >> 2 | (value & 0x00E0) >> 1 | value & 0x000F))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_type_splits_and_joins() {
        for value in 0..0x4000 {
            let (class, method) = split_message_type(value);
            assert_eq!(message_type(class, method), value);
        }
        // The two examples of RFC 8489 §5.
        assert_eq!(message_type(Class::Request, Method::BINDING), 0x0001);
        assert_eq!(message_type(Class::Success, Method::BINDING), 0x0101);
    }
}
