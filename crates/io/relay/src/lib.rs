//! The data path of the STUN and TURN server: sockets, streams and a clock around [`turn::Server`].
//!
//! The machine decides everything: who gets a relayed address, who may send to whom, and when it ends. This
//! crate gives it the world: it listens on UDP, TCP, TLS and DTLS, opens the relay sockets that the machine asks
//! for, hands it what arrives and sends what it writes.
//!
//! * **UDP** has threads of its own, the shards, each with its sockets, its clients and its loop; no locks between a
//!   packet's arrival and its departure. What the machine decided for one datagram is a *flow* for those behind it
//!   (`turn::Flow`), which the shard carries without asking: received in bundles, the header changed where it lies, and
//!   sent together with all that goes the same way, one system call each (see the `udp` crate). The machine lives in
//!   the first shard; the others write letters to it about what they have no flow for, which are read first if they are
//!   of clients with an allocation: a flood of strangers drowns nobody.
//! * **Streams** have a task each, where TLS and framing are done. What the machine writes for a stream goes into
//!   a queue of limited size; when it is full, because the client does not read, datagrams are dropped, as a
//!   network would. Nobody waits for anybody.
//! * **DTLS** comes in at the same UDP sockets, and is told from the rest by its first byte. Who has shown that he is where
//!   he says has a task, too, where his datagrams are opened and sealed; to the machine he is as good as a stream.
//! * **Strangers** cost little: the number of connections is limited, in all and per source, and a connection
//!   that does not come to the point is closed.
//!
//! ```no_run
//! use sansio::Seed;
//! use sterna_relay::{Relay, RelayConfig};
//! use turn::{Auth, ServerConfig};
//!
//! # async fn example() -> Result<(), sterna_relay::Error> {
//! let auth = Auth::shared_secret("what `openssl rand -hex 32` prints").expect("a strong secret");
//! let relay_from: std::net::IpAddr = [192, 0, 2, 1].into();
//! let server = ServerConfig::new("example.org", relay_from, auth, Seed(crypto::seed()));
//! let relay = Relay::bind(RelayConfig {
//!     udp: vec!["0.0.0.0:3478".parse().unwrap()],
//!     tcp: vec!["0.0.0.0:3478".parse().unwrap()],
//!     ..RelayConfig::new(server)
//! })?;
//! println!("listening on {:?}", relay.addresses());
//! relay.run(async { tokio::signal::ctrl_c().await.unwrap() }).await;
//! # Ok(())
//! # }
//! ```

/// What the tests call this crate.
#[cfg(test)]
extern crate self as sterna_relay;

mod acceptor;
mod admission;
mod aide;
mod carrier;
mod chief;
mod clock;
mod config;
mod connection;
mod control;
mod crew;
mod desk;
mod egress;
mod entrance;
mod error;
mod exits;
mod flows;
mod gate;
mod gathering;
mod guests;
mod handshakes;
mod journal;
mod key;
mod lobby;
mod losses;
mod mail;
mod outgoing;
mod port;
mod post;
mod pulse;
mod question;
mod relay;
mod session;
mod shard;
mod sockets;
mod splice;
mod streams;
mod threads;

pub use acceptor::ACME_TLS;
pub use config::{Limits, RelayConfig};
pub use control::{Handle, Rules, Status};
pub use entrance::{Entrance, Guest};
pub use error::Error;
pub use handshakes::HandshakesSoFar;
pub use losses::{Loss, LossesSoFar};
pub use port::Port;
pub use question::Question;
pub use relay::{Relay, Reserved};
