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
/// assert_eq!((url.is_turn(), url.port), (true, 3478));
/// assert_eq!(url.to_string(), "turn:relay.example.org:3478?transport=tcp");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    /// What the server does and whether inside TLS.
    pub scheme: Scheme,
    /// An IP address (without brackets) or a name.
    pub host: String,
    /// The port; 3478, or 5349 inside TLS, if the URI has none.
    pub port: u16,
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
        let default = if matches!(scheme, Scheme::Stuns | Scheme::Turns) { 5349 } else { 3478 };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or(ServerUrlError::Port)?,
            None => default,
        };
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
            true => write!(f, "{scheme}:[{}]:{}", self.host, self.port)?,
            false => write!(f, "{scheme}:{}:{}", self.host, self.port)?,
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
            ("stun:example.org", Stun, "example.org", 3478, Udp),
            ("stuns:example.org", Stuns, "example.org", 5349, Tls),
            ("stun:example.org:8000", Stun, "example.org", 8000, Udp),
            ("turn:example.org", Turn, "example.org", 3478, Udp),
            ("turns:example.org", Turns, "example.org", 5349, Tls),
            ("turn:example.org:8000", Turn, "example.org", 8000, Udp),
            ("turn:example.org?transport=udp", Turn, "example.org", 3478, Udp),
            ("turn:example.org?transport=tcp", Turn, "example.org", 3478, Tcp),
            ("turns:example.org?transport=tcp", Turns, "example.org", 5349, Tls),
            ("turn:[2001:db8::1]:8000", Turn, "2001:db8::1", 8000, Udp),
            ("STUN:192.0.2.1", Stun, "192.0.2.1", 3478, Udp),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            let expected = ServerUrl { scheme, host: host.to_owned(), port, transport };
            assert_eq!(url, expected, "{text}");
            assert_eq!(url.to_string().parse(), Ok(expected), "{text}");
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
