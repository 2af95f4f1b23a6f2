//! Connects any two machines.
//!
//! Sterna is WebRTC without a browser: it finds the best path between two machines through whatever NATs and firewalls
//! stand in the way (ICE, STUN, TURN), secures it (DTLS), and carries messages (SCTP data channels), sound and pictures
//! (SRTP) over it. The other side may be Sterna or a browser. The names are W3C's in Rust's spelling; there are no callbacks.
//!
//! # In fifteen lines
//!
//! ```
//! use sterna::prelude::*;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two peers; in life they are on two machines.
//! let configuration = Configuration { trickle: false, include_loopback: true, ..Configuration::default() };
//! let (alice, bob) = (PeerConnection::new(configuration.clone())?, PeerConnection::new(configuration)?);
//!
//! let channel = alice.create_data_channel("chat", DataChannelInit::default())?;
//! let offer = alice.set_local_description(None).await?; // travels to Bob, by whatever way there is
//! bob.set_remote_description(offer).await?;
//! let answer = bob.set_local_description(None).await?; // travels to Alice
//! alice.set_remote_description(answer).await?;
//!
//! channel.send("Hello, Bob!").await?;
//! println!("{}", alice.connected().await?); // direct · udp4 · host–host · 0 ms
//!
//! let mut greeting = None;
//! while let Some(event) = bob.next_event().await {
//!     if let PeerEvent::DataChannel(channel) = event {
//!         greeting = channel.recv().await;
//!         break;
//!     }
//! }
//! assert_eq!(greeting, Some("Hello, Bob!".into()));
//! # Ok(())
//! # }
//! ```
//!
//! # What one has to know
//!
//! **Signalling is yours.** Two machines that do not know each other need some way to exchange two texts, an *offer* and
//! an *answer*: a chat, a web server, a QR code. [`SessionDescription`] and [`IceCandidateInit`] serialise to the
//! browser's JSON, so that the other side can be a page. The example `minimal` uses two files, the command `sterna`
//! spoken codes.
//!
//! **Trickling.** Addresses at which a machine may be reached ("candidates") become known one after another. With
//! [`Configuration::trickle`], which is on by default, each is a [`PeerEvent::IceCandidate`] to be handed to the other side's
//! [`PeerConnection::add_ice_candidate`], and connecting begins before all are known. Without, descriptions are
//! complete, and one message each way is all. Candidates that arrive early wait for their description; none is lost.
//!
//! **Servers.** Machines on one network need none. Through NATs a STUN server helps, and where that is not enough only a
//! TURN server does: `sterna serve` is both. They go into [`Configuration::ice_servers`].
//!
//! **Back-pressure.** [`DataChannel::send`] waits while the buffer is full, and the other side waits while nobody calls
//! [`DataChannel::recv`]; memory stays bounded on both. [`DataChannel::try_send`] does not wait.
//! [`DataChannel::into_stream`] makes the channel an [`AsyncRead`](tokio::io::AsyncRead) and
//! [`AsyncWrite`](tokio::io::AsyncWrite).
//!
//! **Sound and pictures.** [`PeerConnection::add_track`] makes a [`LocalTrack`], to which frames are written that an encoder
//! made; the other side's arrive as [`PeerEvent::Track`], a [`RemoteTrack`] to read frames from. Nothing is encoded or shown
//! here. What is lost is asked for and sent again, and the encoder is told how many bits the way can carry:
//!
//! ```
//! use std::time::Duration;
//! use sterna::{LocalFrame, LocalTrackEvent, MediaKind, PeerConnection, WriteError};
//!
//! # trait Encoder {
//! #     fn picture(&mut self, time: Duration, key_frame: bool) -> Vec<u8>;
//! #     fn set_bitrate(&mut self, bits_per_second: u64);
//! # }
//! async fn film(peer: &PeerConnection, camera: &mut impl Encoder) -> Result<(), sterna::Error> {
//!     let track = peer.add_track(MediaKind::Video, &["camera"])?; // and then offer, or answer
//!     track.ready().await?;
//!     let (mut key_frame, mut time) = (true, Duration::ZERO);
//!     let mut every = tokio::time::interval(Duration::from_millis(40));
//!     loop {
//!         tokio::select! {
//!             _ = every.tick() => {
//!                 time += every.period();
//!                 let picture = camera.picture(time, key_frame);
//!                 let frame = LocalFrame { data: &picture, time, ..LocalFrame::default() };
//!                 key_frame = matches!(track.write(&frame), Err(WriteError::KeyFrameNeeded | WriteError::Full));
//!             }
//!             news = track.next_event() => match news {
//!                 Some(LocalTrackEvent::KeyFrameRequested { .. }) => key_frame = true,
//!                 Some(LocalTrackEvent::BitrateChanged { bits_per_second, .. }) => camera.set_bitrate(bits_per_second),
//!                 Some(_) => {}
//!                 None => return Ok(()),
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! What the other side offers becomes tracks with [`Configuration::media`]. Those who forward media, not show it, read and write
//! packets ([`RemoteTrack::recv_packet`], [`LocalTrack::write_packet`]).
//!
//! **Ending.** Dropping the handles closes; closing delivers what was sent before. To know that it has arrived, await
//! [`DataChannel::close`].
//!
//! **When it fails**, [`PeerConnection::connected`] and [`PeerEvent::Failed`] say why and what to do about it, and bring the
//! evidence: which server answered what, which pairs were tried ([`Failure`]), with the doctor's [`Verdict`]s on it:
//! a stable code, what shows it in numbers, and the exact thing to change. [`PeerConnection::report`] gives the same at
//! any time, and prints as text. [`PeerConnection::path`] tells whether the
//! path is direct or relayed, and if relayed, why.
//!
//! # The floors below
//!
//! This crate is the front door of a house. The protocols are state machines without sockets and clocks (`sterna-peer`,
//! `sterna-ice`, `sterna-turn`, …), for those who have their own event loop; `sterna-driver` gives them tokio's. They
//! are at [`machine`].

pub use driver::{
    AbsoluteCaptureTime, AudioLevel, ByteStream, CandidateError, CandidateKind, Certificate, CertificateDer,
    ChannelState, Code, Codec, CodecError, CodecStats, Configuration, Congestion, ConnectionState,
    DataChannel, DataChannelInit, Delivery, Direction, EncodingParameters, Endpoint, Error, Evidence,
    Failure, FailureCause, Fingerprint, Format, IceCandidateInit, IceConnectionState, IceGatheringState,
    IceServer, IceTransportPolicy, InboundRtpStats, LocalFrame, LocalTrack, LocalTrackEvent,
    MediaConfiguration, MediaKind, Message, OutboundRtpStats, OutgoingPacket, PacketHeader, PathInfo,
    PathKind, PayloadInfo, PeerConnection, PeerEvent, Punch, Rejection, RemoteFrame, RemoteInboundRtpStats,
    RemotePacket, RemoteTrack, Report, RequestError, RtpCodec, SdpType, SendError, SessionDescription,
    SignalingState, Stats, StatsOf, Summary, Transceiver, TransceiverError, TransceiverInit, Verdict,
    VideoOrientation, WriteError,
};

/// What most programs need, for `use sterna::prelude::*`.
pub mod prelude {
    pub use driver::{
        Configuration, DataChannel, DataChannelInit, IceCandidateInit, IceServer, Message, PeerConnection,
        PeerEvent, SessionDescription,
    };
}

/// The connection without sockets and clock, for those who have their own loop; and the engine that runs it here.
pub mod machine {
    pub use driver::engine::{Engine, Host, Shared};
    pub use driver::{Clock, Connector, Network};
    pub use peer::{Configuration, Connection, ConnectionId, Event, Hub, HubConfig, HubDrops, Resident};
    pub use sansio::{Batches, Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time, Transport};
}
