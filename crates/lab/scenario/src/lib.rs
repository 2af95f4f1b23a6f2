//! Whole connections in a simulated internet.
//!
//! Two [`peer::Connection`]s and a [`turn::Server`], the very machines that ship, live on a [`netsim::Net`] and find
//! each other through whatever stands between them. Virtual time only: a connection that takes half a second takes a
//! few milliseconds of real time, and the same seed gives the same result.
//!
//! * [`Cast`] is the standard play: two hosts, each behind a [`Preset`](netsim::Preset), and a server for STUN and TURN
//!   on the internet. [`Cast::run`] gives an [`Outcome`]: connected or not, by which [`Way`], how long it took, how many packets, and,
//!   if wished, the [`Ladder`] of all that happened.
//! * [`World`] is the stage for any other play: any net, any number of [`Peer`]s, signalling between them.
//! * [`script`] reads scenarios from small text files and plays them.
//! * [`Grid`] plays every ordered pair of presets with many seeds; [`theory`] says what must come out.
//! * [`Punching`] measures how often hard NATs are punched through, for each rule by which they give ports.
//! * [`table()`] and [`html()`] show a grid to people.
//!
//! ```
//! use netsim::Preset;
//! use sterna_scenario::{Cast, Way, theory};
//!
//! // Symmetric against address-restricted connects directly, whatever most texts say.
//! let outcome = Cast::new(Preset::Symmetric, Preset::AddressRestricted, 1).run();
//! assert_eq!(outcome.way, Some(Way::PeerReflexive));
//! assert_eq!(theory::expect(Preset::Symmetric, Preset::AddressRestricted), theory::Class::PeerReflexive);
//! ```
//!
//! The bytes of DTLS's key exchange and signatures come from the operating system, so the *sizes* of a few
//! handshake packets differ by some bytes between runs. Nothing else does: not their number, nor when and where they go.

mod cast;
mod crowd;
mod grid;
mod html;
mod ladder;
mod office;
mod outcome;
mod player;
mod punching;
pub mod script;
mod server;
mod table;
pub mod theory;
mod world;

pub use cast::{Cast, Servers, Stage};
pub use grid::{Cell, Grid, Report};
pub use html::html;
pub use ladder::{Happened, Ladder, Lane, Layer, Step, Stop};
pub use office::{Letter, Mail, Signalling};
pub use outcome::{Outcome, Way};
pub use player::Peer;
pub use punching::{Meeting, Punching, punching_table};
pub use server::{CREDENTIAL, ServerSetup, USERNAME};
pub use table::table;
pub use world::World;
