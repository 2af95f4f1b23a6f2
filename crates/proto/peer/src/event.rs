use std::sync::Arc;

use bytes::Bytes;
use rtp::extension::{AudioLevel, VideoOrientation};
use rtp::receive::Frame;

use crate::{
    ChannelId, Codec, ConnectionState, Failure, IceCandidateInit, IceConnectionState, IceGatheringState,
    MediaKind, MessageKind, PathSummary, Rejection, SignalingState, TransceiverId,
};

/// What a [`Connection`](crate::Connection) tells its owner; behind each stands the W3C event it corresponds to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An offer has to be made, sooner or later (`negotiationneeded`).
    NegotiationNeeded,
    /// Offers and answers have moved on (`signalingstatechange`).
    SignalingStateChanged(SignalingState),
    /// Gathering began or ended (`icegatheringstatechange`).
    IceGatheringStateChanged(IceGatheringState),
    /// A candidate for the other side, to be sent at once when trickling; one with an empty `candidate` says that
    /// no more follow in its generation (`icecandidate`).
    CandidateGathered(IceCandidateInit),
    /// A STUN or TURN server gave no candidate (`icecandidateerror`). Others may.
    CandidateFailed(CandidateError),
    /// ICE has moved on (`iceconnectionstatechange`).
    IceConnectionStateChanged(IceConnectionState),
    /// The connection as a whole has moved on (`connectionstatechange`).
    ConnectionStateChanged(ConnectionState),
    /// Data takes this path from now on (`selectedcandidatepairchange`).
    PathChanged(Box<PathSummary>),
    /// A channel is open: one of ours (`open`), or one that the other side made (`datachannel`).
    ChannelOpened {
        /// Which.
        id: ChannelId,
        /// Whether the other side made it.
        incoming: bool,
    },
    /// A message came (`message`).
    MessageReceived {
        /// On which channel.
        id: ChannelId,
        /// Of which kind.
        kind: MessageKind,
        /// Its bytes; UTF-8 if the kind is text.
        data: Bytes,
    },
    /// What is buffered on the channel fell to its threshold or below (`bufferedamountlow`).
    BufferedAmountLow(ChannelId),
    /// After [`SendError::Full`](crate::SendError::Full): there is room again. W3C has no such event.
    Writable(ChannelId),
    /// The channel is closed (`close`). It is not known any more.
    ChannelClosed(ChannelId),
    /// The other side sends media by this transceiver, as a description of its says (`track`). Nothing has come yet: it is
    /// muted.
    TrackAdded {
        /// By which.
        transceiver: TransceiverId,
        /// The streams that it belongs to.
        streams: Vec<String>,
    },
    /// The other side has said that it sends no more by this transceiver; it may again (`mute`).
    TrackMuted(TransceiverId),
    /// Something comes by it (`unmute`).
    TrackUnmuted(TransceiverId),
    /// A frame came, in its order.
    FrameReceived {
        /// By which transceiver.
        transceiver: TransceiverId,
        /// The frame, and what is known of it.
        received: Box<ReceivedFrame>,
    },
    /// A packet came by a transceiver whose media is handed over in packets.
    PacketReceived {
        /// By which transceiver.
        transceiver: TransceiverId,
        /// The packet, and what is known of it.
        received: Box<ReceivedPacket>,
    },
    /// The other side needs a picture that needs no other; also when there is a way for the first one.
    KeyFrameRequested {
        /// By which transceiver it is sent.
        transceiver: TransceiverId,
        /// Of which encoding, if there are several.
        rid: Option<Arc<str>>,
    },
    /// So much may be sent of an encoding from now on; 0, and it is paused.
    BitrateChanged {
        /// By which transceiver it is sent.
        transceiver: TransceiverId,
        /// Which encoding, if there are several.
        rid: Option<Arc<str>>,
        /// Bits a second, without what packets add to it.
        bits_per_second: u64,
    },
    /// The track that came by it is over, as is the transceiver (`ended`).
    TrackEnded(TransceiverId),
    /// A section of sound or pictures was refused, by us or by the other side. W3C has no such event: its transceivers just
    /// stop.
    MediaRejected {
        /// The section's name, if it has one.
        mid: Option<String>,
        /// Sound or pictures.
        kind: MediaKind,
        /// The transceiver that has ended by it, if there was one.
        transceiver: Option<TransceiverId>,
        /// Why.
        because: Rejection,
    },
    /// The other side closed the connection in an orderly way. Nothing works any more; W3C has no such event.
    PeerClosed,
    /// The connection did not come about, or broke. Once; only an ICE restart may help, if it was ICE that failed.
    Failed(Box<Failure>),
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedFrame {
    /// The encoding, if several come.
    pub rid: Option<Arc<str>>,
    /// The source.
    pub ssrc: u32,
    /// Its format.
    pub codec: Codec,
    /// The payload type of that, as we have told it.
    pub payload_type: u8,
    /// The frame.
    pub frame: Frame,
    /// When it was captured by the sender's clock, as NTP counts, once that is known: by this sound and pictures are played
    /// together.
    pub captured: Option<u64>,
    /// How loud it is, if it says so.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned, as was said last.
    pub orientation: Option<VideoOrientation>,
}

/// A packet that came.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedPacket {
    /// The encoding, if several come.
    pub rid: Option<Arc<str>>,
    /// The source.
    pub ssrc: u32,
    /// Its header.
    pub header: rtp::Header,
    /// What it carries.
    pub payload: Vec<u8>,
    /// How loud it is, if it says so.
    pub audio_level: Option<AudioLevel>,
    /// How the picture has to be turned, if it says so.
    pub orientation: Option<VideoOrientation>,
}

/// A STUN or TURN server that gave no candidate (`RTCPeerConnectionIceErrorEvent`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateError {
    /// The server's URL.
    pub url: String,
    /// The address of ours that it was asked from, if that may be known.
    pub address: Option<std::net::SocketAddr>,
    /// The STUN error code of its answer, or 701 if there was none.
    pub code: u16,
    /// What happened.
    pub text: String,
}
