use std::fmt;
use std::str::FromStr;

/// How a site's router treats packets, by the names that `netsim` and the command line use too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Preset {
    /// A plain router: the site has public addresses, nothing is filtered.
    None,
    /// Endpoint-independent mapping and filtering (RFC 4787 §4.1 and §5).
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: what Linux does by itself.
    PortRestricted,
    /// Address-and-port-dependent mapping and filtering, ports at random.
    Symmetric,
    /// Like [`Preset::PortRestricted`] for TCP; UDP is dropped.
    UdpBlocked,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::UdpBlocked,
    ];

    /// Its name: `full-cone`, `port-restricted`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp-blocked",
        }
    }

    /// Whether the site has private addresses.
    pub const fn translates(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The router's nftables rules. It has the interfaces `lan` and `wan`.
    ///
    /// Uninvited packets are dropped in `input` and `forward`, not earlier and not later: so no conntrack entry of
    /// theirs is confirmed. A confirmed one would take the port, and the host's own flow to the same peer, a moment
    /// later, would have to be mapped to another.
    pub(crate) fn rules(self) -> String {
        if self == Self::None {
            return String::new();
        }
        let (map, learn, lead) = match self {
            // The outer port is the inner one: masquerading keeps it. So the map from the outer port to the inner
            // socket can be filled before the translation happens.
            Self::FullCone => (
                "map inside { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 2m; size 65535; }",
                "iifname lan oifname wan meta l4proto udp update @inside { udp sport : ip saddr . udp sport }",
                "iifname wan meta l4proto udp dnat ip to udp dport map @inside",
            ),
            Self::AddressRestricted => (
                "map inside { type inet_service . ipv4_addr : ipv4_addr . inet_service; flags dynamic,timeout; timeout 2m; size 65535; }",
                "iifname lan oifname wan meta l4proto udp update @inside { udp sport . ip daddr : ip saddr . udp sport }",
                "iifname wan meta l4proto udp dnat ip to udp dport . ip saddr map @inside",
            ),
            Self::UdpBlocked => ("", "iifname lan oifname wan meta l4proto udp drop", ""),
            _ => ("", "", ""),
        };
        let masquerade = if self == Self::Symmetric { "masquerade fully-random" } else { "masquerade" };
        format!(
            "table ip lab {{
                {map}
                chain prerouting {{
                    type nat hook prerouting priority dstnat; policy accept;
                    {lead}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat; policy accept;
                    oifname wan {masquerade}
                }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    {learn}
                    iifname lan accept
                    ct state established,related accept
                    ct status dnat accept
                }}
                chain input {{
                    type filter hook input priority filter; policy drop;
                    iifname {{ lo, lan }} accept
                    ct state established,related accept
                }}
            }}"
        )
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no preset of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownPreset(pub String);

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Preset::ALL.map(Preset::name).join(", ");
        write!(f, "`{}` is no preset; there are {known}", self.0)
    }
}

impl std::error::Error for UnknownPreset {}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        let unknown = "cone".parse::<Preset>().unwrap_err().to_string();
        assert!(unknown.contains("`cone`") && unknown.contains("full-cone, address-restricted"), "{unknown}");
    }
}
