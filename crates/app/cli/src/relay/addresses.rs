//! Under which addresses the server is reached, and from which it relays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use turn::RelayAddress;
use turn::discovery::is_anycast;

use super::settings::Settings;
use crate::failure::{Failure, Kind};

#[derive(Debug)]
pub(crate) struct Addresses {
    /// Under which the server is reached, the best first. Never empty.
    pub(crate) names: Vec<IpAddr>,
    /// From which it relays. Never empty.
    pub(crate) relay: Vec<RelayAddress>,
}

impl Addresses {
    /// `public`: the addresses that others see, where they are not the machine's.
    pub(crate) fn find(settings: &Settings, public: &[IpAddr]) -> Result<Self, Failure> {
        let mut own: Vec<IpAddr> = Vec::new();
        // Who comes to an address that many servers share is told this one's own (RFC 8155 §6).
        for listen in settings.listen.iter().filter(|listen| !is_anycast(**listen)) {
            if !listen.is_unspecified() {
                own.push(*listen);
                continue;
            }
            let found = interfaces(*listen);
            // Of IPv6 there may be none: that is no mistake where IPv4 is listened on, too.
            let alone = settings.listen.len() == 1;
            own.extend(if found.is_empty() && alone { vec![loopback(*listen)] } else { found });
        }
        if own.is_empty() && settings.listen.iter().all(|listen| is_anycast(*listen)) {
            let message = format!(
                "{} is the address of all relays: --listen needs one of this machine's own beside it",
                settings.listen[0]
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        if own.is_empty() {
            own.push(loopback(settings.listen[0]));
        }
        for address in settings.listen.iter().chain(&own).filter(|address| !address.is_unspecified()) {
            if !is_ours(*address) {
                let message = format!(
                    "cannot listen: {address} is not an address of this machine; check --listen (`ip address` tells \
                     which it has; behind a one-to-one NAT the outer one goes to --public-ip)"
                );
                return Err(Failure::new(Kind::Server, message));
            }
        }
        let mut relay = one_of_each_family(&own);
        // A family whose address is translated is relayed from under the outer one.
        for public in public.iter().rev() {
            // Either the address is this machine's, or a one-to-one NAT in front of it translates.
            let inner = match is_ours(*public) {
                true => Some(*public),
                false => own.iter().copied().find(|address| address.is_ipv4() == public.is_ipv4()),
            };
            let bind = inner.ok_or_else(|| {
                let (family, all) = if public.is_ipv4() { ("IPv4", "0.0.0.0") } else { ("IPv6", "::") };
                let message = format!(
                    "--public-ip {public} needs an {family} address to listen on; use --listen {all}"
                );
                Failure::new(Kind::Usage, message)
            })?;
            relay.retain(|one| one.bind.is_ipv4() != public.is_ipv4());
            relay.insert(0, RelayAddress { bind, advertised: *public });
            own.retain(|address| address != public);
            own.insert(0, *public);
        }
        Ok(Self { names: own, relay })
    }
}

/// One address of each family is enough to relay from.
fn one_of_each_family(own: &[IpAddr]) -> Vec<RelayAddress> {
    let first = |v4: bool| own.iter().copied().find(|address| address.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten().map(RelayAddress::from).collect()
}

fn loopback(listen: IpAddr) -> IpAddr {
    if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// Whether a socket can be bound to the address.
pub(crate) fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// All addresses of this machine.
pub(crate) fn of_all_interfaces() -> impl Iterator<Item = IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip())
}

/// The addresses of this machine that others can reach, for a wildcard to listen on.
fn interfaces(listen: IpAddr) -> Vec<IpAddr> {
    let usable = |address: &IpAddr| match address {
        shared if is_anycast(*shared) => false,
        IpAddr::V4(v4) => listen.is_ipv4() && !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => listen.is_ipv6() && !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    of_all_interfaces().filter(usable).collect()
}
