//! What comes from the peer: numbers are ticked off, fragments put together, messages brought in order and kept until
//! they are read.

mod acknowledgement;
mod interleaved;
mod message;
mod plain;
mod window;

use std::collections::{BTreeMap, VecDeque};

use sansio::{Time, Timers};

use self::acknowledgement::Acknowledgement;
use self::interleaved::Interleaved;
pub(crate) use self::message::Message;
use self::message::{Assembled, Flaw};
use self::plain::Plain;
use self::window::Window;
use crate::DCEP;
use crate::chunk::{Data, Forward, flag};
use crate::packet::Writer;
use crate::serial::{START, unroll16, unroll32};
use crate::timer::Timer;

/// The longest DCEP message: a label and a protocol of 65,535 bytes each.
const LONGEST_DCEP: usize = 12 + 2 * 65_535;
/// What a message costs beyond its bytes.
const OVERHEAD: usize = 64;

/// The receiving half of an association.
#[derive(Debug)]
pub(crate) struct Receiver {
    acknowledgement: Acknowledgement,
    reassembly: Reassembly,
    /// Boxed, as most have few: a node of the map has room for eleven.
    streams: BTreeMap<u16, Box<Stream>>,
    /// Streams that have something to read, in the order in which they got it.
    readable: VecDeque<u16>,
    window: Window,
    /// Bytes of messages that can be read, and of all others.
    ready: usize,
    waiting: usize,
    longest: usize,
}

#[derive(Debug)]
enum Reassembly {
    Plain(Plain),
    Interleaved(Interleaved),
}

#[derive(Debug)]
struct Stream {
    /// The number of the ordered message that is read next.
    next: u64,
    /// Where the numbers of unordered messages are, with interleaving.
    unordered: u64,
    /// Whole messages that come after one that is not.
    early: BTreeMap<u64, Message>,
    inbox: VecDeque<Message>,
    /// The length of the last message: the next is guessed to be as long.
    usual: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self { next: START, unordered: START, early: BTreeMap::new(), inbox: VecDeque::new(), usual: 0 }
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    /// It came before.
    Duplicate,
    /// There is no room, or it is too far ahead.
    Refused,
    /// It contradicts what came before.
    Contradiction,
    /// The message is longer than was agreed.
    TooLong,
}

/// What the owner has agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The peer's first TSN.
    pub(crate) first: u32,
    pub(crate) interleaved: bool,
    /// The receive window, at first and at most.
    pub(crate) window: usize,
    pub(crate) largest_window: usize,
    /// The longest message.
    pub(crate) longest: usize,
}

impl Receiver {
    pub(crate) fn new(terms: Terms) -> Self {
        let reassembly = match terms.interleaved {
            true => Reassembly::Interleaved(Interleaved::default()),
            false => Reassembly::Plain(Plain::default()),
        };
        Self {
            acknowledgement: Acknowledgement::new(terms.first),
            reassembly,
            streams: BTreeMap::new(),
            readable: VecDeque::new(),
            window: Window::new(terms.window, terms.largest_window),
            ready: 0,
            waiting: 0,
            longest: terms.longest,
        }
    }

    pub(crate) fn is_interleaved(&self) -> bool {
        matches!(self.reassembly, Reassembly::Interleaved(_))
    }

    /// Everything up to this number has come, or was given up by the peer.
    pub(crate) fn cumulative(&self) -> u64 {
        self.acknowledgement.cumulative()
    }

    /// Where a number of the peer's lies.
    pub(crate) fn place(&self, tsn: u32) -> u64 {
        unroll32(self.acknowledgement.cumulative(), tsn)
    }

    /// Takes a DATA or I-DATA chunk.
    pub(crate) fn handle_data(&mut self, now: Time, data: &Data<'_>) -> Verdict {
        let tsn = unroll32(self.acknowledgement.cumulative(), data.tsn);
        if self.acknowledgement.has(tsn) {
            self.acknowledgement.repeated(data.tsn);
            return Verdict::Duplicate;
        }
        let length = data.payload.len();
        if !self.window.takes(self.held(), self.ready, length, self.longest)
            || !self.acknowledgement.takes(tsn)
        {
            self.acknowledgement.hurry();
            return Verdict::Refused;
        }
        let stream = self.streams.entry(data.stream).or_default();
        let guess = stream.usual;
        let outcome = match &mut self.reassembly {
            Reassembly::Plain(plain) => {
                let number = unroll16(stream.next, data.message as u16);
                plain.insert(tsn, number, data, guess)
            }
            Reassembly::Interleaved(interleaved) => {
                let near = if data.has(flag::UNORDERED) { stream.unordered } else { stream.next };
                interleaved.insert(unroll32(near, data.message), data, guess)
            }
        };
        self.acknowledgement.arrived(tsn, data.has(flag::IMMEDIATELY));
        self.waiting += length;
        self.window.arrived(now, length, self.waiting);
        match outcome {
            Ok(Some(assembled)) => self.file(assembled),
            Ok(None) => self.check_length(),
            Err(Flaw { dropped }) => {
                self.waiting = self.waiting.saturating_sub(dropped);
                Verdict::Contradiction
            }
        }
    }

    /// What all that was not read costs.
    fn held(&self) -> usize {
        let cost = match &self.reassembly {
            Reassembly::Plain(plain) => plain.cost(),
            Reassembly::Interleaved(interleaved) => interleaved.cost(),
        };
        self.ready + self.waiting + cost
    }

    /// Whether what is put together now is not too long already.
    fn check_length(&self) -> Verdict {
        let longest = match &self.reassembly {
            Reassembly::Plain(plain) => plain.growing(),
            Reassembly::Interleaved(interleaved) => interleaved.growing(),
        };
        if longest > self.longest.max(LONGEST_DCEP) { Verdict::TooLong } else { Verdict::Taken }
    }

    /// A message is whole: it can be read, or waits for those before it.
    fn file(&mut self, assembled: Assembled) -> Verdict {
        let Assembled { stream: id, unordered, number, message } = assembled;
        let length = message.data.len();
        let limit = if message.protocol == DCEP { self.longest.max(LONGEST_DCEP) } else { self.longest };
        if length > limit {
            return Verdict::TooLong;
        }
        let stream = self.streams.entry(id).or_default();
        stream.usual = length;
        if unordered {
            stream.unordered = stream.unordered.max(number);
            self.offer(id, message);
            return Verdict::Taken;
        }
        if number < stream.next || stream.early.contains_key(&number) {
            self.waiting = self.waiting.saturating_sub(length);
            return Verdict::Contradiction;
        }
        if number > stream.next {
            stream.early.insert(number, message);
            self.waiting += OVERHEAD;
            return Verdict::Taken;
        }
        stream.next += 1;
        self.offer(id, message);
        self.catch_up(id);
        Verdict::Taken
    }

    /// Hands over what waited for its turn.
    fn catch_up(&mut self, id: u16) {
        while let Some(stream) = self.streams.get_mut(&id) {
            let Some(message) = stream.early.remove(&stream.next) else { return };
            stream.next += 1;
            self.waiting = self.waiting.saturating_sub(OVERHEAD);
            self.offer(id, message);
        }
    }

    fn offer(&mut self, id: u16, message: Message) {
        let length = message.data.len();
        self.waiting = self.waiting.saturating_sub(length);
        self.ready += length + OVERHEAD;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.inbox.push_back(message);
        if stream.inbox.len() == 1 {
            self.readable.push_back(id);
        }
    }

    /// The peer has given messages up (RFC 3758 §3.6). Returns whether it makes sense.
    pub(crate) fn handle_forward(&mut self, forward: &Forward<'_>) -> bool {
        let cumulative = unroll32(self.acknowledgement.cumulative(), forward.cumulative);
        self.acknowledgement.hurry();
        if cumulative <= self.acknowledgement.cumulative() {
            return true;
        }
        if !self.acknowledgement.forward(cumulative) {
            return false;
        }
        if let Reassembly::Plain(plain) = &mut self.reassembly {
            // Beyond what was named: what had come there of a message that is given up is of no use either.
            let through = self.acknowledgement.cumulative();
            self.waiting = self.waiting.saturating_sub(plain.forget_through(through));
        }
        for skipped in forward.entries() {
            let Some(stream) = self.streams.get_mut(&skipped.stream) else {
                self.skip_unknown(skipped.stream, skipped.unordered, skipped.message);
                continue;
            };
            let number = match &mut self.reassembly {
                Reassembly::Plain(_) => unroll16(stream.next, skipped.message as u16),
                Reassembly::Interleaved(interleaved) => {
                    let near = if skipped.unordered { stream.unordered } else { stream.next };
                    let number = unroll32(near, skipped.message);
                    let dropped = interleaved.forget(skipped.stream, skipped.unordered, number);
                    self.waiting = self.waiting.saturating_sub(dropped);
                    number
                }
            };
            if !skipped.unordered {
                self.skip(skipped.stream, number);
            }
        }
        true
    }

    /// A message was skipped on a stream on which nothing has come yet.
    fn skip_unknown(&mut self, id: u16, unordered: bool, message: u32) {
        let number = match self.is_interleaved() {
            true => unroll32(START, message),
            false => unroll16(START, message as u16),
        };
        if !unordered && number >= START {
            self.streams.entry(id).or_default().next = number + 1;
        }
    }

    /// Ordered messages up to this one do not come any more.
    fn skip(&mut self, id: u16, number: u64) {
        while let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.next <= number) {
            match stream.early.first_key_value() {
                Some((&first, _)) if first <= number => stream.next = first,
                _ => stream.next = number + 1,
            }
            self.catch_up(id);
        }
    }

    /// Takes a message of the stream that has waited longest of those that `may` be read.
    pub(crate) fn read_next(&mut self, now: Time, may: impl Fn(u16) -> bool) -> Option<(u16, Message)> {
        let at = self.readable.iter().position(|id| may(*id))?;
        let id = self.readable.remove(at)?;
        let message = self.read(now, id)?;
        if self.streams.get(&id).is_some_and(|stream| !stream.inbox.is_empty()) {
            self.readable.push_back(id);
        }
        Some((id, message))
    }

    fn read(&mut self, now: Time, id: u16) -> Option<Message> {
        let message = self.streams.get_mut(&id)?.inbox.pop_front()?;
        self.ready -= message.data.len() + OVERHEAD;
        self.window.read(now, message.data.len());
        Some(message)
    }

    /// All that can be read of a stream, whoever waits for what.
    pub(crate) fn read_all(&mut self, now: Time, id: u16) -> Vec<Message> {
        self.readable.retain(|other| *other != id);
        std::iter::from_fn(|| self.read(now, id)).collect()
    }

    /// All that can be read.
    pub(crate) fn streams_to_read(&self) -> Vec<u16> {
        self.readable.iter().copied().collect()
    }

    /// The peer begins anew on a stream (RFC 6525 §5.2.2). What was not read is lost.
    pub(crate) fn reset(&mut self, id: u16) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.readable.retain(|other| *other != id);
        let bytes = |message: &Message| message.data.len() + OVERHEAD;
        self.ready -= stream.inbox.iter().map(bytes).sum::<usize>();
        self.waiting = self.waiting.saturating_sub(stream.early.values().map(bytes).sum());
        if let Reassembly::Interleaved(interleaved) = &mut self.reassembly {
            self.waiting = self.waiting.saturating_sub(interleaved.forget_all(id));
        }
    }

    /// The streams on which something came.
    pub(crate) fn streams(&self) -> Vec<u16> {
        self.streams.keys().copied().collect()
    }

    /// A packet with DATA was taken in.
    pub(crate) fn handle_packet(&mut self, now: Time, timers: &mut Timers<Timer>) {
        if self.acknowledgement.packet() {
            timers.set_earlier(Timer::Acknowledgement, now + acknowledgement::DELAY);
        }
    }

    /// A SACK wants to be sent: it has been delayed for long enough, or the peer must hear that there is room again.
    pub(crate) fn hurry(&mut self) {
        self.acknowledgement.hurry();
    }

    /// Whether the peer was last told that there is little room, and now there is much.
    pub(crate) fn has_reopened(&self) -> bool {
        self.window.has_reopened(self.held())
    }

    /// Whether a SACK should be sent now.
    pub(crate) fn wants_sack(&self) -> bool {
        self.acknowledgement.is_due() || self.has_reopened()
    }

    /// Whether a SACK may go along with something else.
    pub(crate) fn may_sack(&self) -> bool {
        self.acknowledgement.is_pending() || self.wants_sack()
    }

    /// Writes a SACK.
    pub(crate) fn write_sack(&mut self, writer: &mut Writer<'_>, timers: &mut Timers<Timer>) {
        let window = self.window.offer(self.held(), self.ready, self.longest);
        self.acknowledgement.write(window, writer);
        timers.stop(Timer::Acknowledgement);
    }

    /// Whether the last SACK had no room for all that there is to tell.
    pub(crate) fn has_more(&self) -> bool {
        self.acknowledgement.has_more()
    }

    /// Writes some of the rest.
    pub(crate) fn write_more(&mut self, writer: &mut Writer<'_>) {
        let window = self.window.offer(self.held(), self.ready, self.longest);
        self.acknowledgement.write_more(window, writer);
    }

    /// The round trip, for the window to grow by.
    pub(crate) fn set_rtt(&mut self, rtt: std::time::Duration) {
        self.window.set_rtt(rtt);
    }
}
