use peer::{
    CandidateError, ConnectionState, Failure, IceCandidateInit, IceConnectionState, IceGatheringState,
    MediaKind, PathSummary, Rejection, SignalingState,
};

use crate::{DataChannel, RemoteTrack};

/// What [`PeerConnection::next_event`](crate::PeerConnection::next_event) tells; behind each stands the W3C event it
/// corresponds to.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerEvent {
    /// An offer has to be made and sent (`negotiationneeded`).
    NegotiationNeeded,
    /// A candidate for the other side, to be sent at once; `None`: that were all (`icecandidate`).
    ///
    /// Not told if [`Configuration::trickle`](crate::Configuration::trickle) is off.
    IceCandidate(Option<IceCandidateInit>),
    /// A STUN or TURN server gave no candidate (`icecandidateerror`). Others may.
    IceCandidateError(CandidateError),
    /// The other side made a channel (`datachannel`).
    DataChannel(DataChannel),
    /// The connection as a whole has moved on (`connectionstatechange`).
    ConnectionStateChange(ConnectionState),
    /// ICE has moved on (`iceconnectionstatechange`).
    IceConnectionStateChange(IceConnectionState),
    /// Gathering began or ended (`icegatheringstatechange`).
    IceGatheringStateChange(IceGatheringState),
    /// Offers and answers have moved on (`signalingstatechange`).
    SignalingStateChange(SignalingState),
    /// Data takes this path from now on (`selectedcandidatepairchange`).
    PathChange(Box<PathSummary>),
    /// The other side sends sound or pictures, as its description says (`track`). Nothing has come yet: it is muted.
    Track(RemoteTrack),
    /// Nothing comes by this track any more: the other side has said so, or has fallen silent. It may go on (`mute`).
    TrackMute(RemoteTrack),
    /// Something comes by this track (`unmute`).
    TrackUnmute(RemoteTrack),
    /// Sound or pictures were refused, by us or by the other side. W3C has no such event: transceivers just stop.
    MediaRejected {
        /// The section's name, if it has one.
        mid: Option<String>,
        /// Sound or pictures.
        kind: MediaKind,
        /// Why.
        because: Rejection,
    },
    /// The other side has closed the connection.
    PeerClosed,
    /// The connection did not come about, or broke: why, and what to do about it.
    Failed(Box<Failure>),
}
