use std::net::IpAddr;

use crate::{CandidateKind, Interface};

/// The greatest candidate priority (RFC 8445 §5.1.2).
pub(crate) const MAX_PRIORITY: u32 = (1 << 31) - 1;
/// How many ranks and servers [`local_preference`] keeps apart.
pub(crate) const MAX_RANKS: usize = 128;

/// What a candidate is worth (RFC 8445 §5.1.2.1), for component 1.
pub(crate) fn candidate_priority(kind: CandidateKind, local_preference: u16) -> u32 {
    // RFC 8445 §5.1.2.2 recommends these.
    let type_preference: u32 = match kind {
        CandidateKind::Host => 126,
        CandidateKind::Prflx => 110,
        CandidateKind::Srflx => 100,
        CandidateKind::Relay => 0,
    };
    (type_preference << 24) + (u32::from(local_preference) << 8) + (256 - 1)
}

/// The local preference of a candidate on the interface address of `rank`, from the server at place `server`
/// in the configuration; `class` is 0 but for relayed candidates by TCP (1) and TLS (2).
///
/// Different arguments give different values, as RFC 8445 §5.1.2.1 demands within a candidate type.
pub(crate) fn local_preference(class: usize, rank: usize, server: usize) -> u16 {
    let cost = (class.min(3) << 14) + (rank.min(MAX_RANKS - 1) << 7) + server.min(MAX_RANKS - 1);
    (65535 - cost) as u16
}

/// By how much [`local_preference`] changes with the rank.
pub(crate) fn rank_difference(old: usize, new: usize) -> i32 {
    i32::from(local_preference(0, new, 0)) - i32::from(local_preference(0, old, 0))
}

/// What a pair is worth (RFC 8445 §6.1.2.3): `controlling` and `controlled` are the priorities of the
/// candidates of the controlling and of the controlled agent.
pub(crate) fn pair_priority(controlling: u32, controlled: u32) -> u64 {
    let g = u64::from(controlling.min(MAX_PRIORITY));
    let d = u64::from(controlled.min(MAX_PRIORITY));
    (g.min(d) << 32) + 2 * g.max(d) + u64::from(g > d)
}

/// The order in which interface addresses are preferred: indices into `interfaces`, the best first.
///
/// RFC 8421 §4: addresses of both families are intermingled, so that an IPv4 address follows after every few
/// IPv6 addresses; §3: unreliable interfaces come after all reliable ones, not intermingled with them.
pub(crate) fn order(interfaces: &[Interface]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..interfaces.len()).collect();
    // RFC 6724 §5, rule 7: temporary addresses before permanent ones.
    order.sort_by_key(|&at| {
        let interface = &interfaces[at];
        (reliability(interface), !interface.default_route, interface.metric, !interface.temporary)
    });
    let mut mingled = Vec::with_capacity(order.len());
    for class in order.chunk_by(|&a, &b| reliability(&interfaces[a]) == reliability(&interfaces[b])) {
        let (mut v4, mut v6): (Vec<usize>, Vec<usize>) =
            class.iter().partition(|&&at| interfaces[at].address.is_ipv4());
        // Hi = (N_4 + N_6) / N_4 (RFC 8421 §4); the lists are used from their ends.
        let head_start = (v4.len() + v6.len()) / v4.len().max(1);
        v4.reverse();
        v6.reverse();
        while !(v4.is_empty() && v6.is_empty()) {
            mingled.extend(v6.drain(v6.len().saturating_sub(head_start.max(1))..).rev());
            mingled.extend(v4.pop());
        }
    }
    mingled
}

/// Whether a path that leaves from `new` is worth the search while one that leaves from `old` works: it is of a more
/// reliable sort (RFC 8421 §3), as Wi-Fi is after a mobile network.
pub fn is_preferred(new: &Interface, old: &Interface) -> bool {
    reliability(new) < reliability(old)
}

/// Lower is better. RFC 8421 §3.
fn reliability(interface: &Interface) -> u8 {
    use crate::InterfaceKind::*;
    if let IpAddr::V4(v4) = interface.address
        && v4.is_link_local()
    {
        return 4;
    }
    match interface.kind {
        Unknown | Wired | Wireless => 0,
        Cellular => 1,
        Vpn => 2,
        Virtual => 3,
        Loopback => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterfaceKind;

    fn on(address: &str, kind: InterfaceKind) -> Interface {
        Interface { kind, ..Interface::new("eth0", address.parse().unwrap()) }
    }

    #[test]
    fn priorities_are_those_of_the_formula() {
        // RFC 8445 §15.1: "the host candidate … will have a priority of 2130706431", "…1694498815".
        assert_eq!(candidate_priority(CandidateKind::Host, 65535), 2130706431);
        assert_eq!(candidate_priority(CandidateKind::Srflx, 65535), 1694498815);
        assert_eq!(candidate_priority(CandidateKind::Relay, 65535), 16777215);
        assert_eq!(pair_priority(3, 2), (2 << 32) + 6 + 1);
        assert_eq!(pair_priority(2, 3), (2 << 32) + 6);
        assert_eq!(pair_priority(u32::MAX, u32::MAX), (u64::from(MAX_PRIORITY) << 32) + 0xffff_fffe);
    }

    #[test]
    fn local_preferences_differ_and_a_single_address_has_the_greatest() {
        let mut seen = std::collections::BTreeSet::new();
        for class in 0..3 {
            for rank in 0..MAX_RANKS {
                for server in 0..MAX_RANKS {
                    assert!(seen.insert(local_preference(class, rank, server)));
                }
            }
        }
        assert_eq!(local_preference(0, 0, 0), 65535);
    }

    #[test]
    fn both_families_get_a_fair_chance() {
        // RFC 8421 §4: "two IPv4 addresses and six IPv6 addresses … an IPv4 address after four IPv6 addresses".
        let mut interfaces =
            vec![on("192.0.2.1", InterfaceKind::Wired), on("192.0.2.2", InterfaceKind::Wired)];
        interfaces.extend((1..=6).map(|n| on(&format!("2001:db8::{n}"), InterfaceKind::Wired)));
        assert_eq!(order(&interfaces), [2, 3, 4, 5, 0, 6, 7, 1]);
    }

    #[test]
    fn unreliable_interfaces_come_last_and_temporary_addresses_first() {
        let interfaces = [
            on("172.17.0.1", InterfaceKind::Virtual),
            on("2001:db8::1", InterfaceKind::Unknown),
            Interface { temporary: true, ..on("2001:db8::2", InterfaceKind::Unknown) },
            on("169.254.1.1", InterfaceKind::Unknown),
            on("10.0.0.1", InterfaceKind::Cellular),
        ];
        assert_eq!(order(&interfaces), [2, 1, 4, 0, 3]);
    }
}
