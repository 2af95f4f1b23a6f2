use std::time::Duration;

use sansio::{Rng, Seed, Time};
use sterna_rtp::rtcp::{Compound, CompoundWriter, FullIntraRequest, Goodbye, Nack, Packet};
use sterna_rtp::session::{Event, Format, Session, Terms};
use sterna_rtp::srtp::Protect;
use sterna_rtp::{Header, PacketWriter};

use crate::pair::{MS, Pair, frames, key, picture};
use crate::terms::{both, vp8};

/// Somebody who has the keys, and says what he likes.
struct Liar {
    protect: Protect,
    number: u16,
}

impl Liar {
    fn new() -> Self {
        Self { protect: Protect::new(&key(1)), number: 1 }
    }

    fn say(&mut self, session: &mut Session, now: Time, packet: &[u8]) {
        let mut buffer = [packet, &[0; 40]].concat();
        if let Ok(length) = self.protect.protect(&mut buffer, packet.len()) {
            session.handle_rtp(now, &mut buffer[..length]);
        }
    }

    fn rtcp(&mut self, session: &mut Session, now: Time, packet: &[u8]) {
        let mut buffer = [packet, &[0; 40]].concat();
        if let Ok(length) = self.protect.protect_rtcp(&mut buffer, packet.len()) {
            session.handle_rtcp(now, &mut buffer[..length]);
        }
    }

    /// A packet with a mid and a payload.
    fn packet(&mut self, payload_type: u8, ssrc: u32, mid: Option<&str>, payload: &[u8]) -> Vec<u8> {
        self.number += 1;
        let header = Header { payload_type, ssrc, sequence_number: self.number, ..Header::default() };
        let mut buffer = vec![0; 1300];
        let mut writer = PacketWriter::new(&mut buffer, &header);
        if let Some(mid) = mid {
            writer.extension_bytes(4, mid.as_bytes());
        }
        let length = writer.payload(payload).unwrap();
        buffer.truncate(length);
        buffer
    }
}

fn bob() -> (Pair, Liar) {
    (Pair::new(1, both(100), both(200)).with_keys(), Liar::new())
}

#[test]
fn a_flood_of_sources_is_counted_and_those_that_were_there_go_on() {
    let (mut pair, mut liar) = bob();
    pair.bob.set_keys(pair.now, &key(2), &key(1));
    for ssrc in 0..5000 {
        let packet = liar.packet(96, 10_000 + ssrc, Some("1"), &picture(ssrc, true, 20));
        liar.say(&mut pair.bob, pair.now, &packet);
        while pair.bob.poll_event().is_some() {}
    }
    let statistics = pair.bob.statistics();
    // SRTP knows 1,024 sources at most, the session 256.
    assert_eq!((statistics.inbound.len(), statistics.drops.too_many), (256, 768));
    // The first one still comes through.
    let packet = liar.packet(96, 10_000, Some("1"), &picture(7, true, 20));
    liar.say(&mut pair.bob, pair.now, &packet);
    assert!(pair.bob.statistics().inbound.iter().any(|stream| stream.packets_received == 2));
}

#[test]
fn what_belongs_nowhere_is_counted() {
    let (mut pair, mut liar) = bob();
    let payload = picture(0, true, 20);
    for packet in [
        liar.packet(96, 1, Some("9"), &payload),
        liar.packet(50, 2, Some("1"), &payload),
        liar.packet(50, 3, None, &payload),
        // A retransmission of nothing that ever came.
        liar.packet(97, 4, Some("1"), &payload),
    ] {
        liar.say(&mut pair.bob, pair.now, &packet);
    }
    let statistics = pair.bob.statistics();
    assert_eq!((statistics.drops.unknown, statistics.inbound.len()), (4, 0));
    let appeared = |event| matches!(event, Event::SourceAppeared(_));
    assert!(!std::iter::from_fn(|| pair.bob.poll_event()).any(appeared));
}

#[test]
fn who_has_our_number_is_counted() {
    let (mut pair, mut liar) = bob();
    for ssrc in [200, 210, 211] {
        let packet = liar.packet(96, ssrc, Some("1"), &picture(0, true, 20));
        liar.say(&mut pair.bob, pair.now, &packet);
    }
    assert_eq!(pair.bob.statistics().drops.collided, 3);
    assert_eq!(pair.bob.statistics().inbound, []);
}

#[test]
fn absurd_padding_and_cut_extensions_are_counted() {
    let (mut pair, mut liar) = bob();
    let mut padded = liar.packet(96, 1, Some("1"), &picture(0, true, 20));
    padded[0] |= 0x20;
    *padded.last_mut().unwrap() = 255;
    liar.say(&mut pair.bob, pair.now, &padded);
    assert_eq!(pair.bob.statistics().drops.malformed, 1);
    // An element that is longer than the extension: what stands before it counts.
    let mut cut = liar.packet(96, 2, Some("1"), &picture(0, true, 20));
    cut[16] = 0x4f;
    liar.say(&mut pair.bob, pair.now, &cut);
    // An extension that is longer than the packet never gets so far.
    let mut long = liar.packet(96, 3, Some("1"), &picture(0, true, 20));
    long[14..16].fill(0xff);
    pair.bob.handle_rtp(pair.now, &mut long);
    let statistics = pair.bob.statistics();
    assert!(statistics.refusals.malformed >= 1);
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(100 * MS);
    assert_eq!(frames(&pair.bob_heard, "1").last(), Some(&0));
}

#[test]
fn a_wrong_tag_changes_nothing() {
    let (mut pair, mut liar) = bob();
    let packet = liar.packet(96, 1, Some("1"), &picture(0, true, 20));
    let mut buffer = [&packet[..], &[0; 40]].concat();
    let length = liar.protect.protect(&mut buffer, packet.len()).unwrap();
    for at in 0..length {
        let mut forged = buffer[..length].to_vec();
        forged[at] ^= 1;
        pair.bob.handle_rtp(pair.now, &mut forged);
    }
    let statistics = pair.bob.statistics();
    assert_eq!(statistics.inbound, []);
    assert_eq!(statistics.refusals.forged + statistics.refusals.malformed, length as u64);
    pair.bob.handle_rtp(pair.now, &mut buffer[..length]);
    assert_eq!(pair.bob.statistics().inbound.len(), 1);
}

#[test]
fn retransmissions_of_retransmissions_go_nowhere() {
    let looping = |mut terms: Vec<Terms>| {
        // 97 repairs 96, 98 repairs "97", and 99 itself.
        terms[1].expected = vec![
            vp8(),
            Format { rtx: Some(98), ..Format::new(97, sterna_rtp::codecs::Codec::Vp8) },
            Format { rtx: Some(99), ..Format::new(99, sterna_rtp::codecs::Codec::Vp8) },
        ];
        terms
    };
    let mut pair = Pair::new(2, both(100), looping(both(200))).with_keys();
    let mut liar = Liar::new();
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(100 * MS);
    let payload = [&[0, 5][..], &picture(1, true, 20)].concat();
    for payload_type in [97, 98, 99, 97, 98] {
        for ssrc in [111, 500, 501] {
            let packet = liar.packet(payload_type, ssrc, Some("1"), &payload);
            liar.say(&mut pair.bob, pair.now, &packet);
        }
    }
    pair.send_video("1", &picture(2, false, 500)).unwrap();
    pair.run(600 * MS);
    let shown = frames(&pair.bob_heard, "1");
    assert!(shown.contains(&0) && shown.contains(&2), "{shown:?}");
}

#[test]
fn rtcp_about_others_and_without_end_is_harmless() {
    let (mut pair, mut liar) = bob();
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(100 * MS);
    let mut say = |pair: &mut Pair, packet: Packet| {
        let mut buffer = vec![0; 1200];
        let mut writer = CompoundWriter::new(&mut buffer);
        writer.add(&packet).unwrap();
        let length = writer.finish();
        assert!(Compound::parse(&buffer[..length]).is_ok());
        liar.rtcp(&mut pair.bob, pair.now, &buffer[..length]);
    };
    for number in 0..500 {
        let lost: Vec<u16> = (0..200).map(|at| at * 300 + number).collect();
        for media in [210, 211, 77] {
            say(&mut pair, Nack { sender: 1, media, lost: lost.clone() }.into());
            say(&mut pair, FullIntraRequest { sender: 1, requests: vec![(media, number as u8); 20] }.into());
        }
    }
    say(&mut pair, Goodbye { sources: vec![200, 210, 77], reason: vec![b'x'; 200] }.into());
    let asked = std::iter::from_fn(|| pair.bob.poll_event())
        .filter(|event| matches!(event, Event::KeyFrameRequested { .. }))
        .count();
    assert!(asked <= 1, "{asked}");
    let sent = pair.back.sent;
    pair.run(100 * MS);
    assert!(pair.back.sent - sent < 10);
}

#[test]
fn noise_is_harmless() {
    let (mut pair, mut liar) = bob();
    let mut rng = Rng::new(Seed::from(5));
    for round in 0..900 {
        let mut noise = vec![0; rng.below(200) as usize];
        rng.fill(&mut noise);
        pair.bob.handle_rtp(pair.now, &mut noise.clone());
        pair.bob.handle_rtcp(pair.now, &mut noise.clone());
        if let Some(first) = noise.first_mut() {
            *first = 0x80 | *first & 0x3f;
        }
        liar.say(&mut pair.bob, pair.now, &noise);
        liar.rtcp(&mut pair.bob, pair.now, &noise);
        if round % 100 == 0 {
            pair.run(10 * MS);
        }
    }
    let heard = pair.bob_heard.len();
    pair.send_video("1", &picture(9, true, 500)).unwrap();
    pair.run(Duration::from_millis(200));
    assert_eq!(frames(&pair.bob_heard[heard..], "1"), [9]);
}
