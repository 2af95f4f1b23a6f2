use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

/// Datagrams of one size for one destination, to be sent together.
///
/// The bytes may lie in pieces that have nothing to do with the datagrams' borders, so that a header is put in front
/// of each datagram, or left out, without a copy.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// The source address, for a socket that is bound to a wildcard. `None` leaves it to the system.
    pub from: Option<IpAddr>,
    /// The destination.
    pub to: SocketAddr,
    /// Bytes of each datagram but perhaps the last. At least 1.
    pub segment: usize,
    /// The datagrams back to back, in at most 1024 pieces; at most
    /// [`MAX_BATCH_BYTES`](sansio::MAX_BATCH_BYTES) and [`MAX_BATCH_SEGMENTS`](sansio::MAX_BATCH_SEGMENTS) for one
    /// system call (more are sent by several).
    pub bytes: &'a [IoSlice<'a>],
}

/// What became of a [`Transmit`].
#[derive(Debug)]
pub enum Outcome {
    /// All of it is with the system.
    Sent,
    /// The socket's buffer is full. `sent` bytes, a whole number of datagrams, went before; wait until the socket is
    /// writable and send the rest.
    Blocked {
        /// Bytes that are with the system.
        sent: usize,
    },
    /// The system would not send it, or not all of it: no route, a firewall, too large, a closed port at the other
    /// end. It counts as lost, as if the network had dropped it; the socket is as good as before.
    Lost(io::Error),
}
