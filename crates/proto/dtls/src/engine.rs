//! How the borrowed engine (`dimpl`) is made.

use std::sync::Arc;
use std::time::Duration;

use crypto::Certificate;
use dimpl::crypto::CryptoProvider;
use dimpl::{Dtls, DtlsCertificate};
use sansio::{Rng, Seed, Time};

use crate::config::{HANDSHAKE_TIMEOUT, REKEY_AFTER};
use crate::cookie::Cookies;
use crate::instant::instant;
use crate::provider::provider;
use crate::{Config, ConfigError, Role, SrtpKeys, SrtpProfile, Versions};

/// Transmissions of a flight before it is given up, which the deadline of the handshake forestalls.
const RETRIES: usize = 12;
/// When a flight is first repeated on a path that is near: round trips of 50 ms and less.
const NEAR: Duration = Duration::from_millis(100);

/// What the engine is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) mtu: usize,
    pub(crate) retransmission: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) rekey_after: u64,
}

impl Settings {
    /// Those of `config`, within what the engine bears.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            mtu: config.mtu.clamp(256, 16_000),
            retransmission: config.retransmission.clamp(Duration::from_millis(10), Duration::from_secs(10)),
            handshake_timeout: config
                .handshake_timeout
                .clamp(Duration::from_secs(1), Duration::from_secs(3600)),
            rekey_after: config.rekey_after.clamp(1, 1 << 24),
        }
    }

    fn build(self, seed: Seed) -> Result<Arc<dimpl::Config>, ConfigError> {
        let builder = self.builder(provider());
        // ICE has verified the peer's address; a cookie would cost a round trip and verify it again.
        built(builder.use_server_cookie(false).dangerously_set_rng_seed(Rng::new(seed).next_u64()))
    }

    /// For all clients of a [`Server`](crate::Server). What is shared has no seed: the engine draws from the system.
    pub(crate) fn build_for_anybody(self) -> Result<Arc<dimpl::Config>, ConfigError> {
        let provider = CryptoProvider { hmac_provider: &Cookies, ..provider() };
        // Its exchange of cookies is one that has taken place: see `cookie.rs`.
        built(self.builder(provider).use_server_cookie(true).require_client_certificate(false))
    }

    fn builder(self, provider: CryptoProvider) -> dimpl::ConfigBuilder {
        dimpl::Config::builder()
            .with_crypto_provider(provider)
            .mtu(self.mtu)
            .flight_start_rto(self.retransmission)
            .flight_retries(RETRIES)
            .handshake_timeout(self.handshake_timeout)
            .aead_encryption_limit(self.rekey_after)
    }
}

fn built(builder: dimpl::ConfigBuilder) -> Result<Arc<dimpl::Config>, ConfigError> {
    builder.build().map(Arc::new).map_err(|error| ConfigError::Engine(format!("{error:?}")))
}

/// What takes the engine long to make (it tests its cryptography each time) and does not depend on the peer: with it,
/// [`Endpoint::prepared`](crate::Endpoint::prepared) takes a third of the time of [`Endpoint::new`](crate::Endpoint::new).
/// Good for one endpoint.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    config: Arc<dimpl::Config>,
}

impl Prepared {
    /// For an endpoint with the usual settings and this [`Config::mtu`](crate::Config::mtu), whose path is near: a
    /// flight is repeated after 100 ms. Where the endpoint is to be more patient it is of no use, and a third
    /// of a millisecond of no weight.
    ///
    /// # Errors
    /// If the engine does not work on this machine.
    pub fn new(mtu: usize, seed: Seed) -> Result<Self, ConfigError> {
        let settings = Settings {
            mtu,
            retransmission: NEAR,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            rekey_after: REKEY_AFTER,
        };
        Ok(Self { settings, config: settings.build(seed)? })
    }

    /// Whether it does for an endpoint with these settings.
    fn serves(&self, settings: Settings) -> bool {
        settings.retransmission <= NEAR && Settings { retransmission: NEAR, ..settings } == self.settings
    }
}

/// A new engine, with the time told.
pub(crate) fn engine(
    now: Time,
    role: Role,
    versions: Versions,
    certificate: &Certificate,
    settings: Settings,
    seed: Seed,
    prepared: Option<Prepared>,
) -> Result<Dtls, ConfigError> {
    let config = match prepared.filter(|prepared| prepared.serves(settings)) {
        Some(prepared) => prepared.config,
        None => settings.build(seed)?,
    };
    let new = match versions {
        Versions::Auto => Dtls::new_auto,
        Versions::Dtls12 => Dtls::new_12,
        Versions::Dtls13 => Dtls::new_13,
    };
    let mut engine = new(config, identity(certificate), instant(now));
    engine.set_active(role == Role::Client);
    engine.handle_timeout(instant(now)).map_err(|error| ConfigError::Engine(format!("{error:?}")))?;
    Ok(engine)
}

/// The engine of a [`Server`](crate::Server) for one client.
pub(crate) fn for_anybody(now: Time, config: Arc<dimpl::Config>, certificate: &Certificate) -> Dtls {
    Dtls::new_12(config, identity(certificate), instant(now))
}

fn identity(certificate: &Certificate) -> DtlsCertificate {
    DtlsCertificate { certificate: certificate.der.clone(), private_key: certificate.private_key_der.clone() }
}

/// The engine's keys for SRTP as ours.
pub(crate) fn srtp_keys(material: &[u8], profile: dimpl::SrtpProfile) -> Option<SrtpKeys> {
    let profile = match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::Aes128Gcm,
        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::Aes256Gcm,
        _ => return None,
    };
    Some(SrtpKeys { profile, material: material.to_vec() })
}
