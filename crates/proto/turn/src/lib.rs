//! TURN (RFC 8656): client and server state machines, sans-IO.
//!
//! Two hosts whose NATs let no packet through directly can still meet at a third place: a *relay*. A client asks
//! a TURN server for an *allocation*, that is for a UDP port on the server, its *relayed address*. What *peers*
//! send there the server passes to the client, and what the client sends through the server comes, for the
//! peers, from there. A relay is somebody's bandwidth and somebody's network position, so everything about it is
//! guarded: allocations need a password, and packets pass between a client and a peer only after the client has
//! asked for a *permission* for the peer's address, which the server may refuse.
//!
//! Packets travel between client and server in one of two envelopes: *indications* (STUN messages, 36 or 48
//! bytes more) or, once a *channel* number is bound to the peer, *ChannelData* (4 bytes more).
//!
//! * [`Client`] is one allocation, over one UDP, TCP or TLS path to one server.
//! * [`Server`] decides everything: who gets a relayed address, for how long, and whom packets may come from and
//!   go to ([`PeerPolicy`]).
//! * [`discovery`] finds servers that the network offers (RFC 8155).

mod attribute;
mod channel;
mod client;
pub mod discovery;
mod error;
mod indication;
mod server;

pub use attribute::{Families, Family};
pub use channel::{CHANNEL_DATA_HEADER, ChannelNumber, parse_channel_data};
pub use client::{
    Client, ClientConfig, ClientEvent, Credentials, DataConnection, Immobile, Joining, Lane, Opened,
};
pub use error::{Stage, TurnError};
pub use indication::parse_send;
pub use server::{
    AllocationId, Auth, Cidr, CidrError, ConfigError, Counters, Denial, Direction, Drop, EndReason, Flow,
    Framing, IcmpError, LoginFailure, LookupId, LookupRules, OtherServer, Passage, PeerPolicy, Permit,
    Quotas, RelayAddress, Server, ServerConfig, ServerEvent, StreamNews, StreamOp, ThirdParty, User, Verdict,
};
