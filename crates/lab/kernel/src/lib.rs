//! NAT topologies out of network namespaces, veth pairs and nftables, for real programs.
//!
//! What `netsim` plays, this crate builds in the Linux kernel: a public segment with servers, and sites whose hosts
//! sit behind a router with a NAT of a given kind. Any program can be run on any host. Everything lies within
//! namespaces of its own and has no way out; the machine's own network and firewall are not touched. When the
//! [`Lab`] is dropped, by a panic too, its namespaces and whatever runs in them are gone; what a killed process
//! left behind, the next lab removes.
//!
//! It needs root, and the programs `ip` and `nft` (Debian: `iproute2`, `nftables`).
//!
//! ```no_run
//! use sterna_kernel::{Lab, Preset};
//!
//! let mut lab = Lab::new()?;
//! let server = lab.add_server("server", 1)?;
//! let mut home = lab.add_site("home", Preset::Symmetric)?;
//! let laptop = lab.add_host(&mut home, "laptop")?;
//! let output = laptop.command("ping").args(["-c1", &server.address().to_string()]).output()?;
//! assert!(output.status.success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The public addresses are 5.5.0.0/16 and 5.6.0.0/16, which look like anybody's: programs that treat private or
//! documentation ranges in a special way treat these as they would on the internet.
//!
//! # Limits
//!
//! * Two hosts of one full-cone or address-restricted site must not use the same local port: the outer port is the
//!   inner one, and the last user has it.
//! * There is IPv4 only, no hairpinning, and no delay or loss: the kernel of the project's machines has no netem.

mod error;
mod lab;
mod namespace;
mod preset;

pub use error::LabError;
pub use lab::{Host, Lab, Site};
pub use preset::{Preset, UnknownPreset};
