mod complete;
mod publish;
mod punch;
mod relocate;
mod server;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Path, Rng, SocketOp, SocketReply, Ticket, Time, Timers};
use stun::Message;

use crate::foundation::Foundations;
use crate::local::{BaseId, Locals};
use crate::probe::{ProbeAnswer, Probes};
use crate::punch::battery::Battery;
use crate::punch::scouts::Scouts;
use crate::relay::{RelayId, RelayNews, Relays};
use crate::report::{ServerOutcome, ServerReport, ServerRequest};
use crate::{Config, Event, GatheringState, Interface, Timings, TransportPolicy};

use server::{Found, Resolution, ServerState};
use socket::Socket;

/// The least time between two new questions to servers (RFC 8445 §14.2: "MUST NOT be sent more often than once
/// every 5 ms").
const PACE: Duration = Duration::from_millis(5);

/// Collects our candidates (RFC 8445 §5.1.1): binds sockets, asks STUN servers how they see them, and TURN
/// servers to relay.
pub(crate) struct Gatherer {
    pub(crate) state: GatheringState,
    sockets: Vec<Socket>,
    servers: Vec<ServerState>,
    pub(crate) probes: Probes,
    tickets: BTreeMap<Ticket, Purpose>,
    next_ticket: u64,
    pub(crate) ops: VecDeque<SocketOp>,
    foundations: Foundations,
    /// Questions whose turn has not come.
    queue: VecDeque<Question>,
    next_start: Time,
    timers: Timers<GatherTimer>,
    started: Time,
    /// Since when the servers that have answered would do.
    satisfied: Option<Time>,
    /// The session for which candidates were last told.
    told: String,
    /// Bases that can be paired now.
    pub(crate) fresh: Vec<BaseId>,
    /// Bases that are gone.
    pub(crate) lost: Vec<BaseId>,
    /// New sockets are there, or will be, and whether the router maps them is not known yet.
    pub(crate) expecting: bool,
    /// Who find out how our NAT gives ports, if that is wanted.
    pub(crate) scouts: Scouts,
    /// The sockets for punching.
    pub(crate) battery: Battery,
}

/// What a ticket was for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A socket on this address.
    Bind(IpAddr),
    /// A stream for this allocation.
    Connect(RelayId),
    /// The address of servers with this host name.
    Resolve(String),
    /// The servers of this service in this domain.
    Locate(&'static str, String),
    /// A stream that is not wanted any more.
    Nothing,
    /// A socket for a scout.
    Scout,
    /// A socket of the battery.
    Barrel,
}

/// A question to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Probe(usize),
    Relay(RelayId),
    Scout(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GatherTimer {
    /// The next question may go.
    Pace,
    /// Gathering ends without those that have not answered.
    Complete,
}

/// What gathering needs of the agent.
pub(crate) struct Supplies<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut Rng,
    pub(crate) locals: &'a mut Locals,
    pub(crate) relays: &'a mut Relays,
    pub(crate) events: &'a mut VecDeque<Event>,
    /// The username fragment that our candidates carry.
    pub(crate) ufrag: &'a str,
    /// The allocation that carries data, if one does.
    pub(crate) carrier: Option<RelayId>,
}

impl Gatherer {
    /// Nothing is gathered yet.
    pub(crate) fn new() -> Self {
        Self {
            state: GatheringState::New,
            sockets: Vec::new(),
            servers: Vec::new(),
            probes: Probes::default(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            ops: VecDeque::new(),
            foundations: Foundations::default(),
            queue: VecDeque::new(),
            next_start: Time::ZERO,
            timers: Timers::default(),
            started: Time::ZERO,
            satisfied: None,
            told: String::new(),
            fresh: Vec::new(),
            lost: Vec::new(),
            expecting: false,
            scouts: Scouts::default(),
            battery: Battery::default(),
        }
    }

    /// Gives back what was kept for more.
    pub(crate) fn shrink(&mut self) {
        self.sockets.shrink_to_fit();
        self.ops.shrink_to_fit();
        self.queue.shrink_to_fit();
        self.fresh.shrink_to_fit();
        if self.tickets.is_empty() {
            self.tickets = BTreeMap::new();
        }
    }

    /// Starts, or starts over: what is still good is kept, and told again in a new ICE session.
    pub(crate) fn gather(&mut self, s: &mut Supplies<'_>, interfaces: &[Interface]) {
        self.started = s.now;
        self.satisfied = None;
        self.set_state(s, GatheringState::Gathering);
        self.probes.clear();
        s.relays.forget_idle();
        self.queue.clear();
        self.match_interfaces(s, interfaces);
        self.recall_scouts(s, interfaces);
        self.tell_again(s);
        self.find_servers(s);
        self.ask_servers(s);
        let timings = &s.config.timings;
        let patience = if s.config.trickle { timings.gathering } else { timings.gathering_at_once };
        self.timers.set(GatherTimer::Complete, s.now + patience);
        self.advance(s);
    }

    /// Does what can be done now: after anything has happened.
    pub(crate) fn advance(&mut self, s: &mut Supplies<'_>) {
        self.consider_scouts(s);
        self.relocate(s);
        self.start_questions(s);
        self.consider_completion(s);
        for path in s.relays.take_disused() {
            self.ops.push_back(SocketOp::Disconnect { path });
        }
    }

    /// Takes the answer to a [`SocketOp`] of this gatherer; false if it was not.
    pub(crate) fn handle_socket(&mut self, s: &mut Supplies<'_>, reply: &SocketReply) -> bool {
        let ticket = match reply {
            SocketReply::Bound { ticket, .. }
            | SocketReply::Connected { ticket, .. }
            | SocketReply::Resolved { ticket, .. }
            | SocketReply::Located { ticket, .. }
            | SocketReply::Failed { ticket, .. } => *ticket,
            SocketReply::Disconnected { path, error } => {
                s.relays.path_lost(s.now, path, &error.to_string());
                return true;
            }
        };
        let Some(purpose) = self.tickets.remove(&ticket) else { return false };
        match (purpose, reply) {
            (Purpose::Scout, reply) => self.scout_bound(s, ticket, bound(reply)),
            (Purpose::Barrel, reply) => self.barrel_bound(s, ticket, bound(reply)),
            (Purpose::Bind(ip), SocketReply::Bound { local, .. }) => self.bound(s, ip, *local),
            (Purpose::Bind(ip), SocketReply::Failed { error, .. }) => self.not_bound(ip, error),
            (Purpose::Nothing, SocketReply::Connected { path, .. }) => {
                self.ops.push_back(SocketOp::Disconnect { path: *path });
            }
            (Purpose::Connect(relay), SocketReply::Connected { path, .. }) => {
                let seed = s.rng.fork();
                s.relays.connected(s.now, relay, *path, seed);
            }
            (Purpose::Connect(relay), SocketReply::Failed { error, .. }) if s.relays.is_adrift(relay) => {
                s.relays.wreck(s.now, relay, &error.to_string());
            }
            (Purpose::Connect(relay), SocketReply::Failed { error, .. }) => {
                self.relay_failed(s, relay, ServerOutcome::NotConnected(error.to_string()));
            }
            (Purpose::Resolve(name), SocketReply::Resolved { addresses, .. }) => {
                self.resolved(s, None, &name, Found::Hosts(addresses));
            }
            (Purpose::Locate(service, name), SocketReply::Located { addresses, .. }) => {
                self.resolved(s, Some(service), &name, Found::Servers(addresses));
            }
            (Purpose::Resolve(name), SocketReply::Failed { error, .. }) => {
                self.resolved(s, None, &name, Found::Nothing(error));
            }
            (Purpose::Locate(service, name), SocketReply::Failed { error, .. }) => {
                self.resolved(s, Some(service), &name, Found::Nothing(error));
            }
            (purpose, reply) => tracing::debug!(?purpose, ?reply, "an answer to another question"),
        }
        true
    }

    /// Takes an answer of a STUN server; false if it is to none of our questions.
    pub(crate) fn handle_response(
        &mut self,
        s: &mut Supplies<'_>,
        path: Path,
        message: &Message<'_>,
    ) -> bool {
        match self.probes.handle(s.now, path, message, s.config.timings.keepalive) {
            Some(ProbeAnswer::Mapped { at, mapped }) => self.publish_srflx(s, at, mapped),
            Some(ProbeAnswer::Refused { at }) => self.probe_failed(s, at),
            None => return self.scout_answered(s, path, message),
        }
        true
    }

    /// Something happened to an allocation, as far as candidates are concerned.
    pub(crate) fn handle_news(&mut self, s: &mut Supplies<'_>, id: RelayId, news: &RelayNews) {
        match news {
            RelayNews::Allocated { relayed, additional, mapped } => {
                self.publish_relay(s, id, *relayed, *mapped);
                additional.iter().for_each(|relayed| self.publish_relay(s, id, *relayed, *mapped));
            }
            RelayNews::Reconnect { server_name } => self.ask_relay(s, id, server_name.clone()),
            RelayNews::Permitted { .. } | RelayNews::Refused { .. } | RelayNews::Moved => {}
            RelayNews::Over => {
                let before = self.lost.len();
                self.lost.extend(s.locals.bases_on(id));
                let given_back = s.relays.get(id).is_some_and(|relay| relay.closing);
                if self.lost.len() == before && !given_back {
                    self.tell_relay_failure(s, id);
                }
                if self.state == GatheringState::Gathering {
                    // What was given back just before a restart is wanted again.
                    s.relays.forget_given_back();
                    // And where one interface did not get an allocation another may.
                    self.ask_servers(s);
                }
            }
        }
    }

    /// Does what is due; `alive` tells whether reflexive candidates are still to be kept alive.
    pub(crate) fn handle_timeout(&mut self, s: &mut Supplies<'_>, alive: bool) {
        for at in self.probes.handle_timeout(s.now, s.rng, &s.config.timings, alive) {
            self.probe_failed(s, at);
        }
        while let Some(timer) = self.timers.expired(s.now) {
            match timer {
                // A reason to look again, which `advance` does.
                GatherTimer::Pace => {}
                GatherTimer::Complete => self.complete(s),
            }
        }
    }

    /// When [`Gatherer::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        [self.timers.next(), self.probes.poll_timeout()].into_iter().flatten().min()
    }

    /// Writes questions to servers.
    pub(crate) fn poll_transmit(&mut self, now: Time, timings: &Timings, out: &mut dyn Outbox) {
        self.probes.poll_transmit(now, out, timings);
        self.scouts.poll_transmit(out);
    }

    /// A ticket that is not in use.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Closes all sockets and stops asking.
    pub(crate) fn close(&mut self) {
        for socket in std::mem::take(&mut self.sockets) {
            if let Some(local) = socket.local() {
                self.ops.push_back(SocketOp::Unbind { local });
            }
        }
        self.close_punching();
        self.stop();
    }

    /// Stops asking.
    pub(crate) fn stop(&mut self) {
        self.probes.stop();
        self.queue.clear();
        self.timers.clear();
    }

    /// Every question to a server, for people.
    pub(crate) fn report(&self, relays: &Relays, hide: bool) -> Vec<ServerReport> {
        let unasked = self.servers.iter().filter_map(|server| {
            let outcome = match &server.resolution {
                Resolution::Failed(why) => ServerOutcome::NotResolved(why.clone()),
                Resolution::Pending => ServerOutcome::Pending,
                Resolution::NotAsked(why) => ServerOutcome::NotAsked((*why).to_owned()),
                Resolution::Known(_) => return None,
            };
            let turn = server.config.url.is_turn();
            Some(ServerReport {
                url: server.config.url.to_string(),
                request: if turn { ServerRequest::Allocate } else { ServerRequest::Binding },
                transport: server.config.url.transport,
                local: None,
                address: None,
                outcome,
                sent: 0,
                took: None,
                earlier: None,
                realm: None,
                expires: None,
            })
        });
        unasked
            .chain(self.probes.iter().map(|probe| probe.report(hide)))
            .chain(relays.iter().map(|relay| relay.report(hide)))
            .collect()
    }

    fn set_state(&mut self, s: &mut Supplies<'_>, state: GatheringState) {
        if self.state != state {
            self.state = state;
            s.events.push_back(Event::GatheringStateChanged(state));
        }
    }

    /// Asks the next question, if it is time.
    fn start_questions(&mut self, s: &mut Supplies<'_>) {
        while s.now >= self.next_start
            && let Some(question) = self.next_question()
        {
            self.next_start = s.now + PACE;
            match question {
                Question::Probe(at) => self.probes.start(s.rng, at),
                Question::Scout(at) => self.scouts.start(at),
                Question::Relay(id) => {
                    let Some(relay) = s.relays.get(id) else { continue };
                    let Some(local) = relay.spec.local else { continue };
                    let path = Path::udp(local, relay.spec.address);
                    let seed = s.rng.fork();
                    s.relays.start(s.now, id, path, seed);
                }
            }
        }
        match self.queue.is_empty() {
            true => self.timers.stop(GatherTimer::Pace),
            false => self.timers.set(GatherTimer::Pace, self.next_start),
        }
    }

    /// The oldest question; those of scouts wait for all others.
    fn next_question(&mut self) -> Option<Question> {
        let urgent = self.queue.iter().position(|question| !matches!(question, Question::Scout(_)));
        self.queue.remove(urgent.unwrap_or(0))
    }
}

/// The address of the socket, if there is one.
fn bound(reply: &SocketReply) -> Option<SocketAddr> {
    match reply {
        SocketReply::Bound { local, .. } => Some(sansio::unmapped(*local)),
        _ => None,
    }
}

/// Whether our own addresses are nobody's business.
pub(crate) fn hides_addresses(config: &Config) -> bool {
    use crate::AddressPolicy::{All, DefaultRoute};
    config.mdns
        || config.policy == TransportPolicy::Relay
        || !matches!(config.address_policy, All | DefaultRoute)
}
