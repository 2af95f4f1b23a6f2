//! A simulated internet in virtual time: hosts, links, NATs and laws, for any sans-IO machine.
//!
//! A [`Net`] hosts machines of the `sansio` convention. It moves their packets through links that delay, lose and
//! reorder, through the NATs of RFC 4787, and calls their timers when they are due. Nothing takes real time,
//! and nothing is left to chance: the same seed gives the same [`Trace`], packet by packet.
//!
//! * [`Net::add_preset`] puts a network behind what the world knows by a name ([`Preset`]: `full-cone`, `symmetric`,
//!   `home-router`, `cgn`, …), [`Net::add_network`] behind a box of one's own choice ([`NatBehaviour`]: mapping,
//!   filtering, ports, pools, hairpinning, timeouts, firewall; after RFC 4787, 5382 and 7857). Boxes stand behind
//!   boxes; hosts of one network share a segment. [`Net::forward`] and [`Net::map_host`] add static mappings.
//! * [`Net::add_host`] gives a host an interface on one or several segments, [`Net::start`] runs a machine there.
//! * [`Net::run_for`] and [`Net::run_until`] let time go on. [`Net::at`] schedules what happens to the network
//!   meanwhile: a link goes down ([`Net::set_link_up`]), a host changes networks ([`Net::join`], [`Net::leave`]), a
//!   NAT reboots ([`Net::reboot`], [`Net::renumber`]), a laptop sleeps ([`Net::suspend`]), a clock jumps.
//! * Machines get what a real host would give them: UDP sockets, streams (as messages), DNS and mDNS names.
//! * [`Net::trace`] tells of each packet which box rewrote it into what, or dropped it and why;
//!   [`Trace::pcapng`] writes it down for Wireshark, host by host.
//! * After every step each machine is held to the [`Laws`]; whoever breaks one is named in a panic.
//! * [`Hostile`] feeds a machine bytes that nobody means well with.
//!
//! Machines implement `sansio::Machine`, of the package `sterna-sansio`, which is here as [`sansio`] too.
//!
//! It needs no root, no namespaces and no time: a run of an hour takes milliseconds. A [`Net`] is [`Send`], so that
//! as many run side by side as there are processors. The example `rendezvous` tries every pair of NATs with a game of
//! two players, `patience` compares three rules for asking again over a bad link, `speed` measures.
//!
//! # What it leaves out
//!
//! Streams are messages, without windows and acknowledgements. Nothing is fragmented. Errors by ICMP are there if one
//! asks for them ([`Net::set_icmp`]), and then in traces and captures alone, as far as datagrams go: a UDP socket would
//! not pass them on, so that no machine of the convention can see them. Of queries there is the echo ([`Net::ping`]),
//! which hosts answer and boxes translate, and do not answer. A reboot of a box takes no time: pull its uplink
//! meanwhile ([`Net::set_link_up`]) if it should.
//!
//! # Example
//!
//! A client asks for the time of day until it gets an answer; the answer has to come through a NAT and a link
//! that loses a third of all packets.
//!
//! ```
//! use std::time::Duration;
//! use sansio::{Datagram, Machine, Outbox, Path, Time};
//! use sterna_netsim::{Link, NatBehaviour, Net, Puppet};
//!
//! struct Asker { server: Path, next: Option<Time>, due: bool, answer: Option<Vec<u8>> }
//!
//! impl Machine for Asker {
//!     type Addr = Path;
//!     type Event = Vec<u8>;
//!     fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
//!         if self.next.take().is_some() {
//!             self.answer = Some(datagram.payload.to_vec());
//!         }
//!     }
//!     fn handle_timeout(&mut self, now: Time) {
//!         if self.next.is_some_and(|next| next <= now) {
//!             self.next = Some(now + Duration::from_millis(500));
//!             self.due = true;
//!         }
//!     }
//!     fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
//!         if self.due {
//!             self.due = !out.send_bytes(self.server, b"what time is it?");
//!         }
//!     }
//!     fn poll_event(&mut self) -> Option<Vec<u8>> { self.answer.take() }
//!     fn poll_timeout(&self) -> Option<Time> { self.next }
//! }
//!
//! let mut net = Net::new(42);
//! let server = net.add_host("server", &[Net::INTERNET]);
//! net.bind(server, net.socket(server, 37)).unwrap();
//! net.start(server, Puppet::echo());
//!
//! let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
//! net.set_link(net.uplink(home), Link::delay_ms(20).with_loss(0.33));
//! let client = net.add_host("client", &[home]);
//! let path = Path::udp(net.socket(client, 5000), net.socket(server, 37));
//! net.bind(client, path.local).unwrap();
//! net.start(client, Asker { server: path, next: Some(Time::ZERO), due: false, answer: None });
//!
//! let minute = Duration::from_secs(60);
//! assert!(net.run_until(minute, |net| net.events::<Asker>(client).len() == 1));
//! println!("{}", net.trace());
//! ```

pub use sansio;

mod calendar;
mod clock;
mod content;
mod digest;
mod host;
mod hostile;
mod laws;
mod link;
mod names;
pub(crate) mod nat;
mod net;
mod pcapng;
mod prefix;
mod preset;
mod proxy;
mod puppet;
mod record;
mod segment;
mod stream;
mod tls;
mod trace;
mod tray;

pub use content::{Content, Icmp, Traffic};
pub use hostile::{Answers, Hostile, Limits};
pub use laws::Laws;
pub use link::{Direction, Link, Passage, Wire};
pub use nat::{
    Binding, Dependence, Egress, Forward, Hairpin, Nat, NatBehaviour, Pooling, PortAssignment, Refusal,
    Translator,
};
pub use net::{HostId, LinkId, Net, Pong, SegmentId, Timing};
pub use prefix::{Prefix, PrefixError};
pub use preset::{Preset, PresetBox, UnknownPreset};
pub use proxy::HttpProxy;
pub use puppet::{Puppet, Seen};
pub use record::{Cause, Fate, Place, PlaceKind, Record};
pub use trace::Trace;
