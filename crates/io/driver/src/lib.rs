//! The tokio driver: sockets, a clock and an async API around Sterna's machines.

mod clock;
mod connect;
pub mod engine;
mod interfaces;
mod mdns;
mod multicast;
mod network;
mod proxy;
mod sockets;
mod streams;
mod tls;
mod wake;

pub use clock::Clock;
pub use connect::Connector;
pub use engine::{Engine, Host, Shared};
pub use network::Network;
