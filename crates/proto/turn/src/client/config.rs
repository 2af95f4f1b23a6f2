use std::fmt;
use std::time::Duration;

use sansio::{Path, Seed};
use stun::credential::AccessToken;

use crate::attribute::{Families, Family};

/// What a client shows to be let in (RFC 8489 §9.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The username; `timestamp:user` if it is valid for a time only.
    pub username: String,
    /// The password. Never sent.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).field("password", &"..").finish()
    }
}

/// What a [`Client`](crate::Client) needs to know. [`ClientConfig::new`] fills in the usual.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The way to the server: our socket or stream, and the server's address.
    pub server: Path,
    /// Username and password.
    pub credentials: Credentials,
    /// An access token of another party (RFC 7635), for servers that take one: see
    /// [`Client::third_party`](crate::Client::third_party). It goes before username and password.
    pub token: Option<AccessToken>,
    /// What the random generator starts from.
    pub seed: Seed,
    /// The family of the relayed address, and so of the peers it can reach. IPv4 unless told. Servers that do not know
    /// dual allocations give one IPv4 address to whoever asks for both.
    pub families: Families,
    /// How long the allocation should live between refreshes; `None` leaves it to the server (usually 10
    /// minutes). Servers take it as a hint.
    pub lifetime: Option<Duration>,
    /// Wait before the first retransmission over UDP. RFC 8489 §6.2.1 wants 500 ms unless the round trip is known.
    pub rto: Duration,
    /// Whether to bind a channel to each peer, which makes every packet 32 bytes shorter. On unless told.
    pub channels: bool,
    /// Over UDP, how long the path may be silent before a Binding indication keeps its NAT binding alive.
    pub keepalive: Option<Duration>,
    /// Whether to ask for a ticket, with which the allocation can be taken along to another address of ours: see
    /// [`Client::migrate`](crate::Client::migrate). Off unless told. A server that forbids it is asked again without.
    pub mobility: bool,
    /// Whether to ask for a server that can keep datagrams from being fragmented on their way to peers: see
    /// [`Client::whole_lane`](crate::Client::whole_lane). Off unless told. A server that cannot is asked again without.
    pub dont_fragment: bool,
    /// Whether peers are reached by TCP connections (RFC 6062) in place of datagrams: see
    /// [`Client::connect`](crate::Client::connect). The server has to be reached by a stream then. Off unless told.
    pub streams: bool,
    /// What is told to the server about the software; nothing unless told.
    pub software: Option<String>,
    /// Unix time at [`Time::ZERO`](sansio::Time::ZERO), if known: lets a refused time-limited credential say
    /// whether it has expired.
    pub unix_time_at_start: Option<Duration>,
}

impl ClientConfig {
    /// The usual configuration for an allocation on `server`.
    pub fn new(server: Path, credentials: Credentials, seed: Seed) -> Self {
        Self {
            server,
            credentials,
            token: None,
            seed,
            families: Family::Ipv4.into(),
            lifetime: None,
            rto: Duration::from_millis(500),
            channels: true,
            keepalive: Some(Duration::from_secs(15)),
            mobility: false,
            dont_fragment: false,
            streams: false,
            software: None,
            unix_time_at_start: None,
        }
    }
}
