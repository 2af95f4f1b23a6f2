//! SDP, the text in which two ends of a call describe themselves: parsed, looked into, built, printed.
//!
//! A *session description* (RFC 8866) is a list of lines `letter=value`. The first lines speak about the session
//! as a whole; each `m=` line then opens a *media section* (audio, video, or `application` for data channels).
//! Nearly everything of interest sits in attributes, `a=name` or `a=name:value`: the ICE user name and password
//! (RFC 8839), the fingerprint of the DTLS certificate (RFC 8122), which sections share one transport
//! (`a=group:BUNDLE`, RFC 9143).
//!
//! [`Session`] keeps every line as it came, known or not, so that printing gives back what was parsed. What
//! JSEP needs is read through [`Section`], which knows that most attributes may stand at either level and that
//! the media level wins. The syntax of those attributes is checked while parsing, so that reading them cannot
//! fail later.
//!
//! The reader is tolerant where the world is untidy (line feeds alone, empty lines at the end, `b=` lines
//! between attributes, no `t=` line) and strict where tolerance would mean guessing: a line that is not
//! `letter=value`, an unknown letter, an attribute of importance that is malformed or given twice.
//!
//! ```
//! use sterna_sdp::{Session, Setup};
//!
//! let session = Session::parse(
//!     "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=setup:actpass\r\n\
//!      m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n",
//! )?;
//! let data = session.sections().next().unwrap();
//! assert_eq!((data.mid(), data.sctp_port()), (Some("0"), Some(5000)));
//! assert_eq!(data.setup(), Some(Setup::Actpass)); // from the session level
//! assert_eq!(Session::parse(&session.to_string())?, session);
//! # Ok::<(), sterna_sdp::ParseError>(())
//! ```
//!
//! What a section of sound or pictures says about its packets (formats, feedback, header extensions, sources, streams by
//! name) comes out of [`Section::rtp`] as one checked [`Rtp`], and goes into a section by [`Rtp::write`].
//!
//! This crate knows no other: candidates and fingerprints are handed out as the strings they are.

mod attribute;
mod extmap;
mod format;
mod line;
mod media_error;
mod parse;
mod print;
mod rtp;
mod section;
mod session;
mod simulcast;
mod source;

pub use attribute::{Direction, Group, Setup};
pub use extmap::Extmap;
pub use format::{Format, parameter};
pub use line::{Line, Lines};
pub use media_error::MediaError;
pub use parse::{MAX_BYTES, MAX_LINE_BYTES, MAX_SECTIONS, ParseError, ParseErrorKind};
pub use rtp::{Msid, Rtp};
pub use section::Section;
pub use session::{Media, Origin, Session};
pub use simulcast::{Rid, Simulcast, SimulcastStream, is_rid};
pub use source::{Source, SourceGroup};
