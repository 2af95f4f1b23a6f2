use std::fmt;

use rtp::codecs::Codec;
use rtp::session::Kind;

/// A format that can be negotiated (`RTCRtpCodec`). Retransmissions (`rtx`) and redundant sound (`red`) go with the format
/// that they are for, and are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpCodec {
    /// Which.
    pub codec: Codec,
    /// Its parameters (`sdpFmtpLine`), such as `packetization-mode=1`; empty if there are none.
    pub sdp_fmtp_line: String,
}

/// What is offered unless the application prefers something else: with the payload types that browsers like to give them, for
/// it and its companion, `rtx` or `red`. 64 to 95 would look like RTCP (RFC 5761 §4).
const AUDIO: [(Codec, &str, u8, u8); 3] =
    [(Codec::Opus, "minptime=10;useinbandfec=1", 111, 63), (Codec::Pcmu, "", 0, 0), (Codec::Pcma, "", 8, 0)];
const VIDEO: [(Codec, &str, u8, u8); 8] = [
    (Codec::Vp8, "", 96, 97),
    (Codec::Vp9, "profile-id=0", 98, 99),
    (Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", 102, 103),
    (Codec::H264, "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f", 104, 105),
    (Codec::H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f", 106, 107),
    (Codec::H264, "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=640c1f", 108, 109),
    (Codec::Av1, "level-idx=5;profile=0;tier=0", 45, 46),
    (Codec::H265, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", 49, 50),
];

impl RtpCodec {
    /// All that can be negotiated, in the order in which it is offered (`RTCRtpSender.getCapabilities`).
    pub fn capabilities(kind: Kind) -> Vec<Self> {
        let list: &[_] = match kind {
            Kind::Audio => &AUDIO,
            Kind::Video => &VIDEO,
        };
        list.iter().map(|(codec, fmtp, ..)| Self { codec: *codec, sdp_fmtp_line: (*fmtp).into() }).collect()
    }

    /// `audio/opus`, `video/VP8`, …
    pub fn mime_type(&self) -> String {
        format!("{}/{}", if self.codec.is_audio() { "audio" } else { "video" }, self.codec)
    }

    /// By how much timestamps grow in a second.
    pub fn clock_rate(&self) -> u32 {
        self.codec.clock_rate()
    }

    /// Channels of sound; 1 for pictures.
    pub fn channels(&self) -> u8 {
        if self.codec == Codec::Opus { 2 } else { 1 }
    }

    /// The payload types that it and its companion have by habit.
    pub(crate) fn usual_payload_types(&self) -> Option<(u8, u8)> {
        let mut all = AUDIO.iter().chain(&VIDEO);
        all.find(|(codec, fmtp, ..)| *codec == self.codec && *fmtp == self.sdp_fmtp_line)
            .map(|(_, _, own, companion)| (*own, *companion))
    }

    /// The format whose payload type is called so, if it is known here.
    pub(crate) fn of(format: &sdp::Format) -> Option<Self> {
        let codec: Codec = format.name.parse().ok()?;
        let own = Self { codec, sdp_fmtp_line: format.parameters.clone() };
        let alike =
            format.clock_rate == own.clock_rate() && (format.channels == own.channels() || !codec.is_audio());
        alike.then_some(own)
    }

    /// Whether this is the same format, as far as both sides have to agree on it.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.codec == other.codec && self.variant() == other.variant()
    }

    /// What in the parameters makes another format of it.
    fn variant(&self) -> (Profile, u8) {
        let number =
            |key: &str, default: u8| self.parameter(key).map_or(default, |it| it.parse().unwrap_or(u8::MAX));
        match self.codec {
            Codec::H264 => (self.h264_profile(), number("packetization-mode", 0)),
            // RFC 9628 §6.1, and AV1's payload format §7.2.1: 0 unless told. RFC 7798 §7.1: 1 unless told.
            Codec::Vp9 => (Profile::None, number("profile-id", 0)),
            Codec::Av1 => (Profile::None, number("profile", 0)),
            Codec::H265 => (Profile::None, number("profile-id", 1)),
            _ => (Profile::None, 0),
        }
    }

    /// RFC 6184 §8.1, table 5. Browsers read what is not told as constrained baseline.
    fn h264_profile(&self) -> Profile {
        let Some(level_id) = self.parameter("profile-level-id") else { return Profile::ConstrainedBaseline };
        let Some((idc, flags, _)) = level_bytes(level_id) else { return Profile::Unknown };
        match (idc, flags) {
            (0x42, flags) if flags & 0x4f == 0x40 => Profile::ConstrainedBaseline,
            (0x4d, flags) if flags & 0x8f == 0x80 => Profile::ConstrainedBaseline,
            (0x58, flags) if flags & 0xcf == 0xc0 => Profile::ConstrainedBaseline,
            (0x42, flags) if flags & 0x4f == 0 => Profile::Baseline,
            (0x4d, flags) if flags & 0xaf == 0 => Profile::Main,
            (0x64, 0) => Profile::High,
            (0x64, 0x0c) => Profile::ConstrainedHigh,
            _ => Profile::Unknown,
        }
    }

    fn parameter(&self, key: &str) -> Option<&str> {
        sdp::parameter(&self.sdp_fmtp_line, key)
    }

    /// The parameters of ours that answer theirs: H.264's level is the lower one, if not both let it differ (RFC 6184 §8.2.2).
    pub(crate) fn answer_to(&self, theirs: &Self) -> String {
        let levels = |it: &Self| it.parameter("profile-level-id").and_then(level_bytes);
        let asymmetric = |it: &Self| it.parameter("level-asymmetry-allowed") == Some("1");
        match (levels(self), levels(theirs)) {
            (Some((_, _, own)), Some((idc, flags, level))) => {
                let both = asymmetric(self) && asymmetric(theirs);
                let level = if both { own } else { own.min(level) };
                let mode = self.parameter("packetization-mode").unwrap_or("0");
                let allowed = if both { "level-asymmetry-allowed=1;" } else { "" };
                format!("{allowed}packetization-mode={mode};profile-level-id={idc:02x}{flags:02x}{level:02x}")
            }
            _ => self.sdp_fmtp_line.clone(),
        }
    }

    /// What the other side may say back about it: all that is understood here.
    pub(crate) fn feedback(&self) -> &'static [&'static str] {
        match self.codec {
            Codec::Opus => &["transport-cc", "nack"],
            codec if codec.is_audio() => &["transport-cc"],
            _ => &["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"],
        }
    }
}

impl fmt::Display for RtpCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.codec {
            Codec::H264 => "H.264",
            Codec::H265 => "H.265",
            Codec::Opus => "Opus",
            codec => codec.name(),
        })
    }
}

/// The profiles of H.264 that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    None,
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Unknown,
}

/// `profile_idc`, the constraint flags, `level_idc`.
fn level_bytes(text: &str) -> Option<(u8, u8, u8)> {
    let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6)?;
    let [_, idc, flags, level] = number.to_be_bytes();
    Some((idc, flags, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(level_id: &str, mode: u8) -> RtpCodec {
        let sdp_fmtp_line = format!("packetization-mode={mode};profile-level-id={level_id}");
        RtpCodec { codec: Codec::H264, sdp_fmtp_line }
    }

    #[test]
    fn profiles_of_h264_are_told_apart_and_levels_are_not() {
        let own = h264("42e01f", 1);
        for same in ["42e01f", "42c015", "42e034", "4d801f", "42F01F"] {
            assert!(own.matches(&h264(same, 1)), "{same}");
        }
        for other in ["42001f", "4d001f", "64001f", "640c1f", "42e0", "nonsens"] {
            assert!(!own.matches(&h264(other, 1)), "{other}");
        }
        assert!(!own.matches(&h264("42e01f", 0)));
        assert_eq!(own.answer_to(&h264("42c015", 1)), "packetization-mode=1;profile-level-id=42c015");
        let asymmetric = &RtpCodec::capabilities(Kind::Video)[2];
        assert_eq!(asymmetric.answer_to(asymmetric), asymmetric.sdp_fmtp_line);
    }

    #[test]
    fn what_is_offered_has_payload_types_of_its_own() {
        let mut all: Vec<u8> = AUDIO.iter().chain(&VIDEO).flat_map(|it| [it.2, it.3]).collect();
        all.retain(|it| *it != 0);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|it| !(64..96).contains(it)));
    }
}
