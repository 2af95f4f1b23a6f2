use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use sansio::Transport;

/// The address of a STUN or TURN server, as a `stun:`, `stuns:`, `turn:` or `turns:` URI (RFC 7064, RFC 7065).
///
/// ```
/// use sterna_ice::ServerUrl;
///
/// let url: ServerUrl = "turn:relay.example.org?transport=tcp".parse().unwrap();
/// assert_eq!((url.is_turn(), url.port, url.usual_port()), (true, None, 3478));
/// assert_eq!(url.to_string(), "turn:relay.example.org?transport=tcp");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    /// What the server does and whether inside TLS.
    pub scheme: Scheme,
    /// An IP address (without brackets) or a name.
    pub host: String,
    /// The port, if the URI has one. If not, the DNS may say by SRV records where [`ServerUrl::service`] is; if it does not
    /// either, or the host is an address, it is [`ServerUrl::usual_port`].
    pub port: Option<u16>,
    /// How to talk to it.
    pub transport: Transport,
}

/// The scheme of a [`ServerUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// STUN.
    Stun,
    /// STUN inside TLS.
    Stuns,
    /// TURN.
    Turn,
    /// TURN inside TLS.
    Turns,
}

/// A server URL that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// It does not start with `stun:`, `stuns:`, `turn:` or `turns:`.
    #[error("a server URL starts with stun:, stuns:, turn: or turns:")]
    Scheme,
    /// The host is empty or has characters that no host has.
    #[error("the host of the server URL is missing or malformed")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port of the server URL is not a number from 1 to 65535")]
    Port,
    /// What follows the `?` is not `transport=udp` or `transport=tcp`.
    #[error("only ?transport=udp or ?transport=tcp may follow, and only for TURN")]
    Query,
    /// TURN over DTLS (`turns:…?transport=udp`).
    #[error("TURN over DTLS is not supported; use turns: with transport=tcp, or turn:")]
    Dtls,
}

impl ServerUrl {
    /// Whether it relays.
    pub fn is_turn(&self) -> bool {
        matches!(self.scheme, Scheme::Turn | Scheme::Turns)
    }

    /// Its address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Its port, as far as the URI tells: 3478, or 5349 inside TLS, if it names none.
    pub fn usual_port(&self) -> u16 {
        let secure = matches!(self.scheme, Scheme::Stuns | Scheme::Turns);
        self.port.unwrap_or(if secure { 5349 } else { 3478 })
    }

    /// What SRV records call it (RFC 8489 §8, RFC 8656 §18.6), if it has no port and its host is a name of the DNS.
    pub fn service(&self) -> Option<&'static str> {
        let is_in_dns = self.host.contains('.') && !self.host.to_ascii_lowercase().ends_with(".local");
        (self.port.is_none() && self.ip().is_none() && is_in_dns).then_some(
            match (self.scheme, self.transport) {
                (Scheme::Stun, _) => "_stun._udp",
                (Scheme::Stuns, _) => "_stuns._tcp",
                (Scheme::Turn, Transport::Tcp) => "_turn._tcp",
                (Scheme::Turn, _) => "_turn._udp",
                (Scheme::Turns, Transport::Dtls) => "_turns._udp",
                (Scheme::Turns, _) => "_turns._tcp",
            },
        )
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(ServerUrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "stun" => Scheme::Stun,
            "stuns" => Scheme::Stuns,
            "turn" => Scheme::Turn,
            "turns" => Scheme::Turns,
            _ => return Err(ServerUrlError::Scheme),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let transport = transport(scheme, query)?;
        let (host, port) = split_port(authority)?;
        let read = |port: &str| port.parse().ok().filter(|&port| port != 0).ok_or(ServerUrlError::Port);
        let port = port.map(read).transpose()?;
        Ok(Self { scheme, host: host.to_owned(), port, transport })
    }
}

/// RFC 7065 §3.2, table 1.
fn transport(scheme: Scheme, query: Option<&str>) -> Result<Transport, ServerUrlError> {
    match (scheme, query) {
        (Scheme::Stun, None) | (Scheme::Turn, None | Some("transport=udp")) => Ok(Transport::Udp),
        (Scheme::Turn, Some("transport=tcp")) => Ok(Transport::Tcp),
        (Scheme::Stuns, None) | (Scheme::Turns, None | Some("transport=tcp")) => Ok(Transport::Tls),
        (Scheme::Turns, Some("transport=udp")) => Err(ServerUrlError::Dtls),
        _ => Err(ServerUrlError::Query),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), ServerUrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(ServerUrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| ServerUrlError::Host)?;
        return match port {
            "" => Ok((host, None)),
            _ => port.strip_prefix(':').map(|port| (host, Some(port))).ok_or(ServerUrlError::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host_char) {
        return Err(ServerUrlError::Host);
    }
    Ok((host, port))
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Stun => "stun",
            Scheme::Stuns => "stuns",
            Scheme::Turn => "turn",
            Scheme::Turns => "turns",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}:[{}]", self.host)?,
            false => write!(f, "{scheme}:{}", self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match (self.is_turn(), self.transport) {
            (true, Transport::Udp | Transport::Dtls) => f.write_str("?transport=udp"),
            (true, Transport::Tcp | Transport::Tls) => f.write_str("?transport=tcp"),
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfcs_are_understood() {
        use Scheme::*;
        use Transport::*;
        // RFC 7064 appendix B, RFC 7065 appendix B.
        for (text, scheme, host, port, transport) in [
            ("stun:example.org", Stun, "example.org", None, Udp),
            ("stuns:example.org", Stuns, "example.org", None, Tls),
            ("stun:example.org:8000", Stun, "example.org", Some(8000), Udp),
            ("turn:example.org", Turn, "example.org", None, Udp),
            ("turns:example.org", Turns, "example.org", None, Tls),
            ("turn:example.org:8000", Turn, "example.org", Some(8000), Udp),
            ("turn:example.org?transport=udp", Turn, "example.org", None, Udp),
            ("turn:example.org?transport=tcp", Turn, "example.org", None, Tcp),
            ("turns:example.org?transport=tcp", Turns, "example.org", None, Tls),
            ("turn:[2001:db8::1]:8000", Turn, "2001:db8::1", Some(8000), Udp),
            ("turn:[2001:db8::1]", Turn, "2001:db8::1", None, Udp),
            ("STUN:192.0.2.1", Stun, "192.0.2.1", None, Udp),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            let expected = ServerUrl { scheme, host: host.to_owned(), port, transport };
            assert_eq!(url, expected, "{text}");
            assert_eq!(url.to_string().parse(), Ok(expected), "{text}");
        }
    }

    // RFC 8489 §8: "If the <host> part … is … an IP address" or there is a port, nothing is asked.
    #[test]
    fn a_name_without_a_port_is_a_service_and_has_a_usual_port() {
        for (text, service, port) in [
            ("stun:example.org", Some("_stun._udp"), 3478),
            ("stuns:example.org", Some("_stuns._tcp"), 5349),
            ("turn:example.org", Some("_turn._udp"), 3478),
            ("turn:example.org?transport=tcp", Some("_turn._tcp"), 3478),
            ("turns:example.org", Some("_turns._tcp"), 5349),
            ("turn:example.org:3478", None, 3478),
            ("turn:192.0.2.1", None, 3478),
            ("turns:[2001:db8::1]", None, 5349),
            ("stun:localhost", None, 3478),
            ("stun:box.LOCAL", None, 3478),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.service(), url.usual_port()), (service, port), "{text}");
        }
    }

    #[test]
    fn unusable_urls_say_why() {
        for (text, error) in [
            ("example.org", ServerUrlError::Scheme),
            ("http:example.org", ServerUrlError::Scheme),
            ("stun:", ServerUrlError::Host),
            ("stun://example.org", ServerUrlError::Host),
            ("turn:user@example.org", ServerUrlError::Host),
            ("stun:[::1", ServerUrlError::Host),
            ("stun:example.org:0", ServerUrlError::Port),
            ("stun:example.org:", ServerUrlError::Port),
            ("stun:example.org:70000", ServerUrlError::Port),
            ("stun:example.org?transport=udp", ServerUrlError::Query),
            ("turn:example.org?transport=sctp", ServerUrlError::Query),
            ("turns:example.org?transport=udp", ServerUrlError::Dtls),
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics_and_what_is_read_prints_to_what_is_read(text in "(stun|turn)s?:[ -~\u{e9}]{0,40}") {
            if let Ok(url) = text.parse::<ServerUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
