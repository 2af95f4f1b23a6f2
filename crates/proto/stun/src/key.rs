use std::fmt;

use crypto::HmacSha1Key;

use crate::opaque::prepared;
use crate::{PasswordAlgorithm, PasswordHash};

/// What signs and checks messages. The state of HMAC-SHA1, which everybody uses, is computed once, so keep it rather than the
/// password.
///
/// Realms and passwords are used as [`opaque_string`](crate::opaque_string) has them; what it refuses, as it is.
#[derive(Clone)]
pub struct Key {
    sha1: HmacSha1Key,
    /// For HMAC-SHA256. Its state would be a kilobyte, and most keys never need it.
    bytes: Box<[u8]>,
}

impl Key {
    /// The key of a short-term credential: the password itself (RFC 8489 §9.1.1).
    pub fn short_term(password: &str) -> Self {
        Self::from_bytes(prepared(password).as_bytes())
    }

    /// The key of a long-term credential: a hash of username, realm and password (RFC 8489 §9.2.2, §18.5.1). The username is
    /// taken as it stands in USERNAME.
    pub fn long_term(algorithm: PasswordAlgorithm, username: &str, realm: &str, password: &str) -> Self {
        PasswordHash::new(algorithm, username, realm, password).key()
    }

    /// A key that is stored as such, like the H(A1) of SIP's user databases (RFC 8489 §9.2.2).
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { sha1: HmacSha1Key::new(bytes), bytes: bytes.into() }
    }

    /// The value of MESSAGE-INTEGRITY for a message that begins with `head` and ends, counting the attribute,
    /// at `length` bytes after its header.
    pub(crate) fn sha1(&self, head: &[u8], length: u16) -> [u8; 20] {
        let (start, rest) = head.split_at(2);
        self.sha1.sign(&[start, &length.to_be_bytes(), &rest[2..]])
    }

    /// The same for MESSAGE-INTEGRITY-SHA256.
    pub(crate) fn sha256(&self, head: &[u8], length: u16) -> [u8; 32] {
        let (start, rest) = head.split_at(2);
        crypto::hmac_sha256(&self.bytes, &[start, &length.to_be_bytes(), &rest[2..]])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The value of USERHASH: a username that only who knows it recognises (RFC 8489 §14.4).
pub fn user_hash(username: &str, realm: &str) -> [u8; 32] {
    crypto::sha256(&[prepared(username).as_bytes(), b":", prepared(realm).as_bytes()])
}

/// Without quotes around it and zeros after it (RFC 8489 §9.2.2).
pub(crate) fn bare(text: &str) -> &str {
    let text = text.trim_end_matches('\0');
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The two ways to sign a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY (RFC 8489 §14.5).
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6).
    Sha256,
}

/// Why a message is not to be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IntegrityError {
    /// It carries neither MESSAGE-INTEGRITY nor MESSAGE-INTEGRITY-SHA256.
    #[error("the message is not signed")]
    Missing,
    /// The HMAC differs, or has not the length it must have.
    #[error("the message is not signed with this key")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of RFC 8489 §9.2.2.
    #[test]
    fn the_long_term_key_is_that_of_the_rfc() {
        let expected: Vec<u8> = vec![
            0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb, 0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb,
        ];
        let head = [0; 24];
        let made = Key::long_term(PasswordAlgorithm::Md5, "user", "realm", "pass");
        assert_eq!(made.sha1(&head, 24), Key::from_bytes(&expected).sha1(&head, 24));
        let quoted = Key::long_term(PasswordAlgorithm::Md5, "user\0", "\"realm\"", "pass\0\0");
        assert_eq!(quoted.sha1(&head, 24), made.sha1(&head, 24));
    }

    // RFC 8489 §9.1.1, §9.2.2.
    #[test]
    fn realms_and_passwords_are_the_same_however_they_were_typed() {
        let head = [0; 24];
        let sha1 = |key: Key| key.sha1(&head, 24);
        for algorithm in [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256] {
            let typed = Key::long_term(algorithm, "user", "Ko\u{308}ln", "mu\u{308}de\u{a0}Nacht");
            assert_eq!(sha1(typed), sha1(Key::long_term(algorithm, "user", "Köln", "müde Nacht")));
            // The username is what stands in the message.
            let [raw, composed] =
                ["Jose\u{301}", "José"].map(|name| sha1(Key::long_term(algorithm, name, "r", "p")));
            assert_ne!(raw, composed);
        }
        assert_eq!(sha1(Key::short_term("Jose\u{301}")), sha1(Key::short_term("José")));
        assert_eq!(user_hash("Jose\u{301}", "Ko\u{308}ln"), user_hash("José", "Köln"));
        // No password of the profile, and one nevertheless.
        assert_eq!(sha1(Key::short_term("a\tb")), sha1(Key::from_bytes(b"a\tb")));
    }
}
