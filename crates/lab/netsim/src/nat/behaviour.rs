use std::net::IpAddr;
use std::time::Duration;

use crate::preset::Preset;

/// What a mapping or a filter depends on (RFC 4787 §4.1 and §5), the strictest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dependence {
    /// One for all remote ends.
    EndpointIndependent,
    /// One for each remote address.
    AddressDependent,
    /// One for each remote address and port.
    AddressAndPortDependent,
}

/// Which outer port a new mapping gets (RFC 4787 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PortAssignment {
    /// The same as inside if it is free, a random one otherwise (§4.2.1, "port preservation").
    Preserving,
    /// The same as inside, also if somebody else inside has it: the remote end tells them apart (§4.2.1, "port
    /// overloading"). If that cannot tell them apart either, since both mappings are for the same remote end, a
    /// random port. With a mapping that depends on address and port this is what Linux does.
    Overloading,
    /// The next one in a row.
    Sequential,
    /// Any but the inner one.
    Random,
    /// A random one, odd if the inner one is odd (§4.2.2, "port parity").
    Parity,
    /// As [`PortAssignment::Parity`]; and if the port before the inner one has a mapping, the port after that
    /// mapping's (§4.2.3, "port contiguity"): RTP and RTCP stay neighbours.
    Contiguous,
}

/// Which of several outer addresses a mapping gets (RFC 4787 §4.1, "IP address pooling").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pooling {
    /// The same one for all mappings of an inner address: what RFC 4787 REQ-2 asks for.
    Paired,
    /// Any.
    Arbitrary,
}

/// What happens to packets from inside to the box's own outer address (RFC 4787 §6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hairpin {
    /// They are dropped.
    None,
    /// They come back inside, from the sender's outer address: what RFC 4787 REQ-9 asks for.
    External,
    /// They come back inside, from the sender's inner address.
    Internal,
}

/// What the box lets out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Egress {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// Streams only: UDP is dropped.
    TcpOnly,
    /// Streams to this port only.
    TcpPort(u16),
    /// What this inner address sends, and nothing else: the others have to ask that host, a proxy.
    OnlyFrom(IpAddr),
}

/// How a NAT, firewall or router behaves, in the words of RFC 4787. A plain description; a network makes a
/// [`Translator`](crate::Translator) of it.
///
/// The classic names of RFC 3489 differ in mapping and filtering alone: the cones preserve ports, as most boxes
/// do, `symmetric` draws them at random; all keep an idle UDP mapping for two minutes, refresh it by outgoing
/// packets only, and do not hairpin. Real boxes by name are in [`Preset`](crate::Preset). Change what you like:
///
/// ```
/// use std::time::Duration;
/// use sterna_netsim::{Hairpin, NatBehaviour, PortAssignment};
///
/// let picky = NatBehaviour {
///     ports: PortAssignment::Random,
///     udp_timeout: Duration::from_secs(30),
///     hairpin: Hairpin::External,
///     ..NatBehaviour::port_restricted()
/// };
/// assert_ne!(picky, NatBehaviour::port_restricted());
/// ```
///
/// IPv6 is never translated, but filtered alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NatBehaviour {
    /// What a mapping depends on. `None`: addresses are not translated.
    pub mapping: Option<Dependence>,
    /// What must have been sent to, for a packet to come in. `None`: everything comes in that can be routed.
    pub filtering: Option<Dependence>,
    /// Which outer port a new mapping gets.
    pub ports: PortAssignment,
    /// How many outer IPv4 addresses the box has, at least 1.
    pub pool: u8,
    /// Which of them a mapping gets.
    pub pooling: Pooling,
    /// What happens to packets from inside to the outer address.
    pub hairpin: Hairpin,
    /// How long a UDP mapping lives after its last use (RFC 4787 REQ-5: two minutes or more).
    pub udp_timeout: Duration,
    /// The same as long as no answer has come in, if that is shorter. Linux has 30 s here and 120 s above.
    pub udp_unanswered_timeout: Duration,
    /// The same for streams (RFC 5382 REQ-5: two hours and four minutes or more).
    pub tcp_timeout: Duration,
    /// The same for streams that are opening or closing, if that is shorter (RFC 5382 REQ-5: four minutes or more).
    pub tcp_transitory_timeout: Duration,
    /// The same for queries by ICMP, which are mapped endpoint-independently always (RFC 5508 REQ-2: a minute or more).
    pub icmp_timeout: Duration,
    /// Whether incoming packets count as use (RFC 4787 REQ-6 allows both).
    pub refreshed_by_inbound: bool,
    /// What the box lets out.
    pub egress: Egress,
    /// Whether a stream that may not pass is refused with a reset, at once; otherwise it is dropped in silence, and
    /// whoever wants to connect waits until his patience ends. For datagrams there is no difference that a machine
    /// could see.
    pub resets: bool,
    /// Whether the network inside speaks IPv6 alone, and the box translates to IPv4 (RFC 6146): `64:ff9b::1.2.3.4`
    /// is 1.2.3.4 outside. Names without an IPv6 address get such a one (DNS64, RFC 6147).
    pub nat64: bool,
}

impl NatBehaviour {
    /// A plain router: no translation and no filter. The network behind it has public addresses.
    pub const fn none() -> Self {
        Self { mapping: None, filtering: None, ..Self::port_restricted() }
    }

    /// Endpoint-independent mapping and filtering.
    pub const fn full_cone() -> Self {
        Self { filtering: Some(Dependence::EndpointIndependent), ..Self::port_restricted() }
    }

    /// Endpoint-independent mapping, address-dependent filtering.
    pub const fn address_restricted() -> Self {
        Self { filtering: Some(Dependence::AddressDependent), ..Self::port_restricted() }
    }

    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    pub const fn port_restricted() -> Self {
        Self {
            mapping: Some(Dependence::EndpointIndependent),
            filtering: Some(Dependence::AddressAndPortDependent),
            ports: PortAssignment::Preserving,
            pool: 1,
            pooling: Pooling::Paired,
            hairpin: Hairpin::None,
            udp_timeout: Duration::from_secs(120),
            udp_unanswered_timeout: Duration::from_secs(120),
            tcp_timeout: Duration::from_secs(7440),
            tcp_transitory_timeout: Duration::from_secs(240),
            icmp_timeout: Duration::from_secs(60),
            refreshed_by_inbound: false,
            egress: Egress::All,
            resets: false,
            nat64: false,
        }
    }

    /// Address-and-port-dependent mapping and filtering, ports at random.
    pub const fn symmetric() -> Self {
        Self {
            mapping: Some(Dependence::AddressAndPortDependent),
            ports: PortAssignment::Random,
            ..Self::port_restricted()
        }
    }

    /// A NAT that drops UDP and lets TCP out.
    pub const fn udp_blocked() -> Self {
        Self { egress: Egress::TcpOnly, ..Self::port_restricted() }
    }

    /// What most people have at home: port-restricted, keeps the port, hairpins, and counts both directions as use.
    pub const fn home_router() -> Self {
        Self { hairpin: Hairpin::External, refreshed_by_inbound: true, ..Self::port_restricted() }
    }

    /// A firewall without translation: what was not asked for does not come in.
    pub const fn firewall() -> Self {
        Self { mapping: None, ..Self::port_restricted() }
    }

    /// The only box of the [`Preset`](crate::Preset) of that name; `None` if there is no such preset, or if it is
    /// made of several boxes.
    pub fn preset(name: &str) -> Option<Self> {
        match name.parse::<Preset>().ok()?.boxes().as_slice() {
            [only] => Some(only.behaviour),
            _ => None,
        }
    }

    /// Whether it gives inner hosts other addresses outside.
    pub const fn translates(&self) -> bool {
        self.mapping.is_some()
    }
}
