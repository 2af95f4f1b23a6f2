use std::time::Duration;

use sansio::Time;

use crate::codecs::PacketizeError;
use crate::extension::{AbsoluteCaptureTime, AudioLevel, VideoOrientation};

/// A frame to be sent, as an encoder made it ([`codecs`](crate::codecs) says what each format's looks like).
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingFrame<'a> {
    /// Its bytes.
    pub data: &'a [u8],
    /// How long after the beginning of its source it was captured.
    pub time: Duration,
    /// When it was captured, if that was not now: what sender reports take it for, by which sound and pictures are
    /// played together.
    pub captured: Option<Time>,
    /// Which of the section's formats it has; `None`: the first.
    pub payload_type: Option<u8>,
    /// How loud it is; told if that was negotiated.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned; told if that was negotiated.
    pub orientation: Option<VideoOrientation>,
    /// When it was captured by the clock of who captured it; told if that was negotiated.
    pub capture_time: Option<AbsoluteCaptureTime>,
}

/// A packet to be sent as it is, for who forwards packets: he numbers them, and keeps numbers and timestamps in one row
/// when he changes between sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingPacket<'a> {
    /// The payload: of a format of the section's.
    pub payload: &'a [u8],
    /// Which format that is.
    pub payload_type: u8,
    /// Its number.
    pub sequence_number: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// The marker.
    pub marker: bool,
    /// How loud it is; told if that was negotiated.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned; told if that was negotiated.
    pub orientation: Option<VideoOrientation>,
}

/// Why something was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No section, or no encoding of it, has this name.
    #[error("there is no such section or encoding")]
    Unknown,
    /// There are no keys yet: DTLS is not done. Nothing is kept; once there are, a key frame is asked for.
    #[error("the session has no keys yet")]
    NotReady,
    /// The section is not one in which we send, or the encoding is switched off.
    #[error("nothing may be sent in this section")]
    NotSending,
    /// The way has no room for this encoding. It goes on with a key frame once it has:
    /// [`Event::BitrateChanged`](super::Event::BitrateChanged).
    #[error("the encoding is paused since there is no room for it")]
    Paused,
    /// The receiver could not decode it: the first frame, and the first after a pause, has to be one that needs no other.
    #[error("a key frame has to come first")]
    KeyFrameNeeded,
    /// The other side does not take this payload type.
    #[error("the payload type was not negotiated")]
    UnknownFormat,
    /// It cannot be cut into packets.
    #[error(transparent)]
    Packetize(#[from] PacketizeError),
    /// Too much is waiting to be sent: at least a part was lost. Go on with a key frame.
    #[error("too much is waiting to be sent")]
    Full,
}
