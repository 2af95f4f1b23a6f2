//! Frames and payloads: how what an encoder made is cut into packets, and put together again for a decoder.
//!
//! What is encoded stays encoded. A frame is a packet of Opus, some samples of G.711, a picture of VP8 or VP9, an access
//! unit of H.264 or H.265 with start codes (as in files called Annex B), or a temporal unit of AV1 whose units say
//! their size (without temporal delimiters, as in WebM and MP4).
//!
//! [`Packetizer`] cuts, [`Codec::depacketize`] puts together, and [`Codec::inspect`] tells a forwarder, who does
//! neither, what a payload is part of: whether a picture starts there that needs no other, and of which layer it is.
//!
//! ```
//! use sterna_rtp::codecs::{Codec, Packetizer};
//!
//! // The first byte of a picture of VP8 says whether it needs others: here it does not.
//! let mut picture = vec![0; 3000];
//! picture[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
//! let mut payloads = Vec::new();
//! let mut packetizer = Packetizer::new(Codec::Vp8);
//! packetizer.packetize(&picture, 1200, &mut |parts, _last| payloads.push(parts.concat())).unwrap();
//! assert_eq!(payloads.len(), 3);
//! assert!(Codec::Vp8.inspect(&payloads[0]).unwrap().key_frame);
//!
//! let mut whole = Vec::new();
//! Codec::Vp8.depacketize(payloads.iter().map(Vec::as_slice), &mut whole).unwrap();
//! assert_eq!(whole, picture);
//! ```

mod av1;
mod described;
mod h264;
mod h265;
mod nal;
mod obu;
mod packetizer;
mod payload;
mod split;
mod vp8;
mod vp9;

pub use packetizer::{MIN_PAYLOAD, PacketizeError, Packetizer};
pub use payload::PayloadInfo;

use std::fmt;
use std::str::FromStr;

use crate::error::{ParseError, ParseErrorKind};

/// A format of media.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// G.711 with µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 with A-law (RFC 3551 §4.5.14).
    Pcma,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// AV1 (AV1 RTP payload format, version 1.0).
    Av1,
}

const ALL: [Codec; 8] =
    [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1];

impl Codec {
    /// Its name in descriptions and, behind `audio/` or `video/`, in the W3C's interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Av1 => "AV1",
        }
    }

    /// Whether it is sound; else it is pictures.
    pub fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::Pcmu | Self::Pcma)
    }

    /// By how much its timestamps grow in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            // RFC 7587 §4.1: whatever rate it was sampled with.
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            _ => 90_000,
        }
    }

    /// What a payload is part of.
    ///
    /// # Errors
    /// If it is no payload of this format.
    pub fn inspect(self, payload: &[u8]) -> Result<PayloadInfo, ParseError> {
        match self {
            Self::Opus | Self::Pcmu | Self::Pcma => whole(payload).map(|_| PayloadInfo::whole()),
            Self::Vp8 => described::inspect(payload, vp8::descriptor),
            Self::Vp9 => described::inspect(payload, vp9::descriptor),
            Self::H264 => h264::inspect(payload),
            Self::H265 => h265::inspect(payload),
            Self::Av1 => av1::inspect(payload),
        }
    }

    /// Puts a frame together out of all its payloads, in their order, and appends it to `frame`.
    ///
    /// # Errors
    /// If they are no payloads of this format, or not all of a frame's. What was appended until then is worthless.
    pub fn depacketize<'a>(
        self,
        payloads: impl IntoIterator<Item = &'a [u8]>,
        frame: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let payloads = &mut payloads.into_iter();
        match self {
            Self::Opus | Self::Pcmu | Self::Pcma => payloads
                .try_for_each(|payload| whole(payload).map(|payload| frame.extend_from_slice(payload))),
            Self::Vp8 => described::depacketize(payloads, vp8::descriptor, frame),
            Self::Vp9 => described::depacketize(payloads, vp9::descriptor, frame),
            Self::H264 => h264::depacketize(payloads, frame),
            Self::H265 => h265::depacketize(payloads, frame),
            Self::Av1 => av1::depacketize(payloads, frame),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No format has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a codec that is known here")]
pub struct UnknownCodec;

impl FromStr for Codec {
    type Err = UnknownCodec;

    /// RFC 8866 §6.6: whether letters are capital does not matter.
    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name)).ok_or(UnknownCodec)
    }
}

/// A payload that is a frame: sound.
fn whole(payload: &[u8]) -> Result<&[u8], ParseError> {
    if payload.is_empty() { Err(ParseErrorKind::Truncated.at(0)) } else { Ok(payload) }
}

/// Bytes that end before what they announce.
fn truncated<T>(payload: &[u8], found: Option<T>) -> Result<T, ParseError> {
    found.ok_or(ParseErrorKind::Truncated.at(payload.len()))
}
