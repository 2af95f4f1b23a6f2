use crate::codecs::Codec;
use crate::extension;

/// What two descriptions have agreed on for one media section, as the session has to know it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// The section's name (`a=mid`, RFC 9143), which no other section of the session has.
    pub mid: Box<str>,
    /// Sound or pictures.
    pub kind: Kind,
    /// What we send: one encoding, or several of the same source (simulcast, RFC 8853), the one that matters most
    /// first. `None`: nothing may be sent, since the direction forbids it or the section is rejected.
    pub send: Option<Vec<Encoding>>,
    /// Whether the other side may send.
    pub receive: bool,
    /// In what shape that which comes is handed over.
    pub delivery: Delivery,
    /// What the other side takes, with its payload types, in the order of its preference. Frames are sent in the first
    /// one, unless they say another.
    pub formats: Vec<Format>,
    /// What may come, with our payload types, which may be others.
    pub expected: Vec<Format>,
    /// Header extensions, under the identifiers that were agreed on (RFC 8285 §5): 1 to 14, or to 255 if `mixed`.
    pub extensions: Vec<(u8, extension::Name)>,
    /// Whether header extensions may have the two-byte form (`a=extmap-allow-mixed`, RFC 8285 §6).
    pub mixed: bool,
    /// Whether contributing sources and header extensions are encrypted (`a=cryptex`, RFC 9335). It is, if it is so in all
    /// sections; what comes encrypted is always read.
    pub cryptex: bool,
    /// Whether who sends nothing says what time it is, to learn how long the way there and back is (`a=rtcp-xr:rcvr-rtt`,
    /// RFC 3611 §5.1).
    pub receiver_time: bool,
    /// Whether RTCP may leave out reports where it is in a hurry (`a=rtcp-rsize`, RFC 5506).
    pub reduced_size: bool,
    /// The sources that the other side's description names (`a=ssrc`, RFC 5576). Mostly empty where MID and RID say it,
    /// packet by packet (RFC 8843 §9.2).
    pub remote: Vec<RemoteSource>,
    /// The names of the encodings that come, if several do (simulcast).
    pub remote_rids: Vec<Box<str>>,
}

/// Sound or pictures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Kind {
    /// Sound (`m=audio`).
    #[default]
    Audio,
    /// Pictures (`m=video`).
    Video,
}

impl Kind {
    /// Its name in descriptions and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// In what shape that which comes is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Delivery {
    /// As frames, in their order, for who decodes or stores them.
    #[default]
    Frames,
    /// As packets, at once and as they come, for who forwards them. What is missing is asked for all the same.
    Packets,
}

/// A format of media, as a description has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// The number that stands for it in packets: 0 to 127.
    pub payload_type: u8,
    /// What it is.
    pub codec: Codec,
    /// By how much timestamps grow in a second.
    pub clock_rate: u32,
    /// How many channels sound has; 1 for pictures.
    pub channels: u8,
    /// The parameters of `a=fmtp`; empty if there are none. The session does not read them.
    pub parameters: Box<str>,
    /// The payload type of its retransmissions (`rtx`, RFC 4588), if they were agreed on.
    pub rtx: Option<u8>,
    /// The payload type of the format with redundant copies (`red`, RFC 2198), if that was agreed on.
    pub red: Option<u8>,
    /// What may be said back about it (`a=rtcp-fb`).
    pub feedback: Feedback,
}

impl Format {
    /// A codec under a payload type, with its usual clock, and without anything that had to be agreed on.
    pub fn new(payload_type: u8, codec: Codec) -> Self {
        Self {
            payload_type,
            codec,
            clock_rate: codec.clock_rate(),
            channels: if codec == Codec::Opus { 2 } else { 1 },
            parameters: Box::default(),
            rtx: None,
            red: None,
            feedback: Feedback::default(),
        }
    }
}

/// What a receiver may say back about a format (`a=rtcp-fb`, RFC 4585 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Feedback {
    /// Which packets are missing (`nack`).
    pub nack: bool,
    /// That a picture is broken (`nack pli`).
    pub pli: bool,
    /// That a picture is wanted that needs no other (`ccm fir`, RFC 5104).
    pub fir: bool,
    /// When each packet of the transport arrived (`transport-cc`).
    pub transport_cc: bool,
    /// When each packet of each source arrived (`ack ccfb`, RFC 8888).
    pub ccfb: bool,
    /// How much the receiver thinks possible (`goog-remb`).
    pub remb: bool,
}

/// One of the encodings of what we send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoding {
    /// Its name (`a=rid`, RFC 8851), if there is more than one.
    pub rid: Option<Box<str>>,
    /// The source that it is sent as. No other encoding of the session has it.
    pub ssrc: u32,
    /// The source of its retransmissions. Without one they are not sent (and probes are not either).
    pub rtx_ssrc: Option<u32>,
    /// Whether it is sent.
    pub active: bool,
    /// The least that is of use, in bits per second. One of several encodings is paused with less; without this, with
    /// less than half of the most.
    pub min_bitrate: Option<u64>,
    /// The most that is of use, in bits per second.
    pub max_bitrate: Option<u64>,
    /// Its share of what is left when all have the least they need, against the others' shares.
    pub weight: u32,
}

impl Encoding {
    /// The only encoding of a source, without limits.
    pub fn new(ssrc: u32) -> Self {
        Self {
            rid: None,
            ssrc,
            rtx_ssrc: None,
            active: true,
            min_bitrate: None,
            max_bitrate: None,
            weight: 1,
        }
    }
}

/// A source of the other side's, as its description names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RemoteSource {
    /// Its number.
    pub ssrc: u32,
    /// The source of its retransmissions (`a=ssrc-group:FID`, RFC 5576 §4.2).
    pub rtx_ssrc: Option<u32>,
    /// What it has in common with the others of its participant (`cname`).
    pub cname: Option<Box<str>>,
}
