//! Reads one event.

use netsim::Link;

use super::links::link;
use super::mistake::Mistake;
use super::names::Names;
use super::plan::{Deed, Event, Plan, Role, Target, Wire};
use super::tree::{Item, Section, Spot};

const VERBS: [&str; 15] = [
    "ask",
    "send",
    "call",
    "down",
    "up",
    "change",
    "move",
    "readdress",
    "reboot",
    "renumber",
    "stop",
    "start",
    "clock",
    "sleep",
    "restart",
];
/// What a message may hold: it has to fit into one packet of any link.
const LONGEST: usize = 1000;

pub(crate) fn event(names: &Names<'_>, plan: &Plan, item: Item<'_>) -> Result<Event, Mistake> {
    let mut section = item.section("an event")?;
    let span = section.span.clone();
    let at = section.need("at", "when it happens, such as `at = \"2s\"`")?.duration()?;
    let (verb, item) = section.take_verb(&VERBS)?;
    let reader = Reader { names, plan };
    let deed = reader.deed(&mut section, verb, item)?;
    section.finish()?;
    Ok(Event { span, at, deed })
}

struct Reader<'a, 't> {
    names: &'a Names<'t>,
    plan: &'a Plan,
}

impl Reader<'_, '_> {
    fn deed(&self, section: &mut Section<'_>, verb: &'static str, item: Item<'_>) -> Result<Deed, Mistake> {
        Ok(match verb {
            "ask" => Deed::Ask { server: self.relay(item)?, host: self.asker(section.need("by", HOST)?)? },
            "send" => self.send(section, item)?,
            "call" => Deed::Call { to: self.peer(item)?, from: self.peer(section.need("from", HOST)?)? },
            "down" => Deed::Plug { wire: self.wire(item)?, up: false },
            "up" => Deed::Plug { wire: self.wire(item)?, up: true },
            "change" => {
                let wire = self.wire(item)?;
                let link =
                    link(section.need("link", "what the link is like from now on")?, self.link_of(wire))?;
                Deed::Change { wire, link }
            }
            "move" => self.moves(section, item)?,
            "readdress" => {
                let name = item.text(HOST)?;
                let host = self.names.host(&name)?;
                let addresses = section.take("address").map_or(Ok(Vec::new()), Item::addresses)?;
                let network = self.home(host, &name)?;
                for address in &addresses {
                    super::check::address_fits(self.names, &self.plan.networks, network, address)?;
                }
                Deed::Readdress { host, network, addresses }
            }
            "reboot" => Deed::Reboot { network: self.names.boxed(&item.text(NETWORK)?)? },
            "renumber" => Deed::Renumber { network: self.names.boxed(&item.text(NETWORK)?)? },
            "stop" => Deed::Stop { host: self.names.host(&item.text(HOST)?)? },
            "start" => Deed::Start { host: self.names.host(&item.text(HOST)?)? },
            "clock" => {
                Deed::Jump { host: self.names.host(&item.text(HOST)?)?, by: self.duration(section, "jump")? }
            }
            "sleep" => Deed::Sleep {
                host: self.names.host(&item.text(HOST)?)?,
                duration: self.duration(section, "for")?,
            },
            _ => Deed::Restart { host: self.peer(item)? },
        })
    }

    fn duration(&self, section: &mut Section<'_>, key: &'static str) -> Result<std::time::Duration, Mistake> {
        section.need(key, "for how long, such as \"10min\"")?.duration()
    }

    fn send(&self, section: &mut Section<'_>, item: Item<'_>) -> Result<Deed, Mistake> {
        let text = item.text("the text of the message")?;
        if text.value.is_empty() || text.value.len() > LONGEST {
            let what = format!("a message of {} bytes", text.value.len());
            return Err(self.names.source.mistake(&text.span, what, format!("1 to {LONGEST}")));
        }
        let name = section.need("from", HOST)?.text(HOST)?;
        let from = self.names.host(&name)?;
        match self.plan.hosts[from].role {
            Role::Peer(_) => Ok(Deed::Send { from, to: None, text: text.value }),
            Role::Plain { .. } => {
                let to = section.need(
                    "to",
                    "a host, `HOST.mapped`, `HOST.seen`, `HOST.outer`, NETWORK:PORT or ADDRESS:PORT",
                )?;
                let to = target(self.names, self.plan, &to.text("whom it goes to")?)?;
                Ok(Deed::Send { from, to: Some(to), text: text.value })
            }
            Role::Relay => {
                let what = format!("`{}` is a relay and sends nothing of its own", name.value);
                Err(self.names.source.mistake(&name.span, what, "a host that runs a `peer`, or is `plain`"))
            }
        }
    }

    fn moves(&self, section: &mut Section<'_>, item: Item<'_>) -> Result<Deed, Mistake> {
        let name = item.text(HOST)?;
        let host = self.names.host(&name)?;
        let to = self.names.network(&section.need("to", NETWORK)?.text(NETWORK)?)?;
        let from = match section.take("from") {
            Some(item) => self.names.network(&item.text(NETWORK)?)?,
            None => self.home(host, &name)?,
        };
        Ok(Deed::Move { host, from, to })
    }

    /// The only network of a host.
    fn home(&self, host: usize, name: &Spot<String>) -> Result<Option<usize>, Mistake> {
        match *self.plan.hosts[host].networks {
            [network] => Ok(network),
            _ => {
                let what = format!("`{}` is on several networks", name.value);
                Err(self.names.source.mistake(
                    &name.span,
                    what,
                    "a host on one network, or `from = NETWORK` beside it",
                ))
            }
        }
    }

    fn wire(&self, item: Item<'_>) -> Result<Wire, Mistake> {
        let name = item.text("a network, a host, or HOST@NETWORK")?;
        let wire = self.names.wire(&name, |host| self.plan.hosts[host].networks.clone())?;
        if let Wire::Access(host, network) = wire
            && !self.plan.hosts[host].networks.contains(&network)
        {
            let what = format!("`{}` has no link there", self.plan.hosts[host].name);
            return Err(self.names.source.mistake(&name.span, what, "one of the networks that it is on"));
        }
        Ok(wire)
    }

    fn link_of(&self, wire: Wire) -> Link {
        let written = match wire {
            Wire::Uplink(network) => self.plan.networks[network].link.clone(),
            Wire::Access(host, _) => self.plan.hosts[host].link.clone(),
        };
        let delay = if matches!(wire, Wire::Access(_, Some(_))) { 0 } else { 5 };
        written.unwrap_or_else(|| Link::delay_ms(delay))
    }

    fn peer(&self, item: Item<'_>) -> Result<usize, Mistake> {
        self.one(item, "peer", |role| matches!(role, Role::Peer(_)))
    }

    /// Who can ask a STUN server: a plain program of UDP.
    fn asker(&self, item: Item<'_>) -> Result<usize, Mistake> {
        let span = item.span.clone();
        let host = self.one(item, "plain", |role| matches!(role, Role::Plain { .. }))?;
        if let Role::Plain { tcp: true, .. } = self.plan.hosts[host].role {
            let what = format!("`{}` speaks TCP, and asks nobody who it is", self.plan.hosts[host].name);
            return Err(self.names.source.mistake(&span, what, "a plain host with `transport = \"udp\"`"));
        }
        Ok(host)
    }

    fn relay(&self, item: Item<'_>) -> Result<usize, Mistake> {
        self.one(item, "relay", |role| matches!(role, Role::Relay))
    }

    fn one(&self, item: Item<'_>, runs: &str, fits: fn(&Role) -> bool) -> Result<usize, Mistake> {
        let name = item.text(HOST)?;
        let host = self.names.host(&name)?;
        if fits(&self.plan.hosts[host].role) {
            return Ok(host);
        }
        let what = format!("`{}` does not run as `{runs}`", name.value);
        let fitting: Vec<&str> =
            self.plan.hosts.iter().filter(|host| fits(&host.role)).map(|host| host.name.as_str()).collect();
        let expected = match fitting.is_empty() {
            true => format!("a host that does; there is none (`runs = \"{runs}\"`)"),
            false => super::mistake::either(fitting),
        };
        Err(self.names.source.mistake(&name.span, what, expected))
    }
}

const HOST: &str = "the name of a host";
const NETWORK: &str = "the name of a network";

/// Whom a plain host can be told to write to, or what an address is compared with.
pub(crate) fn target(names: &Names<'_>, plan: &Plan, written: &Spot<String>) -> Result<Target, Mistake> {
    let target = names.target(written)?;
    if let Target::Host(host) | Target::Mapped(host) | Target::Seen(host) | Target::OneToOne(host) = target
        && !matches!(plan.hosts[host].role, Role::Plain { .. })
    {
        let what =
            format!("`{}` is not `plain`: it has no socket that could be written to", plan.hosts[host].name);
        return Err(names.source.mistake(&written.span, what, "a host with `runs = \"plain\"`"));
    }
    if let Target::OneToOne(host) = target
        && !plan.networks.iter().any(|network| network.one_to_one.iter().any(|it| it.value == host))
    {
        let name = &plan.hosts[host].name;
        let what = format!("`{name}` has no outer address of its own");
        let expected = format!("`one-to-one = [\"{name}\"]` in its network's section");
        return Err(names.source.mistake(&written.span, what, expected));
    }
    Ok(target)
}
