//! What cannot be, although every word of it is right: circles, impossible addresses, calls to nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netsim::Prefix;

use super::mistake::Mistake;
use super::names::Names;
use super::plan::{Deed, Forward, Host, Network, Plan};
use super::tree::Spot;

/// The networks from the internet inwards; a circle is a mistake.
pub(crate) fn order(names: &Names<'_>, networks: &[Network]) -> Result<Vec<usize>, Mistake> {
    let mut order = Vec::new();
    for start in 0..networks.len() {
        let mut way = vec![start];
        while let Some(outside) = networks[*way.last().expect("it starts with one")].behind {
            if let Some(at) = way.iter().position(|network| *network == outside) {
                let mut circle: Vec<&str> = way[at..].iter().map(|it| &*networks[*it].name).collect();
                circle.push(&networks[outside].name);
                let what =
                    format!("these networks are behind each other in a circle: {}", circle.join(" → "));
                return Err(names.source.mistake(&networks[start].span, what, "a way to the internet"));
            }
            way.push(outside);
        }
        for network in way.into_iter().rev() {
            if !order.contains(&network) {
                order.push(network);
            }
        }
    }
    Ok(order)
}

/// Whether the box of a network gives its hosts other addresses outside.
fn translates(network: &Network) -> bool {
    network.changed.map_or_else(|| network.preset.translates(), |behaviour| behaviour.translates())
}

fn overlap(a: Prefix, b: Prefix) -> bool {
    a.contains(b.base()) || b.contains(a.base())
}

pub(crate) fn addresses(names: &Names<'_>, networks: &[Network], hosts: &[Host]) -> Result<(), Mistake> {
    for (at, network) in networks.iter().enumerate() {
        if let Some(inside6) = &network.inside6 {
            ipv6_range(names, &networks[..at], inside6)?;
        }
        let Some(inside) = &network.inside else { continue };
        let private = is_private(inside.value.base());
        if translates(network) && !private {
            let what = format!("{} is public, and the box translates", inside.value);
            return Err(names.source.mistake(
                &inside.span,
                what,
                "a private range such as \"192.168.0.0/24\"",
            ));
        }
        if !translates(network) && !is_public(inside.value.base()) {
            let what = format!("{} is not public, and the box does not translate", inside.value);
            return Err(names.source.mistake(&inside.span, what, "a public range such as \"5.200.0.0/24\""));
        }
        let outside = network.behind.and_then(|outside| networks[outside].inside.as_ref());
        if let Some(outside) = outside
            && overlap(inside.value, outside.value)
        {
            let what = format!("{} is also outside of this network's box", inside.value);
            return Err(names.source.mistake(&inside.span, what, "a range of its own"));
        }
    }
    for (at, host) in hosts.iter().enumerate() {
        let Some(address) = host.addresses.first() else { continue };
        if host.networks.len() != 1 {
            let what = format!("`{}` is on {} networks", host.name, host.networks.len());
            return Err(names.source.mistake(
                &address.span,
                what,
                "an address only for a host on one network",
            ));
        }
        for (number, address) in host.addresses.iter().enumerate() {
            address_fits(names, networks, host.networks[0], address)?;
            let has = |addresses: &[Spot<IpAddr>]| addresses.iter().any(|it| it.value == address.value);
            let same = |other: &&Host| other.networks == host.networks && has(&other.addresses);
            let other = hosts[..at].iter().find(same).or((has(&host.addresses[..number])).then_some(host));
            if let Some(other) = other {
                let what = format!("`{}` has {} already", other.name, address.value);
                return Err(names.source.mistake(&address.span, what, "an address that nobody has"));
            }
        }
    }
    Ok(())
}

/// Complains about IPv6 addresses that a network cannot have: they are not translated.
fn ipv6_range(names: &Names<'_>, others: &[Network], range: &Spot<Prefix>) -> Result<(), Mistake> {
    let other = |other: &&Network| other.inside6.as_ref().is_some_and(|it| overlap(it.value, range.value));
    let (what, expected) = if let Some(other) = others.iter().find(other) {
        (format!("`{}` has {} already", other.name, range.value), "a range of its own")
    } else if !is_public(range.value.base()) || GIVEN_IPV6.contains(&first_segment(range.value.base())) {
        (format!("{} is not to be had", range.value), "a public range such as \"2a0a:1::/64\"")
    } else {
        return Ok(());
    };
    Err(names.source.mistake(&range.span, what, expected))
}

/// Out of 2a00::/16 the lab gives ranges to networks.
const GIVEN_IPV6: [u16; 1] = [0x2a00];

fn first_segment(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) => v6.segments()[0],
    }
}

/// Complains about an address that no host of that network can have.
pub(crate) fn address_fits(
    names: &Names<'_>,
    networks: &[Network],
    network: Option<usize>,
    address: &Spot<IpAddr>,
) -> Result<(), Mistake> {
    let wrong = |what: String, expected: &str| Err(names.source.mistake(&address.span, what, expected));
    let v4 = match address.value {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => return ipv6_fits(names, networks, network, &address.span, v6),
    };
    let Some(index) = network else {
        if !is_public(address.value) {
            return wrong(format!("{v4} cannot be on the internet"), "a public address such as \"5.1.2.3\"");
        }
        // Out of these the lab gives addresses to boxes, hosts and public networks.
        let given = v4.octets()[0] == 5 && (v4.octets()[1] == 0 || v4.octets()[1] >= 128);
        return match given {
            true => {
                wrong(format!("{v4} is one that the lab gives to others"), "an address such as \"5.1.2.3\"")
            }
            false => Ok(()),
        };
    };
    let network = &networks[index];
    let Some(inside) = &network.inside else {
        let what = format!("nobody said which addresses `{}` has inside", network.name);
        return wrong(what, "`inside = \"192.168.0.0/24\"`, or the like, in the network's section");
    };
    if !inside.value.contains(address.value) {
        let expected = format!("an address out of {}", inside.value);
        return wrong(format!("{v4} is not in `{}`", network.name), &expected);
    }
    let number = v4.to_bits()
        - match inside.value.base() {
            IpAddr::V4(base) => base.to_bits(),
            IpAddr::V6(_) => 0,
        };
    let boxes = networks.iter().filter(|inner| inner.behind == Some(index)).count() as u32 * BOX_ADDRESSES;
    if (FIRST_GIVEN..FIRST_GIVEN + boxes).contains(&number) {
        return wrong(format!("{v4} belongs to a box"), "an address further up");
    }
    if number == PROXY && network.preset.boxes().iter().any(|it| it.proxy) {
        return wrong(format!("{v4} is the proxy's"), "another address");
    }
    let last = inside.value.address(number + 1).is_none();
    if number == 0 || last {
        let which = if last { "broadcast" } else { "network's own" };
        return wrong(format!("{v4} is the {which} address"), "the address of a host");
    }
    Ok(())
}

/// The same for IPv6, which is not translated.
fn ipv6_fits(
    names: &Names<'_>,
    networks: &[Network],
    network: Option<usize>,
    span: &std::ops::Range<usize>,
    address: Ipv6Addr,
) -> Result<(), Mistake> {
    let wrong = |what: String, expected: &str| Err(names.source.mistake(span, what, expected));
    let Some(network) = network.map(|network| &networks[network]) else {
        let taken = |network: &Network| {
            network.inside6.as_ref().filter(|inside6| inside6.value.contains(address.into())).is_some()
        };
        if let Some(network) = networks.iter().find(|network| taken(network)) {
            return wrong(format!("{address} is in `{}`", network.name), "an address that nobody has");
        }
        let possible = is_public(address.into()) && !GIVEN_IPV6.contains(&address.segments()[0]);
        return match possible {
            true => Ok(()),
            false => {
                wrong(format!("{address} cannot be on the internet"), "a public address such as \"2a0a::7\"")
            }
        };
    };
    let Some(inside6) = &network.inside6 else {
        let what = format!("nobody said which IPv6 addresses `{}` has", network.name);
        return wrong(what, "`ipv6 = \"2a0a:1::/64\"`, or the like, in the network's section");
    };
    if !inside6.value.contains(address.into()) {
        let expected = format!("an address out of {}", inside6.value);
        return wrong(format!("{address} is not in `{}`", network.name), &expected);
    }
    if inside6.value.base() == address {
        return wrong(format!("{address} is that of all routers"), "the address of a host");
    }
    Ok(())
}

/// The number of an HTTP proxy in its network.
const PROXY: u32 = 3;
/// Addresses are given out from this number on.
const FIRST_GIVEN: u32 = 10;
/// A box has at most so many outer addresses, also after it got others once.
pub(crate) const BOX_ADDRESSES: u32 = 8;

/// Whether all hosts that a network ever has find an address there.
pub(crate) fn room(names: &Names<'_>, plan: &Plan) -> Result<(), Mistake> {
    for (index, network) in plan.networks.iter().enumerate() {
        let hosts = plan.hosts.iter().filter(|host| host.networks.contains(&Some(index))).count();
        let boxes = plan.networks.iter().filter(|inner| inner.behind == Some(index)).count();
        let more = |event: &&super::plan::Event| match event.deed {
            Deed::Move { to, .. } => to == Some(index),
            Deed::Readdress { network, .. } => network == Some(index),
            Deed::Renumber { network } => plan.networks[network].behind == Some(index),
            _ => false,
        };
        let more = plan.events.iter().filter(more).count();
        let wanted = (hosts + boxes * BOX_ADDRESSES as usize + more * BOX_ADDRESSES as usize) as u32;
        let there = match &network.inside {
            Some(inside) => inside.value.address(FIRST_GIVEN + wanted + 1).is_some(),
            None => FIRST_GIVEN + wanted < 250,
        };
        if !there {
            let what = format!("`{}` has no room for {hosts} hosts and {boxes} boxes", network.name);
            return Err(names.source.mistake(
                &network.span,
                what,
                "fewer of them, or a larger range `inside`",
            ));
        }
    }
    Ok(())
}

fn is_private(address: IpAddr) -> bool {
    let IpAddr::V4(v4) = address else { return false };
    v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
}

fn is_public(address: IpAddr) -> bool {
    let v4 = match address {
        IpAddr::V4(v4) => v4,
        // 2000::/3 without Teredo and what was once for tests (2001::/23), documentation and 6to4.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            let special = first == 0x2001 && (second < 0x200 || second == 0xdb8) || first == 0x2002;
            return first & 0xe000 == 0x2000 && !special && first != 0x3fff;
        }
    };
    let reserved = v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified();
    let future = v4.octets()[0] >= 240 || v4.octets()[0] == 0 || v4 == Ipv4Addr::BROADCAST;
    !(reserved || future || v4.is_documentation() || is_private(address))
}

/// Static mappings: of ports, and of hosts one to one.
pub(crate) fn statics(names: &Names<'_>, plan: &Plan) -> Result<(), Mistake> {
    for (at, network) in plan.networks.iter().enumerate() {
        for (number, forward) in network.forwards.iter().enumerate() {
            inner_end(names, plan, at, forward.host, &forward.span, "forward")?;
            let same = |other: &Forward| (other.outer, other.tcp) == (forward.outer, forward.tcp);
            if network.forwards[..number].iter().any(same) {
                let what = format!("port {} is forwarded twice", forward.outer);
                return Err(names.source.mistake(&forward.span, what, "each outer port once"));
            }
        }
        for (number, host) in network.one_to_one.iter().enumerate() {
            inner_end(names, plan, at, host.value, &host.span, "one-to-one")?;
            let wrong = |what: String, expected: &str| Err(names.source.mistake(&host.span, what, expected));
            let others = plan.networks[..at].iter().flat_map(|other| &other.one_to_one);
            if others.chain(&network.one_to_one[..number]).any(|other| other.value == host.value) {
                let what = format!("`{}` has an outer address already", plan.hosts[host.value].name);
                return wrong(what, "each host once");
            }
            let own = network.changed.map_or(1, |behaviour| u32::from(behaviour.pool));
            if own + number as u32 >= BOX_ADDRESSES {
                let what = format!("there is no outer address left for `{}`", plan.hosts[host.value].name);
                return wrong(what, &format!("a `pool` and hosts of {BOX_ADDRESSES} addresses together"));
            }
        }
    }
    Ok(())
}

/// Complains about a host to which a network's box can map nothing.
fn inner_end(
    names: &Names<'_>,
    plan: &Plan,
    at: usize,
    host: usize,
    span: &std::ops::Range<usize>,
    key: &str,
) -> Result<(), Mistake> {
    let (network, host) = (&plan.networks[at], &plan.hosts[host]);
    let wrong = |what: String, expected: &str| Err(names.source.mistake(span, what, expected));
    if !translates(network) {
        let what = format!("the box of `{}` does not translate", network.name);
        return wrong(what, &format!("no `{key}` here: its hosts can be reached anyway"));
    }
    if !host.networks.contains(&Some(at)) {
        return wrong(format!("`{}` is not on `{}`", host.name, network.name), "a host that is");
    }
    if !host.addresses.is_empty() && !host.addresses.iter().any(|address| address.value.is_ipv4()) {
        return wrong(format!("`{}` has no IPv4 address", host.name), "a host that has");
    }
    Ok(())
}

/// Who is called must not be in another call, and whoever sends has somebody to send to.
pub(crate) fn events(names: &Names<'_>, plan: &Plan) -> Result<(), Mistake> {
    if let Some(late) = plan.events.iter().find(|event| event.at > plan.limit) {
        return Err(names.source.mistake(
            &late.span,
            "by then it is over",
            "a time before the `limit`, or a longer `limit`",
        ));
    }
    let mut partner: Vec<Option<usize>> = vec![None; plan.hosts.len()];
    for event in &plan.events {
        let Deed::Call { from, to } = event.deed else { continue };
        if from == to {
            let what = format!("`{}` calls itself", plan.hosts[from].name);
            return Err(names.source.mistake(&event.span, what, "another peer"));
        }
        for (one, other) in [(from, to), (to, from)] {
            if partner[one].is_some_and(|before| before != other) {
                let what = format!("`{}` is in another call already", plan.hosts[one].name);
                return Err(names.source.mistake(&event.span, what, "a host for each end of each call"));
            }
            partner[one] = Some(other);
        }
    }
    for event in &plan.events {
        let lonely = match &event.deed {
            Deed::Send { from, to: None, .. } => Some(*from),
            Deed::Restart { host } => Some(*host),
            _ => None,
        };
        if let Some(host) = lonely.filter(|host| partner[*host].is_none()) {
            let what = format!("`{}` is in no call", plan.hosts[host].name);
            return Err(names.source.mistake(&event.span, what, "an event `call` for it"));
        }
    }
    Ok(())
}
