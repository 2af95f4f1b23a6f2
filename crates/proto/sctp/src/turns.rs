//! Whose turn it is to send. The engine sends what it gets in the order in which it gets it, whatever the channel; so it
//! gets little at a time, and the channels take turns in giving it messages: deficit round robin, which is what
//! RFC 8831 §6.4 means by weighted fair queueing as far as whole messages allow.

use std::collections::{BTreeSet, VecDeque};

use crate::packet::{self, kind, u16_at, u32_at};

/// Bytes that the engine may hold without having sent them once.
const BACKLOG: usize = 128 * 1024;
/// Bytes of a turn per unit of priority: 16 KiB for a channel of normal priority.
const QUANTUM: i64 = 64;
/// Bytes of a DATA chunk before its payload.
const DATA_HEADER: usize = 16;

/// The order of channels, and the count of what the engine has not sent.
#[derive(Debug)]
pub(crate) struct Turns {
    ring: VecDeque<u16>,
    /// Bytes of reliable channels that the engine has got, but has not sent.
    unsent: usize,
    /// The number of the last DATA chunk that was sent for the first time.
    highest: u32,
    /// Streams of channels that give messages up. The engine may drop those unsent, so they cannot be counted, and
    /// they do not wait for turns.
    hasty: BTreeSet<u16>,
}

impl Turns {
    /// `first` is the number of the first DATA chunk.
    pub(crate) fn new(first: u32) -> Self {
        Self { ring: VecDeque::new(), unsent: 0, highest: first.wrapping_sub(1), hasty: BTreeSet::new() }
    }

    /// A channel begins.
    pub(crate) fn begin(&mut self, stream: u16, hasty: bool) {
        if hasty {
            self.hasty.insert(stream);
        } else {
            self.hasty.remove(&stream);
        }
    }

    /// A channel has something in its queue.
    pub(crate) fn join(&mut self, stream: u16) {
        if !self.ring.contains(&stream) {
            self.ring.push_back(stream);
        }
    }

    /// Whose turn it is, if the engine may have more.
    pub(crate) fn current(&self) -> Option<u16> {
        if self.unsent >= BACKLOG { None } else { self.ring.front().copied() }
    }

    /// The current turn is over, and the channel wants another.
    pub(crate) fn rotate(&mut self) {
        self.ring.rotate_left(1.min(self.ring.len()));
    }

    /// The current turn is over, and the channel has nothing more.
    pub(crate) fn leave(&mut self) {
        self.ring.pop_front();
    }

    /// The engine got a message.
    pub(crate) fn given(&mut self, stream: u16, bytes: usize) {
        if !self.hasty.contains(&stream) {
            self.unsent += bytes;
        }
    }

    /// Whether a stream is that of a channel that gives messages up.
    pub(crate) fn is_hasty(&self, stream: u16) -> bool {
        self.hasty.contains(&stream)
    }

    /// Whether all that the engine got was sent, and nobody has anything more.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsent == 0 && self.ring.is_empty()
    }

    /// The engine made a packet.
    pub(crate) fn sent(&mut self, packet: &[u8]) {
        let Some((_, chunks)) = packet::parse(packet) else { return };
        for chunk in chunks.filter(|chunk| chunk.kind() == kind::DATA) {
            let (Some(number), Some(stream)) = (u32_at(chunk.bytes, 4), u16_at(chunk.bytes, 8)) else {
                return;
            };
            let is_new = number.wrapping_sub(self.highest) as i32 > 0;
            if is_new {
                self.highest = number;
                if !self.hasty.contains(&stream) {
                    self.unsent = self.unsent.saturating_sub(chunk.bytes.len() - DATA_HEADER);
                }
            }
        }
    }
}

/// The bytes that a turn adds to what a channel of this priority may send.
pub(crate) fn quantum(priority: u16) -> i64 {
    i64::from(priority.max(1)) * QUANTUM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Header, Writer};

    fn data(number: u32, stream: u16, bytes: usize) -> Vec<u8> {
        let mut packet = vec![0; 28 + bytes + 4];
        let mut writer = Writer::new(&mut packet, Header { source: 1, destination: 2, tag: 3 });
        let value = [&number.to_be_bytes()[..], &stream.to_be_bytes(), &[0; 6], &vec![9; bytes]].concat();
        writer.chunk(kind::DATA, 3, &[&value]);
        let used = writer.finish();
        packet.truncate(used);
        packet
    }

    #[test]
    fn turns_go_round_until_the_engine_has_enough() {
        let mut turns = Turns::new(10);
        turns.join(1);
        turns.join(2);
        turns.join(1);
        assert_eq!(turns.current(), Some(1));
        turns.rotate();
        assert_eq!(turns.current(), Some(2));
        turns.given(2, BACKLOG);
        assert_eq!(turns.current(), None);
        turns.sent(&data(10, 2, 100));
        assert_eq!(turns.current(), Some(2));
        turns.given(2, 100);
        turns.sent(&data(10, 2, 100));
        assert_eq!(turns.current(), None, "a retransmission is not progress");
        turns.sent(&data(11, 2, 100));
        turns.leave();
        assert_eq!(turns.current(), Some(1));
    }

    #[test]
    fn hasty_channels_are_not_counted() {
        let mut turns = Turns::new(0);
        turns.begin(5, true);
        turns.join(1);
        turns.given(5, 10 * BACKLOG);
        assert_eq!(turns.current(), Some(1));
        turns.begin(5, false);
        turns.given(5, BACKLOG);
        assert_eq!(turns.current(), None);
    }
}
