use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The family of a relayed address (RFC 8656 §18.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The value of REQUESTED-ADDRESS-FAMILY: the family and three reserved bytes.
    pub(crate) fn value(self) -> [u8; 4] {
        [if self == Self::Ipv4 { 1 } else { 2 }, 0, 0, 0]
    }

    /// What a value of REQUESTED-ADDRESS-FAMILY asks for; `None` if it is malformed or of another family.
    pub(crate) fn from_value(value: &[u8]) -> Option<Self> {
        match *value {
            [1, _, _, _] => Some(Self::Ipv4),
            [2, _, _, _] => Some(Self::Ipv6),
            _ => None,
        }
    }
}

/// The relayed addresses that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Families {
    /// One, of this family.
    One(Family),
    /// One of each, or the one that is to be had: a "dual allocation" (RFC 8656 §7.1).
    Both,
}

impl Families {
    /// Whether an address of `family` is asked for.
    pub fn include(self, family: Family) -> bool {
        self == Self::Both || self == Self::One(family)
    }
}

impl From<Family> for Families {
    fn from(family: Family) -> Self {
        Self::One(family)
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(family) => family.fmt(f),
            Self::Both => f.write_str("IPv4 and IPv6"),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Ipv4 { "IPv4" } else { "IPv6" })
    }
}

/// REQUESTED-TRANSPORT for UDP between a relay and its peers (RFC 8656 §18.8).
pub(crate) const UDP: [u8; 4] = [17, 0, 0, 0];
/// The same for TCP (RFC 6062 §4.1).
pub(crate) const TCP: [u8; 4] = [6, 0, 0, 0];

/// A peer's address without the flow label and scope that sockets may add, so that equal peers compare equal.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}
