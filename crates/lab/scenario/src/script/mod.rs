//! Scenarios as small text files: who is where, what happens when, and what has to come of it.
//!
//! A scenario is a TOML file with four kinds of sections:
//!
//! ```toml
//! title = "A guest gets in"
//!
//! [networks.home]                 # a network behind a box; the internet is always there
//! nat = "port-restricted"
//!
//! [hosts.console]                 # a computer, and what it runs
//! network = "home"
//! runs = "plain"
//!
//! [[events]]                      # what happens
//! at = "1s"
//! ask = "stun"
//! by = "console"
//!
//! [[expect]]                      # what has to turn out true
//! mapped = "console"
//! to = "home:3074"
//! ```
//!
//! All words are in `docs/scenarios.md`, and the folder `scenarios/` is full of examples. [`Script::parse`] reads such
//! a file; what is wrong with it comes as a [`Mistake`], which points at the place. [`Script::run`] plays it in
//! virtual time, and the same seed plays it the same way, packet by packet.
//!
//! ```
//! use sterna_scenario::script::Script;
//!
//! let script = Script::parse("hello.toml", r#"
//!     title = "Two on one network"
//!     [networks.lan]
//!     nat = "home-router"
//!     [hosts.alice]
//!     network = "lan"
//!     runs = "peer"
//!     [hosts.bob]
//!     network = "lan"
//!     runs = "peer"
//!     [[events]]
//!     at = "0s"
//!     call = "bob"
//!     from = "alice"
//!     [[expect]]
//!     connected = ["alice", "bob"]
//!     within = "1s"
//!     path = "host"
//! "#)?;
//! let run = script.run(7);
//! assert!(run.passed(), "{run}");
//! # Ok::<(), sterna_scenario::script::Mistake>(())
//! ```

mod check;
mod director;
mod edge;
mod events;
mod expectations;
mod judge;
mod links;
mod mistake;
mod names;
mod numbered;
mod picture;
mod plain;
mod plan;
mod quantity;
mod read;
mod run;
mod stage;
mod tree;
mod words;

pub use mistake::Mistake;
pub use picture::Picture;
pub use run::{Finding, Run, Script};
