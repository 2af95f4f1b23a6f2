use std::fmt;
use std::sync::Arc;

use crate::credential::{AccessToken, Features};
use crate::opaque::prepared;
use crate::transaction::Protection;
use crate::{
    Class, Integrity, Key, Message, MessageWriter, PasswordAlgorithm, PasswordAlgorithms, kind, user_hash,
};

/// How many times in a row a server may call a nonce stale that it has just given out.
const MAX_STALE_IN_A_ROW: u8 = 3;
/// The longest nonce and realm that can be in a message (RFC 8489 §14.9, §14.10).
const MAX_TEXT: usize = 763;
/// More than any server has reason to send in PASSWORD-ALGORITHMS.
const MAX_ALGORITHMS: usize = 128;

/// The client's side of long-term credentials towards one server (RFC 8489 §9.2).
///
/// Every request is signed by [`LongTerm::sign`], which at first does nothing: the server will answer 401
/// with its challenge. Error responses go through [`LongTerm::handle_error`], which says whether to ask
/// again.
#[derive(Clone)]
pub struct LongTerm {
    username: String,
    password: String,
    token: Option<AccessToken>,
    /// A token that the server has not seen yet.
    next_token: Option<AccessToken>,
    challenge: Option<Challenge>,
    stale_in_a_row: u8,
}

/// What the server asked to be told, and the key that follows from it.
#[derive(Clone)]
struct Challenge {
    realm: String,
    nonce: Vec<u8>,
    /// PASSWORD-ALGORITHMS as it came, to be sent back, and what was chosen from it.
    algorithms: Option<(Vec<u8>, PasswordAlgorithm)>,
    anonymous: bool,
    key: Arc<Key>,
    /// The server's name, if it takes tokens (RFC 7635 §6.1).
    third_party: Option<String>,
}

/// What follows from an error response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Challenged {
    /// Nothing: the error is not about credentials.
    OtherError,
    /// Ask again, in a new transaction: the request will be signed anew.
    Retry,
    /// Do not ask again.
    Refused(Refusal),
}

/// Why a client gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The server asks who we are, and there is no username to tell.
    #[error("the server asks for a username, and there is none")]
    NoUsername,
    /// The server knows the realm and not the user, or not with this password.
    #[error("the server does not accept the username or the password")]
    WrongCredentials,
    /// Protection that the server announces, or had before, is missing from its answer (RFC 8489 §9.2.1).
    #[error("somebody between here and the server removes its security features")]
    BidDown,
    /// The server takes only password algorithms that we do not have.
    #[error("the server asks for a password algorithm that is not supported")]
    NoAlgorithm,
    /// The server calls each of its own nonces stale.
    #[error("the server calls stale every nonce that it has just given out")]
    StaleLoop,
    /// A challenge without realm or nonce.
    #[error("the server's challenge is incomplete")]
    Malformed,
}

impl LongTerm {
    /// An account. No server has asked for it yet; with an empty username, none may (RFC 8155 §9 has such relays).
    ///
    /// The username is sent as [`opaque_string`](crate::opaque_string) has it (RFC 8489 §14.3), or, if that refuses it, as it
    /// is.
    pub fn new(username: impl AsRef<str>, password: impl Into<String>) -> Self {
        Self {
            username: prepared(username.as_ref()).into_owned(),
            password: password.into(),
            token: None,
            next_token: None,
            challenge: None,
            stale_in_a_row: 0,
        }
    }

    /// The same, with an access token for servers that take one: it "takes precedence" (RFC 7635 §6.1).
    #[must_use]
    pub fn with_token(mut self, token: AccessToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Has another access token, of which [`LongTerm::present`] tells the server.
    pub fn renew(&mut self, token: AccessToken) {
        self.next_token = Some(token);
    }

    /// The server has seen the latest access token: it signs from now on.
    pub fn handle_presented(&mut self) {
        let Some(token) = self.next_token.take() else { return };
        if let Some(challenge) = self.challenge.as_mut().filter(|challenge| challenge.third_party.is_some()) {
            challenge.key = Arc::new(Key::from_bytes(&token.mac_key));
        }
        self.token = Some(token);
    }

    /// The name of the server among those that make access tokens for it, once it has told.
    pub fn third_party(&self) -> Option<&str> {
        self.challenge.as_ref()?.third_party.as_deref()
    }

    /// As [`LongTerm::sign`], for a request that shows the access token, if the server takes one.
    pub fn present(&self, writer: &mut MessageWriter<'_>) {
        let token = self.next_token.as_ref().or(self.token.as_ref());
        match (&self.challenge, token) {
            (Some(challenge @ Challenge { third_party: Some(_), .. }), Some(token)) => {
                writer.raw(kind::ACCESS_TOKEN, &token.token);
                let key = if self.next_token.is_some() {
                    &Arc::new(Key::from_bytes(&token.mac_key))
                } else {
                    &challenge.key
                };
                challenge.sign_by_token(token, key, writer);
            }
            _ => self.sign(writer),
        }
    }

    /// What the response to a request must show that [`LongTerm::present`] signs now.
    pub fn presented(&self) -> Protection {
        match (self.protection(), &self.next_token) {
            (Protection::LongTerm { integrity, .. }, Some(token)) if self.third_party().is_some() => {
                Protection::LongTerm { key: Arc::new(Key::from_bytes(&token.mac_key)), integrity }
            }
            (protection, _) => protection,
        }
    }

    /// Adds the credentials and the signature to a request: call it last, before FINGERPRINT.
    ///
    /// Adds nothing as long as the server has not asked (RFC 8489 §9.2.3.1).
    pub fn sign(&self, writer: &mut MessageWriter<'_>) {
        let Some(challenge) = &self.challenge else { return };
        if let (Some(token), Some(_)) = (&self.token, &challenge.third_party) {
            return challenge.sign_by_token(token, &challenge.key, writer);
        }
        if challenge.anonymous {
            writer.raw(kind::USERHASH, &user_hash(&self.username, &challenge.realm));
        } else {
            writer.string(kind::USERNAME, &self.username);
        }
        writer.string(kind::REALM, &challenge.realm).raw(kind::NONCE, &challenge.nonce);
        match &challenge.algorithms {
            Some((offered, chosen)) => {
                // From then on MESSAGE-INTEGRITY-SHA256 only (RFC 8489 §9.2.5).
                writer.raw(kind::PASSWORD_ALGORITHMS, offered).password_algorithm(*chosen);
                writer.integrity_sha256(&challenge.key);
            }
            None => {
                writer.integrity(&challenge.key);
            }
        }
    }

    /// What the response to a request signed now must show.
    pub fn protection(&self) -> Protection {
        match &self.challenge {
            None => Protection::Open,
            Some(challenge) => {
                let integrity = challenge.algorithms.as_ref().map(|_| Integrity::Sha256);
                Protection::LongTerm { key: challenge.key.clone(), integrity }
            }
        }
    }

    /// The realm that the server asked for.
    pub fn realm(&self) -> Option<&str> {
        self.challenge.as_ref().map(|challenge| challenge.realm.as_str())
    }

    /// A signed request was accepted.
    pub fn handle_success(&mut self) {
        self.stale_in_a_row = 0;
    }

    /// Takes an error response to `request` (RFC 8489 §9.2.5).
    pub fn handle_error(&mut self, request: &Message<'_>, response: &Message<'_>) -> Challenged {
        let code = response.error_code().filter(|_| response.class() == Class::Error).map(|error| error.code);
        match code {
            Some(401) => self.challenged(request, response, false),
            Some(438) => self.challenged(request, response, true),
            _ => return Challenged::OtherError,
        }
        .map_or_else(Challenged::Refused, |()| Challenged::Retry)
    }

    fn challenged(
        &mut self,
        request: &Message<'_>,
        response: &Message<'_>,
        stale: bool,
    ) -> Result<(), Refusal> {
        let offered = response.password_algorithms();
        // Some servers leave the realm out of 438, where it can only be the known one.
        let realm = response.realm().or_else(|| self.realm().filter(|_| stale)).map(str::to_owned);
        let (Some(realm), Some(nonce)) = (realm, response.nonce()) else { return Err(Refusal::Malformed) };
        if realm.len() > MAX_TEXT || nonce.len() > MAX_TEXT {
            return Err(Refusal::Malformed);
        }
        let features = Features::of(nonce).unwrap_or_default();
        let had_algorithms = self.challenge.as_ref().is_some_and(|old| old.algorithms.is_some());
        if offered.is_none() && (features.password_algorithms || had_algorithms) {
            return Err(Refusal::BidDown);
        }
        // To be refused with a signed request means that nothing better can be said (RFC 8489 §9.2.5).
        if !stale && request.integrity().is_some() && request.realm() == Some(&realm) {
            return Err(Refusal::WrongCredentials);
        }
        if stale {
            // Requests sent side by side all meet the end of one nonce: only a stale *new* nonce is
            // suspicious.
            let newest = self.challenge.as_ref().is_some_and(|old| request.nonce() == Some(&old.nonce));
            self.stale_in_a_row += u8::from(newest);
            if self.stale_in_a_row > MAX_STALE_IN_A_ROW {
                return Err(Refusal::StaleLoop);
            }
        }
        let third_party = response.string(kind::THIRD_PARTY_AUTHORIZATION).map(str::to_owned);
        // Told once, it holds: 438 does not say it again.
        let third_party = third_party.or_else(|| self.third_party().filter(|_| stale).map(str::to_owned));
        if let (Some(token), Some(_)) = (&self.token, &third_party) {
            let key = Arc::new(Key::from_bytes(&token.mac_key));
            let (nonce, anonymous) = (nonce.to_vec(), false);
            self.challenge = Some(Challenge { realm, nonce, algorithms: None, anonymous, key, third_party });
            return Ok(());
        }
        if self.username.is_empty() {
            return Err(Refusal::NoUsername);
        }
        let algorithms = offered.map(choose).transpose()?;
        let algorithm = algorithms.as_ref().map_or(PasswordAlgorithm::Md5, |(_, chosen)| *chosen);
        let key = match &self.challenge {
            Some(old) if old.realm == realm && old.algorithm() == algorithm => old.key.clone(),
            _ => Arc::new(Key::long_term(algorithm, &self.username, &realm, &self.password)),
        };
        let anonymous = features.username_anonymity;
        let nonce = nonce.to_vec();
        self.challenge = Some(Challenge { realm, nonce, algorithms, anonymous, key, third_party });
        Ok(())
    }
}

impl Challenge {
    /// "The HMAC … is computed … where the mac_key is used as the input key" (RFC 7635 §5).
    fn sign_by_token(&self, token: &AccessToken, key: &Key, writer: &mut MessageWriter<'_>) {
        writer.string(kind::USERNAME, &token.kid);
        writer.string(kind::REALM, &self.realm).raw(kind::NONCE, &self.nonce).integrity(key);
    }

    fn algorithm(&self) -> PasswordAlgorithm {
        self.algorithms.as_ref().map_or(PasswordAlgorithm::Md5, |(_, chosen)| *chosen)
    }
}

impl fmt::Debug for LongTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongTerm")
            .field("username", &self.username)
            .field("realm", &self.realm())
            .finish_non_exhaustive()
    }
}

/// The first algorithm on the server's list that we have (RFC 8489 §9.2.5), and the list.
fn choose(offered: PasswordAlgorithms<'_>) -> Result<(Vec<u8>, PasswordAlgorithm), Refusal> {
    if offered.raw().len() > MAX_ALGORITHMS {
        return Err(Refusal::Malformed);
    }
    let chosen = offered.supported().next().ok_or(Refusal::NoAlgorithm)?;
    Ok((offered.raw().to_vec(), chosen))
}
