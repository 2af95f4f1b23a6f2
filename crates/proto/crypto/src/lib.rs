//! The only door to crypto libraries: hashes, HMAC, AEAD, PAKE and certificates.
//!
//! Free functions and small types, so that the rest of Sterna names what it wants ("HMAC-SHA1 of these
//! parts") and never which library does it. Inputs that are put together from pieces are taken as slices of
//! parts, so that nobody copies a message only to hash it.
//!
//! Almost everything here is a pure function. Three things draw from the operating system's random generator,
//! because the libraries below leave no choice or because that is what they are for; only crates that touch
//! the world (`io`, `app`) call them: [`seed`], [`Certificate::generate`] and [`pake::Pake`]. Two more do, of which DTLS is
//! made: [`exchange`] and [`SigningKey::sign`].
//!
//! ```
//! use sterna_crypto as crypto;
//!
//! let key = crypto::HmacSha1Key::new(b"secret");
//! let tag = key.sign(&[b"header", b"body"]);
//! assert!(crypto::equal(&tag, &crypto::hmac_sha1(b"secret", &[b"headerbody"])));
//! ```

pub mod aead;
mod certificate;
mod counter;
mod crc32;
pub mod exchange;
mod fingerprint;
mod hash;
mod kdf;
mod mac;
pub mod pake;
mod signature;
mod x509;

pub use certificate::{Certificate, CertificateError};
pub use counter::AesCounterKey;
pub use crc32::crc32;
pub use fingerprint::{Fingerprint, FingerprintAlgorithm, FingerprintParseError};
pub use hash::{Blake3, Sha256, md5, sha1, sha256, sha384, sha512};
pub use kdf::{Hash, Secret};
pub use mac::{HmacSha1Key, HmacSha256Key, hkdf_sha256, hmac_sha1, hmac_sha256};
pub use signature::{SignatureError, SignatureScheme, SigningKey};
pub use x509::validity;

/// Whether two byte strings are equal, in a time that depends on their lengths only.
///
/// For everything that a stranger may guess at: message authentication codes, nonces, passwords.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// 32 bytes from the operating system's random generator: what a machine's seed is made from.
///
/// Ambient randomness, therefore for `io` and `app` crates only; machines are handed their seed.
///
/// # Panics
/// If the operating system has no random numbers to give; nothing secure can go on then.
pub fn seed() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system's random generator works");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_compares_content_and_length() {
        assert!(equal(b"", b""));
        assert!(equal(b"abc", b"abc"));
        assert!(!equal(b"abc", b"abd"));
        assert!(!equal(b"abc", b"ab"));
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
