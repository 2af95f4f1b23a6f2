//! A connection to one other peer: the browsers' `RTCPeerConnection`, as a state machine without I/O.
//!
//! [`Connection`] composes the stack. *ICE* finds a path through whatever NATs are in between, *DTLS* makes sure that
//! the other end is who its description said and keeps everybody else out, *SCTP* carries data channels on it. What
//! the two sides must know of each other (credentials, fingerprints, addresses) travels in *descriptions* and
//! *candidates*, by some way that is not this crate's business: *signalling*.
//!
//! * One side makes an offer ([`Connection::set_local_description`]), the other takes it
//!   ([`Connection::set_remote_description`]) and answers in the same way.
//! * Candidates follow one by one ([`Event::CandidateGathered`], [`Connection::add_ice_candidate`]), or stand in
//!   [`Connection::local_description`] once gathering is complete.
//! * [`Event::NegotiationNeeded`] says when an offer is due. If both offer at once, the polite one's
//!   `set_remote_description` takes its own offer back, and the impolite one ignores the other's offer.
//! * [`Connection::create_data_channel`], [`Connection::send`] and [`Event::MessageReceived`] are what it is for.
//!
//! * Media flows by transceivers: [`Connection::add_transceiver`] and [`Connection::add_track`] make them, and so does an offer
//!   of the other side's, if [`Configuration::media`] says so ([`Event::TrackAdded`]).
//!   [`Connection::write_frame`] and [`Event::FrameReceived`] are what they are for.
//!
//! Names are W3C's in Rust's spelling, and the JSON of [`SessionDescription`] and [`IceCandidateInit`] is the
//! browser's. Like all machines of [`sansio`], it is told the time and driven from outside.
//!
//! ```
//! use sansio::{Batches, Datagram, Machine, Seed, SocketOp, SocketReply, Time};
//! use sterna_peer::{Configuration, Connection, DataChannelInit, Event, MessageKind};
//!
//! // Two connections on one machine. What a driver does for sockets and the wire is done by hand here.
//! let now = Time::ZERO;
//! let mut peers = [1, 2].map(|number| {
//!     let certificate = crypto::Certificate::generate().unwrap();
//!     let mut configuration = Configuration::new(Seed::from(number), certificate);
//!     configuration.interfaces = vec![ice::Interface::new("eth0", "192.0.2.1".parse().unwrap())];
//!     Connection::new(now, configuration)
//! });
//! let chat = peers[0].create_data_channel(now, "chat", DataChannelInit::default()).unwrap();
//!
//! // Signalling.
//! let offer = peers[0].set_local_description(now, None).unwrap();
//! peers[1].set_remote_description(now, offer).unwrap();
//! let answer = peers[1].set_local_description(now, None).unwrap();
//! peers[0].set_remote_description(now, answer).unwrap();
//!
//! let mut wire = Batches::new(1 << 20);
//! let mut received = None;
//! for _ in 0..100 {
//!     for number in 0..2 {
//!         let peer = &mut peers[number];
//!         while let Some(op) = peer.poll_socket() {
//!             if let SocketOp::Bind { ticket, local } = op {
//!                 let local = (local.ip(), 5000 + number as u16).into();
//!                 peer.handle_socket(now, SocketReply::Bound { ticket, local });
//!             }
//!         }
//!         peer.handle_timeout(now);
//!         peer.poll_transmit(now, &mut wire);
//!         let events: Vec<Event> = std::iter::from_fn(|| peer.poll_event()).collect();
//!         for event in events {
//!             match event {
//!                 Event::CandidateGathered(candidate) => {
//!                     peers[1 - number].add_ice_candidate(now, Some(candidate)).unwrap();
//!                 }
//!                 Event::ChannelOpened { id, .. } if number == 0 => {
//!                     peers[0].send(now, id, MessageKind::Text, b"hello").unwrap();
//!                 }
//!                 Event::MessageReceived { data, .. } => received = Some(data),
//!                 _ => {}
//!             }
//!         }
//!     }
//!     while let Some(batch) = wire.pop() {
//!         let from = batch.path.reversed();
//!         let peer = &mut peers[usize::from(from.local.port() - 5000)];
//!         for datagram in batch.datagrams() {
//!             let mut payload = datagram.to_vec();
//!             peer.handle_datagram(now, Datagram { from, payload: &mut payload }, &mut wire);
//!         }
//!     }
//! }
//! assert_eq!(received.unwrap(), "hello");
//! assert!(peers[0].channel(chat).is_some() && peers[0].path().is_some());
//! ```
//!
//! **Order of things.** Nothing waits for a timer that need not: the DTLS handshake leaves in the same
//! `poll_transmit` in which ICE has a valid path, and SCTP's in the one after DTLS is done. Messages may be
//! given to a channel before it is open; they travel with SCTP's handshake.
//!
//! **Trust.** Packets reach DTLS only from 5-tuples that ICE has verified, and the application only from a DTLS
//! association whose certificate matches the fingerprint in the remote description. Whoever can change the
//! descriptions on their way can be anybody: signalling must be trusted, or sealed.

mod candidate;
mod channel;
mod channels;
mod codec;
mod configuration;
mod connection;
mod demux;
mod description;
mod error;
mod event;
mod evidence;
mod failure;
mod hub;
mod media;
mod media_stats;
mod negotiate;
mod path;
mod payload_types;
mod secure;
mod sockets;
mod state;
mod stats;
mod traffic;
mod transceiver;
mod transport;

pub use candidate::IceCandidateInit;
pub use channel::{Channel, ChannelError, ChannelId, ChannelState, DataChannelInit, MessageKind, SendError};
pub use codec::RtpCodec;
pub use configuration::{Configuration, MediaConfiguration, OfferOptions};
pub use connection::Connection;
pub use description::{SdpType, SessionDescription};
pub use error::{DescriptionError, Error};
pub use event::{CandidateError, Event, ReceivedFrame, ReceivedPacket};
pub use failure::{Failure, FailureCause};
pub use hub::{Census, ConnectionId, Hub, HubConfig, HubDrops, Resident};
pub use media_stats::{CodecStats, InboundRtpStats, OutboundRtpStats, RemoteInboundRtpStats};
pub use path::{PathKind, PathSummary};
pub use rtp::Header as PacketHeader;
pub use rtp::bandwidth::EstimatorConfig;
pub use rtp::codecs::{Codec, PacketizeError, PayloadInfo};
pub use rtp::extension::{AbsoluteCaptureTime, AudioLevel, VideoOrientation};
pub use rtp::ntp::NtpClock;
pub use rtp::receive::Frame;
pub use rtp::session::{
    Delivery, Format, Kind as MediaKind, OutgoingFrame, OutgoingPacket, RequestError, SendError as WriteError,
};
pub use sctp::Congestion;
pub use sdp::Direction;
pub use state::{ConnectionState, DtlsState, IceConnectionState, IceGatheringState, SignalingState};
pub use stats::{
    CandidatePairStats, CandidateStats, DataChannelStats, PeerConnectionStats, Stats, StatsOf, TransportStats,
};
pub use transceiver::{
    CodecError, EncodingParameters, Rejection, Transceiver, TransceiverError, TransceiverId, TransceiverInit,
};
