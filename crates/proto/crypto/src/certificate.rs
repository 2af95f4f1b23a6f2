use std::fmt;

use zeroize::Zeroize as _;

use crate::signature::MAX_DRAWS;
use crate::{Fingerprint, FingerprintAlgorithm};

/// Bytes of a certificate of ours, when its signature has the usual length.
const LENGTH: usize = 291;

/// A certificate and its private key: what one end of a DTLS connection shows to the other.
///
/// For one that [`Certificate::generate`] made nobody vouches. The other side knows it by its
/// [`Certificate::fingerprint`], which travels in the SDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, X.509 in DER.
    pub der: Vec<u8>,
    /// The private key, PKCS #8 in DER. Overwritten with zeros when dropped.
    pub private_key_der: Vec<u8>,
    /// Who vouches for it: the certificate of its issuer, that of the issuer's issuer, and so on, in DER. They are shown with
    /// it, so that who trusts the last one's issuer trusts it.
    pub chain: Vec<Vec<u8>>,
}

impl Certificate {
    /// A new one: ECDSA on P-256, which all WebRTC peers take (RFC 8827 §6.5), under a name that says
    /// nothing. All have one length.
    ///
    /// Draws from the operating system's random generator.
    ///
    /// # Errors
    /// If the crypto library cannot make a key, which means that it has no random numbers.
    pub fn generate() -> Result<Self, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError(error.to_string());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        // Neither a zero first, which would be left out, nor the sign's bit.
        let mut serial = crate::seed()[..16].to_vec();
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(serial.into());
        let mut der = params.self_signed(&key).map_err(failed)?.der().to_vec();
        for _ in 0..MAX_DRAWS {
            if der.len() == LENGTH {
                break;
            }
            der = params.self_signed(&key).map_err(failed)?.der().to_vec();
        }
        Ok(Self { der, private_key_der: key.serialize_der(), chain: Vec::new() })
    }

    /// The SHA-256 fingerprint, for `a=fingerprint` (RFC 8122 §5).
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(FingerprintAlgorithm::Sha256, &self.der)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.private_key_der.zeroize();
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

/// The crypto library could not make a certificate; the text is its own.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no certificate could be made: {0}")]
pub struct CertificateError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_new_and_hide_their_key() {
        let (a, b) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        assert_ne!(a.der, b.der);
        assert_ne!(a.private_key_der, b.private_key_der);
        assert_eq!([&a, &b].map(|one| one.der.len()), [LENGTH; 2]);
        assert!(a.fingerprint().matches(&a.der));
        assert!(!a.fingerprint().matches(&b.der));
        assert_eq!(format!("{a:?}"), format!("Certificate({})", a.fingerprint()));
    }
}
