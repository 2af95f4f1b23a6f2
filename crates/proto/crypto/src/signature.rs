//! Signatures of certificates' owners.

use std::fmt;

use aws_lc_rs::signature::{self, VerificationAlgorithm};

use crate::x509::public_key;

/// How a signature is made, by TLS's number (RFC 8446 §4.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignatureScheme(pub u16);

impl SignatureScheme {
    /// ECDSA with SHA-256; on P-256 where TLS 1.3 asks for one curve.
    pub const ECDSA_SHA256: Self = Self(0x0403);
    /// ECDSA with SHA-384; on P-384 where TLS 1.3 asks for one curve.
    pub const ECDSA_SHA384: Self = Self(0x0503);
    /// RSASSA-PSS with SHA-256, under a key that says RSA.
    pub const RSA_PSS_SHA256: Self = Self(0x0804);
    /// RSASSA-PKCS1-v1_5 with SHA-256: TLS 1.2 only.
    pub const RSA_PKCS1_SHA256: Self = Self(0x0401);

    /// Those that can be verified, the best first.
    pub const ALL: [Self; 4] =
        [Self::ECDSA_SHA256, Self::ECDSA_SHA384, Self::RSA_PSS_SHA256, Self::RSA_PKCS1_SHA256];

    fn algorithms(self) -> &'static [&'static dyn VerificationAlgorithm] {
        match self {
            Self::ECDSA_SHA256 => &[&signature::ECDSA_P256_SHA256_ASN1, &signature::ECDSA_P384_SHA256_ASN1],
            Self::ECDSA_SHA384 => &[&signature::ECDSA_P384_SHA384_ASN1, &signature::ECDSA_P256_SHA384_ASN1],
            Self::RSA_PSS_SHA256 => &[&signature::RSA_PSS_2048_8192_SHA256],
            Self::RSA_PKCS1_SHA256 => &[&signature::RSA_PKCS1_2048_8192_SHA256],
            _ => &[],
        }
    }

    /// Whether `signature` was made over `message` with the private key that belongs to the certificate (X.509 in DER).
    ///
    /// # Errors
    /// If not, or if the certificate has no key that this scheme is for.
    pub fn verify(self, certificate: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let key = public_key(certificate).ok_or(SignatureError)?;
        let is_right =
            |algorithm: &&dyn VerificationAlgorithm| algorithm.verify_sig(key, message, signature).is_ok();
        if self.algorithms().iter().any(is_right) { Ok(()) } else { Err(SignatureError) }
    }
}

/// How often a signature is made anew for its length: half of all fit.
pub(crate) const MAX_DRAWS: usize = 64;

/// A private key that signs: ECDSA on P-256 or P-384.
pub struct SigningKey {
    pair: signature::EcdsaKeyPair,
    scheme: SignatureScheme,
}

impl SigningKey {
    /// From PKCS #8 or SEC1, in DER.
    ///
    /// # Errors
    /// If it is not such a key.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let known = [
            (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, SignatureScheme::ECDSA_SHA256),
            (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, SignatureScheme::ECDSA_SHA384),
        ];
        known
            .into_iter()
            .find_map(|(algorithm, scheme)| {
                let pair = signature::EcdsaKeyPair::from_private_key_der(algorithm, der).ok()?;
                Some(Self { pair, scheme })
            })
            .ok_or(SignatureError)
    }

    /// How it signs.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// Signs. Draws from the operating system's random generator, until the signature is as long as half of all are:
    /// so all handshakes have one size, and those of a simulated internet repeat to the byte.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let mut made = self.pair.sign(&random, message).map_err(|_| SignatureError)?;
        for _ in 0..MAX_DRAWS {
            if made.as_ref().len() == self.usual_length() {
                break;
            }
            made = self.pair.sign(&random, message).map_err(|_| SignatureError)?;
        }
        Ok(made.as_ref().to_vec())
    }

    /// Of two numbers in DER, one has its highest bit set, and so a byte of zeros before it.
    fn usual_length(&self) -> usize {
        let number = if self.scheme == SignatureScheme::ECDSA_SHA384 { 48 } else { 32 };
        const HEADER: usize = 2;
        HEADER + 2 * (HEADER + number) + 1
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.scheme)
    }
}

/// A signature, a key or a certificate that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the signature does not belong to this key, or the key cannot be used")]
pub struct SignatureError;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Certificate;

    #[test]
    fn who_owns_the_certificate_can_sign_and_nobody_else() {
        let (ours, other) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        let key = SigningKey::from_der(&ours.private_key_der).unwrap();
        let signed = key.sign(b"message").unwrap();
        assert_eq!(key.scheme(), SignatureScheme::ECDSA_SHA256);
        assert_eq!(signed.len(), 71);
        assert_eq!(key.scheme().verify(&ours.der, b"message", &signed), Ok(()));
        assert_eq!(key.scheme().verify(&ours.der, b"massage", &signed), Err(SignatureError));
        assert_eq!(key.scheme().verify(&other.der, b"message", &signed), Err(SignatureError));
        for scheme in SignatureScheme::ALL.into_iter().skip(1) {
            assert_eq!(scheme.verify(&ours.der, b"message", &signed), Err(SignatureError), "{scheme:?}");
        }
    }

    #[test]
    fn other_keys_verify_too() {
        let sign = |algorithm, scheme: SignatureScheme| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            let signer = SigningKey::from_der(&key.serialize_der());
            (certificate.der().to_vec(), key, signer, scheme)
        };
        let (certificate, _, signer, scheme) =
            sign(&rcgen::PKCS_ECDSA_P384_SHA384, SignatureScheme::ECDSA_SHA384);
        let signer = signer.unwrap();
        assert_eq!(signer.scheme(), scheme);
        assert_eq!(scheme.verify(&certificate, b"m", &signer.sign(b"m").unwrap()), Ok(()));

        let (certificate, key, signer, scheme) =
            sign(&rcgen::PKCS_RSA_SHA256, SignatureScheme::RSA_PKCS1_SHA256);
        assert_eq!(signer.err(), Some(SignatureError), "we do not sign with RSA");
        let signed = rcgen::SigningKey::sign(&key, b"m").unwrap();
        assert_eq!(scheme.verify(&certificate, b"m", &signed), Ok(()));
        assert_eq!(SignatureScheme::RSA_PSS_SHA256.verify(&certificate, b"m", &signed), Err(SignatureError));
    }
}
