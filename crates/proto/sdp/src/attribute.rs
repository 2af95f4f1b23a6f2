use std::fmt;

/// Who opens the connection, or for DTLS who is the client (RFC 4145 §4, RFC 8842 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The DTLS client: it opens.
    Active,
    /// The DTLS server: it waits.
    Passive,
    /// Either: what an offer says, for the answer to choose.
    Actpass,
    /// Not now. Not allowed with DTLS.
    Holdconn,
}

impl Setup {
    /// As it is spelled.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::Actpass, Self::Holdconn]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way media flows, as the one who describes it sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    Sendrecv,
    /// Only from the one who describes.
    Sendonly,
    /// Only towards the one who describes.
    Recvonly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Sendrecv, Self::Sendonly, Self::Recvonly, Self::Inactive];

    /// Whether the one who describes sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::Sendrecv | Self::Sendonly)
    }

    /// Whether the one who describes receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::Sendrecv | Self::Recvonly)
    }

    /// The one that sends and receives so.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::Sendrecv,
            (true, false) => Self::Sendonly,
            (false, true) => Self::Recvonly,
            (false, false) => Self::Inactive,
        }
    }

    /// As the other side sees it.
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn and(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// As it is spelled.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sendrecv => "sendrecv",
            Self::Sendonly => "sendonly",
            Self::Recvonly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sections that belong together (`a=group`, RFC 5888 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// What binds them: `BUNDLE`, `LS`, …
    pub semantics: &'a str,
    mids: &'a str,
}

impl<'a> Group<'a> {
    pub(crate) fn parse(value: &'a str) -> Self {
        let (semantics, mids) = value.split_once(' ').unwrap_or((value, ""));
        Self { semantics, mids }
    }

    /// The mids of its sections, in order.
    pub fn mids(self) -> impl Iterator<Item = &'a str> {
        self.mids.split(' ').filter(|mid| !mid.is_empty())
    }

    /// Whether the section with this mid belongs to it.
    pub fn contains(self, mid: &str) -> bool {
        self.mids().any(|own| own == mid)
    }
}

/// What is wrong with an attribute that JSEP reads, if anything. Attributes it does not read are never wrong
/// (RFC 8866 §5.13).
pub(crate) fn flaw(name: &str, value: &str) -> Option<&'static str> {
    let well_formed = match name {
        // RFC 8839 §5.4. Peers are known that use characters beyond `ice-char` ('-', '_'), and browsers let them.
        "ice-ufrag" => (4..=256).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()),
        "ice-pwd" => (22..=256).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()),
        "mid" => is_token(value),
        "setup" => Setup::parse(value).is_some(),
        "group" => is_token(Group::parse(value).semantics),
        // RFC 8122 §5: a hash function and hexadecimal pairs. What they mean is for others to say.
        "fingerprint" => value.split_once(' ').is_some_and(|(hash, digits)| {
            is_token(hash)
                && digits
                    .trim_end()
                    .split(':')
                    .all(|it| it.len() == 2 && it.bytes().all(|b| b.is_ascii_hexdigit()))
        }),
        "sctp-port" => is_number(value) && value.parse::<u16>().is_ok(),
        "sctpmap" => {
            value.split(' ').next().is_some_and(|port| is_number(port) && port.parse::<u16>().is_ok())
        }
        "max-message-size" | "ice-pacing" => is_number(value),
        _ => true,
    };
    if well_formed { None } else { Some(expectation(name)) }
}

fn expectation(name: &str) -> &'static str {
    match name {
        "ice-ufrag" => "4 to 256 visible characters",
        "ice-pwd" => "22 to 256 visible characters",
        "setup" => "active, passive, actpass or holdconn",
        "fingerprint" => "a hash function and pairs of hexadecimal digits with colons between",
        "sctp-port" => "a port from 0 to 65535",
        "sctpmap" => "a port, a protocol and a number of streams",
        "max-message-size" => "a number of bytes",
        "ice-pacing" => "a number of milliseconds",
        _ => "a token",
    }
}

/// Attributes that a level may carry once at most: two of them would leave open which one counts.
pub(crate) fn is_single(name: &str) -> bool {
    matches!(name, "ice-ufrag" | "ice-pwd" | "mid" | "setup" | "sctp-port" | "max-message-size")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `token` of RFC 8866 §9.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lists_its_mids() {
        let group = Group::parse("BUNDLE 0 audio  2");
        assert_eq!((group.semantics, group.mids().collect::<Vec<_>>()), ("BUNDLE", vec!["0", "audio", "2"]));
        assert!(group.contains("audio") && !group.contains("aud"));
        assert_eq!(Group::parse("BUNDLE").mids().count(), 0);
    }

    #[test]
    fn the_attributes_of_jsep_are_checked_and_no_others() {
        for (name, good, bad) in [
            ("ice-ufrag", "abcd", "abc"),
            ("ice-pwd", "0123456789012345678901", "short"),
            ("setup", "actpass", "actPass"),
            ("fingerprint", "sha-256 AB:cd", "sha-256 ABC"),
            ("sctp-port", "5000", "65536"),
            ("max-message-size", "99999999999999999999999", "-1"),
            ("mid", "0", "a b"),
        ] {
            assert_eq!(flaw(name, good), None, "{name}:{good}");
            assert!(flaw(name, bad).is_some(), "{name}:{bad}");
        }
        assert_eq!(flaw("anything", "\u{1}"), None);
    }
}
