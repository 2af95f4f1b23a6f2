use crate::attribute::{Direction, Group, Setup};
use crate::{Media, Session};

/// The largest message a peer takes that does not say (RFC 8841 §6.1: "the default value is 64K").
const DEFAULT_MAX_MESSAGE_SIZE: u64 = 65_536;

/// A media section together with what it inherits from the session level.
///
/// Attributes that may stand at either level are looked for in the section first: "When present in both, the
/// value in the media-level takes precedence" (RFC 8839 §5.4).
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    pub(crate) session: &'a Session,
    pub(crate) media: &'a Media,
}

impl<'a> Section<'a> {
    /// The section without its inheritance.
    pub fn media(self) -> &'a Media {
        self.media
    }

    /// The value of the first attribute of this name, from either level.
    pub fn attribute(self, name: &str) -> Option<&'a str> {
        self.media.lines.attribute(name).or_else(|| self.session.lines.attribute(name))
    }

    /// Its name within the session (RFC 5888 §4).
    pub fn mid(self) -> Option<&'a str> {
        self.media.lines.attribute("mid")
    }

    /// The BUNDLE group it is in.
    pub fn bundle(self) -> Option<Group<'a>> {
        let mid = self.mid()?;
        self.session.groups().find(|group| group.semantics == "BUNDLE" && group.contains(mid))
    }

    /// The ICE user name fragment: 4 to 256 characters.
    pub fn ice_ufrag(self) -> Option<&'a str> {
        self.attribute("ice-ufrag")
    }

    /// The ICE password: 22 to 256 characters.
    pub fn ice_pwd(self) -> Option<&'a str> {
        self.attribute("ice-pwd")
    }

    /// The ICE options of the section and of the session, tag by tag.
    pub fn ice_options(self) -> impl Iterator<Item = &'a str> {
        self.media.lines.ice_options().chain(self.session.ice_options())
    }

    /// Fingerprints of the DTLS certificate, `sha-256 AB:CD:…`, strongest not first: any of those whose hash is
    /// supported may be the one to verify. The section's own if it has any, otherwise the session's (RFC 8122 §5).
    pub fn fingerprints(self) -> impl Iterator<Item = &'a str> {
        let own = self.media.lines.has("fingerprint");
        let lines = if own { &self.media.lines } else { &self.session.lines };
        lines.attributes("fingerprint").map(str::trim_end)
    }

    /// The DTLS role.
    pub fn setup(self) -> Option<Setup> {
        self.attribute("setup").and_then(Setup::parse)
    }

    /// Which way media flows; both ways unless told (RFC 8866 §6.7).
    pub fn direction(self) -> Direction {
        let told =
            |lines: &crate::Lines| Direction::ALL.into_iter().find(|direction| lines.has(direction.as_str()));
        told(&self.media.lines).or_else(|| told(&self.session.lines)).unwrap_or_default()
    }

    /// Whether RTP and RTCP share one port (RFC 5761 §5.1.1).
    pub fn has_rtcp_mux(self) -> bool {
        self.media.lines.has("rtcp-mux")
    }

    /// Whether the section is for use within its BUNDLE group alone (RFC 9143 §6).
    pub fn is_bundle_only(self) -> bool {
        self.media.lines.has("bundle-only")
    }

    /// Whether the section is rejected or no longer used: port 0, and not because it is bundle-only.
    pub fn is_rejected(self) -> bool {
        self.media.port == 0 && !self.is_bundle_only()
    }

    /// Whether one- and two-byte RTP header extensions may be mixed (RFC 8285 §6).
    pub fn allows_mixed_extmaps(self) -> bool {
        self.media.lines.has("extmap-allow-mixed") || self.session.allows_mixed_extmaps()
    }

    /// Whether it carries data channels: `UDP/DTLS/SCTP` or `TCP/DTLS/SCTP` with `webrtc-datachannel`, or the
    /// old `DTLS/SCTP` with an `a=sctpmap` (draft-ietf-mmusic-sctp-sdp-07).
    pub fn is_data(self) -> bool {
        self.media.kind == "application"
            && match self.media.protocol.as_str() {
                "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP" => {
                    self.media.formats.iter().any(|it| it == "webrtc-datachannel")
                }
                protocol => protocol == "DTLS/SCTP",
            }
    }

    /// Whether it is written in the old way, `DTLS/SCTP 5000` with an `a=sctpmap`.
    pub fn is_legacy_data(self) -> bool {
        self.is_data() && self.media.protocol == "DTLS/SCTP"
    }

    /// The SCTP port: `a=sctp-port`, or what the old `a=sctpmap` or `m=` line says.
    pub fn sctp_port(self) -> Option<u16> {
        let legacy = || {
            let mapped = self.media.lines.attribute("sctpmap").and_then(|value| value.split(' ').next());
            let port = mapped.or_else(|| self.media.formats.first().map(String::as_str))?;
            port.parse().ok().filter(|_| self.is_legacy_data())
        };
        self.media.lines.attribute("sctp-port").and_then(|port| port.parse().ok()).or_else(legacy)
    }

    /// The largest message that the describer takes, in bytes; 65,536 unless told, and 0 for any size
    /// (RFC 8841 §6.1).
    pub fn max_message_size(self) -> u64 {
        let told = self.media.lines.attribute("max-message-size");
        // All digits, as parsing has checked: what does not fit is larger than anything.
        told.map_or(DEFAULT_MAX_MESSAGE_SIZE, |size| size.parse().unwrap_or(u64::MAX))
    }

    /// Its candidates as they stand behind `a=`: `candidate:…`, without the name (RFC 8839 §5.1).
    pub fn candidates(self) -> impl Iterator<Item = &'a str> {
        self.media.lines.iter().filter_map(|line| {
            let (name, _) = line.as_attribute()?;
            (name == "candidate").then(|| line.value())
        })
    }

    /// Whether no more candidates follow (RFC 8840 §8.1), told for the section or for the session.
    pub fn has_end_of_candidates(self) -> bool {
        self.media.lines.has("end-of-candidates") || self.session.lines.has("end-of-candidates")
    }

    /// The `c=` line's value, the section's own or the session's: the address of the default candidate.
    pub fn connection(self) -> Option<&'a str> {
        self.media.lines.value('c').or_else(|| self.session.lines.value('c'))
    }
}

impl crate::Lines {
    /// The tags of all `a=ice-options`. They are separated by blanks; libdatachannel writes commas.
    pub(crate) fn ice_options(&self) -> impl Iterator<Item = &str> {
        self.attributes("ice-options").flat_map(|value| value.split([' ', ','])).filter(|tag| !tag.is_empty())
    }
}
