use crate::attribute::{Group, is_token};
use crate::{Line, Lines, Section};

/// A whole description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) origin: Origin,
    /// The lines of the session level after `v=` and `o=`.
    pub lines: Lines,
    /// The media sections, in order.
    pub media: Vec<Media>,
}

impl Session {
    /// The lines with which every description of a JSEP endpoint starts: `v=0`, `o=…`, `s=-`, `t=0 0`
    /// (RFC 9429 §5.2.1).
    pub fn new(origin: Origin) -> Self {
        let lines = [Line::new('s', "-"), Line::new('t', "0 0")].into_iter().collect();
        Self { origin, lines, media: Vec::new() }
    }

    /// Who made the description, and which edition of it this is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The media sections, each with what it inherits from the session level.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = Section<'_>> + DoubleEndedIterator {
        self.media.iter().map(|media| Section { session: self, media })
    }

    /// The section at this place.
    pub fn section(&self, index: usize) -> Option<Section<'_>> {
        Some(Section { session: self, media: self.media.get(index)? })
    }

    /// Where the section with this mid stands.
    pub fn index_of(&self, mid: &str) -> Option<usize> {
        self.media.iter().position(|media| media.lines.attribute("mid") == Some(mid))
    }

    /// All `a=group` lines.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.lines.attributes("group").map(Group::parse)
    }

    /// The first `a=group:BUNDLE`: the sections that share one transport, that of the first (RFC 9143 §7).
    pub fn bundle(&self) -> Option<Group<'_>> {
        self.groups().find(|group| group.semantics == "BUNDLE")
    }

    /// Whether the other side is an ICE-lite agent (RFC 8839 §5.3).
    pub fn is_ice_lite(&self) -> bool {
        self.lines.has("ice-lite")
    }

    /// `a=ice-pacing`: the pause between checks that is wished for, in milliseconds (RFC 8839 §5.5).
    pub fn ice_pacing(&self) -> Option<u64> {
        self.lines.attribute("ice-pacing").map(|ms| ms.parse().unwrap_or(u64::MAX))
    }

    /// The values of `a=msid-semantic`, as they stand.
    pub fn msid_semantic(&self) -> Option<&str> {
        self.lines.attribute("msid-semantic")
    }

    /// Whether one- and two-byte RTP header extensions may be mixed, for all sections (RFC 8285 §6).
    pub fn allows_mixed_extmaps(&self) -> bool {
        self.lines.has("extmap-allow-mixed")
    }

    /// `a=ice-options` of the session level, tag by tag (RFC 8839 §5.6).
    pub fn ice_options(&self) -> impl Iterator<Item = &str> {
        self.lines.ice_options()
    }
}

/// The `o=` line: who made the description, and which edition of it this is (RFC 8866 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(crate) username: String,
    pub(crate) session_id: String,
    pub(crate) session_version: String,
    pub(crate) address: String,
}

impl Origin {
    /// The origin of a WebRTC endpoint: `- session_id session_version IN IP4 127.0.0.1`, which tells nothing about
    /// the machine (RFC 9429 §5.2.1).
    pub fn new(session_id: u64, session_version: u64) -> Self {
        Self {
            username: "-".into(),
            session_id: session_id.to_string(),
            session_version: session_version.to_string(),
            address: "IN IP4 127.0.0.1".into(),
        }
    }

    /// The user, `-` if there is none.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Names the session: digits, as they stand.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Names the edition: digits, as they stand.
    pub fn session_version(&self) -> &str {
        &self.session_version
    }

    /// Network type, address type and address, as they stand.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut fields = value.splitn(4, ' ');
        let (username, id, version) = (fields.next()?, fields.next()?, fields.next()?);
        let address = fields.next()?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let well_formed = !username.is_empty() && digits(id) && digits(version);
        (well_formed && address.split(' ').filter(|it| !it.is_empty()).count() == 3).then(|| Self {
            username: username.into(),
            session_id: id.into(),
            session_version: version.into(),
            address: address.into(),
        })
    }
}

/// One media section: its `m=` line and the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub(crate) kind: String,
    /// The port of the default candidate; 9 if there is none yet, 0 for a section that is rejected or bundle-only.
    pub port: u16,
    pub(crate) port_count: Option<u32>,
    pub(crate) protocol: String,
    pub(crate) formats: Vec<String>,
    /// The lines below the `m=` line.
    pub lines: Lines,
}

impl Media {
    /// A section without lines. Characters that would break the `m=` line are left out of its fields.
    pub fn new<'f>(
        kind: &str,
        port: u16,
        protocol: &str,
        formats: impl IntoIterator<Item = &'f str>,
    ) -> Self {
        let clean = |text: &str| text.chars().filter(|it| !it.is_whitespace() && *it != '\0').collect();
        let formats = formats.into_iter().map(clean).collect();
        Self {
            kind: clean(kind),
            port,
            port_count: None,
            protocol: clean(protocol),
            formats,
            lines: Lines::default(),
        }
    }

    /// `audio`, `video`, `application`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// How many ports follow on each other, if told. Not used in WebRTC.
    pub fn port_count(&self) -> Option<u32> {
        self.port_count
    }

    /// The transport protocol: `UDP/TLS/RTP/SAVPF`, `UDP/DTLS/SCTP`, …
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Payload types, or `webrtc-datachannel`.
    pub fn formats(&self) -> impl ExactSizeIterator<Item = &str> {
        self.formats.iter().map(String::as_str)
    }

    /// The value of an `m=` line (RFC 8866 §5.14).
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split(' ').filter(|field| !field.is_empty());
        let (kind, port, protocol) = (fields.next()?, fields.next()?, fields.next()?);
        let (port, port_count) = match port.split_once('/') {
            Some((port, count)) => (port, Some(count.parse().ok()?)),
            None => (port, None),
        };
        let formats: Vec<String> = fields.map(String::from).collect();
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        (is_token(kind) && digits && protocol.split('/').all(is_token) && !formats.is_empty()).then_some(
            Self {
                kind: kind.into(),
                port: port.parse().ok()?,
                port_count,
                protocol: protocol.into(),
                formats,
                lines: Lines::default(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_lines_are_read_strictly() {
        let media = Media::parse("video 49170/2 RTP/AVP 31 32").unwrap();
        assert_eq!(
            (media.kind(), media.port, media.port_count(), media.protocol()),
            ("video", 49170, Some(2), "RTP/AVP")
        );
        assert_eq!(media.formats().collect::<Vec<_>>(), ["31", "32"]);
        for bad in [
            "",
            "audio",
            "audio 9",
            "audio 9 RTP/AVP",
            "audio 65536 RTP/AVP 0",
            "audio +9 RTP/AVP 0",
            "a b c d",
        ] {
            assert!(Media::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn origins_have_six_fields() {
        assert!(
            Origin::parse("mozilla...THIS_IS_SDPARTA-99.0 8104545345341337217 0 IN IP4 0.0.0.0").is_some()
        );
        for bad in ["", "- 1 2", "- 1 2 IN IP4", "- x 2 IN IP4 127.0.0.1", "- 1 2 IN IP4 127.0.0.1 more"] {
            assert!(Origin::parse(bad).is_none(), "{bad}");
        }
    }
}
