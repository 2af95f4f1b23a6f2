//! What keeps a connection together when the network under it changes.

use sansio::Time;

use super::Connection;
use crate::{DtlsState, FailureCause, SignalingState};

/// How a connection does that may lose its path: see [`Configuration::roam`](crate::Configuration::roam).
#[derive(Default)]
pub(super) struct Roam {
    /// Whether there was a connection: before, there is nothing to keep.
    established: bool,
    /// When it has been without a path for too long.
    deadline: Option<Time>,
    /// That was too long.
    given_up: bool,
    /// Why the last path ended, if ICE has said so.
    failure: Option<Box<ice::Failure>>,
    /// Where ICE stood when it was last looked at.
    seen: Option<ice::State>,
    /// The network changed while a restart was under way: another one is due after it.
    again: bool,
}

impl Roam {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up
    }

    pub(super) fn lost(&mut self, failure: Box<ice::Failure>) {
        self.failure = Some(failure);
    }

    pub(super) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}

impl Connection {
    /// The addresses of this machine have changed. If [`Configuration::roam`](crate::Configuration::roam) says so and
    /// the path was lost with its address, or a better one may be had, ICE restarts: [`Event::NegotiationNeeded`]
    /// follows. A connection that is still being made tries the new addresses as well.
    ///
    /// [`Event::NegotiationNeeded`]: crate::Event::NegotiationNeeded
    pub fn network_changed(&mut self, now: Time, interfaces: Vec<ice::Interface>) {
        if interfaces == self.configuration.interfaces || self.is_closed() {
            return;
        }
        if !self.is_roaming() {
            return self.set_interfaces(now, interfaces);
        }
        let old = std::mem::replace(&mut self.configuration.interfaces, interfaces);
        let new = &self.configuration.interfaces;
        let from = self.transport.agent().and_then(ice::Agent::leaves_from);
        let of = |list: &[ice::Interface], address| list.iter().find(|it| it.address == address).cloned();
        let relayed = self.path().is_some_and(|path| path.kind == crate::PathKind::Relayed);
        let used = from.and_then(|from| of(&old, from));
        let is_better = |new: &ice::Interface| match &used {
            Some(used) if !relayed => ice::is_preferred(new, used),
            Some(used) => !ice::is_preferred(used, new),
            None => true,
        };
        let fresh = new.iter().filter(|it| of(&old, it.address).is_none() && !it.address.is_loopback());
        let better = fresh.filter(|it| is_better(it)).count() > 0;
        let lost = from.is_some_and(|from| of(new, from).is_none());
        if self.negotiation.signaling() == SignalingState::Stable {
            let new = self.configuration.interfaces.clone();
            self.transport.retain_interfaces(now, &new);
        } else {
            // The session to come tries the new addresses, too, and tells them as long as it may.
            let new = self.configuration.interfaces.clone();
            self.transport.set_interfaces(now, &new);
        }
        // A relayed path goes on from another address, if the server lets it (RFC 8016). Nothing better than that is to be
        // had where relayed paths are all that is wanted.
        let moving = self.transport.agent().is_some_and(ice::Agent::is_moving);
        let relay_only = self.configuration.ice_transport_policy == ice::TransportPolicy::Relay;
        let wanted = if moving { better && !relay_only } else { lost || better };
        tracing::debug!(?from, lost, better, moving, "the addresses of this machine have changed");
        if wanted || self.roam.deadline.is_some() {
            self.wish_restart();
        }
        self.settle(now);
    }

    /// Whether this is a connection that outlives its path.
    pub(super) fn is_roaming(&self) -> bool {
        self.configuration.roam.is_some() && self.roam.established && !self.roam.given_up
    }

    /// Looks at where ICE stands, and has it restart if the path is gone.
    pub(super) fn keep_together(&mut self, now: Time) {
        let Some(patience) = self.configuration.roam else { return };
        let state = self.transport.agent().map(ice::Agent::state);
        if self.roam.seen == state && self.roam.established {
            return;
        }
        match state {
            Some(ice::State::Connected | ice::State::Completed) => {
                let up = self.transport.dtls_state() == DtlsState::Connected;
                if up && self.roam.deadline.take().is_some() {
                    self.transport.hurry(now);
                }
                if up {
                    self.roam =
                        Roam { established: true, seen: state, again: self.roam.again, ..Roam::default() };
                }
            }
            Some(ice::State::Disconnected | ice::State::Failed) if self.is_roaming() => {
                self.roam.seen = state;
                self.roam.deadline.get_or_insert(now + patience);
                self.wish_restart();
                self.tell_negotiation_needed();
            }
            _ => self.roam.seen = state,
        }
    }

    /// ICE is to restart: now, or once the exchange under way is over, which may be about what is no longer true.
    fn wish_restart(&mut self) {
        if self.is_closed() || self.peer_closed || self.remote.is_none() {
            return;
        }
        match self.negotiation.signaling() {
            SignalingState::Stable => self.restart_wanted = true,
            SignalingState::HaveRemoteOffer if self.negotiation.is_remote_restart() => {}
            _ => self.roam.again = true,
        }
    }

    /// Fails after all, if it is time.
    pub(super) fn consider_giving_up(&mut self, now: Time) {
        if self.roam.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.roam.deadline = None;
        self.roam.given_up = true;
        let (cause, report) = match self.roam.failure.take() {
            Some(failure) => (failure.cause, Some(failure.report)),
            None => (ice::FailureCause::ConsentLost, None),
        };
        self.fail(now, FailureCause::Ice(cause), report);
        self.tell_states();
    }
}
