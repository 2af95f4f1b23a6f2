//! Repeats what was lost. The engine does so too, but one packet per acknowledgement; and while it has nothing new to
//! send, its window does not grow again after a timeout. A lost burst of some hundred packets would then take as many
//! round trips, which people see as a transfer that freezes near its end.
//!
//! This looks at the same packets and acknowledgements, and fills the holes as RFC 9260 §7.2 allows: after a loss half
//! of what was in flight may be (§7.2.3), after a timeout one packet, then twice as much each round trip (§7.2.1). What
//! is lost is found by time, as in RFC 8985 (RACK): a chunk is lost when another one that was sent somewhat later has
//! arrived. What the engine then still repeats is left out.
//!
//! Chunks of channels that give messages up are the engine's alone: it knows when.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use sansio::Time;

use crate::bundler::chunks;
use crate::packet::{self, CHUNK_HEADER, Header, kind, u16_at, u32_at};

/// Reordering within a quarter of the round trip, or so much, is no loss.
const REORDERING: Duration = Duration::from_millis(2);
/// Chunks sent later that have arrived make one lost, whatever the time (RFC 9260 §7.2.4 counts the same).
const OVERTAKEN: u32 = 3;
/// The flag of DATA that asks for an immediate acknowledgement (RFC 9260 §3.3.1).
const IMMEDIATELY: u8 = 0b1000;

/// The DATA chunks that are sent and not acknowledged, and what is known of their fate.
#[derive(Debug)]
pub(crate) struct Repair {
    header: Header,
    mtu: usize,
    /// The number of `sent[0]`. Numbers are consecutive.
    first: u32,
    sent: VecDeque<Sent>,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Sent {
    chunk: Bytes,
    at: Time,
    fate: Fate,
    /// Whether `at` is that of a repetition.
    repeated: bool,
    /// Whether the engine may give it up.
    hasty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// On its way.
    Unknown,
    Arrived,
    /// To be repeated.
    Lost,
}

/// From the discovery of a loss until all that was sent before is acknowledged.
#[derive(Debug)]
struct Episode {
    until: u32,
    /// Bytes that may be in flight.
    window: usize,
    /// Whether the window grows: it began with a timeout.
    slow_start: bool,
}

impl Repair {
    /// `first` is the number of the first DATA chunk.
    pub(crate) fn new(header: Header, mtu: usize, first: u32) -> Self {
        Self { header, mtu, first, sent: VecDeque::new(), episode: None }
    }

    /// The engine made a packet. Notes its DATA; `None` if nothing is left of it, because it was all repeated already.
    pub(crate) fn watch(
        &mut self,
        now: Time,
        rtt: Duration,
        packet: Bytes,
        is_hasty: impl Fn(u16) -> bool,
    ) -> Option<Bytes> {
        if !chunks(&packet).any(|chunk| chunk[0] == kind::DATA) {
            return Some(packet);
        }
        let mut kept: Vec<Bytes> = Vec::new();
        let mut all = true;
        for chunk in chunks(&packet) {
            let keep = chunk[0] != kind::DATA || self.note(now, rtt, &chunk, &is_hasty);
            all &= keep;
            if keep {
                kept.push(chunk);
            }
        }
        match (all, kept.is_empty()) {
            (true, _) => Some(packet),
            (false, true) => None,
            (false, false) => Some(packet::assemble(self.header, kept.iter().map(|chunk| &chunk[..])).into()),
        }
    }

    /// Notes a chunk. Returns whether it should be sent.
    fn note(&mut self, now: Time, rtt: Duration, chunk: &Bytes, is_hasty: impl Fn(u16) -> bool) -> bool {
        let (Some(number), Some(stream)) = (u32_at(chunk, 4), u16_at(chunk, 8)) else { return true };
        if let Some(at) = self.index(number) {
            let sent = &mut self.sent[at];
            let just_repeated = sent.repeated && now < sent.at + rtt + rtt / 4;
            if !sent.hasty && (sent.fate == Fate::Arrived || just_repeated) {
                return false;
            }
            (sent.at, sent.repeated, sent.fate) = (now, true, Fate::Unknown);
        } else if number == self.next() {
            let hasty = is_hasty(stream);
            self.sent.push_back(Sent {
                chunk: chunk.clone(),
                at: now,
                fate: Fate::Unknown,
                repeated: false,
                hasty,
            });
        }
        true
    }

    /// A SACK chunk came.
    pub(crate) fn acknowledge(&mut self, now: Time, rtt: Duration, chunk: &[u8]) {
        let (Some(cumulative), Some(gaps)) = (u32_at(chunk, 4), u16_at(chunk, 12)) else { return };
        let through = cumulative.wrapping_sub(self.first).wrapping_add(1) as usize;
        if through > self.sent.len() {
            return; // older than what is known, or of what was never sent
        }
        let mut arrived = 0;
        // When the last sent of those that have arrived was sent.
        let mut newest: Option<Time> = None;
        let mut arrives = |sent: &mut Sent| {
            if sent.fate != Fate::Arrived {
                sent.fate = Fate::Arrived;
                arrived += sent.chunk.len();
                // What arrives soon after its repetition is the original.
                if !sent.repeated || now - sent.at > rtt / 2 {
                    newest = newest.max(Some(sent.at));
                }
            }
        };
        let mut highest = 0;
        for mut sent in self.sent.drain(..through) {
            arrives(&mut sent);
        }
        self.first = cumulative.wrapping_add(1);
        for block in 0..usize::from(gaps) {
            let (Some(start), Some(end)) = (u16_at(chunk, 16 + 4 * block), u16_at(chunk, 18 + 4 * block))
            else {
                break;
            };
            let range = usize::from(start).saturating_sub(1)..usize::from(end).min(self.sent.len());
            if range.is_empty() {
                continue;
            }
            highest = highest.max(range.end);
            self.sent.range_mut(range).for_each(&mut arrives);
        }
        if let Some(episode) = &mut self.episode {
            if episode.slow_start {
                episode.window += arrived;
            }
            if (self.first.wrapping_sub(episode.until) as i32) > 0 {
                self.episode = None;
            }
        }
        if highest > 0 {
            self.find_losses(newest, highest, rtt);
        }
    }

    /// Whatever was sent well before something that has arrived is lost; so is what many others have overtaken.
    fn find_losses(&mut self, newest: Option<Time>, highest: usize, rtt: Duration) {
        let tolerance = (rtt / 4).max(REORDERING);
        let in_flight = self.in_flight();
        let mut any = false;
        for (at, sent) in self.sent.iter_mut().enumerate().take(highest) {
            if sent.fate != Fate::Unknown || sent.hasty {
                continue;
            }
            let overtaken = !sent.repeated && highest - at > OVERTAKEN as usize;
            if overtaken || newest.is_some_and(|newest| sent.at + tolerance < newest) {
                sent.fate = Fate::Lost;
                any = true;
            }
        }
        if any && self.episode.is_none() {
            let window = (in_flight / 2).max(4 * self.mtu);
            self.episode = Some(Episode { until: self.next().wrapping_sub(1), window, slow_start: false });
        }
    }

    /// The engine's retransmission timer went off: all is lost that is not known to have arrived.
    pub(crate) fn timed_out(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.fate == Fate::Unknown && !sent.hasty) {
            (sent.fate, sent.repeated) = (Fate::Lost, false);
        }
        let until = self.next().wrapping_sub(1);
        self.episode = Some(Episode { until, window: self.mtu, slow_start: true });
    }

    /// The next chunk to repeat, if there is any and the window allows it, as a packet.
    pub(crate) fn poll(&mut self, now: Time) -> Option<Bytes> {
        let window = self.episode.as_ref()?.window;
        let at = self.sent.iter().position(|sent| sent.fate == Fate::Lost)?;
        if self.in_flight() + self.sent[at].chunk.len() > window {
            return None;
        }
        let sent = &mut self.sent[at];
        (sent.at, sent.repeated, sent.fate) = (now, true, Fate::Unknown);
        let chunk = immediate(&sent.chunk);
        Some(packet::assemble(self.header, std::iter::once(&chunk[..])).into())
    }

    /// Bytes that are on their way.
    fn in_flight(&self) -> usize {
        self.sent.iter().filter(|sent| sent.fate == Fate::Unknown).map(|sent| sent.chunk.len()).sum()
    }

    /// The number that is sent next.
    fn next(&self) -> u32 {
        self.first.wrapping_add(self.sent.len() as u32)
    }

    /// Where the chunk with this number is.
    fn index(&self, number: u32) -> Option<usize> {
        let at = number.wrapping_sub(self.first) as usize;
        (at < self.sent.len()).then_some(at)
    }
}

/// The same DATA chunk, asking for an immediate acknowledgement: RFC 9260 §6.2 allows others 200 ms for it, and when
/// nothing more is to be sent, nothing else makes them hurry.
pub(crate) fn immediate(chunk: &[u8]) -> Vec<u8> {
    let mut chunk = chunk.to_vec();
    if chunk.len() >= CHUNK_HEADER {
        chunk[1] |= IMMEDIATELY;
    }
    chunk
}
