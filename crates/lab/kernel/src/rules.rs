use std::net::Ipv4Addr;
use std::time::Duration;

use netsim::{Dependence, Egress, Hairpin, NatBehaviour, Pooling, PortAssignment};

/// What nftables and conntrack are told, to make a box of a router with the interfaces `lan` and `wan`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// For `nft -f`.
    pub(crate) nft: String,
    /// Paths below `/proc/sys` and values; conntrack must be there before they are.
    pub(crate) sysctls: Vec<(&'static str, String)>,
}

/// Where the box stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The first address of the /24 inside.
    pub(crate) inside: Ipv4Addr,
    /// Its outer addresses.
    pub(crate) external: Vec<Ipv4Addr>,
}

impl Rules {
    /// `None`: the kernel cannot do that.
    ///
    /// Linux maps by address and port, and keeps the inner port while it can: one inner socket has the same outer
    /// port towards everybody, which the outside cannot tell from an endpoint-independent mapping. What comes in
    /// uninvited is let in by a map from outer ports to inner sockets, filled by what goes out.
    ///
    /// Uninvited packets are dropped in `input` and `forward`, not earlier and not later: so no conntrack entry of
    /// theirs is confirmed. A confirmed one would take the port, and the host's own flow to the same peer, a moment
    /// later, would have to be mapped to another.
    pub(crate) fn new(behaviour: &NatBehaviour, place: &Place) -> Option<Self> {
        use Dependence::{AddressAndPortDependent, EndpointIndependent};
        if behaviour.nat64 || behaviour.resets {
            return None;
        }
        let cone = match (behaviour.mapping, behaviour.filtering, behaviour.ports) {
            (None, None, _) if behaviour.egress == Egress::All => {
                return Some(Self { nft: String::new(), sysctls: Vec::new() });
            }
            (None, Some(AddressAndPortDependent), _) => None,
            (
                Some(AddressAndPortDependent),
                Some(AddressAndPortDependent),
                PortAssignment::Overloading | PortAssignment::Random,
            ) => None,
            // Which outer address a socket gets is no function of its port, and the map knows only that.
            (Some(EndpointIndependent), Some(filtering), PortAssignment::Preserving)
                if behaviour.pool == 1 =>
            {
                Some(Cone { filtering, hairpin: behaviour.hairpin, place, timeout: behaviour.udp_timeout })
            }
            _ => return None,
        };
        if cone.is_none() && behaviour.hairpin != Hairpin::None {
            return None;
        }
        let egress = match behaviour.egress {
            Egress::All => String::new(),
            Egress::TcpOnly => "iifname lan oifname wan meta l4proto udp drop".to_owned(),
            Egress::TcpPort(port) => format!(
                "iifname lan oifname wan tcp dport != {port} drop
                    iifname lan oifname wan meta l4proto != tcp drop"
            ),
            Egress::Nothing => "iifname lan oifname wan drop".to_owned(),
            Egress::OnlyFrom(inside) => format!("iifname lan oifname wan ip saddr != {inside} drop"),
            _ => return None,
        };
        let source = match behaviour.mapping {
            Some(_) => format!("oifname wan {}", source(behaviour, place)),
            None => String::new(),
        };
        let Sentences { tables, learn, lead, turn } = cone.map(Cone::sentences).unwrap_or_default();
        let external: Vec<_> = place.external.iter().map(Ipv4Addr::to_string).collect();
        let external = external.join(", ");
        let nft = format!(
            "table ip lab {{
                {tables}
                chain learn {{
                    type filter hook prerouting priority mangle; policy accept;
                    {learn}
                }}
                chain prerouting {{
                    type nat hook prerouting priority dstnat; policy accept;
                    {lead}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat; policy accept;
                    {turn}
                    {source}
                }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    {egress}
                    iifname lan accept
                    ct state established,related accept
                    ct status dnat accept
                }}
                chain input {{
                    type filter hook input priority filter; policy drop;
                    iifname lan ip daddr {{ {external} }} drop
                    iifname {{ lo, lan }} accept
                    ct state established,related accept
                }}
            }}"
        );
        let seconds = |duration: Duration| duration.as_secs().max(1).to_string();
        let sysctls = vec![
            ("net/netfilter/nf_conntrack_udp_timeout", seconds(behaviour.udp_unanswered_timeout)),
            ("net/netfilter/nf_conntrack_udp_timeout_stream", seconds(behaviour.udp_timeout)),
            ("net/netfilter/nf_conntrack_tcp_timeout_established", seconds(behaviour.tcp_timeout)),
        ];
        Some(Self { nft, sysctls })
    }
}

/// Which outer address and port.
fn source(behaviour: &NatBehaviour, place: &Place) -> String {
    let mut flags = Vec::new();
    if behaviour.ports == PortAssignment::Random {
        flags.push("fully-random");
    }
    let target = match (place.external.as_slice(), behaviour.pooling) {
        ([_], _) => "masquerade".to_owned(),
        ([first, .., last], Pooling::Paired) => {
            flags.push("persistent");
            format!("snat to {first}-{last}")
        }
        (all, _) => {
            let numbered: Vec<_> =
                all.iter().enumerate().map(|(n, address)| format!("{n} : {address}")).collect();
            format!("snat to numgen random mod {} map {{ {} }}", all.len(), numbered.join(", "))
        }
    };
    format!("{target} {}", flags.join(","))
}

/// An endpoint-independent mapping that keeps the port.
#[derive(Debug)]
struct Cone<'a> {
    filtering: Dependence,
    hairpin: Hairpin,
    place: &'a Place,
    timeout: Duration,
}

#[derive(Default, Debug)]
struct Sentences {
    /// What is remembered.
    tables: String,
    /// How it is learned from what goes out.
    learn: String,
    /// Where what comes in is led to.
    lead: String,
    /// What packets that turn round look like inside.
    turn: String,
}

impl Cone<'_> {
    fn sentences(self) -> Sentences {
        // Conntrack alone is this filter.
        let by_itself = self.filtering == Dependence::AddressAndPortDependent;
        if by_itself && self.hairpin == Hairpin::None {
            return Sentences::default();
        }
        let life = format!("flags dynamic,timeout; timeout {}s; size 65535;", self.timeout.as_secs().max(1));
        let inside = format!("map inside {{ type inet_service : ipv4_addr . inet_service; {life} }}");
        // The keys of whom was sent to: as one learns them, as one finds them from outside, and from inside.
        let (kind, learned, outside, turned) = match self.filtering {
            Dependence::EndpointIndependent => ("", "", "", ""),
            Dependence::AddressDependent => (
                "inet_service . ipv4_addr",
                "udp sport . ip daddr",
                "udp dport . ip saddr @spoken",
                // The other host's outer address is the one that the packet goes to.
                "udp dport . ip daddr @spoken",
            ),
            Dependence::AddressAndPortDependent => (
                "inet_service . ipv4_addr . inet_service",
                "udp sport . ip daddr . udp dport",
                "",
                "udp dport . ip daddr . udp sport @spoken",
            ),
        };
        let net = format!("{}/24", self.place.inside);
        let out = format!("iifname lan ip saddr {net} ip daddr != {net} meta l4proto udp");
        let mut tables = inside;
        let mut learn = format!("{out} update @inside {{ udp sport : ip saddr . udp sport }}");
        if !kind.is_empty() {
            tables += &format!("\nset spoken {{ type {kind}; {life} }}");
            learn += &format!("\n{out} update @spoken {{ {learned} }}");
        }
        let to = "dnat ip to udp dport map @inside";
        let mut lead =
            if by_itself { String::new() } else { format!("iifname wan meta l4proto udp {outside} {to}") };
        let mut turn = String::new();
        let external = self.place.external[0];
        if self.hairpin != Hairpin::None {
            lead += &format!("\niifname lan ip daddr {external} meta l4proto udp {turned} {to}");
        }
        if self.hairpin == Hairpin::External {
            turn = format!("oifname lan ip saddr {net} ct status dnat meta l4proto udp snat to {external}");
        }
        Sentences { tables, learn, lead, turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netsim::Preset;

    fn place(behaviour: &NatBehaviour) -> Place {
        let external = (1..=behaviour.pool).map(|n| Ipv4Addr::new(5, 5, 6, n)).collect();
        Place { inside: Ipv4Addr::new(10, 1, 0, 0), external }
    }

    /// Which presets the kernel can do alone; the others have a box in userspace.
    #[test]
    fn the_kernel_does_what_it_can() {
        let mut beyond = Vec::new();
        for preset in Preset::ALL {
            for it in preset.boxes() {
                if Rules::new(&it.behaviour, &place(&it.behaviour)).is_none() {
                    beyond.push(format!("{preset}{}", it.suffix));
                }
            }
        }
        assert_eq!(beyond, ["cgn-carrier", "nat64"]);
    }

    #[test]
    fn a_mapping_that_depends_on_the_address_is_beyond_the_kernel() {
        let behaviour =
            NatBehaviour { mapping: Some(Dependence::AddressDependent), ..NatBehaviour::port_restricted() };
        assert_eq!(Rules::new(&behaviour, &place(&behaviour)), None);
    }

    #[test]
    fn nothing_is_remembered_where_conntrack_is_enough() {
        let behaviour = NatBehaviour::port_restricted();
        let rules = Rules::new(&behaviour, &place(&behaviour)).unwrap();
        assert!(!rules.nft.contains("@inside"), "{}", rules.nft);
        assert!(rules.nft.contains("oifname wan masquerade"), "{}", rules.nft);
    }
}
