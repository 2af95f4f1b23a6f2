use sansio::Time;

use crate::sender::backlog::Fragment;
use crate::sender::rate::Snapshot;

/// A chunk.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) fragment: Fragment,
    pub(crate) fate: Fate,
    pub(crate) transmissions: u16,
    /// The packet that it was last sent in, and when.
    pub(crate) packet: u64,
    pub(crate) at: Time,
    /// When it was sent before that.
    pub(crate) previous: Time,
    pub(crate) snapshot: Snapshot,
    /// Whether the packet that it was last sent in was larger than any path carries.
    pub(crate) large: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    UnderWay,
    Arrived,
    /// To be sent again.
    Lost,
    /// Not to be sent again.
    Abandoned,
}
