use std::sync::Arc;

use crate::codecs::Codec;
use crate::extension::{AudioLevel, VideoOrientation};
use crate::packet::Header;
use crate::receive::Frame;

/// What a [`Session`](super::Session) tells its owner.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The other side began to send something.
    SourceAppeared(Stream),
    /// It said that a source is no more, or a source has been silent for a minute. It may appear again.
    SourceEnded(Stream),
    /// A frame came, in its order.
    FrameReceived {
        /// What it is of.
        stream: Stream,
        /// Its format.
        codec: Codec,
        /// The payload type of that format, as the terms have it.
        payload_type: u8,
        /// The frame.
        frame: Frame,
        /// When it was captured by the sender's clock, as NTP counts, once he has said which timestamp means which
        /// moment: by this sound and pictures are played together.
        captured: Option<u64>,
        /// What its last packet said of how loud it is.
        audio_level: Option<AudioLevel>,
        /// How the picture has to be turned. Senders say it when it changes, and with key frames; this is what was said
        /// last.
        orientation: Option<VideoOrientation>,
    },
    /// A packet came, of a section whose [`Delivery`](super::Delivery) is in packets.
    PacketReceived {
        /// What it is of.
        stream: Stream,
        /// Its header. What a retransmission brought has the header of what was lost.
        header: Header,
        /// What it carries.
        payload: Vec<u8>,
        /// How loud it is, if it says so.
        audio_level: Option<AudioLevel>,
        /// How the picture has to be turned, if it says so.
        orientation: Option<VideoOrientation>,
    },
    /// The other side needs a picture that needs no other.
    KeyFrameRequested {
        /// The section.
        mid: Arc<str>,
        /// The encoding, if there are several.
        rid: Option<Arc<str>>,
    },
    /// So much may be sent of an encoding, in bits per second, from now on: 0, and it is paused.
    BitrateChanged {
        /// The section.
        mid: Arc<str>,
        /// The encoding, if there are several.
        rid: Option<Arc<str>>,
        /// How much, without what packets add to it.
        bits_per_second: u64,
    },
}

/// Something that comes: a source of the other side's, and where in its description it belongs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stream {
    /// The section.
    pub mid: Arc<str>,
    /// The encoding, if several come.
    pub rid: Option<Arc<str>>,
    /// The source.
    pub ssrc: u32,
}
