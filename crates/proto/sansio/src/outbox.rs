use crate::Path;

/// Where a machine writes. Bounded, and owned by the caller.
///
/// Bytes are written once, where they leave from: each layer wraps the outbox of the layer below and writes its
/// header around what the layer above fills in.
pub trait Outbox<A = Path> {
    /// Bytes that still fit.
    fn room(&self) -> usize;

    /// Writes one datagram of at most `max` bytes.
    ///
    /// `fill` gets a buffer of exactly `max` bytes, whose contents are unspecified, and returns how many of them
    /// it used; 0 sends nothing. Returns `false` if there is no room; `fill` was then not called.
    fn send(&mut self, to: A, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool;

    /// The same for a datagram that must not be fragmented on its way (the DF bit of IPv4). An outbox that cannot see to
    /// that sends it like any other.
    fn send_whole(&mut self, to: A, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.send(to, max, fill)
    }

    /// The same for a datagram whose sender heeds congestion marks: a router may mark it instead of dropping it (ECT(0), RFC 3168
    /// §5). An outbox that cannot say so sends it like any other.
    fn send_capable(&mut self, to: A, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.send(to, max, fill)
    }

    /// Writes one datagram that is already in one piece.
    fn send_bytes(&mut self, to: A, bytes: &[u8]) -> bool {
        self.send(to, bytes.len(), &mut |buffer| {
            buffer.copy_from_slice(bytes);
            bytes.len()
        })
    }
}

/// Datagrams one by one, for examples and tests of machines that know no addresses. In front of a socket stand
/// [`Batches`](crate::Batches).
impl Outbox<()> for Vec<Vec<u8>> {
    /// 1 MiB, however many there are.
    fn room(&self) -> usize {
        1 << 20
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut datagram = vec![0; max];
        let used = fill(&mut datagram);
        datagram.truncate(used);
        if used > 0 {
            self.push(datagram);
        }
        true
    }
}

/// An outbox that is always full: for answers that must wait for `poll_transmit`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Full;

impl<A> Outbox<A> for Full {
    fn room(&self) -> usize {
        0
    }
    fn send(&mut self, _: A, _: usize, _: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        false
    }
}
