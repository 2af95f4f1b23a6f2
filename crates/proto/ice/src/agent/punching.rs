use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Time};
use stun::TransactionId;

use super::Agent;
use crate::check::{Check, CheckId, Purpose};
use crate::pair::{Pair, PairId};
use crate::parcels::Load;
use crate::punch::ports::Ports;
use crate::punch::{Mapping, Phase, Role};
use crate::report::Punched;
use crate::route::{Route, may_be_peer};
use crate::session::Session;
use crate::{CandidateKind, Punch, TransportPolicy};

/// Punching: when it begins and ends, and who does what.
impl Agent {
    /// Tells whether the other side agrees to punching: to be asked for a path by many packets. Without it, and without
    /// [`Config::punch`](crate::Config::punch), there is none. How both learn of it is signalling's business; in SDP we use
    /// the tag `sterna+punch` in `a=ice-options`.
    pub fn set_remote_punching(&mut self, now: Time, agreed: bool) {
        self.puncher.agreed = agreed;
        self.advance(now);
    }

    /// Whether this side punches, if the other agrees.
    pub fn is_punching_wanted(&self) -> bool {
        self.config.punch.is_some() && !self.config.lite && self.config.policy == TransportPolicy::All
    }

    /// Begins, ends and cleans up. Returns whether anything follows from that.
    pub(super) fn consider_punching(&mut self, now: Time) -> bool {
        let Some(limits) = self.config.punch else { return false };
        let able = self.is_punching_wanted() && self.puncher.agreed && !self.remote_lite;
        let Session { remote, selected, end, .. } = &self.session;
        let idle = selected.is_some() || end.is_some() || self.has_direct();
        let idle = idle || self.puncher.sent >= limits.packets && self.puncher.until().is_none();
        let before = std::mem::discriminant(&self.puncher.phase);
        match &self.puncher.phase {
            Phase::Over => {}
            Phase::Punching { .. } if !able => self.puncher.end(),
            _ if !able || remote.is_none() => {}
            _ if idle => self.puncher.end(),
            Phase::Waiting => {
                let relayed = self.session.first_valid();
                if self.puncher.may_begin(now, relayed) {
                    self.begin_punching(now, limits);
                }
            }
            Phase::Punching { until, .. } if now >= *until => self.puncher.end(),
            Phase::Punching { .. } if self.gatherer.battery.is_ready() => self.puncher.fire(),
            Phase::Punching { .. } => {}
        }
        if idle || matches!(self.puncher.phase, Phase::Over) {
            self.gatherer.dismiss_herald();
        }
        let closed = self.puncher.until().is_none() && self.close_idle_barrels();
        closed || std::mem::discriminant(&self.puncher.phase) != before
    }

    fn has_direct(&self) -> bool {
        self.session.list.iter().any(|pair| pair.valid.is_some() && !pair.relayed)
    }

    /// Closes the sockets of the battery through which nothing came.
    fn close_idle_barrels(&mut self) -> bool {
        if self.gatherer.battery.barrels().is_empty() && self.gatherer.battery.is_ready() {
            return false;
        }
        let Self { gatherer, session, previous, .. } = self;
        let sessions = || std::iter::once(&*session).chain(previous.as_deref());
        let lives = |pair: &Pair| pair.valid.is_some() || pair.is_open();
        gatherer.close_barrels(|local| {
            let mut pairs = sessions().flat_map(|session| session.list.iter());
            pairs.any(|pair| pair.route.leaves_from(local) && lives(pair))
        })
    }

    /// Begins, if what is known of both NATs gives punching a sense.
    fn begin_punching(&mut self, now: Time, limits: Punch) {
        let foreseen = self.gatherer.scouts.forecast.is_some_and(|forecast| forecast.aim.is_some());
        // A hole is where the other side is, and nowhere else.
        let main = self.session.main_address();
        let is_theirs =
            |aim: &SocketAddr| may_be_peer(*aim) && main.is_some_and(|main| main.ip() == aim.ip());
        self.session.aims.retain(|candidate| candidate.address.ip().as_ref().is_some_and(is_theirs));
        let aims: Vec<SocketAddr> =
            self.session.aims.iter().filter_map(|candidate| candidate.address.ip()).collect();
        let (ours, theirs) = (self.own_mapping(), self.session.their_mapping());
        let role = match (ours, theirs) {
            // Both ports of a path have to be known before.
            (Mapping::Dependent(_), Mapping::Dependent(_)) if !foreseen || aims.is_empty() => {
                tracing::debug!(
                    "both NATs map anew for each destination, and their ports cannot be foreseen"
                );
                return self.puncher.end();
            }
            (Mapping::Dependent(ip), theirs) => {
                let told = main.filter(|_| !matches!(theirs, Mapping::Dependent(_)));
                let wanted = if theirs == Mapping::Same { &[] } else { aims.as_slice() };
                let targets: Vec<SocketAddr> = wanted.iter().copied().chain(told).collect();
                if targets.is_empty() {
                    return;
                }
                let (mut supplies, gatherer) = self.supplies(now);
                gatherer.open_battery(&mut supplies, ip, limits.sockets, theirs != Mapping::Unknown);
                Role::Fire { targets, next: 0, round: None }
            }
            (_, Mapping::Dependent(at)) => {
                let Some(from) = self.main_socket() else { return };
                Role::Spray { from, at, ports: Ports::new(&mut self.rng) }
            }
            _ => return,
        };
        tracing::debug!(?role, ?aims, "punching");
        self.puncher.begin(now, role, limits.patience, !aims.is_empty());
        for aim in std::mem::take(&mut self.session.aims) {
            let (mut ctx, session, _) = self.context(now);
            session.take_remote(&mut ctx, aim);
        }
    }

    /// How our NAT maps, by what servers and the other side have seen of one socket.
    fn own_mapping(&self) -> Mapping {
        let mut mapping = Mapping::Unknown;
        for base in self.locals.bases().filter(|base| base.relay.is_none() && base.address.is_ipv4()) {
            let mut all = self.gatherer.seen_by_servers(base.address);
            let pairs = self.session.list.iter().filter(|pair| pair.route.leaves_from(base.address));
            all.extend(pairs.filter_map(|pair| Some((pair.route.remote(), pair.evidence.seen_as?))));
            match Mapping::of(&all) {
                Mapping::Unknown => {}
                Mapping::Same => mapping = Mapping::Same,
                Mapping::Dependent(_) => return Mapping::Dependent(base.address.ip()),
            }
        }
        mapping
    }

    /// The socket whose reflexive address the other side aims at.
    fn main_socket(&self) -> Option<SocketAddr> {
        let direct = |candidate: &&crate::local::LocalCandidate| {
            candidate.address.is_ipv4()
                && candidate.public.kind != CandidateKind::Relay
                && !candidate.public.is_aim()
        };
        let worth = |candidate: &&crate::local::LocalCandidate| {
            (candidate.public.kind == CandidateKind::Srflx, candidate.public.priority)
        };
        let main = self.locals.signalled().filter(direct).max_by_key(worth)?;
        self.locals.base(main.base).map(|base| base.address)
    }

    /// Sends the packet that may go now.
    pub(super) fn shoot(&mut self, now: Time, out: &mut dyn Outbox) {
        let (Some(limits), Some(remote)) = (self.config.punch, &self.session.remote) else { return };
        let Some(path) = self.puncher.aim(&self.gatherer.battery) else { return };
        let Some(base) = self.locals.base_of(&Route::Direct(path)) else { return };
        let check = Check {
            // It has none, until something comes of it.
            pair: PairId(u32::MAX),
            purpose: Purpose::Connectivity,
            controlling: self.role.controlling,
            tiebreaker: self.role.tiebreaker,
            priority: base.prflx_priority(),
            rto: Duration::ZERO,
            attempts: 0,
            last_sent: now,
            cancelled: false,
        };
        let id = CheckId(TransactionId::random(&mut self.rng).0);
        let mut fill =
            |buffer: &mut [u8]| check.write(buffer, id, &remote.username, &Load::default(), &remote.key);
        if out.send(path, check.length(remote.username.len()), &mut fill) {
            let ta = self.pace();
            self.puncher.shot(now, &self.gatherer.battery, ta, limits.packets);
        }
    }

    /// For people.
    pub(super) fn punched(&self) -> Option<Punched> {
        let under_way = self.puncher.until().is_some();
        let punched =
            Punched { packets: self.puncher.sent, sockets: self.gatherer.battery.barrels().len(), under_way };
        (under_way || punched.packets > 0).then_some(punched)
    }
}

impl Session {
    /// How the other side's NAT maps, by what we see of it.
    fn their_mapping(&self) -> Mapping {
        let reflexive: Vec<(SocketAddr, Option<SocketAddr>)> = self
            .remotes
            .usable()
            .filter(|(remote, address)| remote.candidate.kind == CandidateKind::Srflx && address.is_ipv4())
            .map(|(remote, address)| (address, remote.candidate.related))
            .collect();
        // Two servers have seen two ports of one socket.
        for (at, (one, base)) in reflexive.iter().enumerate() {
            let twin = |(other, other_base): &&(SocketAddr, Option<SocketAddr>)| {
                other.ip() == one.ip() && other_base == base && base.is_some_and(|base| base.port() > 9)
            };
            if reflexive[at + 1..].iter().any(|other| twin(&other)) {
                return Mapping::Dependent(one.ip());
            }
        }
        let mut mapping = Mapping::Unknown;
        let came =
            |pair: &&Pair| matches!(pair.route, Route::Relayed { .. }) && pair.evidence.requests_received > 0;
        for pair in self.list.iter().filter(came) {
            let from = pair.route.remote();
            match self.remotes.of(pair.remote).candidate.kind {
                CandidateKind::Srflx => mapping = Mapping::Same,
                CandidateKind::Prflx if reflexive.iter().any(|(known, _)| known.ip() == from.ip()) => {
                    return Mapping::Dependent(from.ip());
                }
                _ => {}
            }
        }
        mapping
    }

    /// Where the other side's main socket is to be found, if its NAT maps it alike for everybody.
    fn main_address(&self) -> Option<SocketAddr> {
        let candidates = self.remotes.usable().filter(|(remote, address)| {
            address.is_ipv4()
                && match remote.candidate.kind {
                    CandidateKind::Srflx => true,
                    CandidateKind::Host => is_public(address.ip()),
                    _ => false,
                }
        });
        let worth = |(remote, _): &(&crate::remote::Remote, SocketAddr)| {
            (remote.candidate.kind == CandidateKind::Srflx, remote.candidate.priority)
        };
        candidates.max_by_key(worth).map(|(_, address)| address)
    }
}

/// Whether packets on the internet find it.
fn is_public(ip: IpAddr) -> bool {
    let IpAddr::V4(v4) = ip else { return false };
    let [first, second, ..] = v4.octets();
    let shared = first == 100 && second & 0xc0 == 64;
    !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared)
}
