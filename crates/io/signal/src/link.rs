//! Links: a server's address with a secret behind the `#`, which browsers keep to themselves.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::str::FromStr;

/// `http://host:8080/#<22 characters>`: where to meet, and a secret of 128 bits in base64url.
///
/// What stands behind the `#` is never sent by a browser. The server sees the [room](Link::room) only,
/// from which the secret cannot be found.
///
/// ```
/// use sterna_signal::Link;
/// let link = Link::generate("http://127.0.0.1:8080")?;
/// let same: Link = link.to_string().parse()?;
/// assert_eq!(link.room(), same.room());
/// # Ok::<(), sterna_signal::ParseLinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    server: String,
    secret: [u8; 16],
}

/// What is wrong with a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseLinkError {
    /// No `http://` or `https://` in front.
    #[error("“{0}” is not a link: it must start with http:// or https://")]
    NoServer(String),
    /// Nothing, or not 22 characters of base64url, behind the `#`.
    #[error(
        "the link's secret, the 22 characters behind its #, is missing or incomplete: copy the whole link"
    )]
    NoSecret,
}

impl Link {
    /// A link to `server` (`http://host:port`) with a secret from the operating system's random generator.
    pub fn generate(server: &str) -> Result<Self, ParseLinkError> {
        let seed = crypto::seed();
        Self::new(server, std::array::from_fn(|i| seed[i]))
    }

    /// A link from its parts.
    pub fn new(server: &str, secret: [u8; 16]) -> Result<Self, ParseLinkError> {
        let server = server.split('#').next().unwrap_or_default().trim().trim_end_matches('/');
        let lower = server.to_ascii_lowercase();
        let host = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
            return Err(ParseLinkError::NoServer(server.chars().take(60).collect()));
        }
        Ok(Self { server: server.to_string(), secret })
    }

    /// The server's address, without a slash at its end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The secret.
    pub fn secret(&self) -> &[u8; 16] {
        &self.secret
    }

    /// The name under which the server knows the room: hex of `HKDF-SHA256(secret, info "sterna room")`,
    /// 16 bytes.
    pub fn room(&self) -> String {
        let mut room = [0; 16];
        crypto::hkdf_sha256(&self.secret, b"", b"sterna room", &mut room);
        room.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Link {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        let text = text.trim();
        let (server, fragment) = text.split_once('#').unwrap_or((text, ""));
        let empty = Self::new(server, [0; 16])?;
        let secret = URL_SAFE_NO_PAD.decode(fragment).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self { secret: secret.ok_or(ParseLinkError::NoSecret)?, ..empty })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/#{}", self.server, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

/// Leaves out the secret, so that a log does not tell it.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}/#…)", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_22_characters_behind_the_hash() {
        let link = Link::generate("https://sterna.example:8443/").unwrap();
        let text = link.to_string();
        let (server, secret) = text.split_once("/#").unwrap();
        assert_eq!(server, "https://sterna.example:8443");
        assert_eq!(secret.len(), 22);
        assert_eq!(text.parse::<Link>().unwrap(), link);
        assert_eq!(format!(" {text}\n").parse::<Link>().unwrap(), link);
        assert!(!format!("{link:?}").contains(secret));
    }

    #[test]
    fn the_room_is_what_the_document_says() {
        let link = Link::new("http://h", *b"0123456789abcdef").unwrap();
        assert_eq!(link.to_string(), "http://h/#MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(link.room().len(), 32);
        assert!(!link.room().contains("30313233"));
    }

    #[test]
    fn a_broken_link_says_how() {
        let parse = |text: &str| text.parse::<Link>();
        assert_eq!(parse("http://h/"), Err(ParseLinkError::NoSecret));
        assert_eq!(parse("http://h/#short"), Err(ParseLinkError::NoSecret));
        assert_eq!(parse("http://h/#MDEyMzQ1Njc4OWFiY2RlZgAA"), Err(ParseLinkError::NoSecret));
        assert!(matches!(parse("ftp://h/#MDEyMzQ1Njc4OWFiY2RlZg"), Err(ParseLinkError::NoServer(_))));
        assert!(matches!(parse("http:///#MDEyMzQ1Njc4OWFiY2RlZg"), Err(ParseLinkError::NoServer(_))));
    }
}
