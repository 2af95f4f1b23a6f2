//! From the tree to the plan: the scenario as a whole, networks and hosts.

use std::time::Duration;

use netsim::{Link, Preset};

use super::check;
use super::edge;
use super::events;
use super::expectations;
use super::links::link;
use super::mistake::{Mistake, Source, instead};
use super::names::{INTERNET, Names};
use super::plan::{Forward, Host, Network, Peer, Plan, Role, Server, Service, Signalling};
use super::tree::{Item, Section, Spot};

/// Hosts, networks, events and expectations are counted in tens; this is for files written by programs.
const MANY: usize = 1000;
/// A socket of a plain host has this port unless told otherwise: that of a well-known console.
const PLAIN_PORT: u16 = 3074;

pub(crate) fn plan(source: &Source<'_>) -> Result<Plan, Mistake> {
    let mut file = Section::parse(source)?;
    let title = match file.take("title") {
        Some(item) => item.text("a title")?.value,
        None => source.file.to_owned(),
    };
    let about = match file.take("about") {
        Some(item) => item.text("a text")?.value.trim().to_owned(),
        None => String::new(),
    };
    let seed = file.take("seed").map_or(Ok(1), |item| item.number(0..=i64::MAX as u64))?;
    let limit = limit(&mut file)?;
    let (networks, hosts) = (entries(&mut file, "networks")?, entries(&mut file, "hosts")?);
    let names = Names {
        source,
        networks: networks.iter().map(|(name, _)| name.clone()).collect(),
        hosts: hosts.iter().map(|(name, _)| name.clone()).collect(),
    };
    names.check()?;
    if hosts.is_empty() {
        return Err(file.wrong("there is no host in this scenario", "a section such as `[hosts.alice]`"));
    }
    let networks = networks.into_iter().map(|(name, item)| network(&names, name, item));
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    let order = check::order(&names, &networks)?;
    let hosts = hosts.into_iter().map(|(name, item)| host(&names, name, item));
    let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
    check::addresses(&names, &networks, &hosts)?;
    let signalling = match file.take("signalling") {
        Some(item) => signalling(item)?,
        None => Signalling { delay: Duration::from_millis(20), trickle: true },
    };
    let mut plan = Plan {
        title,
        about,
        seed,
        limit,
        networks,
        order,
        hosts,
        signalling,
        events: Vec::new(),
        expectations: Vec::new(),
    };
    for item in list(&mut file, "events", "a list of events: `[[events]]`")? {
        plan.events.push(events::event(&names, &plan, item)?);
    }
    for item in list(&mut file, "expect", "a list of expectations: `[[expect]]`")? {
        plan.expectations.push(expectations::expectation(&names, &plan, item)?);
    }
    file.finish()?;
    plan.events.sort_by_key(|event| event.at);
    check::statics(&names, &plan)?;
    check::room(&names, &plan)?;
    check::events(&names, &plan)?;
    Ok(plan)
}

fn limit(file: &mut Section<'_>) -> Result<Duration, Mistake> {
    const USUAL: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
    let Some(item) = file.take("limit") else { return Ok(USUAL) };
    let span = item.span.clone();
    let limit = item.duration()?;
    if limit > LONGEST {
        return Err(file.source.mistake(&span, "this is very long", "at most \"7days\""));
    }
    Ok(limit)
}

fn entries<'t>(file: &mut Section<'t>, key: &'static str) -> Result<Vec<(Spot<String>, Item<'t>)>, Mistake> {
    let Some(item) = file.take(key) else { return Ok(Vec::new()) };
    let section = item.section(key)?;
    let span = section.span.clone();
    let entries = section.into_entries();
    match entries.len() {
        0..=MANY => Ok(entries),
        many => {
            Err(file.source.mistake(&span, format!("{many} {key} are too many"), format!("at most {MANY}")))
        }
    }
}

fn list<'t>(file: &mut Section<'t>, key: &'static str, expected: &str) -> Result<Vec<Item<'t>>, Mistake> {
    let Some(item) = file.take(key) else { return Ok(Vec::new()) };
    let span = item.span.clone();
    let list = item.list(expected)?;
    match list.len() {
        0..=MANY => Ok(list),
        many => {
            Err(file.source.mistake(&span, format!("{many} of them are too many"), format!("at most {MANY}")))
        }
    }
}

fn network(names: &Names<'_>, name: Spot<String>, item: Item<'_>) -> Result<Network, Mistake> {
    const LINK_MS: u64 = 5;
    let mut section = item.section("a network")?;
    let presets = Preset::ALL.map(Preset::name);
    let nat = match section.take("nat") {
        Some(item) => item.text("the name of a preset")?,
        None => {
            return Err(section.source.mistake(
                &name.span,
                "the network lacks `nat`",
                super::mistake::either(presets),
            ));
        }
    };
    let preset: Preset = nat.value.parse().map_err(|_| {
        names.source.mistake(
            &nat.span,
            format!("there is no preset `{}`", nat.value),
            instead(&nat.value, &presets),
        )
    })?;
    let behind = match section.take("behind") {
        Some(item) => names.network(&item.text("the name of a network")?)?,
        None => None,
    };
    let inside = section.take("inside").map(Item::prefix).transpose()?;
    let link = section.take("link").map(|item| link(item, Link::delay_ms(LINK_MS))).transpose()?;
    let (ipv6, inside6) = section.take("ipv6").map_or(Ok((false, None)), Item::ipv6)?;
    let (changed, ports) = edge::changes(&mut section, preset, &nat)?;
    let mut forwards = Vec::new();
    if let Some(item) = section.take("forward") {
        for item in item.list("a list such as `[{ outer = 8080, to = \"web\", port = 80 }]`")? {
            forwards.push(forward(names, item)?);
        }
    }
    let one_to_one = match section.take("one-to-one") {
        Some(item) => item
            .texts("the name of a host, or a list of them")?
            .into_iter()
            .map(|name| Ok(Spot { value: names.host(&name)?, span: name.span }))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let ipv6_only = preset == Preset::Nat64 && changed.is_none_or(|behaviour| behaviour.nat64);
    let fixed = !forwards.is_empty() || !one_to_one.is_empty();
    if ipv6_only && (inside.is_some() || !ports.is_empty() || fixed) {
        let expected = "neither `inside` nor a list of `ports` nor `forward` nor `one-to-one` for it";
        return Err(section.source.mistake(
            &nat.span,
            format!("a network behind `{preset}` has no IPv4"),
            expected,
        ));
    }
    section.finish()?;
    Ok(Network {
        name: name.value,
        span: name.span,
        behind,
        preset,
        changed,
        ports,
        inside,
        link,
        ipv6,
        inside6,
        forwards,
        one_to_one,
    })
}

fn forward(names: &Names<'_>, item: Item<'_>) -> Result<Forward, Mistake> {
    let mut section = item.section("a forwarded port")?;
    let outer = section.need("outer", "the port outside")?.port()?;
    let to = section.need("to", "the name of a host")?.text("the name of a host")?;
    let port = section.need("port", "the port of the host")?.port()?;
    let tcp = transport(&mut section)?;
    let span = section.span.clone();
    section.finish()?;
    Ok(Forward { span, tcp, outer, host: names.host(&to)?, port })
}

/// Whether it is about TCP, and not about UDP.
fn transport(section: &mut Section<'_>) -> Result<bool, Mistake> {
    section.take("transport").map_or(Ok(false), |item| item.one_of(&[("udp", false), ("tcp", true)]))
}

fn host(names: &Names<'_>, name: Spot<String>, item: Item<'_>) -> Result<Host, Mistake> {
    type Program = fn() -> Role;
    const RUNS: [(&str, Program); 3] = [
        ("peer", || {
            Role::Peer(Peer { servers: None, relay_only: false, withholds: Vec::new(), restarts: true })
        }),
        ("plain", || Role::Plain { port: PLAIN_PORT, tcp: false }),
        ("relay", || Role::Relay),
    ];
    let mut section = item.section("a host")?;
    let networks = match section.take("network") {
        Some(item) => {
            let written = item.texts("the name of a network, or a list of them")?;
            written.iter().map(|name| names.network(name)).collect::<Result<Vec<_>, _>>()?
        }
        None => {
            let expected = format!("`{INTERNET}`, or one of the networks");
            return Err(section.source.mistake(&name.span, "the host lacks `network`", expected));
        }
    };
    let addresses = section.take("address").map_or(Ok(Vec::new()), Item::addresses)?;
    let delay = if networks.first() == Some(&None) { 5 } else { 0 };
    let link = section.take("link").map(|item| link(item, Link::delay_ms(delay))).transpose()?;
    let runs = match section.take("runs") {
        Some(item) => item.one_of(&RUNS)?,
        None => {
            let expected = super::mistake::either(RUNS.map(|(name, _)| name));
            return Err(section.source.mistake(&name.span, "the host lacks `runs`", expected));
        }
    };
    let mut role = runs();
    match &mut role {
        Role::Peer(peer) => read_peer(names, &mut section, peer)?,
        Role::Plain { port, tcp } => {
            if let Some(item) = section.take("port") {
                *port = item.port()?;
            }
            *tcp = transport(&mut section)?;
        }
        Role::Relay => {}
    }
    section.finish()?;
    Ok(Host { name: name.value, networks, addresses, link, role })
}

fn read_peer(names: &Names<'_>, section: &mut Section<'_>, peer: &mut Peer) -> Result<(), Mistake> {
    use ice::CandidateKind::{Host, Relay, Srflx};
    if let Some(item) = section.take("servers") {
        let written = item.texts("servers such as \"stun:server\" or \"turn:server\"")?;
        peer.servers = Some(written.iter().map(|it| server(names, it)).collect::<Result<_, _>>()?);
    }
    if let Some(item) = section.take("policy") {
        peer.relay_only = item.one_of(&[("all", false), ("relay", true)])?;
    }
    if let Some(item) = section.take("withhold") {
        for item in item.list("a list of kinds of candidates")? {
            peer.withholds.push(item.one_of(&[("host", Host), ("srflx", Srflx), ("relay", Relay)])?);
        }
    }
    if let Some(item) = section.take("restarts") {
        peer.restarts = item.flag()?;
    }
    Ok(())
}

fn server(names: &Names<'_>, written: &Spot<String>) -> Result<Server, Mistake> {
    let expected = "`stun:HOST`, `turn:HOST`, `turn-tcp:HOST` or `turns:HOST`";
    let Some((scheme, host)) = written.value.split_once(':') else {
        return Err(names.source.mistake(
            &written.span,
            format!("`{}` is no server", written.value),
            expected,
        ));
    };
    let service = match scheme {
        "stun" => Service::Stun,
        "turn" => Service::Turn,
        "turn-tcp" => Service::TurnTcp,
        "turns" => Service::Turns,
        _ => {
            return Err(names.source.mistake(
                &written.span,
                format!("there are no `{scheme}` servers"),
                expected,
            ));
        }
    };
    let host = names.host(&Spot { value: host.to_owned(), span: written.span.clone() })?;
    Ok(Server { service, host })
}

fn signalling(item: Item<'_>) -> Result<Signalling, Mistake> {
    let mut section = item.section("signalling")?;
    let delay = section.take("delay").map_or(Ok(Duration::from_millis(20)), Item::duration)?;
    let trickle = section.take("trickle").map_or(Ok(true), Item::flag)?;
    section.finish()?;
    Ok(Signalling { delay, trickle })
}
