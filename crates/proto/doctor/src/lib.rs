//! Why two machines do not connect, or not directly.
//!
//! A connection that fails leaves [`Evidence`]: what each STUN and TURN server answered, how many checks went out on
//! which pair and what came back, how far DTLS got, what the other side told, what discovery found about the NATs.
//! [`examine`] reads it and gives [`Verdict`]s: a stable [`Code`], the evidence in numbers, and the exact thing to change,
//! in plain words. What has to be mended first comes first. Nothing is guessed: each verdict follows from what was
//! observed, and where that does not suffice there is [`Code::Inconclusive`], which says what would tell.
//!
//! The same words appear wherever Sterna speaks of a connection: in the error of the library, in what the command
//! prints, in its JSON, and after “because” when a path is relayed ([`because`]).
//!
//! [`predict`] goes the other way: out of what two machines found about their NATs, which path they will get.
//!
//! ```
//! use sterna_doctor::{Code, Evidence, Nat, Behaviour, examine};
//!
//! // A machine behind a NAT that gives another address for each destination.
//! let nat = Nat { mapping: Behaviour::AddressAndPortDependent, udp: Some(true), ..Nat::default() };
//! let verdicts = examine(&Evidence { nat: Some(nat), ..Evidence::default() });
//! assert_eq!(verdicts[0].code, Code::MappingDependsOnDestination);
//! println!("{}", verdicts[0]);
//!
//! // Nothing is known of this one, so nothing is said.
//! assert!(examine(&Evidence::default()).is_empty());
//! ```
//!
//! Like all of `proto` it is told everything and asks nobody: no clock, no socket.

mod code;
mod evidence;
mod examine;
mod predict;
mod report;
mod summary;
mod verdict;
mod view;

pub use code::{Code, UnknownCode};
pub use evidence::{Clock, Echo, Evidence, Outcome, Secure, Traffic};
pub use examine::examine;
pub use predict::{Expected, Place, Prediction, predict};
pub use report::{Report, because};
pub use stun::discovery::{Behaviour, Nat};
pub use summary::{Checked, Summary};
pub use verdict::Verdict;
