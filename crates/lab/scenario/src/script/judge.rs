use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netsim::{Cause, Fate, HostId, Net, Place, Record, Refusal, SegmentId, Trace};
use peer::{ChannelState, ConnectionState};
use sansio::Time;

use super::director::Actor;
use super::plain::Plain;
use super::plan::{Claim, Plan, Role, Spotted, Target, Wanted};
use super::quantity::seconds;
use crate::{Peer, Way};

/// How long after the last event a message that has not arrived counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Decides which expectations hold.
pub(crate) struct Judge {
    /// One for each expectation of the plan.
    pub(crate) verdicts: Vec<Verdict>,
    /// Those that can be decided only when all is over.
    last: Vec<bool>,
    /// The moments at which something is to be looked at.
    looks: Vec<Time>,
}

/// What became of an expectation, and how one can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Open,
    Held(String),
    Broken(String),
}

impl Judge {
    pub(crate) fn new(plan: &Plan) -> Self {
        let claims = || plan.expectations.iter().map(|expectation| &expectation.claim);
        let look = |claim: &Claim| match claim {
            Claim::Connected { at: Some(at), .. } => Some(Time::ZERO + *at),
            _ => None,
        };
        Self {
            verdicts: vec![Verdict::Open; plan.expectations.len()],
            last: claims()
                .map(|claim| matches!(claim, Claim::Lost { .. } | Claim::Translated { .. }))
                .collect(),
            looks: claims().filter_map(look).collect(),
        }
    }

    /// Whether nothing can change any more, as far as that can be told.
    pub(crate) fn is_decided(&self, now: Time, last_event: Time) -> bool {
        let open = |(verdict, last): (&Verdict, &bool)| *verdict == Verdict::Open && !last;
        !self.verdicts.is_empty()
            && !self.verdicts.iter().zip(&self.last).any(open)
            && (!self.waits() || now >= last_event + PATIENCE)
    }

    /// When the judge wants to look next, whatever happens. `last_event` is when the last event has happened.
    pub(crate) fn next_look(&self, last_event: Option<Time>) -> Option<Time> {
        let patience = last_event.filter(|_| self.waits()).map(|last| last + PATIENCE);
        self.looks.iter().copied().chain(patience).min()
    }

    fn waits(&self) -> bool {
        self.last.contains(&true)
    }

    /// Looks at how things stand.
    pub(crate) fn look(&mut self, court: &Court<'_>) {
        let now = court.net.now();
        for (verdict, expectation) in self.verdicts.iter_mut().zip(&court.plan.expectations) {
            if *verdict == Verdict::Open {
                *verdict = court.look(&expectation.claim).unwrap_or(Verdict::Open);
            }
        }
        self.looks.retain(|look| *look > now);
    }

    /// Decides what is still open: it is over.
    pub(crate) fn close(&mut self, court: &Court<'_>) {
        for (verdict, expectation) in self.verdicts.iter_mut().zip(&court.plan.expectations) {
            if *verdict == Verdict::Open {
                *verdict = court.close(&expectation.claim);
            }
        }
    }
}

/// All that there is to be looked at.
pub(crate) struct Court<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) net: &'a Net,
    pub(crate) hosts: &'a [HostId],
    pub(crate) segments: &'a [SegmentId],
    /// The outer addresses of hosts that have one of their own.
    pub(crate) outers: &'a BTreeMap<usize, IpAddr>,
    pub(crate) actors: &'a [Actor],
}

impl Court<'_> {
    fn look(&self, claim: &Claim) -> Option<Verdict> {
        let now = self.net.now();
        match claim {
            Claim::Connected { hosts, within, at, path } => {
                if at.is_some_and(|at| now < Time::ZERO + at) {
                    return None;
                }
                let reached =
                    self.path(*hosts).filter(|(way, _)| path.is_none_or(|wanted| fits(wanted, *way)));
                let called = self.actors[hosts[0]].called.unwrap_or(Time::ZERO);
                match (reached, at, within) {
                    (Some((_, told)), Some(_), _) => Some(Verdict::Held(told)),
                    (None, Some(_), _) => Some(Verdict::Broken(self.state(*hosts))),
                    (Some((_, told)), None, Some(within)) if now - called > *within => {
                        Some(Verdict::Broken(format!("{told}, but only after {}", seconds(now - called))))
                    }
                    (Some((_, told)), None, _) => {
                        Some(Verdict::Held(format!("{told}, after {}", seconds(now - called))))
                    }
                    (None, None, _) => None,
                }
            }
            Claim::Received { text, by, within } => {
                // The host's own clock may have jumped.
                self.has_received(*by, text).then_some(())?;
                let at = now.elapsed();
                let told = format!("at {}", seconds(at));
                let late = within.is_some_and(|within| at > within);
                Some(if late { Verdict::Broken(format!("only {told}")) } else { Verdict::Held(told) })
            }
            Claim::Mapped { host, to } => {
                let found = self.resolve(Target::Mapped(*host))?;
                let wanted = self.resolve(*to)?;
                let told = format!("it is {found}");
                Some(if found == wanted { Verdict::Held(told) } else { Verdict::Broken(told) })
            }
            Claim::Failed { host, because, within } => {
                let (_, failure) = self.peer(*host)?.failures().first()?;
                let (code, at) = (failure.code(), now);
                let verdicts: Vec<&str> =
                    failure.verdicts().iter().map(|verdict| verdict.code.as_str()).collect();
                let told =
                    format!("at {}, {code} ({}): {failure}", seconds(at.elapsed()), verdicts.join(", "));
                let said = |wanted: &String| wanted == code || verdicts.contains(&wanted.as_str());
                let right =
                    because.as_ref().is_none_or(said) && within.is_none_or(|within| at.elapsed() <= within);
                Some(if right { Verdict::Held(told) } else { Verdict::Broken(told) })
            }
            Claim::Lost { .. } | Claim::Translated { .. } => None,
        }
    }

    fn close(&self, claim: &Claim) -> Verdict {
        match claim {
            Claim::Connected { hosts, .. } => Verdict::Broken(self.state(*hosts)),
            Claim::Received { .. } => Verdict::Broken("it never arrived".to_owned()),
            Claim::Mapped { host, .. } => {
                Verdict::Broken(format!("no STUN server has answered `{}`", self.plan.hosts[*host].name))
            }
            Claim::Failed { host, .. } => Verdict::Broken(self.standing(*host)),
            Claim::Lost { text, at, because } => self.lost(text, *at, *because),
            Claim::Translated { text, to } => self.translated(text, *to),
        }
    }

    /// The address that is meant, as far as it is known by now.
    pub(crate) fn resolve(&self, target: Target) -> Option<SocketAddr> {
        match target {
            Target::Literal(address) => Some(address),
            Target::Outer(network, port) => {
                Some(SocketAddr::new(self.net.external_address(self.segments[network]), port))
            }
            Target::OneToOne(host) => {
                let port = self.plain(host)?.local.port();
                Some(SocketAddr::new(*self.outers.get(&host)?, port))
            }
            Target::Host(host) => self.plain(host).map(|plain| plain.local),
            Target::Mapped(host) => self.plain(host)?.mapped,
            Target::Seen(host) => self.plain(host)?.inbox.last().map(|(from, _)| *from),
        }
    }

    fn plain(&self, host: usize) -> Option<&Plain> {
        let plain = self.actors[host].running && matches!(self.plan.hosts[host].role, Role::Plain { .. });
        plain.then(|| self.net.machine(self.hosts[host]))
    }

    fn peer(&self, host: usize) -> Option<&Peer> {
        let peer = self.actors[host].running && matches!(self.plan.hosts[host].role, Role::Peer(_));
        peer.then(|| self.net.machine(self.hosts[host]))
    }

    fn has_received(&self, host: usize, text: &str) -> bool {
        let plain =
            || self.plain(host).is_some_and(|plain| plain.inbox.iter().any(|(_, heard)| heard == text));
        let messages = |peer: &Peer| peer.messages().iter().any(|(.., data)| data[..] == *text.as_bytes());
        self.peer(host).is_some_and(messages) || plain()
    }

    // Connections.

    /// The path that two peers use, if they are connected and can talk.
    fn path(&self, hosts: [usize; 2]) -> Option<(Way, String)> {
        let [a, b] = hosts.map(|host| {
            let peer = self.peer(host)?;
            let open = |(_, channel): (_, &peer::Channel)| channel.state == ChannelState::Open;
            let up = peer.connection().connection_state() == ConnectionState::Connected;
            (up && peer.connection().channels().any(open)).then(|| peer.path()).flatten()
        });
        let paths = [a?, b?];
        let way = Way::of(&paths)?;
        let how = if way.is_direct() { "directly" } else { "through a relay" };
        Some((way, format!("{how}, {}–{}", paths[0].local, paths[1].local)))
    }

    fn state(&self, hosts: [usize; 2]) -> String {
        match self.path(hosts) {
            Some((_, told)) => told,
            None => hosts.map(|host| self.standing(host)).join(", "),
        }
    }

    fn standing(&self, host: usize) -> String {
        let name = &self.plan.hosts[host].name;
        match self.peer(host) {
            Some(peer) => match peer.failures().last() {
                Some((_, failure)) => format!("{name} failed: {}", failure.code()),
                None => format!("{name} is {}", peer.connection().connection_state()),
            },
            None => format!("{name} does not run"),
        }
    }

    // Packets.

    /// The ways of all packets that carried this text in the clear.
    fn ways(&self, text: &str) -> Vec<Vec<&Record>> {
        let trace = self.trace();
        let sent = trace.records().iter().enumerate().filter(|(index, record)| {
            record.fate == Fate::Sent && trace.payload(*index) == Some(text.as_bytes())
        });
        sent.map(|(_, record)| trace.way(record.packet).collect()).collect()
    }

    fn trace(&self) -> &Trace {
        self.net.trace()
    }

    fn place(&self, spotted: Spotted) -> Place {
        match spotted {
            Spotted::Network(network) => self.net.gateway_place(self.segments[network]),
            Spotted::Host(host) => self.net.place(self.hosts[host]),
        }
    }

    fn lost(&self, text: &str, at: Option<Spotted>, because: Option<&'static str>) -> Verdict {
        let ways = self.ways(text);
        if ways.is_empty() {
            return Verdict::Broken("nobody sent it in the clear".to_owned());
        }
        let at = at.map(|spotted| self.place(spotted));
        let mut told = String::new();
        for way in ways {
            let delivered = way.iter().find(|record| record.fate == Fate::Delivered);
            if let Some(record) = delivered {
                return Verdict::Broken(format!("`{}` got it", self.trace().name(record.place)));
            }
            let end = way.iter().find_map(|record| match record.fate {
                Fate::Dropped(cause) => Some((record.place, cause)),
                _ => None,
            });
            let Some((place, cause)) = end else {
                return Verdict::Broken("it is still under way".to_owned());
            };
            told = format!("at {}: {cause}", self.trace().name(place));
            if at.is_some_and(|at| at != place) || because.is_some_and(|word| word != cause_word(cause)) {
                return Verdict::Broken(told);
            }
        }
        Verdict::Held(told)
    }

    fn translated(&self, text: &str, to: Target) -> Verdict {
        let Some(wanted) = self.resolve(to) else {
            return Verdict::Broken("nobody knows that address".into());
        };
        let mut seen = Vec::new();
        for record in self.ways(text).into_iter().flatten() {
            if let Fate::Translated { to } = record.fate
                && to.local != record.path.local
            {
                if to.local == wanted {
                    return Verdict::Held(format!("{} becomes {}", record.path.local, to.local));
                }
                seen.push(to.local.to_string());
            }
        }
        Verdict::Broken(if seen.is_empty() { "it was not".to_owned() } else { seen.join(", ") })
    }
}

fn fits(wanted: Wanted, way: Way) -> bool {
    match wanted {
        Wanted::Direct => way.is_direct(),
        Wanted::Way(wanted) => wanted == way,
    }
}

/// The word for a cause in scenario files.
pub(crate) fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Refused(refusal) => match refusal {
            Refusal::Filtered => "filtered",
            Refusal::NoMapping => "no-mapping",
            Refusal::Blocked => "blocked",
            Refusal::NoFreePort => "no-free-port",
            Refusal::NoHairpin => "no-hairpin",
            _ => "refused",
        },
        Cause::NoRoute => "no-route",
        Cause::NoHost => "no-host",
        Cause::NoSocket => "no-socket",
        Cause::LinkDown => "link-down",
        Cause::Lost => "loss",
        Cause::TooBig { .. } => "too-big",
        Cause::Asleep => "asleep",
        _ => "other",
    }
}
