use sansio::Outbox;
use std::time::Duration;

use crate::agent::DEFAULT_TA;
use crate::check::{Check, CheckId, Due, Purpose};
use crate::pair::PairId;
use crate::parcels::{Load, MAX_PARCEL};
use crate::relay::Sent;
use crate::report::{PairError, PairState};
use crate::session::{Context, End, Session, SessionTimer};

/// RFC 8445 §14.3: no RTO is shorter.
const MIN_RTO: Duration = Duration::from_millis(500);
/// And ours is not longer for many pairs than this: it would punish the pair that works for those that do not.
const MAX_RTO: Duration = Duration::from_secs(2);

/// Ordinary checks that may go at once, where the other side has not asked for a slower pace.
///
/// RFC 8445 §14.2 spaces them from the first one on, by 50 ms, so that the pair which works waits for those before it that do
/// not: often for half a round trip. TCP begins with ten segments (RFC 6928), so six checks do no harm to a network.
const BURST: u32 = 6;

/// Checks that are sent at once only for what they carry.
const MAX_CARRIERS: usize = 6;

/// When checks go out.
impl Session {
    /// Does what can be done now: after anything has happened.
    pub(crate) fn advance(&mut self, ctx: &mut Context<'_>) {
        if self.end.is_some() {
            return;
        }
        self.watch_carrier(ctx);
        if !ctx.config.lite && self.remote.is_some() {
            self.consider_nomination(ctx);
            self.start_checks(ctx);
        }
        self.consider_failure(ctx);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        while let Some(timer) = self.timers.expired(ctx.now) {
            match timer {
                // These are only a reason to look again, which `advance` does.
                SessionTimer::Pace | SessionTimer::Nominate => {}
                SessionTimer::Check(id) => self.check_due(ctx, id),
                SessionTimer::Patience => self.impatient = true,
                SessionTimer::Consent => self.ask_for_consent(ctx),
                SessionTimer::Doubt => self.doubt(ctx),
                SessionTimer::ConsentExpiry => self.consent_expired(ctx),
                SessionTimer::Liveness => self.silent = true,
                SessionTimer::Unanswered => self.consider_unanswered(ctx),
                SessionTimer::Unheard => self.consider_unheard(ctx),
                SessionTimer::Keepalive => {
                    self.keepalive = true;
                    self.timers.set(SessionTimer::Keepalive, ctx.now + ctx.config.timings.keepalive);
                }
            }
        }
    }

    /// Sends triggered checks at once and ordinary ones at the pace of Ta (RFC 8445 §6.1.4.2).
    ///
    /// Ta protects networks from the checks that we make up ourselves. A triggered check answers a packet from
    /// the very address that it goes to, so it cannot add up to a flood, and need not wait. Nor do a few ordinary ones
    /// after a rest.
    fn start_checks(&mut self, ctx: &mut Context<'_>) {
        self.look_for_permission(ctx);
        while let Some(pair) = self.list.next_triggered() {
            self.start_check(ctx, pair);
        }
        // RFC 8445 §8.1.2: nothing else is checked once a pair is selected.
        if self.selected.is_some() {
            return self.timers.stop(SessionTimer::Pace);
        }
        let ahead = if ctx.ta > DEFAULT_TA { Duration::ZERO } else { ctx.ta * (BURST - 1) };
        while ctx.now + ahead >= self.next_ordinary
            && let Some(pair) = self.list.next_ordinary()
        {
            self.start_check(ctx, pair);
            self.next_ordinary = self.next_ordinary.max(ctx.now) + ctx.ta;
        }
        if self.list.has_ordinary() {
            // The guard is against a list that promises a pair and gives none. It must not move a time to come: whoever
            // looks at the clock early would put off the next check each time.
            let wait = self.next_ordinary.since(ctx.now + ahead);
            let wait = if wait.is_zero() { Duration::from_millis(1) } else { wait };
            self.timers.set(SessionTimer::Pace, ctx.now + wait);
        } else {
            self.timers.stop(SessionTimer::Pace);
        }
    }

    fn start_check(&mut self, ctx: &mut Context<'_>, id: PairId) {
        let rto = (ctx.ta * self.list.busy() as u32).clamp(MIN_RTO, MAX_RTO).max(ctx.config.timings.rto);
        let nominating = ctx.role.controlling && self.nominating == Some(id);
        let purpose = if nominating { Purpose::Nomination } else { Purpose::Connectivity };
        self.queue_check(ctx, id, purpose, rto);
    }

    /// Queues a check of a pair. The packet is made when it leaves.
    pub(crate) fn queue_check(&mut self, ctx: &mut Context<'_>, id: PairId, purpose: Purpose, rto: Duration) {
        let Some(pair) = self.list.get_mut(id) else { return };
        let Some(base) = ctx.locals.base(pair.base) else { return };
        let check = Check {
            pair: id,
            purpose,
            controlling: ctx.role.controlling,
            tiebreaker: ctx.role.tiebreaker,
            priority: base.prflx_priority(),
            rto,
            attempts: 0,
            last_sent: ctx.now,
            cancelled: false,
        };
        let Some(started) = self.checks.start(ctx.rng, check) else { return };
        pair.evidence.checks_sent += 1;
        if pair.state != PairState::Succeeded && purpose != Purpose::Parcel {
            pair.state = PairState::InProgress;
            pair.current = Some(started);
        }
        tracing::trace!(route = ?pair.route, ?purpose, "check");
    }

    /// Writes answers and the checks that are ready, as far as there is room.
    pub(crate) fn poll_transmit(&mut self, ctx: &mut Context<'_>, out: &mut dyn Outbox) {
        self.pay(ctx, out);
        self.write_checks(ctx, out);
        // What has hardly been carried yet goes to where the other side was heard last.
        if ctx.parcels.scarce() > 0
            && let Some(pair) = self.reached
        {
            self.carry(ctx, pair, ctx.parcels.scarce());
            self.write_checks(ctx, out);
        }
    }

    fn write_checks(&mut self, ctx: &mut Context<'_>, out: &mut dyn Outbox) {
        while let Some((id, check)) = self.checks.next() {
            let check = *check;
            let (Some(pair), Some(remote)) = (self.list.get_mut(check.pair), &self.remote) else {
                self.checks.remove(id);
                continue;
            };
            let length = check.length(remote.username.len());
            if ctx.parcels.is_open() && out.room() < length + MAX_PARCEL {
                // A load that does not leave would count as sent. The check waits.
                return;
            }
            let load = match check.purpose {
                Purpose::Size(_) => Load::default(),
                Purpose::Parcel => ctx.parcels.next(Some(pair.id)),
                // On a path the handshake goes by itself, and no check shall fail for what it carries.
                _ if pair.valid.is_some() || pair.evidence.is_third_try() => ctx.parcels.light(),
                _ => ctx.parcels.next(Some(pair.id)),
            };
            let length = length + load.length();
            let mut fill = |buffer: &mut [u8]| check.write(buffer, id, &remote.username, &load, &remote.key);
            match ctx.relays.send(&pair.route, out, length, &mut fill) {
                Sent::NoRoom => return,
                Sent::NoWay => tracing::debug!(route = ?pair.route, "no way for a check"),
                Sent::Yes => pair.evidence.retransmissions += u32::from(check.attempts > 0),
            }
            if let Some(due) = self.checks.sent(ctx.now, id, &ctx.config.timings) {
                self.timers.set(SessionTimer::Check(id), due);
            }
            // A flight that is too large for one check is spread over several, at once.
            if check.attempts == 0 && check.purpose == Purpose::Connectivity {
                self.carry(ctx, check.pair, ctx.parcels.waiting().saturating_sub(1));
            }
        }
    }

    /// Sends so many checks on a pair, for what they carry; those that wait for room count.
    fn carry(&mut self, ctx: &mut Context<'_>, id: PairId, count: usize) {
        for _ in self.checks.carriers(id)..count.min(MAX_CARRIERS) {
            self.queue_check(ctx, id, Purpose::Parcel, ctx.config.timings.rto);
        }
    }

    fn check_due(&mut self, ctx: &mut Context<'_>, id: CheckId) {
        let Due::TimedOut(check) = self.checks.due(id, &ctx.config.timings) else { return };
        // A pair that a newer check has taken over is not failed by an older one.
        let Some(pair) = self.list.get_mut(check.pair) else { return };
        let decides = pair.current == Some(id) || check.purpose == Purpose::Nomination;
        if decides {
            tracing::debug!(route = ?pair.route, "check timed out");
            // RFC 8445 §7.2.5.2.3; and §7.2.5.3.4: a failed nomination costs the pair its place among the valid.
            let unsigned = matches!(pair.evidence.error, Some(PairError::Unauthenticated(_)));
            let error = if unsigned { pair.evidence.error.take() } else { None };
            pair.fail(error.unwrap_or(PairError::TimedOut));
            if self.nominating == Some(check.pair) {
                self.nominating = None;
            }
        }
    }

    /// RFC 8445 §7.2.5.4, RFC 8838 §8 and RFC 8863 §4: when there is nothing left to try, nothing more to come,
    /// and enough time for the other side's checks to show it.
    fn consider_failure(&mut self, ctx: &Context<'_>) {
        let hopeless =
            self.impatient && ctx.gathered && self.list.is_exhausted() && self.list.best_valid().is_none();
        if hopeless && self.remote.is_some() {
            self.finish(End::Exhausted);
        }
    }
}
