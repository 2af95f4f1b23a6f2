use std::collections::VecDeque;

use crate::{Outbox, Path};

/// The most bytes one batch holds: what one UDP GSO call takes (64 KiB less the largest IP and UDP headers).
pub const MAX_BATCH_BYTES: usize = 65_000;
/// The most datagrams one batch holds: `UDP_MAX_SEGMENTS` of the Linux kernel.
pub const MAX_BATCH_SEGMENTS: usize = 64;
/// Buffers kept for the next round, so that a steady flow allocates nothing.
const SPARE_BUFFERS: usize = 32;

/// Datagrams of one size for one path, back to back; the last may be shorter. One batch is one system call.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where the datagrams go.
    pub path: Path,
    /// Bytes of each datagram but perhaps the last.
    pub segment: usize,
    /// The datagrams, one after another.
    pub bytes: Vec<u8>,
    /// They must not be fragmented on their way.
    pub whole: bool,
    /// Routers may mark them instead of dropping them (ECT(0), RFC 3168 §5).
    pub capable: bool,
    closed: bool,
}

impl Batch {
    /// The datagrams one by one, in the order in which they were written.
    pub fn datagrams(&self) -> std::slice::Chunks<'_, u8> {
        self.bytes.chunks(self.segment.max(1))
    }

    fn fits(&self, bytes: usize) -> bool {
        !self.closed
            && bytes <= self.segment
            && self.bytes.len() + bytes <= MAX_BATCH_BYTES
            && self.bytes.len() / self.segment < MAX_BATCH_SEGMENTS
    }
}

/// What is asked for with datagrams, the same for all of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Usual,
    Whole,
    Capable,
}

impl Kind {
    fn batch(self, path: Path, segment: usize, bytes: Vec<u8>) -> Batch {
        let (whole, capable) = (self == Self::Whole, self == Self::Capable);
        Batch { path, segment, bytes, whole, capable, closed: false }
    }

    fn is_of(self, batch: &Batch) -> bool {
        (self == Self::Whole) == batch.whole && (self == Self::Capable) == batch.capable
    }
}

/// The real [`Outbox`]: bounded, and grouping equal-size datagrams per path.
///
/// Order within a path is kept: only the newest batch of a path ever grows.
#[derive(Debug)]
pub struct Batches {
    batches: VecDeque<Batch>,
    spare: Vec<Vec<u8>>,
    budget: usize,
    used: usize,
}

impl Batches {
    /// An empty outbox that holds at most `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self { batches: VecDeque::new(), spare: Vec::new(), budget, used: 0 }
    }

    /// Takes the oldest batch out. Give its buffer back with [`Batches::recycle`] once it is sent.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.used -= batch.bytes.len();
        Some(batch)
    }

    /// Puts a batch that could not be sent back to the front.
    pub fn unpop(&mut self, batch: Batch) {
        self.used += batch.bytes.len();
        self.batches.push_front(batch);
    }

    /// Keeps the buffer of a sent batch for a later one.
    pub fn recycle(&mut self, batch: Batch) {
        if self.spare.len() < SPARE_BUFFERS {
            let mut bytes = batch.bytes;
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Bytes waiting to be sent.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Starts an empty batch and returns where it stands.
    fn start(&mut self, path: Path, kind: Kind) -> usize {
        let bytes = self.spare.pop().unwrap_or_default();
        self.batches.push_back(kind.batch(path, 0, bytes));
        self.batches.len() - 1
    }

    fn write(
        &mut self,
        path: Path,
        kind: Kind,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        if max == 0 {
            return true;
        }
        if self.room() < max {
            return false;
        }
        // Written at the end of the newest batch of this path in the hope that it fits there.
        let newest = self.batches.iter().rposition(|batch| batch.path == path);
        let open = newest.filter(|&at| kind.is_of(&self.batches[at]) && self.batches[at].fits(1));
        let at = open.unwrap_or_else(|| self.start(path, kind));
        let batch = &mut self.batches[at];
        let start = batch.bytes.len();
        batch.bytes.resize(start + max, 0);
        let used = fill(&mut batch.bytes[start..]).min(max);
        batch.bytes.truncate(start + used);
        if used == 0 {
            if start == 0 {
                let empty = self.batches.pop_back().expect("an empty batch is the newest of all");
                self.recycle(empty);
            }
            return true;
        }
        self.used += used;
        if start == 0 {
            batch.segment = used;
            return true;
        }
        if used <= batch.segment && batch.bytes.len() <= MAX_BATCH_BYTES {
            batch.closed = used < batch.segment;
            return true;
        }
        // Larger than its predecessors: it moves to a batch of its own, which is rare.
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(&batch.bytes[start..]);
        batch.bytes.truncate(start);
        batch.closed = true;
        self.batches.push_back(kind.batch(path, used, bytes));
        true
    }
}

impl Outbox for Batches {
    fn room(&self) -> usize {
        self.budget.saturating_sub(self.used)
    }

    fn send(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Kind::Usual, max, fill)
    }

    fn send_whole(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Kind::Whole, max, fill)
    }

    fn send_capable(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Kind::Capable, max, fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::udp(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], port).into())
    }

    fn drain(out: &mut Batches) -> Vec<(u16, Vec<usize>)> {
        std::iter::from_fn(|| out.pop())
            .map(|batch| (batch.path.remote.port(), batch.datagrams().map(<[u8]>::len).collect()))
            .collect()
    }

    #[test]
    fn equal_sizes_share_a_batch_and_a_shorter_one_closes_it() {
        let mut out = Batches::new(1 << 20);
        for length in [1000, 1000, 10, 1000] {
            assert!(out.send(path(2), 1200, &mut |_| length));
        }
        assert_eq!(drain(&mut out), [(2, vec![1000, 1000, 10]), (2, vec![1000])]);
    }

    #[test]
    fn a_larger_datagram_starts_a_batch_and_keeps_its_bytes() {
        let mut out = Batches::new(1 << 20);
        out.send_bytes(path(2), &[1; 10]);
        out.send_bytes(path(2), &[2; 20]);
        out.send_bytes(path(2), &[3; 20]);
        assert_eq!(out.pop().unwrap().bytes, [1; 10]);
        let second = out.pop().unwrap();
        assert_eq!(
            (second.segment, &second.bytes[..20], &second.bytes[20..]),
            (20, &[2; 20][..], &[3; 20][..])
        );
        assert_eq!(out.used(), 0);
    }

    #[test]
    fn paths_do_not_mix_and_order_within_a_path_is_kept() {
        let mut out = Batches::new(1 << 20);
        for (port, length) in [(2, 100), (3, 100), (2, 100), (2, 200), (2, 100)] {
            assert!(out.send(path(port), length, &mut |_| length));
        }
        assert_eq!(drain(&mut out), [(2, vec![100, 100]), (3, vec![100]), (2, vec![200, 100])]);
    }

    #[test]
    fn what_must_not_be_fragmented_goes_in_batches_of_its_own_and_in_order() {
        let mut out = Batches::new(1 << 20);
        for (whole, number) in [(false, 1), (true, 2), (true, 3), (false, 4)] {
            let fill = &mut |buffer: &mut [u8]| {
                buffer.fill(number);
                buffer.len()
            };
            assert!(if whole { out.send_whole(path(2), 10, fill) } else { out.send(path(2), 10, fill) });
        }
        let batches: Vec<_> = std::iter::from_fn(|| out.pop())
            .map(|batch| (batch.whole, batch.datagrams().map(|bytes| bytes[0]).collect::<Vec<_>>()))
            .collect();
        assert_eq!(batches, [(false, vec![1]), (true, vec![2, 3]), (false, vec![4])]);
    }

    #[test]
    fn what_may_be_marked_goes_in_batches_of_its_own() {
        let mut out = Batches::new(1 << 20);
        for capable in [true, true, false, true] {
            let fill = &mut |buffer: &mut [u8]| buffer.len();
            assert!(if capable { out.send_capable(path(2), 10, fill) } else { out.send(path(2), 10, fill) });
        }
        let batches: Vec<_> = std::iter::from_fn(|| out.pop())
            .map(|batch| (batch.capable, batch.whole, batch.datagrams().count()))
            .collect();
        assert_eq!(batches, [(true, false, 2), (false, false, 1), (true, false, 1)]);
    }

    #[test]
    fn a_full_outbox_refuses_without_calling_fill() {
        let mut out = Batches::new(1500);
        assert!(out.send(path(2), 1000, &mut |_| 1000));
        assert!(!out.send(path(2), 1000, &mut |_| panic!("no room")));
        assert_eq!(out.room(), 500);
        out.pop();
        assert_eq!(out.room(), 1500);
    }

    #[test]
    fn an_empty_fill_sends_nothing() {
        let mut out = Batches::new(1500);
        assert!(out.send(path(2), 1000, &mut |_| 0));
        assert!(out.is_empty());
        out.send_bytes(path(2), &[1; 10]);
        assert!(out.send(path(2), 1000, &mut |_| 0));
        assert_eq!(drain(&mut out), [(2, vec![10])]);
    }

    #[test]
    fn a_batch_never_outgrows_one_system_call() {
        let mut out = Batches::new(1 << 20);
        for _ in 0..70 {
            out.send_bytes(path(2), &[0; 1]);
        }
        for _ in 0..60 {
            out.send_bytes(path(3), &[0; 1200]);
        }
        let batches = drain(&mut out);
        assert!(
            batches
                .iter()
                .all(|(_, d)| d.len() <= MAX_BATCH_SEGMENTS && d.iter().sum::<usize>() <= MAX_BATCH_BYTES)
        );
        assert_eq!(batches.iter().map(|(_, d)| d.len()).sum::<usize>(), 130);
    }
}
