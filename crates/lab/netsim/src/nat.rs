//! What a box at the edge of a network does to packets: the seam, and the behaviours of RFC 4787.

mod behaviour;
mod forward;
mod ports;
mod table;
mod translator;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sansio::{Path, Time, Transport};

use crate::content::{Content, Traffic};

pub use behaviour::{Dependence, Egress, Hairpin, NatBehaviour, Pooling, PortAssignment};
pub use forward::Forward;
pub use translator::Translator;
pub(crate) use translator::synthesize;

/// A NAT, firewall or plain router as two functions.
///
/// Both see the packet from inside: `path.local` is the end that belongs to the inner network, `path.remote` the
/// other. They return the path that the packet has on the other side of the box, or why it does not pass.
/// Time is told, never read.
pub trait Nat: Send {
    /// A packet leaves: `path.local` is the inner host's address. Returned with the address that the outside sees.
    fn outbound(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal>;

    /// A packet comes in: `path.local` is the address the outside sent to. Returned with the inner host's address.
    fn inbound(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal>;

    /// What happens to packets from inside to the box's own outer addresses.
    fn hairpin(&self) -> Hairpin {
        Hairpin::None
    }

    /// A packet from inside to the box's own outer address: out and in again, as [`Nat::hairpin`] says (RFC 4787 §6).
    /// Returned with the path by which it comes back inside.
    fn turn_round(&mut self, now: Time, path: Path, content: Content) -> Result<Path, Refusal> {
        let mode = self.hairpin();
        if mode == Hairpin::None {
            return Err(Refusal::NoHairpin);
        }
        let outer = self.outbound(now, path, content)?;
        let inner = self.inbound(now, outer.reversed(), content)?.reversed();
        Ok(if mode == Hairpin::Internal { Path { local: path.local, ..inner } } else { inner })
    }

    /// Whether a stream that may not pass is refused with a reset, and not in silence.
    fn resets(&self) -> bool {
        false
    }

    /// The box loses power and comes back with these outer IPv4 addresses, the old ones or others.
    fn restart(&mut self, external: &[IpAddr]) {
        let _ = external;
    }

    /// Adds a static mapping, in place of the one that the outer port had.
    ///
    /// # Panics
    /// If the box cannot do that.
    fn forward(&mut self, forward: Forward) {
        panic!("this box has no static mappings: {forward:?}");
    }

    /// Removes the static mapping of an outer port, if it has one.
    fn unforward(&mut self, transport: Transport, outer_port: u16) {
        let _ = (transport, outer_port);
    }

    /// Maps an outer address to an inner one, with all ports.
    ///
    /// # Panics
    /// If the box cannot do that.
    fn map_host(&mut self, outer: IpAddr, inner: IpAddr) {
        panic!("this box has no static mappings: {outer} to {inner}");
    }

    /// What the box remembers, for people to look at. In no particular order.
    fn bindings(&self, now: Time) -> Vec<Binding> {
        let _ = now;
        Vec::new()
    }
}

/// One line of a box's table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Binding {
    /// What it is for.
    pub traffic: Traffic,
    /// The address inside, for queries with the identifier in place of a port. Port 0: all ports.
    pub inner: SocketAddr,
    /// The address outside.
    pub outer: SocketAddr,
    /// The remote end that it is for, as far as the mapping depends on that. Port 0: all ports of that address.
    pub remote: Option<SocketAddr>,
    /// When it will be forgotten if nothing uses it. `None`: never, it is static.
    pub expires: Option<Time>,
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
