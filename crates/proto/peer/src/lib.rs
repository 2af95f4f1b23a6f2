//! The sans-IO PeerConnection: ICE, DTLS, SCTP and SDP in one machine, with W3C names.

mod candidate;
mod channel;
mod configuration;
mod connection;
mod demux;
mod description;
mod error;
mod event;
mod failure;
mod negotiate;
mod path;
mod secure;
mod sockets;
mod state;
mod stats;
mod transport;

pub use candidate::IceCandidateInit;
pub use channel::{Channel, ChannelError, ChannelId, ChannelState, DataChannelInit, MessageKind, SendError};
pub use configuration::{Configuration, OfferOptions};
pub use connection::Connection;
pub use description::{SdpType, SessionDescription};
pub use error::{DescriptionError, Error};
pub use event::{CandidateError, Event};
pub use failure::{Failure, FailureCause};
pub use path::{PathKind, PathSummary};
pub use secure::DtlsState;
pub use state::{ConnectionState, IceConnectionState, IceGatheringState, SignalingState};
pub use stats::{
    CandidatePairStats, CandidateStats, DataChannelStats, PeerConnectionStats, Stats, StatsOf, TransportStats,
};
