use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::nat::{Dependence, Egress, Hairpin, NatBehaviour, Pooling, PortAssignment};
use crate::prefix::Prefix;

/// What stands between a network and the internet, by a name: the classic four of RFC 3489, and boxes as one meets
/// them. [`Net::add_preset`](crate::Net::add_preset) builds it; it may be several boxes in a row.
///
/// ```
/// use sterna_netsim::{Net, Preset};
///
/// let preset: Preset = "cgn".parse()?;
/// println!("{preset}: {}", preset.describe());
/// let mut net = Net::new(1);
/// let home = net.add_preset(Net::INTERNET, "home", preset);
/// let host = net.add_host("host", &[home]);
/// # Ok::<(), sterna_netsim::UnknownPreset>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Preset {
    /// A plain router: public addresses, nothing is filtered.
    None,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    PortRestricted,
    /// Address-and-port-dependent mapping and filtering, ports at random.
    Symmetric,
    /// Port-restricted for TCP; UDP is dropped.
    UdpBlocked,
    /// Public addresses behind a stateful firewall.
    Firewall,
    /// What most people have at home.
    HomeRouter,
    /// `nft … masquerade`, or `iptables -j MASQUERADE`.
    LinuxMasquerade,
    /// A home router behind the NAT of its provider.
    Cgn,
    /// A phone behind the NAT of its provider.
    MobileCgn,
    /// An office that lets out TCP to port 443 alone.
    Corporate,
    /// An office whose proxy alone gets out.
    HttpProxy,
    /// Port-restricted; hairpins from the outer address.
    HairpinExternal,
    /// Port-restricted; hairpins from the inner address.
    HairpinInternal,
    /// A network of IPv6 alone, with NAT64 and DNS64.
    Nat64,
    /// A home router that translates IPv4, and beside it IPv6 behind a stateful firewall.
    DualStack,
}

/// One box of a [`Preset`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresetBox {
    /// What is put behind the network's name to name this box: empty for the innermost one.
    pub suffix: &'static str,
    /// What the box does.
    pub behaviour: NatBehaviour,
    /// Whether what is behind it has addresses of a provider, 100.64.0.0/10 (RFC 6598).
    pub shared_addresses: bool,
    /// Whether a proxy stands behind it, a host with the number 3 of its network ([`HttpProxy`](crate::HttpProxy),
    /// port 3128), which gets out whatever the box lets out otherwise.
    pub proxy: bool,
    /// Whether what is behind it has IPv6 addresses beside its IPv4 ones: public ones, which are filtered and not translated.
    pub ipv6: bool,
}

impl PresetBox {
    const fn home(behaviour: NatBehaviour) -> Self {
        Self { suffix: "", behaviour, shared_addresses: false, proxy: false, ipv6: false }
    }
}

const LINUX_UNREPLIED: Duration = Duration::from_secs(30);

impl Preset {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::None,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::UdpBlocked,
        Self::Firewall,
        Self::HomeRouter,
        Self::LinuxMasquerade,
        Self::Cgn,
        Self::MobileCgn,
        Self::Corporate,
        Self::HttpProxy,
        Self::HairpinExternal,
        Self::HairpinInternal,
        Self::Nat64,
        Self::DualStack,
    ];

    /// The classic four, in the order of their strictness.
    pub const CLASSIC: [Self; 4] =
        [Self::FullCone, Self::AddressRestricted, Self::PortRestricted, Self::Symmetric];

    /// Its name: `full-cone`, `port-restricted`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "udp-blocked",
            Self::Firewall => "firewall",
            Self::HomeRouter => "home-router",
            Self::LinuxMasquerade => "linux-masquerade",
            Self::Cgn => "cgn",
            Self::MobileCgn => "mobile-cgn",
            Self::Corporate => "corporate",
            Self::HttpProxy => "http-proxy",
            Self::HairpinExternal => "hairpin-external",
            Self::HairpinInternal => "hairpin-internal",
            Self::Nat64 => "nat64",
            Self::DualStack => "dual-stack",
        }
    }

    /// What it does, in one sentence.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::None => "A public address and a plain router: everything comes in.",
            Self::FullCone => {
                "One outer port for each inner one, and once it is there anybody may send to it."
            }
            Self::AddressRestricted => {
                "One outer port for each inner one; only those addresses get in that were sent to before."
            }
            Self::PortRestricted => {
                "One outer port for each inner one; only those addresses and ports get in that were sent to before."
            }
            Self::Symmetric => {
                "A new, random outer port for each remote address and port, and only that one gets in."
            }
            Self::UdpBlocked => "A NAT that lets TCP out and drops all UDP.",
            Self::Firewall => {
                "Public addresses behind a stateful firewall: only answers to what was sent get in."
            }
            Self::HomeRouter => {
                "A consumer router: port-restricted, keeps the port, hairpins, and answers keep a mapping alive."
            }
            Self::LinuxMasquerade => {
                "A Linux router that masquerades: it keeps the port as long as the remote end tells the flows apart, \
                 forgets an unanswered flow after 30 seconds, and does not hairpin."
            }
            Self::Cgn => {
                "A home router behind the provider's own NAT, which shares four addresses among its customers."
            }
            Self::MobileCgn => {
                "A phone behind its provider's NAT: a random port for each remote end, forgotten after one minute."
            }
            Self::Corporate => {
                "An office: two outer addresses used at random, a random port for each remote end, and a firewall \
                 that lets out TCP to port 443 alone."
            }
            Self::HttpProxy => {
                "An office where nothing gets out but what its HTTP proxy, port 3128, is asked for by CONNECT; \
                 its hosts are set up to ask."
            }
            Self::HairpinExternal => {
                "Port-restricted, and hosts behind it reach each other's outer address, seen from their outer one."
            }
            Self::HairpinInternal => {
                "Port-restricted, and hosts behind it reach each other's outer address, seen from their inner one."
            }
            Self::Nat64 => "A network that speaks IPv6 alone; its box translates to IPv4, port-restricted.",
            Self::DualStack => {
                "A home router for IPv4, and IPv6 with public addresses behind its firewall: only answers get in."
            }
        }
    }

    /// Its boxes, from the internet inwards.
    pub fn boxes(self) -> Vec<PresetBox> {
        let only = |behaviour| vec![PresetBox::home(behaviour)];
        match self {
            Self::None => only(NatBehaviour::none()),
            Self::FullCone => only(NatBehaviour::full_cone()),
            Self::AddressRestricted => only(NatBehaviour::address_restricted()),
            Self::PortRestricted => only(NatBehaviour::port_restricted()),
            Self::Symmetric => only(NatBehaviour::symmetric()),
            Self::UdpBlocked => only(NatBehaviour::udp_blocked()),
            Self::Firewall => only(NatBehaviour::firewall()),
            Self::HomeRouter => only(NatBehaviour::home_router()),
            Self::LinuxMasquerade => only(NatBehaviour {
                mapping: Some(Dependence::AddressAndPortDependent),
                ports: PortAssignment::Overloading,
                udp_unanswered_timeout: LINUX_UNREPLIED,
                tcp_timeout: Duration::from_secs(5 * 24 * 3600),
                tcp_transitory_timeout: Duration::from_secs(120),
                refreshed_by_inbound: true,
                ..NatBehaviour::port_restricted()
            }),
            Self::Cgn => {
                // RFC 6888: endpoint-independent mapping, paired pooling, hairpinning.
                let carrier = NatBehaviour {
                    ports: PortAssignment::Random,
                    pool: 4,
                    hairpin: Hairpin::External,
                    ..NatBehaviour::port_restricted()
                };
                let carrier =
                    PresetBox { suffix: "-carrier", shared_addresses: true, ..PresetBox::home(carrier) };
                vec![carrier, PresetBox::home(NatBehaviour::home_router())]
            }
            Self::MobileCgn => {
                let behaviour = NatBehaviour {
                    pool: 4,
                    udp_timeout: Duration::from_secs(60),
                    udp_unanswered_timeout: Duration::from_secs(60),
                    refreshed_by_inbound: true,
                    ..NatBehaviour::symmetric()
                };
                vec![PresetBox { shared_addresses: true, ..PresetBox::home(behaviour) }]
            }
            Self::Corporate => only(NatBehaviour {
                pool: 2,
                pooling: Pooling::Arbitrary,
                egress: Egress::TcpPort(443),
                ..NatBehaviour::symmetric()
            }),
            Self::HttpProxy => {
                let behaviour = NatBehaviour { egress: Egress::Nothing, ..NatBehaviour::port_restricted() };
                vec![PresetBox { proxy: true, ..PresetBox::home(behaviour) }]
            }
            Self::HairpinExternal => {
                only(NatBehaviour { hairpin: Hairpin::External, ..NatBehaviour::port_restricted() })
            }
            Self::HairpinInternal => {
                only(NatBehaviour { hairpin: Hairpin::Internal, ..NatBehaviour::port_restricted() })
            }
            Self::Nat64 => only(NatBehaviour { nat64: true, ..NatBehaviour::port_restricted() }),
            Self::DualStack => {
                vec![PresetBox { ipv6: true, ..PresetBox::home(NatBehaviour::home_router()) }]
            }
        }
    }

    /// The mapping that a host behind it finds by RFC 5780 §4.3; `None`: its address is not translated.
    pub fn mapping(self) -> Option<Dependence> {
        let found = |it: NatBehaviour| match it.ports {
            // As long as nobody else inside wants the port, every remote end sees the same one.
            PortAssignment::Overloading => it.mapping.map(|_| Dependence::EndpointIndependent),
            _ => it.mapping,
        };
        self.boxes().into_iter().filter_map(|it| found(it.behaviour)).max()
    }

    /// The filtering that a host behind it finds by RFC 5780 §4.4; `None`: everything comes in.
    pub fn filtering(self) -> Option<Dependence> {
        self.boxes().into_iter().filter_map(|it| it.behaviour.filtering).max()
    }

    /// Whether it lets UDP out.
    pub fn lets_udp_out(self) -> bool {
        self.boxes().iter().all(|it| it.behaviour.egress == Egress::All)
    }

    /// Whether the network behind it has other addresses than the internet sees.
    pub fn translates(self) -> bool {
        self.boxes().iter().any(|it| it.behaviour.translates())
    }
}

/// A range of a provider's own, for the network with this number.
pub(crate) fn shared_prefix(number: usize) -> Prefix {
    let number = number % (1 << 14);
    let [high, low] = [(number >> 8) as u8, number as u8];
    Prefix::new(std::net::Ipv4Addr::new(100, 64 | high, low, 0).into(), 24)
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
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
    fn names_are_read_as_they_are_written_and_each_is_described_in_one_sentence() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
            let told = preset.describe();
            assert!(told.ends_with('.') && told.matches(". ").count() == 0, "{preset}: {told}");
            assert!(!preset.boxes().is_empty());
        }
        let unknown = "cone".parse::<Preset>().unwrap_err().to_string();
        assert!(unknown.contains("`cone`") && unknown.contains("full-cone, address-restricted"), "{unknown}");
    }
}
