use std::net::{IpAddr, SocketAddr};

use sansio::{Path, SocketOp, Ticket, Transport};
use stun::Message;

use super::socket::SocketState;
use super::{Gatherer, Purpose, Question, Supplies, hides_addresses};
use crate::foundation::Origin;
use crate::local::LocalCandidate;
use crate::priority::{MAX_RANKS, candidate_priority, local_preference};
use crate::punch::battery::Barrel;
use crate::punch::{AIM, Allocation, Mapping};
use crate::report::ServerOutcome;
use crate::{Candidate, CandidateKind, GatheringState, Interface, TransportPolicy, hidden_address};

/// As many sockets are enough where the NAT keeps their ports.
const FORESEEN: usize = 8;

/// Sockets for punching: scouts while we gather, the battery when it begins.
impl Gatherer {
    /// Sends scouts out once a server has shown that there is a NAT in front of us.
    pub(super) fn consider_scouts(&mut self, s: &mut Supplies<'_>) {
        let wanted = s.config.punch.is_some() && s.config.policy == TransportPolicy::All && !s.config.lite;
        if !wanted || self.scouts.are_out() || self.state != GatheringState::Gathering {
            return;
        }
        let translated = self.probes.iter().find(|probe| match probe.outcome {
            ServerOutcome::Succeeded(mapped) => mapped.is_ipv4() && mapped.ip() != probe.path.local.ip(),
            _ => false,
        });
        let Some(path) = translated.map(|probe| probe.path) else { return };
        for _ in 0..self.scouts.send_out(path.remote) {
            let ticket = self.ask_for_socket(SocketAddr::new(path.local.ip(), 0), Purpose::Scout);
            self.scouts.asked(ticket);
        }
    }

    /// Whether gathering goes on for the scouts: not if the other side waits for all candidates at once, and needs none
    /// of theirs.
    pub(super) fn awaits_scouts(&self, s: &Supplies<'_>) -> bool {
        let relayed = s.relays.iter().next().is_some();
        self.scouts.are_pending() && (s.config.trickle || !relayed)
    }

    pub(super) fn scout_bound(&mut self, s: &mut Supplies<'_>, ticket: Ticket, local: Option<SocketAddr>) {
        if !self.scouts.awaits(ticket) {
            return self.unbind(local);
        }
        let ready = self.scouts.answered(s.rng, ticket, local);
        self.queue.extend((0..ready).map(Question::Scout));
    }

    /// Takes an answer to a scout; false if it is none.
    pub(super) fn scout_answered(&mut self, s: &mut Supplies<'_>, path: Path, message: &Message<'_>) -> bool {
        // As far ahead as others may have come by the time that the battery fires, and well within its range.
        let reach = s.config.punch.map_or(0, |punch| punch.sockets / 4);
        if !self.scouts.handle(path, message, reach) {
            return false;
        }
        if let Some(forecast) = self.scouts.forecast {
            if let Some(aim) = forecast.aim {
                self.publish_aim(s, aim);
            }
            self.end_scouting();
        }
        true
    }

    /// As what servers have seen a socket: who, and as what.
    pub(crate) fn seen_by_servers(&self, local: SocketAddr) -> Vec<(SocketAddr, SocketAddr)> {
        let probes = self.probes.iter().filter(|probe| probe.path.local == local);
        let told = probes.filter_map(|probe| match probe.outcome {
            ServerOutcome::Succeeded(mapped) => Some((probe.path.remote, mapped)),
            _ => None,
        });
        told.collect()
    }

    /// Tells the other side where a hole is going to be.
    fn publish_aim(&mut self, s: &mut Supplies<'_>, aim: SocketAddr) {
        let socket = self.sockets.iter().find(|socket| Some(socket.interface.address) == self.scouts.ip());
        let Some((rank, SocketState::Bound { local, base })) = socket.map(|it| (it.rank, it.state)) else {
            return;
        };
        // Who is seen alike by two servers needs no such thing.
        let alike = Mapping::of(&self.seen_by_servers(local)) == Mapping::Same;
        if self.state != GatheringState::Gathering || alike {
            return;
        }
        let origin = Origin {
            kind: CandidateKind::Srflx,
            base: local.ip(),
            // No server has told it: it fails and works by itself.
            server: None,
            seen: Some(aim.ip()),
            transport: Transport::Udp,
        };
        let priority = candidate_priority(CandidateKind::Srflx, local_preference(0, rank, MAX_RANKS - 2));
        let mut public = Candidate::new(CandidateKind::Srflx, aim, priority, &self.foundations.of(origin));
        let hide = hides_addresses(s.config);
        public.related = Some(if hide { hidden_address(aim.ip()) } else { local });
        public.base = Some(local).filter(|_| !hide);
        public.extensions.push((AIM.to_owned(), "1".to_owned()));
        self.publish(s, LocalCandidate { base, address: aim, public });
    }

    /// What the scouts have not found out by now stays unknown.
    pub(super) fn end_scouting(&mut self) {
        for local in self.scouts.dismiss() {
            self.unbind(Some(local));
        }
    }

    /// What scouts have found is for one ICE session, and for one address.
    pub(super) fn recall_scouts(&mut self, s: &mut Supplies<'_>, interfaces: &[Interface]) {
        let here = self.scouts.ip().is_none_or(|ip| interfaces.iter().any(|it| it.address == ip));
        if self.told == s.ufrag && here {
            return;
        }
        s.locals.forget_aims();
        for local in self.scouts.forget() {
            self.unbind(Some(local));
        }
    }

    /// Opens up to `count` sockets on an address; fewer where the NAT keeps their ports, if it is `clear` where to send to.
    pub(crate) fn open_battery(&mut self, s: &mut Supplies<'_>, ip: IpAddr, count: usize, clear: bool) {
        let foreseen = self.scouts.forecast.is_some_and(|it| it.allocation == Allocation::Preserving);
        let count = if foreseen && clear { count.min(FORESEEN) } else { count };
        if let Some(wish) = self.battery.open(ip, count) {
            let ticket = self.ask_for_socket(wish, Purpose::Barrel);
            self.battery.asked(ticket);
        }
        if let Some(herald) = self.scouts.take_herald() {
            let barrel = self.barrel(s, herald);
            self.battery.add_herald(barrel);
        }
    }

    pub(super) fn barrel_bound(&mut self, s: &mut Supplies<'_>, ticket: Ticket, local: Option<SocketAddr>) {
        if !self.battery.awaits(ticket) {
            return self.unbind(local);
        }
        let barrel = local.map(|local| self.barrel(s, local));
        for wish in self.battery.answered(ticket, barrel) {
            let ticket = self.ask_for_socket(wish, Purpose::Barrel);
            self.battery.asked(ticket);
        }
    }

    /// Closes the sockets of the battery that are not to be kept. Returns whether there were any.
    pub(crate) fn close_barrels(&mut self, keep: impl Fn(SocketAddr) -> bool) -> bool {
        let closed = self.battery.drain(|barrel| keep(barrel.local));
        for barrel in &closed {
            self.lost.push(barrel.base);
            self.unbind(Some(barrel.local));
        }
        !closed.is_empty()
    }

    /// The herald is not needed any more.
    pub(crate) fn dismiss_herald(&mut self) {
        let herald = self.scouts.take_herald();
        self.unbind(herald);
    }

    /// Closes all of it.
    pub(super) fn close_punching(&mut self) {
        self.close_barrels(|_| false);
        for local in self.scouts.forget() {
            self.unbind(Some(local));
        }
    }

    fn barrel(&self, s: &mut Supplies<'_>, local: SocketAddr) -> Barrel {
        let socket = self.sockets.iter().find(|socket| socket.interface.address == local.ip());
        let preference = local_preference(0, socket.map_or(MAX_RANKS - 1, |socket| socket.rank), 0);
        Barrel { local, base: s.locals.add_hidden_base(local, preference) }
    }

    fn ask_for_socket(&mut self, local: SocketAddr, purpose: Purpose) -> Ticket {
        let ticket = self.ticket();
        self.tickets.insert(ticket, purpose);
        self.ops.push_back(SocketOp::Bind { ticket, local });
        ticket
    }

    fn unbind(&mut self, local: Option<SocketAddr>) {
        self.ops.extend(local.map(|local| SocketOp::Unbind { local }));
    }
}
