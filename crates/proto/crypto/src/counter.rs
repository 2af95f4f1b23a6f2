use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// AES in counter mode, with counters of the caller's choosing: what SRTP encrypts with and derives its keys by.
///
/// Nothing vouches for what it encrypts, so it goes together with a message authentication code; and one block of
/// counter must never be used twice with one key.
pub struct AesCounterKey(EncryptingKey);

impl AesCounterKey {
    /// The cipher under a key of 16 bytes (AES-128) or 32 (AES-256).
    ///
    /// # Panics
    /// If the key has another length.
    pub fn new(key: &[u8]) -> Self {
        let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
        let key = UnboundCipherKey::new(algorithm, key).expect("16 or 32 bytes are a key of AES");
        Self(EncryptingKey::ctr(key).expect("AES has a counter mode"))
    }

    /// Encrypts or decrypts `bytes`, which is the same, where they lie: the first 16 of them with this block, the
    /// next with the number after it, as big-endian integers of 128 bits.
    pub fn apply(&self, counter: [u8; 16], bytes: &mut [u8]) {
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        self.0.less_safe_encrypt(bytes, context).expect("counter mode takes any length");
    }
}

impl fmt::Debug for AesCounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesCounterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A F.5.1 and F.5.5: the first two blocks.
    #[test]
    fn it_is_aes_in_counter_mode() {
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let counter = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        let plain = bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        for (key, sealed) in [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            ),
        ] {
            let key = AesCounterKey::new(&bytes(key));
            let mut place = plain.clone();
            key.apply(counter, &mut place);
            assert_eq!(place, bytes(sealed));
            key.apply(counter, &mut place);
            assert_eq!(place, plain);
        }
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", AesCounterKey::new(&[7; 16])), "AesCounterKey(..)");
    }
}
