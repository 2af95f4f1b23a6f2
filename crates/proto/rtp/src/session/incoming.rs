use std::sync::Arc;
use std::time::Duration;

use sansio::Time;

use crate::codecs::Codec;
use crate::extension::{AudioLevel, VideoOrientation};
use crate::packet::Header;
use crate::receive::{BufferConfig, BufferCounters, BufferEvent, JitterBuffer, Statistics};
use crate::session::asking::Asking;
use crate::session::event::{Event, Stream};
use crate::session::gaps::Gaps;
use crate::session::terms::{Delivery, Feedback, Format};

/// A source of the other side's.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: Stream,
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) feedback: Feedback,
    /// The source of its retransmissions, once it is known.
    pub(super) repair: Option<u32>,
    pub(super) cname: Option<Box<str>>,
    pub(super) statistics: Statistics,
    way: Way,
    patience: Duration,
    round_trip: Duration,
    /// What is to be asked for again.
    pub(super) lost: Vec<u16>,
    pub(super) asking: Asking,
    /// When something was heard of it.
    pub(super) heard: Time,
    /// When its last packet came.
    pub(super) received: Option<Time>,
    /// Whether it was said to have ended.
    pub(super) ended: bool,
    /// Packets received when the last report about it was made.
    pub(super) reported: u64,
    audio_level: Option<AudioLevel>,
    orientation: Option<VideoOrientation>,
    pub(super) tally: Tally,
}

/// What is done with its packets.
#[derive(Debug)]
enum Way {
    Frames(Box<JitterBuffer>),
    Packets(Gaps),
}

/// What is counted of it, beside what [`Statistics`] and the buffer count.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    pub(super) header_bytes: u64,
    pub(super) retransmitted: u64,
    pub(super) retransmitted_bytes: u64,
    pub(super) recovered: u64,
    pub(super) frames: u64,
    pub(super) key_frames: u64,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
    /// What buffers counted that are no more.
    pub(super) before: BufferCounters,
}

/// Sequence numbers that wait to be asked for, at most.
const MAX_LOST: usize = 2000;

impl Incoming {
    pub(super) fn new(
        now: Time,
        stream: Stream,
        format: &Format,
        delivery: Delivery,
        patience: Duration,
        round_trip: Duration,
    ) -> Self {
        Self {
            statistics: Statistics::new(stream.ssrc, format.clock_rate),
            stream,
            codec: format.codec,
            payload_type: format.payload_type,
            feedback: format.feedback,
            repair: None,
            cname: None,
            way: Way::new(format.codec, delivery, patience, round_trip),
            patience,
            round_trip,
            lost: Vec::new(),
            asking: Asking::default(),
            heard: now,
            received: None,
            ended: false,
            reported: 0,
            audio_level: None,
            orientation: None,
            tally: Tally::default(),
        }
    }

    /// Goes on with another format, or in another shape, if it is another.
    pub(super) fn set_format(&mut self, format: &Format, delivery: Delivery) {
        let same_shape = matches!(self.way, Way::Frames(_)) == (delivery == Delivery::Frames);
        if self.codec != format.codec || !same_shape {
            self.codec = format.codec;
            self.restart(delivery);
        }
        (self.payload_type, self.feedback) = (format.payload_type, format.feedback);
    }

    pub(super) fn delivery(&self) -> Delivery {
        match self.way {
            Way::Frames(_) => Delivery::Frames,
            Way::Packets(_) => Delivery::Packets,
        }
    }

    /// Forgets what is under way.
    pub(super) fn restart(&mut self, delivery: Delivery) {
        self.tally.before = self.buffered();
        self.way = Way::new(self.codec, delivery, self.patience, self.round_trip);
        self.lost.clear();
        self.asking.satisfy();
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
        if let Way::Frames(buffer) = &mut self.way {
            buffer.set_round_trip(round_trip);
        }
    }

    /// What the header extensions of its latest packet say.
    pub(super) fn set_marks(
        &mut self,
        audio_level: Option<AudioLevel>,
        orientation: Option<VideoOrientation>,
    ) {
        self.audio_level = audio_level;
        self.orientation = orientation.or(self.orientation);
    }

    /// Takes a packet, whichever way it came; for who wants packets, as an event.
    pub(super) fn handle_packet(&mut self, now: Time, header: &Header, payload: &[u8]) -> Option<Event> {
        match &mut self.way {
            Way::Frames(buffer) => {
                buffer.handle_packet(now, header, payload);
                None
            }
            Way::Packets(gaps) => {
                self.tally.recovered += u64::from(gaps.handle_packet(now, header.sequence_number));
                if payload.is_empty() {
                    return None;
                }
                if !self.codec.is_audio() && self.codec.inspect(payload).is_ok_and(|info| info.key_frame) {
                    self.asking.satisfy();
                }
                Some(Event::PacketReceived {
                    stream: self.stream.clone(),
                    header: *header,
                    payload: payload.to_vec(),
                    audio_level: self.audio_level,
                    orientation: self.orientation,
                })
            }
        }
    }

    /// The next frame; what is to be asked for is noted on the way.
    pub(super) fn poll_frame(&mut self, now: Time) -> Option<Event> {
        let Way::Frames(buffer) = &mut self.way else { return None };
        loop {
            match buffer.poll_event(now)? {
                BufferEvent::FrameReceived(frame) => {
                    self.tally.frames += 1;
                    if frame.key_frame {
                        self.tally.key_frames += 1;
                        self.asking.satisfy();
                    }
                    return Some(Event::FrameReceived {
                        stream: self.stream.clone(),
                        codec: self.codec,
                        payload_type: self.payload_type,
                        captured: self.statistics.captured(frame.timestamp),
                        frame,
                        audio_level: self.audio_level,
                        orientation: self.orientation,
                    });
                }
                BufferEvent::PacketsLost(lost) => note(&mut self.lost, self.feedback, lost),
                BufferEvent::KeyFrameNeeded => self.asking.want(),
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        match &mut self.way {
            Way::Frames(buffer) => buffer.handle_timeout(now),
            Way::Packets(gaps) => note(&mut self.lost, self.feedback, gaps.due(now, self.round_trip)),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let way = match &self.way {
            Way::Frames(buffer) => buffer.poll_timeout(),
            Way::Packets(gaps) => gaps.poll_timeout(),
        };
        [way, self.asking.next()].into_iter().flatten().min()
    }

    /// What its buffers counted.
    pub(super) fn buffered(&self) -> BufferCounters {
        let Way::Frames(buffer) = &self.way else { return self.tally.before };
        let (now, before) = (buffer.counters(), self.tally.before);
        BufferCounters {
            frames: now.frames + before.frames,
            repeated: now.repeated + before.repeated,
            late: now.late + before.late,
            recovered: now.recovered + before.recovered,
            lost: now.lost + before.lost,
            dropped: now.dropped + before.dropped,
        }
    }
}

impl Way {
    fn new(codec: Codec, delivery: Delivery, patience: Duration, round_trip: Duration) -> Self {
        match delivery {
            Delivery::Frames => {
                let mut buffer = JitterBuffer::new(BufferConfig { patience, ..BufferConfig::new(codec) });
                buffer.set_round_trip(round_trip);
                Self::Frames(Box::new(buffer))
            }
            Delivery::Packets => Self::Packets(Gaps::new()),
        }
    }
}

/// Notes what is missing, if it may be asked for.
fn note(missing: &mut Vec<u16>, feedback: Feedback, lost: Vec<u16>) {
    if !feedback.nack {
        return;
    }
    // Who cannot send is told the latest.
    if missing.len() + lost.len() > MAX_LOST {
        missing.clear();
    }
    missing.extend(lost);
}

/// The stream of a source.
pub(super) fn stream(mid: &Arc<str>, rid: Option<&str>, ssrc: u32) -> Stream {
    Stream { mid: mid.clone(), rid: rid.map(Arc::from), ssrc }
}
