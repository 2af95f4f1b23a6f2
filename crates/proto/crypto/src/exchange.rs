//! Key agreement: two sides that each show the other some bytes have a secret that nobody else has.

use std::fmt;

use aws_lc_rs::{agreement, kem};

use crate::Secret;

/// Bytes of a key of X25519, and of what it agrees on.
const X25519: usize = 32;
/// Bytes of a public key of ML-KEM-768, and of what is encapsulated under it (FIPS 203 §8).
const ENCAPSULATION_KEY: usize = 1184;
const CIPHERTEXT: usize = 1088;

/// How to agree on a secret, by its IANA number ("TLS supported groups").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// ML-KEM-768 and X25519, one after another: secret as long as one of them is, also from those who record today
    /// and have a quantum computer tomorrow. The only share that Chromium sends.
    X25519MlKem768,
    /// Curve25519 (RFC 7748).
    X25519,
    /// The NIST curve that everybody has.
    P256,
}

impl Group {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::X25519MlKem768, Self::X25519, Self::P256];

    /// Its number.
    pub fn id(self) -> u16 {
        match self {
            Self::X25519MlKem768 => 0x11ec,
            Self::X25519 => 0x001d,
            Self::P256 => 0x0017,
        }
    }

    /// The group with this number, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    fn curve(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519MlKem768 | Self::X25519 => &agreement::X25519,
            Self::P256 => &agreement::ECDH_P256,
        }
    }
}

/// The half of an agreement that is kept, and the half that is shown, of the side that begins.
///
/// Keys are drawn from the operating system's random generator.
pub struct KeyShare {
    group: Group,
    private: agreement::PrivateKey,
    kem: Option<Box<kem::DecapsulationKey>>,
    public: Vec<u8>,
}

impl KeyShare {
    /// A new one.
    ///
    /// # Errors
    /// If the crypto library cannot make a key, which means that it has no random numbers.
    pub fn generate(group: Group) -> Result<Self, ExchangeError> {
        let private = agreement::PrivateKey::generate(group.curve())?;
        let mut public = Vec::new();
        let mut kem = None;
        if group == Group::X25519MlKem768 {
            let key = kem::DecapsulationKey::generate(&kem::ML_KEM_768)?;
            public.extend_from_slice(key.encapsulation_key()?.key_bytes()?.as_ref());
            kem = Some(Box::new(key));
        }
        public.extend_from_slice(private.compute_public_key()?.as_ref());
        Ok(Self { group, private, kem, public })
    }

    /// Its group.
    pub fn group(&self) -> Group {
        self.group
    }

    /// What the other side is shown.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The secret, from what the other side answered ([`answer`]).
    ///
    /// # Errors
    /// If that is not the public half of an agreement in this group.
    pub fn agree(&self, theirs: &[u8]) -> Result<Secret, ExchangeError> {
        let Some(kem) = &self.kem else {
            return curve(self.group, &self.private, theirs);
        };
        let (ciphertext, theirs) = theirs.split_at_checked(CIPHERTEXT).ok_or(ExchangeError)?;
        let first = kem.decapsulate(ciphertext.into())?;
        Ok(Secret::joined(&[first.as_ref(), curve(self.group, &self.private, theirs)?.as_ref()]))
    }
}

impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyShare({:?})", self.group)
    }
}

/// The side that answers: what it shows in return for a [`KeyShare::public`], and the secret.
///
/// # Errors
/// If `theirs` is not the public half of an agreement in this group.
pub fn answer(group: Group, theirs: &[u8]) -> Result<(Vec<u8>, Secret), ExchangeError> {
    if group != Group::X25519MlKem768 {
        let share = KeyShare::generate(group)?;
        let secret = share.agree(theirs)?;
        return Ok((share.public, secret));
    }
    if theirs.len() != ENCAPSULATION_KEY + X25519 {
        return Err(ExchangeError);
    }
    let (key, theirs) = theirs.split_at(ENCAPSULATION_KEY);
    let key = kem::EncapsulationKey::new(&kem::ML_KEM_768, key).map_err(|_| ExchangeError)?;
    let (ciphertext, first) = key.encapsulate()?;
    let private = agreement::PrivateKey::generate(&agreement::X25519)?;
    let secret = Secret::joined(&[first.as_ref(), curve(group, &private, theirs)?.as_ref()]);
    Ok(([ciphertext.as_ref(), private.compute_public_key()?.as_ref()].concat(), secret))
}

fn curve(group: Group, private: &agreement::PrivateKey, theirs: &[u8]) -> Result<Secret, ExchangeError> {
    let theirs = agreement::UnparsedPublicKey::new(group.curve(), theirs);
    agreement::agree(private, theirs, ExchangeError, |secret| Ok(Secret::joined(&[secret])))
}

/// What the other side showed is no public key, or there are no random numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no agreement on a key: what the other side showed is not the public half of one")]
pub struct ExchangeError;

impl From<aws_lc_rs::error::Unspecified> for ExchangeError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_nobody_else_does() {
        for (group, there, back, secret) in
            [(Group::X25519MlKem768, 1216, 1120, 64), (Group::X25519, 32, 32, 32), (Group::P256, 65, 65, 32)]
        {
            let (ours, other) = (KeyShare::generate(group).unwrap(), KeyShare::generate(group).unwrap());
            let (answered, theirs) = answer(group, ours.public()).unwrap();
            assert_eq!(
                (ours.public().len(), answered.len(), theirs.as_ref().len()),
                (there, back, secret),
                "{group:?}"
            );
            assert_eq!(ours.agree(&answered).unwrap().as_ref(), theirs.as_ref());
            assert_ne!(other.agree(&answered).unwrap().as_ref(), theirs.as_ref());
            assert_eq!(Group::from_id(group.id()), Some(group));
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for group in Group::ALL {
            let share = KeyShare::generate(group).unwrap();
            let length = share.public().len();
            for bad in [vec![], vec![0; 31], vec![0; length], vec![0xff; length + 1], vec![0xff; 1120]] {
                // ML-KEM takes any ciphertext and agrees on noise; the curve beside it takes not any point.
                if !(group == Group::X25519MlKem768 && bad.len() == 1120) {
                    assert!(share.agree(&bad).is_err(), "{group:?} {} bytes", bad.len());
                }
                assert!(answer(group, &bad).is_err(), "{group:?} {} bytes", bad.len());
            }
        }
    }
}
