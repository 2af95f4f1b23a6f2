//! What was found.

use std::net::{IpAddr, Ipv6Addr};

use sansio::Transport;

/// The port of TURN (RFC 8656 §18.6), and the one inside TLS.
pub(super) const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// A TURN server that the network offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its name, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How to talk to it.
    pub transport: Transport,
    /// Inside TLS: the name that its certificate has to carry (RFC 5928 §5: the domain that was looked into, not the host
    /// that was found).
    pub identity: String,
    /// How it was found.
    pub found: Found,
}

/// How a relay was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// By NAPTR or SRV records of the domain.
    Dns,
    /// By service discovery in the domain.
    DnsSd,
    /// By multicast DNS in the local network.
    Mdns,
    /// At the anycast address.
    Anycast,
}

impl Found {
    /// `dns`, `dns-sd`, `mdns` or `anycast`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::DnsSd => "dns-sd",
            Self::Mdns => "mdns",
            Self::Anycast => "anycast",
        }
    }
}

impl Relay {
    /// `None` if there is no such host or port.
    pub(super) fn new(
        host: &str,
        port: u16,
        transport: Transport,
        identity: &str,
        found: Found,
    ) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let identity = if identity.is_empty() { host.clone() } else { identity.to_owned() };
        (port > 0 && is_host(&host)).then_some(Self { host, port, transport, identity, found })
    }

    /// As it stands in `iceServers` (RFC 7065).
    pub fn url(&self) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        let (scheme, transport) = match self.transport {
            Transport::Udp => ("turn", "udp"),
            Transport::Tcp => ("turn", "tcp"),
            Transport::Tls => ("turns", "tcp"),
            Transport::Dtls => ("turns", "udp"),
        };
        format!("{scheme}:{host}:{}?transport={transport}", self.port)
    }

    /// Whether the way to it is encrypted, and its certificate shows who it is: what RFC 8155 §9 wants of a relay that is
    /// used without credentials.
    pub fn is_secured(&self) -> bool {
        matches!(self.transport, Transport::Tls | Transport::Dtls)
    }
}

/// The name of the service (RFC 8155 §5; RFC 8656 §18.6).
pub(super) fn service(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_turn._udp",
        Transport::Tcp => "_turn._tcp",
        Transport::Tls => "_turns._tcp",
        Transport::Dtls => "_turns._udp",
    }
}

/// The name of the service of STUN (RFC 8489 §8).
pub(super) fn stun_service(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_stun._udp",
        Transport::Tcp => "_stun._tcp",
        Transport::Tls => "_stuns._tcp",
        Transport::Dtls => "_stuns._udp",
    }
}

pub(super) fn default_port(transport: Transport) -> u16 {
    if matches!(transport, Transport::Tls | Transport::Dtls) { TLS_PORT } else { PORT }
}

/// Whether this may stand in a URL: an address, or a name of letters, digits, hyphens and underscores.
pub(super) fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(letter);
    text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(label)
}
