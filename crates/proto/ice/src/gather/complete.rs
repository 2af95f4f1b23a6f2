use super::server::{NO_ANSWER, Resolution, described};
use super::socket::SocketState;
use super::{GatherTimer, Gatherer, Supplies, hides_addresses};
use crate::relay::RelayState;
use crate::report::ServerOutcome;
use crate::{CandidateKind, Event, GatheringState};

/// When gathering is over: one dead server delays nobody.
impl Gatherer {
    /// Ends gathering when nothing is pending, or when what is pending is not worth the wait.
    pub(super) fn consider_completion(&mut self, s: &mut Supplies<'_>) {
        if self.state != GatheringState::Gathering {
            return;
        }
        if !self.is_pending(s) {
            return self.complete(s);
        }
        if self.satisfied.is_none() && self.would_do(s) {
            self.satisfied = Some(s.now);
            let timings = &s.config.timings;
            let grace = if self.expecting { timings.mapping_grace } else { timings.gathering_grace };
            self.timers.set_earlier(GatherTimer::Complete, s.now + grace);
        }
    }

    /// It is known by now which of our sockets the router maps.
    pub(crate) fn end_of_mappings(&mut self, s: &mut Supplies<'_>) {
        if std::mem::take(&mut self.expecting)
            && let Some(satisfied) = self.satisfied
        {
            let until = satisfied + s.config.timings.gathering_grace;
            self.timers.set_earlier(GatherTimer::Complete, until.max(s.now));
        }
    }

    /// Whether an answer is still awaited from anyone.
    fn is_pending(&self, s: &Supplies<'_>) -> bool {
        self.expecting
            || self.awaits_scouts(s)
            || self.sockets.iter().any(|socket| socket.state == SocketState::Binding)
            || self.servers.iter().any(|server| matches!(server.resolution, Resolution::Pending))
            || self.probes.iter().any(|probe| probe.is_pending())
            || s.relays.iter().any(|relay| match relay.state {
                RelayState::Waiting | RelayState::Allocating => true,
                // Being given back, and wanted again.
                RelayState::Ready => relay.closing,
                RelayState::Over => false,
            })
    }

    /// Whether the candidates that are there would do: of each kind that the servers can give, one.
    fn would_do(&self, s: &Supplies<'_>) -> bool {
        if self.sockets.iter().any(|socket| socket.state == SocketState::Binding) {
            return false;
        }
        let usable =
            || self.servers.iter().filter(|server| !matches!(server.resolution, Resolution::NotAsked(_)));
        let wants_relay = usable().any(|server| server.config.url.is_turn());
        let has_relay = s.locals.signalled().any(|c| c.public.kind == CandidateKind::Relay);
        let wants_srflx = self.probes.iter().next().is_some();
        let has_srflx = self.probes.iter().any(|probe| matches!(probe.outcome, ServerOutcome::Succeeded(_)));
        (has_relay || !wants_relay) && (has_srflx || !wants_srflx)
    }

    /// Gathering is over. What comes later is used but not told.
    pub(super) fn complete(&mut self, s: &mut Supplies<'_>) {
        if self.state != GatheringState::Gathering {
            return;
        }
        self.timers.stop(GatherTimer::Complete);
        self.end_scouting();
        let waited = s.now - self.started;
        let hide = hides_addresses(s.config);
        let probes = self.probes.iter().filter(|probe| probe.is_pending());
        let probes = probes.map(|probe| (probe.url.clone(), probe.path.local));
        let pending = |state| matches!(state, RelayState::Waiting | RelayState::Allocating);
        let relays = s.relays.iter().filter(|relay| pending(relay.state));
        let relays = relays.map(|relay| (relay.spec.config.url.to_string(), relay.spec.local));
        let late: Vec<_> = probes.map(|(url, local)| (url, Some(local))).chain(relays).collect();
        for (url, address) in late {
            let text = format!("no answer within {} ms", waited.as_millis());
            let address = address.filter(|_| !hide);
            s.events.push_back(Event::CandidateFailed { url, address, code: NO_ANSWER, text });
        }
        self.set_state(s, GatheringState::Complete);
    }

    /// Tells of a failure once: those that were reported as late are not reported again.
    pub(super) fn tell_failure(
        &self,
        s: &mut Supplies<'_>,
        url: String,
        address: Option<std::net::SocketAddr>,
        outcome: &ServerOutcome,
    ) {
        if self.state == GatheringState::Gathering {
            let address = address.filter(|_| !hides_addresses(s.config));
            let (code, text) = described(outcome);
            s.events.push_back(Event::CandidateFailed { url, address, code, text });
        }
    }
}
