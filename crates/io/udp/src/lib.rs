//! One UDP socket done well.
//!
//! Most of the cost of UDP is the walk of each datagram through the kernel. On Linux many datagrams make that walk
//! together: a [`Transmit`] of up to 64 equal-size datagrams leaves by one system call (`UDP_SEGMENT`, "GSO"), and
//! what arrives comes up as [`Bundle`]s of equal-size datagrams from one sender (`UDP_GRO`), several bundles a call
//! (`recvmmsg`). Where the kernel or the interface refuses segmentation, that is remembered and `sendmmsg` takes its
//! place; systems other than Linux send and receive datagram by datagram. The caller sees no difference but speed.
//!
//! Nothing here starts a task or owns a buffer of received bytes: the caller waits for readiness, brings its
//! [`Bundles`], and may share one set among any number of sockets. [`Socket`] lives in a tokio runtime; a
//! [`BareSocket`] is for whoever has a loop of his own.
//!
//! ```
//! use sterna_udp::{Bundles, Outcome, Socket, Transmit};
//! use std::io::IoSlice;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(async {
//! let here = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
//! let there = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
//!
//! // Three datagrams of four bytes and one of two, by one system call:
//! let bytes = [IoSlice::new(b"one.two.six.te")];
//! let transmit = Transmit { from: None, to: there.local(), segment: 4, bytes: &bytes };
//! assert!(matches!(here.try_send(&transmit), Outcome::Sent));
//!
//! let mut bundles = Bundles::new(4);
//! let mut received = Vec::new();
//! while received.len() < 4 {
//!     there.readable().await.unwrap();
//!     there.try_recv(&mut bundles).unwrap();
//!     for bundle in bundles.iter_mut() {
//!         assert_eq!(bundle.path.remote, here.local());
//!         received.extend(bundle.datagrams().map(|datagram| datagram.to_vec()));
//!     }
//! }
//! assert_eq!(received, [&b"one."[..], b"two.", b"six.", b"te"]);
//! # });
//! ```

#![allow(unsafe_code)] // The system calls of `linux`; each block says why it is sound.

mod bare;
mod bundle;
mod end;
mod handle;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
mod segments;
mod socket;
mod transmit;
mod unreachable;

pub use bare::BareSocket;
pub use bundle::{Arrived, Bundle, Bundles};
pub use socket::{Config, Socket};
pub use transmit::{Outcome, Transmit};
pub use unreachable::Unreachable;

/// Whether [`BareSocket::try_send_batch`] keeps datagrams from being fragmented where [`Batch::whole`] says so.
///
/// [`Batch::whole`]: sansio::Batch::whole
pub const SENDS_WHOLE: bool = cfg!(target_os = "linux");

/// Whether marks of congested routers are told where [`Config::marks`] asks for them, and [`Batch::capable`] is heeded.
///
/// [`Batch::capable`]: sansio::Batch::capable
pub const READS_MARKS: bool = cfg!(target_os = "linux");
