//! Who is where: all on loopback, with an address for each part, so that no two draw the same port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4));
pub const USER: &str = "bench";
pub const PASSWORD: &str = "not-a-secret-here";
pub const REALM: &str = "example.org";
/// Ports that servers relay from: more than there are allocations at a time.
pub const RELAY_PORTS: std::ops::RangeInclusive<u16> = 20_000..=60_000;
/// Core of the server.
pub const SERVER_CORE: usize = 0;
/// Core of the generator.
pub const GENERATOR_CORE: usize = 1;

/// Any port of `ip`.
pub fn any(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}
