//! The receiver's side of a source: packets in, as the network brings them; frames out, in their order.
//!
//! [`JitterBuffer`] waits for what is missing, says what to ask for again, and gives up when it has waited long
//! enough. [`Statistics`] counts what reports say, [`Arrivals`] when packets came, of all sources of a transport. What comes by other ways, a retransmission ([`retransmitted`]) or the
//! redundant copies of RED ([`Redundancy`]), is brought to the same buffer.
//!
//! Nothing waits for its time to be played: a frame comes out as soon as it is whole and all before it are out. When to
//! show it its timestamp says, and whoever plays it has the clock.

mod arrivals;
mod buffer;
mod lost;
mod red;
mod rtx;
mod statistics;
mod store;

pub use arrivals::Arrivals;
pub use buffer::{BufferConfig, BufferCounters, BufferEvent, Frame, JitterBuffer};
pub(crate) use lost::Lost;
pub use red::Redundancy;
pub use rtx::retransmitted;
pub use statistics::Statistics;
