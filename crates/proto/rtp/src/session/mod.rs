//! One RTP session: all that goes and comes over one transport, as two descriptions have agreed.
//!
//! [`Terms`] say what was agreed on for a media section: who sends what, in which formats, with which header extensions
//! and which feedback. Who negotiates hands them over, for all sections at once, whenever a negotiation is done.

mod terms;

pub use terms::{Delivery, Encoding, Feedback, Format, Kind, RemoteSource, Terms};
