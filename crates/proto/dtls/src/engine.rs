//! How the borrowed engine (`dimpl`) is made.

use std::sync::Arc;
use std::time::Duration;

use crypto::Certificate;
use dimpl::{Dtls, DtlsCertificate};
use sansio::{Rng, Seed, Time};

use crate::instant::instant;
use crate::provider::provider;
use crate::{ConfigError, Role, SrtpKeys, SrtpProfile, Versions};

/// Transmissions of a flight before it is given up, which the deadline of the handshake forestalls.
const RETRIES: usize = 12;

/// What the engine is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) mtu: usize,
    pub(crate) retransmission: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) rekey_after: u64,
}

/// A new engine, with the time told.
pub(crate) fn engine(
    now: Time,
    role: Role,
    versions: Versions,
    certificate: &Certificate,
    settings: Settings,
    seed: Seed,
) -> Result<Dtls, ConfigError> {
    let config = dimpl::Config::builder()
        .with_crypto_provider(provider())
        .mtu(settings.mtu)
        // ICE has verified the peer's address; a cookie would cost a round trip and verify it again.
        .use_server_cookie(false)
        .flight_start_rto(settings.retransmission)
        .flight_retries(RETRIES)
        .handshake_timeout(settings.handshake_timeout)
        .aead_encryption_limit(settings.rekey_after)
        .dangerously_set_rng_seed(Rng::new(seed).next_u64())
        .build()
        .map_err(|error| ConfigError::Engine(format!("{error:?}")))?;
    let identity = DtlsCertificate {
        certificate: certificate.der.clone(),
        private_key: certificate.private_key_der.clone(),
    };
    let new = match versions {
        Versions::Auto => Dtls::new_auto,
        Versions::Dtls12 => Dtls::new_12,
        Versions::Dtls13 => Dtls::new_13,
    };
    let mut engine = new(Arc::new(config), identity, instant(now));
    engine.set_active(role == Role::Client);
    engine.handle_timeout(instant(now)).map_err(|error| ConfigError::Engine(format!("{error:?}")))?;
    Ok(engine)
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
