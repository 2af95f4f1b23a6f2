use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Behaviour, Nat};

/// What one machine's doctor found, as far as it decides which path two machines get.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The NATs in front of it.
    pub nat: Nat,
    /// Whether a TURN server relays for it, over whatever transport; `None` if none was asked.
    pub relay: Option<bool>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// The path that two machines are expected to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// A direct one.
    Direct,
    /// Through a TURN server.
    Relayed,
    /// None.
    Nothing,
    /// What is known does not tell.
    Inconclusive,
}

/// An [`Expected`] path, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// Which path.
    pub path: Expected,
    /// Why, in a sentence without a full stop.
    pub because: String,
}

impl Expected {
    /// `direct`, `relayed`, `nothing` or `inconclusive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
            Self::Nothing => "nothing",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.because)
    }
}

/// Which path two machines will get, out of what each found about itself.
pub fn predict(a: &Place, b: &Place) -> Prediction {
    let said = |path, because: &str| Prediction { path, because: because.to_owned() };
    let direct = |because: &str| said(Expected::Direct, because);
    let shared = a.nat.mapped.iter().any(|ours| b.nat.mapped.iter().any(|theirs| ours.ip() == theirs.ip()));
    // Private addresses alone prove nothing: every other home has 192.168.1.0/24.
    if shared {
        if a.nat.mapped.iter().any(|mapped| mapped.ip().is_loopback()) {
            return direct("both are on one machine");
        }
        let near = |address: &&IpAddr| b.addresses.iter().any(|other| on_one_link(**address, *other));
        if let Some(address) = a.addresses.iter().find(near) {
            return direct(&format!("both machines are on the network of {address}"));
        }
    }
    let without = |because: &str| match (a.relay, b.relay) {
        (Some(true), _) | (_, Some(true)) => said(Expected::Relayed, because),
        (Some(false), Some(false)) => said(Expected::Nothing, &format!("{because}, and there is no relay")),
        _ => {
            said(Expected::Inconclusive, &format!("{because}, and it is not known whether there is a relay"))
        }
    };
    for (one, name) in [(a, "the first"), (b, "the second")] {
        if one.nat.udp == Some(false) {
            return without(&format!("no UDP gets out of {name} network"));
        }
    }
    if a.nat.udp.is_none() || b.nat.udp.is_none() {
        return said(Expected::Inconclusive, "it is not known whether UDP gets out of both networks");
    }
    if shared {
        return match (a.nat.hairpin, b.nat.hairpin) {
            (Some(true), Some(true)) => direct("both are behind one NAT, which turns packets round"),
            (Some(false), _) | (_, Some(false)) => {
                without("both are behind one NAT, which does not turn packets round, and not on one network")
            }
            _ => said(
                Expected::Inconclusive,
                "both are behind one NAT, and it is not known whether it turns packets round",
            ),
        };
    }
    match (a.nat.mapping.is_independent(), b.nat.mapping.is_independent()) {
        (true, true) => direct("both NATs keep one address for all destinations, so holes can be punched"),
        (true, false) => one_sided(a, b, "first", &without),
        (false, true) => one_sided(b, a, "second", &without),
        (false, false) if a.nat.mapping.is_dependent() && b.nat.mapping.is_dependent() => {
            both_depend(a, b, &without)
        }
        _ => said(Expected::Inconclusive, "what the NATs' mappings depend on is not known"),
    }
}

/// `fixed` can be known beforehand; `other` cannot, or it is not known whether it can.
fn one_sided(fixed: &Place, other: &Place, which: &str, without: &dyn Fn(&str) -> Prediction) -> Prediction {
    let said = |path, because: String| Prediction { path, because };
    if !other.nat.mapping.is_dependent() {
        let open = matches!(
            fixed.nat.filtering,
            Behaviour::None | Behaviour::EndpointIndependent | Behaviour::AddressDependent
        );
        return match open {
            true => {
                said(Expected::Direct, format!("the {which} NAT lets in whom it has sent to, from any port"))
            }
            false => said(Expected::Inconclusive, "what one NAT's mapping depends on is not known".into()),
        };
    }
    match fixed.nat.filtering {
        Behaviour::None | Behaviour::EndpointIndependent | Behaviour::AddressDependent => said(
            Expected::Direct,
            format!(
                "the {which} NAT lets in the address that the other one draws, and sees it (peer-reflexive)"
            ),
        ),
        Behaviour::AddressAndPortDependent => without(&format!(
            "one NAT gives another address for each destination, and the {which} lets in only exact addresses (--punch on \
             both sides most probably finds a way past them)"
        )),
        Behaviour::Inconclusive => {
            said(Expected::Inconclusive, format!("what the {which} NAT's filter depends on is not known"))
        }
    }
}

/// Neither can be known beforehand.
fn both_depend(a: &Place, b: &Place, without: &dyn Fn(&str) -> Prediction) -> Prediction {
    let closed = |place: &Place| place.nat.filtering == Behaviour::AddressAndPortDependent;
    if closed(a) && closed(b) {
        return without(
            "both NATs give another address for each destination, and let in only exact addresses (--punch on both sides \
             finds a way if both keep ports or count them up)",
        );
    }
    Prediction {
        path: Expected::Inconclusive,
        because: "both NATs give another address for each destination; whether the first checks get in is a matter of luck"
            .into(),
    }
}

/// Whether two addresses may be on one link.
fn on_one_link(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !a.is_loopback() && a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => !a.is_loopback() && a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(mapping: Behaviour, filtering: Behaviour, mapped: &str, own: &str) -> Place {
        let nat = Nat {
            mapping,
            filtering,
            udp: Some(true),
            mapped: vec![mapped.parse().unwrap()],
            ..Nat::default()
        };
        Place { nat, relay: Some(true), addresses: vec![own.parse().unwrap()] }
    }

    #[test]
    fn machines_on_one_network_need_no_nat_and_homes_that_number_alike_are_not_one_network() {
        use Behaviour::AddressAndPortDependent as Port;
        let a = place(Port, Port, "198.51.100.1:5", "192.168.1.10");
        let b = place(Port, Port, "198.51.100.1:6", "192.168.1.11");
        assert_eq!(predict(&a, &b).path, Expected::Direct);
        let elsewhere = place(Port, Port, "203.0.113.1:6", "192.168.1.10");
        assert_eq!(predict(&a, &elsewhere).path, Expected::Relayed);
    }

    #[test]
    fn what_is_not_known_is_not_predicted() {
        let known =
            place(Behaviour::EndpointIndependent, Behaviour::Inconclusive, "198.51.100.1:5", "10.0.0.1");
        let unknown = place(Behaviour::Inconclusive, Behaviour::Inconclusive, "203.0.113.1:5", "10.0.1.1");
        assert_eq!(predict(&known, &unknown).path, Expected::Inconclusive);
        assert_eq!(predict(&known, &known.clone()).path, Expected::Direct);
        assert_eq!(predict(&Place::default(), &known).path, Expected::Inconclusive);
        let mut blocked = known.clone();
        (blocked.nat.udp, blocked.relay) = (Some(false), Some(false));
        let mut bare = unknown;
        bare.relay = Some(false);
        assert_eq!(predict(&blocked, &bare).path, Expected::Nothing);
    }
}
