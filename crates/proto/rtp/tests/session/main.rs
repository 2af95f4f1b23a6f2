//! Whole sessions against each other over a link in virtual time that loses, delays and has a capacity.

mod call;
mod capacity;
mod hostile;
mod link;
mod pair;
mod peers;
mod simulcast;
mod terms;
