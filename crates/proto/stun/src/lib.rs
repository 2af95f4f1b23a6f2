//! STUN (RFC 8489): messages, attributes, integrity, credentials, transactions and stream framing, sans-IO.
//!
//! STUN is a small question-and-answer protocol in single datagrams. A client asks "from which address do you
//! see me?" and learns what its NAT turned its address into; TURN and ICE put their own questions into the
//! same envelope. A [`Message`] is a 20-byte header (what kind of message, how long, and a random
//! [`TransactionId`] that ties an answer to its question) and then attributes: a kind, a length, a value,
//! padded to 4 bytes.
//!
//! * [`Message`] reads one in place, [`MessageWriter`] writes one in place; neither allocates.
//! * [`Key`] signs and checks messages: `MESSAGE-INTEGRITY` (HMAC-SHA1) and `MESSAGE-INTEGRITY-SHA256`.
//! * [`classify`] tells STUN from the other protocols that share a port with it (RFC 7983).
//! * [`transaction::Transactions`] sends requests until they are answered, and checks the answers.
//! * [`credential`] has both sides of short-term and long-term credentials.
//! * [`client::Client`] and [`server::Server`] ask and answer the plain question.
//! * [`discovery::Discovery`] finds out how the NAT in between behaves (RFC 5780).
//! * [`framing::Deframer`] cuts TCP and TLS streams into messages.
//!
//! ```
//! use sterna_stun::{Class, Key, Message, MessageWriter, Method, TransactionId, kind};
//!
//! let key = Key::short_term("VOkJxbRl1RmTxUk/WvJxBt");
//! let mut buffer = [0; 200];
//! let length = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([7; 12]))
//!     .string(kind::USERNAME, "evtj:h6vY")
//!     .integrity(&key)
//!     .fingerprint()
//!     .finish()
//!     .unwrap();
//!
//! let message = Message::parse(&buffer[..length]).unwrap();
//! assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
//! assert_eq!(message.username(), Some("evtj:h6vY"));
//! assert!(message.check_fingerprint());
//! assert!(message.check_integrity(&key).is_ok());
//! assert!(message.check_integrity(&Key::short_term("wrong")).is_err());
//! ```

mod address;
mod behaviour;
mod classify;
pub mod client;
pub mod credential;
pub mod discovery;
mod error_code;
pub mod framing;
mod header;
mod key;
pub mod kind;
mod message;
mod opaque;
mod password_algorithm;
mod password_hash;
mod rtt;
pub mod server;
pub mod transaction;
mod unknown;
mod writer;

pub use behaviour::ChangeRequest;
pub use classify::{Packet, classify};
pub use error_code::ErrorCode;
pub use header::{Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId};
pub use key::{Integrity, IntegrityError, Key, user_hash};
pub use kind::AttributeKind;
pub use message::{Attributes, Message, ParseError, ParseErrorKind, RawAttribute};
pub use opaque::{NotOpaque, opaque_string};
pub use password_algorithm::{PasswordAlgorithm, PasswordAlgorithms};
pub use password_hash::{PasswordHash, PasswordHashError};
pub use rtt::RttEstimate;
pub use unknown::{MAX_UNKNOWN, UnknownAttributes};
pub use writer::{MessageWriter, WriteError};
