//! Who is let in, and what the others are told.

use std::sync::Arc;

use sansio::{Outbox, Path, Time};
use stun::credential::{Account, Authenticated, Identity, NonceState, Rejection};
use stun::server::bounded;
use stun::{Class, Message, Method, PasswordHash, kind};

use super::accounts::Found;
use super::answer::{ANSWER_ROOM, Asker};
use super::request::ALGORITHMS;
use super::{Drop, LoginFailure, Server, ServerEvent};

impl Server {
    /// Who sent this, or `None` and a challenge to whoever did.
    pub(super) fn authenticate(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        out: &mut dyn Outbox,
    ) -> Option<(Authenticated, PasswordHash)> {
        let unix_now = (self.config.unix_time_at_start + now.elapsed()).as_secs();
        // What let him in once is good for his allocation as long as it lives: neither the end of a time-limited username
        // nor a secret that is replaced ends what was begun.
        let here = self.allocations.by_client(from).map(|(id, _)| id);
        let id = here.or_else(|| self.ticket_holder(request));
        let holder = match request.method() {
            Method::ALLOCATE => None,
            _ => id.and_then(|id| self.allocations.by_id(id)).map(|it| (it.username.clone(), it.password)),
        };
        // What is refused although it is signed was refused because of this.
        let mut cause = LoginFailure::Incomplete;
        let mut password = None;
        let authenticated =
            self.authenticator.authenticate(now, from, request, &mut |identity, algorithm| {
                // The nonce does not announce USERHASH, so nobody sends it.
                let Identity::Name(username) = identity else { return None };
                let held = holder.as_ref().filter(|(name, held)| {
                    name == username
                        && held.algorithm() == algorithm
                        && request.check_integrity(&held.key()).is_ok()
                });
                let found = match held {
                    Some((_, held)) => Found::Account(*held),
                    None => self.accounts.find(request, username, algorithm, Some(unix_now)),
                };
                cause = match found {
                    Found::Account(_) => LoginFailure::WrongPassword,
                    Found::Expired => LoginFailure::Expired,
                    Found::Nobody => LoginFailure::UnknownUser,
                };
                let Found::Account(hash) = found else { return None };
                password = Some(hash);
                Some(Account { username: username.to_owned(), key: Arc::new(hash.key()) })
            });
        let rejection = match authenticated {
            Ok(signer) => return password.map(|password| (signer, password)),
            Err(rejection) => rejection,
        };
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

    fn reject(
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

    /// Whether a stranger gets an answer.
    pub(super) fn may_answer(&mut self, now: Time, from: Path) -> bool {
        let may = self.throttle.allows_answer(now, from);
        if !may {
            self.counters.drop(Drop::Throttled);
        }
        may
    }
}
