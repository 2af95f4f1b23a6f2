use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peer::{Codec, ReceivedFrame, ReceivedPacket};

use crate::{Clock, RemoteFrame};

/// Of how many sources at most it is remembered where they began.
const MAX_SOURCES: usize = 64;
/// So many packets make up a frame, where those are counted.
const PACKETS_PER_FRAME: usize = 4;

/// What came by a track and waits to be read. It is bounded: the oldest goes first, and of pictures all that cannot be
/// shown without it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    items: VecDeque<Item>,
    bytes: usize,
    sources: Vec<Source>,
    /// Frames and packets that nobody read in time.
    pub(crate) dropped: u64,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
enum Item {
    Frame(RemoteFrame),
    Packet(ReceivedPacket),
}

/// A source whose frames came.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    rid: Option<Arc<str>>,
    /// The timestamp that came last, and how many units lie between the first one and that.
    timestamp: u32,
    elapsed: i64,
    /// Frames were dropped since the last one that was kept.
    gap: bool,
    /// Nothing can be shown until a picture comes that needs no other.
    needs_key_frame: bool,
    /// And whether it was asked for.
    asked: bool,
}

impl Inbox {
    /// Takes a frame in, or drops it.
    pub(crate) fn take_frame(&mut self, received: ReceivedFrame, clock: Clock, limits: Limits) {
        let ReceivedFrame { rid, ssrc, codec, payload_type, frame, captured, audio_level, orientation } =
            received;
        let source = self.source(ssrc, &rid, frame.timestamp);
        source.elapsed += i64::from(frame.timestamp.wrapping_sub(source.timestamp) as i32);
        source.timestamp = frame.timestamp;
        if source.needs_key_frame && !frame.key_frame {
            self.dropped += 1;
            return;
        }
        (source.needs_key_frame, source.asked) = (false, false);
        let after_gap = frame.after_gap | std::mem::take(&mut source.gap);
        let time = media_time(source.elapsed, codec);
        self.push(Item::Frame(RemoteFrame {
            data: Bytes::from(frame.data),
            codec,
            payload_type,
            time,
            timestamp: frame.timestamp,
            captured: captured.map(since_1900),
            received: clock.instant(frame.received),
            rid,
            ssrc,
            key_frame: frame.key_frame,
            after_gap,
            info: frame.info,
            audio_level,
            orientation,
        }));
        while self.items.len() > limits.frames.max(1) || self.bytes > limits.bytes {
            self.shed();
        }
    }

    /// Takes a packet in. Those who forward packets see by the numbers what is missing.
    pub(crate) fn take_packet(&mut self, received: ReceivedPacket, limits: Limits) {
        self.push(Item::Packet(received));
        let most = limits.frames.saturating_mul(PACKETS_PER_FRAME).max(1);
        while self.items.len() > most || self.bytes > limits.bytes {
            self.shed();
        }
    }

    /// The next frame.
    pub(crate) fn pop_frame(&mut self) -> Option<RemoteFrame> {
        while let Some(item) = self.pop() {
            if let Item::Frame(frame) = item {
                return Some(frame);
            }
        }
        None
    }

    /// The next packet.
    pub(crate) fn pop_packet(&mut self) -> Option<ReceivedPacket> {
        while let Some(item) = self.pop() {
            if let Item::Packet(packet) = item {
                return Some(packet);
            }
        }
        None
    }

    /// Encodings of which a key frame has to be asked for, since what came before was dropped; each is told once.
    pub(crate) fn poll_key_frame_needed(&mut self) -> Option<Option<Arc<str>>> {
        let source = self.sources.iter_mut().find(|source| source.needs_key_frame && !source.asked)?;
        source.asked = true;
        Some(source.rid.clone())
    }

    /// Nobody wants what is in here.
    pub(crate) fn clear(&mut self) {
        *self = Self { dropped: self.dropped, ..Self::default() };
    }

    fn source(&mut self, ssrc: u32, rid: &Option<Arc<str>>, timestamp: u32) -> &mut Source {
        let at = self.sources.iter().position(|source| source.ssrc == ssrc).unwrap_or_else(|| {
            if self.sources.len() == MAX_SOURCES {
                self.sources.remove(0);
            }
            self.sources.push(Source {
                ssrc,
                rid: rid.clone(),
                timestamp,
                elapsed: 0,
                gap: false,
                needs_key_frame: false,
                asked: false,
            });
            self.sources.len() - 1
        });
        &mut self.sources[at]
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        Some(item)
    }

    /// Drops the oldest, and what is worth nothing without it.
    fn shed(&mut self) {
        let Some(oldest) = self.pop() else { return };
        self.dropped += 1;
        let Item::Frame(oldest) = oldest else { return };
        let next = if oldest.codec.is_audio() {
            self.items.iter_mut().find_map(|item| item.frame_of(oldest.ssrc))
        } else {
            self.shed_until_key_frame(oldest.ssrc);
            self.items.iter_mut().find_map(|item| item.frame_of(oldest.ssrc))
        };
        if let Some(next) = next {
            next.after_gap = true;
            return;
        }
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == oldest.ssrc) {
            source.gap = true;
            source.needs_key_frame = !oldest.codec.is_audio();
        }
    }

    fn shed_until_key_frame(&mut self, ssrc: u32) {
        let Self { items, bytes, dropped, .. } = self;
        let mut found = false;
        items.retain(|item| {
            let Item::Frame(frame) = item else { return true };
            found |= frame.ssrc == ssrc && frame.key_frame;
            let keeps = found || frame.ssrc != ssrc;
            if !keeps {
                *bytes -= item.len();
                *dropped += 1;
            }
            keeps
        });
    }
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.data.len(),
            Self::Packet(packet) => packet.payload.len(),
        }
    }

    fn frame_of(&mut self, ssrc: u32) -> Option<&mut RemoteFrame> {
        match self {
            Self::Frame(frame) if frame.ssrc == ssrc => Some(frame),
            _ => None,
        }
    }
}

/// Units of a format's clock as a duration; what is before the first frame counts as with it.
fn media_time(units: i64, codec: Codec) -> Duration {
    let units = u64::try_from(units).unwrap_or(0);
    let rate = u64::from(codec.clock_rate());
    Duration::from_secs(units / rate) + Duration::from_nanos(units % rate * 1_000_000_000 / rate)
}

/// A time of NTP, 32 bits before the point and 32 behind it.
fn since_1900(ntp: u64) -> Duration {
    let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
    Duration::from_secs(ntp >> 32) + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use peer::{Frame, PacketHeader, PayloadInfo};
    use sansio::Time;

    use super::*;

    const LIMITS: Limits = Limits { frames: 4, bytes: 1000 };

    fn frame(codec: Codec, ssrc: u32, timestamp: u32, bytes: usize, key_frame: bool) -> ReceivedFrame {
        let frame = Frame {
            data: vec![0; bytes],
            timestamp,
            received: Time::ZERO,
            key_frame,
            after_gap: false,
            info: PayloadInfo::default(),
        };
        ReceivedFrame {
            rid: Some(Arc::from(ssrc.to_string())),
            ssrc,
            codec,
            payload_type: 96,
            frame,
            captured: None,
            audio_level: None,
            orientation: None,
        }
    }

    /// Takes in pictures of one source, whose numbers are their timestamps, `!` at those that need no other.
    fn take(inbox: &mut Inbox, ssrc: u32, pictures: &str) {
        for word in pictures.split(' ') {
            let number = word.trim_end_matches('!').parse().unwrap();
            let frame = frame(Codec::Vp8, ssrc, number, 10, word.ends_with('!'));
            inbox.take_frame(frame, Clock::start(), LIMITS);
        }
    }

    /// What is read, `~` at those with a gap before them.
    fn read(inbox: &mut Inbox) -> String {
        let read = std::iter::from_fn(|| inbox.pop_frame());
        let words: Vec<String> =
            read.map(|it| format!("{}{}", if it.after_gap { "~" } else { "" }, it.timestamp)).collect();
        words.join(" ")
    }

    #[test]
    fn sound_that_nobody_reads_goes_by_the_piece() {
        let mut inbox = Inbox::default();
        for timestamp in 0..6 {
            inbox.take_frame(frame(Codec::Opus, 1, timestamp, 10, true), Clock::start(), LIMITS);
        }
        assert_eq!((read(&mut inbox).as_str(), inbox.dropped), ("~2 3 4 5", 2));
        assert_eq!(inbox.poll_key_frame_needed(), None);
    }

    #[test]
    fn pictures_go_up_to_the_next_that_needs_no_other() {
        let mut inbox = Inbox::default();
        take(&mut inbox, 1, "0! 1 2! 3 4");
        assert_eq!((inbox.dropped, inbox.bytes), (2, 30));
        assert_eq!(read(&mut inbox), "~2 3 4");
        assert_eq!(inbox.poll_key_frame_needed(), None);
    }

    #[test]
    fn without_such_a_one_it_is_asked_for_once_and_waited_for() {
        let mut inbox = Inbox::default();
        take(&mut inbox, 1, "0! 1 2 3 4 5");
        assert_eq!((inbox.dropped, inbox.bytes), (6, 0));
        assert_eq!(inbox.poll_key_frame_needed(), Some(Some("1".into())));
        assert_eq!(inbox.poll_key_frame_needed(), None);
        take(&mut inbox, 1, "6 7! 8");
        assert_eq!((read(&mut inbox).as_str(), inbox.dropped), ("~7 8", 7));
    }

    #[test]
    fn one_layer_does_not_take_the_others_along() {
        let mut inbox = Inbox::default();
        take(&mut inbox, 1, "0! 1");
        take(&mut inbox, 2, "10! 11 12");
        assert_eq!((inbox.dropped, inbox.poll_key_frame_needed()), (2, Some(Some("1".into()))));
        assert_eq!(read(&mut inbox), "10 11 12");
    }

    #[test]
    fn bytes_are_bounded_like_frames() {
        let mut inbox = Inbox::default();
        for timestamp in 0..3 {
            inbox.take_frame(frame(Codec::Vp8, 1, timestamp, 600, true), Clock::start(), LIMITS);
        }
        assert_eq!((inbox.bytes, inbox.dropped), (600, 2));
        // Even one that is larger than all that may wait does no harm.
        inbox.take_frame(frame(Codec::Vp8, 1, 3, 2000, true), Clock::start(), LIMITS);
        assert_eq!((inbox.bytes, inbox.items.len(), inbox.dropped), (0, 0, 4));
    }

    #[test]
    fn packets_go_one_by_one_and_frames_before_them_are_passed_over() {
        let mut inbox = Inbox::default();
        inbox.take_frame(frame(Codec::Vp8, 1, 0, 10, true), Clock::start(), LIMITS);
        for sequence_number in 0..20 {
            let packet = ReceivedPacket {
                rid: None,
                ssrc: 1,
                header: PacketHeader { sequence_number, ..PacketHeader::default() },
                payload: vec![0; 5],
                audio_level: None,
                orientation: None,
            };
            inbox.take_packet(packet, LIMITS);
        }
        let read: Vec<u16> =
            std::iter::from_fn(|| inbox.pop_packet()).map(|it| it.header.sequence_number).collect();
        assert_eq!((read, inbox.bytes), ((4..20).collect(), 0));
    }

    #[test]
    fn the_time_of_media_goes_on_when_timestamps_begin_anew_at_zero() {
        let mut inbox = Inbox::default();
        for (timestamp, time) in [(u32::MAX - 44_999, 0), (1, 500), (90_001, 1500), (45_001, 1000)] {
            inbox.take_frame(frame(Codec::Vp8, 1, timestamp, 10, true), Clock::start(), LIMITS);
            assert_eq!(inbox.pop_frame().unwrap().time.as_micros() / 100, time * 10, "{timestamp}");
        }
    }

    #[test]
    fn times_of_ntp_are_seconds_and_their_parts() {
        assert_eq!(since_1900(5 << 32 | 1 << 31), Duration::from_millis(5500));
    }
}
