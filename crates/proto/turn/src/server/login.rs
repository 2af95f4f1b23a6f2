//! Who is let in, and what the others are told.

use std::sync::Arc;
use std::time::Duration;

use sansio::{Outbox, Path, Time};
use stun::credential::{Account, Authenticated, Identity, NonceState, Rejection};
use stun::server::bounded;
use stun::{Class, Message, Method, PasswordAlgorithm, kind};

use super::accounts::Found;
use super::answer::{ANSWER_ROOM, Asker};
use super::request::ALGORITHMS;
use super::session::Secret;
use super::{Drop, LoginFailure, Server, ServerEvent};

impl Server {
    /// Who sent this, or `None` and a challenge to whoever did.
    pub(super) fn authenticate(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        out: &mut dyn Outbox,
    ) -> Option<(Authenticated, Secret)> {
        let unix_now = self.unix(now);
        let third_party = self.config.auth.third_party.as_ref();
        // What let him in once is good for his allocation as long as it lives: neither the end of a time-limited username
        // nor a secret that is replaced ends what was begun.
        let here = self.allocations.by_client(from).map(|(id, _)| id);
        let id = here.or_else(|| self.ticket_holder(request)).or_else(|| self.streams.holder(request));
        let holder = match request.method() {
            Method::ALLOCATE => None,
            _ => id
                .and_then(|id| self.allocations.by_id(id))
                .map(|it| (it.username.clone(), it.secret.clone())),
        };
        // What is refused although it is signed was refused because of this.
        let mut cause = LoginFailure::Incomplete;
        let mut secret = None;
        let mut elsewhere = false;
        let authenticated =
            self.authenticator.authenticate(now, from, request, &mut |identity, algorithm| {
                // The nonce does not announce USERHASH, so nobody sends it.
                let Identity::Name(username) = identity else { return None };
                let held = holder.as_ref().filter(|(name, held)| {
                    held.may_sign(request, name, username, algorithm, unix_now)
                        && request.check_integrity(&held.key()).is_ok()
                });
                if let Some((name, held)) = held {
                    let key = Arc::new(held.key());
                    secret = Some(held.clone());
                    return Some(Account { username: name.clone(), key });
                }
                let session = third_party.and_then(|third| third.session(request, username, unix_now));
                if let Some((name, session)) = session {
                    cause = LoginFailure::WrongPassword;
                    let key = Arc::new(session.key());
                    secret = Some(Secret::Token(session));
                    return Some(Account { username: name, key });
                }
                let found = self.find(now, request, username, algorithm, unix_now.as_secs());
                cause = match found {
                    Found::Account(_) => LoginFailure::WrongPassword,
                    Found::Expired => LoginFailure::Expired,
                    Found::Nobody | Found::Elsewhere => LoginFailure::UnknownUser,
                };
                elsewhere = matches!(found, Found::Elsewhere);
                let Found::Account(hash) = found else { return None };
                secret = Some(Secret::Password(hash));
                Some(Account { username: username.to_owned(), key: Arc::new(hash.key()) })
            });
        let rejection = match authenticated {
            Ok(signer) => return secret.map(|secret| (signer, secret)),
            Err(rejection) => rejection,
        };
        let by_token = request.integrity().is_some() && request.raw(kind::ACCESS_TOKEN).is_some();
        if by_token && self.config.auth.third_party.is_none() {
            // "It will respond with an error code of 420" (RFC 7635 §7), unsigned: the token's key is unknown.
            self.counters.login_failure(LoginFailure::UnknownUser);
            if self.may_answer(now, from) {
                let sent = Asker::new(from, request).answer(out, Class::Error, None, &|writer| {
                    writer.error_code(420, "").unknown_attributes(&[kind::ACCESS_TOKEN.0]);
                });
                self.count_answer(sent);
            }
            return None;
        }
        if elsewhere {
            self.ask_elsewhere(now, from, request, out);
            return None;
        }
        // Who has an allocation and its password may be told of a fresh nonce while others are flooding us.
        let name = holder.as_ref().map(|(name, _)| name.as_str());
        let known = rejection == Rejection::StaleNonce && here.is_some() && name == request.username();
        let cause = match rejection {
            Rejection::Unauthenticated if request.integrity().is_none() => LoginFailure::Unsigned,
            Rejection::Unauthenticated => cause,
            Rejection::BadRequest => LoginFailure::Incomplete,
            Rejection::StaleNonce => LoginFailure::StaleNonce,
        };
        self.counters.login_failure(cause);
        if known || self.may_answer(now, from) {
            self.reject(now, from, request, rejection, cause, out);
        }
        None
    }

    /// The account that `username` names in `request`: by our own lists and secrets, or by what somebody else has said.
    fn find(
        &self,
        now: Time,
        request: &Message<'_>,
        username: &str,
        algorithm: PasswordAlgorithm,
        unix_now: u64,
    ) -> Found {
        let found = self.accounts.find(request, username, algorithm, Some(unix_now));
        let ours = match &found {
            Found::Account(hash) => {
                self.accounts.lists(username) || request.check_integrity(&hash.key()).is_ok()
            }
            Found::Expired => true,
            Found::Nobody | Found::Elsewhere => false,
        };
        if ours || !self.lookups.is_on() { found } else { self.lookups.find(now, username, algorithm) }
    }

    pub(super) fn reject(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        rejection: Rejection,
        cause: LoginFailure,
        out: &mut dyn Outbox,
    ) {
        let authenticator = &self.authenticator;
        let sent = if cause == LoginFailure::Expired {
            // He has shown that the credentials were his, so he may know what is wrong with them.
            let nonce = authenticator.nonce(now, from);
            Asker::new(from, request).answer(out, Class::Error, None, &|writer| {
                writer.error_code(401, "Expired").string(kind::REALM, authenticator.realm());
                writer.raw(kind::NONCE, &nonce).password_algorithms(&ALGORITHMS);
            })
        } else {
            out.send(from, ANSWER_ROOM, &mut |buffer| {
                let buffer = bounded(buffer, request.bytes());
                // A challenge that is too much for so small a request: no request of TURN that is in order is.
                authenticator
                    .reject(now, from, request, rejection, buffer)
                    .or_else(|_| authenticator.reject(now, from, request, Rejection::BadRequest, buffer))
                    .unwrap_or(0)
            })
        };
        self.count_answer(sent);
        let signed_in_vain =
            matches!(cause, LoginFailure::UnknownUser | LoginFailure::WrongPassword | LoginFailure::Expired);
        if signed_in_vain && self.authenticator.nonce_state(now, from, request) == Some(NonceState::Fresh) {
            let username = request.username().unwrap_or_default().to_owned();
            self.tell(ServerEvent::LoginRefused { username, client: from, cause });
        }
    }

    /// Time since 1970.
    pub(super) fn unix(&self, now: Time) -> Duration {
        self.config.unix_time_at_start + now.elapsed()
    }

    /// Whether a stranger gets an answer.
    pub(super) fn may_answer(&mut self, now: Time, from: Path) -> bool {
        let may = self.throttle.allows_answer(now, from);
        if !may {
            self.counters.drop(Drop::Throttled);
        }
        may
    }
}
