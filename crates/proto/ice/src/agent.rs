use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};

use crate::{
    Candidate, Config, Credentials, Event, GatheringState, Interface, Lane, Report, SelectedPair, Server,
    State,
};

/// One side of an ICE session, with one data stream of one component.
pub struct Agent {
    config: Config,
    local: Credentials,
    remote: Option<Credentials>,
}

impl Agent {
    /// A new agent, that does nothing until it is told to gather or learns of the other side.
    pub fn new(_now: Time, config: Config) -> Self {
        let local = Credentials::generate(&mut sansio::Rng::new(config.seed));
        Self { config, local, remote: None }
    }

    /// What the other side must know of us besides candidates. Changed by [`Agent::restart`].
    pub fn local_credentials(&self) -> &Credentials {
        &self.local
    }

    /// What we know of the other side.
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.remote.as_ref()
    }

    /// Tells who the other side is, in the current ICE session. Checks start as soon as there are pairs.
    pub fn set_remote_credentials(&mut self, _now: Time, remote: Credentials) {
        self.remote = Some(remote);
    }

    /// Whether this agent is controlling. A role conflict changes it, with [`Event::RoleChanged`].
    pub fn is_controlling(&self) -> bool {
        self.config.controlling
    }

    /// Changes the role, if it was not known when the agent was made.
    pub fn set_controlling(&mut self, _now: Time, controlling: bool) {
        self.config.controlling = controlling;
    }

    /// Tells whether the other side is a lite agent (`a=ice-lite`); if so this agent, being full, controls.
    pub fn set_remote_lite(&mut self, _now: Time, _lite: bool) {}

    /// The pause between checks that we propose: the value of `a=ice-pacing` (RFC 8839 §5.5).
    pub fn pacing(&self) -> Duration {
        self.config.ta
    }

    /// Tells which pause the other side proposes; the longer of both counts. 50 ms if it does not say.
    pub fn set_remote_pacing(&mut self, _now: Time, _ta: Duration) {}

    /// Changes the servers, for the next [`Agent::gather`].
    pub fn set_servers(&mut self, servers: Vec<Server>) {
        self.config.servers = servers;
    }

    /// Collects candidates on these addresses: all that the machine has now. Again after a restart, and when
    /// the addresses have changed: sockets that are still good are kept, others closed.
    pub fn gather(&mut self, _now: Time, _interfaces: &[Interface]) {}

    /// Adds a candidate of the other side, whenever it comes: before the credentials it is kept for them, and
    /// one of an earlier ICE session (by its `ufrag`) is ignored.
    pub fn add_remote_candidate(&mut self, _now: Time, _candidate: Candidate) {}

    /// Tells that the other side has no more candidates in this ICE session.
    pub fn end_of_remote_candidates(&mut self, _now: Time) {}

    /// Starts a new ICE session with new credentials; data stays on the old path until the new one is there.
    /// Call [`Agent::gather`] next, and give the other side the new credentials and candidates.
    pub fn restart(&mut self, now: Time) {
        let fresh = Credentials::generate(&mut sansio::Rng::new(self.config.seed));
        self.restart_with(now, fresh);
    }

    /// As [`Agent::restart`], with credentials that were drawn before. In JSEP an offer carries the new credentials,
    /// but restarts nothing until it is applied, which may never happen.
    pub fn restart_with(&mut self, _now: Time, local: Credentials) {
        self.local = local;
    }

    /// Takes the last [`Agent::restart`] back, if the other side has not joined it (a rollback in JSEP).
    pub fn undo_restart(&mut self, _now: Time) {}

    /// Ends everything: allocations are given back, sockets closed.
    pub fn close(&mut self, _now: Time) {}

    /// Our candidates, as they are told to the other side.
    pub fn local_candidates(&self) -> impl Iterator<Item = &Candidate> {
        std::iter::empty()
    }

    /// The candidate that works for a peer without ICE most likely: what stands in `c=` and `m=`.
    pub fn default_candidate(&self) -> Option<&Candidate> {
        None
    }

    /// Where the agent stands.
    pub fn state(&self) -> State {
        State::New
    }

    /// How far gathering is.
    pub fn gathering_state(&self) -> GatheringState {
        GatheringState::New
    }

    /// The path of application bytes: the selected pair, before there is one the best valid one.
    pub fn selected(&self) -> Option<SelectedPair> {
        None
    }

    /// What was done so far and what came of it.
    pub fn report(&self) -> Report {
        Report::default()
    }

    /// The most application bytes that one packet surely carries on the present path.
    pub fn max_payload(&self) -> usize {
        1200
    }

    /// Takes a received datagram; application bytes in it, and those that were held until now, go to `deliver`.
    pub fn open(
        &mut self,
        _now: Time,
        _datagram: Datagram<'_>,
        _out: &mut dyn Outbox,
        _deliver: &mut dyn FnMut(&mut [u8]),
    ) {
    }

    /// Where application bytes leave; `None` while there is no path.
    pub fn lane<'a>(&'a mut self, _out: &'a mut dyn Outbox) -> Option<Lane<'a>> {
        None
    }
}

impl Machine for Agent {
    type Addr = Path;
    type Event = Event;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.open(now, datagram, out, &mut |_| {});
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, _now: Time, _out: &mut dyn Outbox) {}

    fn poll_event(&mut self) -> Option<Event> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        None
    }

    fn handle_socket(&mut self, _now: Time, _reply: SocketReply) {}
}
