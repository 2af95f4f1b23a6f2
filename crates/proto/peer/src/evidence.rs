//! What a doctor wants to know of a connection.

use doctor::{Clock, Evidence, Outcome, Secure, Summary};
use sansio::Time;

use crate::secure::Secure as Secured;
use crate::{Connection, DtlsState};

impl Connection {
    /// All that is known of this attempt to connect, for [`doctor::examine`].
    pub fn evidence(&self, now: Time) -> Evidence {
        self.evidence_of(now, self.ice_report().unwrap_or_default(), None)
    }

    /// The evidence and the verdicts on it: why there is no connection, or why it is not direct.
    pub fn report(&self, now: Time) -> doctor::Report {
        doctor::Report::new(self.evidence(now))
    }

    /// What the other side told of its own evidence, from now on part of ours. It has to come by signalling, sealed as
    /// descriptions are.
    pub fn set_remote_summary(&mut self, summary: Summary) {
        self.theirs = Some(Box::new(summary));
    }

    /// Why data goes through a TURN server, in half a sentence.
    pub(crate) fn why_relayed(&self) -> String {
        let ice = self.ice_report().unwrap_or_default();
        doctor::because(&self.evidence_of(self.latest, ice, None))
    }

    /// The same, at the moment of a failure.
    pub(crate) fn evidence_of(
        &self,
        now: Time,
        ice: ice::Report,
        failed: Option<&crate::FailureCause>,
    ) -> Evidence {
        let configuration = &self.configuration;
        let secure = match (self.transport.dtls_state(), failed) {
            (_, Some(crate::FailureCause::Dtls(error))) => Secure::Failed(error.clone()),
            (DtlsState::Failed, _) => match &self.dtls_failure {
                Some(error) => Secure::Failed(error.clone()),
                None => Secure::Handshaking,
            },
            // A handshake that rides in checks may get far, and there is no path all the same.
            _ if !self.transport.secure().is_some_and(Secured::has_had_path) => Secure::Idle,
            (DtlsState::New, _) => Secure::Idle,
            (DtlsState::Connecting, _) => Secure::Handshaking,
            (DtlsState::Connected | DtlsState::Closed, _) => Secure::Connected,
        };
        let selected = self.transport.agent().and_then(ice::Agent::selected);
        let outcome = match selected {
            _ if failed.is_some() || self.broken => match self.was_connected {
                true => Outcome::Lost,
                false => Outcome::Failed,
            },
            Some(pair) if pair.is_relayed() => Outcome::Relayed,
            Some(_) => Outcome::Direct,
            None if self.transport.agent().is_some() => Outcome::Connecting,
            None => Outcome::Untried,
        };
        Evidence {
            outcome,
            ice,
            relay_only: configuration.ice_transport_policy == ice::TransportPolicy::Relay,
            secure,
            channels: match failed {
                Some(crate::FailureCause::Sctp(error)) => Some(error.to_string()),
                _ => None,
            },
            traffic: self.transport.traffic.for_doctor(),
            mtu: configuration.mtu,
            interfaces: configuration.interfaces.clone(),
            clock: Clock {
                ours: configuration.unix_time_at_start.map(|start| start + now.elapsed()),
                servers: configuration.server_unix_time_at_start.map(|start| start + now.elapsed()),
            },
            expected_realm: configuration.expected_realm.clone(),
            proxy: configuration.proxy.clone(),
            theirs: self.theirs.clone(),
            ..Evidence::default()
        }
    }
}
