use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use sansio::{MAX_BATCH_BYTES, MAX_BATCH_SEGMENTS};
use udp::{Bundles, Transmit};

use crate::key::Key;
use crate::sockets::Sockets;

/// Pieces that one system call takes, with some to spare.
const MAX_PIECES: usize = 1000;
/// Groups that are looked at for one that another flow has begun.
const NEIGHBOURS: usize = 8;

/// Where a flow leaves from, and to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// The socket, by its number in [`Sockets`].
    pub(crate) socket: usize,
    /// The source address, if the socket is bound to all.
    pub(crate) from: Option<IpAddr>,
    pub(crate) to: SocketAddr,
    /// The same for all flows that leave the same way.
    pub(crate) key: Key,
    /// Whether there are such others: clients have many peers.
    pub(crate) shared: bool,
}

/// What one round of receiving leaves to be sent: datagrams of one size for one destination make a group, and one group
/// is one system call. Their bytes stay where they were received.
pub(crate) struct Egress {
    groups: Vec<Group>,
    /// How many of them are in use; the others keep their memory for later rounds.
    live: usize,
    /// Headers that had no room in front of their data.
    headers: Vec<u8>,
    round: u64,
    /// Memory for the pieces of one call; between calls it is empty.
    pieces: Vec<IoSlice<'static>>,
}

struct Group {
    exit: Exit,
    /// Bytes of each datagram but the last.
    segment: usize,
    bytes: usize,
    datagrams: usize,
    /// The last datagram was shorter.
    closed: bool,
    pieces: Vec<Piece>,
}

/// A piece of a datagram, in the buffers that it was received in or among the headers.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Received(Range<usize>),
    Header(Range<usize>),
}

impl Group {
    fn takes(&self, length: usize) -> bool {
        !self.closed
            && length <= self.segment
            && self.bytes + length <= MAX_BATCH_BYTES
            && self.datagrams < MAX_BATCH_SEGMENTS
            && self.pieces.len() + 3 <= MAX_PIECES
    }

    fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), &piece) {
            (Some(Piece::Received(last)), Piece::Received(next)) if last.end == next.start => {
                last.end = next.end
            }
            (Some(Piece::Header(last)), Piece::Header(next)) if last.end == next.start => last.end = next.end,
            _ => self.pieces.push(piece),
        }
    }
}

impl Egress {
    pub(crate) fn new() -> Self {
        Self {
            groups: Vec::new(),
            live: 0,
            headers: Vec::new(),
            round: 1,
            pieces: Vec::with_capacity(MAX_PIECES),
        }
    }

    /// Which round it is; no group of an earlier one is left.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// Appends to the headers what `fill` writes into `length` bytes, and returns where that is.
    pub(crate) fn header(&mut self, length: usize, fill: impl FnOnce(&mut [u8])) -> Piece {
        let start = self.headers.len();
        self.headers.resize(start + length, 0);
        fill(&mut self.headers[start..]);
        Piece::Header(start..start + length)
    }

    /// Adds a datagram of `length` bytes, and returns its group. `last` is the group that the flow's datagram before it
    /// in this round went to.
    pub(crate) fn add<const N: usize>(
        &mut self,
        exit: &Exit,
        last: Option<u32>,
        length: usize,
        pieces: [Piece; N],
    ) -> u32 {
        let at = match last.or_else(|| if exit.shared { self.newest(exit) } else { None }) {
            Some(at) if self.groups[at as usize].takes(length) => at,
            _ => self.start(exit, length),
        };
        let group = &mut self.groups[at as usize];
        group.closed = length < group.segment;
        group.bytes += length;
        group.datagrams += 1;
        pieces.into_iter().for_each(|piece| group.push(piece));
        at
    }

    /// The newest group that leaves the same way, if it is among the last few. (Several peers may send to one client.)
    fn newest(&self, exit: &Exit) -> Option<u32> {
        let first = self.live.saturating_sub(NEIGHBOURS);
        let same = self.groups[first..self.live].iter().rposition(|group| group.exit.key == exit.key)?;
        Some((first + same) as u32)
    }

    fn start(&mut self, exit: &Exit, segment: usize) -> u32 {
        let at = self.live;
        self.live += 1;
        if at == self.groups.len() {
            let pieces = Vec::with_capacity(16);
            self.groups.push(Group { exit: *exit, segment, bytes: 0, datagrams: 0, closed: false, pieces });
        } else {
            let group = &mut self.groups[at];
            (group.exit, group.segment, group.bytes, group.datagrams) = (*exit, segment, 0, 0);
            group.pieces.clear();
        }
        at as u32
    }

    /// Sends all of it.
    pub(crate) fn depart(&mut self, bundles: &Bundles, sockets: &mut Sockets) {
        if self.live == 0 {
            return;
        }
        let mut bytes = emptied(std::mem::take(&mut self.pieces));
        for group in &self.groups[..self.live] {
            bytes.clear();
            bytes.extend(group.pieces.iter().map(|piece| match piece {
                Piece::Received(range) => IoSlice::new(&bundles.bytes()[range.clone()]),
                Piece::Header(range) => IoSlice::new(&self.headers[range.clone()]),
            }));
            let Exit { socket, from, to, .. } = group.exit;
            sockets.transmit(socket, &Transmit { from, to, segment: group.segment, bytes: &bytes });
        }
        self.pieces = emptied(bytes);
        self.live = 0;
        self.headers.clear();
        self.round += 1;
    }
}

/// The memory of a list for pieces that live otherwise. (Collecting in place keeps it: no piece is looked at.)
fn emptied<'to>(mut pieces: Vec<IoSlice<'_>>) -> Vec<IoSlice<'to>> {
    pieces.clear();
    pieces.into_iter().map(|_| IoSlice::new(&[])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_list_keeps_its_memory() {
        let (bytes, mut pieces) = ([1, 2, 3], Vec::with_capacity(100));
        pieces.push(IoSlice::new(&bytes));
        let at = pieces.as_ptr().addr();
        let emptied: Vec<IoSlice<'static>> = emptied(pieces);
        assert_eq!((emptied.len(), emptied.capacity(), emptied.as_ptr().addr()), (0, 100, at));
    }
}
