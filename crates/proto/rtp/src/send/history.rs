use std::collections::VecDeque;
use std::time::Duration;

use sansio::Time;

use crate::layout::{Layout, u16_at};
use crate::packet::Header;
use crate::sequence::Unroller;

/// How much a [`History`] keeps.
#[derive(Clone, Copy, Debug)]
pub struct HistoryConfig {
    /// Packets at most: 1,024.
    pub packets: usize,
    /// For how long at most: 2 s.
    pub age: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { packets: 1024, age: Duration::from_secs(2) }
    }
}

/// What a source has sent, for those who missed it (RFC 4588).
#[derive(Debug)]
pub struct History {
    config: HistoryConfig,
    numbers: Unroller,
    /// In the order of their numbers.
    sent: VecDeque<Sent>,
    /// Memory of packets that are no more, for those that come.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Sent {
    number: u64,
    bytes: Vec<u8>,
    at: Time,
    /// Whether it has left, so that somebody may miss it.
    left: bool,
    again: Option<Time>,
}

/// Pieces of memory that are kept for those that come.
const SPARE: usize = 64;

impl History {
    /// An empty history.
    pub fn new(config: HistoryConfig) -> Self {
        Self { config, numbers: Unroller::default(), sent: VecDeque::new(), spare: Vec::new() }
    }

    /// Keeps a packet that is sent, as it is before it is protected. What is no packet is left out, and so is what is
    /// kept already, or older than all that is.
    pub fn keep(&mut self, now: Time, packet: &[u8]) {
        if Layout::parse(packet).is_err() {
            return;
        }
        self.write(now, u16_at(packet, 2), packet.len(), &mut |place| {
            place.copy_from_slice(packet);
            packet.len()
        });
        self.depart(u16_at(packet, 2));
    }

    /// The same for a packet that is yet to leave ([`History::depart`]), of at most `max` bytes, that `fill` writes where it
    /// is kept; it returns how many it has, and 0 if it is not to be kept. Says whether it is.
    pub fn write(
        &mut self,
        now: Time,
        sequence_number: u16,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        let number = self.numbers.peek(sequence_number);
        // Mostly it is the newest. Who forwards sends late what came late.
        let place = match self.sent.back() {
            Some(last) if last.number >= number => {
                self.sent.binary_search_by_key(&number, |sent| sent.number).err().filter(|place| *place > 0)
            }
            _ => Some(self.sent.len()),
        };
        let Some(mut place) = place else { return false };
        let too_old = |sent: &mut Sent| now.since(sent.at) > self.config.age;
        while self.sent.len() >= self.config.packets.max(1) || self.sent.front_mut().is_some_and(too_old) {
            let old = self.sent.pop_front();
            self.spare.extend(old.filter(|_| self.spare.len() < SPARE).map(|sent| sent.bytes));
            place = place.saturating_sub(1);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        // What is left in it is written over.
        bytes.resize(max, 0);
        let used = fill(&mut bytes).min(max);
        bytes.truncate(used);
        if Layout::parse(&bytes).is_err() {
            return false;
        }
        self.numbers.unroll(sequence_number);
        self.sent.insert(place, Sent { number, bytes, at: now, left: false, again: None });
        true
    }

    /// The packet of a number leaves: from now on it can be missed.
    pub fn depart(&mut self, sequence_number: u16) {
        let number = self.numbers.peek(sequence_number);
        if let Ok(at) = self.sent.binary_search_by_key(&number, |sent| sent.number) {
            self.sent[at].left = true;
        }
    }

    /// The packet of a number, if it is still there.
    pub fn get(&self, sequence_number: u16) -> Option<&[u8]> {
        let number = self.numbers.peek(sequence_number);
        let at = self.sent.binary_search_by_key(&number, |sent| sent.number).ok()?;
        Some(&self.sent[at].bytes)
    }

    /// The largest of the latest packets that have left and have at most so many bytes: a probe made of it is of some use.
    /// One that is yet to leave would make those before it look lost.
    pub fn largest(&self, bytes: usize) -> Option<&[u8]> {
        const LATEST: usize = 32;
        let left = self.sent.iter().rev().filter(|sent| sent.left).take(LATEST);
        let fits = left.filter(|sent| sent.bytes.len() <= bytes);
        fits.map(|sent| sent.bytes.as_slice()).max_by_key(|packet| packet.len())
    }

    /// The packet of a number, if it has left, is still there and was not sent again within the last round trip: the answer
    /// is on its way then.
    pub fn missed(&mut self, now: Time, sequence_number: u16, round_trip: Duration) -> Option<&[u8]> {
        let number = self.numbers.peek(sequence_number);
        let at = self.sent.binary_search_by_key(&number, |sent| sent.number).ok()?;
        let age = self.config.age;
        let sent = &mut self.sent[at];
        if !sent.left
            || now.since(sent.at) > age
            || sent.again.is_some_and(|again| now.since(again) < round_trip)
        {
            return None;
        }
        sent.again = Some(now);
        Some(&sent.bytes)
    }

    /// Writes a retransmission of the packet of a number, under a source, payload type and number of its own
    /// (RFC 4588 §4). Header extensions are those of the packet. Returns how many bytes of the buffer it has; `None` as
    /// [`History::missed`], or if there is no room.
    pub fn retransmit(
        &mut self,
        now: Time,
        sequence_number: u16,
        round_trip: Duration,
        own: impl FnOnce() -> Header,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let packet = self.missed(now, sequence_number, round_trip)?;
        let header = Layout::parse(packet).ok()?.header_end;
        let place = buffer.get_mut(..packet.len() + 2)?;
        let own = own();
        place[..header].copy_from_slice(&packet[..header]);
        place[1] = packet[1] & 0x80 | own.payload_type & 0x7f;
        place[2..4].copy_from_slice(&own.sequence_number.to_be_bytes());
        // RFC 4588 §4: the timestamp is the original's.
        place[8..12].copy_from_slice(&own.ssrc.to_be_bytes());
        place[header..header + 2].copy_from_slice(&packet[2..4]);
        place[header + 2..].copy_from_slice(&packet[header..]);
        Some(place.len())
    }

    /// Packets that are kept.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}
