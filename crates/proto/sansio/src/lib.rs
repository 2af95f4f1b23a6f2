//! The one convention of Sterna's protocol machines.
//!
//! A *machine* is a protocol as a state machine: it owns no clock, no socket, no thread and no dice. Someone
//! else, the *driver*, hands it the time and what came from the network, and takes away what it wants to send:
//!
//! * `handle_…` comes in: [`Machine::handle_datagram`], [`Machine::handle_timeout`], [`Machine::handle_socket`];
//! * `poll_…` goes out: [`Machine::poll_transmit`], [`Machine::poll_event`], [`Machine::poll_timeout`],
//!   [`Machine::poll_socket`];
//! * a plain verb, `now` first, is a wish of the owner.
//!
//! No order of calls is wrong. An early `handle_timeout` does nothing, and a poll that is left out only delays.
//! The same machine therefore runs on tokio, in a simulator with virtual time, and inside another machine.
//!
//! ```
//! use sterna_sansio::{Batches, Datagram, Machine, Outbox, Path, Time};
//!
//! /// Sends everything back to where it came from.
//! struct Echo;
//!
//! impl Machine for Echo {
//!     type Addr = Path;
//!     type Event = ();
//!     fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
//!         let bytes = &*datagram.payload;
//!         out.send(datagram.from, bytes.len(), &mut |buffer| {
//!             buffer.copy_from_slice(bytes);
//!             bytes.len()
//!         });
//!     }
//!     fn handle_timeout(&mut self, _: Time) {}
//!     fn poll_transmit(&mut self, _: Time, _: &mut dyn Outbox) {}
//!     fn poll_event(&mut self) -> Option<()> { None }
//!     fn poll_timeout(&self) -> Option<Time> { None }
//! }
//!
//! let path = Path::udp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
//! let mut out = Batches::new(64 * 1024);
//! let mut hello = *b"hello";
//! Echo.handle_datagram(Time::ZERO, Datagram { from: path, payload: &mut hello }, &mut out);
//! assert_eq!(out.pop().unwrap().bytes, b"hello");
//! ```

mod batches;
mod hash;
mod machine;
mod outbox;
mod path;
mod rng;
mod socket;
mod time;
mod timers;
mod wheel;

pub use batches::{Batch, Batches, MAX_BATCH_BYTES, MAX_BATCH_SEGMENTS};
pub use hash::{KeyedHash, KeyedHasher};
pub use machine::{Datagram, Machine};
pub use outbox::{Full, Outbox};
pub use path::{Path, Transport, unmapped};
pub use rng::{Rng, Seed};
pub use socket::{SocketError, SocketOp, SocketReply, Ticket};
pub use time::Time;
pub use timers::Timers;
pub use wheel::Wheel;
