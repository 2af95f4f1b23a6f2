//! SRTP: RTP and RTCP that nobody between can read, change or repeat (RFC 3711, RFC 7714, RFC 6188, RFC 9335).
//!
//! Each direction has a [`MasterKey`], out of the DTLS handshake ([`MasterKey::pair`], RFC 5764). The sender's
//! [`Protect`] and the receiver's [`Unprotect`] work where the packet lies and allocate nothing, except when a source
//! is new. Who writes into an outbox takes a [`Lane`] ([`Protect::lane`]), which protects what is written through it.
//!
//! The sequence number of a packet has 16 bits; what it is encrypted with is a number of 48, whose upper 32 (the
//! "rollover counter") both sides count silently. That number must never be used twice, so a sender refuses to protect
//! a packet a second time; and a receiver refuses one that it has had, or that is too old to know. What a receiver
//! remembers changes only once the tag has been verified: a bad packet is counted, and that is all.

mod clear;
mod key;
mod lane;
mod profile;
mod protect;
mod replay;
mod sources;
mod transform;
mod unprotect;
#[cfg(test)]
mod vectors;

pub use key::MasterKey;
pub use lane::Lane;
pub use profile::Profile;
pub use protect::{Protect, ProtectError};
pub use sources::MAX_SOURCES;
pub use unprotect::{Refusal, Refusals, Unprotect};

/// Bytes that protecting adds to a packet at most: a tag, the index of SRTCP, an empty header extension.
pub const MAX_OVERHEAD: usize = 20;
