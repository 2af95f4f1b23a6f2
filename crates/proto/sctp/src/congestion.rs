//! How much may be on its way: a small interface, and who decides behind it.

mod bbr;
mod cubic;
mod hystart;
mod noise;
mod pacer;

use std::fmt;
use std::time::Duration;

use sansio::Time;

pub(crate) use self::pacer::Pacer;
use crate::Congestion;

/// Packets that may be sent before anything is known of the path (RFC 6928).
const INITIAL: usize = 10;

/// Decides how much may be on its way, and how fast it leaves. All sizes are in bytes of chunks.
pub(crate) trait Controller: fmt::Debug + Send {
    /// Something arrived.
    fn acknowledged(&mut self, ack: &Ack);
    /// Something was lost.
    fn lost(&mut self, loss: &Loss);
    /// A router had more to send than it could, and said so before it lost anything. Once a round trip at most. `flight` bytes were
    /// on their way.
    fn marked(&mut self, flight: usize);
    /// Nothing was heard for long; `again`: still nothing since the last such call.
    fn timed_out(&mut self, now: Time, flight: usize, again: bool);
    /// Bytes that may be on their way.
    fn window(&self) -> usize;
    /// Bytes per second at which they may leave; `None`: at once.
    fn rate(&self, smoothed: Option<Duration>) -> Option<f64>;
    /// Packets have another size now.
    fn set_mtu(&mut self, mtu: usize);
}

/// What a SACK has told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) now: Time,
    /// Bytes that arrived.
    pub(crate) bytes: usize,
    /// Bytes that were on their way before.
    pub(crate) flight: usize,
    /// The round trip of what was sent last of that, if it was sent once.
    pub(crate) rtt: Option<Duration>,
    pub(crate) smoothed: Duration,
    pub(crate) least: Duration,
    /// Whether a round trip ends: what arrived was sent after the last one ended.
    pub(crate) round: bool,
    /// Whether a loss is being repaired.
    pub(crate) recovering: bool,
    /// Whether the window was what held more back.
    pub(crate) limited: bool,
    /// Bytes per second at which things arrive, as far as that can be told; `true`: the application had nothing more.
    pub(crate) delivery: Option<(f64, bool)>,
}

/// What is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) bytes: usize,
    /// Bytes that were on their way before.
    pub(crate) flight: usize,
    /// Whether some of it was sent after the last loss was noticed.
    pub(crate) fresh: bool,
}

/// The one that was asked for.
pub(crate) fn controller(choice: Congestion, mtu: usize) -> Box<dyn Controller> {
    match choice {
        Congestion::Cubic => Box::new(cubic::Cubic::new(mtu)),
        Congestion::Bbr => Box::new(bbr::Bbr::new(mtu)),
    }
}
