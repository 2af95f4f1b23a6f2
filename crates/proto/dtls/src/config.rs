use std::time::Duration;

use crypto::{Certificate, Fingerprint};
use sansio::Seed;

use crate::Version;

/// The usual settings.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const REKEY_AFTER: u64 = 1 << 23;

/// Which side of the handshake this is: `a=setup:active` is the client (RFC 8842 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Begins.
    Client,
    /// Answers.
    Server,
}

/// How the peer is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By its certificate, which must match one of these fingerprints: its description promised them. At least one;
    /// SHA-1 never matches.
    Fingerprints(Vec<Fingerprint>),
    /// A client's owner judges the certificate that the server shows
    /// ([`Connected::peer_certificate`](crate::Connected::peer_certificate)), and sends and believes nothing before.
    Owner,
}

/// Which versions of DTLS may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Versions {
    /// 1.3 if the peer can, otherwise 1.2.
    #[default]
    Auto,
    /// DTLS 1.2 only (RFC 6347).
    Dtls12,
    /// DTLS 1.3 only (RFC 9147).
    Dtls13,
}

impl Versions {
    pub(crate) fn include(self, version: Version) -> bool {
        match self {
            Self::Auto => true,
            Self::Dtls12 => version == Version::Dtls12,
            Self::Dtls13 => version == Version::Dtls13,
        }
    }
}

/// How an [`Endpoint`](crate::Endpoint) is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which side of the handshake this is.
    pub role: Role,
    /// What we show to the peer, and the key that proves it.
    pub certificate: Certificate,
    /// How the peer is recognised.
    pub trust: Trust,
    /// Which versions may be spoken.
    pub versions: Versions,
    /// The largest datagram of the handshake, in bytes. From 256 to 16,000.
    pub mtu: usize,
    /// The first retransmission of a flight comes after about so long; each further one after twice as long. ICE
    /// has measured the path: twice its round-trip time is a good choice.
    pub retransmission: Duration,
    /// The handshake fails if it takes longer than this, from its first packet.
    pub handshake_timeout: Duration,
    /// Records sealed with one key before DTLS 1.3 changes it. AES-128-GCM bears 2^24.5 (RFC 9147 §4.5.3); DTLS 1.2 has no way to change keys.
    /// At least 1, at most 2^24.
    pub rekey_after: u64,
    /// What hello randoms are drawn from. Keys are not: see the [crate's front page](crate).
    pub seed: Seed,
}

impl Config {
    /// The usual settings, for a peer that promised one of these fingerprints.
    pub fn new(
        role: Role,
        certificate: Certificate,
        remote_fingerprints: Vec<Fingerprint>,
        seed: Seed,
    ) -> Self {
        Self {
            role,
            certificate,
            trust: Trust::Fingerprints(remote_fingerprints),
            versions: Versions::default(),
            mtu: 1200,
            retransmission: Duration::from_millis(250),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            rekey_after: REKEY_AFTER,
            seed,
        }
    }
}

/// Why an endpoint could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Without a fingerprint nobody can be recognised.
    #[error("there is no fingerprint to recognise the peer by")]
    NoFingerprint,
    /// A server has no owner's judgement to wait for: it recognises its clients by fingerprints, or is a
    /// [`Server`](crate::Server), which asks for no certificate.
    #[error("a server cannot leave the judgement of certificates to its owner")]
    NobodyJudges,
    /// The private key is not one that can be used: PKCS #8 or SEC1, ECDSA on P-256 or P-384.
    #[error("the certificate's private key cannot be used: ECDSA on P-256 or P-384 is needed")]
    UnusableKey,
}
