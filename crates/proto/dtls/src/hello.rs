//! The hellos of both sides, in the form that both versions share (RFC 8446 §4.1, RFC 9147 §5.3).

use crypto::SignatureScheme;
use crypto::exchange::{Group, KeyShare};

use crate::codec::{Reader, vector};
use crate::extension::{self, Extensions};
use crate::record::VERSION;
use crate::suite::Suite;
use crate::{SrtpProfile, Version, Versions};

pub(crate) const RANDOM: usize = 32;
/// What [`Version::Dtls13`] is called among supported versions.
pub(crate) const DTLS_13: u16 = 0xfefc;
const DTLS_12: u16 = 0xfefd;
const VERSION_OF_10: [u8; 2] = [0xfe, 0xff];
/// Renegotiation is understood, as a cipher suite (RFC 5746 §3.3).
const RENEGOTIATION_UNDERSTOOD: u16 = 0x00ff;
/// The random bytes of a server's hello that asks for another one (RFC 8446 §4.1.3): SHA-256 of "HelloRetryRequest".
const RETRY: [u8; RANDOM] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// The end of the random bytes of a server that could speak 1.3 and was not offered it: if a client did offer it,
/// somebody in between has changed its hello (RFC 8446 §4.1.3).
pub(crate) const DOWNGRADED: [u8; 8] = *b"DOWNGRD\x01";

/// A client's hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientHello<'a> {
    /// It is of DTLS 1.0, which nobody should speak any more (RFC 8996): to be refused, and told so.
    is_old: bool,
    pub(crate) random: &'a [u8; RANDOM],
    pub(crate) cookie: &'a [u8],
    suites: &'a [u8],
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        // Higher ones there will never be (RFC 9147 §5.3).
        let version = reader.array()?;
        let is_old = version == &VERSION_OF_10;
        if version != &VERSION && !is_old {
            return None;
        }
        let random = reader.array()?;
        let _session = reader.vector(1)?;
        let cookie = reader.vector(1)?;
        let suites = reader.vector(2)?;
        let compressions = reader.vector(1)?;
        let extensions = if reader.is_empty() { &[] } else { reader.vector(2)? };
        let sound = compressions.contains(&0) && suites.len() % 2 == 0 && reader.is_empty();
        sound.then_some(Self { is_old, random, cookie, suites, extensions: Extensions::parse(extensions)? })
    }

    fn has_suite(&self, id: u16) -> bool {
        crate::codec::numbers(self.suites).any(|listed| listed == id)
    }

    /// Whether the client can speak a version.
    pub(crate) fn speaks(&self, version: Version) -> bool {
        match (version, self.extensions.list(extension::SUPPORTED_VERSIONS, 1)) {
            (Version::Dtls13, _) => self.extensions.lists(extension::SUPPORTED_VERSIONS, 1, DTLS_13),
            (Version::Dtls12, None) => !self.is_old,
            (Version::Dtls12, Some(list)) => crate::codec::numbers(list).any(|id| id == DTLS_12),
        }
    }

    /// The best suite that both have.
    pub(crate) fn suite(&self, version: Version) -> Option<Suite> {
        Suite::of(version).find(|suite| !suite.rsa && self.has_suite(suite.id.0))
    }

    pub(crate) fn supports(&self, group: Group) -> bool {
        self.extensions.lists(extension::SUPPORTED_GROUPS, 2, group.id())
    }

    pub(crate) fn verifies(&self, scheme: SignatureScheme) -> bool {
        self.extensions.lists(extension::SIGNATURE_ALGORITHMS, 2, scheme.0)
    }

    /// Whether it understands that there is no renegotiation.
    pub(crate) fn knows_of_renegotiation(&self) -> bool {
        self.has_suite(RENEGOTIATION_UNDERSTOOD) || self.extensions.has(extension::RENEGOTIATION_INFO)
    }
}

/// What a client says at first, and again with what it was asked for.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) random: [u8; RANDOM],
    pub(crate) versions: Versions,
    pub(crate) groups: Vec<Group>,
    pub(crate) shares: Vec<KeyShare>,
    /// What a server of DTLS 1.2 wants to see again: then 1.3 is not offered any more.
    pub(crate) cookie_12: Vec<u8>,
    /// What a server of DTLS 1.3 wants to see again.
    pub(crate) cookie_13: Vec<u8>,
}

impl Offer {
    /// Whether a version is offered.
    pub(crate) fn includes(&self, version: Version) -> bool {
        let is_open = version == Version::Dtls12 || self.cookie_12.is_empty();
        is_open && self.versions.include(version)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let (with_12, with_13) = (self.includes(Version::Dtls12), self.includes(Version::Dtls13));
        let mut out = VERSION.to_vec();
        out.extend(self.random);
        out.push(0);
        vector(&mut out, 1, |out| out.extend(&self.cookie_12));
        vector(&mut out, 2, |out| {
            // "the client MUST use the same parameter values" when it brings a cookie (RFC 6347 §4.2.1).
            let both = [Version::Dtls13, Version::Dtls12].into_iter();
            for version in both.filter(|&version| self.versions.include(version)) {
                Suite::of(version).for_each(|suite| out.extend(suite.id.0.to_be_bytes()));
            }
        });
        out.extend([1, 0]);
        vector(&mut out, 2, |out| {
            extension::add(out, extension::SUPPORTED_GROUPS, |out| {
                vector(out, 2, |out| {
                    self.groups.iter().for_each(|group| out.extend(group.id().to_be_bytes()));
                });
            });
            add_schemes(out);
            extension::add_srtp(out, &SrtpProfile::ALL);
            if with_12 {
                extension::add(out, extension::EC_POINT_FORMATS, |out| out.extend([1, 0]));
                extension::add(out, extension::EXTENDED_MASTER_SECRET, |_| {});
                extension::add(out, extension::RENEGOTIATION_INFO, |out| out.push(0));
            }
            if with_13 {
                self.add_13(out, with_12);
            }
        });
        out
    }

    fn add_13(&self, out: &mut Vec<u8>, with_12: bool) {
        extension::add(out, extension::SUPPORTED_VERSIONS, |out| {
            vector(out, 1, |out| {
                out.extend(DTLS_13.to_be_bytes());
                if with_12 {
                    out.extend(DTLS_12.to_be_bytes());
                }
            });
        });
        if !self.cookie_13.is_empty() {
            extension::add(out, extension::COOKIE, |out| vector(out, 2, |out| out.extend(&self.cookie_13)));
        }
        // The longest, at the end: what is in front of it is in the first datagram.
        extension::add(out, extension::KEY_SHARE, |out| {
            vector(out, 2, |out| {
                self.shares.iter().for_each(|share| add_share(out, share.group(), share.public()))
            });
        });
    }
}

/// Appends the signatures that we can verify.
pub(crate) fn add_schemes(out: &mut Vec<u8>) {
    extension::add(out, extension::SIGNATURE_ALGORITHMS, list_schemes);
}

pub(crate) fn list_schemes(out: &mut Vec<u8>) {
    vector(out, 2, |out| SignatureScheme::ALL.iter().for_each(|scheme| out.extend(scheme.0.to_be_bytes())));
}

fn add_share(out: &mut Vec<u8>, group: Group, public: &[u8]) {
    out.extend(group.id().to_be_bytes());
    vector(out, 2, |out| out.extend(public));
}

/// A server's hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerHello<'a> {
    pub(crate) random: &'a [u8; RANDOM],
    pub(crate) suite: u16,
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.array()? != &VERSION {
            return None;
        }
        let random = reader.array()?;
        let _session = reader.vector(1)?;
        let suite = reader.u16()?;
        let compression = reader.u8()?;
        let extensions = if reader.is_empty() { &[] } else { reader.vector(2)? };
        let sound = compression == 0 && reader.is_empty();
        sound.then_some(Self { random, suite, extensions: Extensions::parse(extensions)? })
    }

    /// Whether it asks for another hello.
    pub(crate) fn is_retry(&self) -> bool {
        *self.random == RETRY
    }

    pub(crate) fn version(&self) -> Option<Version> {
        match self.extensions.find(extension::SUPPORTED_VERSIONS) {
            None => Some(Version::Dtls12),
            Some(chosen) => (chosen == DTLS_13.to_be_bytes()).then_some(Version::Dtls13),
        }
    }

    /// The group that it has chosen, and its share of the key.
    pub(crate) fn key_share(&self) -> Option<(Group, &'a [u8])> {
        let mut reader = Reader::new(self.extensions.find(extension::KEY_SHARE)?);
        let group = Group::from_id(reader.u16()?)?;
        let share = reader.vector(2)?;
        reader.is_empty().then_some((group, share))
    }

    /// The group that it asks for.
    pub(crate) fn wanted_group(&self) -> Option<u16> {
        Reader::new(self.extensions.find(extension::KEY_SHARE)?).u16()
    }

    /// Its body, of DTLS 1.2 or 1.3.
    pub(crate) fn body(
        random: &[u8; RANDOM],
        suite: Suite,
        extensions: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let mut out = VERSION.to_vec();
        out.extend(random);
        // No session is ever resumed, nor is its id echoed (RFC 9147 §5).
        out.push(0);
        out.extend(suite.id.0.to_be_bytes());
        out.push(0);
        vector(&mut out, 2, |out| {
            if suite.version == Version::Dtls13 {
                extension::add(out, extension::SUPPORTED_VERSIONS, |out| out.extend(DTLS_13.to_be_bytes()));
            }
            extensions(out);
        });
        out
    }

    /// The body of one that agrees on a group.
    pub(crate) fn body_13(random: &[u8; RANDOM], suite: Suite, group: Group, public: &[u8]) -> Vec<u8> {
        Self::body(random, suite, |out| {
            extension::add(out, extension::KEY_SHARE, |out| add_share(out, group, public));
        })
    }

    /// The body of one that asks for a share of another group.
    pub(crate) fn retry(suite: Suite, group: Group) -> Vec<u8> {
        Self::body(&RETRY, suite, |out| {
            extension::add(out, extension::KEY_SHARE, |out| out.extend(group.id().to_be_bytes()));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_retry_is_named_after_its_hash() {
        assert_eq!(crypto::sha256(&[b"HelloRetryRequest"]), RETRY);
    }

    #[test]
    fn an_offer_can_be_read() {
        for versions in [Versions::Auto, Versions::Dtls12, Versions::Dtls13] {
            let shares = vec![KeyShare::generate(Group::X25519).unwrap()];
            let mut offer = Offer {
                random: [7; 32],
                versions,
                groups: Group::ALL.to_vec(),
                shares,
                cookie_12: Vec::new(),
                cookie_13: b"cookie".to_vec(),
            };
            let body = offer.body();
            let hello = ClientHello::parse(&body).unwrap();
            for version in [Version::Dtls12, Version::Dtls13] {
                assert_eq!(hello.speaks(version), versions.include(version), "{versions:?}");
                assert_eq!(hello.suite(version).is_some(), versions.include(version));
            }
            assert_eq!(hello.random, &[7; 32]);
            assert!(hello.supports(Group::X25519MlKem768) && hello.verifies(SignatureScheme::ECDSA_SHA256));
            let with_13 = versions.include(Version::Dtls13);
            assert!(hello.cookie.is_empty());
            assert_eq!(hello.extensions.has(extension::COOKIE), with_13);
            assert_eq!(hello.extensions.key_shares().count(), usize::from(with_13));
            assert_eq!(hello.extensions.srtp(), Some(SrtpProfile::Aes128Gcm));
            for length in 0..body.len() {
                // Without all extensions it is whole as well.
                assert!(ClientHello::parse(&body[..length]).is_none_or(|cut| !cut.supports(Group::X25519)));
            }
            offer.cookie_12 = b"cookie".to_vec();
            let body = offer.body();
            let again = ClientHello::parse(&body).unwrap();
            assert_eq!(again.cookie, b"cookie");
            assert!(!again.speaks(Version::Dtls13) || versions == Versions::Dtls12);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = [&VERSION[..], &[1; 32], &[0], &bytes].concat();
            if let Some(hello) = ClientHello::parse(&body) {
                hello.suite(Version::Dtls13);
                hello.extensions.key_shares().count();
                hello.extensions.srtp();
            }
            if let Some(hello) = ServerHello::parse(&body) {
                hello.key_share();
                hello.version();
            }
        }
    }
}
