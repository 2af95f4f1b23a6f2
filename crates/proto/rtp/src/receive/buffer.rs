use std::time::Duration;

use sansio::{Time, Timers};

use crate::codecs::{Codec, PayloadInfo};
use crate::packet::Header;
use crate::receive::lost::Lost;
use crate::receive::store::{Store, Stored, entrance, frame_end, hole};
use crate::sequence::Unroller;

/// How a [`JitterBuffer`] behaves.
#[derive(Clone, Debug)]
pub struct BufferConfig {
    /// What the source sends.
    pub codec: Codec,
    /// How long a missing packet is waited for, from when the first one after it came: 400 ms. What is played live has
    /// less time, what is recorded more.
    pub patience: Duration,
    /// Packets that wait at most: 2,048.
    pub max_packets: usize,
    /// How often a picture that needs no other is asked for while there is none: 500 ms.
    pub key_frame_interval: Duration,
}

impl BufferConfig {
    /// For a format, with the numbers that stand beside the fields.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            patience: Duration::from_millis(400),
            max_packets: 2048,
            key_frame_interval: Duration::from_millis(500),
        }
    }
}

/// Puts the packets of a source into their order, and frames together out of them.
///
/// Pictures begin with one that needs no other, and after a loss that was not made up for they begin again with one:
/// what comes out can be decoded, as far as the format shows it.
#[derive(Debug)]
pub struct JitterBuffer {
    config: BufferConfig,
    numbers: Unroller,
    packets: Store,
    /// The number that comes next; `None` before the first packet.
    next: Option<u64>,
    lost: Lost,
    timers: Timers<Timer>,
    /// Whether anything came out, or was given up.
    begun: bool,
    /// Whether pictures are left out until one comes that needs no other.
    needs_key_frame: bool,
    asks_for_key_frame: bool,
    /// Whether anything came since a picture was asked for.
    heard: bool,
    /// What is to be asked for again.
    asks: Vec<u16>,
    round_trip: Duration,
    gap: bool,
    /// The number after that of a packet from nowhere: two in a row are a source that counts anew.
    astray: Option<u16>,
    counters: BufferCounters,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    GiveUp,
    KeyFrame,
}

/// What a [`JitterBuffer`] tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BufferEvent {
    /// A frame, in its order.
    FrameReceived(Frame),
    /// These sequence numbers are missing: to be asked for by NACK.
    PacketsLost(Vec<u16>),
    /// Nothing can be shown until a picture comes that needs no other: to be asked for by PLI or FIR.
    KeyFrameNeeded,
}

/// A frame as the encoder made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its bytes.
    pub data: Vec<u8>,
    /// When it was captured, in units of the format's clock; modulo 2^32.
    pub timestamp: u32,
    /// When the last of its packets came.
    pub received: Time,
    /// Whether it needs no other.
    pub key_frame: bool,
    /// Whether others before it were lost.
    pub after_gap: bool,
    /// What its first payload said.
    pub info: PayloadInfo,
}

/// What a [`JitterBuffer`] counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferCounters {
    /// Frames that came out.
    pub frames: u64,
    /// Packets that came twice.
    pub repeated: u64,
    /// Packets that came when nobody waited for them any more.
    pub late: u64,
    /// Packets that came after they had been asked for.
    pub recovered: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that were left out since what they needed was lost, or since they were no payloads of the format.
    pub dropped: u64,
}

/// A number so far ahead, or so far behind, is that of a source which counts anew (RFC 3550 §A.1).
const ASTRAY: u64 = 3000;
/// So many packets may be overtaken by the one that comes first.
const EARLY: u64 = 64;
/// How long the beginning of the first picture is waited for: no longer than packets overtake each other, since who
/// comes late has to ask for a whole picture.
const BEGINNING: Duration = Duration::from_millis(50);
/// Sequence numbers that wait to be asked for, at most.
const MAX_ASKS: usize = 2000;

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(config: BufferConfig) -> Self {
        let needs_key_frame = !config.codec.is_audio();
        Self {
            config,
            numbers: Unroller::default(),
            packets: Store::new(),
            next: None,
            begun: false,
            lost: Lost::default(),
            timers: Timers::default(),
            needs_key_frame,
            asks_for_key_frame: false,
            heard: false,
            asks: Vec::new(),
            round_trip: Duration::from_millis(100),
            gap: false,
            astray: None,
            counters: BufferCounters::default(),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> BufferCounters {
        self.counters
    }

    /// Takes a packet of the source, or what a retransmission or a redundant copy says one was.
    pub fn handle_packet(&mut self, now: Time, header: &Header, payload: &[u8]) {
        self.heard = true;
        let number = self.numbers.peek(header.sequence_number);
        let next = *self.next.get_or_insert(number);
        if self.is_astray(number, next) {
            if self.astray.replace(header.sequence_number.wrapping_add(1)) != Some(header.sequence_number) {
                self.counters.late += 1;
                return;
            }
            return self.restart(now, header, payload);
        }
        self.astray = None;
        if number < next {
            // The first packet to come was not the first that was sent, and nothing has come out yet.
            if self.begun || next - number > EARLY {
                self.counters.late += 1;
                return;
            }
            self.next = Some(number);
            self.lost.add(now, number + 1, next);
        }
        if self.packets.contains_key(&number) {
            self.counters.repeated += 1;
            return;
        }
        if self.lost.remove(number) == Some(true) {
            self.counters.recovered += 1;
        }
        let expected = self.numbers.highest().map_or(number, |highest| highest + 1);
        self.numbers.unroll(header.sequence_number);
        let info = self.config.codec.inspect(payload).ok();
        let stored = Stored {
            timestamp: header.timestamp,
            marker: header.marker,
            payload: payload.to_vec(),
            arrived: now,
            info,
        };
        self.packets.insert(number, stored);
        let too_many = number > expected && !self.lost.add(now, expected.max(next), number);
        if too_many || self.packets.len() > self.config.max_packets {
            self.give_up(now);
        }
        self.look_at_head();
    }

    /// How long an answer takes: 100 ms, until this says better.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self, now: Time) -> Option<BufferEvent> {
        loop {
            if std::mem::take(&mut self.asks_for_key_frame) {
                return Some(BufferEvent::KeyFrameNeeded);
            }
            if !self.asks.is_empty() {
                return Some(BufferEvent::PacketsLost(std::mem::take(&mut self.asks)));
            }
            let next = self.next?;
            if self.lacks_beginning() {
                return None;
            }
            let end = frame_end(&self.packets, next, self.config.codec.is_audio())?;
            let taken = self.take(end);
            self.look_at_head();
            if let Some(frame) = self.assemble(now, taken) {
                self.counters.frames += 1;
                return Some(BufferEvent::FrameReceived(frame));
            }
        }
    }

    /// Asks for what is missing, and gives up what was waited for too long.
    pub fn handle_timeout(&mut self, now: Time) {
        let due = self.lost.due(now, self.round_trip);
        // An owner who does not listen is told the latest.
        if self.asks.len() + due.len() > MAX_ASKS {
            self.asks.clear();
        }
        self.asks.extend(due);
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                // What is whole waits for its owner, not for the network; he looks again when he has taken it.
                Timer::GiveUp if self.is_stuck() => {
                    self.give_up(now);
                    self.look_at_head();
                }
                Timer::GiveUp => {}
                // A source that is silent is left alone.
                Timer::KeyFrame if self.needs_key_frame && std::mem::take(&mut self.heard) => {
                    self.ask_for_key_frame(now);
                }
                Timer::KeyFrame => {}
            }
        }
    }

    /// When [`JitterBuffer::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.timers.next(), self.lost.next()].into_iter().flatten().min()
    }

    fn is_astray(&self, number: u64, next: u64) -> bool {
        let highest = self.numbers.highest().unwrap_or(number);
        number > highest + ASTRAY || number + ASTRAY < next
    }

    /// The source counts anew.
    fn restart(&mut self, now: Time, header: &Header, payload: &[u8]) {
        self.counters.dropped += self.packets.len() as u64;
        self.packets.clear();
        self.lost = Lost::default();
        self.numbers = Unroller::default();
        self.next = None;
        self.begun = false;
        self.astray = None;
        self.begin_again(now);
        self.handle_packet(now, header, payload);
    }

    /// After a loss sound goes on, and pictures begin with one that needs no other.
    fn begin_again(&mut self, now: Time) {
        self.gap = true;
        if !self.config.codec.is_audio() {
            self.needs_key_frame = true;
            self.ask_for_key_frame(now);
        }
    }

    fn ask_for_key_frame(&mut self, now: Time) {
        self.asks_for_key_frame = true;
        self.timers.set(Timer::KeyFrame, now + self.config.key_frame_interval);
    }

    /// Goes on behind what is missing: where a decoder can begin, or behind all that is there.
    fn give_up(&mut self, now: Time) {
        self.begun = true;
        let Some(next) = self.next else { return };
        let is_audio = self.config.codec.is_audio();
        let behind = self.packets.last_key_value().map_or(next, |(last, _)| last + 1);
        let entrance = entrance(&self.packets, next + 1, is_audio);
        let kept = self.packets.split_off(&entrance.unwrap_or(behind));
        let to = entrance.unwrap_or(behind);
        self.counters.dropped += self.packets.len() as u64;
        self.counters.lost += to - next - self.packets.len() as u64;
        self.packets = kept;
        self.next = Some(to);
        self.lost.forget_before(to);
        self.gap = true;
        if !is_audio {
            self.needs_key_frame = true;
            if entrance.is_none() {
                self.ask_for_key_frame(now);
            }
        }
    }

    /// Waits for what is missing, if what comes after it is there.
    fn look_at_head(&mut self) {
        let Some(next) = self.next else { return };
        let lacks_beginning = self.lacks_beginning();
        let patience = if lacks_beginning { BEGINNING } else { self.config.patience };
        let since = if lacks_beginning { Some(next) } else { hole(&self.packets, next) };
        let since = since.and_then(|hole| self.packets.range(hole..).map(|(_, packet)| packet.arrived).min());
        match since {
            Some(since) => self.timers.set(Timer::GiveUp, since + patience),
            None => self.timers.stop(Timer::GiveUp),
        }
    }

    /// Whether nothing can come out.
    fn is_stuck(&self) -> bool {
        let end = self.next.and_then(|next| frame_end(&self.packets, next, self.config.codec.is_audio()));
        end.is_none() || self.lacks_beginning()
    }

    /// Whether the first packet is in the middle of a picture, and nothing has come out yet.
    fn lacks_beginning(&self) -> bool {
        let first = self.next.filter(|_| !self.begun).and_then(|next| self.packets.get(&next));
        first.is_some_and(|first| !first.payload.is_empty() && !first.info.is_some_and(|info| info.starts))
    }

    /// The packets up to a number, without it.
    fn take(&mut self, end: u64) -> Store {
        self.begun = true;
        let rest = self.packets.split_off(&end);
        self.next = Some(end);
        std::mem::replace(&mut self.packets, rest)
    }

    /// A frame out of all its packets; `None` if it is left out.
    fn assemble(&mut self, now: Time, packets: Store) -> Option<Frame> {
        // Padding only is no frame; with it numbers go on, that is all.
        let mut pieces = packets.values().filter(|packet| !packet.payload.is_empty()).peekable();
        let first = *pieces.peek()?;
        let is_audio = self.config.codec.is_audio();
        let info = first.info.unwrap_or_default();
        let key_frame = is_audio
            || info.starts && packets.values().any(|packet| packet.info.is_some_and(|info| info.key_frame));
        let mut data = Vec::new();
        let whole =
            self.config.codec.depacketize(pieces.map(|packet| packet.payload.as_slice()), &mut data).is_ok();
        if !whole || self.needs_key_frame && !key_frame {
            self.counters.dropped += packets.len() as u64;
            if !is_audio && (!self.needs_key_frame || self.timers.get(Timer::KeyFrame).is_none()) {
                self.begin_again(now);
            }
            return None;
        }
        self.needs_key_frame = false;
        self.timers.stop(Timer::KeyFrame);
        let received = packets.values().map(|packet| packet.arrived).max().unwrap_or(now);
        let after_gap = std::mem::take(&mut self.gap);
        Some(Frame { data, timestamp: first.timestamp, received, key_frame, after_gap, info })
    }
}
