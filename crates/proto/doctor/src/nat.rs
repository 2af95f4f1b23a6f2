use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a NAT's mapping or filtering depends on (RFC 4787 §4.1 and §5), as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// There is none: addresses are not translated, or everything is let in.
    None,
    /// On nothing: one for all destinations.
    EndpointIndependent,
    /// On the other end's address.
    AddressDependent,
    /// On the other end's address and port.
    AddressAndPortDependent,
    /// Not known.
    #[default]
    Inconclusive,
}

impl Dependence {
    /// A word for programs, which never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Whether it is known to be the same for all destinations.
    pub fn is_independent(self) -> bool {
        matches!(self, Self::None | Self::EndpointIndependent)
    }

    /// Whether it is known to differ between destinations.
    pub fn is_dependent(self) -> bool {
        matches!(self, Self::AddressDependent | Self::AddressAndPortDependent)
    }
}

impl fmt::Display for Dependence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What discovery (RFC 5780) has found about the NATs in front of a machine, for one family of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// What the outer address depends on.
    pub mapping: Dependence,
    /// What must have been sent to, for a packet to come in.
    pub filtering: Dependence,
    /// Whether the outer port is the inner one.
    pub preserves_port: Option<bool>,
    /// Whether packets to the machine's own outer address come back in.
    pub hairpin: Option<bool>,
    /// How long a mapping lives that is not used.
    pub binding_lifetime: Option<Duration>,
    /// The outer addresses that were seen.
    pub mapped: Vec<SocketAddr>,
    /// Whether UDP gets out and back at all.
    pub udp: Option<bool>,
}
