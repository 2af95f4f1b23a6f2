//! Who is where: all on loopback, with an address for each part, so that no two draw the same port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4));
pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "not-a-secret-here";
pub(crate) const REALM: &str = "example.org";
/// Ports that servers relay from: more than there are allocations at a time.
pub(crate) const RELAY_PORTS: std::ops::RangeInclusive<u16> = 20_000..=60_000;
/// Core of the server.
pub(crate) const SERVER_CORE: usize = 0;
/// Core of the generator.
pub(crate) const GENERATOR_CORE: usize = 1;

/// Any port of `ip`.
pub(crate) fn any(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}
