use std::fmt;

use sdp::{Line, Media, Rtp, Section, Session, Setup};
use serde::{Deserialize, Serialize};

/// What a description is for (`RTCSdpType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SdpType {
    /// A proposal.
    Offer,
    /// A reply that another reply follows.
    Pranswer,
    /// The reply that settles it.
    Answer,
    /// No description at all: takes the last offer back.
    Rollback,
}

impl SdpType {
    /// As W3C spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Pranswer => "pranswer",
            Self::Answer => "answer",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for SdpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A description as it travels (`RTCSessionDescriptionInit`); its JSON is the browser's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription {
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: SdpType,
    /// The SDP; empty for a rollback.
    #[serde(default)]
    pub sdp: String,
}

impl SessionDescription {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self { kind: SdpType::Offer, sdp: sdp.into() }
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self { kind: SdpType::Answer, sdp: sdp.into() }
    }

    /// What takes the last offer back.
    pub fn rollback() -> Self {
        Self { kind: SdpType::Rollback, sdp: String::new() }
    }
}

/// A description that is in force or in negotiation.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) kind: SdpType,
    pub(crate) session: Session,
}

impl Description {
    pub(crate) fn to_public(&self) -> SessionDescription {
        SessionDescription { kind: self.kind, sdp: self.session.to_string() }
    }

    /// With the candidates that were gathered since: `candidates` is asked for those of the carrier's ufrag.
    pub(crate) fn with_candidates(&self, candidates: impl Fn(&str) -> LocalCandidates) -> SessionDescription {
        let mut session = self.session.clone();
        if let Some(media) = carrier(&session).and_then(|index| session.media.get_mut(index))
            && let Some(ufrag) = media.lines.attribute("ice-ufrag")
        {
            let candidates = candidates(ufrag);
            media.lines.remove_attribute("candidate");
            media.lines.remove_attribute("end-of-candidates");
            candidates.write(media);
        }
        SessionDescription { kind: self.kind, sdp: session.to_string() }
    }
}

/// The section whose transport is the connection's: that of data channels, or, if there is none, the first that is not
/// rejected.
pub(crate) fn anchor(session: &Session) -> Option<usize> {
    let find = |data: bool| session.sections().position(|it| !it.is_rejected() && (it.is_data() || !data));
    find(true).or_else(|| find(false))
}

/// The section that tells where that transport is: the first of the anchor's BUNDLE group (RFC 9143 §7.1.3), or the anchor.
pub(crate) fn carrier(session: &Session) -> Option<usize> {
    let index = anchor(session)?;
    let tag = session.section(index)?.bundle().and_then(|group| group.mids().next());
    Some(tag.and_then(|mid| session.index_of(mid)).unwrap_or(index))
}

/// The ICE option of those who agree to punching; others do not know it.
pub(crate) const PUNCH: &str = "sterna+punch";
/// The ICE options of those who let the DTLS handshake ride in checks: as draft-hancke-webrtc-sped-00 has it, and as
/// libwebrtc has.
pub(crate) const SPED: [&str; 2] = ["sped", "googspedv1"];

/// Our end of the transport, as descriptions tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalTransport {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    /// `sha-256 AB:CD:…`
    pub(crate) fingerprint: String,
    pub(crate) max_message_size: u32,
    /// Milliseconds between two checks.
    pub(crate) pacing: u128,
    /// Whether we agree to punching.
    pub(crate) punches: bool,
    /// Whether the DTLS handshake may ride in checks.
    pub(crate) embeds: bool,
    /// Our SCTP INIT chunk in base64, if the other side may know it beforehand.
    pub(crate) sctp_init: Option<String>,
    pub(crate) candidates: LocalCandidates,
}

impl LocalTransport {
    /// What we know of ICE beyond its core (RFC 8839 §5.6).
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static str> {
        let punch = self.punches.then_some(PUNCH);
        let sped = SPED.into_iter().filter(|_| self.embeds);
        ["trickle", "ice2"].into_iter().chain(punch).chain(sped)
    }
}

/// The candidates of one ICE generation.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalCandidates {
    /// `candidate:…`, in the order in which they were gathered.
    pub(crate) lines: Vec<String>,
    /// `IN IP4 192.0.2.1` and the port of the default candidate.
    pub(crate) default: Option<(String, u16)>,
    /// Whether no more follow.
    pub(crate) complete: bool,
}

impl LocalCandidates {
    /// Writes them into a section: `m=` port and `c=` line of the default candidate (RFC 8839 §4.2.1.2), or
    /// port 9 of `0.0.0.0` as long as there is none (RFC 8840 §4.1.1), then the candidates.
    pub(crate) fn write(&self, media: &mut Media) {
        let (address, port) =
            self.default.as_ref().map_or(("IN IP4 0.0.0.0", 9), |(address, port)| (address, *port));
        media.port = port;
        media.lines.set_value('c', address, 0);
        for candidate in &self.lines {
            media.lines.push(Line::new('a', candidate));
        }
        if self.complete {
            media.lines.push_flag("end-of-candidates");
        }
    }
}

/// The section for data channels.
pub(crate) fn data_section(
    local: &LocalTransport,
    mid: Option<&str>,
    setup: Setup,
    like: Option<Section<'_>>,
) -> Media {
    let legacy = like.is_some_and(Section::is_legacy_data);
    let mut media = match like {
        // RFC 9429 §5.3.1: protocol and formats of an answer are those of the offer.
        Some(offered) => Media::new("application", 9, offered.media().protocol(), offered.media().formats()),
        None => Media::new("application", 9, "UDP/DTLS/SCTP", ["webrtc-datachannel"]),
    };
    media.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
    push_transport(&mut media, local, setup);
    if let Some(mid) = mid {
        media.lines.push_attribute("mid", mid);
    }
    if legacy {
        let port = like.and_then(|offered| offered.media().formats().next()).unwrap_or("5000");
        media.lines.push_attribute("sctpmap", &format!("{port} webrtc-datachannel 1024"));
    } else {
        media.lines.push_attribute("sctp-port", &SCTP_PORT.to_string());
        // Whose offer has none does not know it.
        let is_known = like.is_none_or(|offered| offered.attribute(SCTP_INIT).is_some());
        if let Some(init) = local.sctp_init.as_ref().filter(|_| is_known) {
            media.lines.push_attribute(SCTP_INIT, init);
        }
    }
    media.lines.push_attribute("max-message-size", &local.max_message_size.to_string());
    media
}

/// The attribute that has a side's SCTP INIT chunk (draft-hancke-tsvwg-snap-00).
pub(crate) const SCTP_INIT: &str = "sctp-init";

/// Our SCTP port, which everybody uses.
pub(crate) const SCTP_PORT: u16 = 5000;

/// The section that refuses `media`, or keeps it refused: port 0 and no member of a BUNDLE group.
///
/// If there is a transport for other sections, it tells what that is like, because aiortc wants that in every
/// section, and browsers write it. Nothing else of what the other side wrote comes back to it.
pub(crate) fn rejected_section(media: &Media, transport: Option<(&LocalTransport, Setup)>) -> Media {
    silent_section(media, 0, transport)
}

/// The section that takes `media` for the sake of the BUNDLE group alone: nothing is sent in it, nothing received.
pub(crate) fn parked_section(media: &Media, transport: &LocalTransport, setup: Setup) -> Media {
    silent_section(media, 9, Some((transport, setup)))
}

/// One format stays, because the grammar wants one, with its `rtpmap`, because some parsers do.
fn silent_section(media: &Media, port: u16, transport: Option<(&LocalTransport, Setup)>) -> Media {
    let format = media.formats().next().unwrap_or("0");
    let mut silent = Media::new(media.kind(), port, media.protocol(), [format]);
    silent.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
    if let Some((local, setup)) = transport {
        push_transport(&mut silent, local, setup);
    }
    if let Some(mid) = media.lines.attribute("mid") {
        silent.lines.push_attribute("mid", mid);
    }
    silent.lines.push_flag("inactive");
    if media.lines.has("rtcp-mux") {
        silent.lines.push_flag("rtcp-mux");
    }
    let map = media.lines.attributes("rtpmap").find(|map| map.split(' ').next() == Some(format));
    if let Some(map) = map.filter(|map| map.is_ascii() && map.split(' ').count() == 2) {
        silent.lines.push_attribute("rtpmap", map);
    }
    silent
}

/// A section of sound or pictures.
pub(crate) fn media_section(
    (kind, protocol): (&str, &str),
    mid: Option<&str>,
    rtp: &Rtp,
    local: &LocalTransport,
    setup: Setup,
) -> Media {
    let types = rtp.payload_types();
    let mut media = Media::new(kind, 9, protocol, types.iter().map(String::as_str));
    media.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
    push_transport(&mut media, local, setup);
    if let Some(mid) = mid {
        media.lines.push_attribute("mid", mid);
    }
    rtp.write(&mut media);
    media
}

/// Who we are on the path.
fn push_transport(media: &mut Media, local: &LocalTransport, setup: Setup) {
    media.lines.push_attribute("ice-ufrag", &local.ufrag);
    media.lines.push_attribute("ice-pwd", &local.pwd);
    media.lines.push_attribute("fingerprint", &local.fingerprint);
    media.lines.push_attribute("setup", setup.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_section_gives_nothing_back() {
        let offer = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\nc=IN IP4 1.2.3.4\n\
                     a=mid:x\na=ice-ufrag:abcd\na=unknown:1\na=rtpmap:63 red/48000/2\na=rtpmap:111 opus/48000/2\n";
        let offer = Session::parse(offer).unwrap();
        assert_eq!(
            rejected_section(&offer.media[0], None).to_string(),
            "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:x\r\na=inactive\r\n\
             a=rtpmap:111 opus/48000/2\r\n"
        );
    }
}
