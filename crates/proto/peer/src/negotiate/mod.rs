//! Offers and answers (JSEP, RFC 9429): what is written into them, and what they may say when.

mod answer;
mod media;
mod offer;
mod remote;
mod rollback;
mod state;
mod trickle;

pub(crate) use media::is_rtp;
pub(crate) use remote::Remote;
pub(crate) use state::{Agreement, Negotiation};
pub(crate) use trickle::RemoteCandidate;
