use std::fmt;

use sansio::Path;

#[cfg(target_os = "linux")]
use crate::linux::Headers;
#[cfg(not(target_os = "linux"))]
use crate::portable::Headers;

/// Room for one bundle: the largest UDP payload, rounded up.
pub(crate) const BUNDLE_BYTES: usize = 1 << 16;
/// From one buffer to the next: somewhat more, for [`Bundles::SLACK`] at both ends, and because the first bytes of all
/// buffers would contend for the same few lines of the CPU's caches otherwise.
const STRIDE: usize = BUNDLE_BYTES + 21 * 64;

/// Where the buffer `at` lies.
pub(crate) fn slot(at: usize) -> std::ops::Range<usize> {
    let start = at * STRIDE + Bundles::SLACK;
    start..start + BUNDLE_BYTES
}

/// What arrived together from one sender: datagrams of one size back to back; the last may be shorter.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// The way it came. The local address is the one that the sender used, also on a socket bound to a wildcard
    /// (on Linux; elsewhere it is the bound address).
    pub path: Path,
    /// Bytes of each datagram but perhaps the last.
    pub segment: usize,
    /// Whether a router on the way had more to send than it could, and said so (CE, RFC 3168 §5).
    pub marked: bool,
    /// The datagrams, one after another.
    pub bytes: &'a mut [u8],
}

impl<'a> Bundle<'a> {
    /// The datagrams one by one, in the order of their arrival. Empty datagrams are left out.
    pub fn datagrams(self) -> std::slice::ChunksMut<'a, u8> {
        self.bytes.chunks_mut(self.segment.max(1))
    }
}

/// A bundle without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The way it came, as in [`Bundle`].
    pub path: Path,
    /// Bytes of each datagram but perhaps the last.
    pub segment: usize,
    /// Whether a router on the way had more to send than it could, and said so (CE, RFC 3168 §5).
    pub marked: bool,
    /// Where in [`Bundles::bytes`] the datagrams lie, one after another.
    pub range: std::ops::Range<usize>,
}

/// The reusable buffers that [`Socket::try_recv`](crate::Socket::try_recv) fills.
///
/// Memory is touched only as far as datagrams fill it. One set serves any number of sockets in turn.
pub struct Bundles {
    pub(crate) buffers: Vec<u8>,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) headers: Headers,
    pub(crate) arrivals: Vec<Arrived>,
    pub(crate) capacity: usize,
}

impl Bundles {
    /// The most bundles that one call receives.
    pub const MAX: usize = 128;

    /// Bytes in front of each bundle and behind it that are nobody's: there is room for a header or for padding.
    pub const SLACK: usize = 64;

    /// Buffers for `capacity` bundles (1 to [`Bundles::MAX`], clamped) of up to 64 KiB each.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Self::MAX);
        Self {
            buffers: vec![0; capacity * STRIDE],
            headers: Headers::new(capacity),
            arrivals: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// How many bundles the last call received.
    #[inline]
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether the last call received nothing.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// How many bundles one call receives at most.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the bundles of the last call.
    #[inline]
    pub fn clear(&mut self) {
        self.arrivals.clear();
    }

    /// Where the bundle `at` of the last call came from, and where in [`Bundles::bytes`] it lies. For those who pass
    /// the bytes on as they are.
    #[inline]
    pub fn arrival(&self, at: usize) -> Option<&Arrived> {
        self.arrivals.get(at)
    }

    /// All buffers in one piece.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffers
    }

    /// The same, to be changed.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffers
    }

    /// The bundles of the last call.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = Bundle<'_>> {
        self.buffers.chunks_mut(STRIDE).zip(&self.arrivals).map(|(buffer, arrived)| Bundle {
            path: arrived.path,
            segment: arrived.segment,
            marked: arrived.marked,
            bytes: &mut buffer[Self::SLACK..][..arrived.range.len()],
        })
    }
}

impl fmt::Debug for Bundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundles").field("len", &self.len()).field("capacity", &self.capacity).finish()
    }
}
