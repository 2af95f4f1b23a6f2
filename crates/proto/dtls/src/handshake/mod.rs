//! The four ways through a handshake: client and server, of DTLS 1.2 and 1.3.
//!
//! Each is a state that takes one message after another, in the order of their numbers. One that is refused leaves no
//! trace: whoever sent it may have been a stranger, and the true one may still come.

mod client;
mod client12;
mod client13;
mod proof;
mod server;
mod server12;
mod server13;

use crypto::{Certificate, Fingerprint, FingerprintAlgorithm, SigningKey};
use sansio::Rng;

pub(crate) use client::Greeting;
pub(crate) use server::Awaiting;

use crate::incoming::Incoming;
use crate::message::{self, Message};
use crate::outgoing::Outgoing;
use crate::suite::Suite;
use crate::{ConfigError, DtlsError, SrtpKeys, SrtpProfile, Trust, Version, Versions};

/// Alerts (RFC 8446 §6).
pub(crate) mod alert {
    pub(crate) const CLOSE_NOTIFY: u8 = 0;
    pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
    pub(crate) const BAD_CERTIFICATE: u8 = 42;
    pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
    pub(crate) const DECODE_ERROR: u8 = 50;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const PROTOCOL_VERSION: u8 = 70;
    pub(crate) const USER_CANCELED: u8 = 90;
    pub(crate) const UNSUPPORTED_EXTENSION: u8 = 110;
    pub(crate) const CERTIFICATE_REQUIRED: u8 = 116;
}

/// What we show, and what proves it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    pub(crate) key: SigningKey,
}

impl Identity {
    pub(crate) fn new(certificate: Certificate) -> Result<Self, ConfigError> {
        let key = SigningKey::from_der(&certificate.private_key_der).map_err(|_| ConfigError::UnusableKey)?;
        Ok(Self { certificate, key })
    }
}

/// Whether a certificate's key can be used: ECDSA on P-256 or P-384.
///
/// # Errors
/// [`ConfigError::UnusableKey`] if not.
pub fn check_key(certificate: &Certificate) -> Result<(), ConfigError> {
    Identity::new(certificate.clone()).map(drop)
}

/// What a handshake works with.
pub(crate) struct Scene<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) trust: &'a Trust,
    /// For a server: whether it asks its client for a certificate.
    pub(crate) asks: bool,
    pub(crate) versions: Versions,
    pub(crate) outgoing: &'a mut Outgoing,
    pub(crate) incoming: &'a mut Incoming,
    pub(crate) rng: &'a mut Rng,
}

impl Scene<'_> {
    /// Looks at the peer's certificate (RFC 8122 §6.2): it is the only thing that says who the peer is.
    fn recognise(&self, certificate: &[u8]) -> Result<(), Refusal> {
        let Trust::Fingerprints(promised) = self.trust else { return Ok(()) };
        if promised.iter().any(|fingerprint| fingerprint.matches(certificate)) {
            return Ok(());
        }
        let presented = Fingerprint::of(FingerprintAlgorithm::Sha256, certificate);
        Err(Refusal { alert: alert::BAD_CERTIFICATE, error: DtlsError::FingerprintMismatch { presented } })
    }
}

/// Why a message is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) alert: u8,
    pub(crate) error: DtlsError,
}

/// A refusal in words.
fn refused(alert: u8, why: &str) -> Refusal {
    Refusal { alert, error: DtlsError::Handshake(why.to_owned()) }
}

fn malformed() -> Refusal {
    refused(alert::DECODE_ERROR, "a message is malformed")
}

fn unexpected() -> Refusal {
    refused(alert::UNEXPECTED_MESSAGE, "a message came out of turn")
}

impl From<crypto::SignatureError> for Refusal {
    fn from(_: crypto::SignatureError) -> Self {
        refused(alert::DECRYPT_ERROR, "the peer does not own the certificate that it shows")
    }
}

impl From<crypto::exchange::ExchangeError> for Refusal {
    fn from(_: crypto::exchange::ExchangeError) -> Self {
        refused(alert::ILLEGAL_PARAMETER, "the peer's share of the key is none")
    }
}

/// What comes of a message.
pub(crate) enum Step {
    Stays,
    Becomes(Box<State>),
    Completes(Agreed),
}

/// What both sides have agreed on.
pub(crate) struct Agreed {
    pub(crate) suite: Suite,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) srtp: Option<SrtpKeys>,
}

/// Where a handshake is.
#[derive(Debug)]
pub(crate) enum State {
    Greeting(Greeting),
    Awaiting(Awaiting),
    Client12(client12::Client12),
    Client13(client13::Client13),
    Server12(server12::Server12),
    Server13(server13::Server13),
}

impl State {
    /// Takes the next message.
    pub(crate) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        match self {
            Self::Greeting(state) => state.take(scene, message),
            Self::Awaiting(state) => state.take(scene, message),
            Self::Client12(state) => state.take(scene, message),
            Self::Client13(state) => state.take(scene, message),
            Self::Server12(state) => state.take(scene, message),
            Self::Server13(state) => state.take(scene, message),
        }
    }

    /// Whether a message of this kind may come now, or soon, in records of this epoch.
    pub(crate) fn welcomes(&self, kind: u8, epoch: u64) -> bool {
        match (self, epoch) {
            (Self::Greeting(_), 0) => FROM_SERVER.contains(&kind),
            (Self::Awaiting(_), 0) => kind == message::CLIENT_HELLO,
            (Self::Client12(_), 0) => FROM_SERVER.contains(&kind),
            (Self::Server12(_), 0) => FROM_CLIENT.contains(&kind),
            (Self::Client12(_) | Self::Server12(_), 1) => kind == message::FINISHED,
            (Self::Client13(_) | Self::Server13(_), 2) => true,
            _ => false,
        }
    }

    /// Whether a message with any number will do.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Awaiting(state) if !state.has_retried())
    }

    /// Whether the version is agreed on.
    pub(crate) fn version(&self) -> Option<Version> {
        match self {
            Self::Greeting(_) | Self::Awaiting(_) => None,
            Self::Client12(_) | Self::Server12(_) => Some(Version::Dtls12),
            Self::Client13(_) | Self::Server13(_) => Some(Version::Dtls13),
        }
    }
}

/// The handshake messages that a client sends without protection after its hello: certificate, its verification and
/// key exchange.
const FROM_CLIENT: &[u8] = &[message::CERTIFICATE, message::CERTIFICATE_VERIFY, message::CLIENT_KEY_EXCHANGE];
/// The handshake messages that a server sends without protection.
const FROM_SERVER: &[u8] = &[
    message::SERVER_HELLO,
    message::HELLO_VERIFY_REQUEST,
    message::CERTIFICATE,
    message::CERTIFICATE_STATUS,
    message::SERVER_KEY_EXCHANGE,
    message::CERTIFICATE_REQUEST,
    message::SERVER_HELLO_DONE,
];

/// Keys for SRTP, by whatever exports them.
fn srtp_keys(profile: Option<SrtpProfile>, export: impl FnOnce(&mut [u8])) -> Option<SrtpKeys> {
    let profile = profile?;
    let mut material = vec![0; profile.material()];
    export(&mut material);
    Some(SrtpKeys { profile, material })
}
