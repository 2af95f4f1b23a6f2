use std::net::SocketAddr;

use stun::{Class, Message};

use crate::check::{Check, CheckId, Purpose};
use crate::pair::{PairId, Valid};
use crate::report::{PairError, PairState};
use crate::role::Role;
use crate::route::{Route, plain};
use crate::session::{Context, End, Session, SessionTimer};
use crate::{Event, FailureCause};

/// What an answer to a check of ours was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A success, and the other side has signed it.
    Success,
    /// Anything else.
    Worthless,
}

/// What answers to our checks bring (RFC 8445 §7.2.5).
impl Session {
    /// Takes an answer. `None` if it is to none of our checks.
    pub(crate) fn handle_response(
        &mut self,
        ctx: &mut Context<'_>,
        message: &Message<'_>,
        route: &Route,
    ) -> Option<Taken> {
        let id = CheckId(message.transaction_id().0);
        let (Some(check), Some(remote)) = (self.checks.get(id).copied(), &self.remote) else { return None };
        let code = message.error_code().map(|error| error.code);
        let Some(pair) = self.list.get_mut(check.pair) else { return Some(Taken::Worthless) };
        if message.check_integrity(&remote.key).is_err() {
            // RFC 8489 §9.1.4: "the response MUST be discarded, as if it had never been received". It is
            // remembered as evidence.
            ctx.drops.unauthenticated += 1;
            pair.evidence.error = Some(PairError::Unauthenticated(code.unwrap_or(0)));
            return Some(Taken::Worthless);
        }
        let mapped = message.xor_mapped_address().map(plain);
        let unknown = message.unknown_comprehension_required(&[]);
        if message.class() == Class::Success && (mapped.is_none() || !unknown.is_empty()) {
            ctx.drops.malformed += 1;
            return Some(Taken::Worthless);
        }
        self.checks.remove(id);
        self.timers.stop(SessionTimer::Check(id));
        pair.evidence.responses_received += 1;
        if pair.route != *route {
            // RFC 8445 §7.2.5.2.1.
            tracing::debug!(sent = ?pair.route, came = ?route, "an answer came by another way");
            self.check_failed(check, id, PairError::NonSymmetric);
            return Some(Taken::Worthless);
        }
        self.size_answered(&check);
        match (mapped, code) {
            (Some(mapped), _) if message.class() == Class::Success => {
                self.check_succeeded(ctx, check, mapped)
            }
            (_, Some(487)) => self.role_refused(ctx, check),
            (_, Some(403)) if check.purpose == Purpose::Consent => {
                // RFC 7675 §5.2.
                self.consent_lost(ctx, check.pair);
            }
            (_, code) => self.check_failed(check, id, PairError::Refused(code.unwrap_or(0))),
        }
        Some(if message.class() == Class::Success { Taken::Success } else { Taken::Worthless })
    }

    /// RFC 8445 §7.2.5.3.
    fn check_succeeded(&mut self, ctx: &mut Context<'_>, check: Check, mapped: SocketAddr) {
        let Some(pair) = self.list.get_mut(check.pair) else { return };
        let (id, base, route) = (pair.id, pair.base, pair.route);
        // A repeated check does not tell which of its copies was answered.
        if check.attempts == 1 || pair.evidence.rtt.is_none() {
            pair.evidence.rtt = Some(ctx.now - check.last_sent);
        }
        pair.evidence.seen_as = Some(mapped);
        let since = pair.valid.map_or(ctx.now, |valid| valid.since);
        if pair.valid.is_none() {
            tracing::debug!(?route, %mapped, rtt = ?pair.evidence.rtt, "pair is valid");
            if check.purpose.is_aside() && check.purpose != Purpose::Parcel {
                // RFC 7675 §5.1: "responses received after consent expiry do not re-establish consent".
                return;
            }
        }
        pair.valid = Some(Valid { since, mapped, consented: ctx.now });
        pair.evidence.error = None;
        pair.state = PairState::Succeeded;
        pair.current = None;
        let foundation = pair.foundation.clone();
        let nominated = pair.nominate_on_success && !ctx.role.controlling;
        self.list.thaw_foundation(&foundation);
        ctx.locals.learn(base, mapped);
        ctx.gate.validate(route);
        self.checks.cancel(|other| other.pair == id && other.purpose == Purpose::Connectivity);
        self.heard_on(ctx, id);
        self.consented(ctx, id);
        // RFC 8445 §7.2.5.3.4.
        let we_nominated =
            check.purpose == Purpose::Nomination && ctx.role.controlling && self.nominating == Some(id);
        if we_nominated || nominated {
            self.select(ctx, id);
        }
    }

    fn check_failed(&mut self, check: Check, id: CheckId, error: PairError) {
        let Some(pair) = self.list.get_mut(check.pair) else { return };
        tracing::debug!(route = ?pair.route, %error, "check failed");
        // A consent check that is refused is one that is not answered.
        if check.purpose.is_aside() || check.cancelled {
            pair.evidence.error = Some(error);
            return;
        }
        if pair.current == Some(id) || check.purpose == Purpose::Nomination {
            pair.fail(error);
            if self.nominating == Some(check.pair) {
                self.nominating = None;
            }
        }
    }

    /// RFC 8445 §7.2.5.1.
    fn role_refused(&mut self, ctx: &mut Context<'_>, check: Check) {
        if check.controlling == ctx.role.controlling {
            self.switch_role(ctx);
            // "The agent MUST change the tiebreaker value."
            *ctx.role = Role::new(ctx.role.controlling, ctx.rng);
        }
        if !check.purpose.is_aside() {
            self.list.trigger(check.pair);
        }
    }

    /// Takes the other role.
    pub(crate) fn switch_role(&mut self, ctx: &mut Context<'_>) {
        ctx.role.controlling = !ctx.role.controlling;
        tracing::debug!(controlling = ctx.role.controlling, "role conflict: changed the role");
        self.nominating = None;
        self.renew_priorities(ctx);
        ctx.events.push_back(Event::RoleChanged(ctx.role.controlling));
    }

    /// The other side no longer consents to be sent to on this pair (RFC 7675 §5).
    pub(crate) fn consent_lost(&mut self, ctx: &mut Context<'_>, id: PairId) {
        let Some(pair) = self.list.get_mut(id) else { return };
        tracing::debug!(route = ?pair.route, "consent lost");
        pair.fail(PairError::ConsentLost);
        ctx.gate.revoke(pair.route);
        self.checks.cancel(|check| check.pair == id);
        if self.nominating == Some(id) {
            self.nominating = None;
        }
        if self.selected == Some(id) {
            self.finish(End::Lost(FailureCause::ConsentLost));
        }
    }
}
