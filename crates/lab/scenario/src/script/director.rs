use std::net::IpAddr;
use std::time::Duration;

use netsim::{HostId, Net};
use peer::{ChannelState, Connection, ConnectionState};
use sansio::Time;

use super::judge::{Court, Judge};
use super::plain::Plain;
use super::plan::{Deed, Host, Plan, Role};
use super::quantity::seconds;
use super::stage::{SERVER_PORT, Stage};
use crate::Peer;

/// What the director knows of a host besides what runs there.
pub(crate) struct Actor {
    pub(crate) running: bool,
    /// Where it is now.
    networks: Vec<Option<usize>>,
    /// For a peer: the other end.
    partner: Option<usize>,
    pub(crate) called: Option<Time>,
    /// What it was to say before there was a channel.
    unsaid: Vec<String>,
    /// The state of its connection when the director last looked.
    state: ConnectionState,
    was_connected: bool,
}

impl Actor {
    /// Whether there is something to be done for a peer.
    fn has_news(&self, peer: &Peer) -> bool {
        self.state != peer.connection().connection_state() || !self.unsaid.is_empty() && can_speak(peer)
    }
}

fn can_speak(peer: &Peer) -> bool {
    peer.connection().channels().any(|(_, channel)| channel.state == ChannelState::Open)
}

/// Makes happen what the plan says, until everything is decided.
pub(crate) struct Director<'p> {
    plan: &'p Plan,
    pub(crate) stage: Stage,
    actors: Vec<Actor>,
    /// Sleepers and when they wake up.
    sleepers: Vec<(Time, usize)>,
    next_event: usize,
    /// What could not be done.
    pub(crate) problems: Vec<String>,
    pub(crate) judge: Judge,
}

impl<'p> Director<'p> {
    pub(crate) fn new(plan: &'p Plan, seed: u64) -> Self {
        let actor = |host: &Host| Actor {
            running: true,
            networks: host.networks.clone(),
            partner: None,
            called: None,
            unsaid: Vec::new(),
            state: ConnectionState::New,
            was_connected: false,
        };
        Self {
            plan,
            stage: Stage::build(plan, seed),
            actors: plan.hosts.iter().map(actor).collect(),
            sleepers: Vec::new(),
            next_event: 0,
            problems: Vec::new(),
            judge: Judge::new(plan),
        }
    }

    /// Plays the scenario to its end: until everything is decided, or time is up.
    pub(crate) fn play(&mut self) {
        let end = Time::ZERO + self.plan.limit;
        loop {
            self.do_what_is_due();
            let over = self.look();
            if over || self.now() >= end {
                break;
            }
            self.go_on(end);
        }
        self.with_court(Judge::close);
    }

    /// The peers that run.
    pub(crate) fn peers(&self) -> Vec<HostId> {
        let runs =
            |host: &usize| self.actors[*host].running && matches!(self.plan.hosts[*host].role, Role::Peer(_));
        (0..self.actors.len()).filter(runs).map(|host| self.stage.hosts[host]).collect()
    }

    /// Lets time go on until there is something to be done.
    fn go_on(&mut self, end: Time) {
        let within = self.next_due().unwrap_or(end).min(end) - self.now();
        let last_event = self.last_event();
        let Self { plan, stage, actors, judge, .. } = self;
        let Stage { world, hosts, segments, outers } = stage;
        world.run_until(within, |net| {
            let court = Court { plan, net, hosts, segments, outers, actors };
            judge.look(&court);
            let tells = |(host, actor): (usize, &Actor)| {
                let peer = matches!(plan.hosts[host].role, Role::Peer(_)) && actor.running;
                peer && actor.has_news(net.machine(hosts[host]))
            };
            let over = last_event.is_some_and(|last| judge.is_decided(net.now(), last));
            over || actors.iter().enumerate().any(tells)
        });
    }

    fn with_court<R>(&mut self, what: impl FnOnce(&mut Judge, &Court<'_>) -> R) -> R {
        let Self { plan, stage: Stage { world, hosts, segments, outers }, actors, judge, .. } = self;
        what(judge, &Court { plan, net: &world.net, hosts, segments, outers, actors })
    }

    /// Looks at how things stand; says whether it is over.
    fn look(&mut self) -> bool {
        self.with_court(Judge::look);
        let now = self.now();
        self.last_event().is_some_and(|last| self.judge.is_decided(now, last))
    }

    fn net(&mut self) -> &mut Net {
        &mut self.stage.world.net
    }

    fn now(&self) -> Time {
        self.stage.world.net.now()
    }

    /// When the last event happened, if all of them have.
    fn last_event(&self) -> Option<Time> {
        let done = self.next_event == self.plan.events.len() && self.sleepers.is_empty();
        let last = self.plan.events.last().map_or(Duration::ZERO, |event| event.at);
        done.then_some(Time::ZERO + last)
    }

    fn next_due(&self) -> Option<Time> {
        let event = self.plan.events.get(self.next_event).map(|event| Time::ZERO + event.at);
        let sleepers = self.sleepers.iter().map(|(due, _)| *due);
        let now = self.now();
        let look = self.judge.next_look(self.last_event()).filter(|look| *look > now);
        event.into_iter().chain(sleepers).chain(look).min()
    }

    fn do_what_is_due(&mut self) {
        let now = self.now();
        while let Some(at) = self.sleepers.iter().position(|(due, _)| *due <= now) {
            let (_, host) = self.sleepers.remove(at);
            let id = self.stage.hosts[host];
            self.net().resume(id);
        }
        let plan = self.plan;
        while let Some(event) = plan.events.get(self.next_event).filter(|event| Time::ZERO + event.at <= now)
        {
            self.next_event += 1;
            self.act(&event.deed);
        }
        for host in 0..plan.hosts.len() {
            if let Role::Peer(peer) = &plan.hosts[host].role
                && self.actors[host].running
            {
                self.attend(host, peer.restarts);
            }
        }
    }

    /// Does for a peer what its application would do.
    fn attend(&mut self, host: usize, restarts: bool) {
        let id = self.stage.hosts[host];
        let peer = self.stage.world.peer(id);
        let state = peer.connection().connection_state();
        let speaks = can_speak(peer);
        let actor = &mut self.actors[host];
        if state != std::mem::replace(&mut actor.state, state) {
            actor.was_connected |= state == ConnectionState::Connected;
            let broken = matches!(state, ConnectionState::Disconnected | ConnectionState::Failed);
            // Perhaps both do; who was called gives way.
            if broken && actor.was_connected && restarts {
                self.stage.world.with(id, Connection::restart_ice);
            }
        }
        if speaks {
            for text in std::mem::take(&mut self.actors[host].unsaid) {
                self.say(host, &text);
            }
        }
    }

    fn problem(&mut self, what: &str) {
        let at = seconds(self.now().elapsed());
        self.problems.push(format!("at {at}: {what}"));
    }

    // What happens.

    fn act(&mut self, deed: &Deed) {
        let plan = self.plan;
        let Stage { world, hosts, segments, .. } = &mut self.stage;
        match deed {
            Deed::Ask { host, server } => {
                let server = world.net.socket(hosts[*server], SERVER_PORT);
                self.with_plain(*host, |plain, now| plain.ask(now, server));
            }
            Deed::Send { from, to: Some(to), text } => match self.with_court(|_, court| court.resolve(*to)) {
                Some(to) => self.with_plain(*from, |plain, _| plain.send(to, text)),
                None => self.problem(&format!("nobody knows yet where “{text}” should go")),
            },
            Deed::Send { from, to: None, text } => self.say(*from, text),
            Deed::Call { from, to } => self.call(*from, *to),
            Deed::Plug { wire, up } => {
                let link = self.stage.link(*wire);
                self.net().set_link_up(link, *up);
            }
            Deed::Change { wire, link } => {
                let wire = self.stage.link(*wire);
                self.net().set_link(wire, link.clone());
            }
            Deed::Move { host, from, to } => {
                let (old, new) = (self.stage.segment(*from), self.stage.segment(*to));
                let id = self.stage.hosts[*host];
                let at = self.actors[*host].networks.iter().position(|network| network == from);
                let Some(at) = at else {
                    return self.problem(&format!("`{}` is not there (any more)", plan.hosts[*host].name));
                };
                self.actors[*host].networks[at] = *to;
                self.net().leave(id, old);
                self.net().join(id, new);
                self.addresses_changed(*host);
            }
            Deed::Readdress { host, network, addresses } => {
                let (id, segment) = (self.stage.hosts[*host], self.stage.segment(*network));
                let mut addresses: Vec<IpAddr> = addresses.iter().map(|address| address.value).collect();
                if let Some(taken) = addresses.iter().find(|address| self.is_taken(*host, **address)) {
                    return self.problem(&format!("another host has {taken} already"));
                }
                if addresses.is_empty() {
                    addresses = self.net().free_addresses(segment);
                }
                self.net().set_addresses(id, segment, &addresses);
                self.addresses_changed(*host);
            }
            Deed::Reboot { network } => world.net.reboot(segments[*network]),
            Deed::Renumber { network } => {
                world.net.renumber(segments[*network]);
            }
            Deed::Stop { host } => self.stop(*host),
            Deed::Start { host } => {
                if !std::mem::replace(&mut self.actors[*host].running, true) {
                    self.stage.start(plan, *host);
                }
            }
            Deed::Jump { host, by } => world.net.jump_clock(hosts[*host], *by),
            Deed::Sleep { host, duration } => {
                world.net.suspend(hosts[*host]);
                let wakes = self.now() + *duration;
                self.sleepers.push((wakes, *host));
            }
            Deed::Restart { host } => {
                if self.actors[*host].running {
                    world.with(hosts[*host], Connection::restart_ice);
                }
            }
        }
    }

    /// Whether another host has this address. On another network it would not matter, but to people.
    fn is_taken(&self, host: usize, address: IpAddr) -> bool {
        let mut others = self.stage.hosts.iter().enumerate().filter(|(other, _)| *other != host);
        others.any(|(_, id)| self.stage.world.net.addresses(*id).contains(&address))
    }

    fn stop(&mut self, host: usize) {
        if !std::mem::take(&mut self.actors[host].running) {
            return;
        }
        let id = self.stage.hosts[host];
        match self.plan.hosts[host].role {
            Role::Peer(_) => {
                // Whoever wants to talk to it when it runs again has to call anew.
                if let Some(other) = self.actors[host].partner.take() {
                    self.actors[other].partner = None;
                }
                self.stage.world.stop(id);
            }
            Role::Plain { .. } | Role::Relay => self.net().stop(id),
        }
    }

    /// Tells a program that its machine's addresses are others now, as its system would.
    fn addresses_changed(&mut self, host: usize) {
        if !self.actors[host].running {
            return;
        }
        let id = self.stage.hosts[host];
        let Role::Peer(peer) = &self.plan.hosts[host].role else {
            self.net().stop(id);
            return self.stage.start(self.plan, host);
        };
        let interfaces = self.stage.world.interfaces(id);
        let restarts = peer.restarts && self.actors[host].partner.is_some();
        self.stage.world.with(id, |connection, now| {
            connection.set_interfaces(now, interfaces);
            if restarts {
                connection.restart_ice(now);
            }
        });
    }

    fn with_plain(&mut self, host: usize, wish: impl FnOnce(&mut Plain, Time)) {
        if self.actors[host].running {
            let id = self.stage.hosts[host];
            self.net().with(id, wish);
        } else {
            self.problem(&format!("`{}` does not run", self.plan.hosts[host].name));
        }
    }

    fn call(&mut self, from: usize, to: usize) {
        if !self.actors[from].running || !self.actors[to].running {
            return self.problem("one of the two does not run");
        }
        let now = self.now();
        let [caller, called] = [from, to].map(|host| self.stage.hosts[host]);
        if self.actors[from].partner.is_none() {
            self.stage.world.introduce(caller, called);
        }
        for (host, other) in [(from, to), (to, from)] {
            self.actors[host].partner = Some(other);
            self.actors[host].called.get_or_insert(now);
        }
        self.stage.world.call(caller);
    }

    /// A peer says something, now or as soon as it can.
    fn say(&mut self, host: usize, text: &str) {
        let id = self.stage.hosts[host];
        let said =
            self.actors[host].running && self.net().with(id, |peer: &mut Peer, now| peer.say(now, text)) > 0;
        if !said {
            self.actors[host].unsaid.push(text.to_owned());
        }
    }
}
