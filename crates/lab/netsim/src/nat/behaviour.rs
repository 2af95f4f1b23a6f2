use std::time::Duration;

/// What a mapping or a filter depends on (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dependence {
    /// One for all remote ends.
    EndpointIndependent,
    /// One for each remote address.
    AddressDependent,
    /// One for each remote address and port.
    AddressAndPortDependent,
}

/// Which outer port a new mapping gets (RFC 4787 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PortAssignment {
    /// The same as inside if it is free, a random one otherwise.
    Preserving,
    /// The next one in a row.
    Sequential,
    /// Any.
    Random,
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
    /// Streams only: UDP is dropped.
    TcpOnly,
    /// Streams to this port only.
    TcpPort(u16),
}

/// How a NAT, firewall or router behaves, in the words of RFC 4787. A plain description; a network makes a
/// [`Translator`](crate::Translator) of it.
///
/// The classic names of RFC 3489 are presets. They differ in mapping and filtering alone: the cones preserve
/// ports, as most boxes do, `symmetric` draws them at random; all keep an idle UDP mapping for two minutes,
/// refresh it by outgoing packets only, and do not hairpin. Change what you like:
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
    /// What happens to packets from inside to the outer address.
    pub hairpin: Hairpin,
    /// How long a UDP mapping lives after its last use (RFC 4787 REQ-5: two minutes or more).
    pub udp_timeout: Duration,
    /// The same for streams (RFC 5382 REQ-5: two hours and four minutes or more).
    pub tcp_timeout: Duration,
    /// Whether incoming packets count as use (RFC 4787 REQ-6 allows both).
    pub refreshed_by_inbound: bool,
    /// What the box lets out.
    pub egress: Egress,
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
            hairpin: Hairpin::None,
            udp_timeout: Duration::from_secs(120),
            tcp_timeout: Duration::from_secs(7440),
            refreshed_by_inbound: false,
            egress: Egress::All,
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

    /// A firewall without translation: what was not asked for does not come in.
    pub const fn firewall() -> Self {
        Self { mapping: None, ..Self::port_restricted() }
    }

    /// The presets, by the names that the command line and scenario files use.
    pub const PRESETS: [(&'static str, Self); 7] = [
        ("none", Self::none()),
        ("full-cone", Self::full_cone()),
        ("address-restricted", Self::address_restricted()),
        ("port-restricted", Self::port_restricted()),
        ("symmetric", Self::symmetric()),
        ("udp-blocked", Self::udp_blocked()),
        ("firewall", Self::firewall()),
    ];

    /// The classic four, in the order of their strictness.
    pub const CLASSIC: [(&'static str, Self); 4] = [
        ("full-cone", Self::full_cone()),
        ("address-restricted", Self::address_restricted()),
        ("port-restricted", Self::port_restricted()),
        ("symmetric", Self::symmetric()),
    ];

    /// The preset of that name.
    pub fn preset(name: &str) -> Option<Self> {
        Self::PRESETS.iter().find(|(known, _)| *known == name).map(|(_, behaviour)| *behaviour)
    }

    /// Whether it gives inner hosts other addresses outside.
    pub const fn translates(&self) -> bool {
        self.mapping.is_some()
    }
}
