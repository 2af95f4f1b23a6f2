use std::fmt;

use crypto::Fingerprint;

/// What an [`Endpoint`](crate::Endpoint) tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is complete, and the peer showed the certificate that was promised, if one was.
    Connected(Connected),
    /// The end, for a reason. Nothing comes after it.
    Failed(DtlsError),
    /// The end, because one side closed the association. Nothing comes after it.
    Closed,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The version spoken.
    pub version: Version,
    /// The cipher suite.
    pub cipher: CipherSuite,
    /// The peer's certificate, in DER. `None`: it was not asked for one, by a [`Server`](crate::Server).
    pub peer_certificate: Option<Vec<u8>>,
    /// The certificates that a server shows beside its own, in DER: for a client's owner who asks somebody whether to trust it
    /// ([`Trust::Owner`](crate::Trust::Owner)). Nothing says that they belong to it.
    pub peer_chain: Vec<Vec<u8>>,
    /// The keys for SRTP, if the peer offered any profile that we know (RFC 5764).
    pub srtp: Option<SrtpKeys>,
}

/// A version of DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 6347.
    Dtls12,
    /// RFC 9147.
    Dtls13,
}

impl Version {
    /// As webrtc-stats writes it in `tlsVersion`: four hexadecimal digits.
    pub fn tls_version(self) -> &'static str {
        match self {
            Self::Dtls12 => "FEFD",
            Self::Dtls13 => "FEFC",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dtls12 => "DTLS 1.2",
            Self::Dtls13 => "DTLS 1.3",
        })
    }
}

/// A cipher suite by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CipherSuite(pub u16);

impl CipherSuite {
    /// Its IANA name, as webrtc-stats writes it in `dtlsCipher`.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x1301 => "TLS_AES_128_GCM_SHA256",
            0x1302 => "TLS_AES_256_GCM_SHA384",
            0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
            0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            _ => "unknown",
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SRTP protection profiles that are offered (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// AES-128 in counter mode with an 80-bit HMAC-SHA1 tag.
    Aes128CmSha1_80,
    /// AES-128 in Galois/counter mode.
    Aes128Gcm,
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
}

/// Keys and salts for SRTP, exported from the handshake (RFC 5764 §4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// The profile they are for.
    pub profile: SrtpProfile,
    /// Client's key, server's key, client's salt, server's salt, one after another.
    pub material: Vec<u8>,
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKeys({:?})", self.profile)
    }
}

/// Why there is no DTLS association.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DtlsError {
    /// The peer showed another certificate than its description promised.
    #[error("the peer is not who it should be: its certificate has the fingerprint {presented}")]
    FingerprintMismatch {
        /// The SHA-256 fingerprint of what it showed.
        presented: Fingerprint,
    },
    /// The handshake did not complete in time.
    #[error("the DTLS handshake was not completed in time")]
    Timeout,
    /// The peer gave up, with this alert (RFC 8446 §6).
    #[error("the peer refused the DTLS handshake or ended it: alert {0}")]
    PeerAlert(u8),
    /// The two sides have nothing in common, or the peer broke the protocol; in words.
    #[error("the DTLS handshake failed: {0}")]
    Handshake(String),
    /// An association that was up broke; in words.
    #[error("the DTLS association broke: {0}")]
    Broken(String),
}

impl DtlsError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FingerprintMismatch { .. } => "dtls-fingerprint-mismatch",
            Self::Timeout => "dtls-timeout",
            Self::PeerAlert(_) => "dtls-peer-alert",
            Self::Handshake(_) => "dtls-handshake",
            Self::Broken(_) => "dtls-broken",
        }
    }

    /// What a person can do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::FingerprintMismatch { .. } => {
                "somebody may be in the middle: exchange the connection's description again over a channel you trust"
            }
            Self::Timeout => {
                "the path carries ICE checks but not DTLS, or the peer stopped: look at its log, and try a smaller MTU"
            }
            Self::PeerAlert(_) => "look at the peer's log: it says why it refused",
            Self::Handshake(_) => {
                "the peer needs DTLS 1.2 or 1.3 with ECDHE, AES-GCM and an ECDSA certificate"
            }
            Self::Broken(_) => "connect again",
        }
    }
}
