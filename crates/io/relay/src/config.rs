use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crypto::Certificate;
use tokio::sync::mpsc;
use turn::ServerConfig;

use crate::Question;

/// What a [`Relay`](crate::Relay) is told.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where to listen for datagrams. Port 0 lets the system choose.
    pub udp: Vec<SocketAddr>,
    /// Where to listen for TCP connections. Port 0 lets the system choose.
    pub tcp: Vec<SocketAddr>,
    /// Where to listen for TLS connections, and with which certificate. Port 0 lets the system choose. An address (with
    /// a port other than 0) may stand among those of TCP as well: what connects there is told by its first byte.
    pub tls: Vec<(SocketAddr, Arc<rustls::ServerConfig>)>,
    /// What is shown to clients that speak DTLS, which they may do wherever it listens for datagrams. Its key has to be
    /// ECDSA, on P-256 or P-384. `None`: nobody speaks DTLS here.
    pub dtls: Option<Certificate>,
    /// Where others accept streams for it, and hand them over by [`Relay::entrance`](crate::Relay::entrance).
    pub shared: Vec<SocketAddr>,
    /// What the machine is told. The listening addresses and the Unix time are filled in.
    pub server: ServerConfig,
    /// What connections may cost.
    pub limits: Limits,
    /// How many threads carry datagrams, at least one: best as many as there are cores to spare. The system spreads the
    /// clients among them.
    pub shards: usize,
    /// How long a thread keeps looking for more, without sleeping, after a datagram came. Zero, the usual: not at all.
    /// It takes most of the delay that a relay adds, and a core.
    pub busy_poll: Duration,
    /// Who is asked about users that only somebody else knows. The machine has to be told to ask, too
    /// ([`turn::Auth::lookup`]).
    pub questions: Option<mpsc::Sender<Question>>,
}

impl RelayConfig {
    /// Listens nowhere yet.
    pub fn new(server: ServerConfig) -> Self {
        Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            dtls: None,
            shared: Vec::new(),
            server,
            limits: Limits::default(),
            shards: 1,
            busy_poll: Duration::ZERO,
            questions: None,
        }
    }
}

/// What TCP and TLS connections, and DTLS sessions, may cost. (What UDP clients may cost the machine decides: [`turn::Quotas`].)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one address at a time; of an IPv6 address, its /64 counts.
    pub connections_per_source: usize,
    /// Handshakes of TLS and DTLS that are under way at a time.
    pub handshakes: usize,
    /// Those of one address; of an IPv6 address, its /64 counts.
    pub handshakes_per_source: usize,
    /// How long the handshake may take, and after it the first message.
    pub handshake: Duration,
    /// How long a connection without an allocation may be silent, and one with an allocation may take for one
    /// message.
    pub idle: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub stalled: Duration,
    /// Bytes that wait for one client to read them. What comes beyond is dropped.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_source: 200,
            handshakes: 1_000,
            handshakes_per_source: 100,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(30),
            queue: 256 * 1024,
        }
    }
}
