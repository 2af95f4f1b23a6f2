//! One RTP session: all that goes and comes over one transport, as two descriptions have agreed.
//!
//! [`Terms`] say what was agreed on for a media section: who sends what, in which formats, with which header extensions
//! and which feedback. Who negotiates hands them over, for all sections at once, whenever a negotiation is done; keys
//! follow when DTLS is. The [`Session`] joins the parts of this crate under them:
//!
//! * what comes is opened where it lies, found its section by MID, RID, source or payload type (RFC 8843 §9.2), put into
//!   order, asked for again where it is missing, and handed over in frames, or in packets for who forwards them;
//! * what goes is cut into packets, which wait in the history of their source until the pacer has their turn come, and
//!   are written and protected where they leave from;
//! * reports go both ways, out of which come the estimate of what the way can carry and the share of each encoding.
//!
//! It is a machine by the convention of `sansio`, without addresses: it rides on another.
//!
//! ```
//! use sansio::{Seed, Time};
//! use sterna_rtp::codecs::Codec;
//! use sterna_rtp::session::{Encoding, Event, Format, OutgoingFrame, Session, SessionConfig, Terms};
//! use sterna_rtp::srtp::{MasterKey, Profile};
//!
//! let opus = || vec![Format::new(111, Codec::Opus)];
//! let terms = || Terms { mid: "0".into(), receive: true, formats: opus(), expected: opus(), ..Terms::default() };
//! let key = |byte| MasterKey::new(Profile::AeadAes128Gcm, &[byte; 16], &[byte; 12]).unwrap();
//!
//! let mut alice = Session::new(SessionConfig::new(Seed::from(1)));
//! alice.set_terms(Time::ZERO, vec![Terms { send: Some(vec![Encoding::new(0xa11ce)]), ..terms() }]);
//! alice.set_keys(Time::ZERO, &key(1), &key(2));
//! let mut bob = Session::new(SessionConfig::new(Seed::from(2)));
//! bob.set_terms(Time::ZERO, vec![terms()]);
//! bob.set_keys(Time::ZERO, &key(2), &key(1));
//!
//! alice.write_frame(Time::ZERO, "0", None, &OutgoingFrame { data: b"hello", ..OutgoingFrame::default() }).unwrap();
//! let mut sent: Vec<Vec<u8>> = Vec::new();
//! alice.poll_transmit(Time::ZERO, &mut sent);
//! sent.iter_mut().for_each(|packet| bob.handle_rtp(Time::ZERO, packet));
//! assert!(matches!(bob.poll_event(), Some(Event::SourceAppeared(_))));
//! assert!(matches!(bob.poll_event(), Some(Event::FrameReceived { frame, .. }) if frame.data == b"hello"));
//! ```

mod allocation;
mod asking;
mod config;
mod early;
mod event;
mod frame;
mod gaps;
mod heard;
mod incoming;
mod machine;
mod marks;
mod numbers;
mod observed;
mod outgoing;
mod rate;
mod receiver;
mod reports;
mod section;
mod sender;
mod statistics;
mod survey;
mod terms;

pub use config::SessionConfig;
pub use event::{Event, Stream};
pub use frame::{OutgoingFrame, OutgoingPacket, SendError};
pub use machine::{RequestError, Session};
pub use statistics::{Drops, InboundStream, OutboundStream, RemoteInbound, SessionStatistics};
pub use terms::{Delivery, Encoding, Feedback, Format, Kind, RemoteSource, Terms};
