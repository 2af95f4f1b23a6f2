//! Reads how the box of a network behaves, where that is not as its preset does.

use netsim::{Dependence, Hairpin, NatBehaviour, Pooling, PortAssignment, Preset};

use super::check::BOX_ADDRESSES;
use super::mistake::Mistake;
use super::tree::{Item, Section, Spot};

const DEPENDENCE: [(&str, Dependence); 3] = [
    ("endpoint-independent", Dependence::EndpointIndependent),
    ("address-dependent", Dependence::AddressDependent),
    ("address-and-port-dependent", Dependence::AddressAndPortDependent),
];

/// What a network's section changes about its preset's box, and the outer ports that it names.
pub(crate) fn changes(
    section: &mut Section<'_>,
    preset: Preset,
    nat: &Spot<String>,
) -> Result<(Option<NatBehaviour>, Vec<u16>), Mistake> {
    let boxes = preset.boxes();
    let original = boxes.last().expect("a preset has a box").behaviour;
    let mut behaviour = original;
    let mut ports = Vec::new();
    if let Some(item) = section.take("mapping") {
        behaviour.mapping = Some(item.one_of(&DEPENDENCE)?);
    }
    if let Some(item) = section.take("filtering") {
        behaviour.filtering = Some(item.one_of(&DEPENDENCE)?);
    }
    if let Some(item) = section.take("ports") {
        if item.is_list() {
            ports = item.list("a list of ports")?.into_iter().map(Item::port).collect::<Result<_, _>>()?;
        } else {
            behaviour.ports = item.one_of(&[
                ("preserving", PortAssignment::Preserving),
                ("overloading", PortAssignment::Overloading),
                ("sequential", PortAssignment::Sequential),
                ("random", PortAssignment::Random),
                ("parity", PortAssignment::Parity),
                ("contiguous", PortAssignment::Contiguous),
            ])?;
        }
    }
    if let Some(item) = section.take("hairpin") {
        let known =
            [("none", Hairpin::None), ("external", Hairpin::External), ("internal", Hairpin::Internal)];
        behaviour.hairpin = item.one_of(&known)?;
    }
    pool(section, &mut behaviour, preset, &ports)?;
    if let Some(item) = section.take("inbound-refresh") {
        behaviour.refreshed_by_inbound = item.flag()?;
    }
    timeouts(section, &mut behaviour)?;
    if (behaviour != original || !ports.is_empty()) && boxes.len() > 1 {
        let what = format!("`{preset}` is {} boxes, which cannot be changed here", boxes.len());
        return Err(section.source.mistake(
            &nat.span,
            what,
            "a preset of one box, or a network for each box (`behind`)",
        ));
    }
    Ok(((behaviour != original).then_some(behaviour), ports))
}

/// How many outer addresses there are, and who gets which.
fn pool(
    section: &mut Section<'_>,
    behaviour: &mut NatBehaviour,
    preset: Preset,
    ports: &[u16],
) -> Result<(), Mistake> {
    let translates = behaviour.translates();
    for key in ["pool", "pooling"] {
        let Some(item) = section.take(key) else { continue };
        if !translates {
            let what = format!("the box of `{preset}` does not translate");
            return Err(item.wrong(what, format!("no `{key}` here, or a `mapping`")));
        }
        if key == "pooling" {
            let known = [("paired", Pooling::Paired), ("arbitrary", Pooling::Arbitrary)];
            behaviour.pooling = item.one_of(&known)?;
            continue;
        }
        if !ports.is_empty() {
            let expected = "a rule such as `ports = \"random\"`, or no `pool`";
            return Err(item.wrong("a list of `ports` is for one outer address", expected));
        }
        behaviour.pool = item.number(1..=u64::from(BOX_ADDRESSES))? as u8;
    }
    Ok(())
}

/// How long mappings live: of UDP by `timeout`, of everything by `timeouts`.
fn timeouts(section: &mut Section<'_>, behaviour: &mut NatBehaviour) -> Result<(), Mistake> {
    let short = section.take("timeout").map(Item::duration).transpose()?;
    let long = section.take("timeouts").map(|item| item.section("the timeouts")).transpose()?;
    if let Some(udp) = short {
        behaviour.udp_timeout = udp;
    }
    let mut unanswered = None;
    if let Some(mut long) = long {
        if let Some(item) = long.take("udp") {
            if short.is_some() {
                return Err(item.wrong("`timeout` has said that already", "one of the two"));
            }
            behaviour.udp_timeout = item.duration()?;
        }
        if let Some(item) = long.take("unanswered") {
            let span = item.span.clone();
            unanswered = Some(Spot { value: item.duration()?, span });
        }
        for (key, timeout) in [
            ("tcp", &mut behaviour.tcp_timeout),
            ("transitory", &mut behaviour.tcp_transitory_timeout),
            ("icmp", &mut behaviour.icmp_timeout),
        ] {
            if let Some(item) = long.take(key) {
                *timeout = item.duration()?;
            }
        }
        if let Some(spot) = &unanswered
            && spot.value > behaviour.udp_timeout
        {
            let expected = "as long as `udp` at most";
            return Err(long.source.mistake(&spot.span, "this is longer than with an answer", expected));
        }
        long.finish()?;
    }
    behaviour.udp_unanswered_timeout = match unanswered {
        Some(spot) => spot.value,
        None => behaviour.udp_unanswered_timeout.min(behaviour.udp_timeout),
    };
    Ok(())
}
