//! By what both sides know that a file arrived as it is.

use serde::{Deserialize, Serialize};

/// A hash of 32 bytes. Both are of the same strength; pages know SHA-256 only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Hash {
    #[default]
    Sha256,
    /// A fraction of the other's work, where the processor computes with wide vectors.
    Blake3,
}

impl Hash {
    /// What a sender can do beside SHA-256, for its offer.
    pub(crate) fn offered() -> Vec<String> {
        vec![Self::Blake3.name().to_owned()]
    }

    /// What a receiver takes of an offer.
    pub(crate) fn choose(offered: &[String]) -> Self {
        if offered.iter().any(|name| name == Self::Blake3.name()) { Self::Blake3 } else { Self::Sha256 }
    }

    /// What a receiver has chosen, by its name; none: SHA-256. `None` if nobody offered that.
    pub(crate) fn chosen(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::Sha256),
            Some(name) => [Self::Sha256, Self::Blake3].into_iter().find(|hash| hash.name() == name),
        }
    }

    /// As it is called in messages, and by the programs that compute it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }

    /// The checksum of a whole transfer: that of its only file, or that of the files' checksums in a row.
    pub(crate) fn of_whole(self, files: &[[u8; 32]]) -> [u8; 32] {
        if let [only] = files {
            return *only;
        }
        let mut checksum = Checksum::new(self);
        files.iter().for_each(|file| checksum.update(file));
        checksum.finish()
    }
}

/// A hash on its way.
pub(crate) enum Checksum {
    Sha256(crypto::Sha256),
    Blake3(Box<crypto::Blake3>),
}

impl Checksum {
    pub(crate) fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256(crypto::Sha256::new()),
            Hash::Blake3 => Self::Blake3(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Blake3(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        match self {
            Self::Sha256(hash) => hash.finish(),
            Self::Blake3(hash) => hash.finish(),
        }
    }
}

/// A checksum in a message, in lower-case hexadecimal, under the name of its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

impl Sum {
    pub(crate) fn new(hash: Hash, digest: &[u8; 32]) -> Self {
        let digest = Some(super::protocol::hex(digest));
        match hash {
            Hash::Sha256 => Self { sha256: digest, blake3: None },
            Hash::Blake3 => Self { sha256: None, blake3: digest },
        }
    }

    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.sha256.is_none() && self.blake3.is_none()
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, hash: Hash, digest: &[u8; 32]) -> bool {
        let told = match hash {
            Hash::Sha256 => &self.sha256,
            Hash::Blake3 => &self.blake3,
        };
        told.as_ref().is_some_and(|told| told.eq_ignore_ascii_case(&super::protocol::hex(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_more_agrees_on_it_and_others_on_sha256() {
        assert_eq!(Hash::choose(&Hash::offered()), Hash::Blake3);
        assert_eq!(Hash::choose(&["md5".to_owned()]), Hash::Sha256);
        for (name, hash) in [
            (None, Some(Hash::Sha256)),
            (Some("blake3"), Some(Hash::Blake3)),
            (Some("sha256"), Some(Hash::Sha256)),
            (Some("md5"), None),
        ] {
            assert_eq!(Hash::chosen(name), hash);
        }
    }

    #[test]
    fn one_file_stands_for_the_whole() {
        for hash in [Hash::Sha256, Hash::Blake3] {
            assert_eq!(hash.of_whole(&[[7; 32]]), [7; 32]);
            let mut both = Checksum::new(hash);
            both.update(&[7; 32]);
            both.update(&[8; 32]);
            assert_eq!(hash.of_whole(&[[7; 32], [8; 32]]), both.finish());
        }
        assert_eq!(Hash::Sha256.of_whole(&[[7; 32], [8; 32]]), crypto::sha256(&[&[7; 32], &[8; 32]]));
    }

    #[test]
    fn a_sum_is_that_of_its_own_hash_alone() {
        let sum = Sum::new(Hash::Blake3, &[0xab; 32]);
        assert!(sum.is(Hash::Blake3, &[0xab; 32]) && !sum.is_empty());
        assert!(!sum.is(Hash::Sha256, &[0xab; 32]) && !sum.is(Hash::Blake3, &[0xac; 32]));
        assert_eq!(serde_json::to_string(&sum).unwrap(), format!(r#"{{"blake3":"{}"}}"#, "ab".repeat(32)));
        assert!(Sum::default().is_empty());
    }
}
