use std::collections::VecDeque;

use sansio::{Outbox, Path};

/// What a machine may write before the network takes it away.
const ROOM: usize = 1 << 20;
/// Buffers kept for later packets.
const SPARE: usize = 4096;
/// What fresh buffers are full of, so that nobody counts on zeroes.
const JUNK: u8 = 0xa5;

/// A packet as a machine wrote it.
pub(crate) struct Written {
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
    pub(crate) wish: Wish,
}

/// What is asked of the network with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    Nothing,
    /// It must not be fragmented.
    Whole,
    /// It may be marked.
    Capable,
}

/// The outbox that machines write into: a packet a buffer, in the order of sending.
pub(crate) struct Tray {
    packets: VecDeque<Written>,
    spare: Vec<Vec<u8>>,
    used: usize,
    limit: usize,
    /// Whether something did not fit since this was last set to `false`.
    pub(crate) refused: bool,
}

impl Tray {
    pub(crate) fn new() -> Self {
        Self { packets: VecDeque::new(), spare: Vec::new(), used: 0, limit: ROOM, refused: false }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The oldest packet.
    pub(crate) fn pop(&mut self) -> Option<Written> {
        let written = self.packets.pop_front()?;
        self.used -= written.bytes.len();
        Some(written)
    }

    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// A copy of `bytes` in a recycled buffer.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl Tray {
    fn write(
        &mut self,
        path: Path,
        wish: Wish,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        if self.room() < max {
            self.refused = true;
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(max, JUNK);
        let used = fill(&mut buffer);
        assert!(used <= max, "law: fill used {used} of {max} bytes");
        buffer.truncate(used);
        if used == 0 {
            self.recycle(buffer);
        } else {
            self.used += used;
            self.packets.push_back(Written { path, bytes: buffer, wish });
        }
        true
    }
}

impl Outbox for Tray {
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    fn send(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Wish::Nothing, max, fill)
    }

    fn send_whole(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Wish::Whole, max, fill)
    }

    fn send_capable(&mut self, path: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(path, Wish::Capable, max, fill)
    }
}
