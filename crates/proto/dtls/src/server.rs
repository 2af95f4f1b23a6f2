use std::sync::Arc;
use std::time::Duration;

use crypto::Certificate;
use sansio::{Rng, Seed, Time};

use crate::config::{HANDSHAKE_TIMEOUT, REKEY_AFTER};
use crate::cookie::{Baker, Spoken};
use crate::handshake::{Identity, alert};
use crate::hello::RANDOM;
use crate::record::{HEADER, plain_alert};
use crate::{Config, ConfigError, Endpoint, Role, Trust, Versions};

pub use crate::cookie::CHALLENGE_BYTES;

/// How a [`Server`] is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What it shows to its clients, and the key that proves it: ECDSA on P-256 or P-384.
    pub certificate: Certificate,
    /// The largest datagram of the handshake, in bytes. From 256 to 16,000.
    pub mtu: usize,
    /// The first retransmission of a flight comes after about so long; each further one after twice as long.
    pub retransmission: Duration,
    /// A handshake fails if it takes longer than this.
    pub handshake_timeout: Duration,
    /// What the key of the cookies and the jitter are drawn from.
    pub seed: Seed,
}

impl ServerConfig {
    /// The usual settings.
    pub fn new(certificate: Certificate, seed: Seed) -> Self {
        Self {
            certificate,
            mtu: 1200,
            // RFC 6347 §4.2.4.1
            retransmission: Duration::from_secs(1),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            seed,
        }
    }
}

/// A server that anybody may write to, from addresses that nobody has verified, and that asks for no certificate: its
/// clients say who they are inside.
///
/// Whoever has no [`Endpoint`] here is heard by [`Server::examine`], which keeps nothing: a hello is answered with a
/// cookie, in fewer bytes than it has, and only who brings that cookie back, from where it was sent to, becomes an
/// endpoint. It speaks DTLS 1.2 (RFC 6347): the cookie of 1.3 would have to carry the transcript, and be longer. Clients that can do both take 1.2 when they are asked for a cookie in its way.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    identity: Arc<Identity>,
    baker: Baker,
}

/// What comes of a datagram from somebody who is not known.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing: it is no whole hello.
    Ignored,
    /// This is to be sent back.
    Challenge([u8; CHALLENGE_BYTES]),
    /// The client is where it says.
    Proven(Hello),
}

/// The hello of a client that is where it says.
#[derive(Debug)]
pub struct Hello {
    datagram: Vec<u8>,
    random: [u8; RANDOM],
    number: u64,
}

impl Hello {
    /// What tells this attempt from another one of the same client: its random bytes.
    pub fn attempt(&self) -> [u8; 32] {
        self.random
    }
}

/// Tells a client that is where it says that its hello cannot be answered (RFC 8446 §6: `handshake_failure`).
pub fn refusal() -> [u8; HEADER + 2] {
    plain_alert(alert::HANDSHAKE_FAILURE)
}

/// Whether a datagram is a hello with what may be a cookie: [`Server::examine`] has more to do than to make one.
pub fn brings_cookie(datagram: &[u8]) -> bool {
    Spoken::parse(datagram).is_some_and(|spoken| spoken.brings_cookie())
}

impl Server {
    /// A server.
    ///
    /// # Errors
    /// If the certificate's key cannot be used.
    pub fn new(config: ServerConfig) -> Result<Self, ConfigError> {
        let identity = Arc::new(Identity::new(config.certificate.clone())?);
        let ServerConfig { certificate, mtu, retransmission, handshake_timeout, seed } = config;
        let mut rng = Rng::new(seed);
        let baker = Baker::new(&rng.bytes::<32>());
        let config = Config {
            role: Role::Server,
            certificate,
            trust: Trust::Owner,
            versions: Versions::Dtls12,
            mtu,
            retransmission,
            handshake_timeout,
            rekey_after: REKEY_AFTER,
            seed: rng.fork(),
        };
        Ok(Self { config, identity, baker })
    }

    /// The same with another certificate. It knows the cookies of this one.
    ///
    /// # Errors
    /// If its key cannot be used.
    pub fn renewed(&self, certificate: Certificate) -> Result<Self, ConfigError> {
        let identity = Arc::new(Identity::new(certificate.clone())?);
        let config = Config { certificate, ..self.config.clone() };
        Ok(Self { config, identity, ..self.clone() })
    }

    /// Looks at a datagram of somebody who has no endpoint. `source` tells senders apart: their addresses, in any form.
    pub fn examine(&self, now: Time, source: &[u8], datagram: &[u8]) -> Verdict {
        let Some(spoken) = Spoken::parse(datagram) else { return Verdict::Ignored };
        if !self.baker.knows(now, source, &spoken) {
            let cookie = self.baker.bake(now, source, spoken.hello.random);
            return Verdict::Challenge(spoken.challenge(&cookie));
        }
        Verdict::Proven(Hello {
            datagram: datagram.to_vec(),
            random: *spoken.hello.random,
            number: spoken.number,
        })
    }

    /// Begins an endpoint for a client. `None`: its hello has nothing in common with what this server speaks, and
    /// [`refusal`] is to be sent back.
    pub fn welcome(&self, now: Time, hello: &Hello, seed: Seed) -> Option<Endpoint> {
        let config = Config { seed, ..self.config.clone() };
        let mut endpoint = Endpoint::with(now, &config, self.identity.clone());
        // The first record has the number of the hello that it answers (RFC 6347 §4.2.1).
        endpoint.outgoing.next_plain = hello.number;
        endpoint.open(now, &mut hello.datagram.clone(), &mut |_| {});
        endpoint.has_answered().then_some(endpoint)
    }
}
