//! What must come out between two presets, from nothing but what their boxes do.
//!
//! Both sides send checks to the address that STUN told of the other. A check of `x` arrives at `y` if what `y` has
//! sent itself opened its box for it:
//!
//! * If `y`'s mapping does not depend on the destination, the address that STUN told is the one that `y`'s own checks
//!   leave from. They have opened the filter for the address that STUN told of `x`: that is where `x` comes from if its
//!   mapping does not depend on the destination either. If it does, `x` comes from another *port*, which passes unless the
//!   filter looks at ports.
//! * If `y`'s mapping depends on the destination, what STUN told is open for the STUN server alone; a check arrives
//!   there only if the box does not filter at all.
//!
//! One check that arrives is enough, whoever sent it: the answer goes back the way that the check came. So the way
//! is direct if `x` reaches `y` or `y` reaches `x`, and it goes to an address that nobody knew before (a
//! *peer-reflexive* one) if one of the two mappings depends on the destination. Where UDP is blocked, only the relay is
//! left, and where even the relay cannot be reached, nothing.
//!
//! IPv6 is not translated, so two that both have it are in the first case.

use netsim::{Dependence, Egress, NatBehaviour, PortAssignment, Preset, PresetBox};

use crate::Way;

/// What must come out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// A direct connection, to addresses that were told.
    Direct,
    /// A direct connection, to an address that only a check brought to light.
    PeerReflexive,
    /// A connection through a TURN server.
    Relayed,
    /// None.
    Failed,
}

impl Class {
    /// `direct`, `prflx`, `relayed` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relayed",
            Self::Failed => "failed",
        }
    }

    /// Whether an attempt that ended with this way, or without any, is as expected. A direct connection may be peer-reflexive by mere
    /// speed: a check can be faster than the candidate that signalling brings.
    pub fn admits(self, way: Option<Way>) -> bool {
        match self {
            Self::Direct => way.is_some_and(Way::is_direct),
            Self::PeerReflexive => way == Some(Way::PeerReflexive),
            Self::Relayed => way == Some(Way::Relayed),
            Self::Failed => way.is_none(),
        }
    }
}

/// All boxes of a preset, taken as one: the strictest of each sort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edge {
    mapping: Dependence,
    filtering: Dependence,
    udp: bool,
    /// Whether a TURN server on port 443 of TCP can be reached, by asking a proxy if need be.
    tls: bool,
    /// What is spoken behind it.
    ipv4: bool,
    ipv6: bool,
}

impl Edge {
    fn of(preset: Preset) -> Self {
        let open = Self {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::EndpointIndependent,
            udp: true,
            tls: true,
            ipv4: true,
            ipv6: false,
        };
        preset.boxes().iter().fold(open, Self::behind)
    }

    fn behind(self, it: &PresetBox) -> Self {
        let behaviour = &it.behaviour;
        let (mapping, filtering) = (mapping(behaviour), behaviour.filtering);
        let tls = matches!(behaviour.egress, Egress::All | Egress::TcpOnly | Egress::TcpPort(443));
        Self {
            mapping: strictest(self.mapping, mapping),
            filtering: strictest(self.filtering, filtering.unwrap_or(Dependence::EndpointIndependent)),
            udp: self.udp && behaviour.egress == Egress::All,
            tls: self.tls && (tls || it.proxy),
            ipv4: self.ipv4 && !behaviour.nat64,
            ipv6: self.ipv6 || it.ipv6 || behaviour.nat64,
        }
    }

    /// Whether its outer port is another for each destination.
    fn depends(self) -> bool {
        self.mapping != Dependence::EndpointIndependent
    }

    /// Whether a check from behind `sender` comes in here.
    fn lets_in(self, sender: Self) -> bool {
        match (self.depends(), sender.depends()) {
            (false, false) => true,
            (false, true) => self.filtering != Dependence::AddressAndPortDependent,
            (true, _) => self.filtering == Dependence::EndpointIndependent,
        }
    }
}

/// What the mapping depends on, as one host alone sees it: a box that keeps ports, and lets several mappings share one
/// as long as their remote ends differ, gives one host the same port everywhere.
fn mapping(behaviour: &NatBehaviour) -> Dependence {
    match behaviour.mapping {
        Some(_) if behaviour.ports == PortAssignment::Overloading => Dependence::EndpointIndependent,
        Some(mapping) => mapping,
        None => Dependence::EndpointIndependent,
    }
}

fn strictest(one: Dependence, other: Dependence) -> Dependence {
    let rank = |dependence| match dependence {
        Dependence::EndpointIndependent => 0,
        Dependence::AddressDependent => 1,
        Dependence::AddressAndPortDependent => 2,
    };
    if rank(one) >= rank(other) { one } else { other }
}

/// What must come out between hosts behind these two presets, with a TURN server that is reached over UDP, and over
/// TLS on port 443.
pub fn expect(a: Preset, b: Preset) -> Class {
    let (a, b) = (Edge::of(a), Edge::of(b));
    // One that speaks IPv6 alone and one that speaks IPv4 alone have no address in common.
    let (ipv4, ipv6) = (a.ipv4 && b.ipv4, a.ipv6 && b.ipv6);
    if !a.tls || !b.tls {
        Class::Failed
    } else if !a.udp || !b.udp {
        Class::Relayed
    } else if ipv6 {
        Class::Direct
    } else if !ipv4 || !(a.lets_in(b) || b.lets_in(a)) {
        Class::Relayed
    } else if a.depends() || b.depends() {
        Class::PeerReflexive
    } else {
        Class::Direct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_four_meet_as_the_books_should_say() {
        use Class::{Direct as D, PeerReflexive as P, Relayed as R};
        let expected = [[D, D, D, P], [D, D, D, P], [D, D, D, R], [P, P, R, R]];
        for (a, row) in Preset::CLASSIC.into_iter().zip(expected) {
            for (b, class) in Preset::CLASSIC.into_iter().zip(row) {
                assert_eq!(expect(a, b), class, "{a} × {b}");
            }
        }
    }

    #[test]
    fn it_does_not_matter_who_calls() {
        for a in Preset::ALL {
            for b in Preset::ALL {
                assert_eq!(expect(a, b), expect(b, a), "{a} × {b}");
            }
        }
    }

    #[test]
    fn linux_keeps_the_port_and_so_is_no_worse_than_port_restricted() {
        for other in Preset::ALL {
            let linux = expect(Preset::LinuxMasquerade, other);
            assert_eq!(linux, expect(Preset::PortRestricted, other), "{other}");
        }
    }

    #[test]
    fn who_has_ipv6_as_well_meets_by_it_or_as_if_there_were_none() {
        let dual = Preset::DualStack;
        assert_eq!(expect(dual, dual), Class::Direct);
        assert_eq!(expect(dual, Preset::Nat64), Class::Direct);
        for other in Preset::ALL.into_iter().filter(|it| ![dual, Preset::Nat64].contains(it)) {
            assert_eq!(expect(dual, other), expect(Preset::HomeRouter, other), "{other}");
        }
    }

    #[test]
    fn where_udp_is_blocked_only_the_relay_is_left() {
        for other in Preset::ALL {
            for blocked in [Preset::UdpBlocked, Preset::Corporate, Preset::HttpProxy] {
                assert_eq!(expect(blocked, other), Class::Relayed, "{blocked} × {other}");
            }
        }
    }
}
