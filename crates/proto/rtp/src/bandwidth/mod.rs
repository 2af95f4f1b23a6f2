//! How fast may be sent: congestion control for media (draft-ietf-rmcat-gcc-02), on the sender's side.
//!
//! Each packet that leaves is numbered for the whole transport, and the receiver says when each arrived
//! ([`TransportFeedback`](crate::rtcp::TransportFeedback)). From that the [`Estimator`] learns:
//!
//! * whether packets take longer and longer, which means that a queue grows on the way: then less is sent than gets
//!   through, until it is empty again;
//! * how much gets through, and what is lost;
//! * by [probes](Probe), short bursts at twice the rate, whether there is more to have than is used.
//!
//! The [`Pacer`] sees to it that packets leave evenly at the rate that comes out, sound before pictures, and that a
//! probe has the rate that it should have.
//!
//! ```
//! use sterna_rtp::bandwidth::{Estimator, EstimatorConfig, Pacer, Priority};
//! use sansio::Time;
//!
//! let mut estimator = Estimator::new(EstimatorConfig::default());
//! let mut pacer = Pacer::new(Time::ZERO, estimator.target());
//! pacer.push(Time::ZERO, Priority::Video, 1200, "a packet");
//! // Whoever sends asks the pacer whose turn it is, and tells the estimator what left under which number.
//! let departure = pacer.poll(Time::ZERO).unwrap();
//! estimator.handle_sent(Time::ZERO, 17, departure.bytes, departure.probe);
//! assert_eq!(departure.packet, Some("a packet"));
//! ```

mod aimd;
mod detector;
mod estimator;
mod groups;
mod loss;
mod pacer;
mod probe;
mod sent;
mod throughput;
mod trend;

pub use estimator::{Estimator, EstimatorConfig};
pub use pacer::{Departure, Pacer, Priority};
pub use probe::Probe;
