use std::time::Duration;

use sansio::Time;

use crate::check::Purpose;
use crate::pair::{Pair, PairId, Valid};
use crate::relay::RelayId;
use crate::session::{Context, Session, SessionTimer};

/// RFC 7675 §5.1: "Implementations MUST NOT set the period between checks to less than 4 seconds."
const MIN_INTERVAL: Duration = Duration::from_secs(4);

/// Whether data may go on flowing (RFC 7675), and whether the other side is still there.
impl Session {
    /// Watches the pair that carries data, if it has become another one.
    pub(crate) fn watch_carrier(&mut self, ctx: &mut Context<'_>) {
        self.drop_stale(ctx);
        let carrier = self.carrier(ctx.config.lite).map(|pair| (pair.id, pair.valid));
        if carrier.map(|(id, _)| id) == self.watched {
            return;
        }
        self.watched = carrier.map(|(id, _)| id);
        self.silent = false;
        self.unanswered = None;
        let watch = [
            SessionTimer::Consent,
            SessionTimer::ConsentExpiry,
            SessionTimer::Liveness,
            SessionTimer::Unanswered,
            SessionTimer::Unheard,
            SessionTimer::Keepalive,
        ];
        watch.into_iter().for_each(|timer| self.timers.stop(timer));
        let Some((id, Some(valid))) = carrier else { return };
        self.heard = valid.consented;
        let silent_at = self.heard + ctx.config.timings.disconnected;
        self.silent = silent_at <= ctx.now;
        if !self.silent {
            self.timers.set(SessionTimer::Liveness, silent_at);
        }
        if ctx.config.lite {
            self.timers.set(SessionTimer::Keepalive, ctx.now + ctx.config.timings.keepalive);
        } else {
            self.consented(ctx, id);
            self.set_consent_timer(ctx);
        }
    }

    /// A pair that did not carry data was not watched. If its consent is too old, "an endpoint MUST regain consent
    /// before it resumes sending" (RFC 7675 §5.1): it is checked again.
    fn drop_stale(&mut self, ctx: &Context<'_>) {
        let stale = |valid: Valid| valid.consented + ctx.config.timings.consent_timeout <= ctx.now;
        while let Some(pair) = self.carrier(ctx.config.lite)
            && !ctx.config.lite
            && pair.valid.is_some_and(stale)
        {
            let id = pair.id;
            if let Some(pair) = self.list.get_mut(id) {
                pair.valid = None;
            }
            self.list.trigger(id);
        }
    }

    /// The other side has answered on a pair: it consents for another while.
    pub(crate) fn consented(&mut self, ctx: &Context<'_>, id: PairId) {
        let Some(valid) = self.list.get(id).and_then(|pair| pair.valid) else { return };
        if self.watched == Some(id) && !ctx.config.lite {
            let timings = &ctx.config.timings;
            let doubt = valid.consented + timings.disconnected;
            self.timers.set(SessionTimer::ConsentExpiry, valid.consented + timings.consent_timeout);
            // A pair that takes over may have been asked long ago.
            self.timers.set(SessionTimer::Doubt, doubt.max(ctx.now + Duration::from_nanos(1)));
        }
    }

    /// Something that only the other side can have sent came on a pair.
    pub(crate) fn heard_on(&mut self, ctx: &Context<'_>, id: PairId) {
        if self.watched == Some(id) {
            self.heard = ctx.now;
            self.silent = false;
            self.unanswered = None;
            self.timers.set(SessionTimer::Liveness, ctx.now + ctx.config.timings.disconnected);
        }
    }

    /// Data left on the watched pair: from now on something is to be heard. What the other side has to say of its
    /// own accord comes seldom; one that gets data answers it, so that silence tells something much sooner.
    pub(crate) fn data_sent(&mut self, now: Time, unanswered: Duration) {
        if self.watched.is_none() || self.unanswered.is_some() {
            return;
        }
        self.unanswered = Some(now);
        // A timer that runs is not set anew with every packet: it looks again when it has run out.
        if self.timers.get(SessionTimer::Unanswered).is_none() {
            self.timers.set(SessionTimer::Unanswered, now + unanswered);
        }
    }

    /// Data came in return. It is not authenticated here, so that it keeps nothing alive; it only spares a question.
    pub(crate) fn data_received(&mut self) {
        self.unanswered = None;
    }

    /// Asks the other side, insistently, if nothing came in return for some time.
    pub(crate) fn consider_unanswered(&mut self, ctx: &mut Context<'_>) {
        let Some(since) = self.unanswered else { return };
        let due = since + ctx.config.timings.unanswered;
        if due > ctx.now {
            return self.timers.set(SessionTimer::Unanswered, due);
        }
        self.doubt(ctx);
        self.timers.set_earlier(SessionTimer::Unheard, since + ctx.config.timings.unheard);
    }

    /// Takes the other side for gone if it has not answered that question either.
    pub(crate) fn consider_unheard(&mut self, ctx: &mut Context<'_>) {
        let Some(since) = self.unanswered else { return };
        let due = since + ctx.config.timings.unheard;
        if due > ctx.now {
            return self.timers.set(SessionTimer::Unanswered, since + ctx.config.timings.unanswered);
        }
        self.silent = true;
    }

    /// Asks the other side whether we may go on sending.
    pub(crate) fn ask_for_consent(&mut self, ctx: &mut Context<'_>) {
        let Some(id) = self.watched else { return };
        self.queue_check(ctx, id, Purpose::Consent, ctx.config.timings.rto);
        self.set_consent_timer(ctx);
    }

    /// Consent checks go unanswered. They are rare and each is sent but once, so on a path that loses much a few
    /// unlucky ones would end a connection that works: an ordinary connectivity check, with its repetitions,
    /// asks more insistently. It costs six packets at most before consent expires.
    pub(crate) fn doubt(&mut self, ctx: &mut Context<'_>) {
        let Some(id) = self.watched else { return };
        self.queue_check(ctx, id, Purpose::Connectivity, ctx.config.timings.rto);
        // Perhaps it is the way to our server that is broken.
        let relay = self.list.get(id).and_then(|pair| pair.route.relay());
        ctx.relays.make_sure(ctx.now, |other| Some(other) == relay);
    }

    /// An allocation was taken along. Its server goes on sending to where we were until it hears something from where we
    /// are (RFC 8016 §3.2.2): so it does, and whether the other side can be reached shows as well.
    pub(crate) fn relay_moved(&mut self, ctx: &mut Context<'_>, relay: RelayId) {
        let is_there = |pair: &&Pair| pair.route.relay() == Some(relay);
        if let Some(id) = self.watched.filter(|id| self.list.get(*id).as_ref().is_some_and(is_there)) {
            self.checks.cancel(|check| check.pair == id && check.purpose == Purpose::Connectivity);
            self.queue_check(ctx, id, Purpose::Connectivity, ctx.config.timings.rto);
        }
    }

    /// RFC 7675 §5.1: "each interval MUST be randomized from between 0.8 and 1.2 times the basic period".
    fn set_consent_timer(&mut self, ctx: &mut Context<'_>) {
        let interval = ctx.config.timings.consent_interval.mul_f64(0.8 + 0.4 * ctx.rng.unit());
        self.timers.set(SessionTimer::Consent, ctx.now + interval.max(MIN_INTERVAL));
    }

    /// RFC 7675 §5.1: "the endpoint MUST cease transmission on that 5-tuple".
    pub(crate) fn consent_expired(&mut self, ctx: &mut Context<'_>) {
        if let Some(id) = self.watched {
            self.consent_lost(ctx, id);
        }
    }
}
