//! DTLS 1.2 and 1.3 (RFC 6347, RFC 9147) as WebRTC uses it.
//!
//! DTLS gives two peers that speak over datagrams a secret and the certainty of who is at the other end. In WebRTC
//! nobody vouches for the certificates: each side's SDP carries the *fingerprint* of its own, and whoever trusts the SDP
//! trusts the certificate that matches. [`Endpoint`] therefore lets nobody in, and delivers nothing, before the peer has
//! shown a certificate that matches and has proved that it owns it.
//!
//! It rides on ICE: its datagrams have no address, and come from a path that ICE has verified. That is why there is
//! no cookie exchange. But a path can be guessed, so what arrives during the handshake is taken with care: an
//! unprotected alert, a hello that makes no sense, or noise does not end it; the true peer has some seconds to go on
//! as if nothing had been, and only if it does not is the accusation believed.
//!
//! * [`Endpoint::open`] takes a datagram and hands out the application data in it;
//! * [`Endpoint::poll_transmit`] writes what the handshake sends;
//! * [`Endpoint::lane`] seals what is written through it.
//!
//! A [`Server`] is for those who write to it without ICE, from anywhere, such as the clients of a TURN server: it asks
//! them for no certificate, and keeps nothing of them before they have shown that they are where they say.
//!
//! **How it is built.** A datagram is cut into records (`record`), which are opened where they lie (`incoming`,
//! `protection`); their fragments become messages (`assembly`), and each message takes the handshake one step further
//! (`handshake`: four state machines, one for each role and version). What they say is a `flight`, which `outgoing` cuts,
//! seals and sends until it is answered or acknowledged. [`Lane`] seals application data in the final buffer. Nothing is
//! allocated for a record of data. See `docs/decisions/012-our-own-dtls.md`.
//!
//! **Not deterministic.** Hello randoms come from [`Config::seed`]. Key exchange and ECDSA signatures draw
//! from the operating system: their bytes differ from run to run, and the length of a signature by a few, so a
//! trace of a simulation may compare a handshake by its number of datagrams, not by their sizes.
//!
//! ```
//! use crypto::Certificate;
//! use sansio::{Outbox, Seed, Time};
//! use sterna_dtls::{Config, Endpoint, Event, Role};
//!
//! let now = Time::ZERO;
//! let (alice, bob) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
//! let (alices, bobs) = (alice.fingerprint(), bob.fingerprint());
//! let mut alice = Endpoint::new(now, Config::new(Role::Client, alice, vec![bobs], Seed::from(1))).unwrap();
//! let mut bob = Endpoint::new(now, Config::new(Role::Server, bob, vec![alices], Seed::from(2))).unwrap();
//! while !(alice.is_connected() && bob.is_connected()) {
//!     let (mut to_bob, mut to_alice): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
//!     alice.poll_transmit(now, &mut to_bob);
//!     to_bob.iter_mut().for_each(|datagram| bob.open(now, datagram, &mut |_| {}));
//!     bob.poll_transmit(now, &mut to_alice);
//!     to_alice.iter_mut().for_each(|datagram| alice.open(now, datagram, &mut |_| {}));
//! }
//! assert!(matches!(alice.poll_event(), Some(Event::Connected(_))));
//!
//! let mut wire: Vec<Vec<u8>> = Vec::new();
//! assert!(alice.lane(&mut wire).send_bytes((), b"for Bob only"));
//! let mut received = Vec::new();
//! bob.open(now, &mut wire[0], &mut |plain| received.extend_from_slice(plain));
//! assert_eq!(received, b"for Bob only");
//! ```

mod assembly;
mod codec;
mod config;
mod cookie;
mod endpoint;
mod event;
mod extension;
mod flight;
mod handshake;
mod hello;
mod incoming;
mod intake;
mod lane;
mod message;
mod outgoing;
mod protection;
mod record;
mod replay;
mod schedule;
mod server;
mod suite;
#[cfg(test)]
mod treason;

pub use config::{Config, ConfigError, Role, Trust, Versions};
pub use endpoint::{Drops, Endpoint};
pub use event::{CipherSuite, Connected, DtlsError, Event, SrtpKeys, SrtpProfile, Version};
pub use handshake::check_key;
pub use lane::Lane;
pub use server::{CHALLENGE_BYTES, Hello, Server, ServerConfig, Verdict, brings_cookie, refusal};
