use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sansio::Time;

use crate::chunk::flag;
use crate::{DCEP, Reliability};

/// Bytes of a turn per unit of priority: about a packet for a channel of normal priority.
const QUANTUM: i64 = 4;
/// Messages that may be sent in part at the same time: the receiver has to hold all of them until they are whole.
const OPEN: usize = 32;
/// A message is not split for less than so many bytes.
const LEAST_FRAGMENT: usize = 32;

/// When a message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    Retransmissions(u16),
    Time(Time),
}

impl Limit {
    pub(crate) fn new(now: Time, reliability: Reliability) -> Self {
        match reliability {
            Reliability::Reliable => Self::Never,
            Reliability::MaxRetransmits(count) => Self::Retransmissions(count),
            Reliability::MaxLifetime(time) => Self::Time(now + time),
        }
    }

    /// Whether a message that was sent so often may not be sent again.
    pub(crate) fn is_reached(self, now: Time, transmissions: u16) -> bool {
        match self {
            Self::Never => false,
            Self::Retransmissions(count) => transmissions > count,
            Self::Time(until) => until <= now,
        }
    }
}

/// A message that waits to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) protocol: u32,
    pub(crate) data: Bytes,
    pub(crate) unordered: bool,
    pub(crate) limit: Limit,
}

/// A piece of a message, with all that its chunk says but its TSN.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    pub(crate) stream: u16,
    pub(crate) flags: u8,
    /// Stream sequence number or message identifier.
    pub(crate) message: u32,
    pub(crate) number: u32,
    pub(crate) protocol: u32,
    pub(crate) limit: Limit,
    pub(crate) data: Bytes,
}

/// What waits to be sent on each stream, and whose turn it is: deficit round robin by fragments, which is weighted fair
/// queueing (RFC 8260 §3.6). Without interleaving a message that is begun is finished first.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    streams: BTreeMap<u16, Stream>,
    /// Streams that have something to send, in the order of their turns.
    ring: VecDeque<u16>,
    interleaved: bool,
    /// How many messages are sent in part.
    open: usize,
    /// Bytes that wait, and bytes that wait or are not acknowledged.
    bytes: usize,
    unsettled: usize,
    /// Streams whose buffered bytes have become less.
    relieved: Vec<u16>,
}

#[derive(Debug, Default)]
struct Stream {
    queue: VecDeque<Outgoing>,
    /// How much of the first message is sent, and its number once that is not nothing.
    sent: usize,
    fragments: u32,
    message: Option<u32>,
    /// The numbers of the next messages. Without interleaving unordered ones have none.
    next_ordered: u32,
    next_unordered: u32,
    priority: i64,
    credit: i64,
    in_ring: bool,
    /// Whether it is among the relieved.
    relieved: bool,
    /// Bytes of messages that wait or are not acknowledged, and the same of DCEP.
    buffered: usize,
    control: usize,
}

impl Backlog {
    pub(crate) fn set_interleaved(&mut self, interleaved: bool) {
        self.interleaved = interleaved;
    }

    pub(crate) fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, id: u16, priority: u16, message: Outgoing) {
        let stream = self.streams.entry(id).or_default();
        stream.priority = priority.max(1).into();
        let bytes = message.data.len();
        *stream.account(message.protocol) += bytes;
        self.bytes += bytes;
        self.unsettled += bytes;
        stream.queue.push_back(message);
        if !std::mem::replace(&mut stream.in_ring, true) {
            // Who was idle gets a first turn, but no second.
            stream.credit += i64::from(stream.credit == 0);
            self.ring.push_back(id);
        }
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that wait to be sent.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are sent and not acknowledged.
    pub(crate) fn sent(&self) -> usize {
        self.unsettled.saturating_sub(self.bytes)
    }

    /// Bytes of messages that wait or are not acknowledged, without DCEP's.
    pub(crate) fn buffered(&self, id: u16) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.buffered)
    }

    /// Whether all that was queued on a stream was acknowledged.
    pub(crate) fn is_drained(&self, id: u16) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.buffered == 0 && stream.control == 0)
    }

    /// Whether that is so of all streams.
    pub(crate) fn is_all_drained(&self) -> bool {
        self.unsettled == 0
    }

    /// What was sent of a stream is acknowledged or given up.
    pub(crate) fn release(&mut self, id: u16, protocol: u32, bytes: usize) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let account = stream.account(protocol);
        let bytes = bytes.min(*account);
        *account -= bytes;
        self.unsettled -= bytes;
        if !std::mem::replace(&mut stream.relieved, true) {
            self.relieved.push(id);
        }
    }

    /// A stream whose buffered bytes have become less since it was last named.
    pub(crate) fn pop_relieved(&mut self) -> Option<u16> {
        let id = self.relieved.pop()?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.relieved = false;
        }
        Some(id)
    }

    /// The stream begins again, with its first numbers.
    pub(crate) fn reset(&mut self, id: u16) {
        if let Some(stream) = self.streams.remove(&id) {
            self.bytes -= stream.waiting();
            self.unsettled -= stream.buffered + stream.control;
            self.open -= usize::from(stream.message.is_some());
            self.ring.retain(|other| *other != id);
        }
    }

    /// The next fragment, so that its chunk has at most `room` bytes with a header of `header` bytes, and its payload is no
    /// longer than `window`. `None` if nothing waits, or not even a piece fits.
    pub(crate) fn next(&mut self, now: Time, header: usize, room: usize, window: usize) -> Option<Fragment> {
        let room = room.checked_sub(header)?;
        let mut passed = 0;
        loop {
            let id = *self.ring.front()?;
            self.drop_late(now, id);
            let stream = self.streams.get_mut(&id)?;
            let Some(first) = stream.queue.front() else {
                (stream.in_ring, stream.credit) = (false, stream.credit.min(0));
                self.ring.pop_front();
                continue;
            };
            let rest = first.data.len() - stream.sent;
            let length = rest.min(room).min(window);
            let must_finish = !self.interleaved && stream.message.is_some();
            if !must_finish {
                let too_many = self.open >= OPEN && stream.message.is_none() && length < rest;
                if stream.credit <= 0 || too_many {
                    if too_many {
                        passed += 1;
                        if passed > self.ring.len() {
                            return None;
                        }
                    } else {
                        stream.credit += stream.priority * QUANTUM;
                    }
                    self.ring.rotate_left(1);
                    continue;
                }
            }
            if length == 0 || length < rest && length < LEAST_FRAGMENT.min(window) {
                return None;
            }
            return Some(self.cut(id, length));
        }
    }

    /// Drops messages whose time was over before any of them was sent: nobody has to know.
    fn drop_late(&mut self, now: Time, id: u16) {
        while let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.message.is_none())
            && let Some(late) = stream.queue.pop_front_if(|first| first.limit.is_reached(now, 0))
        {
            self.bytes -= late.data.len();
            self.release(id, late.protocol, late.data.len());
        }
    }

    /// Cuts `length` bytes off the first message of a stream.
    fn cut(&mut self, id: u16, length: usize) -> Fragment {
        let stream = self.streams.get_mut(&id).expect("its turn was found");
        let first = stream.queue.front().expect("it has something to send");
        let begins = stream.message.is_none();
        let ends = stream.sent + length == first.data.len();
        let mut flags = if first.unordered { flag::UNORDERED } else { 0 };
        let message = match stream.message {
            Some(message) => message,
            None if first.unordered => {
                flags |= flag::BEGIN;
                post_increment(&mut stream.next_unordered)
            }
            None => {
                flags |= flag::BEGIN;
                post_increment(&mut stream.next_ordered)
            }
        };
        let fragment = Fragment {
            stream: id,
            flags: if ends { flags | flag::END } else { flags },
            message,
            number: stream.fragments,
            protocol: first.protocol,
            limit: first.limit,
            data: first.data.slice(stream.sent..stream.sent + length),
        };
        stream.credit -= length as i64;
        self.bytes -= length;
        if ends {
            stream.queue.pop_front();
            (stream.sent, stream.fragments, stream.message) = (0, 0, None);
            self.open -= usize::from(!begins);
        } else {
            stream.sent += length;
            (stream.fragments, stream.message) = (stream.fragments.wrapping_add(1), Some(message));
            self.open += usize::from(begins);
        }
        fragment
    }

    /// A message is given up: drops what is left of it. Returns an empty fragment that ends it, if anything was left.
    pub(crate) fn abandon(&mut self, id: u16, unordered: bool, message: u32) -> Option<Fragment> {
        let stream = self.streams.get_mut(&id)?;
        let first = stream.queue.front()?;
        if stream.message != Some(message) || first.unordered != unordered {
            return None;
        }
        let (protocol, limit, left) = (first.protocol, first.limit, first.data.len() - stream.sent);
        let number = stream.fragments;
        stream.queue.pop_front();
        (stream.sent, stream.fragments, stream.message) = (0, 0, None);
        self.bytes -= left;
        self.open -= 1;
        self.release(id, protocol, left);
        let flags = if unordered { flag::UNORDERED | flag::END } else { flag::END };
        Some(Fragment { stream: id, flags, message, number, protocol, limit, data: Bytes::new() })
    }
}

impl Stream {
    /// The account that a message of this protocol is on.
    fn account(&mut self, protocol: u32) -> &mut usize {
        if protocol == DCEP { &mut self.control } else { &mut self.buffered }
    }

    /// Bytes that were not sent yet.
    fn waiting(&self) -> usize {
        self.queue.iter().map(|message| message.data.len()).sum::<usize>() - self.sent
    }
}

fn post_increment(number: &mut u32) -> u32 {
    std::mem::replace(number, number.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Outgoing {
        Outgoing { protocol: 53, data: vec![7; length].into(), unordered: false, limit: Limit::Never }
    }

    fn backlog(interleaved: bool) -> Backlog {
        let mut backlog = Backlog::default();
        backlog.set_interleaved(interleaved);
        backlog
    }

    /// Stream, message and fragment of all that comes in packets of 1000 bytes.
    fn drain(backlog: &mut Backlog) -> Vec<(u16, u32, u32)> {
        let next = || backlog.next(Time::ZERO, 20, 1020, usize::MAX);
        std::iter::from_fn(next).map(|it| (it.stream, it.message, it.number)).collect()
    }

    #[test]
    fn with_interleaving_streams_take_turns_within_messages_and_without_they_do_not() {
        for interleaved in [true, false] {
            let mut backlog = backlog(interleaved);
            backlog.push(1, 256, message(3000));
            backlog.push(2, 256, message(900));
            backlog.push(1, 256, message(10));
            let order: Vec<u16> = drain(&mut backlog).iter().map(|it| it.0).collect();
            assert_eq!(order, if interleaved { [1, 2, 1, 1, 1] } else { [1, 1, 1, 2, 1] });
            assert!(backlog.is_empty() && !backlog.is_drained(1));
            backlog.release(1, 53, 3010);
            backlog.release(2, 53, 900);
            assert!(backlog.is_all_drained());
        }
    }

    #[test]
    fn only_so_many_messages_are_sent_in_part_and_short_ones_pass() {
        let mut backlog = backlog(true);
        (0..40).for_each(|id| backlog.push(id, 256, message(5000)));
        backlog.push(99, 256, message(10));
        let order = drain(&mut backlog);
        assert_eq!(order.len(), 40 * 5 + 1);
        let short = order.iter().position(|it| it.0 == 99).unwrap();
        assert!(short <= 41, "{short}");
        let mut open = std::collections::BTreeMap::new();
        for (stream, _, number) in order {
            open.insert(stream, number);
            if number == 4 {
                open.remove(&stream);
            }
            open.remove(&99);
            assert!(open.len() <= OPEN);
        }
    }

    #[test]
    fn what_is_too_late_is_dropped_and_what_is_begun_ends_with_nothing() {
        let mut backlog = backlog(true);
        let late = Time::ZERO + std::time::Duration::from_secs(1);
        backlog.push(1, 256, Outgoing { limit: Limit::Time(late), ..message(3000) });
        backlog.push(1, 256, Outgoing { limit: Limit::Time(late), ..message(500) });
        let begun = backlog.next(Time::ZERO, 20, 1020, usize::MAX).unwrap();
        assert_eq!(begun.data.len(), 1000);
        assert!(backlog.abandon(1, true, begun.message).is_none());
        let end = backlog.abandon(1, false, begun.message).unwrap();
        assert_eq!((end.number, end.flags, end.data.len()), (1, flag::END, 0));
        assert!(backlog.next(late, 20, 1020, usize::MAX).is_none());
        assert_eq!(backlog.buffered(1), 1000);
    }
}
