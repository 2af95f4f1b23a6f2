use std::fmt;

use sansio::{Path, Time};

use crate::content::Content;
use crate::nat::Refusal;

/// A host or a box, as an index into [`Trace::name`](crate::Trace::name).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place(pub(crate) u32);

/// What a [`Place`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PlaceKind {
    /// The internet's core, where packets end that have no route.
    Internet,
    /// The box at the edge of a network.
    Gateway,
    /// A host.
    Host,
}

/// What became of a packet at one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It left a host.
    Sent,
    /// A box gave it another path.
    Translated {
        /// The path it has from here on.
        to: Path,
    },
    /// A link made a second one out of it.
    Duplicated,
    /// A link changed some of its bits.
    Tampered,
    /// A box let it pass as it is.
    Passed {
        /// Whether it left the network, or came in.
        outward: bool,
    },
    /// It reached a socket.
    Delivered,
    /// It went no further.
    Dropped(Cause),
}

/// Why a packet went no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The link lost it.
    Lost,
    /// The link's queue was full.
    QueueFull,
    /// It was larger than the link's MTU.
    TooBig {
        /// That MTU, in bytes.
        mtu: usize,
    },
    /// The link was down.
    LinkDown,
    /// The segment has no route to where it goes.
    NoRoute,
    /// The segment ought to have a host with this address, but has none.
    NoHost,
    /// The host has no socket there (any more).
    NoSocket,
    /// More of a stream waits to be sent than a driver would keep.
    StreamFull,
    /// The stream it belonged to is gone.
    StreamGone,
    /// The host is asleep.
    Asleep,
    /// A NAT or firewall let it not pass.
    Refused(Refusal),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost on the link"),
            Self::QueueFull => f.write_str("the link's queue is full"),
            Self::TooBig { mtu } => write!(f, "larger than the link's MTU of {mtu}"),
            Self::LinkDown => f.write_str("the link is down"),
            Self::NoRoute => f.write_str("no route"),
            Self::NoHost => f.write_str("no host has this address"),
            Self::NoSocket => f.write_str("no socket is bound there"),
            Self::StreamFull => f.write_str("too much of the stream waits already"),
            Self::StreamGone => f.write_str("the stream is gone"),
            Self::Asleep => f.write_str("the host is asleep"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// One line of a [`Trace`](crate::Trace): something happened to a packet somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// When.
    pub time: Time,
    /// At which host or box.
    pub place: Place,
    /// Which packet: the same number from [`Fate::Sent`] to its end, duplicates and repeats included.
    pub packet: u64,
    /// From where to where, as the packet says when it comes to `place`: `local` is the sender's address.
    pub path: Path,
    /// What it carries.
    pub content: Content,
    /// Bytes of payload.
    pub length: usize,
    /// A hash of the payload, 0 while nobody wants to know ([`Trace::off`](crate::Trace::off)).
    pub hash: u64,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent => f.write_str("sent"),
            Self::Translated { to } => write!(f, "becomes {} -> {}", to.local, to.remote),
            Self::Duplicated => f.write_str("duplicated"),
            Self::Tampered => f.write_str("tampered with"),
            Self::Passed { outward: true } => f.write_str("passes outwards"),
            Self::Passed { outward: false } => f.write_str("passes inwards"),
            Self::Delivered => f.write_str("delivered"),
            Self::Dropped(cause) => write!(f, "dropped: {cause}"),
        }
    }
}
