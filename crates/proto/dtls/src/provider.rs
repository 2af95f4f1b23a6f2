//! The engine's cipher suites for DTLS 1.2, with nonces that are unique by construction.
//!
//! The engine draws the explicit nonce of AES-GCM at random. RFC 5288 §3 demands that it be unique, and RFC 9325
//! §7.2.1 that it come from a counter: with random ones two records of a long transfer would share a nonce
//! with a probability that grows with the square of their number, and that gives away the authentication key. These
//! suites seal with the sequence number instead, and [`crate::record::write_nonces`] puts it into the record.

use crypto::Certificate;
use dimpl::CryptoError;
use dimpl::crypto::{
    Aad, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, HashAlgorithm, NamedGroup, Nonce,
    SupportedDtls12CipherSuite, TmpBuf, aws_lc_rs,
};

use crate::ConfigError;

/// The suite that RFC 8827 §6.5 demands of everybody. ChaCha20-Poly1305 is left out, so that every protected record of
/// DTLS 1.2 has an explicit nonce. AES-256 is left out, because the engine tests all that it is given whenever it is
/// made, which with SHA-384 and P-384 takes longer than the handshake.
const SUITES: &[&dyn SupportedDtls12CipherSuite] =
    &[&Sequential(Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256)];

/// The engine's provider with this suite, and with X25519 and P-256, which everybody has, without P-384.
pub(crate) fn provider() -> CryptoProvider {
    let original = aws_lc_rs::default_provider();
    let groups = original.kx_groups;
    let first_two = groups.get(..2).filter(|two| {
        two.iter().all(|group| matches!(group.name(), NamedGroup::X25519 | NamedGroup::Secp256r1))
    });
    CryptoProvider { cipher_suites: SUITES, kx_groups: first_two.unwrap_or(groups), ..original }
}

/// Whether a certificate's key can be used: ECDSA on P-256 or P-384.
///
/// # Errors
/// [`ConfigError::UnusableKey`] if not.
pub fn check_key(certificate: &Certificate) -> Result<(), ConfigError> {
    let key = provider().key_provider.load_private_key(&certificate.private_key_der);
    key.map(drop).map_err(|_| ConfigError::UnusableKey)
}

#[derive(Debug)]
struct Sequential(Dtls12CipherSuite);

impl Sequential {
    fn original(&self) -> &'static dyn SupportedDtls12CipherSuite {
        let suites = aws_lc_rs::default_provider().cipher_suites;
        *suites.iter().find(|suite| suite.suite() == self.0).expect("the engine has this suite")
    }
}

impl SupportedDtls12CipherSuite for Sequential {
    fn suite(&self) -> Dtls12CipherSuite {
        self.0
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.original().hash_algorithm()
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        self.original().key_lengths()
    }

    fn explicit_nonce_len(&self) -> usize {
        self.original().explicit_nonce_len()
    }

    fn tag_len(&self) -> usize {
        self.original().tag_len()
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Ok(Box::new(SequentialCipher(self.original().create_cipher(key)?)))
    }
}

#[derive(Debug)]
struct SequentialCipher(Box<dyn Cipher>);

impl Cipher for SequentialCipher {
    fn encrypt(&mut self, plaintext: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        // The additional data begins with the epoch and the sequence number (RFC 6347 §4.1.2.1).
        let sequence = aad.0.first_chunk::<8>().ok_or(CryptoError::InvalidNonce)?;
        let mut unique = nonce.0;
        unique[4..].copy_from_slice(sequence);
        self.0.encrypt(plaintext, aad, Nonce(unique))
    }

    fn decrypt(&mut self, ciphertext: &mut TmpBuf<'_>, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        self.0.decrypt(ciphertext, aad, nonce)
    }
}
