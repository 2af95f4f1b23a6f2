use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Rng, Time, Timers};
use stun::{Key, TransactionId};

use crate::check::{CheckId, Checks, Purpose};
use crate::checklist::Checklist;
use crate::gate::Gate;
use crate::local::{Base, BaseId, Locals};
use crate::nominate::Insistence;
use crate::pair::{Evidence, Pair, PairId};
use crate::parcels::Parcels;
use crate::priority::pair_priority;
use crate::punch::MAX_AIMS;
use crate::relay::{RelayId, Relays};
use crate::remote::{Added, RemoteId, Remotes};
use crate::report::{Drops, PairError, PairReport, PairState};
use crate::request::Owed;
use crate::role::Role;
use crate::route::{Route, may_be_paired};
use crate::size::SizeProbe;
use crate::{Candidate, CandidateKind, Config, Credentials, Event, FailureCause, SelectedPair};

/// How many checks are remembered that come before we know who sends them (RFC 8445 §7.3).
const MAX_EARLY_CHECKS: usize = 32;

/// One ICE session: the time between two restarts, with its credentials, check list and outcome.
///
/// It is written down in pieces: checks that go out and their timing (`schedule`), what they bring back
/// (`response`), the other side's (`request`), the choice (`nominate`) and what comes after (`consent`).
pub(crate) struct Session {
    pub(crate) local: Credentials,
    pub(crate) local_key: Key,
    pub(crate) remote: Option<RemoteAgent>,
    /// RFC 8838 §14.
    pub(crate) remote_complete: bool,
    pub(crate) remotes: Remotes,
    pub(crate) mdns_lookups: usize,
    pub(crate) list: Checklist,
    pub(crate) checks: Checks,
    pub(crate) timers: Timers<SessionTimer>,
    pub(crate) next_pair: u32,
    /// When Ta lets the next ordinary check go (RFC 8445 §6.1.4.2).
    pub(crate) next_ordinary: Time,
    pub(crate) early: VecDeque<EarlyCheck>,
    /// Where the other side says that holes are going to be, until we punch.
    pub(crate) aims: Vec<Candidate>,
    /// The pair that we, controlling, have asked the other side to select.
    pub(crate) nominating: Option<PairId>,
    pub(crate) selected: Option<PairId>,
    pub(crate) insistence: Insistence,
    /// The pair that carries data now, whose consent is watched.
    pub(crate) watched: Option<PairId>,
    /// When the other side was last heard there, and whether that is too long ago.
    pub(crate) heard: Time,
    pub(crate) silent: bool,
    /// Since when data was sent and nothing came back.
    pub(crate) unanswered: Option<Time>,
    /// A STUN keep-alive is to be sent; only lite agents do (RFC 8445 §11, RFC 7675 §4).
    pub(crate) keepalive: bool,
    /// Checks as large as the largest packet, if there were any.
    pub(crate) size_probe: Option<SizeProbe>,
    /// RFC 8863: whether the PAC timer has run out.
    pub(crate) impatient: bool,
    pub(crate) end: Option<End>,
    /// Another session has taken its place: it only answers any more.
    pub(crate) retired: bool,
    /// Answers that wait for what is to ride in them.
    pub(crate) owed: Vec<Owed>,
    /// The latest checks that were answered so.
    pub(crate) paid: VecDeque<TransactionId>,
    /// The pair that a check of the other side came by last.
    pub(crate) reached: Option<PairId>,
}

/// Who the other side is.
pub(crate) struct RemoteAgent {
    pub(crate) credentials: Credentials,
    pub(crate) key: Key,
    /// The USERNAME of our checks (RFC 8445 §7.2.2).
    pub(crate) username: String,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to try.
    Exhausted,
    /// The path is gone.
    Lost(FailureCause),
}

/// The deadlines of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SessionTimer {
    /// The next ordinary check may go.
    Pace,
    /// A check is to be repeated, or has failed.
    Check(CheckId),
    /// Better pairs were waited for long enough.
    Nominate,
    /// RFC 8863.
    Patience,
    /// The next consent check.
    Consent,
    /// No consent check was answered for a while.
    Doubt,
    /// Consent is lost.
    ConsentExpiry,
    /// The other side was not heard for long.
    Liveness,
    /// Data was sent and nothing came back.
    Unanswered,
    /// Checks were sent as well, and nothing came back.
    Unheard,
    /// A lite agent's keep-alive.
    Keepalive,
}

/// An authenticated check whose sender's credentials we do not know yet.
#[derive(Clone, Debug)]
pub(crate) struct EarlyCheck {
    pub(crate) ufrag: String,
    pub(crate) route: Route,
    pub(crate) priority: u32,
    pub(crate) use_candidate: bool,
}

/// What a session needs of the agent.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) rng: &'a mut Rng,
    pub(crate) role: &'a mut Role,
    pub(crate) locals: &'a mut Locals,
    pub(crate) relays: &'a mut Relays,
    pub(crate) gate: &'a mut Gate,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) drops: &'a mut Drops,
    /// The pause between ordinary checks that both sides agree to.
    pub(crate) ta: Duration,
    /// Whether no more candidates of ours are to be expected.
    pub(crate) gathered: bool,
    /// While we punch: until when that may bring a direct path.
    pub(crate) punching: Option<Time>,
    /// What rides in checks and answers.
    pub(crate) parcels: &'a mut Parcels,
}

impl Session {
    /// A session with fresh credentials.
    pub(crate) fn new(config: &Config, rng: &mut Rng) -> Self {
        let local = Credentials::generate(rng);
        Self {
            local_key: Key::short_term(&local.pwd),
            local,
            remote: None,
            remote_complete: false,
            remotes: Remotes::new(config.max_remote_candidates),
            mdns_lookups: 0,
            list: Checklist::new(config.max_pairs),
            checks: Checks::default(),
            timers: Timers::default(),
            next_pair: 0,
            next_ordinary: Time::ZERO,
            early: VecDeque::new(),
            aims: Vec::new(),
            nominating: None,
            selected: None,
            insistence: Insistence::default(),
            watched: None,
            heard: Time::ZERO,
            silent: false,
            unanswered: None,
            keepalive: false,
            size_probe: None,
            impatient: false,
            end: None,
            retired: false,
            owed: Vec::new(),
            paid: VecDeque::new(),
            reached: None,
        }
    }

    /// Learns who the other side is: from now on there can be checks.
    pub(crate) fn set_remote(&mut self, ctx: &mut Context<'_>, credentials: Credentials) {
        let username = format!("{}:{}", credentials.ufrag, self.local.ufrag);
        let key = Key::short_term(&credentials.pwd);
        self.remote = Some(RemoteAgent { credentials, key, username });
        // RFC 8863 §4: "once it believes ICE connectivity checks are starting".
        self.timers.set(SessionTimer::Patience, ctx.now + ctx.config.timings.patience);
        self.pair_all(ctx);
        // RFC 8445 §7.3: "Once the answer is received, it MUST proceed with the remaining steps".
        for early in std::mem::take(&mut self.early) {
            if self.is_remote_ufrag(&early.ufrag) {
                self.handle_check(ctx, early);
            }
        }
    }

    /// Whether checks of this session's other side carry `ufrag`.
    pub(crate) fn is_remote_ufrag(&self, ufrag: &str) -> bool {
        self.remote.is_some() && self.remote_ufrag() == ufrag
    }

    /// What checks of this session's other side carry; nothing before it is known.
    pub(crate) fn remote_ufrag(&self) -> &str {
        self.remote.as_ref().map_or("", |remote| &remote.credentials.ufrag)
    }

    /// Remembers a check until its sender is known.
    pub(crate) fn remember(&mut self, early: EarlyCheck, drops: &mut Drops) {
        if self.early.len() >= MAX_EARLY_CHECKS {
            drops.over_limit += 1;
            return;
        }
        self.early.push_back(early);
    }

    /// Takes a candidate of the other side. Returns what else is to be done.
    pub(crate) fn add_remote(&mut self, ctx: &mut Context<'_>, candidate: Candidate) -> Added {
        if candidate.is_aim() {
            // There is no hole yet. Who does not punch will not make one, either.
            if ctx.config.punch.is_some() && self.aims.len() < MAX_AIMS {
                self.aims.push(candidate);
            }
            return Added::Ignored;
        }
        self.take_remote(ctx, candidate)
    }

    /// Takes a candidate of the other side that may be checked now.
    pub(crate) fn take_remote(&mut self, ctx: &mut Context<'_>, candidate: Candidate) -> Added {
        let added = self.remotes.add(candidate);
        self.added(ctx, &added);
        added
    }

    /// Pairs what became usable.
    pub(crate) fn added(&mut self, ctx: &mut Context<'_>, added: &Added) {
        match added {
            Added::New(remote) => {
                let bases: Vec<Base> = ctx.locals.bases().copied().collect();
                for base in bases {
                    self.pair(ctx, &base, *remote);
                }
            }
            Added::Known(remote) => self.renew(ctx, *remote),
            Added::OverLimit => ctx.drops.over_limit += 1,
            Added::Resolve(..) | Added::Ignored => {}
        }
    }

    /// Pairs a new base of ours with all candidates of the other side.
    pub(crate) fn add_base(&mut self, ctx: &mut Context<'_>, base: BaseId) {
        let Some(base) = ctx.locals.base(base).copied() else { return };
        let remotes: Vec<RemoteId> = self.remotes.usable().map(|(remote, _)| remote.id).collect();
        for remote in remotes {
            self.pair(ctx, &base, remote);
        }
    }

    fn pair_all(&mut self, ctx: &mut Context<'_>) {
        let bases: Vec<BaseId> = ctx.locals.bases().map(|base| base.id).collect();
        for base in bases {
            self.add_base(ctx, base);
        }
    }

    /// Forms a pair (RFC 8445 §6.1.2.2 to §6.1.2.5), if the two can be one and there are to be checks.
    pub(crate) fn pair(&mut self, ctx: &mut Context<'_>, base: &Base, remote: RemoteId) -> Option<PairId> {
        if self.remote.is_none() || self.end.is_some() {
            return None;
        }
        let local = ctx.locals.pairing(base.id)?;
        let remote = self.remotes.of(remote);
        let address = remote.address?;
        if !may_be_paired(base.address.ip(), address.ip()) {
            return None;
        }
        let id = PairId(self.next_pair);
        let pair = Pair {
            id,
            base: base.id,
            remote: remote.id,
            route: base.route(address),
            priority: ctx.role.pair_priority(local.public.priority, remote.candidate.priority),
            foundation: (local.public.foundation.clone(), remote.candidate.foundation.clone()),
            state: PairState::Frozen,
            permitted: base.relay.is_none(),
            current: None,
            valid: None,
            nominate_on_success: false,
            nominated: false,
            relayed: base.relay.is_some() || remote.candidate.kind == CandidateKind::Relay,
            evidence: Evidence::default(),
        };
        if !self.list.insert(pair) {
            return None;
        }
        self.next_pair += 1;
        if let Some(relay) = base.relay {
            ctx.relays.permit(ctx.now, relay, address);
        }
        Some(id)
    }

    /// What signalling says of a candidate that a check had shown takes effect on its pairs.
    fn renew(&mut self, ctx: &Context<'_>, remote: RemoteId) {
        let Self { list, remotes, .. } = self;
        let candidate = &remotes.of(remote).candidate;
        for pair in list.iter_mut().filter(|pair| pair.remote == remote) {
            pair.foundation.1.clone_from(&candidate.foundation);
            pair.relayed |= candidate.kind == CandidateKind::Relay;
        }
        self.renew_priorities(ctx);
    }

    /// Computes all pair priorities again: after a change of roles (RFC 8445 §7.3.1.1) or of a candidate.
    pub(crate) fn renew_priorities(&mut self, ctx: &Context<'_>) {
        let Self { list, remotes, .. } = self;
        for pair in list.iter_mut() {
            if let Some(local) = ctx.locals.pairing(pair.base) {
                let remote = remotes.of(pair.remote).candidate.priority;
                pair.priority = ctx.role.pair_priority(local.public.priority, remote);
            }
        }
        list.sort();
    }

    /// Relayed pairs whose servers were asked for a permission can be checked: their checks follow the request, so that nothing
    /// waits for its answer (RFC 8445 §7.2.1: "the client MUST create a permission first").
    pub(crate) fn look_for_permission(&mut self, ctx: &Context<'_>) {
        for pair in self.list.iter_mut().filter(|pair| !pair.permitted && pair.is_open()) {
            if let Route::Relayed { relay, peer } = pair.route {
                pair.permitted = ctx.relays.has_lane(relay, peer);
            }
        }
    }

    /// A TURN server relays to an address. Checks that went with the request may have come too early, here or at the other
    /// side's relay.
    pub(crate) fn permitted(&mut self, relay: RelayId, peer: std::net::SocketAddr) {
        let pair = self.list.at_route(&Route::Relayed { relay, peer });
        if let Some(pair) = pair.filter(|pair| pair.state == PairState::InProgress).map(|pair| pair.id) {
            self.list.trigger(pair);
        }
    }

    /// A TURN server does not relay to an address.
    pub(crate) fn refused(&mut self, relay: RelayId, peer: std::net::SocketAddr, code: u16, reason: &str) {
        let route = Route::Relayed { relay, peer };
        for pair in self.list.iter_mut().filter(|pair| pair.route == route) {
            pair.permitted = false;
            pair.fail(PairError::PermissionRefused { code, reason: reason.to_owned() });
        }
    }

    /// A base of ours is gone, and its pairs with it.
    pub(crate) fn base_lost(&mut self, base: BaseId, error: &PairError) {
        let mut lost = Vec::new();
        for pair in self.list.iter_mut().filter(|pair| pair.base == base) {
            pair.fail(error.clone());
            lost.push(pair.id);
        }
        self.checks.cancel(|check| lost.contains(&check.pair));
        if self.nominating.is_some_and(|pair| lost.contains(&pair)) {
            self.nominating = None;
        }
        if self.selected.is_some_and(|pair| lost.contains(&pair)) {
            self.finish(End::Lost(match error {
                PairError::RelayLost => FailureCause::RelayLost,
                _ => FailureCause::AddressLost,
            }));
        }
    }

    /// The session is over: nothing is sent any more.
    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.selected = None;
        self.nominating = None;
        self.watched = None;
        self.list.stop();
        self.checks.clear();
        self.timers.clear();
    }

    /// Another session begins while this one may still carry data: its consent goes on, its search does not.
    pub(crate) fn pause(&mut self) {
        self.nominating = None;
        self.checks.cancel(|check| !matches!(check.purpose, Purpose::Consent));
        for pair in self.list.iter_mut().filter(|pair| pair.state == PairState::InProgress) {
            pair.state = PairState::Waiting;
            pair.current = None;
        }
    }

    /// Another session has taken its place.
    pub(crate) fn retire(&mut self) {
        self.finish(End::Exhausted);
        self.end = None;
        self.retired = true;
    }

    /// The pair that carries data: the selected one, before there is one the best valid one
    /// (RFC 8445 §12.1). A lite agent waits for the selection (RFC 8445 §12.1.1).
    pub(crate) fn carrier(&self, lite: bool) -> Option<&Pair> {
        match self.selected {
            _ if self.retired => None,
            Some(id) => self.list.get(id).filter(|pair| pair.valid.is_some()),
            None if lite || self.end.is_some() => None,
            None => self.list.best_valid(),
        }
    }

    /// A pair, for people.
    pub(crate) fn describe(&self, pair: &Pair, locals: &Locals) -> SelectedPair {
        let remote = self.remotes.of(pair.remote).candidate.clone();
        let mapped = pair.valid.map(|valid| valid.mapped);
        // A base that is gone took its candidates with it.
        let gone =
            || Candidate::new(CandidateKind::Host, crate::hidden_address(pair.route.remote().ip()), 1, "0");
        let local = locals.describe(pair.base, mapped).unwrap_or_else(gone);
        SelectedPair { local, remote, rtt: pair.evidence.rtt, nominated: pair.nominated }
    }

    /// All pairs, for people.
    pub(crate) fn report(&self, locals: &Locals) -> Vec<PairReport> {
        let report = |pair: &Pair| {
            let SelectedPair { local, remote, rtt, nominated } = self.describe(pair, locals);
            let Evidence {
                checks_sent,
                retransmissions,
                responses_received,
                requests_received,
                error,
                seen_as,
                ..
            } = pair.evidence.clone();
            PairReport {
                local,
                remote,
                state: pair.state,
                valid: pair.valid.is_some(),
                nominated,
                priority: pair.priority,
                checks_sent,
                retransmissions,
                responses_received,
                requests_received,
                error,
                rtt,
                seen_as,
            }
        };
        self.list.iter().map(report).collect()
    }
}

impl Role {
    /// RFC 8445 §6.1.2.3.
    pub(crate) fn pair_priority(&self, local: u32, remote: u32) -> u64 {
        match self.controlling {
            true => pair_priority(local, remote),
            false => pair_priority(remote, local),
        }
    }
}
