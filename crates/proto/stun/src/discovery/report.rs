//! What was found out.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::SocketError;
use serde::{Deserialize, Serialize};

/// What a NAT's mapping or filtering depends on (RFC 4787 §4.1 and §5), as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// There is none: addresses are not translated, packets not filtered.
    None,
    /// On nothing: one for all remote ends.
    EndpointIndependent,
    /// On the remote address.
    AddressDependent,
    /// On the remote address and port.
    AddressAndPortDependent,
    /// It could not be told. [`NatReport::doubts`] says why.
    #[default]
    Inconclusive,
}

impl Behaviour {
    /// `none`, `endpoint-independent`, `address-dependent`, `address-and-port-dependent` or `inconclusive`.
    pub const fn as_str(self) -> &'static str {
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

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What matters of the NATs in front of a machine when it is to connect with another one, for one family of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Whether UDP gets out and back: whether any server answered. `None` if none could be asked.
    pub udp: Option<bool>,
    /// What our outer address and port depend on.
    pub mapping: Behaviour,
    /// Who may send to that address and port.
    pub filtering: Behaviour,
    /// Whether the outer port is the inner one, where that is free.
    pub preserves_port: Option<bool>,
    /// Whether two sockets behind the NAT reach each other by their outer addresses (RFC 4787 §6). `None` also
    /// where there is no NAT.
    pub hairpin: Option<bool>,
    /// How long an idle mapping lives that was used for one question and its answer. Some NATs, Linux among them,
    /// remember one longer that carried more.
    pub lifetime: Option<Lifetime>,
    /// The outer addresses that were seen.
    pub mapped: Vec<SocketAddr>,
}

/// How the NATs and firewalls between one address of ours and some servers behave, as far as could be told.
///
/// It is what was seen at one moment, with a few ports: a NAT may do otherwise under load, or tomorrow
/// (RFC 5780 §1). What could not be told is `None` or [`Behaviour::Inconclusive`], and stands in
/// [`NatReport::doubts`]; nothing is guessed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NatReport {
    /// What matters for connections.
    pub nat: Nat,
    /// Our address as the first server that answered sees it.
    pub mapped: Option<SocketAddr>,
    /// Whether servers at different addresses or ports saw us as different ones. With several ordinary servers this
    /// can be known where [`Nat::mapping`] cannot: on the address alone, or on the port too?
    pub mapping_varies: Option<bool>,
    /// Whether datagrams come through, both ways, that are too long for one packet.
    pub fragments: Option<bool>,
    /// Whether somebody rewrites addresses inside packets (RFC 5780 §3.6).
    pub rewrites: Option<bool>,
    /// The server with two addresses that was asked to answer from both.
    pub server: Option<SocketAddr>,
    /// Each server that was asked, in the order of the configuration.
    pub servers: Vec<ServerReport>,
    /// Each outer address that was seen, in the order of their arrival: the evidence.
    pub observations: Vec<Observation>,
    /// What could not be told, and why.
    pub doubts: Vec<Doubt>,
    /// Why there is nothing else: no socket could be opened.
    pub error: Option<SocketError>,
}

impl NatReport {
    /// Whether our address is translated, if that is known.
    pub fn translated(&self) -> Option<bool> {
        match self.nat.mapping {
            Behaviour::None => Some(false),
            _ => self.mapped.map(|_| true),
        }
    }

    /// Why something could not be told.
    pub fn doubt(&self, about: Aspect) -> Option<&Why> {
        self.doubts.iter().find(|doubt| doubt.about == about).map(|doubt| &doubt.why)
    }
}

/// How long an idle mapping lives, as far as was waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lifetime {
    /// After so much silence it was still there.
    pub alive_after: Duration,
    /// After so much it was gone; `None` if it outlived the test.
    pub gone_after: Option<Duration>,
}

/// What came of asking a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReport {
    /// Its address.
    pub address: SocketAddr,
    /// What it answered.
    pub outcome: ServerOutcome,
    /// How long the answer took, if that can be told.
    pub rtt: Option<Duration>,
    /// The other address and port that it says it has.
    pub other: Option<SocketAddr>,
    /// How it calls itself.
    pub software: Option<String>,
}

/// What a server answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerOutcome {
    /// Nothing yet.
    Pending,
    /// It sees us as this.
    Mapped(SocketAddr),
    /// It refuses, with this error code.
    Refused(u16),
    /// It did not answer.
    Silent,
}

/// An outer address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observation {
    /// The socket.
    pub local: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// How the socket looks from there.
    pub mapped: SocketAddr,
}

/// Something that can be in doubt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Aspect {
    /// [`Nat::mapping`]
    Mapping,
    /// [`Nat::filtering`]
    Filtering,
    /// [`Nat::preserves_port`]
    PortPreservation,
    /// [`Nat::hairpin`]
    Hairpin,
    /// [`NatReport::fragments`]
    Fragments,
    /// [`Nat::lifetime`]
    Lifetime,
}

impl Aspect {
    /// `mapping`, `filtering`, `preserves_port`, `hairpin`, `fragments` or `lifetime`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Filtering => "filtering",
            Self::PortPreservation => "preserves_port",
            Self::Hairpin => "hairpin",
            Self::Fragments => "fragments",
            Self::Lifetime => "lifetime",
        }
    }
}

/// Something that could not be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// What.
    pub about: Aspect,
    /// Why.
    pub why: Why,
}

/// Why something could not be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Why {
    /// No server answered.
    #[error("no STUN server answered")]
    NoAnswer,
    /// Nothing was compared: only one server address answered.
    #[error("only one server address answered; it takes two to compare")]
    OneAddress,
    /// The outer address depends on the remote one; whether on its port, too, no server here can tell.
    #[error(
        "the outer address differs from server to server; whether the port counts too, these cannot tell"
    )]
    NoSecondPort,
    /// No server here answers from a second address.
    #[error("no server here has a second address to answer from (RFC 5780)")]
    NoSecondAddress,
    /// The server's other address is silent even when it is asked directly.
    #[error("the server's other address {0} does not answer at all")]
    OtherAddressSilent(SocketAddr),
    /// The server refuses what it is asked for.
    #[error("the server does not do this: it says {0}")]
    Refused(u16),
    /// The server answers from where it was asked, whatever it was asked for.
    #[error("the server answers from the wrong address")]
    WrongOrigin,
    /// The answer is short: only one way was tried.
    #[error("the server answers with a short packet, so only one way was tried")]
    ShortAnswer,
    /// Too many packets are lost to take silence for an answer.
    #[error("too many packets are lost to tell")]
    Loss,
    /// It would have to be tried through a mapping or a filter that does not let it be tried.
    #[error("this kind of mapping and filtering does not let it be seen")]
    Hidden,
    /// There is no NAT.
    #[error("there is no NAT that could")]
    NoNat,
    /// One result contradicts the other.
    #[error("the results contradict each other")]
    Contradiction,
}
