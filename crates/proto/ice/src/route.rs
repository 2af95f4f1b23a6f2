use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sansio::Path;

use crate::relay::RelayId;

/// The way of a packet, as ICE sees it: from one of our bases to an address of the other side.
///
/// Below ICE there are only real sockets; above it no addresses at all. In between, a packet through a TURN
/// server has the server's path outside and the peer's address inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    /// From one of our sockets.
    Direct(Path),
    /// From one of our relayed addresses.
    Relayed {
        /// The allocation.
        relay: RelayId,
        /// The address of the other side.
        peer: SocketAddr,
    },
}

impl Route {
    /// The address of the other side.
    pub(crate) fn remote(&self) -> SocketAddr {
        match self {
            Self::Direct(path) => path.remote,
            Self::Relayed { peer, .. } => *peer,
        }
    }

    /// The allocation that it leaves from, if it does.
    pub(crate) fn relay(&self) -> Option<RelayId> {
        match self {
            Self::Direct(_) => None,
            Self::Relayed { relay, .. } => Some(*relay),
        }
    }

    /// Whether its packets leave from this very socket of ours, without a relay.
    pub(crate) fn leaves_from(&self, local: SocketAddr) -> bool {
        matches!(self, Self::Direct(path) if path.local == local)
    }
}

/// An address without the flow label and scope that sockets may add, and unmapped, so that equal ones compare
/// equal.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    let address = sansio::unmapped(address);
    SocketAddr::new(address.ip(), address.port())
}

/// Whether a check may go to `address` at all, whoever says so.
pub(crate) fn may_be_peer(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether packets from `local` can reach `remote`, by family and scope.
pub(crate) fn may_be_paired(local: IpAddr, remote: IpAddr) -> bool {
    let same_family = local.is_ipv4() == remote.is_ipv4();
    // RFC 8445 §6.1.2.2: "IPv6 link-local addresses MUST NOT be paired with other than link-local addresses."
    // Loopback likewise, so that nobody has us poke at services of this machine.
    same_family
        && is_link_local_v6(local) == is_link_local_v6(remote)
        && local.is_loopback() == remote.is_loopback()
}

/// `fe80::/10`.
pub(crate) fn is_link_local_v6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// Addresses that RFC 8445 §5.1.1.1 keeps from being host candidates, and those that no socket can be bound to.
pub(crate) fn may_be_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => {
            let site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
            let v4_compatible = v6.segments()[..6] == [0; 6] && v6 != Ipv6Addr::LOCALHOST;
            // Link-local addresses need a scope, which an address alone does not have.
            !v6.is_unspecified()
                && !v6.is_multicast()
                && !site_local
                && !v4_compatible
                && !is_link_local_v6(ip)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_check_goes_where_no_peer_can_be() {
        for (address, may) in [
            ("192.0.2.1:5", true),
            ("10.0.0.1:5", true),
            ("[2001:db8::1]:5", true),
            ("192.0.2.1:0", false),
            ("0.0.0.0:5", false),
            ("0.1.2.3:5", false),
            ("255.255.255.255:5", false),
            ("224.0.0.1:5", false),
            ("[::]:5", false),
            ("[ff02::1]:5", false),
        ] {
            assert_eq!(may_be_peer(address.parse().unwrap()), may, "{address}");
        }
    }

    #[test]
    fn only_addresses_that_can_reach_each_other_are_paired() {
        for (local, remote, may) in [
            ("10.0.0.1", "192.0.2.1", true),
            ("10.0.0.1", "2001:db8::1", false),
            ("fe80::1", "fe80::2", true),
            ("fe80::1", "2001:db8::1", false),
            ("10.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(
                may_be_paired(local.parse().unwrap(), remote.parse().unwrap()),
                may,
                "{local} {remote}"
            );
        }
    }

    #[test]
    fn some_addresses_are_never_host_candidates() {
        for (ip, may) in [
            ("10.0.0.1", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("fec0::1", false),
            ("fe80::1", false),
            ("::10.0.0.1", false),
            ("::", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(may_be_host(ip.parse().unwrap()), may, "{ip}");
        }
    }
}
