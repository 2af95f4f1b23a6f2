//! The addresses of this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use ice::{Interface, InterfaceKind};

/// Flags of `/proc/net/if_inet6` (`IFA_F_…`).
const TEMPORARY: u8 = 0x01;
const UNUSABLE: u8 = 0x08 | 0x40; // duplicate, tentative

/// The addresses of this machine that a candidate can be made of, loopback included.
///
/// Interfaces that are down and link-local IPv6 addresses, which mean nothing without their interface, are left out.
pub fn interfaces() -> Vec<Interface> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the interfaces");
        Vec::new()
    });
    let flags = flags_of_ipv6();
    let routes = [default_source("192.0.2.1:9"), default_source("[2001:db8::1]:9")];
    let mut interfaces = Vec::new();
    for (index, one) in found.into_iter().enumerate() {
        let address = one.ip();
        let flags = match address {
            IpAddr::V6(address) => flags.get(&address).copied().unwrap_or(0),
            IpAddr::V4(_) => 0,
        };
        let down = matches!(
            one.oper_status,
            if_addrs::IfOperStatus::Down
                | if_addrs::IfOperStatus::NotPresent
                | if_addrs::IfOperStatus::LowerLayerDown
        );
        let unusable = address.is_unspecified() || address.is_multicast() || flags & UNUSABLE != 0;
        if down && !address.is_loopback() || unusable || is_link_local(address) {
            continue;
        }
        let route = routes[usize::from(address.is_ipv6())];
        interfaces.push(Interface {
            kind: kind(&one.name, address, one.is_p2p),
            metric: index as u32,
            default_route: route.is_none_or(|source| source == address),
            temporary: flags & TEMPORARY != 0,
            ..Interface::new(&one.name, address)
        });
    }
    interfaces
}

/// IPv6 only: `169.254.0.0/16` is what a network of two machines and a cable has.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The address of a literal's route.
fn default_source(destination: &str) -> Option<IpAddr> {
    source_for(destination.parse().ok()?)
}

/// The address of ours that packets to `destination` leave with, if there is a way there at all. Nothing is sent.
pub fn source_for(destination: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What sort of interface it is, judged by its name, as every system has its habits.
fn kind(name: &str, address: IpAddr, point_to_point: bool) -> InterfaceKind {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if address.is_loopback() {
        InterfaceKind::Loopback
    } else if starts(&[
        "docker", "br-", "virbr", "veth", "vmnet", "vboxnet", "lxc", "lxd", "cni", "flannel", "podman",
    ]) {
        InterfaceKind::Virtual
    } else if starts(&["wwan", "rmnet", "ccmni", "pdp_ip"]) {
        InterfaceKind::Cellular
    } else if point_to_point
        || starts(&["tun", "tap", "wg", "utun", "ppp", "ipsec", "tailscale", "zt", "nebula"])
    {
        InterfaceKind::Vpn
    } else if starts(&["wl", "wifi", "ath", "ra"]) {
        InterfaceKind::Wireless
    } else if starts(&["en", "eth", "em"]) && cfg!(target_os = "linux") {
        InterfaceKind::Wired
    } else {
        InterfaceKind::Unknown
    }
}

/// What Linux knows about its IPv6 addresses; nothing elsewhere.
fn flags_of_ipv6() -> BTreeMap<Ipv6Addr, u8> {
    std::fs::read_to_string("/proc/net/if_inet6").map(|table| parse_if_inet6(&table)).unwrap_or_default()
}

/// Lines of `address index prefix scope flags name`, the numbers in hexadecimal.
fn parse_if_inet6(table: &str) -> BTreeMap<Ipv6Addr, u8> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        Some((Ipv6Addr::from(address), flags))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address() {
        let all = interfaces();
        let loopback = all.iter().find(|one| one.address == IpAddr::from([127, 0, 0, 1])).expect("lo is up");
        assert_eq!(loopback.kind, InterfaceKind::Loopback);
        assert!(!all.iter().any(|one| is_link_local(one.address)));
    }

    #[test]
    fn kinds_by_name() {
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(kind("wlp3s0", address, false), InterfaceKind::Wireless);
        assert_eq!(kind("br-1f2e", address, false), InterfaceKind::Virtual);
        assert_eq!(kind("wg0", address, false), InterfaceKind::Vpn);
        assert_eq!(kind("anything", address, true), InterfaceKind::Vpn);
        assert_eq!(kind("mystery", address, false), InterfaceKind::Unknown);
    }

    #[test]
    fn the_table_of_linux_is_read() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000005 02 40 00 01     eth0\nnonsense\n";
        let flags = parse_if_inet6(table);
        assert_eq!(flags.len(), 2);
        assert_eq!(flags[&"2001:db8::5".parse::<Ipv6Addr>().unwrap()] & TEMPORARY, TEMPORARY);
    }
}
