use std::net::SocketAddr;

/// An ICMP error that came back for a datagram, or the like of it from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Whom the datagram was for; port 0 where the system does not tell.
    pub to: SocketAddr,
    /// The type, of ICMPv4 or ICMPv6 by the family of the address.
    pub icmp_type: u8,
    /// The code.
    pub icmp_code: u8,
    /// The MTU of the next hop, if the datagram was too large for it; otherwise 0.
    pub mtu: u32,
}
