use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{
    AbsoluteCaptureTime, AudioLevel, Codec, CodecError, EncodingParameters, Format, MediaKind,
    OutgoingPacket, VideoOrientation, WriteError,
};

use crate::transceiver::Stake;
use crate::{Error, Transceiver};

/// Media that is sent: the sending half of a [`Transceiver`] (`RTCRtpSender`, with its track).
///
/// What is written is encoded already. It leaves at the speed that the way can carry, sound before pictures; what is lost
/// and asked for is sent again.
///
/// [`LocalTrack::next_event`] tells whoever encodes what the other side needs. Frames that were encoded before hand can go
/// without: those that cannot be used are refused, up to the next key frame.
#[doc(alias = "RTCRtpSender")]
#[derive(Clone)]
pub struct LocalTrack {
    stake: Arc<Stake>,
}

/// A frame to be sent, as an encoder made it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFrame<'a> {
    /// Its bytes: with Opus, G.711, VP8 and VP9 the frame alone; with H.264 and H.265 all units of a picture with start codes
    /// (Annex B); with AV1 all units of a temporal unit with their sizes, without delimiter.
    pub data: &'a [u8],
    /// How long after the beginning of its track it was captured.
    pub time: Duration,
    /// Its format; `None`: what the other side prefers.
    pub codec: Option<Codec>,
    /// Which of several formats of one codec it has, by the payload types of [`LocalTrack::formats`]. It goes before `codec`.
    pub payload_type: Option<u8>,
    /// The encoding, if there are several; `None`: the first.
    pub rid: Option<&'a str>,
    /// When it was captured, if that was not now: by this the other side plays sound and pictures together.
    pub captured: Option<Instant>,
    /// How loud it is; told if that was negotiated.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned; told if that was negotiated.
    pub orientation: Option<VideoOrientation>,
    /// When it was captured by the clock of who captured it; told if that was negotiated.
    pub capture_time: Option<AbsoluteCaptureTime>,
}

/// What whoever encodes has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalTrackEvent {
    /// The next picture has to be one that needs no other. Also told when there is a way for the first one.
    KeyFrameRequested {
        /// The encoding, if there are several.
        rid: Option<Arc<str>>,
    },
    /// So much may be sent from now on.
    BitrateChanged {
        /// The encoding, if there are several.
        rid: Option<Arc<str>>,
        /// Bits a second, without what packets add to it. 0: it is paused, since there is no room for it.
        bits_per_second: u64,
    },
}

impl LocalTrackEvent {
    /// Whether nobody needs to know of the earlier one beside this.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        use LocalTrackEvent::{BitrateChanged, KeyFrameRequested};
        match (self, earlier) {
            (KeyFrameRequested { rid: one }, KeyFrameRequested { rid: other })
            | (BitrateChanged { rid: one, .. }, BitrateChanged { rid: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl LocalTrack {
    pub(crate) fn of(stake: Arc<Stake>) -> Self {
        Self { stake }
    }

    /// Sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.stake.kind
    }

    /// The transceiver that it is the half of.
    pub fn transceiver(&self) -> Transceiver {
        Transceiver::of(self.stake.clone())
    }

    /// Waits until frames are taken: the two sides have agreed on it, and are connected.
    ///
    /// # Errors
    /// If that will never be: the transceiver is stopped, or the connection has failed.
    pub async fn ready(&self) -> Result<(), Error> {
        poll_fn(|cx| self.stake.handle.state().poll_ready(cx, self.stake.id)).await
    }

    /// Sends a frame. It does not wait: media that is late is of no use, and what is too much is refused.
    ///
    /// # Errors
    /// If it was not taken, and why. [`WriteError::NotReady`] before the connection is there. Of pictures, after
    /// [`WriteError::KeyFrameNeeded`], [`WriteError::Paused`] or [`WriteError::Full`], go on with one that needs no other.
    pub fn write(&self, frame: &LocalFrame<'_>) -> Result<(), WriteError> {
        let Stake { handle, id, .. } = &*self.stake;
        let captured = frame.captured.map(|at| handle.clock().time(at));
        handle.act(|state, now| state.write_frame(now, captured, *id, frame))
    }

    /// Sends a packet as it is, of the encoding of this name or of the first: for who forwards packets, and keeps numbers and
    /// timestamps in one row when he changes between sources. What is lost is sent again, as with frames.
    ///
    /// # Errors
    /// As [`LocalTrack::write`].
    pub fn write_packet(&self, rid: Option<&str>, packet: &OutgoingPacket<'_>) -> Result<(), WriteError> {
        self.stake.handle.act(|state, now| state.write_packet(now, self.stake.id, rid, packet))
    }

    /// The next thing that whoever encodes has to know; `None` once nothing will ever be sent again.
    ///
    /// Nobody has to ask. What was not asked for in time is merged: of each encoding only the latest bitrate waits, and one
    /// request for a key frame.
    pub async fn next_event(&self) -> Option<LocalTrackEvent> {
        poll_fn(|cx| self.stake.handle.state().poll_news(cx, self.stake.id)).await
    }

    /// Bits a second that the encoding of this name, or the only one, may have, as was told last; `None` before anything was.
    pub fn bitrate(&self, rid: Option<&str>) -> Option<u64> {
        self.stake.handle.state().rate(self.stake.id, rid)
    }

    /// The formats that the other side takes, its preferred one first; empty before the first exchange.
    pub fn formats(&self) -> Vec<Format> {
        self.stake.look(|it| it.remote_formats().to_vec()).unwrap_or_default()
    }

    /// Whether the other side takes this format.
    ///
    /// # Errors
    /// If not: what it takes instead, in words, such as `the other side takes VP8 and H.264; this is AV1`.
    pub fn check_codec(&self, codec: Codec) -> Result<(), CodecError> {
        self.stake
            .look(|it| it.check_codec(codec))
            .unwrap_or_else(|| Err(CodecError { wanted: codec, taken: "nothing any more".into() }))
    }

    /// What is sent, the preferred first (`getParameters`).
    #[doc(alias = "getParameters")]
    pub fn encodings(&self) -> Vec<EncodingParameters> {
        self.stake.look(|it| it.encodings().cloned().collect()).unwrap_or_default()
    }

    /// Changes what is sent, at once (`setParameters`): the same encodings, with other limits.
    ///
    /// # Errors
    /// If they are others, it is stopped, or the connection closed.
    #[doc(alias = "setParameters")]
    pub fn set_encodings(&self, encodings: &[EncodingParameters]) -> Result<(), Error> {
        self.stake.wish(|connection, now, id| connection.set_encodings(now, id, encodings))
    }

    /// Says which streams it belongs to (`setStreams`), with the next exchange.
    ///
    /// # Errors
    /// If it is stopped, or the connection closed.
    #[doc(alias = "setStreams")]
    pub fn set_streams(&self, streams: &[&str]) -> Result<(), Error> {
        let streams = streams.iter().map(|it| String::from(*it)).collect();
        self.stake.wish(|connection, now, id| connection.set_streams(now, id, streams))
    }

    pub(crate) fn stake(&self) -> &Stake {
        &self.stake
    }
}

impl fmt::Debug for LocalTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTrack").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
