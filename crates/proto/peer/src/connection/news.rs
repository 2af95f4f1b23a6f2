//! What the layers under a [`Connection`] tell, and what becomes of it.

use sansio::Time;

use super::{Connection, States};
use crate::{
    CandidateError, ConnectionState, DtlsState, Event, Failure, FailureCause, IceCandidateInit,
    IceConnectionState, IceGatheringState, SignalingState,
};

impl Connection {
    /// Reads what the layers have to say, and tells what has changed. After every wish.
    pub(super) fn settle(&mut self, now: Time) {
        self.listen(now);
        self.tell_states();
        self.tell_media();
        self.tell_negotiation_needed();
    }

    /// Reads what the layers have to say. After every packet, therefore cheap if that is nothing.
    pub(super) fn listen(&mut self, now: Time) {
        self.latest = now;
        let mut news = false;
        while let Some(event) = self.transport.poll_ice() {
            self.handle_ice(now, event);
            news = true;
        }
        if let Some(error) = self.transport.poll_dtls_failure() {
            self.dtls_failure = Some(error.clone());
            self.fail(now, FailureCause::Dtls(error), None);
            self.close_channels();
            if let Some(association) = self.transport.association() {
                association.abort(now);
            }
        }
        if self.transport.dtls_state() == DtlsState::Closed && !self.peer_closed && !self.is_closed() {
            self.drain_channels();
            self.peer_closed = true;
            // Before the channels' ends, so that these are not taken for orderly ones.
            self.events.push_back(Event::PeerClosed);
            self.close_channels();
            self.close_media();
            self.transport.close(now);
        }
        if news || self.transport.dtls_state() != self.told.dtls {
            self.keep_together(now);
            self.tell_states();
        }
    }

    pub(super) fn handle_ice(&mut self, now: Time, event: ice::Event) {
        match event {
            ice::Event::CandidateGathered(candidate) => {
                let event = self.local_candidate(candidate.to_string(), candidate.ufrag);
                self.events.extend(event.map(Event::CandidateGathered));
            }
            ice::Event::GatheringStateChanged(ice::GatheringState::Complete) => {
                let event = self.local_candidate(String::new(), None);
                self.events.extend(event.map(Event::CandidateGathered));
            }
            ice::Event::CandidateFailed { url, address, code, text } => {
                self.events.push_back(Event::CandidateFailed(CandidateError { url, address, code, text }));
            }
            ice::Event::PairSelected(_) => {
                let path = self.path().map(Box::new);
                self.events.extend(path.map(Event::PathChanged));
                self.try_sizes(now);
            }
            ice::Event::PathMoved => self.transport.hurry(now),
            // One that has fallen back on an earlier path says no more than that.
            ice::Event::StateChanged(_) => self.try_sizes(now),
            // The end of a path is not the end of a connection that roams.
            ice::Event::Failed(failure) if self.is_roaming() => self.roam.lost(failure),
            ice::Event::Failed(failure) => {
                self.fail(now, FailureCause::Ice(failure.cause), Some(failure.report));
            }
            ice::Event::GatheringStateChanged(_) | ice::Event::RoleChanged(_) => {}
        }
    }

    /// Has larger packets tried where that makes sense.
    pub(super) fn try_sizes(&mut self, now: Time) {
        self.transport.try_sizes(now, self.configuration.largest_mtu);
    }

    pub(super) fn local_candidate(
        &self,
        candidate: String,
        ufrag: Option<String>,
    ) -> Option<IceCandidateInit> {
        let (index, mid) = self.negotiation.local_anchor()?;
        Some(IceCandidateInit {
            candidate,
            sdp_mid: mid.map(String::from),
            sdp_mline_index: u16::try_from(index).ok(),
            username_fragment: ufrag.or_else(|| self.transport.local_ufrag().map(String::from)),
        })
    }

    pub(super) fn fail(&mut self, now: Time, cause: FailureCause, report: Option<ice::Report>) {
        if std::mem::replace(&mut self.broken, true) || self.is_closed() || self.peer_closed {
            return;
        }
        let report = report.or_else(|| self.ice_report()).unwrap_or_default();
        let report = doctor::Report::new(self.evidence_of(now, report, Some(&cause)));
        self.events.push_back(Event::Failed(Box::new(Failure { cause, report })));
    }

    pub(super) fn tell_states(&mut self) {
        let states = self.states();
        let told = std::mem::replace(&mut self.told, states);
        if told.gathering != states.gathering {
            self.events.push_back(Event::IceGatheringStateChanged(states.gathering));
        }
        if told.ice != states.ice {
            self.events.push_back(Event::IceConnectionStateChanged(states.ice));
        }
        if told.connection != states.connection {
            self.was_connected |= states.connection == ConnectionState::Connected;
            self.events.push_back(Event::ConnectionStateChanged(states.connection));
        }
    }

    pub(super) fn states(&self) -> States {
        let gathering = match self.transport.agent().map(ice::Agent::gathering_state) {
            None | Some(ice::GatheringState::New) => IceGatheringState::New,
            Some(ice::GatheringState::Gathering) => IceGatheringState::Gathering,
            Some(ice::GatheringState::Complete) => IceGatheringState::Complete,
        };
        if self.is_closed() || self.peer_closed {
            // The gathering state does not change any more.
            return States {
                gathering: self.told.gathering,
                ice: IceConnectionState::Closed,
                connection: ConnectionState::Closed,
                dtls: self.transport.dtls_state(),
            };
        }
        let ice = match self.transport.agent().map(ice::Agent::state) {
            None | Some(ice::State::New) => IceConnectionState::New,
            Some(ice::State::Checking) => IceConnectionState::Checking,
            Some(ice::State::Connected) => IceConnectionState::Connected,
            Some(ice::State::Completed) => IceConnectionState::Completed,
            Some(ice::State::Disconnected) => IceConnectionState::Disconnected,
            Some(ice::State::Failed) if self.is_roaming() => IceConnectionState::Disconnected,
            Some(ice::State::Failed) => IceConnectionState::Failed,
            Some(ice::State::Closed) => IceConnectionState::Closed,
        };
        let works = matches!(ice, IceConnectionState::Connected | IceConnectionState::Completed);
        let ice = if self.roam.has_given_up() && !works { IceConnectionState::Failed } else { ice };
        let dtls = self.transport.dtls_state();
        let connection = match (ice, dtls) {
            (IceConnectionState::Failed, _) | (_, DtlsState::Failed) => ConnectionState::Failed,
            (IceConnectionState::Disconnected, _) => ConnectionState::Disconnected,
            (IceConnectionState::New, DtlsState::New) => ConnectionState::New,
            (IceConnectionState::Connected | IceConnectionState::Completed, DtlsState::Connected) => {
                ConnectionState::Connected
            }
            _ => ConnectionState::Connecting,
        };
        States { gathering, ice, connection, dtls }
    }

    /// W3C's "update the negotiation-needed flag".
    pub(super) fn tell_negotiation_needed(&mut self) {
        if self.negotiation.signaling() != SignalingState::Stable || self.peer_closed {
            return;
        }
        let unnegotiated = self.channels.wanted && !self.negotiation.has_data();
        let needed = self.restart_wanted
            || (unnegotiated && self.channels.iter().next().is_some())
            || self.is_media_news();
        if needed && !self.negotiation_needed {
            self.events.push_back(Event::NegotiationNeeded);
        }
        self.negotiation_needed = needed;
    }
}
