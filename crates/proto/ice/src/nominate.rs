use std::time::Duration;

use sansio::Time;

use crate::check::Purpose;
use crate::pair::{Pair, PairId, Valid};
use crate::report::PairState;
use crate::session::{Context, Session, SessionTimer};

/// Better direct paths are waited for at least so long, which covers the jitter of a local network.
const MIN_WAIT: Duration = Duration::from_millis(20);

/// Nominations of one pair, without one of another between them, after which that pair is meant.
const INSISTENT: u32 = 2;

/// Which pair the controlling agent names, and how often in a row.
#[derive(Debug, Default)]
pub(crate) struct Insistence {
    pair: Option<PairId>,
    times: u32,
}

impl Insistence {
    /// A check of the other side nominates a pair.
    pub(crate) fn nominated(&mut self, pair: PairId) {
        self.times = if self.pair == Some(pair) { self.times.saturating_add(1) } else { 1 };
        self.pair = Some(pair);
    }

    fn is_on(&self, pair: PairId) -> bool {
        self.pair == Some(pair) && self.times >= INSISTENT
    }
}

/// Which pair is chosen, and when (RFC 8445 §8.1.1).
impl Session {
    /// For the controlling agent: nominates the best valid pair, once nothing better is to be expected soon.
    pub(crate) fn consider_nomination(&mut self, ctx: &mut Context<'_>) {
        self.timers.stop(SessionTimer::Nominate);
        if !ctx.role.controlling || self.nominating.is_some() || self.selected.is_some() {
            return;
        }
        let Some((id, until)) = self.list.best_valid().and_then(|best| {
            let valid = best.valid.as_ref()?;
            Some((best.id, self.wait_until(ctx, best, valid)))
        }) else {
            return;
        };
        if until > ctx.now {
            return self.timers.set(SessionTimer::Nominate, until);
        }
        // "it repeats the connectivity check that produced this valid pair … with the USE-CANDIDATE attribute".
        self.nominating = Some(id);
        self.list.repeat(id);
    }

    /// Until when the controlling agent waits for something better than `best`. Data flows meanwhile.
    fn wait_until(&self, ctx: &Context<'_>, best: &Pair, valid: &Valid) -> Time {
        let timings = &ctx.config.timings;
        let better = || {
            self.list.iter().take_while(|pair| pair.priority > best.priority).filter(|pair| pair.is_open())
        };
        if best.relayed {
            if let Some(until) = ctx.punching {
                return until;
            }
            // Anything direct is worth a wait, and candidates that are yet to come may be direct.
            let more_to_come = !(ctx.gathered && self.remote_complete);
            if more_to_come || better().any(|pair| !pair.relayed) {
                return self.first_valid().unwrap_or(valid.since) + timings.better_than_relayed;
            }
        }
        match better().next() {
            // A better path is mostly a shorter one: it would have shown itself in much the same time. So it is with a
            // relay over UDP after the same one over TCP, which is as far away.
            Some(_) => {
                let rtt = best.evidence.rtt.unwrap_or(timings.better_direct);
                valid.since + (rtt * 2).clamp(MIN_WAIT.min(timings.better_direct), timings.better_direct)
            }
            None => valid.since,
        }
    }

    /// Since when there is a valid pair.
    pub(crate) fn first_valid(&self) -> Option<Time> {
        self.list.iter().filter_map(|pair| Some(pair.valid.as_ref()?.since)).min()
    }

    /// The pair is nominated: data goes there from now on (RFC 8445 §8.1.2).
    pub(crate) fn select(&mut self, ctx: &mut Context<'_>, id: PairId) {
        if self.selected == Some(id) || self.list.get(id).is_none_or(|pair| pair.valid.is_none()) {
            return;
        }
        if self.selected.is_some() && !self.is_better_than_selected(id) {
            return;
        }
        if let Some(pair) = self.list.get_mut(id) {
            pair.nominated = true;
            pair.nominate_on_success = false;
            tracing::debug!(route = ?pair.route, now = ?ctx.now, "selected");
        }
        self.selected = Some(id);
        self.nominating = None;
        // "the ICE agent MUST remove all candidate pairs … from the checklist and from the triggered-check
        // queue": here they stay as evidence, but nothing is sent for them any more.
        self.list.stop();
        self.checks.cancel(|check| check.pair != id || check.purpose == Purpose::Connectivity);
    }

    /// Whether a nomination of this pair takes the place of the present one.
    ///
    /// RFC 8445 §8.1.1: of several that a controlling agent of RFC 5245 nominates, "use the pairs with the
    /// highest priority". One that has gone silent, though, is worse than any that works; and so is one that the
    /// other side has left for good, by priorities of its own (libwebrtc goes by round-trip times and networks).
    pub(crate) fn is_better_than_selected(&self, id: PairId) -> bool {
        let priority = |id| self.list.get(id).map(|pair: &Pair| pair.priority);
        self.selected.is_none_or(|selected| priority(id) > priority(selected))
            || self.silent
            || self.insistence.is_on(id)
    }

    /// A lite agent makes no checks: the other side's tell that the pair works (RFC 8445 §7.3.2).
    pub(crate) fn accept_lite(&mut self, ctx: &mut Context<'_>, id: PairId, use_candidate: bool) {
        let Some(pair) = self.list.get_mut(id) else { return };
        if pair.valid.is_none() && use_candidate {
            let mapped = ctx.locals.base(pair.base).map_or(pair.route.remote(), |base| base.address);
            pair.valid = Some(Valid { since: ctx.now, mapped, consented: ctx.now });
            pair.state = PairState::Succeeded;
            ctx.gate.validate(pair.route);
        }
        self.heard_on(ctx, id);
        if use_candidate {
            self.select(ctx, id);
        }
    }

    /// Neither side checks anything: the best pair is taken as it is (RFC 8445 §8.2).
    pub(crate) fn settle_between_lite_agents(&mut self, ctx: &mut Context<'_>) {
        let Some(id) = self.list.iter().next().map(|pair| pair.id) else { return };
        if self.selected.is_none() && self.remote_complete && ctx.gathered {
            self.accept_lite(ctx, id, true);
        }
    }
}
