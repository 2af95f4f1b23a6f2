//! NAT topologies out of network namespaces, veth pairs and nftables, for real programs.
//!
//! What `netsim` plays, this crate builds in the Linux kernel: a public segment with servers, and sites whose hosts
//! sit behind the boxes of a `netsim::Preset`. Any program can be run on any host. Everything lies within
//! namespaces of its own and has no way out; the machine's own network and firewall are not touched. When the
//! [`Lab`] is dropped, by a panic too, its namespaces and whatever runs in them are gone. When its process is
//! killed, a guardian that outlives it removes them; should that be killed as well, the next lab does.
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
//! What nftables cannot do (a mapping that depends on the address, random ports for an endpoint-independent one) a
//! program does, with `netsim`'s own tables: see [`Builder`] and [`Site::made`]. Behind `http-proxy` stands a proxy, and
//! the commands of the site's hosts are told of it by `ALL_PROXY`.
//!
//! [`Grid`] lets the real `sterna` of every ordered pair of presets meet. [`Findings`] proves what a site does to packets, and asks the simulator the same questions.
//!
//! # Limits
//!
//! * Two hosts of one site that the kernel builds must not use the same local port if the site is a full cone, is
//!   address-restricted, or hairpins: the outer port is the inner one, and the last user has it.
//! * Conntrack counts incoming packets as use of a mapping, whatever the preset says.
//! * There is IPv4 only.
//! * The kernel of the project's machines has no netem. Delay, loss and a rate are to be had between two hosts alone
//!   ([`Lab::add_wire`]): a program carries their packets from TUN to TUN, at up to some 100,000 a second.

mod error;
mod findings;
mod grid;
mod guardian;
mod lab;
mod namespace;
mod program;
mod proxy;
mod rules;
mod stop;
mod userspace;
mod wire;

pub use error::LabError;
pub use findings::{Findings, Probed, Prober};
pub use grid::{Grid, Meeting, Pair};
pub use lab::{Builder, Host, Lab, Made, Site};
pub use netsim::{Link, Preset};
pub use program::Program;
pub use stop::Stop;
