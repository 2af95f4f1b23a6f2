//! SCTP and WebRTC data channels (RFC 9260, RFC 8831, RFC 8832), as a machine that rides on DTLS.
//!
//! An SCTP *association* carries many *streams* between two peers. A *data channel* is a pair of streams with the
//! same number, one in each direction, and carries messages: in order or not, reliably or only so hard. Channels are
//! opened in band, by a small message on their own stream, or both applications agree on a number by other means.
//! Opening costs no round trip: a channel can be written to at once, even before the association is up, and its
//! first messages travel with the association's own handshake.
//!
//! [`Association`] is that machine. Its packets go to the layer below without an address (`Addr = ()`): the DTLS lane
//! seals them in the buffer they leave from.
//!
//! The engine that retransmits, reassembles and minds the congestion window is borrowed, see
//! `docs/decisions/`. What is ours around it: the handshake (both sides may begin, all numbers come from the seed),
//! the channels, the send buffers, and packets of the right size.
//!
//! **Back-pressure.** [`Association::send`] refuses with [`SendError::Full`] when a channel's buffer is full, and
//! [`Event::Writable`] tells when to go on. Received messages are taken out of the engine one by one by
//! [`poll_event`](sansio::Machine::poll_event); a channel that is not to be read
//! ([`Association::set_reading`]) fills the receive window, and the peer waits.
//!
//! **Copies of payload.** Sending: one into [`Association::send`] (none with [`Association::send_bytes`]), one into
//! the engine's packet, one into the outbox. Receiving: one of the packet, one of its fragments into one message.
//!
//! **Not deterministic:** nothing that is sent. Tags, cookies and sequence numbers come from [`Config::seed`].
//!
//! ```
//! use sansio::{Machine, Outbox, Seed, Time};
//! use sterna_sctp::{Association, ChannelConfig, Config, Event, MessageKind, Role};
//!
//! /// One packet after another, without a network.
//! #[derive(Default)]
//! struct Wire(Vec<Vec<u8>>);
//! impl Outbox<()> for Wire {
//!     fn room(&self) -> usize { 1 << 20 }
//!     fn send(&mut self, _: (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
//!         let mut packet = vec![0; max];
//!         let used = fill(&mut packet);
//!         packet.truncate(used);
//!         self.0.push(packet);
//!         true
//!     }
//! }
//!
//! let now = Time::ZERO;
//! let mut a = Association::new(now, Config::new(Role::Client, Seed::from(1)));
//! let mut b = Association::new(now, Config::new(Role::Server, Seed::from(2)));
//! let id = a.open_channel(now, ChannelConfig { label: "chat".into(), ..Default::default() }).unwrap();
//! a.send(now, id, MessageKind::Text, b"hello").unwrap();
//! let message = loop {
//!     let (mut to_b, mut to_a) = (Wire::default(), Wire::default());
//!     a.poll_transmit(now, &mut to_b);
//!     b.poll_transmit(now, &mut to_a);
//!     to_b.0.iter().for_each(|packet| b.handle_packet(now, packet));
//!     to_a.0.iter().for_each(|packet| a.handle_packet(now, packet));
//!     let events = std::iter::from_fn(|| b.poll_event());
//!     if let Some(Event::MessageReceived { data, .. }) = events.last() {
//!         break data;
//!     }
//! };
//! assert_eq!(message, "hello");
//! ```

mod association;
mod bundler;
mod channel;
mod config;
mod dcep;
mod engine;
mod event;
mod handshake;
mod init;
mod instant;
mod packet;
mod repair;
mod reset;
mod turns;

pub use association::{Association, Drops};
pub use channel::{ChannelConfig, ChannelId, MessageKind, Reliability};
pub use config::{Config, Role};
pub use event::{Event, OpenError, SctpError, SendError};
