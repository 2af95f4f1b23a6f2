//! What a box at the edge of a network does to packets: the seam, and the behaviours of RFC 4787.

mod behaviour;
mod translator;

use std::fmt;
use std::net::IpAddr;

use sansio::{Path, Time};

pub use behaviour::{Dependence, Egress, Hairpin, NatBehaviour, PortAssignment};
pub use translator::Translator;

/// A NAT, firewall or plain router as two functions.
///
/// Both see the packet from inside: `path.local` is the end that belongs to the inner network, `path.remote` the
/// other. They return the path that the packet has on the other side of the box, or why it does not pass.
/// Time is told, never read.
pub trait Nat {
    /// A packet leaves: `path.local` is the inner host's address. Returned with the address that the outside sees.
    fn outbound(&mut self, now: Time, path: Path) -> Result<Path, Refusal>;

    /// A packet comes in: `path.local` is the address the outside sent to. Returned with the inner host's address.
    fn inbound(&mut self, now: Time, path: Path) -> Result<Path, Refusal>;

    /// What happens to packets from inside to the box's own outer address.
    fn hairpin(&self) -> Hairpin {
        Hairpin::None
    }

    /// The box loses power and comes back, perhaps with another outer IPv4 address.
    fn restart(&mut self, external: Option<IpAddr>) {
        let _ = external;
    }
}

/// Why a box let a packet not pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing inside is mapped to this address and port, or no longer.
    NoMapping,
    /// There is a mapping, but nothing was sent to this remote address before, as the filter requires.
    Filtered,
    /// The box lets this kind of traffic not out.
    Blocked,
    /// All ports are taken.
    NoFreePort,
    /// The packet goes to the box's own outer address, and the box does not hairpin.
    NoHairpin,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMapping => "no mapping for this address and port",
            Self::Filtered => "filtered, nothing was sent to this remote address before",
            Self::Blocked => "blocked by the firewall",
            Self::NoFreePort => "no free port",
            Self::NoHairpin => "no hairpinning",
        })
    }
}
