//! Signalling: how two ends that want a connection find each other and swap the few messages it takes.
//!
//! A WebRTC connection starts with a chicken and an egg: to open a path between two machines, each must
//! first learn the other's addresses. That first exchange is *signalling*. Here it goes through a small
//! server that knows three things only: rooms, who is in them, and opaque messages between two members.
//!
//! The crate has both ends and the security between them; `docs/signalling.md` says the same so that a
//! stranger can implement it.
//!
//! | layer | where | what |
//! |---|---|---|
//! | server | [`router`], [`SignalConfig`] | an [`axum::Router`] with the WebSocket at `/ws` |
//! | client | [`Client`], [`Peer`] | one connection to a server; a handle for every other member |
//! | invitation | [`Code`], [`Link`], [`Invitation`] | what one person tells another: `7-river-candle`, or a link |
//! | seal | [`seal`] | from an invitation to a key, and messages that the server can neither read nor forge |
//! | session | [`Door`], [`Host`], [`Session`] | all of it together: open or knock, meet, talk |
//!
//! # Two ends meet
//!
//! ```
//! use sterna_signal::{ConnectOptions, Door, Hello, Invitation, Payload, SignalConfig};
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The server, on a free port of this machine.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = format!("http://{}", listener.local_addr()?);
//! let app = sterna_signal::router(SignalConfig::default());
//! tokio::spawn(async move { axum::serve(listener, app).await });
//!
//! // One end opens a door and tells the code to the other, who knocks.
//! let options = ConnectOptions::default();
//! let mut host = Door::open_code(&server, &options).await?;
//! let invitation = Invitation::parse(&host.code().expect("a door with a code").to_string())?;
//! let mut guest = Door::knock(&invitation, &server, &options).await?;
//!
//! let hello = Hello::new("transfer", "an example");
//! let (host, guest) = tokio::try_join!(host.meet(&hello), guest.meet(&hello))?;
//! let (mut host, mut guest) = (host, guest);
//! assert!(host.offers() && !guest.offers(), "who was there first makes the offer");
//!
//! host.send(&Payload::Candidate(None))?;
//! assert_eq!(guest.next().await?, Payload::Candidate(None));
//! # Ok(()) }
//! ```

mod client;
mod code;
mod connect;
mod date;
mod invitation;
mod limits;
mod link;
mod message;
mod payload;
mod rooms;
pub mod seal;
mod server;
mod service;
mod session;
mod web;

pub use client::{Client, Event, Gone, Joined, Peer, SignalError};
pub use code::{Code, ParseCodeError, WORDS, words};
pub use connect::{ConnectError, ConnectOptions, Greeting};
pub use invitation::{Invitation, ParseInvitationError};
pub use limits::Limits;
pub use link::{Link, ParseLinkError};
pub use message::{ErrorCode, FromClient, FromServer, LeaveReason};
pub use payload::{Hello, Payload};
pub use server::{ClientInfo, SignalConfig, Source, router};
pub use service::{Answer, WebService};
pub use session::{Door, Host, MeetError, Session, SessionError};
pub use web::WebClient;

/// The WebSocket subprotocol that names this protocol and its version; a server that does not answer with
/// it is not one of ours.
pub const SUBPROTOCOL: &str = "sterna.v1";
