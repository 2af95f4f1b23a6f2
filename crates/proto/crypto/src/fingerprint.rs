use std::fmt;
use std::str::FromStr;

use crate::{equal, sha1, sha256, sha384, sha512};

/// The hash of a certificate, as the SDP attribute `a=fingerprint` carries it (RFC 8122 §5).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Which hash.
    pub algorithm: FingerprintAlgorithm,
    /// Its value.
    pub value: Vec<u8>,
}

/// The hash functions of fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum FingerprintAlgorithm {
    /// Understood when parsing, but never trusted: collisions can be made.
    Sha1,
    /// What everybody uses, and RFC 8122 §5 asks for.
    Sha256,
    /// Longer.
    Sha384,
    /// Longest.
    Sha512,
}

impl FingerprintAlgorithm {
    /// Bytes of its value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its name in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(algorithm: FingerprintAlgorithm, der: &[u8]) -> Self {
        let value = match algorithm {
            FingerprintAlgorithm::Sha1 => sha1(&[der]).to_vec(),
            FingerprintAlgorithm::Sha256 => sha256(&[der]).to_vec(),
            FingerprintAlgorithm::Sha384 => sha384(&[der]).to_vec(),
            FingerprintAlgorithm::Sha512 => sha512(&[der]).to_vec(),
        };
        Self { algorithm, value }
    }

    /// Whether `der` is the certificate this is the fingerprint of. Constant time; never true for SHA-1.
    pub fn matches(&self, der: &[u8]) -> bool {
        self.algorithm != FingerprintAlgorithm::Sha1
            && equal(&Self::of(self.algorithm, der).value, &self.value)
    }
}

impl fmt::Display for Fingerprint {
    /// As in SDP: `sha-256 AB:CD:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        for (index, byte) in self.value.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintParseError;

    /// Parses what [`Display`](fmt::Display) prints. The name's case does not matter (RFC 8122 §5), and
    /// neither does the digits', although they must be capitals: some peers write small ones.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use FingerprintAlgorithm::{Sha1, Sha256, Sha384, Sha512};
        let (name, digits) = text.trim().split_once(' ').ok_or(FingerprintParseError::Malformed)?;
        let algorithm = [Sha1, Sha256, Sha384, Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or(FingerprintParseError::UnknownAlgorithm)?;
        let value: Vec<u8> = digits
            .trim_start()
            .split(':')
            .map(|byte| match byte.as_bytes() {
                [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    u8::from_str_radix(byte, 16).map_err(|_| FingerprintParseError::Malformed)
                }
                _ => Err(FingerprintParseError::Malformed),
            })
            .collect::<Result<_, _>>()?;
        if value.len() != algorithm.bytes() {
            return Err(FingerprintParseError::Malformed);
        }
        Ok(Self { algorithm, value })
    }
}

/// Why a text is not a fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FingerprintParseError {
    /// Not a name, a space, and the right number of hexadecimal bytes between colons.
    #[error("the fingerprint is malformed")]
    Malformed,
    /// A hash that we do not have, or do not want.
    #[error("the fingerprint's hash function is not supported")]
    UnknownAlgorithm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_survive_print_and_parse() {
        use FingerprintAlgorithm::{Sha1, Sha256, Sha384, Sha512};
        for algorithm in [Sha1, Sha256, Sha384, Sha512] {
            let fingerprint = Fingerprint::of(algorithm, b"certificate");
            assert_eq!(fingerprint.value.len(), algorithm.bytes());
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint.clone()));
            assert_eq!(fingerprint.to_string().to_lowercase().parse(), Ok(fingerprint.clone()));
            assert_eq!(fingerprint.matches(b"certificate"), algorithm != Sha1);
            assert!(!fingerprint.matches(b"another"));
        }
    }

    #[test]
    fn what_is_not_a_fingerprint_is_refused() {
        let good = Fingerprint::of(FingerprintAlgorithm::Sha256, b"").to_string();
        for bad in [
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 AB",
            &good[..good.len() - 3],
            &good.replace("sha-256 ", "sha-256 +"),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintParseError::Malformed), "{bad}");
        }
        assert_eq!(
            good.replace("sha-256", "md5").parse::<Fingerprint>(),
            Err(FingerprintParseError::UnknownAlgorithm)
        );
    }
}
