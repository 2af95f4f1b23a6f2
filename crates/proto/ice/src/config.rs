use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use sansio::Seed;

use crate::ServerUrl;

/// What an [`Agent`](crate::Agent) is to do. Start from [`Config::new`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where credentials, tie-breakers and transaction ids come from: secret and fresh in production.
    pub seed: Seed,
    /// Whether this agent starts in the controlling role: the one that sends the offer does
    /// (RFC 8445 §6.1.1). A conflict is repaired on the way.
    pub controlling: bool,
    /// Whether this agent is a lite one, that only answers checks. For machines with a public address.
    pub lite: bool,
    /// Which candidates may be used at all.
    pub policy: TransportPolicy,
    /// What the other side may learn about our addresses (RFC 8828).
    pub address_policy: AddressPolicy,
    /// Whether host candidates hide behind `.local` names, published by mDNS.
    pub mdns: bool,
    /// Whether loopback addresses are candidates. RFC 8445 §5.1.1.1 forbids them, so without this they are
    /// used only on a machine that has no other address at all.
    pub include_loopback: bool,
    /// Whether candidates are told to the other side one by one (RFC 8838), so that nobody waits for the last.
    pub trickle: bool,
    /// STUN and TURN servers, the preferred first. At most 32 are used.
    pub servers: Vec<Server>,
    /// The most candidate pairs that are checked (RFC 8445 §6.1.2.5).
    pub max_pairs: usize,
    /// The most candidates that the other side may give or cause.
    pub max_remote_candidates: usize,
    /// The most `.local` names of the other side that are looked up in one ICE session.
    pub max_mdns_lookups: usize,
    /// The most allocations on one TURN server, when there are several interfaces.
    pub max_allocations_per_server: usize,
    /// The pause between two checks that nothing provoked, from 5 ms (RFC 8445 §14.2). It has to be told to
    /// the other side, as `ice-pacing`; see [`Agent::set_remote_pacing`](crate::Agent::set_remote_pacing).
    pub ta: Duration,
    /// The largest IP packet that surely gets through, in bytes. 1280 is what IPv6 guarantees.
    pub mtu: usize,
    /// Whether somebody asks the router to map ports for us, and will say what came of it by
    /// [`Agent::add_mapping`](crate::Agent::add_mapping) and
    /// [`Agent::end_of_mappings`](crate::Agent::end_of_mappings): gathering goes on for a while for that, during which
    /// everything else happens as ever.
    pub expect_mappings: bool,
    /// Whether to look for a direct path by force where NATs that map anew for each destination leave none, and what
    /// that may cost. `None`, the default: not at all. It takes both sides; see
    /// [`Agent::set_remote_punching`](crate::Agent::set_remote_punching).
    pub punch: Option<Punch>,
    /// How long things take. Made for the Internet; laboratories may want others.
    pub timings: Timings,
}

/// A STUN or TURN server, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is and how it is talked to.
    pub url: ServerUrl,
    /// For TURN: the user name.
    pub username: String,
    /// For TURN: the password.
    pub credential: String,
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name of the interface, as the operating system calls it.
    pub name: String,
    /// One of its addresses; an interface with several is several of these.
    pub address: IpAddr,
    /// What sort of interface it is.
    pub kind: InterfaceKind,
    /// Among interfaces of one sort, lower is preferred.
    pub metric: u32,
    /// Whether packets to the Internet would leave with this address; see [`AddressPolicy`].
    pub default_route: bool,
    /// Whether this is a temporary (privacy) IPv6 address, which hides a permanent one of the same prefix.
    pub temporary: bool,
}

/// What sort of interface an [`Interface`] is. Unreliable ones are tried last (RFC 8421 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceKind {
    /// Nothing is known; taken for reliable.
    #[default]
    Unknown,
    /// Ethernet.
    Wired,
    /// Wi-Fi.
    Wireless,
    /// A mobile network.
    Cellular,
    /// A tunnel.
    Vpn,
    /// A bridge to containers or virtual machines.
    Virtual,
    /// The machine itself.
    Loopback,
}

/// Which candidates may be used: W3C's `iceTransportPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportPolicy {
    /// All.
    #[default]
    All,
    /// Only relayed ones: neither side's address is known to the other.
    Relay,
}

/// What the other side may learn about our addresses: the modes of RFC 8828 §5.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Mode 1: all interfaces.
    #[default]
    All,
    /// Mode 2: the interfaces of the default route ([`Interface::default_route`]) with their own addresses.
    DefaultRoute,
    /// Mode 3: the interfaces of the default route, without their own addresses: only what STUN and TURN
    /// servers see of us.
    DefaultRouteOnly,
    /// Mode 4: TCP and TLS to TURN servers only. Passing a proxy is the driver's business.
    ProxyOnly,
}

/// What punching through NATs may cost at most; see [`Config::punch`].
///
/// It begins when ordinary checks have found no direct path, while data goes through a relay if there is one, and it never
/// sends faster than ordinary checks would go: with both sides at the pace that [`Config::ta`] has by default, 200
/// packets of some 120 bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punch {
    /// How many sockets are opened for it, for some seconds.
    pub sockets: usize,
    /// How many packets are sent for it, all sessions of the connection taken together. A NAT may keep an entry of its
    /// table for each of them, for some minutes.
    pub packets: usize,
    /// How long it may take. So long, a relayed path is not final, though it carries data.
    pub patience: Duration,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// After how long an unanswered request is repeated for the first time, from 500 ms (RFC 8445 §14.3); each
    /// repetition doubles it.
    pub rto: Duration,
    /// How often a request is sent at most (RFC 8489 §6.2.1, Rc).
    pub rc: u32,
    /// How many times `rto` an answer to the last one is waited for (RFC 8489 §6.2.1, Rm).
    pub rm: u32,
    /// How long to wait for the other side before failing, even when nothing is left to try (RFC 8863 §4).
    pub patience: Duration,
    /// After how long gathering ends without the servers that have not answered, when trickling: nobody waits
    /// for that.
    pub gathering: Duration,
    /// The same when the other side gets all candidates at once, and waits for them.
    pub gathering_at_once: Duration,
    /// After how long gathering ends without the servers that have not answered, counted from when every
    /// address has a reflexive candidate of some server and, if TURN servers are configured, there is a relayed one.
    pub gathering_grace: Duration,
    /// The same, while [`Config::expect_mappings`] has something to expect.
    pub mapping_grace: Duration,
    /// How long the controlling agent waits, once it has a direct path, for a better one. Half of it, or
    /// less, when the round trip is short.
    pub better_direct: Duration,
    /// How long the controlling agent waits, once it has a relayed path, for a direct one. Data flows meanwhile.
    pub better_than_relayed: Duration,
    /// The mean time between two consent checks, from 5 s (RFC 7675 §5.1).
    pub consent_interval: Duration,
    /// Without an answer for so long, sending stops (RFC 7675 §5.1).
    pub consent_timeout: Duration,
    /// Without a sign of life from the other side for so long, the state is `Disconnected`.
    pub disconnected: Duration,
    /// When data was sent and nothing at all came back for so long, the path is checked. See
    /// [`Agent::data_sent`](crate::Agent::data_sent).
    pub unanswered: Duration,
    /// When data was sent and nothing at all, no answer to checks either, came back for so long, the state is
    /// `Disconnected`.
    pub unheard: Duration,
    /// Time between keep-alives (RFC 8445 §11, Tr), from 15 s.
    pub keepalive: Duration,
}

impl Config {
    /// What most want, with this seed.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            controlling: false,
            lite: false,
            policy: TransportPolicy::default(),
            address_policy: AddressPolicy::default(),
            mdns: false,
            include_loopback: false,
            trickle: true,
            servers: Vec::new(),
            max_pairs: 100,
            max_remote_candidates: 100,
            max_mdns_lookups: 16,
            max_allocations_per_server: 4,
            ta: Duration::from_millis(5),
            mtu: 1280,
            expect_mappings: false,
            punch: None,
            timings: Timings::default(),
        }
    }
}

impl Default for Punch {
    /// 256 sockets, 1,024 packets and 8 seconds: where ports are given out at random, one of the packets meets one of the
    /// sockets' holes in 98 of 100 cases.
    fn default() -> Self {
        Self { sockets: 256, packets: 1024, patience: Duration::from_secs(8) }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            rto: Duration::from_millis(500),
            rc: 7,
            rm: 16,
            // RFC 8863 §4: "When using default values … this amounts to 39.5 seconds".
            patience: Duration::from_millis(39_500),
            gathering: Duration::from_secs(20),
            gathering_at_once: Duration::from_secs(5),
            gathering_grace: Duration::from_millis(250),
            mapping_grace: Duration::from_millis(3000),
            better_direct: Duration::from_millis(400),
            better_than_relayed: Duration::from_secs(2),
            consent_interval: Duration::from_secs(5),
            consent_timeout: Duration::from_secs(30),
            disconnected: Duration::from_secs(10),
            unanswered: Duration::from_millis(1500),
            unheard: Duration::from_millis(3500),
            keepalive: Duration::from_secs(15),
        }
    }
}

impl Interface {
    /// An address on an interface of which nothing more is known, but that it may carry the default route.
    pub fn new(name: &str, address: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            kind: if address.is_loopback() { InterfaceKind::Loopback } else { InterfaceKind::Unknown },
            metric: 0,
            default_route: true,
            temporary: false,
        }
    }
}

impl fmt::Debug for Server {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {})", self.url, self.username)
    }
}
