//! RTP: sound and pictures, cut into packets that may be lost (RFC 3550).
//!
//! A *source* (a microphone, a camera, a screen) is known by a number of 32 bits, its SSRC. Each of its packets says
//! how many there were before it (the sequence number), when what it carries was sampled (the timestamp, in units of
//! the format's own clock), and which format it has (the payload type, a number from 0 to 127 that both sides have
//! given a meaning in their descriptions). Small values may ride along in the header ([`extension`]).
//!
//! Frames are cut into payloads, and put together again, by the rules of their formats ([`codecs`]).
//!
//! What is sent is protected by SRTP ([`srtp`]): the header stays readable, the payload is encrypted, and a tag at the
//! end vouches for both. The keys come out of the DTLS handshake.
//!
//! What comes is put into its order by [`receive`], which waits for what is missing; what goes is numbered, kept for
//! those who miss it, and accounted for by [`send`].
//!
//! How fast may be sent [`bandwidth`] finds out.
//!
//! What came through, what should come again and how fast may be sent, both sides tell each other by RTCP ([`rtcp`]).
//!
//! All of it together is a [`session`]: one side of everything that goes and comes over one transport, under the terms that
//! two descriptions have agreed on.
//!
//! Nothing here has a socket, a clock or an address. Packets are read and written where they lie, in the caller's
//! buffers; what strangers may send is bounded and counted, and never ends anything.
//!
//! ```
//! use sterna_rtp::extension::{AudioLevel, Form};
//! use sterna_rtp::srtp::{MasterKey, Profile, Protect, Unprotect};
//! use sterna_rtp::{Header, Packet, PacketWriter};
//!
//! // 20 ms of Opus leave under the payload type that was negotiated, and say how loud they are.
//! let header = Header { payload_type: 111, sequence_number: 7, timestamp: 960, ssrc: 0x5eed, ..Header::default() };
//! let mut buffer = [0; 1500];
//! let mut writer = PacketWriter::new(&mut buffer, &header);
//! writer.extension(1, &AudioLevel { below_full: 30, voice: true });
//! let length = writer.payload(b"a frame of opus").unwrap();
//!
//! // In place: what comes out is longer by a tag.
//! let key = MasterKey::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]).unwrap();
//! let length = Protect::new(&key).protect(&mut buffer, length).unwrap();
//!
//! // The other side, with the same key.
//! let plain = Unprotect::new(&key).unprotect(&mut buffer[..length]).unwrap();
//! let packet = Packet::parse(plain).unwrap();
//! assert_eq!(packet.header(), header);
//! assert!(packet.extension::<AudioLevel>(1).unwrap().voice);
//! assert_eq!(packet.payload(), b"a frame of opus");
//! ```

pub mod bandwidth;
pub mod codecs;
mod error;
pub mod extension;
mod fields;
mod layout;
pub mod ntp;
mod packet;
pub mod receive;
mod rewriter;
pub mod rtcp;
pub mod send;
mod sequence;
pub mod session;
pub mod srtp;
mod writer;

pub use error::{ParseError, ParseErrorKind, WriteError};
pub use packet::{Header, Packet};
pub use rewriter::Rewriter;
pub use sequence::{Unroller, newer};
pub use writer::PacketWriter;
