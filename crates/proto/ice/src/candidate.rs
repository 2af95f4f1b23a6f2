use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use sansio::Transport;

use crate::candidate_error::{ParseCandidateError as Error, ParseCandidateErrorKind as Kind};

/// A transport address at which an agent may be reached, with what the other side needs to know about it.
///
/// [`Display`](fmt::Display) and [`FromStr`] are the `candidate` attribute (RFC 8839 §5.1), written without
/// `a=` and read with or without it, which is also what a browser calls `RTCIceCandidate.candidate`.
///
/// ```
/// use sterna_ice::{Candidate, CandidateKind};
///
/// let text = "candidate:2 1 udp 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998";
/// let candidate: Candidate = text.parse().unwrap();
/// assert_eq!(candidate.kind, CandidateKind::Srflx);
/// assert_eq!(candidate.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The same for candidates that will probably work or fail together: 1 to 32 characters of
    /// `A-Z a-z 0-9 + /` (RFC 8445 §5.1.1.3).
    pub foundation: String,
    /// Which component of the data stream it is for, 1 to 256. Sterna has one, 1.
    pub component: u16,
    /// The transport protocol. Only UDP candidates are checked; others are kept for printing.
    pub transport: CandidateTransport,
    /// Higher is preferred, 1 to 2³¹ - 1 (RFC 8445 §5.1.2).
    pub priority: u32,
    /// Where it is.
    pub address: CandidateAddress,
    /// How it was found.
    pub kind: CandidateKind,
    /// For reflexive candidates the base, for relayed ones the mapped address; [`hidden_address`] if that is
    /// nobody's business. Host candidates have none.
    pub related: Option<SocketAddr>,
    /// For TCP candidates, who opens the connection (RFC 6544 §4.5).
    pub tcp_type: Option<TcpType>,
    /// The username fragment of the ICE session that it belongs to (RFC 8838 §9, RFC 8839 §5.1).
    pub ufrag: Option<String>,
    /// All other name-value pairs, in their order.
    pub extensions: Vec<(String, String)>,
    /// Only on our own candidates: the address that packets leave from.
    pub base: Option<SocketAddr>,
    /// Only on our own reflexive and relayed candidates: the URL of the server that it came from.
    pub url: Option<String>,
    /// Only on our own relayed candidates: how we talk to the TURN server.
    pub relay_protocol: Option<Transport>,
}

/// Where a [`Candidate`] is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateAddress {
    /// At an IP address.
    Ip(SocketAddr),
    /// Behind a `.local` name, which only the same network resolves.
    Mdns {
        /// The name, `.local` included.
        name: String,
        /// The port.
        port: u16,
    },
}

/// How a [`Candidate`] was found. Ordered from the most to the least preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// On an interface of the machine itself.
    Host,
    /// Peer-reflexive: as a check of or to the other agent showed it.
    Prflx,
    /// Server-reflexive: as a STUN server sees us.
    Srflx,
    /// On a TURN server.
    Relay,
}

/// The transport protocol of a [`Candidate`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
    /// Something that we do not know, as it was spelt.
    Other(String),
}

/// Who opens the connection of a TCP candidate (RFC 6544 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpType {
    /// Its owner does.
    Active,
    /// Its owner waits for one.
    Passive,
    /// Both at once.
    SimultaneousOpen,
}

/// What is written in place of a related address that must not be known: `0.0.0.0` or `::`, port 9
/// (RFC 8839 §5.1).
pub fn hidden_address(like: IpAddr) -> SocketAddr {
    match like {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 9),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 9),
    }
}

impl Candidate {
    /// A UDP candidate of component 1 without anything optional.
    pub fn new(
        kind: CandidateKind,
        address: impl Into<CandidateAddress>,
        priority: u32,
        foundation: &str,
    ) -> Self {
        Self {
            foundation: foundation.to_owned(),
            component: 1,
            transport: CandidateTransport::Udp,
            priority,
            address: address.into(),
            kind,
            related: None,
            tcp_type: None,
            ufrag: None,
            extensions: Vec::new(),
            base: None,
            url: None,
            relay_protocol: None,
        }
    }
}

impl CandidateAddress {
    /// The IP address and port, unless it is still a name.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Mdns { .. } => None,
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Mdns { port, .. } => *port,
        }
    }

    fn with_port(self, port: u16) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(SocketAddr::new(address.ip(), port)),
            Self::Mdns { name, .. } => Self::Mdns { name, port },
        }
    }
}

impl From<SocketAddr> for CandidateAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for CandidateAddress {
    /// `192.0.2.1:5000`, `[2001:db8::1]:5000` or `name.local:5000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Mdns { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

impl CandidateKind {
    /// As in the attribute: `host`, `srflx`, `prflx`, `relay`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Prflx => "prflx",
            Self::Srflx => "srflx",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for CandidateTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Other(other) => other,
        })
    }
}

impl fmt::Display for TcpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { foundation, component, transport, priority, kind, .. } = self;
        write!(f, "candidate:{foundation} {component} {transport} {priority} ")?;
        match &self.address {
            CandidateAddress::Ip(address) => write!(f, "{} {}", address.ip(), address.port())?,
            CandidateAddress::Mdns { name, port } => write!(f, "{name} {port}")?,
        }
        write!(f, " typ {kind}")?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(tcp_type) = self.tcp_type {
            write!(f, " tcptype {tcp_type}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        self.extensions.iter().try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}

impl FromStr for Candidate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = Words { text, at: 0 };
        words.skip("a=");
        words.skip("candidate:");
        let foundation = words.next(Kind::Foundation)?;
        if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
            return Err(words.error(Kind::Foundation, foundation));
        }
        let component = words.number(Kind::Component, 1..=256)? as u16;
        let transport = match words.next(Kind::Transport)? {
            udp if udp.eq_ignore_ascii_case("udp") => CandidateTransport::Udp,
            tcp if tcp.eq_ignore_ascii_case("tcp") => CandidateTransport::Tcp,
            other => CandidateTransport::Other(other.to_owned()),
        };
        let priority = words.number(Kind::Priority, 1..=(1 << 31) - 1)?;
        let host = words.next(Kind::Address)?;
        let address = parse_address(host).map_err(|kind| words.error(kind, host))?;
        let address = address.with_port(words.number(Kind::Port, 0..=65535)? as u16);
        if words.next(Kind::CandidateKind)? != "typ" {
            return Err(words.error(Kind::CandidateKind, ""));
        }
        let kind = match words.next(Kind::CandidateKind)? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::Srflx,
            "prflx" => CandidateKind::Prflx,
            "relay" => CandidateKind::Relay,
            other => return Err(words.error(Kind::CandidateKind, other)),
        };
        let mut candidate = Self { component, transport, ..Self::new(kind, address, priority, foundation) };
        words.read_extensions(&mut candidate)?;
        Ok(candidate)
    }
}

fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// RFC 8839 §5.1 forbids names; `.local` ones are the exception that browsers have made.
fn parse_address(host: &str) -> Result<CandidateAddress, Kind> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(CandidateAddress::Ip(sansio::unmapped(SocketAddr::new(ip, 0))));
    }
    let looks_like_a_name =
        host.len() <= 253 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    match host.to_ascii_lowercase().strip_suffix(".local") {
        _ if !looks_like_a_name => Err(Kind::Address),
        Some(label) if !label.is_empty() => Ok(CandidateAddress::Mdns { name: host.to_owned(), port: 0 }),
        _ => Err(Kind::NotAnAddress),
    }
}

/// The words of a candidate line, with their offsets.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn skip(&mut self, prefix: &str) {
        if self.text[self.at..].starts_with(prefix) {
            self.at += prefix.len();
        }
    }

    fn peek(&self) -> Option<&'a str> {
        let rest = self.text[self.at..].trim_start_matches(' ').trim_end_matches(['\r', '\n']);
        (!rest.is_empty()).then(|| rest.split(' ').next().unwrap_or(rest))
    }

    fn next(&mut self, missing: Kind) -> Result<&'a str, Error> {
        let word = self.peek().ok_or(Error { kind: missing, offset: self.text.len() })?;
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(' ').len() + word.len();
        Ok(word)
    }

    fn number(&mut self, kind: Kind, range: std::ops::RangeInclusive<u32>) -> Result<u32, Error> {
        let word = self.next(kind)?;
        let digits = word.len() <= 10 && word.bytes().all(|b| b.is_ascii_digit());
        match word.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(number),
            _ => Err(self.error(kind, word)),
        }
    }

    /// The error that points at the start of `word`, which was just read.
    fn error(&self, kind: Kind, word: &str) -> Error {
        Error { kind, offset: self.at - word.len().min(self.at) }
    }

    /// RFC 8839 §5.1: "An implementation MUST ignore any name/value pairs it doesn't understand."
    fn read_extensions(&mut self, candidate: &mut Candidate) -> Result<(), Error> {
        let mut related = None;
        while self.peek().is_some() {
            let name = self.next(Kind::Extension)?;
            // Some browsers have sent a last name without its value; it says nothing then.
            let Ok(value) = self.next(Kind::Extension) else { break };
            match name {
                // A related address is only told to people: one that cannot be read is none.
                "raddr" => related = value.parse::<IpAddr>().ok(),
                "rport" => {
                    let port = value.parse::<u16>().ok();
                    candidate.related = related.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
                }
                "tcptype" => {
                    candidate.tcp_type = match value {
                        "active" => Some(TcpType::Active),
                        "passive" => Some(TcpType::Passive),
                        "so" => Some(TcpType::SimultaneousOpen),
                        _ => return Err(self.error(Kind::Extension, value)),
                    }
                }
                "ufrag" => candidate.ufrag = Some(value.to_owned()),
                _ => candidate.extensions.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Candidate, Error> {
        text.parse()
    }

    #[test]
    fn the_lines_of_real_peers_survive() {
        for line in [
            "candidate:1 1 udp 2130706431 10.0.1.1 8998 typ host",
            "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999",
            "candidate:0 1 udp 2122252543 3a1b2c3d-0000-4000-8000-1234567890ab.local 50000 typ host ufrag 8hhY",
            "candidate:4 1 tcp 2105524479 192.168.1.5 9 typ host tcptype active",
            "candidate:5 1 udp 41885439 2001:db8::17 5555 typ relay raddr 198.51.100.2 rport 1000",
            "candidate:6 1 ssltcp 41885439 192.0.2.1 443 typ host",
        ] {
            assert_eq!(parse(line).unwrap().to_string(), line);
            assert_eq!(parse(&format!("a={line}\r\n")).unwrap().to_string(), line);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_pointed_at() {
        for (line, kind, offset) in [
            ("candidate:", Kind::Foundation, 10),
            ("candidate:a-b 1 udp 1 10.0.1.1 1 typ host", Kind::Foundation, 10),
            ("candidate:1 0 udp 1 10.0.1.1 1 typ host", Kind::Component, 12),
            ("candidate:1 257 udp 1 10.0.1.1 1 typ host", Kind::Component, 12),
            ("candidate:1 1 udp 2147483648 10.0.1.1 1 typ host", Kind::Priority, 18),
            ("candidate:1 1 udp 1 10.0.1 1 typ host", Kind::NotAnAddress, 20),
            ("candidate:1 1 udp 1 example.com 1 typ host", Kind::NotAnAddress, 20),
            ("candidate:1 1 udp 1 .local 1 typ host", Kind::NotAnAddress, 20),
            ("candidate:1 1 udp 1 fe80::1%eth0 1 typ host", Kind::Address, 20),
            ("candidate:1 1 udp 1 10.0.1.1 65536 typ host", Kind::Port, 29),
            ("candidate:1 1 udp 1 10.0.1.1 1 typ magic", Kind::CandidateKind, 35),
            ("candidate:1 1 udp 1 10.0.1.1 1", Kind::CandidateKind, 30),
        ] {
            assert_eq!(parse(line), Err(Error { kind, offset }), "{line}");
        }
    }

    #[test]
    fn mapped_addresses_are_read_as_what_they_mean() {
        let candidate = parse("candidate:1 1 udp 1 ::ffff:192.0.2.1 5 typ host").unwrap();
        assert_eq!(candidate.address.ip(), Some("192.0.2.1:5".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(a=)?(candidate:)?[ -~\\r\\n\u{e9}]{0,120}") {
            let _ = parse(&line);
        }

        #[test]
        fn what_is_read_prints_to_what_is_read(
            foundation in "[A-Za-z0-9+/]{1,32}", component in 1u16..=256, priority in 1u32..1 << 31,
            ip: IpAddr, port: u16, kind in 0usize..4, related: Option<SocketAddr>,
            ufrag in proptest::option::of("[A-Za-z0-9+/]{4,8}"),
            extensions in proptest::collection::vec(("x-[a-z]{1,5}", "[!-~]{1,9}"), 0..4),
        ) {
            let kind = [CandidateKind::Host, CandidateKind::Prflx, CandidateKind::Srflx, CandidateKind::Relay][kind];
            let address = sansio::unmapped(SocketAddr::new(ip, port));
            let related = related.map(|related| SocketAddr::new(related.ip(), related.port()));
            let candidate = Candidate {
                component, related, ufrag, extensions,
                ..Candidate::new(kind, address, priority, &foundation)
            };
            prop_assert_eq!(parse(&candidate.to_string()), Ok(candidate));
        }
    }
}
