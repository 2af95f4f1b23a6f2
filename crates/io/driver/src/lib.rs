//! The tokio driver: sockets, a clock and an async API around Sterna's machines.
//!
//! Most people want [`PeerConnection`] and [`DataChannel`]: W3C's WebRTC API in Rust's spelling, without callbacks. The
//! crate `sterna` re-exports them and explains them.
//!
//! Underneath is the [`engine`]: one task per connection, in which one loop gives a machine (any
//! [`sansio::Machine`] that speaks in [`sansio::Path`]s) its datagrams, its clock and its turn. Handles and engine meet
//! at one mutex; no message passes through a queue between tasks. The sockets are those of [`udp`], which send and
//! receive many datagrams by one system call; streams to TURN servers by TCP and TLS, names by DNS and multicast DNS,
//! and HTTP proxies are here as well.

mod byte_stream;
mod changes;
mod clock;
mod configuration;
mod connect;
mod data_channel;
mod discover;
mod endpoint;
pub mod engine;
mod error;
mod event;
mod inbox;
mod interfaces;
mod local_track;
mod mdns;
mod message;
mod multicast;
mod names;
mod network;
mod peer_connection;
mod portmap;
mod proxy;
mod remote_frame;
mod remote_track;
mod sockets;
mod state;
mod streams;
mod tls;
mod transceiver;
mod wake;

pub use byte_stream::ByteStream;
pub use clock::Clock;
pub use configuration::{Configuration, IceServer, IceTransportPolicy, MediaConfiguration};
pub use connect::Connector;
pub use crypto::{Certificate, Fingerprint};
pub use data_channel::DataChannel;
pub use discover::{DiscoverOptions, discover};
pub use doctor::{Code, Evidence, Report, Summary, Verdict};
pub use endpoint::Endpoint;
pub use engine::{Engine, Host, Shared};
pub use error::{Error, SendError};
pub use event::PeerEvent;
pub use ice::{CandidateKind, Punch};
pub use interfaces::{interfaces, source_for};
pub use local_track::{LocalFrame, LocalTrack, LocalTrackEvent};
pub use mdns::hears_itself;
pub use message::Message;
pub use names::locate;
pub use network::Network;
pub use peer::{
    AbsoluteCaptureTime, AudioLevel, CandidateError, ChannelState, Codec, CodecError, CodecStats, Congestion,
    ConnectionState, DataChannelInit, Delivery, Direction, EncodingParameters, Failure, FailureCause, Format,
    IceCandidateInit, IceConnectionState, IceGatheringState, InboundRtpStats, MediaKind, OutboundRtpStats,
    OutgoingPacket, PacketHeader, PathKind, PathSummary as PathInfo, PayloadInfo,
    ReceivedPacket as RemotePacket, Rejection, RemoteInboundRtpStats, RequestError, RtpCodec, SdpType,
    SessionDescription, SignalingState, Stats, StatsOf, TransceiverError, TransceiverInit, VideoOrientation,
    WriteError,
};
pub use peer_connection::PeerConnection;
pub use portmap::{PortMappers, port_mappers};
pub use proxy::configured as proxy;
pub use remote_frame::RemoteFrame;
pub use remote_track::RemoteTrack;
pub use rustls_pki_types::CertificateDer;
pub use tls::system_authorities;
pub use transceiver::Transceiver;
pub use turn::discovery::{Found, Relay};
