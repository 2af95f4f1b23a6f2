//! What a scenario file says, checked and linked: every name is an index, every address possible.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use netsim::{Link, NatBehaviour, Prefix, Preset};

use super::tree::Spot;
use crate::Way;

/// A scenario, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) seed: u64,
    pub(crate) limit: Duration,
    pub(crate) networks: Vec<Network>,
    /// Indices of `networks`, those outside before those inside.
    pub(crate) order: Vec<usize>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) signalling: Signalling,
    pub(crate) events: Vec<Event>,
    pub(crate) expectations: Vec<Expectation>,
}

/// A network behind a box.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    /// The network outside; `None` is the internet.
    pub(crate) behind: Option<usize>,
    pub(crate) preset: Preset,
    /// The preset's box with what the file changes about it, if it changes anything.
    pub(crate) changed: Option<NatBehaviour>,
    /// The outer ports that the box gives out first, in this order.
    pub(crate) ports: Vec<u16>,
    pub(crate) inside: Option<Spot<Prefix>>,
    pub(crate) link: Option<Link>,
    pub(crate) ipv6: bool,
    /// Its IPv6 addresses, if the file says which.
    pub(crate) inside6: Option<Spot<Prefix>>,
    pub(crate) forwards: Vec<Forward>,
    /// Hosts with an outer address of their own.
    pub(crate) one_to_one: Vec<Spot<usize>>,
}

/// A static mapping.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub(crate) span: Range<usize>,
    pub(crate) tcp: bool,
    pub(crate) outer: u16,
    pub(crate) host: usize,
    pub(crate) port: u16,
}

/// A computer.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// The networks it is on; `None` is the internet.
    pub(crate) networks: Vec<Option<usize>>,
    /// Its addresses, if the file says which: these and no others.
    pub(crate) addresses: Vec<Spot<IpAddr>>,
    pub(crate) link: Option<Link>,
    pub(crate) role: Role,
}

/// What runs on a host.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// One end of a WebRTC connection.
    Peer(Peer),
    /// One socket, on this port, and nothing more.
    Plain { port: u16, tcp: bool },
    /// A STUN and TURN server on port 3478.
    Relay,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// `None`: STUN and TURN of every relay in the file.
    pub(crate) servers: Option<Vec<Server>>,
    pub(crate) relay_only: bool,
    /// Kinds of candidates that the other side is not told.
    pub(crate) withholds: Vec<ice::CandidateKind>,
    /// Whether it restarts ICE by itself when its addresses change or the connection stalls.
    pub(crate) restarts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) host: usize,
}

/// What a relay is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Stun,
    Turn,
    TurnTcp,
    /// TURN inside TLS, on port 443.
    Turns,
}

/// The way by which peers tell each other their descriptions and candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signalling {
    pub(crate) delay: Duration,
    pub(crate) trickle: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) span: Range<usize>,
    pub(crate) at: Duration,
    pub(crate) deed: Deed,
}

/// A link: that of a box, or that of a host to one of its networks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    Uplink(usize),
    Access(usize, Option<usize>),
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Ask { host: usize, server: usize },
    Send { from: usize, to: Option<Target>, text: String },
    Call { from: usize, to: usize },
    Plug { wire: Wire, up: bool },
    Change { wire: Wire, link: Link },
    Move { host: usize, from: Option<usize>, to: Option<usize> },
    Readdress { host: usize, network: Option<usize>, addresses: Vec<Spot<IpAddr>> },
    Reboot { network: usize },
    Renumber { network: usize },
    Stop { host: usize },
    Start { host: usize },
    Jump { host: usize, by: Duration },
    Sleep { host: usize, duration: Duration },
    Restart { host: usize },
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// A plain host's own socket.
    Host(usize),
    /// What STUN told a plain host about itself.
    Mapped(usize),
    /// Where this host was last heard from.
    Seen(usize),
    /// An outer port of a network's box.
    Outer(usize, u16),
    /// A plain host's port at the outer address that is its own.
    OneToOne(usize),
    Literal(SocketAddr),
}

#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) line: usize,
    pub(crate) claim: Claim,
}

/// Something that has to turn out true.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    Connected { hosts: [usize; 2], within: Option<Duration>, at: Option<Duration>, path: Option<Wanted> },
    Received { text: String, by: usize, within: Option<Duration> },
    Lost { text: String, at: Option<Spotted>, because: Option<&'static str> },
    Translated { text: String, to: Target },
    Mapped { host: usize, to: Target },
    Failed { host: usize, because: Option<String>, within: Option<Duration> },
}

/// A place that a packet passes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spotted {
    Network(usize),
    Host(usize),
}

/// A kind of path that is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Any that is not through a TURN server.
    Direct,
    /// This one.
    Way(Way),
}

impl Wanted {
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("direct", Self::Direct),
        ("host", Self::Way(Way::Host)),
        ("srflx", Self::Way(Way::Reflexive)),
        ("prflx", Self::Way(Way::PeerReflexive)),
        ("relayed", Self::Way(Way::Relayed)),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Way(way) => way.name(),
        }
    }
}
