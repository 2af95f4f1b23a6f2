//! Secrets, and how TLS makes one from another: HKDF (RFC 5869) and the PRF of TLS 1.2 (RFC 5246 §5).

use std::fmt;

use aws_lc_rs::{digest, hkdf, hmac, tls_prf};
use zeroize::Zeroize as _;

/// The longest secret: the agreement of two groups.
const LONGEST: usize = 64;

/// Bytes that nobody else may know, up to 64. Overwritten with zeros when dropped.
#[derive(Clone)]
pub struct Secret {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Secret {
    /// As many zeros as the hash is long, which stand for "no secret" in TLS.
    pub fn zeros(hash: Hash) -> Self {
        Self { bytes: [0; LONGEST], length: hash.bytes() }
    }

    /// The parts, one after another.
    ///
    /// # Panics
    /// If they are longer than 64 bytes.
    pub fn joined(parts: &[&[u8]]) -> Self {
        let mut secret = Self { bytes: [0; LONGEST], length: 0 };
        for part in parts {
            secret.bytes[secret.length..][..part.len()].copy_from_slice(part);
            secret.length += part.len();
        }
        secret
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The hash functions of TLS's cipher suites.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Hash {
    /// Bytes of its value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The hash of the concatenated parts.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
        };
        let mut context = digest::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// HMAC of the concatenated parts under a key (RFC 2104).
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        parts.iter().for_each(|part| context.update(part));
        Secret::joined(&[context.sign().as_ref()])
    }

    /// HKDF-Extract.
    pub fn extract(self, salt: &[u8], secret: &[u8]) -> Secret {
        self.hmac(salt, &[secret])
    }

    /// HKDF-Expand, to as many bytes as `out` has, which TLS never lets be too many.
    pub fn expand(self, secret: &Secret, info: &[&[u8]], out: &mut [u8]) {
        let algorithm = match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
        };
        let key = hkdf::Prk::new_less_safe(algorithm, secret.as_ref());
        let material = key.expand(info, Length(out.len())).expect("TLS asks for less than 255 hashes");
        material.fill(out).expect("it was asked for as many bytes");
    }

    /// The PRF of TLS 1.2.
    pub fn prf(self, secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
        let algorithm = match self {
            Self::Sha256 => &tls_prf::P_SHA256,
            Self::Sha384 => &tls_prf::P_SHA384,
        };
        let derived = tls_prf::Secret::new(algorithm, secret)
            .and_then(|secret| secret.derive(label, &seed.concat(), out.len()))
            .expect("the secret is not empty");
        out.copy_from_slice(derived.as_ref());
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // RFC 5869 appendix A.1.
    #[test]
    fn hkdf_in_two_steps_is_hkdf() {
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let key = Hash::Sha256.extract(&salt, &[0x0b; 22]);
        assert_eq!(hex(key.as_ref()), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let mut out = [0; 42];
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        Hash::Sha256.expand(&key, &[&info[..3], &info[3..]], &mut out);
        assert_eq!(
            hex(&out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    // The vector for TLS12PRF with SHA-256 that the TLS working group's list passed around.
    #[test]
    fn the_prf_of_tls_1_2_matches_the_known_answer() {
        let secret =
            [0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35];
        let seed =
            [0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c];
        let mut out = [0; 32];
        Hash::Sha256.prf(&secret, b"test label", &[&seed[..5], &seed[5..]], &mut out);
        assert_eq!(hex(&out), "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a");
    }

    #[test]
    fn secrets_do_not_show_themselves() {
        assert_eq!(format!("{:?}", Secret::joined(&[b"secret"])), "Secret(..)");
        assert_eq!(Secret::zeros(Hash::Sha384).as_ref(), [0; 48]);
    }
}
