use std::net::SocketAddr;

use stun::{Message, kind};

use crate::attribute::{Families, Family};

/// The relayed addresses of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relayed {
    /// The only one, or of two the one with IPv4.
    pub(super) first: SocketAddr,
    /// The one with IPv6, of two.
    pub(super) additional: Option<SocketAddr>,
}

/// Why an answer holds no relayed address that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is none.
    Missing,
    /// There is one that was not asked for.
    Unasked(SocketAddr),
}

impl Relayed {
    /// What an answer gives to a client that has asked for `families`.
    pub(super) fn read(message: &Message<'_>, families: Families) -> Result<Self, Unusable> {
        let given = || message.xor_addresses(kind::XOR_RELAYED_ADDRESS).flatten();
        let of = |family| given().find(|address| Family::of(address.ip()) == family);
        let wanted = |family| of(family).filter(|_| families.include(family));
        let (v4, v6) = (wanted(Family::Ipv4), wanted(Family::Ipv6));
        match v4.or(v6) {
            Some(first) => Ok(Self { first, additional: v6.filter(|_| v4.is_some()) }),
            None => Err(given().next().map_or(Unusable::Missing, Unusable::Unasked)),
        }
    }

    /// The one that peers of `family` send to.
    pub(super) fn of(&self, family: Family) -> Option<SocketAddr> {
        let both = [Some(self.first), self.additional];
        both.into_iter().flatten().find(|address| Family::of(address.ip()) == family)
    }
}
