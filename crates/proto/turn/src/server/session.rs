//! What signs a client's messages for as long as its allocation lives.

use std::time::Duration;

use stun::credential::{SessionKey, TokenKey};
use stun::{Key, Message, Method, PasswordAlgorithm, PasswordHash, kind};

/// Other parties that let clients in, by access tokens that they make for this server (RFC 7635).
#[derive(Clone, Debug)]
pub struct ThirdParty {
    /// The name of this server among them. It is in every challenge: together with the realm it has no more than 36 bytes
    /// or so, or the challenge would be more than four times what it answers.
    pub server_name: String,
    /// The keys that tokens are sealed with. Several, so that one can be replaced.
    pub keys: Vec<TokenKey>,
}

/// What let a client in, and signs its messages.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    /// A password.
    Password(PasswordHash),
    /// The key in an access token.
    Token(SessionKey),
}

impl Secret {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Password(hash) => hash.key(),
            Self::Token(session) => session.key(),
        }
    }

    /// Whether it may have signed `request` of `user`, who has chosen `algorithm`, for the allocation of `holder`.
    pub(super) fn may_sign(
        &self,
        request: &Message<'_>,
        holder: &str,
        user: &str,
        algorithm: PasswordAlgorithm,
        unix_now: Duration,
    ) -> bool {
        match self {
            Self::Password(hash) => holder == user && hash.algorithm() == algorithm,
            // "The client MUST use the new token to refresh existing allocations" (RFC 7635 §9). To give one back, any will
            // do.
            Self::Token(session) => {
                request.method() != Method::REFRESH
                    || request.u32(kind::LIFETIME) == Some(0)
                    || session.remaining(unix_now).is_some()
            }
        }
    }

    pub(super) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

    /// "The lifetime provided by the TURN server in the Allocate and Refresh responses MUST be less than or equal to the
    /// lifetime of the token" (RFC 7635 §9).
    pub(super) fn longest(&self, unix_now: Duration) -> Option<Duration> {
        match self {
            Self::Password(_) => None,
            Self::Token(session) => Some(session.remaining(unix_now).unwrap_or_default()),
        }
    }
}

impl ThirdParty {
    /// The session that the token in `request` vouches for, if it is one for this server and its time is now. (A token has
    /// no name: a session is known by its own.)
    pub(super) fn session(
        &self,
        request: &Message<'_>,
        kid: &str,
        unix_now: Duration,
    ) -> Option<(String, SessionKey)> {
        // "Only in Allocate and Refresh requests" (RFC 7635 §9).
        if !matches!(request.method(), Method::ALLOCATE | Method::REFRESH) {
            return None;
        }
        let token = request.raw(kind::ACCESS_TOKEN)?;
        let key = self.keys.iter().find(|key| key.kid() == kid)?;
        let session = key.open(&self.server_name, token)?;
        session.remaining(unix_now)?;
        Some((format!("{kid}/{:016x}", session.tag()), session))
    }
}
