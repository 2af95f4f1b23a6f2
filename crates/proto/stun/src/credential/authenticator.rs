use std::sync::Arc;
use std::time::Duration;

use sansio::{Path, Seed, Time};

use crate::credential::{Features, Nonce, NonceKey, NonceState};
use crate::opaque::prepared;
use crate::{
    Class, HEADER_BYTES, Integrity, IntegrityError, Key, Message, MessageWriter, PasswordAlgorithm,
    WriteError, kind,
};

/// The server's side of long-term credentials (RFC 8489 §9.2.4). It remembers nothing about anybody.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    algorithms: Vec<PasswordAlgorithm>,
    features: Features,
    nonces: NonceKey,
    third_party: Option<String>,
    /// For users that do not exist, so that they take as long as those that do.
    nobody: Key,
}

/// What an [`Authenticator`] is made from.
#[derive(Clone, Debug)]
pub struct AuthenticatorConfig {
    /// Usually the provider's domain name. Fewer than 128 characters. Sent as [`opaque_string`](crate::opaque_string) has it.
    pub realm: String,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// What PASSWORD-ALGORITHMS offers, the preferred first; without any it is left out, which makes
    /// challenges smaller and leaves MD5.
    pub algorithms: Vec<PasswordAlgorithm>,
    /// Whether clients are asked for USERHASH in place of USERNAME. The lookup must then know users by their
    /// hash.
    pub anonymous: bool,
    /// The name of this server among those that make access tokens for it: THIRD-PARTY-AUTHORIZATION in its challenges
    /// (RFC 7635 §6.1).
    pub third_party: Option<String>,
    /// Secret. Nonces are made with it.
    pub seed: Seed,
}

/// Whom a request claims to come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity<'a> {
    /// USERNAME.
    Name(&'a str),
    /// USERHASH: what [`user_hash`](crate::user_hash) makes of username and realm.
    Hash(&'a [u8; 32]),
}

/// A user that exists.
#[derive(Clone, Debug)]
pub struct Account {
    /// The name.
    pub username: String,
    /// The key by the algorithm asked for, in the server's realm.
    pub key: Arc<Key>,
}

/// A request whose sender is known.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who sent it.
    pub username: String,
    /// What signed it, and will sign the response.
    pub key: Arc<Key>,
    /// How the response is to be signed.
    pub integrity: Integrity,
}

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// 400: attributes that go together do not come together.
    #[error("400 Bad Request")]
    BadRequest,
    /// 401: it is not signed, or by nobody we know. The normal answer to a first request.
    #[error("401 Unauthenticated")]
    Unauthenticated,
    /// 438: the nonce is not good any more, or never was.
    #[error("438 Stale Nonce")]
    StaleNonce,
}

impl Rejection {
    /// Its error code.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::StaleNonce => 438,
        }
    }
}

impl Authenticator {
    /// A server's side.
    pub fn new(config: AuthenticatorConfig) -> Self {
        let AuthenticatorConfig { realm, nonce_lifetime, algorithms, anonymous, third_party, seed } = config;
        let features =
            Features { password_algorithms: !algorithms.is_empty(), username_anonymity: anonymous };
        let nobody = Key::from_bytes(&crypto::sha256(&[&seed.0, b"nobody"]));
        let nonces = NonceKey::new(seed, nonce_lifetime);
        let realm = prepared(&realm).into_owned();
        Self { realm, algorithms, features, nonces, third_party, nobody }
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What challenges say about other parties that let clients in.
    pub fn third_party(&self) -> Option<&str> {
        self.third_party.as_deref()
    }

    /// Checks a request that came by `source`, in the order of RFC 8489 §9.2.4.
    ///
    /// `lookup` knows the users; the key it returns must be made with the algorithm that it is asked for.
    ///
    /// # Errors
    /// What to refuse the request with, see [`Authenticator::reject`].
    pub fn authenticate(
        &self,
        now: Time,
        source: Path,
        request: &Message<'_>,
        lookup: &mut dyn FnMut(Identity<'_>, PasswordAlgorithm) -> Option<Account>,
    ) -> Result<Authenticated, Rejection> {
        if request.integrity().is_none() {
            return Err(Rejection::Unauthenticated);
        }
        let identity = match (request.username(), request.user_hash()) {
            (Some(name), _) => Identity::Name(name),
            (None, Some(hash)) => Identity::Hash(hash),
            (None, None) => return Err(Rejection::BadRequest),
        };
        let nonce = request.nonce().ok_or(Rejection::BadRequest)?;
        request.realm().ok_or(Rejection::BadRequest)?;
        let (algorithm, integrity) = self.negotiated(request, nonce)?;
        let account = lookup(identity, algorithm);
        let key = account.as_ref().map_or(&self.nobody, |account| &account.key);
        let checked = request.check_integrity(key);
        match (account, checked) {
            (Some(Account { username, key }), Ok(())) => {
                // A forged nonce may be one from before a restart, so it too gets the chance of a new one.
                match self.nonces.check(now, source, nonce) {
                    NonceState::Fresh => Ok(Authenticated { username, key, integrity }),
                    NonceState::Stale | NonceState::Forged => Err(Rejection::StaleNonce),
                }
            }
            (_, Ok(()) | Err(IntegrityError::Missing | IntegrityError::Mismatch)) => {
                Err(Rejection::Unauthenticated)
            }
        }
    }

    /// Writes the answer that refuses `request`, unsigned as it must be, with a new nonce where one belongs.
    ///
    /// # Errors
    /// If the buffer is too small. [`Authenticator::challenge_bytes`] do.
    pub fn reject(
        &self,
        now: Time,
        source: Path,
        request: &Message<'_>,
        rejection: Rejection,
        buffer: &mut [u8],
    ) -> Result<usize, WriteError> {
        let mut writer = MessageWriter::answer(buffer, Class::Error, request);
        // No reason phrase: whoever gets this may not have asked for it, so it is as small as it can be.
        writer.error_code(rejection.code(), "");
        if rejection != Rejection::BadRequest {
            writer.string(kind::REALM, &self.realm).raw(kind::NONCE, &self.nonce(now, source));
            if !self.algorithms.is_empty() {
                writer.password_algorithms(&self.algorithms);
            }
            if let Some(name) = self.third_party() {
                writer.string(kind::THIRD_PARTY_AUTHORIZATION, name);
            }
        }
        if request.check_fingerprint() {
            writer.fingerprint();
        }
        writer.finish()
    }

    /// Bytes of a challenge for a request without FINGERPRINT.
    pub fn challenge_bytes(&self) -> usize {
        let attribute = |value: usize| 4 + value.next_multiple_of(4);
        let algorithms = self.algorithms.len();
        // Header, ERROR-CODE, REALM, NONCE, PASSWORD-ALGORITHMS, THIRD-PARTY-AUTHORIZATION.
        HEADER_BYTES
            + attribute(4)
            + attribute(self.realm.len())
            + attribute(size_of::<Nonce>())
            + if algorithms == 0 { 0 } else { attribute(4 * algorithms) }
            + self.third_party().map_or(0, |name| attribute(name.len()))
    }

    /// What the nonce of a request that came by `source` is worth; `None` without one.
    pub fn nonce_state(&self, now: Time, source: Path, request: &Message<'_>) -> Option<NonceState> {
        request.nonce().map(|nonce| self.nonces.check(now, source, nonce))
    }

    /// A nonce for the client at the other end of `source`.
    pub fn nonce(&self, now: Time, source: Path) -> Nonce {
        self.nonces.issue(now, source, self.features)
    }

    /// Which algorithm the request's key is made with, and how its response is signed: the bid-down
    /// protection.
    fn negotiated(
        &self,
        request: &Message<'_>,
        nonce: &[u8],
    ) -> Result<(PasswordAlgorithm, Integrity), Rejection> {
        let offered = request.password_algorithms();
        let has_choice = request.raw(kind::PASSWORD_ALGORITHM).is_some();
        let announced = Features::of(nonce).is_some_and(|features| features.password_algorithms);
        if !announced || (offered.is_none() && !has_choice) {
            return Ok((PasswordAlgorithm::Md5, Integrity::Sha1));
        }
        let (Some(offered), Some(chosen)) = (offered, request.password_algorithm()) else {
            return Err(Rejection::BadRequest);
        };
        // What came back must be what was sent, or somebody shortened the list on its way to the client.
        if !offered.supported().eq(self.algorithms.iter().copied())
            || offered.raw().len() != 4 * self.algorithms.len()
            || !self.algorithms.contains(&chosen)
        {
            return Err(Rejection::BadRequest);
        }
        Ok((chosen, Integrity::Sha256))
    }
}

impl Authenticated {
    /// Signs a response. FINGERPRINT, if any, comes after.
    pub fn sign(&self, writer: &mut MessageWriter<'_>) {
        match self.integrity {
            Integrity::Sha1 => writer.integrity(&self.key),
            Integrity::Sha256 => writer.integrity_sha256(&self.key),
        };
    }
}
