//! Reads one expectation.

use super::events::target;
use super::mistake::{Mistake, instead};
use super::names::{Named, Names};
use super::plan::{Claim, Expectation, Plan, Role, Spotted, Wanted};
use super::tree::{Item, Section, Spot};

const VERBS: [&str; 6] = ["connected", "received", "lost", "translated", "mapped", "failed"];

/// Why a packet can be lost: words for what [`netsim::Cause`] says.
pub(crate) const CAUSES: [&str; 12] = [
    "filtered",
    "no-mapping",
    "blocked",
    "no-free-port",
    "no-hairpin",
    "no-route",
    "no-host",
    "no-socket",
    "link-down",
    "loss",
    "too-big",
    "asleep",
];

pub(crate) fn expectation(names: &Names<'_>, plan: &Plan, item: Item<'_>) -> Result<Expectation, Mistake> {
    let mut section = item.section("an expectation")?;
    let span = section.span.clone();
    let (verb, item) = section.take_verb(&VERBS)?;
    let line = names.source.mistake(&span, "", "").line;
    let claim = match verb {
        "connected" => connected(names, plan, &mut section, item)?,
        "received" => Claim::Received {
            text: item.text(TEXT)?.value,
            by: names.host(&section.need("by", HOST)?.text(HOST)?)?,
            within: section.take("before").map(Item::duration).transpose()?,
        },
        "lost" => lost(names, &mut section, item)?,
        "translated" => Claim::Translated {
            text: item.text(TEXT)?.value,
            to: target(names, plan, &section.need("to", ADDRESS)?.text(ADDRESS)?)?,
        },
        "mapped" => Claim::Mapped {
            host: plain(names, plan, &item.text(HOST)?)?,
            to: target(names, plan, &section.need("to", ADDRESS)?.text(ADDRESS)?)?,
        },
        _ => Claim::Failed {
            host: peer(names, plan, &item.text(HOST)?)?,
            because: section.take("because").map(|item| failure(names, item)).transpose()?,
            within: section.take("before").map(Item::duration).transpose()?,
        },
    };
    section.finish()?;
    Ok(Expectation { line, claim })
}

fn connected(
    names: &Names<'_>,
    plan: &Plan,
    section: &mut Section<'_>,
    item: Item<'_>,
) -> Result<Claim, Mistake> {
    const EXPECTED: &str = "two peers such as `[\"alice\", \"bob\"]`";
    let span = item.span.clone();
    let written =
        item.list(EXPECTED)?.into_iter().map(|item| item.text(HOST)).collect::<Result<Vec<_>, _>>()?;
    let hosts = written.iter().map(|name| peer(names, plan, name)).collect::<Result<Vec<_>, _>>()?;
    let &[a, b] = hosts.as_slice() else {
        return Err(names.source.mistake(&span, format!("these are {}", hosts.len()), EXPECTED));
    };
    let within = section.take("within").map(Item::duration).transpose()?;
    let at = section.take("at").map(Item::duration).transpose()?;
    let path = section.take("path").map(|item| item.one_of(&Wanted::NAMES)).transpose()?;
    Ok(Claim::Connected { hosts: [a, b], within, at, path })
}

fn lost(names: &Names<'_>, section: &mut Section<'_>, item: Item<'_>) -> Result<Claim, Mistake> {
    let text = item.text(TEXT)?.value;
    let at = match section.take("at") {
        Some(item) => Some(match names.named(&item.text("a network or a host")?)? {
            Named::Network(network) => Spotted::Network(network),
            Named::Host(host) => Spotted::Host(host),
        }),
        None => None,
    };
    let because = match section.take("because") {
        Some(item) => {
            let word = item.text("why it is lost")?;
            let known = CAUSES.iter().find(|known| **known == word.value);
            Some(*known.ok_or_else(|| {
                names.source.mistake(
                    &word.span,
                    format!("there is no cause `{}`", word.value),
                    instead(&word.value, &CAUSES),
                )
            })?)
        }
        None => None,
    };
    Ok(Claim::Lost { text, at, because })
}

/// The code of a failure, or of a verdict of the doctor's on it.
fn failure(names: &Names<'_>, item: Item<'_>) -> Result<String, Mistake> {
    let word = item.text("the code of a failure, or of a verdict")?;
    let codes: Vec<&str> = doctor::Code::ALL.iter().map(|code| code.as_str()).collect();
    let layered = ["ice-", "dtls-", "sctp-"].iter().any(|layer| word.value.starts_with(layer));
    if layered || codes.contains(&word.value.as_str()) {
        return Ok(word.value);
    }
    let what = format!("there is no failure or verdict `{}`", word.value);
    Err(names.source.mistake(&word.span, what, instead(&word.value, &codes)))
}

fn peer(names: &Names<'_>, plan: &Plan, name: &Spot<String>) -> Result<usize, Mistake> {
    let host = names.host(name)?;
    match plan.hosts[host].role {
        Role::Peer(_) => Ok(host),
        _ => Err(names.source.mistake(
            &name.span,
            format!("`{}` is no peer", name.value),
            "a host with `runs = \"peer\"`",
        )),
    }
}

fn plain(names: &Names<'_>, plan: &Plan, name: &Spot<String>) -> Result<usize, Mistake> {
    let host = names.host(name)?;
    match plan.hosts[host].role {
        Role::Plain { .. } => Ok(host),
        _ => Err(names.source.mistake(
            &name.span,
            format!("`{}` is not plain", name.value),
            "a host with `runs = \"plain\"`",
        )),
    }
}

const HOST: &str = "the name of a host";
const TEXT: &str = "the text of the message";
const ADDRESS: &str = "an address such as \"home:57433\", a box's name and its outer port";
