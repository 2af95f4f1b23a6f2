use std::fmt;
use std::str::FromStr;

use crate::key::bare;
use crate::opaque::prepared;
use crate::{Key, PasswordAlgorithm};

/// What is left of a password once it need not be known any more: a hash of username, realm and password, from which the
/// [`Key`] of long-term credentials is made (RFC 8489 §9.2.2, §18.5.1).
///
/// It lets whoever has it log in as that user in that realm, and tells nothing of the password elsewhere. Written as
/// `sha256:…` or `md5:…` with the hash in hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PasswordHash {
    /// For clients of RFC 5389, which is what browsers are.
    Md5([u8; 16]),
    /// For clients of RFC 8489.
    Sha256([u8; 32]),
}

impl PasswordHash {
    /// The hash of a password. The username is taken as it stands in USERNAME; realm and password are used as
    /// [`opaque_string`](crate::opaque_string) has them.
    pub fn new(algorithm: PasswordAlgorithm, username: &str, realm: &str, password: &str) -> Self {
        let password = password.trim_end_matches('\0');
        let (username, realm, password) = (bare(username), prepared(bare(realm)), prepared(password));
        let parts: &[&[u8]] = &[username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
        match algorithm {
            PasswordAlgorithm::Md5 => Self::Md5(crypto::md5(parts)),
            PasswordAlgorithm::Sha256 => Self::Sha256(crypto::sha256(parts)),
        }
    }

    /// How it was made.
    pub fn algorithm(&self) -> PasswordAlgorithm {
        match self {
            Self::Md5(_) => PasswordAlgorithm::Md5,
            Self::Sha256(_) => PasswordAlgorithm::Sha256,
        }
    }

    /// The key that signs and checks messages.
    pub fn key(&self) -> Key {
        match self {
            Self::Md5(bytes) => Key::from_bytes(bytes),
            Self::Sha256(bytes) => Key::from_bytes(bytes),
        }
    }

    /// As it stands in a file. Whoever reads it can log in.
    pub fn to_text(&self) -> String {
        let (name, bytes): (_, &[u8]) = match self {
            Self::Md5(bytes) => ("md5", bytes),
            Self::Sha256(bytes) => ("sha256", bytes),
        };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}:{hex}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;
    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        match text.split_once(':') {
            Some(("md5", hex)) => unhex(hex).map(Self::Md5),
            Some(("sha256", hex)) => unhex(hex).map(Self::Sha256),
            _ => None,
        }
        .ok_or(PasswordHashError)
    }
}

fn unhex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A text is no [`PasswordHash`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a password hash is `md5:` and 32 or `sha256:` and 64 hex digits")]
pub struct PasswordHashError;

#[cfg(test)]
mod tests {
    use super::*;

    // The example of RFC 8489 §9.2.2.
    #[test]
    fn hashes_read_as_they_are_written() {
        let md5 = PasswordHash::new(PasswordAlgorithm::Md5, "user", "realm", "pass");
        assert_eq!(md5.to_text(), "md5:8493fbc53ba582fb4c044c456bdc40eb");
        let sha256 = PasswordHash::new(PasswordAlgorithm::Sha256, "user", "realm", "pass");
        for hash in [md5, sha256] {
            assert_eq!(hash.to_text().parse(), Ok(hash));
            assert_eq!(format!("{hash:?}"), "PasswordHash(..)");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let short = "md5:8493fbc53ba582fb4c044c456bdc40e";
        for text in ["", "md5:", "pass", short, "md5:+493fbc53ba582fb4c044c456bdc40eb", "sha1:00", "md5:ä"] {
            assert_eq!(text.parse::<PasswordHash>(), Err(PasswordHashError), "{text}");
        }
    }
}
