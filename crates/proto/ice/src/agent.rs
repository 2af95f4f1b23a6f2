mod advance;
mod embedding;
mod punching;
mod receive;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, Rng, SocketOp, SocketReply, Ticket, Time, Timers};

pub use receive::Proof;

use crate::gate::Gate;
use crate::gather::{Gatherer, Supplies, hides_addresses};
use crate::lane::Way;
use crate::local::Locals;
use crate::parcels::Parcels;
use crate::punch::Puncher;
use crate::relay::Relays;
use crate::remote::{Added, RemoteId};
use crate::role::Role;
use crate::route::Route;
use crate::session::{Context, Session};
use crate::{
    Candidate, Config, Credentials, Drops, Event, GatheringState, Interface, Lane, Report, SelectedPair,
    Server, State,
};

/// RFC 8445 §14.2: the pace of an agent that does not say.
pub(crate) const DEFAULT_TA: Duration = Duration::from_millis(50);
/// RFC 8445 §14.2: no pace is faster.
const MIN_TA: Duration = Duration::from_millis(5);
/// Headers around a UDP payload: IPv4 and IPv6.
const UDP4_HEADERS: usize = 20 + 8;
const UDP6_HEADERS: usize = 40 + 8;

/// One side of an ICE session, with one data stream of one component.
///
/// See the [crate's front page](crate) for what it does. Nothing that is called too early is an error:
/// candidates wait for credentials, credentials for sockets, and packets of the other side for signalling.
pub struct Agent {
    config: Config,
    rng: Rng,
    role: Role,
    remote_lite: bool,
    remote_ta: Option<Duration>,
    session: Session,
    /// The session before the last restart, whose path serves until the new one has its own.
    previous: Option<Box<Session>>,
    /// The session that the last restart replaced, if it had no path and `previous` is an older one that has: only
    /// [`Agent::undo_restart`] wants it.
    replaced: Option<Box<Session>>,
    /// Candidates of a session of the other side that we have not been told of yet.
    future: Vec<Candidate>,
    gatherer: Gatherer,
    locals: Locals,
    relays: Relays,
    gate: Gate,
    events: VecDeque<Event>,
    drops: Drops,
    puncher: Puncher,
    state: State,
    /// Which session this is; looked-up names come back to theirs.
    generation: u64,
    lookups: BTreeMap<Ticket, (u64, RemoteId)>,
    timers: Timers<AgentTimer>,
    /// Where application bytes go now.
    carrier: Option<Route>,
    /// The selected pair that the owner was told of.
    told: Option<crate::pair::PairId>,
    /// A relayed STUN message, while it is answered by the way it came.
    scratch: Vec<u8>,
    /// Farewells are to be sent before sockets are closed.
    closing: bool,
    /// What rides in checks and their answers.
    parcels: Parcels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AgentTimer {
    /// Candidates that were not selected are freed (RFC 8445 §8.3.1).
    Free,
}

impl Agent {
    /// A new agent, that does nothing until it is told to gather or learns of the other side.
    pub fn new(_now: Time, config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        Self {
            role: Role::new(config.controlling, &mut rng),
            remote_lite: false,
            remote_ta: None,
            session: Session::new(&config, &mut rng),
            previous: None,
            replaced: None,
            future: Vec::new(),
            gatherer: Gatherer::new(),
            locals: Locals::default(),
            relays: Relays::default(),
            gate: Gate::default(),
            events: VecDeque::new(),
            drops: Drops::default(),
            puncher: Puncher::default(),
            state: State::New,
            generation: 0,
            lookups: BTreeMap::new(),
            timers: Timers::default(),
            carrier: None,
            told: None,
            scratch: Vec::new(),
            closing: false,
            parcels: Parcels::default(),
            config,
            rng,
        }
    }

    /// What the other side must know of us besides candidates. Changed by [`Agent::restart`].
    pub fn local_credentials(&self) -> &Credentials {
        &self.session.local
    }

    /// What we know of the other side.
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.session.remote.as_ref().map(|remote| &remote.credentials)
    }

    /// Tells who the other side is, in the current ICE session. Checks start as soon as there are pairs.
    ///
    /// The same credentials again change nothing. Others, without a [`Agent::restart`] before, are another peer:
    /// all that is known of the first is forgotten, our own credentials stay.
    pub fn set_remote_credentials(&mut self, now: Time, remote: Credentials) {
        if self.state == State::Closed || self.remote_credentials() == Some(&remote) {
            return;
        }
        if self.session.remote.is_some() {
            self.gate.retain(|_| false);
            let local = self.session.local.clone();
            self.begin(local);
        }
        self.replaced = None;
        let ufrag = remote.ufrag.clone();
        let (mut ctx, session, _) = self.context(now);
        session.set_remote(&mut ctx, remote);
        let (ours, others) = std::mem::take(&mut self.future)
            .into_iter()
            .partition(|candidate| candidate.ufrag.as_ref().is_none_or(|other| *other == ufrag));
        self.future = others;
        let ours: Vec<Candidate> = ours;
        ours.into_iter().for_each(|candidate| self.take_candidate(now, candidate));
        self.advance(now);
    }

    /// Whether this agent is controlling. A role conflict changes it, with [`Event::RoleChanged`].
    pub fn is_controlling(&self) -> bool {
        self.role.controlling
    }

    /// Changes the role, if it was not known when the agent was made.
    pub fn set_controlling(&mut self, now: Time, controlling: bool) {
        if self.role.controlling != controlling {
            self.role.controlling = controlling;
            let (ctx, session, _) = self.context(now);
            session.nominating = None;
            session.renew_priorities(&ctx);
            self.advance(now);
        }
    }

    /// Tells whether the other side is a lite agent (`a=ice-lite`); if so this agent, being full, controls
    /// (RFC 8445 §6.1.1).
    pub fn set_remote_lite(&mut self, now: Time, lite: bool) {
        self.remote_lite = lite;
        if lite && !self.config.lite {
            self.set_controlling(now, true);
        }
        self.advance(now);
    }

    /// The pause between checks that we propose: the value of `a=ice-pacing` (RFC 8839 §5.5).
    pub fn pacing(&self) -> Duration {
        self.config.ta.max(MIN_TA)
    }

    /// Tells which pause the other side proposes; the longer of both counts. 50 ms if it does not say.
    pub fn set_remote_pacing(&mut self, now: Time, ta: Duration) {
        self.remote_ta = Some(ta);
        self.advance(now);
    }

    /// Changes the servers, for the next [`Agent::gather`].
    pub fn set_servers(&mut self, servers: Vec<Server>) {
        self.config.servers = servers;
    }

    /// Collects candidates on these addresses: all that the machine has now. Again after a restart, and when
    /// the addresses have changed: sockets that are still good are kept, others closed. In a new ICE session all
    /// candidates are told again, in the same one only new ones.
    pub fn gather(&mut self, now: Time, interfaces: &[Interface]) {
        if self.state == State::Closed {
            return;
        }
        let (mut supplies, gatherer) = self.supplies(now);
        gatherer.gather(&mut supplies, interfaces);
        self.advance(now);
    }

    /// The addresses that our UDP sockets are bound to: what a router may be asked to map.
    pub fn local_sockets(&self) -> impl Iterator<Item = std::net::SocketAddr> {
        self.gatherer.locals()
    }

    /// The router sends what comes to `mapped` to our socket on `local` from now on: this is a candidate, a
    /// server-reflexive one. `by` says how that came about, for people. See [`Config::expect_mappings`].
    pub fn add_mapping(
        &mut self,
        now: Time,
        local: std::net::SocketAddr,
        mapped: std::net::SocketAddr,
        by: &str,
    ) {
        if self.state == State::Closed {
            return;
        }
        let (mut supplies, gatherer) = self.supplies(now);
        gatherer.publish_mapping(&mut supplies, local, mapped, by);
        self.advance(now);
    }

    /// The router maps that port no more. What goes through it may go on for a while; nobody new is told of it.
    pub fn remove_mapping(&mut self, local: std::net::SocketAddr, mapped: std::net::SocketAddr) {
        self.locals.remove_mapping(local, mapped);
    }

    /// It is known which of our sockets the router maps: gathering does not go on for that.
    pub fn end_of_mappings(&mut self, now: Time) {
        if self.state == State::Closed {
            return;
        }
        let (mut supplies, gatherer) = self.supplies(now);
        gatherer.end_of_mappings(&mut supplies);
        self.advance(now);
    }

    /// Closes the sockets on addresses that are not among these any more, without looking for new candidates: that is
    /// for [`Agent::gather`], after a [`Agent::restart`] where the path was lost with its address.
    pub fn retain_interfaces(&mut self, now: Time, interfaces: &[Interface]) {
        if self.state == State::Closed {
            return;
        }
        let (mut supplies, gatherer) = self.supplies(now);
        gatherer.release(&mut supplies, interfaces);
        self.advance(now);
    }

    /// The address of this machine that application bytes leave from, to the other side or to a TURN server; `None`
    /// while there is no path, or if the system has chosen it.
    pub fn leaves_from(&self) -> Option<std::net::IpAddr> {
        match self.carrier? {
            Route::Direct(path) => Some(path.local.ip()),
            Route::Relayed { relay, .. } => Some(self.relays.path(relay)?.local.ip()),
        }
    }

    /// Whether application bytes go by an allocation that is just being taken along to another address of ours (RFC 8016):
    /// they cannot leave before it is there, or is found to be lost.
    pub fn is_moving(&self) -> bool {
        let relay = self.carrier.and_then(|route| route.relay()).and_then(|relay| self.relays.get(relay));
        relay.is_some_and(|relay| !relay.mooring.is_fast())
    }

    /// Adds a candidate of the other side, whenever it comes: before the credentials it is kept for them, and
    /// one of an earlier ICE session (by its `ufrag`) is ignored.
    pub fn add_remote_candidate(&mut self, now: Time, candidate: Candidate) {
        let ufrag = candidate.ufrag.as_deref();
        let of_now = self
            .session
            .remote
            .as_ref()
            .is_some_and(|remote| ufrag.is_none_or(|ufrag| ufrag == remote.credentials.ufrag));
        let past = [&self.previous, &self.replaced];
        let of_past = |ufrag: &str| {
            past.iter().any(|past| past.as_ref().is_some_and(|past| past.is_remote_ufrag(ufrag)))
        };
        if of_now {
            // RFC 8838 §14: "After an agent has received an end-of-candidates indication, it MUST ignore any
            // newly received candidates".
            if !self.session.remote_complete {
                self.take_candidate(now, candidate);
                self.advance(now);
            }
        } else if ufrag.is_some_and(of_past) && self.session.remote.is_some() {
            tracing::debug!(%candidate, "a candidate of an earlier session");
        } else if self.future.len() < self.config.max_remote_candidates {
            // Of a session to come, or of the one that comes back if the restart is undone.
            self.future.push(candidate);
        } else {
            self.drops.over_limit += 1;
        }
    }

    fn take_candidate(&mut self, now: Time, candidate: Candidate) {
        let (mut ctx, session, _) = self.context(now);
        let Added::Resolve(remote, name) = session.add_remote(&mut ctx, candidate) else { return };
        if session.mdns_lookups >= ctx.config.max_mdns_lookups {
            ctx.drops.over_limit += 1;
            return session.remotes.unresolved(remote, "too many names".to_owned());
        }
        session.mdns_lookups += 1;
        let ticket = self.gatherer.ticket();
        self.lookups.insert(ticket, (self.generation, remote));
        self.gatherer.ops.push_back(SocketOp::Resolve { ticket, name });
    }

    /// Tells that the other side has no more candidates in this ICE session; after a [`Agent::restart`] that it
    /// has not joined, in the one before.
    pub fn end_of_remote_candidates(&mut self, now: Time) {
        let open = |past: &&mut Session| past.remote.is_some() && !past.retired && !past.remote_complete;
        let past = self.replaced.as_deref_mut().or(self.previous.as_deref_mut()).filter(open);
        match past {
            Some(past) if self.session.remote.is_none() => past.remote_complete = true,
            _ => self.session.remote_complete = true,
        }
        self.advance(now);
    }

    /// Starts a new ICE session with new credentials (RFC 8445 §9); data stays on the old path until the new one
    /// is there. Call [`Agent::gather`] next, and give the other side the new credentials and candidates.
    pub fn restart(&mut self, now: Time) {
        let fresh = Credentials::generate(&mut self.rng);
        self.restart_with(now, fresh);
    }

    /// As [`Agent::restart`], with credentials that were drawn before. In JSEP an offer carries the new credentials,
    /// but restarts nothing until it is applied, which may never happen.
    pub fn restart_with(&mut self, now: Time, local: Credentials) {
        if self.state == State::Closed {
            return;
        }
        let mut old = self.begin(local);
        old.pause();
        // There is a reason for it: perhaps a NAT has forgotten us.
        self.relays.make_sure(now, |_| true);
        if old.carrier(self.config.lite).is_some() || self.previous.is_none() {
            self.previous = Some(Box::new(old));
            self.replaced = None;
        } else {
            self.replaced = Some(Box::new(old));
        }
        let keep =
            self.previous.as_ref().and_then(|past| past.carrier(self.config.lite)).map(|pair| pair.route);
        self.gate.retain(|route| Some(*route) == keep);
        self.advance(now);
    }

    /// Replaces the session, and returns the one before.
    fn begin(&mut self, local: Credentials) -> Session {
        self.generation += 1;
        self.told = None;
        self.puncher.restart();
        self.timers.stop(AgentTimer::Free);
        let mut session = Session::new(&self.config, &mut self.rng);
        session.local_key = stun::Key::short_term(&local.pwd);
        session.local = local;
        std::mem::replace(&mut self.session, session)
    }

    /// Takes the last [`Agent::restart`] back, if the other side has not joined it (a rollback in JSEP).
    pub fn undo_restart(&mut self, now: Time) {
        if self.session.remote.is_some() {
            return;
        }
        let undone = self.replaced.take();
        if let Some(previous) = undone.or_else(|| self.previous.take_if(|previous| !previous.retired)) {
            self.generation += 1;
            self.told = previous.selected;
            self.locals.set_ufrag(&previous.local.ufrag);
            self.session = *previous;
            let ours = |candidate: &mut Candidate| {
                let ufrag = candidate.ufrag.as_ref();
                ufrag.is_some_and(|ufrag| self.session.is_remote_ufrag(ufrag))
            };
            let ours: Vec<Candidate> = self.future.extract_if(.., ours).collect();
            ours.into_iter().for_each(|candidate| self.take_candidate(now, candidate));
            self.advance(now);
        }
    }

    /// Ends everything: allocations are given back, sockets closed.
    pub fn close(&mut self, now: Time) {
        if self.state == State::Closed {
            return;
        }
        self.relays.close(now, |_| true);
        self.gatherer.stop();
        self.session.finish(crate::session::End::Exhausted);
        self.previous = None;
        self.gate.retain(|_| false);
        self.carrier = None;
        self.timers.clear();
        self.closing = true;
        self.state = State::Closed;
        self.events.push_back(Event::StateChanged(State::Closed));
    }

    /// Our candidates, as they are told to the other side.
    pub fn local_candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.locals.signalled().map(|candidate| &candidate.public)
    }

    /// The candidate that works for a peer without ICE most likely: what stands in `c=` and `m=`. `None` while
    /// there is none whose address may be told.
    pub fn default_candidate(&self) -> Option<&Candidate> {
        self.locals.default_candidate()
    }

    /// Where the agent stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// How far gathering is.
    pub fn gathering_state(&self) -> GatheringState {
        self.gatherer.state
    }

    /// The path of application bytes: the selected pair, before there is one the best valid one.
    pub fn selected(&self) -> Option<SelectedPair> {
        let lite = self.config.lite;
        let session = [Some(&self.session), self.previous.as_deref()]
            .into_iter()
            .flatten()
            .find(|session| session.carrier(lite).is_some())?;
        Some(session.describe(session.carrier(lite)?, &self.locals))
    }

    /// The present path, if packets on it surely pass through no TURN server, on either side. Where the other side is heard from an
    /// address of which it has not told, that may be one, as long as it has not told all.
    pub fn direct_path(&self) -> Option<Path> {
        let Route::Direct(path) = self.carrier? else { return None };
        let pair = self.selected()?;
        let unknown = pair.remote.kind == crate::CandidateKind::Prflx && !self.session.remote_complete;
        (!pair.is_relayed() && !unknown).then_some(path)
    }

    /// What was done so far and what came of it.
    pub fn report(&self) -> Report {
        Report {
            state: self.state,
            gathering: self.gatherer.state,
            controlling: self.role.controlling,
            has_remote_credentials: self.session.remote.is_some(),
            remote_candidates_complete: self.session.remote_complete,
            local: self.local_candidates().cloned().collect(),
            remote: self.session.remotes.report(),
            servers: self.gatherer.report(&self.relays, hides_addresses(&self.config)),
            pairs: self.session.report(&self.locals),
            padded: self.session.padded(),
            punched: self.punched(),
            drops: self.drops,
        }
    }

    /// Sends a check on the present path that is padded to `size` bytes of UDP payload: do packets of that size arrive
    /// there? For when a handshake gets stuck on a path that carries ordinary checks. What came of it stands in
    /// [`Report::padded`]. Peers ignore the padding, which is an attribute that nobody has to understand.
    pub fn check_size(&mut self, now: Time, size: usize) {
        if self.state != State::Closed {
            let (mut ctx, session, _) = self.context(now);
            session.check_size(&mut ctx, size);
        }
    }

    /// The most application bytes that one packet surely carries on the present path.
    pub fn max_payload(&self) -> usize {
        let (v6, overhead) = match self.carrier {
            Some(Route::Direct(path)) => (path.remote.is_ipv6(), 0),
            Some(Route::Relayed { relay, peer }) => {
                let server_v6 = self.relays.get(relay).is_some_and(|relay| relay.spec.address.is_ipv6());
                (server_v6, self.relays.overhead(relay, peer).next_multiple_of(4))
            }
            // Nothing is known: what fits everywhere.
            None => (true, 48),
        };
        self.config.mtu.saturating_sub(if v6 { UDP6_HEADERS } else { UDP4_HEADERS }).saturating_sub(overhead)
    }

    /// Tells that application bytes were written to [`Agent::lane`]: if nothing comes back, the path is checked and
    /// soon found dead, long before consent expires. Cheap; to be called once for many packets.
    pub fn data_sent(&mut self, now: Time) {
        let unanswered = self.config.timings.unanswered;
        let past = self.previous.as_mut().filter(|past| past.watched.is_some());
        match self.session.watched {
            Some(_) => self.session.data_sent(now, unanswered),
            None => past.into_iter().for_each(|past| past.data_sent(now, unanswered)),
        }
    }

    /// Tells that application bytes were delivered: the other side is there.
    pub fn data_received(&mut self) {
        self.session.data_received();
        if let Some(past) = &mut self.previous {
            past.data_received();
        }
    }

    /// Where application bytes leave; `None` while there is no path.
    pub fn lane<'a>(&'a mut self, out: &'a mut dyn Outbox) -> Option<Lane<'a>> {
        Some(Lane(match self.carrier? {
            Route::Direct(path) => Way::Direct { path, out },
            Route::Relayed { relay, peer } => Way::Relayed(self.relays.lane(relay, peer, out)?),
        }))
    }

    /// RFC 8445 §14.2: "Both agents MUST use the higher value of the proposed values."
    fn pace(&self) -> Duration {
        self.pacing().max(self.remote_ta.unwrap_or(DEFAULT_TA))
    }

    /// The sessions, and what they need.
    fn context(&mut self, now: Time) -> (Context<'_>, &mut Session, &mut Option<Box<Session>>) {
        let ta = self.pace();
        let context = Context {
            now,
            config: &self.config,
            rng: &mut self.rng,
            role: &mut self.role,
            locals: &mut self.locals,
            relays: &mut self.relays,
            gate: &mut self.gate,
            events: &mut self.events,
            drops: &mut self.drops,
            ta,
            gathered: self.gatherer.state == GatheringState::Complete,
            punching: self.puncher.until(),
            parcels: &mut self.parcels,
        };
        (context, &mut self.session, &mut self.previous)
    }

    /// The gatherer, and what it needs.
    fn supplies(&mut self, now: Time) -> (Supplies<'_>, &mut Gatherer) {
        let supplies = Supplies {
            now,
            config: &self.config,
            rng: &mut self.rng,
            locals: &mut self.locals,
            relays: &mut self.relays,
            events: &mut self.events,
            ufrag: &self.session.local.ufrag,
            carrier: self.carrier.and_then(|route| route.relay()),
        };
        (supplies, &mut self.gatherer)
    }
}

impl Machine for Agent {
    type Addr = Path;
    type Event = Event;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.open(now, datagram, out, &mut |_| {});
    }

    fn handle_timeout(&mut self, now: Time) {
        self.expire(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.next_deadline()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.gatherer.ops.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.socket_reply(now, &reply);
    }
}
