use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peer::{AudioLevel, Codec, PayloadInfo, VideoOrientation};

/// A frame that came: as its encoder made it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemoteFrame {
    /// Its bytes, as [`LocalFrame::data`](crate::LocalFrame::data) says.
    pub data: Bytes,
    /// Its format.
    pub codec: Codec,
    /// The payload type of that, as our description has it.
    pub payload_type: u8,
    /// How long after the first frame of its source it was captured.
    pub time: Duration,
    /// The same as packets have it: in units of the format's clock, from anywhere, modulo 2^32.
    pub timestamp: u32,
    /// When it was captured by the sender's clock, as NTP counts, since 1900; not before the sender has told what his clock
    /// shows. All tracks of one sender go by the same clock: by this sound and pictures are played together.
    pub captured: Option<Duration>,
    /// When the last of its packets came.
    pub received: Instant,
    /// The encoding, if several come.
    pub rid: Option<Arc<str>>,
    /// The source.
    pub ssrc: u32,
    /// Whether it needs no other; of sound always.
    pub key_frame: bool,
    /// Whether others before it were lost, or dropped since nobody read them.
    pub after_gap: bool,
    /// Which layer it is of, and what else its packets say of it.
    pub info: PayloadInfo,
    /// How loud it is, if that was told.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned, as was told last.
    pub orientation: Option<VideoOrientation>,
}
