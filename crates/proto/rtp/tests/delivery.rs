//! A source and its receiver, with a network between that loses, repeats and reorders, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use sansio::{Rng, Seed, Time};
use sterna_rtp::codecs::{Codec, Packetizer};
use sterna_rtp::ntp::NtpClock;
use sterna_rtp::receive::{
    BufferConfig, BufferEvent, Frame, JitterBuffer, Redundancy, Statistics, retransmitted,
};
use sterna_rtp::rtcp::ReportBlock;
use sterna_rtp::send::{History, HistoryConfig, Source, SourceConfig};
use sterna_rtp::{Header, Packet, PacketWriter};

const MS: Duration = Duration::from_millis(1);

fn at(milliseconds: u64) -> Time {
    Time::from_start(Duration::from_millis(milliseconds))
}

/// A picture of VP8 that says its number, and whether it needs others.
fn picture(number: u32, key: bool, bytes: usize) -> Vec<u8> {
    let mut picture = vec![number as u8; bytes];
    picture[0] = u8::from(!key);
    picture[1..5].copy_from_slice(&number.to_be_bytes());
    picture
}

fn number(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.data[1..5].try_into().unwrap())
}

fn source(ssrc: u32, payload_type: u8) -> Source {
    Source::new(
        SourceConfig { ssrc, payload_type, clock_rate: 90_000 },
        &mut Rng::new(Seed::from(u64::from(ssrc))),
    )
}

/// The packets of a picture.
fn packets(source: &mut Source, packetizer: &mut Packetizer, now: Time, picture: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    packetizer
        .packetize(picture, 500, &mut |parts, last| {
            let payload = parts.concat();
            let mut buffer = [0; 600];
            let header = source.header(now, now.elapsed(), last, payload.len());
            let length = PacketWriter::new(&mut buffer, &header).payload(&payload).unwrap();
            packets.push(buffer[..length].to_vec());
        })
        .unwrap();
    packets
}

fn receive(buffer: &mut JitterBuffer, now: Time, bytes: &[u8]) {
    let packet = Packet::parse(bytes).unwrap();
    buffer.handle_packet(now, &packet.header(), packet.payload());
}

fn frames(buffer: &mut JitterBuffer, now: Time) -> Vec<Frame> {
    std::iter::from_fn(|| buffer.poll_event(now))
        .filter_map(|event| match event {
            BufferEvent::FrameReceived(frame) => Some(frame),
            _ => None,
        })
        .collect()
}

fn events(buffer: &mut JitterBuffer, now: Time) -> Vec<BufferEvent> {
    std::iter::from_fn(|| buffer.poll_event(now)).collect()
}

/// What a network does to a packet on its way.
struct Network {
    rng: Rng,
    loss: f64,
    delay: Duration,
    spread: Duration,
    on_the_way: VecDeque<(Time, Vec<u8>)>,
}

impl Network {
    fn new(seed: u64, loss: f64, spread: Duration) -> Self {
        Self { rng: Rng::new(Seed::from(seed)), loss, delay: 20 * MS, spread, on_the_way: VecDeque::new() }
    }

    fn send(&mut self, now: Time, bytes: Vec<u8>) {
        if self.rng.unit() >= self.loss {
            let arrival = now + self.delay + self.spread.mul_f64(self.rng.unit());
            self.on_the_way.push_back((arrival, bytes));
        }
    }

    fn arrived(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut arrived: Vec<_> =
            self.on_the_way.iter().filter(|(arrival, _)| *arrival <= now).cloned().collect();
        self.on_the_way.retain(|(arrival, _)| *arrival > now);
        arrived.sort_by_key(|(arrival, _)| *arrival);
        arrived.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

/// What a call of 10 s at 30 pictures a second came to.
struct Call {
    shown: Vec<(u32, bool)>,
    key_frames_asked_for: u32,
    recovered: u64,
    waited: Duration,
}

/// Pictures by a network that loses, with retransmissions or without them; key frames when they are asked for.
fn call(seed: u64, loss: f64, spread: Duration, with_rtx: bool, patience: Duration) -> Call {
    let mut there = Network::new(seed, 0.0, spread);
    let mut back = Network::new(seed + 1, 0.0, Duration::ZERO);
    let (mut video, mut rtx) = (source(1, 96), source(2, 97));
    let mut packetizer = Packetizer::new(Codec::Vp8);
    let mut history = History::new(HistoryConfig::default());
    let mut buffer = JitterBuffer::new(BufferConfig { patience, ..BufferConfig::new(Codec::Vp8) });
    let mut call = Call { shown: Vec::new(), key_frames_asked_for: 0, recovered: 0, waited: Duration::ZERO };
    let mut key = true;
    for millisecond in 0..10_500u64 {
        let now = at(millisecond);
        // What was never heard of cannot be missed: the beginning comes through.
        there.loss = if millisecond < 100 { 0.0 } else { loss };
        if millisecond % 33 == 0 && millisecond < 10_000 {
            let number = (millisecond / 33) as u32;
            let picture = picture(
                number,
                std::mem::take(&mut key),
                if number.is_multiple_of(10) { 4000 } else { 1200 },
            );
            for packet in packets(&mut video, &mut packetizer, now, &picture) {
                history.keep(now, &packet);
                there.send(now, packet);
            }
        }
        for message in back.arrived(now) {
            if message.is_empty() {
                call.key_frames_asked_for += 1;
                key = true;
            }
            for lost in message.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])) {
                let mut place = [0; 700];
                let own = || rtx.header_at(now, 0, false, 0);
                if let Some(length) =
                    history.retransmit(now, lost, 40 * MS, own, &mut place).filter(|_| with_rtx)
                {
                    there.send(now, place[..length].to_vec());
                }
            }
        }
        for bytes in there.arrived(now) {
            let packet = Packet::parse(&bytes).unwrap();
            match packet.header().ssrc {
                1 => buffer.handle_packet(now, &packet.header(), packet.payload()),
                _ => {
                    let (header, payload) = retransmitted(&packet, 1, 96).unwrap();
                    buffer.handle_packet(now, &header, payload);
                }
            }
        }
        buffer.handle_timeout(now);
        assert!(buffer.poll_timeout().is_none_or(|next| next > now), "a timeout moves forward");
        for event in events(&mut buffer, now) {
            match event {
                BufferEvent::FrameReceived(frame) => {
                    let sent = at(u64::from(number(&frame)) * 33);
                    call.waited = call.waited.max(now.since(sent));
                    call.shown.push((number(&frame), frame.key_frame));
                }
                BufferEvent::PacketsLost(lost) => {
                    back.send(now, lost.iter().flat_map(|number| number.to_be_bytes()).collect());
                }
                BufferEvent::KeyFrameNeeded => back.send(now, Vec::new()),
            }
        }
    }
    call.recovered = buffer.counters().recovered;
    call
}

#[test]
fn everything_arrives_in_order_through_loss_and_reordering() {
    for seed in 0..10 {
        let call = call(seed, 0.05, 15 * MS, true, 400 * MS);
        let numbers: Vec<u32> = call.shown.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..304).collect::<Vec<_>>(), "seed {seed}");
        assert!(call.recovered > 20, "{}", call.recovered);
        assert_eq!(call.key_frames_asked_for, 0);
        assert!(call.waited < 450 * MS, "{:?}", call.waited);
    }
}

#[test]
fn without_retransmissions_pictures_begin_again_with_whole_ones() {
    for seed in 0..10 {
        let call = call(seed, 0.02, Duration::ZERO, false, 30 * MS);
        assert!(call.key_frames_asked_for > 0, "seed {seed}");
        // After a gap comes a picture that needs no other, and nothing comes twice.
        let mut last = None;
        for (number, key) in &call.shown {
            assert!(
                *key || last.is_some_and(|last| last + 1 == *number),
                "seed {seed}: {number} after {last:?}"
            );
            assert!(last.is_none_or(|last| last < *number));
            last = Some(*number);
        }
        assert!(call.shown.len() > 150, "seed {seed}: {} shown", call.shown.len());
    }
}

fn opus(number: u16) -> (Header, [u8; 2]) {
    let header = Header {
        payload_type: 111,
        sequence_number: number,
        timestamp: u32::from(number) * 960,
        ssrc: 1,
        marker: false,
    };
    (header, number.to_be_bytes())
}

#[test]
fn sound_waits_for_what_is_missing_and_then_goes_on() {
    let mut buffer = JitterBuffer::new(BufferConfig::new(Codec::Opus));
    let heard = |buffer: &mut JitterBuffer, now| {
        let frames = frames(buffer, now);
        frames
            .iter()
            .map(|frame| (u16::from_be_bytes(frame.data[..].try_into().unwrap()), frame.after_gap))
            .collect::<Vec<_>>()
    };
    for number in [65_534, 65_535, 1, 2] {
        let (header, payload) = opus(number);
        buffer.handle_packet(at(0), &header, &payload);
    }
    assert_eq!(heard(&mut buffer, at(0)), [(65_534, false), (65_535, false)]);
    assert_eq!(buffer.poll_timeout(), Some(at(5)));
    buffer.handle_timeout(at(5));
    assert_eq!(buffer.poll_event(at(5)), Some(BufferEvent::PacketsLost(vec![0])));
    buffer.handle_timeout(at(399));
    assert_eq!(heard(&mut buffer, at(399)), []);
    buffer.handle_timeout(at(400));
    assert_eq!(heard(&mut buffer, at(400)), [(1, true), (2, false)]);
    let (header, payload) = opus(0);
    buffer.handle_packet(at(401), &header, &payload);
    buffer.handle_packet(at(401), &opus(4).0, &payload);
    buffer.handle_packet(at(401), &opus(4).0, &payload);
    let counters = buffer.counters();
    assert_eq!((counters.late, counters.lost, counters.repeated, counters.frames), (1, 1, 1, 4));
}

#[test]
fn who_does_not_listen_loses_nothing_that_is_whole() {
    let mut buffer = JitterBuffer::new(BufferConfig::new(Codec::Opus));
    for number in [1, 2, 4] {
        let (header, payload) = opus(number);
        buffer.handle_packet(at(0), &header, &payload);
    }
    buffer.handle_timeout(at(5000));
    assert_eq!(frames(&mut buffer, at(5000)).len(), 2);
    buffer.handle_timeout(at(5000));
    assert_eq!(frames(&mut buffer, at(5000)).len(), 1);
}

#[test]
fn redundant_copies_fill_gaps() {
    let mut buffer = JitterBuffer::new(BufferConfig::new(Codec::Opus));
    let mut place = [0; 100];
    for number in [10, 11, 14] {
        let ((_, two), (_, one), (header, new)) = (opus(number - 2), opus(number - 1), opus(number));
        let length = Redundancy::write(111, &[(1920, &two), (960, &one)], &new, &mut place).unwrap();
        for (header, payload) in Redundancy::parse(header, &place[..length]).unwrap() {
            assert_eq!(header.timestamp, u32::from(header.sequence_number) * 960);
            buffer.handle_packet(at(0), &header, payload);
        }
    }
    let heard: Vec<_> = frames(&mut buffer, at(0)).iter().map(|frame| frame.data[1]).collect();
    assert_eq!(heard, [8, 9, 10, 11, 12, 13, 14]);
    let header = Header::default();
    assert!(Redundancy::parse(header, &[0x80 | 111, 0, 0]).is_err());
    assert!(Redundancy::parse(header, &[0x80 | 111, 0, 0, 9, 111, 1]).is_err());
    assert!(Redundancy::parse(header, &[0xff; 200]).is_err());
    assert!(Redundancy::write(111, &[(1 << 14, &[1])], &[2], &mut place).is_err());
    assert!(Redundancy::write(111, &[(1, &[1; 99])], &[2], &mut place).is_err());
}

#[test]
fn a_source_that_counts_anew_is_followed() {
    let mut buffer = JitterBuffer::new(BufferConfig::new(Codec::Opus));
    let mut bring = |number| {
        let (header, payload) = opus(number);
        buffer.handle_packet(at(0), &header, &payload);
        frames(&mut buffer, at(0)).len()
    };
    assert_eq!((bring(20_000), bring(20_001)), (1, 1));
    // One packet from nowhere is nothing, two in a row are.
    assert_eq!((bring(5), bring(20_002)), (0, 1));
    assert_eq!((bring(5), bring(6), bring(7)), (0, 1, 1));
}

#[test]
fn a_viewer_who_comes_late_asks_for_a_whole_picture() {
    let mut buffer = JitterBuffer::new(BufferConfig::new(Codec::Vp8));
    let (mut video, mut packetizer) = (source(1, 96), Packetizer::new(Codec::Vp8));
    let mut bring = |buffer: &mut JitterBuffer, milliseconds, key| {
        let picture = picture(milliseconds as u32, key, 900);
        for packet in packets(&mut video, &mut packetizer, at(milliseconds), &picture) {
            receive(buffer, at(milliseconds), &packet);
        }
        events(buffer, at(milliseconds))
    };
    assert_eq!(bring(&mut buffer, 0, false), [BufferEvent::KeyFrameNeeded]);
    assert_eq!(bring(&mut buffer, 100, false), []);
    assert_eq!(buffer.poll_timeout(), Some(at(500)));
    buffer.handle_timeout(at(500));
    assert_eq!(events(&mut buffer, at(500)), [BufferEvent::KeyFrameNeeded]);
    // Nobody nags a source that says nothing.
    buffer.handle_timeout(at(1000));
    assert_eq!((events(&mut buffer, at(1000)), buffer.poll_timeout()), (vec![], None));
    let shown = bring(&mut buffer, 1100, true);
    assert!(
        matches!(&shown[..], [BufferEvent::FrameReceived(frame)] if frame.key_frame && number(frame) == 1100)
    );
}

#[test]
fn reports_tell_the_way_there_and_back_and_bring_sound_and_pictures_together() {
    let clock = NtpClock::from_unix(Duration::from_secs(1_700_000_000));
    let mut video = source(1, 96);
    assert_eq!(video.report(at(0), &clock), None);
    let header = video.header(at(1000), 1000 * MS, true, 500);
    let report = video.report(at(1500), &clock).unwrap();
    assert_eq!((report.packets, report.bytes), (1, 500));
    assert_eq!(report.timestamp, header.timestamp.wrapping_add(45_000));

    let mut statistics = Statistics::new(1, 90_000);
    statistics.handle_packet(at(1040), &header, 500);
    statistics.handle_sender_report(at(1540), &report);
    let captured = statistics.captured(header.timestamp).unwrap();
    let error = captured.abs_diff(clock.at(at(1000)));
    assert!(error < 1 << 20, "within a quarter of a millisecond, {error}");

    let block = statistics.report(at(1700));
    video.handle_report(at(1740), &clock, &block);
    let round_trip = video.round_trip().unwrap();
    assert!((79 * MS..81 * MS).contains(&round_trip), "{round_trip:?}");
    // Reports about others, and from the future, say nothing.
    video.handle_report(at(1740), &clock, &ReportBlock { ssrc: 9, fraction_lost: 255, ..block });
    video.handle_report(at(1740), &clock, &ReportBlock { delay: 1 << 30, ..block });
    assert_eq!((video.fraction_lost(), video.round_trip()), (0.0, Some(round_trip)));
}

#[test]
fn a_history_is_bounded_and_answers_once_in_a_round_trip() {
    let mut history = History::new(HistoryConfig { packets: 10, age: Duration::from_secs(1) });
    let packet = |number: u16| {
        let mut bytes = vec![0; 30];
        let header =
            Header { sequence_number: number, marker: true, timestamp: 7, ssrc: 1, payload_type: 96 };
        let length = PacketWriter::new(&mut bytes, &header).payload(&number.to_be_bytes()).unwrap();
        bytes.truncate(length);
        bytes
    };
    for number in (65_530..=65_535).chain(0..10) {
        history.keep(at(u64::from(number.min(10))), &packet(number));
    }
    assert_eq!(history.len(), 10);
    assert_eq!(history.missed(at(20), 65_535, 50 * MS), None);
    let own = || Header { sequence_number: 99, payload_type: 97, ssrc: 2, ..Header::default() };
    let mut place = [0; 50];
    let length = history.retransmit(at(20), 3, 50 * MS, own, &mut place).unwrap();
    let again = Packet::parse(&place[..length]).unwrap();
    let header = again.header();
    assert_eq!((header.ssrc, header.payload_type, header.sequence_number, header.timestamp), (2, 97, 99, 7));
    let (original, payload) = retransmitted(&again, 1, 96).unwrap();
    assert_eq!((original, payload), (Packet::parse(&packet(3)).unwrap().header(), &3u16.to_be_bytes()[..]));
    assert_eq!(history.missed(at(60), 3, 50 * MS), None, "it is on its way");
    assert!(history.missed(at(70), 3, 50 * MS).is_some());
    assert_eq!(history.missed(at(2000), 9, 50 * MS), None, "nobody waits so long");
    history.keep(at(2000), &packet(10));
    assert_eq!(history.len(), 1);
    history.keep(at(2000), b"no packet");
    history.keep(at(2000), &packet(10));
    assert_eq!(history.len(), 1);
}

proptest! {
    /// Whatever comes, memory is bounded, frames are in order and none comes twice.
    #[test]
    fn nothing_breaks_a_buffer(steps in prop::collection::vec((any::<u16>(), 0..20u32, any::<bool>(), 0..60u64, prop::collection::vec(any::<u8>(), 0..12), any::<bool>()), 0..300), codec in 0..3usize) {
        let codec = [Codec::Opus, Codec::Vp8, Codec::H264][codec];
        let mut buffer = JitterBuffer::new(BufferConfig { max_packets: 50, ..BufferConfig::new(codec) });
        let (mut now, mut last) = (at(0), 0u16);
        for (number, timestamp, marker, wait, payload, near) in steps {
            now += Duration::from_millis(wait);
            let sequence_number = if near { last.wrapping_add(number % 8) } else { number };
            last = sequence_number;
            let header = Header { sequence_number, timestamp, marker, ..Header::default() };
            buffer.handle_packet(now, &header, &payload);
            buffer.handle_timeout(now);
            prop_assert!(buffer.poll_timeout().is_none_or(|next| next > now));
            if wait % 2 == 0 {
                events(&mut buffer, now);
                prop_assert_eq!(buffer.poll_event(now), None);
            }
        }
    }
}
