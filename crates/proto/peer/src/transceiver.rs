use std::fmt;

use rtp::codecs::Codec;
use rtp::session::{Delivery, Format, Kind};
use sdp::Direction;

use crate::RtpCodec;

/// A transceiver of one [`Connection`](crate::Connection).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransceiverId(pub(crate) u32);

impl fmt::Debug for TransceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransceiverId({})", self.0)
    }
}

/// How a transceiver is to be (`RTCRtpTransceiverInit`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransceiverInit {
    /// Which way media is to flow; both ways unless told.
    pub direction: Direction,
    /// The streams that what is sent belongs to.
    pub streams: Vec<String>,
    /// What is sent; one encoding without a name if there is none here, several for simulcast.
    pub send_encodings: Vec<EncodingParameters>,
}

/// One of the encodings that are sent (`RTCRtpEncodingParameters`).
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingParameters {
    /// Its name; needed where there are several.
    pub rid: Option<String>,
    /// Whether it is sent.
    pub active: bool,
    /// The most bits a second that it may take.
    pub max_bitrate: Option<u64>,
}

impl Default for EncodingParameters {
    fn default() -> Self {
        Self { rid: None, active: true, max_bitrate: None }
    }
}

impl EncodingParameters {
    /// One with a name, for simulcast.
    pub fn named(rid: &str) -> Self {
        Self { rid: Some(rid.into()), ..Self::default() }
    }
}

/// An encoding, and the sources that it is sent as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sending {
    pub(crate) parameters: EncodingParameters,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
}

/// A way for media of one kind, there and back (`RTCRtpTransceiver`, with its sender and receiver).
#[derive(Clone, Debug)]
pub struct Transceiver {
    pub(crate) id: TransceiverId,
    pub(crate) kind: Kind,
    pub(crate) mid: Option<String>,
    /// Which section it is in, once a description says so.
    pub(crate) index: Option<usize>,
    pub(crate) direction: Direction,
    pub(crate) current_direction: Option<Direction>,
    /// `stop` was called.
    pub(crate) stopping: bool,
    /// It has ended on both sides.
    pub(crate) stopped: bool,
    pub(crate) preferences: Vec<RtpCodec>,
    /// Whether there is something to send: `add_track` looks for one without.
    pub(crate) has_track: bool,
    pub(crate) by_add_track: bool,
    /// Whether it was made because of a remote description.
    pub(crate) by_remote: bool,
    pub(crate) has_sent: bool,
    pub(crate) track: String,
    pub(crate) streams: Vec<String>,
    pub(crate) sending: Vec<Sending>,
    /// Whether its remote track was told.
    pub(crate) receiving: bool,
    pub(crate) muted: bool,
    pub(crate) remote_track: String,
    pub(crate) remote_streams: Vec<String>,
    /// What the other side takes, as of the last exchange.
    pub(crate) formats: Vec<Format>,
    /// In what shape that which comes is handed over.
    pub(crate) delivery: Delivery,
    /// How many sources are heard by it.
    pub(crate) sources: u32,
}

impl Transceiver {
    /// Its number on this connection.
    pub fn id(&self) -> TransceiverId {
        self.id
    }

    /// Sound or pictures.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of its section, once a description that was applied has it.
    pub fn mid(&self) -> Option<&str> {
        self.mid.as_deref()
    }

    /// Which way media is to flow after the next exchange.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Which way it flows, as of the last one; `None` before there was one, and once it is stopped.
    pub fn current_direction(&self) -> Option<Direction> {
        self.current_direction
    }

    /// Whether it has ended, or will with the next exchange.
    pub fn is_stopped(&self) -> bool {
        self.stopping
    }

    /// The streams that what is sent belongs to.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// What is sent, the preferred first.
    pub fn encodings(&self) -> impl Iterator<Item = &EncodingParameters> {
        self.sending.iter().map(|it| &it.parameters)
    }

    /// The source of the encoding of this name, or of the only one.
    pub fn ssrc(&self, rid: Option<&str>) -> Option<u32> {
        self.sending.iter().find(|it| it.parameters.rid.as_deref() == rid).map(|it| it.ssrc)
    }

    /// The name of the track that comes.
    pub fn remote_track(&self) -> &str {
        &self.remote_track
    }

    /// The streams that the other side puts it in.
    pub fn remote_streams(&self) -> &[String] {
        &self.remote_streams
    }

    /// Whether nothing of it comes (`muted`).
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// The formats that the other side takes, its preferred one first; empty before the first exchange, and if it is stopped.
    pub fn remote_formats(&self) -> &[Format] {
        &self.formats
    }

    /// Whether the other side takes this format.
    ///
    /// # Errors
    /// If not: what it takes instead, in words.
    pub fn check_codec(&self, codec: Codec) -> Result<(), CodecError> {
        if self.formats.iter().any(|format| format.codec == codec) {
            return Ok(());
        }
        let taken = self.formats.iter().map(|format| format.codec).collect();
        Err(CodecError { wanted: codec, taken: names(taken) })
    }

    /// What is to be sent and received, in the order of preference.
    pub(crate) fn codecs(&self) -> Vec<RtpCodec> {
        match self.preferences.is_empty() {
            true => RtpCodec::capabilities(self.kind),
            false => self.preferences.clone(),
        }
    }

    /// Whether the encodings have names.
    pub(crate) fn is_simulcast(&self) -> bool {
        self.sending.iter().any(|it| it.parameters.rid.is_some())
    }
}

/// The other side does not take what is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side takes {taken}; this is {}", name(*wanted))]
pub struct CodecError {
    /// What is to be sent.
    pub wanted: Codec,
    /// What it takes, in words: `VP8 and H.264`.
    pub taken: String,
}

fn name(codec: Codec) -> String {
    RtpCodec { codec, sdp_fmtp_line: String::new() }.to_string()
}

/// Formats in words, each once.
pub(crate) fn names(mut codecs: Vec<Codec>) -> String {
    let mut seen = Vec::new();
    codecs.retain(|codec| {
        !seen.contains(codec) && {
            seen.push(*codec);
            true
        }
    });
    in_words(codecs.into_iter().map(name).collect())
}

/// `a, b and c`.
pub(crate) fn in_words(mut names: Vec<String>) -> String {
    match names.pop() {
        None => "nothing that is known here".into(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} and {last}", names.join(", ")),
    }
}

/// Why a wish about media could not be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransceiverError {
    /// The connection is closed (`InvalidStateError`).
    #[error("the connection is closed")]
    Closed,
    /// There is no such transceiver.
    #[error("there is no such transceiver")]
    Unknown,
    /// The transceiver is stopped (`InvalidStateError`).
    #[error("the transceiver is stopped")]
    Stopped,
    /// The names of encodings are malformed, given twice, or missing where there are several (`TypeError`).
    #[error("the names of encodings (rid) must differ, and have letters and digits only")]
    Rid,
    /// A format of the other kind, or none that is known here (`InvalidModificationError`).
    #[error("one of the formats cannot be negotiated here")]
    Codec,
    /// There are as many transceivers or encodings as can be (`OperationError`).
    #[error("there are too many transceivers or encodings")]
    TooMany,
}

/// Why a section of the other side's offer was not taken, or one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No format that both know.
    #[error("the other side takes {theirs}; this side has {ours}")]
    NoCommonCodec {
        /// What they have, in words.
        theirs: String,
        /// What we have, in words.
        ours: String,
    },
    /// It wants another port for RTCP, which is not done here (RFC 5761).
    #[error("the other side wants RTP and RTCP on two ports")]
    NoRtcpMux,
    /// Its transport is not `UDP/TLS/RTP/SAVPF`, or one of its kin (RFC 9429 §5.1.2).
    #[error("the other side wants to carry it without DTLS")]
    Protocol,
    /// It is not in the BUNDLE group of the transport that there is.
    #[error("the other side wants a transport of its own for it")]
    NotBundled,
    /// The other side has refused it.
    #[error("the other side has refused it")]
    Refused,
}
