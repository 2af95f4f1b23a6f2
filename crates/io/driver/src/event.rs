use peer::{
    CandidateError, ConnectionState, Failure, IceCandidateInit, IceConnectionState, IceGatheringState,
    PathSummary, SignalingState,
};

use crate::DataChannel;

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
    /// The other side has closed the connection.
    PeerClosed,
    /// The connection did not come about, or broke: why, and what to do about it.
    Failed(Box<Failure>),
}
