//! The numbers of attributes: those of STUN and of what is built on it, in one place.

use std::fmt;

/// The kind of an attribute: its number in the IANA registry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeKind(pub u16);

impl AttributeKind {
    /// Whether a receiver that does not know it must not process the message (RFC 8489 §14).
    pub fn comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: AttributeKind = AttributeKind($value);)*

        impl fmt::Debug for AttributeKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $($name => f.write_str($text),)*
                    AttributeKind(other) => write!(f, "{other:#06x}"),
                }
            }
        }
    };
}

impl fmt::Display for AttributeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

kinds! {
    /// The sender's address as the server sees it, in the clear (RFC 8489 §14.1).
    MAPPED_ADDRESS = 0x0001, "MAPPED-ADDRESS";
    /// Answer from another address or port (RFC 5780 §7.2).
    CHANGE_REQUEST = 0x0003, "CHANGE-REQUEST";
    /// Who asks (RFC 8489 §14.3).
    USERNAME = 0x0006, "USERNAME";
    /// HMAC-SHA1 of what stands before it (RFC 8489 §14.5).
    MESSAGE_INTEGRITY = 0x0008, "MESSAGE-INTEGRITY";
    /// Why not (RFC 8489 §14.8).
    ERROR_CODE = 0x0009, "ERROR-CODE";
    /// What was not understood (RFC 8489 §14.13).
    UNKNOWN_ATTRIBUTES = 0x000A, "UNKNOWN-ATTRIBUTES";
    /// The number of a TURN channel (RFC 8656 §18.1).
    CHANNEL_NUMBER = 0x000C, "CHANNEL-NUMBER";
    /// Seconds that an allocation lives (RFC 8656 §18.2).
    LIFETIME = 0x000D, "LIFETIME";
    /// The peer's address (RFC 8656 §18.3).
    XOR_PEER_ADDRESS = 0x0012, "XOR-PEER-ADDRESS";
    /// The relayed bytes (RFC 8656 §18.4).
    DATA = 0x0013, "DATA";
    /// Where the username is valid (RFC 8489 §14.9).
    REALM = 0x0014, "REALM";
    /// The server's challenge (RFC 8489 §14.10).
    NONCE = 0x0015, "NONCE";
    /// The relayed address (RFC 8656 §18.5).
    XOR_RELAYED_ADDRESS = 0x0016, "XOR-RELAYED-ADDRESS";
    /// IPv4 or IPv6, please (RFC 8656 §18.6).
    REQUESTED_ADDRESS_FAMILY = 0x0017, "REQUESTED-ADDRESS-FAMILY";
    /// An even port, please (RFC 8656 §18.7).
    EVEN_PORT = 0x0018, "EVEN-PORT";
    /// The protocol between the relay and its peers (RFC 8656 §18.8).
    REQUESTED_TRANSPORT = 0x0019, "REQUESTED-TRANSPORT";
    /// Do not fragment towards the peer (RFC 8656 §18.9).
    DONT_FRAGMENT = 0x001A, "DONT-FRAGMENT";
    /// An OAuth token (RFC 7635 §6.2).
    ACCESS_TOKEN = 0x001B, "ACCESS-TOKEN";
    /// HMAC-SHA256 of what stands before it (RFC 8489 §14.6).
    MESSAGE_INTEGRITY_SHA256 = 0x001C, "MESSAGE-INTEGRITY-SHA256";
    /// How the key was made from the password (RFC 8489 §14.12).
    PASSWORD_ALGORITHM = 0x001D, "PASSWORD-ALGORITHM";
    /// Who asks, hashed (RFC 8489 §14.4).
    USERHASH = 0x001E, "USERHASH";
    /// The sender's address as the server sees it (RFC 8489 §14.2).
    XOR_MAPPED_ADDRESS = 0x0020, "XOR-MAPPED-ADDRESS";
    /// Names a reserved port (RFC 8656 §18.10).
    RESERVATION_TOKEN = 0x0022, "RESERVATION-TOKEN";
    /// The priority that a peer-reflexive candidate would have (RFC 8445 §16.1).
    PRIORITY = 0x0024, "PRIORITY";
    /// This pair, please (RFC 8445 §16.1).
    USE_CANDIDATE = 0x0025, "USE-CANDIDATE";
    /// Makes the message longer (RFC 5780 §7.6).
    PADDING = 0x0026, "PADDING";
    /// Answer to this port (RFC 5780 §7.5).
    RESPONSE_PORT = 0x0027, "RESPONSE-PORT";
    /// Names a peer's TCP connection (RFC 6062 §6.2.1).
    CONNECTION_ID = 0x002A, "CONNECTION-ID";
    /// A relayed address of the other family, too (RFC 8656 §18.11).
    ADDITIONAL_ADDRESS_FAMILY = 0x8000, "ADDITIONAL-ADDRESS-FAMILY";
    /// That family was not to be had (RFC 8656 §18.12).
    ADDRESS_ERROR_CODE = 0x8001, "ADDRESS-ERROR-CODE";
    /// The ways to make a key from the password that the server takes (RFC 8489 §14.11).
    PASSWORD_ALGORITHMS = 0x8002, "PASSWORD-ALGORITHMS";
    /// The name on the other server's certificate (RFC 8489 §14.16).
    ALTERNATE_DOMAIN = 0x8003, "ALTERNATE-DOMAIN";
    /// An ICMP message came from the peer's side (RFC 8656 §18.13).
    ICMP = 0x8004, "ICMP";
    /// Which program this is (RFC 8489 §14.14).
    SOFTWARE = 0x8022, "SOFTWARE";
    /// Ask there (RFC 8489 §14.15).
    ALTERNATE_SERVER = 0x8023, "ALTERNATE-SERVER";
    /// CRC-32 of what stands before it; the last attribute (RFC 8489 §14.7).
    FINGERPRINT = 0x8028, "FINGERPRINT";
    /// The sender is the controlled agent (RFC 8445 §16.1).
    ICE_CONTROLLED = 0x8029, "ICE-CONTROLLED";
    /// The sender is the controlling agent (RFC 8445 §16.1).
    ICE_CONTROLLING = 0x802A, "ICE-CONTROLLING";
    /// The address this answer comes from (RFC 5780 §7.3).
    RESPONSE_ORIGIN = 0x802B, "RESPONSE-ORIGIN";
    /// The server's other address (RFC 5780 §7.4).
    OTHER_ADDRESS = 0x802C, "OTHER-ADDRESS";
    /// Take OAuth tokens from there (RFC 7635 §6.1).
    THIRD_PARTY_AUTHORIZATION = 0x802E, "THIRD-PARTY-AUTHORIZATION";
    /// Lets an allocation move to another address (RFC 8016 §3).
    MOBILITY_TICKET = 0x8030, "MOBILITY-TICKET";
    /// A packet of a DTLS handshake (draft-hancke-webrtc-sped-00).
    META_DTLS_IN_STUN = 0xC070, "META-DTLS-IN-STUN";
    /// Which such packets have arrived (draft-hancke-webrtc-sped-00).
    META_DTLS_IN_STUN_ACKNOWLEDGEMENT = 0xC071, "META-DTLS-IN-STUN-ACKNOWLEDGEMENT";
}

/// Those that RFC 8489 itself defines and requires to be comprehended: no receiver need list them as known.
pub(crate) const COMPREHENDED: [AttributeKind; 11] = [
    MAPPED_ADDRESS,
    USERNAME,
    MESSAGE_INTEGRITY,
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    REALM,
    NONCE,
    MESSAGE_INTEGRITY_SHA256,
    PASSWORD_ALGORITHM,
    USERHASH,
    XOR_MAPPED_ADDRESS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_print_as_the_rfcs_spell_them() {
        assert_eq!(XOR_MAPPED_ADDRESS.to_string(), "XOR-MAPPED-ADDRESS");
        assert_eq!(AttributeKind(0xC0FE).to_string(), "0xc0fe");
        assert!(USERNAME.comprehension_required() && !SOFTWARE.comprehension_required());
    }
}
