//! Authenticated encryption with associated data.

use std::fmt;

use aws_lc_rs::aead;

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

    // NIST GCM test case 14: key and nonce of zeros, one block of zeros.
    #[test]
    fn it_is_aes_256_gcm() {
        let sealed = Aes256Gcm::new(&[0; 32]).seal([0; 12], b"", &[0; 16]);
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }
}
