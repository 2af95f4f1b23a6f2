//! Under which addresses the server is reached, and from which it relays.

use std::net::{IpAddr, UdpSocket};

use turn::RelayAddress;

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
    pub(crate) fn find(settings: &Settings) -> Result<Self, Failure> {
        let mut own = if settings.listen.is_unspecified() {
            interfaces(settings.listen)
        } else {
            vec![settings.listen]
        };
        if own.is_empty() {
            own.push(loopback(settings.listen));
        }
        let Some(public) = settings.public_ip else {
            let relay = one_of_each_family(&own);
            return Ok(Self { names: own, relay });
        };
        // Either the address is this machine's, or a one-to-one NAT in front of it translates.
        let bind = if is_ours(public) {
            Some(public)
        } else {
            own.iter().copied().find(|address| address.is_ipv4() == public.is_ipv4())
        };
        let bind = bind.ok_or_else(|| {
            let family = if public.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!(
                "--public-ip {public} needs an {family} address to listen on; use --listen 0.0.0.0 or ::"
            );
            Failure::new(Kind::Usage, message)
        })?;
        own.retain(|address| *address != public);
        own.insert(0, public);
        Ok(Self { names: own, relay: vec![RelayAddress { bind, advertised: public }] })
    }
}

/// One address of each family is enough to relay from.
fn one_of_each_family(own: &[IpAddr]) -> Vec<RelayAddress> {
    let first = |v4: bool| own.iter().copied().find(|address| address.is_ipv4() == v4);
    [first(true), first(false)].into_iter().flatten().map(RelayAddress::from).collect()
}

fn loopback(listen: IpAddr) -> IpAddr {
    if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() }
}

/// Whether a socket can be bound to the address.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The addresses of this machine that others can reach, for a wildcard to listen on.
fn interfaces(listen: IpAddr) -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => listen.is_ipv6() && !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    found.iter().map(if_addrs::Interface::ip).filter(usable).collect()
}
