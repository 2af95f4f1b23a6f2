use std::time::Duration;

use sansio::{Outbox, Time};
use stun::{Class, MessageWriter, Method, TransactionId};

use super::{Agent, AgentTimer};
use crate::failure::diagnose;
use crate::relay::RelayNews;
use crate::report::PairError;
use crate::session::End;
use crate::{Event, Failure, FailureCause, State};

/// RFC 8445 §8.3.1: "the agent SHOULD wait an additional three seconds".
const FREE_AFTER: Duration = Duration::from_secs(3);
/// Bytes of a Binding indication with FINGERPRINT.
const KEEPALIVE_BYTES: usize = 28;

/// What follows from what has happened.
impl Agent {
    /// Does all that can be done now. Called after every wish, packet and timeout.
    pub(super) fn advance(&mut self, now: Time) {
        if self.state == State::Closed {
            return;
        }
        // Each round can cause news for the next: a permission that is there already, for example.
        loop {
            let (mut supplies, gatherer) = self.supplies(now);
            gatherer.advance(&mut supplies);
            let mut again = self.take_news(now);
            again |= self.take_bases(now);
            let remote_lite = self.remote_lite;
            let (mut ctx, session, past) = self.context(now);
            session.advance(&mut ctx);
            if ctx.config.lite && remote_lite {
                session.settle_between_lite_agents(&mut ctx);
                session.watch_carrier(&mut ctx);
            }
            if let Some(past) = past {
                past.watch_carrier(&mut ctx);
            }
            again |= self.consider_punching(now);
            if !again {
                break;
            }
        }
        self.settle(now);
    }

    fn take_news(&mut self, now: Time) -> bool {
        let mut any = false;
        while let Some((id, news)) = self.relays.poll_news(now) {
            any = true;
            let (mut supplies, gatherer) = self.supplies(now);
            gatherer.handle_news(&mut supplies, id, &news);
            match news {
                RelayNews::Permitted { peer } => self.session.permitted(id, peer),
                RelayNews::Refused { peer, code, reason } => {
                    self.session.refused(id, peer, code, &reason);
                    if let Some(past) = &mut self.previous {
                        past.refused(id, peer, code, &reason);
                    }
                }
                RelayNews::Moved => {
                    let (mut ctx, session, past) = self.context(now);
                    session.relay_moved(&mut ctx, id);
                    past.iter_mut().for_each(|past| past.relay_moved(&mut ctx, id));
                    if self.carrier.is_some_and(|route| route.relay() == Some(id)) {
                        self.events.push_back(Event::PathMoved);
                    }
                }
                RelayNews::Allocated { .. } | RelayNews::Reconnect { .. } | RelayNews::Over => {}
            }
        }
        any
    }

    fn take_bases(&mut self, now: Time) -> bool {
        let lost = std::mem::take(&mut self.gatherer.lost);
        let fresh = std::mem::take(&mut self.gatherer.fresh);
        let any = !(lost.is_empty() && fresh.is_empty());
        for base in lost {
            let relayed = self.locals.base(base).is_some_and(|base| base.relay.is_some());
            let error = if relayed { PairError::RelayLost } else { PairError::AddressLost };
            self.session.base_lost(base, &error);
            if let Some(past) = &mut self.previous {
                past.base_lost(base, &error);
            }
            let Self { gate, locals, .. } = self;
            gate.retain(|route| locals.base_of(route).is_none_or(|other| other.id != base));
            locals.remove_base(base);
        }
        for base in fresh {
            let (mut ctx, session, _) = self.context(now);
            session.add_base(&mut ctx, base);
        }
        any
    }

    /// Draws the sum: where data goes, and which state that is.
    fn settle(&mut self, now: Time) {
        let lite = self.config.lite;
        let current = self.session.carrier(lite).map(|pair| pair.route);
        let past = self.previous.as_ref().and_then(|past| past.carrier(lite)).map(|pair| pair.route);
        self.carrier = current.or(past);
        if current.is_some()
            && let Some(past) = self.previous.as_mut().filter(|past| !past.retired)
        {
            // The new session has its path; the old one answers for those who have not noticed yet.
            past.retire();
        }
        let state = self.state_now(current.is_some(), past.is_some());
        self.tell_selected();
        if state == State::Completed && current.is_some() && self.state != State::Completed {
            self.timers.set(AgentTimer::Free, now + FREE_AFTER);
        }
        if state != self.state {
            tracing::debug!(from = %self.state, to = %state, "state");
            if state == State::Completed && matches!(self.state, State::New | State::Checking) {
                // Nobody who waits for `Connected` waits in vain.
                self.events.push_back(Event::StateChanged(State::Connected));
            }
            self.state = state;
            self.events.push_back(Event::StateChanged(state));
            if state == State::Disconnected {
                // Perhaps a NAT has forgotten us: servers can tell.
                self.gatherer.probes.ask_again(&mut self.rng);
                self.relays.make_sure(now, |_| true);
            }
            if state == State::Failed {
                self.fail(now);
            }
        }
    }

    fn state_now(&self, current: bool, past: bool) -> State {
        let carrying = match (current, past, self.previous.as_deref()) {
            (true, ..) => Some(&self.session),
            (_, true, Some(past)) => Some(past),
            _ => None,
        };
        match carrying {
            Some(session) if session.silent => State::Disconnected,
            Some(session) if session.selected.is_some() => State::Completed,
            Some(_) => State::Connected,
            None if self.session.end.is_some() => State::Failed,
            None if self.session.remote.is_some() => State::Checking,
            None => State::New,
        }
    }

    fn tell_selected(&mut self) {
        let selected = self.session.selected.and_then(|id| self.session.list.get(id));
        if let Some(pair) = selected
            && self.told != Some(pair.id)
        {
            let described = self.session.describe(pair, &self.locals);
            self.told = Some(pair.id);
            self.events.push_back(Event::PairSelected(Box::new(described)));
        }
    }

    /// There is no path. Tells why, and falls silent.
    fn fail(&mut self, now: Time) {
        let report = self.report();
        let cause = match self.session.end {
            Some(End::Lost(cause)) => cause,
            Some(End::Exhausted) | None => diagnose(&report),
        };
        tracing::debug!(%cause, "failed");
        debug_assert!(
            self.carrier.is_none() || cause != FailureCause::ConsentLost,
            "nothing is sent any more"
        );
        self.events.push_back(Event::Failed(Box::new(Failure { cause, report })));
        self.gate.retain(|_| false);
        self.relays.close(now, |_| true);
        self.gatherer.close_barrels(|_| false);
        self.puncher.end();
        self.gatherer.stop();
        self.timers.clear();
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, now: Time) {
        // Early calls do nothing; this also keeps a machine that is over quiet.
        self.relays.handle_timeout(now);
        if self.state == State::Closed {
            return;
        }
        let alive = self.state != State::Completed;
        let (mut supplies, gatherer) = self.supplies(now);
        gatherer.handle_timeout(&mut supplies, alive);
        while let Some(AgentTimer::Free) = self.timers.expired(now) {
            self.free(now);
        }
        self.puncher.handle_timeout(now);
        let (mut ctx, session, past) = self.context(now);
        session.handle_timeout(&mut ctx);
        if let Some(past) = past {
            past.handle_timeout(&mut ctx);
        }
        self.advance(now);
    }

    /// RFC 8445 §8.3.1: candidates that were not selected. Sockets are kept, they cost nobody anything; a relay
    /// is somebody's bandwidth.
    fn free(&mut self, now: Time) {
        let keep = self.carrier.and_then(|route| route.relay());
        self.relays.close(now, |relay| Some(relay.id) != keep);
        let carrier = self.carrier;
        self.gatherer.close_barrels(|local| carrier.is_some_and(|carrier| carrier.leaves_from(local)));
        self.rest();
    }

    /// For most of its time nothing happens to a connection any more: what was kept ready for that is given back.
    fn rest(&mut self) {
        self.events.shrink_to_fit();
        self.locals.shrink();
        self.session.remotes.shrink();
        self.session.list.shrink();
        self.gatherer.shrink();
    }

    /// When [`Agent::expire`] is due.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let session = |session: &crate::session::Session| session.timers.next();
        [
            session(&self.session),
            self.previous.as_deref().and_then(session),
            self.gatherer.poll_timeout(),
            self.relays.poll_timeout(),
            self.puncher.poll_timeout(),
            self.timers.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Writes what is ready to be sent, as far as there is room.
    pub(super) fn transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.relays.poll_transmit(now, out);
        if self.closing {
            self.closing = false;
            self.gatherer.close();
            // Farewells are said once: their answers would find the sockets closed.
            for path in self.relays.abandon(now) {
                self.gatherer.ops.push_back(sansio::SocketOp::Disconnect { path });
            }
        }
        if self.state == State::Closed {
            return;
        }
        let timings = self.config.timings;
        self.gatherer.poll_transmit(now, &timings, out);
        let (mut ctx, session, past) = self.context(now);
        session.poll_transmit(&mut ctx, out);
        if let Some(past) = past {
            past.poll_transmit(&mut ctx, out);
        }
        self.shoot(now, out);
        self.send_keepalive(out);
    }

    /// RFC 8445 §11: a Binding indication with nothing but FINGERPRINT.
    fn send_keepalive(&mut self, out: &mut dyn Outbox) {
        if !std::mem::take(&mut self.session.keepalive) {
            return;
        }
        let Some(route) = self.carrier else { return };
        let id = TransactionId::random(&mut self.rng);
        self.relays.send(&route, out, KEEPALIVE_BYTES, &mut |buffer| {
            let mut writer = MessageWriter::new(buffer, Class::Indication, Method::BINDING, id);
            writer.fingerprint().finish().unwrap_or(0)
        });
    }
}
