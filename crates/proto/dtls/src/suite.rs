use crypto::Hash;
use crypto::aead::Aead;

use crate::{CipherSuite, Version};

/// What a cipher suite means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) id: CipherSuite,
    pub(crate) version: Version,
    pub(crate) aead: Aead,
    pub(crate) hash: Hash,
    /// In DTLS 1.2: whether the server's certificate has a key of RSA. We have none such, but others may.
    pub(crate) rsa: bool,
}

const fn suite(id: u16, version: Version, aead: Aead, hash: Hash, rsa: bool) -> Suite {
    Suite { id: CipherSuite(id), version, aead, hash, rsa }
}

/// Those that we know, the best first. RFC 8827 §6.5 demands 0xC02B of everybody.
const SUITES: [Suite; 9] = {
    use Aead::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
    use Hash::{Sha256, Sha384};
    use Version::{Dtls12, Dtls13};
    [
        suite(0x1301, Dtls13, Aes128Gcm, Sha256, false),
        suite(0x1303, Dtls13, ChaCha20Poly1305, Sha256, false),
        suite(0x1302, Dtls13, Aes256Gcm, Sha384, false),
        suite(0xc02b, Dtls12, Aes128Gcm, Sha256, false),
        suite(0xcca9, Dtls12, ChaCha20Poly1305, Sha256, false),
        suite(0xc02c, Dtls12, Aes256Gcm, Sha384, false),
        suite(0xc02f, Dtls12, Aes128Gcm, Sha256, true),
        suite(0xcca8, Dtls12, ChaCha20Poly1305, Sha256, true),
        suite(0xc030, Dtls12, Aes256Gcm, Sha384, true),
    ]
};

impl Suite {
    /// Those of a version, the best first.
    pub(crate) fn of(version: Version) -> impl Iterator<Item = Self> {
        SUITES.into_iter().filter(move |suite| suite.version == version)
    }

    pub(crate) fn find(version: Version, id: u16) -> Option<Self> {
        Self::of(version).find(|suite| suite.id.0 == id)
    }
}
