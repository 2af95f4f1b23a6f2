use std::fmt;

use sansio::{Outbox, Path};

/// Where application bytes leave: an outbox for whole packets, whose path the agent knows.
///
/// From [`Agent::lane`](crate::Agent::lane).
pub struct Lane<'a>(pub(crate) Way<'a>);

pub(crate) enum Way<'a> {
    /// From a socket of ours to the other side.
    Direct { path: Path, out: &'a mut dyn Outbox },
    /// Through a TURN server, whose header is written in front.
    Relayed(turn::Lane<'a>),
}

impl fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Direct { path, .. } => write!(f, "Lane({path})"),
            Way::Relayed(lane) => write!(f, "Lane({lane:?})"),
        }
    }
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        match &self.0 {
            Way::Direct { out, .. } => out.room(),
            Way::Relayed(lane) => lane.room(),
        }
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        match &mut self.0 {
            Way::Direct { path, out } => out.send(*path, max, fill),
            Way::Relayed(lane) => lane.send((), max, fill),
        }
    }

    /// A TURN server sends on without marks (RFC 8656 §14 lets it), so through one nothing may be marked.
    fn send_capable(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        match &mut self.0 {
            Way::Direct { path, out } => out.send_capable(*path, max, fill),
            Way::Relayed(lane) => lane.send((), max, fill),
        }
    }

    /// Behind a TURN server nobody can say what is fragmented: there such a packet is not sent at all.
    fn send_whole(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        match &mut self.0 {
            Way::Direct { path, out } => out.send_whole(*path, max, fill),
            Way::Relayed(_) => {
                fill(&mut vec![0; max]);
                true
            }
        }
    }
}
