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
//! **How it is made.** Messages wait in a *backlog* per stream and leave in fragments, in turn by priority; fragments are
//! *under way* until a SACK tells their fate, losses are found by time (RACK), and a *controller* (CUBIC, or one after
//! BBR) says how much may be under way. What comes is ticked off, put together, brought in order and kept until it is
//! read. With peers that know how, messages of several channels are mixed (RFC 8260) and packets carry no checksum of
//! their own (RFC 9653). Decision 013 tells why.
//!
//! **Back-pressure.** [`Association::send`] refuses with [`SendError::Full`] when a channel's buffer is full, and
//! [`Event::Writable`] tells when to go on. Received messages are handed over one by one by
//! [`poll_event`](sansio::Machine::poll_event); a channel that is not to be read ([`Association::set_reading`]) fills
//! the receive window, and the peer waits.
//!
//! **Copies of payload.** Sending: one into [`Association::send`] (none with [`Association::send_bytes`]), one into the
//! outbox. Receiving: one, out of the packet into the message.
//!
//! **Deterministic.** Tags, cookies and sequence numbers come from [`Config::seed`].
//!
//! ```
//! use sansio::{Machine, Seed, Time};
//! use sterna_sctp::{Association, ChannelConfig, Config, Event, MessageKind, Role};
//!
//! let now = Time::ZERO;
//! let mut a = Association::new(now, Config::new(Role::Client, Seed::from(1)));
//! let mut b = Association::new(now, Config::new(Role::Server, Seed::from(2)));
//! let id = a.open_channel(now, ChannelConfig { label: "chat".into(), ..Default::default() }).unwrap();
//! a.send(now, id, MessageKind::Text, b"hello").unwrap();
//! let message = loop {
//!     let (mut to_b, mut to_a): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
//!     a.poll_transmit(now, &mut to_b);
//!     b.poll_transmit(now, &mut to_a);
//!     to_b.iter().for_each(|packet| b.handle_packet(now, packet));
//!     to_a.iter().for_each(|packet| a.handle_packet(now, packet));
//!     let events = std::iter::from_fn(|| b.poll_event());
//!     if let Some(Event::MessageReceived { data, .. }) = events.last() {
//!         break data;
//!     }
//! };
//! assert_eq!(message, "hello");
//! ```

mod association;
mod channel;
mod chunk;
mod config;
mod congestion;
mod cookie;
mod dcep;
mod event;
mod handshake;
mod init;
mod marks;
mod packet;
mod probe;
mod ranges;
mod receiver;
mod reconfig;
mod resets;
mod rtt;
mod sender;
mod serial;
mod timer;

pub use association::{Association, Drops};
pub use channel::{ChannelConfig, ChannelId, MessageKind, Reliability};
pub use config::{Config, Congestion, Role};
pub use event::{Event, InitError, OpenError, SctpError, SendError};

/// The payload protocol identifier of DCEP (RFC 8832 §8.1).
pub(crate) const DCEP: u32 = 50;
