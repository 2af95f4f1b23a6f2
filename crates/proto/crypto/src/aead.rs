//! Authenticated encryption with associated data.

use std::fmt;

use aws_lc_rs::aead::{self, quic};

/// Bytes that [`Aes256Gcm::seal`] adds to a plaintext.
pub const TAG_BYTES: usize = 16;

/// AES-256 in Galois/counter mode, with nonces of the caller's choosing.
///
/// One nonce must never be used twice with one key: count, or derive a key per direction and count.
pub struct Aes256Gcm(aead::LessSafeKey);

impl Aes256Gcm {
    /// The cipher under a key, which must be secret and uniformly random.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("32 bytes are a key of AES-256");
        Self(aead::LessSafeKey::new(key))
    }

    /// Encrypts `plaintext` and vouches for `aad`, which is not encrypted. The result is [`TAG_BYTES`]
    /// longer.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        bytes.extend_from_slice(plaintext);
        self.0
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(aad),
                &mut bytes,
            )
            .expect("a plaintext in memory is shorter than the 64 GiB that GCM takes");
        bytes
    }

    /// Decrypts what [`Aes256Gcm::seal`] made with the same nonce and `aad`.
    pub fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut bytes = sealed.to_vec();
        let length = self
            .0
            .open_in_place(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), &mut bytes)
            .map_err(|_| OpenError)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for Aes256Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes256Gcm(..)")
    }
}

/// The ciphers that protect TLS's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aead {
    /// AES-128 in Galois/counter mode.
    Aes128Gcm,
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
    /// ChaCha20 with Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl Aead {
    /// Bytes of a key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A key of an [`Aead`], for records that are sealed and opened where they lie.
///
/// One nonce must never be used twice with one key.
pub struct AeadKey(aead::LessSafeKey);

impl AeadKey {
    /// The cipher under a key.
    ///
    /// # Panics
    /// If the key has not [`Aead::key_bytes`].
    pub fn new(aead: Aead, key: &[u8]) -> Self {
        let algorithm = match aead {
            Aead::Aes128Gcm => &aead::AES_128_GCM,
            Aead::Aes256Gcm => &aead::AES_256_GCM,
            Aead::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = aead::UnboundKey::new(algorithm, key).expect("the key has the cipher's length");
        Self(aead::LessSafeKey::new(key))
    }

    /// Encrypts all of `bytes` but the last [`TAG_BYTES`], into which it writes the tag.
    ///
    /// # Panics
    /// If `bytes` is shorter than a tag.
    pub fn seal(&self, nonce: [u8; 12], aad: &[u8], bytes: &mut [u8]) {
        let (plain, place) = bytes.split_at_mut(bytes.len() - TAG_BYTES);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(aad),
                plain,
            )
            .expect("a record is shorter than what the cipher takes");
        place.copy_from_slice(tag.as_ref());
    }

    /// Decrypts `bytes`, which end with the tag, and returns what was sealed. If it fails, their content is lost.
    ///
    /// # Errors
    /// If they were not sealed with this key, nonce and `aad`.
    pub fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        bytes: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        self.0
            .open_in_place(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(aad), bytes)
            .map_err(|_| OpenError)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

/// A key that hides the numbers of records (RFC 9147 §4.2.3, as QUIC hides its own).
pub struct MaskKey(quic::HeaderProtectionKey);

impl MaskKey {
    /// The block cipher of `aead` under a key.
    ///
    /// # Panics
    /// If the key has not [`Aead::key_bytes`].
    pub fn new(aead: Aead, key: &[u8]) -> Self {
        let algorithm = match aead {
            Aead::Aes128Gcm => &quic::AES_128,
            Aead::Aes256Gcm => &quic::AES_256,
            Aead::ChaCha20Poly1305 => &quic::CHACHA20,
        };
        Self(quic::HeaderProtectionKey::new(algorithm, key).expect("the key has the cipher's length"))
    }

    /// What the number of a record is hidden with that begins with these bytes of ciphertext.
    pub fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        self.0.new_mask(sample).expect("a sample is 16 bytes")
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(..)")
    }
}

/// The bytes were not sealed with this key, nonce and associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the sealed bytes do not belong to this key, or were changed")]
pub struct OpenError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_nonce_and_aad_open() {
        let cipher = Aes256Gcm::new(&[7; 32]);
        let sealed = cipher.seal([1; 12], b"aad", b"hello");
        assert_eq!(sealed.len(), 5 + TAG_BYTES);
        assert_eq!(cipher.open([1; 12], b"aad", &sealed).unwrap(), b"hello");
        assert_eq!(cipher.open([2; 12], b"aad", &sealed), Err(OpenError));
        assert_eq!(cipher.open([1; 12], b"AAD", &sealed), Err(OpenError));
        assert_eq!(Aes256Gcm::new(&[8; 32]).open([1; 12], b"aad", &sealed), Err(OpenError));
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert_eq!(cipher.open([1; 12], b"aad", &broken), Err(OpenError), "byte {at}");
        }
        assert_eq!(cipher.open([1; 12], b"aad", b"short"), Err(OpenError));
        assert_eq!(cipher.open([1; 12], b"aad", b""), Err(OpenError));
    }

    #[test]
    fn records_are_sealed_and_opened_where_they_lie() {
        for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
            let key = AeadKey::new(aead, &vec![7; aead.key_bytes()]);
            let mut record = [&b"hello"[..], &[0; TAG_BYTES]].concat();
            key.seal([1; 12], b"aad", &mut record);
            assert_ne!(record[..5], *b"hello");
            assert_eq!(key.open([1; 12], b"aad", &mut record.clone()).unwrap(), b"hello");
            assert_eq!(key.open([2; 12], b"aad", &mut record.clone()), Err(OpenError));
            assert_eq!(key.open([1; 12], b"AAD", &mut record.clone()), Err(OpenError));
            assert_eq!(key.open([1; 12], b"aad", &mut record[..TAG_BYTES - 1]), Err(OpenError));
        }
    }

    // RFC 9001 appendix A.2 and A.5: QUIC hides its numbers in the same way.
    #[test]
    fn masks_match_the_known_answers() {
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let mask = |aead, key: &str, sample: &str| {
            MaskKey::new(aead, &bytes(key)).mask(&bytes(sample).try_into().unwrap()).to_vec()
        };
        assert_eq!(
            mask(Aead::Aes128Gcm, "9f50449e04a0e810283a1e9933adedd2", "d1b1c98dd7689fb8ec11d242b123dc9b"),
            bytes("437b9aec36")
        );
        assert_eq!(
            mask(
                Aead::ChaCha20Poly1305,
                "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
                "5e5cd55c41f69080575d7999c25a5bfb"
            ),
            bytes("aefefe7d03")
        );
    }

    // NIST GCM test case 14: key and nonce of zeros, one block of zeros.
    #[test]
    fn it_is_aes_256_gcm() {
        let sealed = Aes256Gcm::new(&[0; 32]).seal([0; 12], b"", &[0; 16]);
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }
}
