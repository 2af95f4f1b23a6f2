//! What a network does to packets, found out from both sides of its boxes.

mod kernel;
mod simulated;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use netsim::{Dependence, Hairpin, Preset};
use serde_json::{Value, json};

pub use kernel::{Probed, Prober};

/// What a site does to packets, found out by sending some, as RFC 5780 does.
///
/// The same questions are asked of the kernel ([`Prober`]) and of the simulator ([`Findings::simulated`]): equal
/// findings prove that the one is what the other claims.
///
/// ```
/// use sterna_kernel::Findings;
/// use netsim::{Dependence, Preset};
///
/// let findings = Findings::simulated(Preset::Symmetric);
/// assert_eq!(findings.mapping, Some(Dependence::AddressAndPortDependent));
/// assert!(!findings.preserves_port);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Findings {
    /// Whether UDP gets out. If it does not, nothing is known of mapping, filtering and hairpinning.
    pub udp: bool,
    /// What the outer port depends on. `None`: addresses are not translated.
    pub mapping: Option<Dependence>,
    /// What lets a packet in. `None`: everything comes in, also where nothing has gone out.
    pub filtering: Option<Dependence>,
    /// Whether the outer port is the inner one.
    pub preserves_port: bool,
    /// What becomes of packets from inside to an outer address.
    pub hairpin: Hairpin,
    /// Whether somebody who knocks early, or is turned away, leaves a mapping as it is.
    pub steady: bool,
    /// To which of [`Findings::TCP_PORTS`] TCP gets out.
    pub tcp: Vec<u16>,
}

/// A socket that a probe uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Spot {
    /// The host behind the boxes.
    Inner(u16),
    /// Another one there.
    Neighbour(u16),
    /// The server's, which has two addresses.
    Server(usize, u16),
}

/// Names a packet.
type Word = u32;

/// A host and its neighbour behind some boxes, and a server outside.
trait World {
    fn address(&self, spot: Spot) -> SocketAddr;

    /// Where the internet sees the site.
    fn outer(&self) -> IpAddr;

    /// Sends a packet.
    fn send(&mut self, from: Spot, to: SocketAddr) -> Word;

    /// From where these packets came, as far as they came to these sockets. Waits long enough.
    fn heard(&mut self, packets: &[(Spot, Word)]) -> Vec<Option<SocketAddr>>;

    /// Whether the inner host can open a stream to this port of the server.
    fn connects(&mut self, port: u16) -> bool;
}

/// The server's UDP ports; it does not listen to the last one's answers.
const PORTS: [u16; 3] = [3478, 3479, 3480];
/// One for each question, so that what one opens does not count for the next.
const FOR_MAPPING: u16 = 5000;
const FOR_FILTERING: u16 = 5001;
const FOR_HAIRPIN: u16 = 5002;
const NEIGHBOUR: u16 = 5003;

impl Findings {
    /// The TCP ports that are tried.
    pub const TCP_PORTS: [u16; 2] = [443, 8080];

    /// What the simulator's site of this preset does.
    pub fn simulated(preset: Preset) -> Self {
        Self::of(&mut simulated::Simulated::new(preset))
    }

    fn of(world: &mut impl World) -> Self {
        let own = world.address(Spot::Inner(FOR_MAPPING));
        // Before anything goes out, as an early check of a peer does.
        let early = world.send(Spot::Server(1, PORTS[2]), SocketAddr::new(world.outer(), own.port()));
        let direct = world.send(Spot::Server(1, PORTS[2]), own);
        let came_early = world.heard(&[(Spot::Inner(own.port()), early), (Spot::Inner(own.port()), direct)]);
        let open = came_early.iter().any(Option::is_some);

        let [first, other_port, other_address] = mapped(world, FOR_MAPPING, [(0, 0), (0, 1), (1, 0)]);
        let tcp = Self::TCP_PORTS.into_iter().filter(|port| world.connects(*port)).collect();
        let (Some(first), Some(other_port), Some(other_address)) = (first, other_port, other_address) else {
            return Self {
                udp: false,
                mapping: None,
                filtering: None,
                preserves_port: false,
                hairpin: Hairpin::None,
                steady: true,
                tcp,
            };
        };
        let mapping = (first != own).then(|| dependence(first == other_port, first == other_address));
        let [again] = mapped(world, FOR_MAPPING, [(0, 0)]);
        let (filtering, unmoved) = filtering(world, open, mapping);
        Self {
            udp: true,
            mapping,
            filtering,
            preserves_port: first.port() == own.port(),
            hairpin: if mapping.is_some() { hairpin(world) } else { Hairpin::None },
            steady: again == Some(first) && unmoved,
            tcp,
        }
    }

    /// For programs: `mapping` and `filtering` in the words of RFC 4787, `none` or `null`; and the rest.
    pub fn to_json(&self) -> Value {
        let dependence = |it: Option<Dependence>| match it {
            _ if !self.udp => Value::Null,
            None => "none".into(),
            Some(it) => dependence_name(it).into(),
        };
        json!({
            "udp": self.udp,
            "mapping": dependence(self.mapping),
            "filtering": dependence(self.filtering),
            "preserves_port": if self.udp { Value::from(self.preserves_port) } else { Value::Null },
            "hairpin": if self.udp { Value::from(hairpin_name(self.hairpin)) } else { Value::Null },
            "tcp": self.tcp,
        })
    }
}

impl fmt::Display for Findings {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.udp {
            let ports = if self.preserves_port { "keeps the port" } else { "another port" };
            match self.mapping {
                None => f.write_str("no mapping")?,
                Some(mapping) => write!(f, "{} mapping, {ports}", dependence_name(mapping))?,
            }
            match self.filtering {
                None => f.write_str("; no filtering")?,
                Some(filtering) => write!(f, "; {} filtering", dependence_name(filtering))?,
            }
            match self.hairpin {
                Hairpin::None => f.write_str("; no hairpin")?,
                hairpin => write!(f, "; hairpins, {} source", hairpin_name(hairpin))?,
            }
        } else {
            f.write_str("no UDP")?;
        }
        let blocked: Vec<_> = Self::TCP_PORTS.into_iter().filter(|port| !self.tcp.contains(port)).collect();
        match blocked.len() {
            0 => Ok(()),
            all if all == Self::TCP_PORTS.len() => f.write_str("; no TCP"),
            _ => write!(f, "; TCP to {:?} alone", self.tcp),
        }
    }
}

/// In the words of RFC 4787, with dashes.
pub(crate) fn dependence_name(it: Dependence) -> &'static str {
    match it {
        Dependence::EndpointIndependent => "endpoint-independent",
        Dependence::AddressDependent => "address-dependent",
        Dependence::AddressAndPortDependent => "address-and-port-dependent",
    }
}

pub(crate) fn hairpin_name(it: Hairpin) -> &'static str {
    match it {
        Hairpin::None => "none",
        Hairpin::External => "external",
        Hairpin::Internal => "internal",
    }
}

/// Where these sockets of the server (address, number of the port) see one of the inner host's.
fn mapped<const N: usize>(
    world: &mut impl World,
    port: u16,
    to: [(usize, usize); N],
) -> [Option<SocketAddr>; N] {
    let sent = to.map(|(address, number)| {
        let spot = Spot::Server(address, PORTS[number]);
        (spot, world.send(Spot::Inner(port), world.address(spot)))
    });
    let heard = world.heard(&sent);
    std::array::from_fn(|n| heard[n])
}

/// From whether another port, and another address, makes no difference.
fn dependence(other_port: bool, other_address: bool) -> Dependence {
    match (other_port, other_address) {
        (true, true) => Dependence::EndpointIndependent,
        (true, false) => Dependence::AddressDependent,
        (false, _) => Dependence::AddressAndPortDependent,
    }
}

/// What the filter depends on, and whether those who were turned away have left the mapping as it was.
fn filtering(world: &mut impl World, open: bool, mapping: Option<Dependence>) -> (Option<Dependence>, bool) {
    let inner = Spot::Inner(FOR_FILTERING);
    let [Some(mapped_to)] = mapped(world, FOR_FILTERING, [(0, 0)]) else { return (None, false) };
    let knocks = [(0, 0), (0, 2), (1, 2)]
        .map(|(address, number)| (inner, world.send(Spot::Server(address, PORTS[number]), mapped_to)));
    let heard = world.heard(&knocks);
    let [answer, other_port, other_address] = [0, 1, 2].map(|n| heard[n].is_some());
    let found = (!open).then(|| dependence(other_port, other_address));
    // Now the inner host speaks to who was turned away.
    let [towards] = mapped(world, FOR_FILTERING, [(1, 2)]);
    let same = mapping.is_none_or(|it| it == Dependence::EndpointIndependent);
    (found, answer && (towards == Some(mapped_to)) == same)
}

/// Both hosts first learn their outer addresses, then send to each other's, twice: the filter wants to have been
/// asked from inside.
fn hairpin(world: &mut impl World) -> Hairpin {
    let server = Spot::Server(0, PORTS[0]);
    let spots = [Spot::Inner(FOR_HAIRPIN), Spot::Neighbour(NEIGHBOUR)];
    let sent = spots.map(|spot| (server, world.send(spot, world.address(server))));
    let [Some(ours), Some(theirs)] = world.heard(&sent)[..] else { return Hairpin::None };
    let first = world.send(spots[0], theirs);
    world.heard(&[(spots[1], first)]);
    let second = world.send(spots[1], ours);
    world.heard(&[(spots[0], second)]);
    let third = world.send(spots[0], theirs);
    match world.heard(&[(spots[1], third)])[0] {
        None => Hairpin::None,
        Some(from) if from == world.address(spots[0]) => Hairpin::Internal,
        Some(_) => Hairpin::External,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

    #[test]
    fn a_simulated_box_is_found_to_be_what_it_says() {
        for preset in Preset::ALL {
            let boxes = preset.boxes();
            let [only] = boxes.as_slice() else { continue };
            let behaviour = &only.behaviour;
            let findings = Findings::simulated(preset);
            assert!(findings.steady, "{preset}");
            if behaviour.nat64 || !findings.udp {
                continue;
            }
            assert_eq!(findings.filtering, behaviour.filtering, "{preset}");
            assert_eq!(findings.hairpin, behaviour.hairpin, "{preset}");
        }
    }

    #[test]
    fn the_classic_four_differ_as_rfc_3489_says() {
        let found = Preset::CLASSIC.map(|preset| {
            let findings = Findings::simulated(preset);
            (findings.mapping, findings.filtering, findings.preserves_port)
        });
        let [independent, address, port] =
            [EndpointIndependent, AddressDependent, AddressAndPortDependent].map(Some);
        assert_eq!(
            found,
            [
                (independent, independent, true),
                (independent, address, true),
                (independent, port, true),
                (port, port, false)
            ]
        );
    }

    #[test]
    fn what_blocks_udp_is_found_to() {
        let blocked = Findings::simulated(Preset::UdpBlocked);
        assert_eq!((blocked.udp, blocked.tcp), (false, vec![443, 8080]));
        let corporate = Findings::simulated(Preset::Corporate);
        assert_eq!((corporate.udp, corporate.tcp), (false, vec![443]));
        let open = Findings::simulated(Preset::None);
        assert_eq!((open.udp, open.mapping, open.filtering), (true, None, None));
    }

    #[test]
    fn the_words_for_programs_are_those_of_the_doctor() {
        let told = Findings::simulated(Preset::AddressRestricted).to_json();
        assert_eq!(told["mapping"], "endpoint-independent");
        assert_eq!(told["filtering"], "address-dependent");
        assert_eq!(told["hairpin"], "none");
        assert_eq!(Findings::simulated(Preset::UdpBlocked).to_json()["mapping"], Value::Null);
    }
}
