//! Peers who can do less, or other things.

use sansio::Time;
use sterna_rtp::codecs::Codec;
use sterna_rtp::receive::Redundancy;
use sterna_rtp::rtcp::{Compound, CompoundWriter, Packet, ReceiverEstimate};
use sterna_rtp::session::{Event, Feedback, OutgoingFrame, OutgoingPacket, SendError, Terms};
use sterna_rtp::srtp::{Protect, Unprotect};
use sterna_rtp::{Header, PacketWriter};

use crate::pair::{MS, Pair, frames, key, picture, requests};
use crate::terms::{audio, both, video, vp8};

fn with(feedback: Feedback, mut terms: Vec<Terms>) -> Vec<Terms> {
    for terms in &mut terms {
        terms.formats.iter_mut().chain(&mut terms.expected).for_each(|format| format.feedback = feedback);
    }
    terms
}

fn film(pair: &mut Pair, seconds: u32, bytes: usize) {
    for number in 0..seconds * 30 {
        pair.send_video("1", &picture(number, number == 0, bytes)).unwrap();
        pair.run(33 * MS);
    }
}

#[test]
fn without_reduced_size_every_compound_begins_with_a_report_and_names_its_sender() {
    let full = |mut terms: Vec<Terms>| {
        terms.iter_mut().for_each(|terms| terms.reduced_size = false);
        terms
    };
    let mut pair = Pair::new(1, full(both(100)), full(both(200))).with_keys();
    pair.there.loss = 0.05;
    let mut unprotect = Unprotect::new(&key(2));
    let (mut compounds, mut nacks) = (0, 0);
    for number in 0..150 {
        pair.send_video("1", &picture(number, number == 0, 2000)).unwrap();
        for _ in 0..66 {
            let mut packets = pair.back.taken();
            for packet in packets.iter_mut().filter(|packet| matches!(packet[1], 192..=223)) {
                let plain = unprotect.unprotect_rtcp(packet).unwrap();
                let packets: Vec<Packet> = Compound::parse(plain).unwrap().map(Result::unwrap).collect();
                assert!(
                    matches!(packets[0], Packet::SenderReport(_) | Packet::ReceiverReport(_)),
                    "{packets:?}"
                );
                assert!(packets.iter().any(|packet| matches!(packet, Packet::SourceDescription(_))));
                nacks += packets.iter().filter(|packet| matches!(packet, Packet::Nack(_))).count();
                compounds += 1;
            }
            pair.step();
        }
    }
    assert!(compounds > 50 && nacks > 0, "{compounds} compounds, {nacks} with questions");
}

#[test]
fn who_knows_only_full_intra_requests_is_asked_by_them_and_who_knows_none_is_not_asked() {
    for (fir, asked) in [(true, 1), (false, 0)] {
        let feedback = Feedback { nack: true, fir, ..Feedback::default() };
        let mut pair = Pair::new(2, with(feedback, both(100)), with(feedback, both(200))).with_keys();
        pair.send_video("1", &picture(0, true, 500)).unwrap();
        pair.run(300 * MS);
        let before = requests(&pair.alice_heard);
        assert_eq!(pair.bob.request_key_frame("1", None).is_ok(), fir);
        pair.run(100 * MS);
        assert_eq!(requests(&pair.alice_heard) - before, asked);
        assert_eq!(pair.alice.statistics().outbound[1].fir_count, asked as u64);
    }
}

#[test]
fn without_feedback_about_packets_losses_and_what_the_receiver_thinks_decide() {
    let feedback = Feedback { nack: true, pli: true, remb: true, ..Feedback::default() };
    let mut pair = Pair::new(3, with(feedback, both(100)), with(feedback, both(200))).with_keys();
    film(&mut pair, 15, 1000);
    let rate = |pair: &Pair| pair.alice.statistics().available_outgoing_bitrate;
    let high = rate(&pair);
    assert!(high > 500_000.0, "nothing was lost: {high}");
    assert_eq!(
        pair.alice.statistics().outbound[1].retransmitted_packets_sent,
        0,
        "nobody would learn by probes"
    );
    pair.there.loss = 0.3;
    film(&mut pair, 8, 1000);
    let low = rate(&pair);
    assert!(low < 0.7 * high, "{low} after {high}");
    pair.there.loss = 0.0;
    let estimate = ReceiverEstimate { sender: 1, bits_per_second: 100_000, sources: vec![110] };
    let mut buffer = vec![0; 100];
    let mut writer = CompoundWriter::new(&mut buffer);
    writer.add(&estimate.into()).unwrap();
    let length = writer.finish();
    let mut pair = Pair::new(4, with(feedback, both(100)), with(feedback, both(200))).with_keys();
    let length = Protect::new(&key(2)).protect_rtcp(&mut buffer, length).unwrap();
    pair.alice.handle_rtcp(pair.now, &mut buffer[..length]);
    assert_eq!(rate(&pair), 100_000.0);
}

#[test]
fn redundant_copies_take_the_place_of_what_was_lost() {
    let mut pair = Pair::new(5, both(100), both(200)).with_keys();
    let mut protect = Protect::new(&key(1));
    for number in (0..20u16).filter(|number| number % 3 != 1) {
        let sound = |number: u16| picture(number.into(), false, 20);
        let mut payload = [0; 200];
        let copies = [(960, &sound(number.wrapping_sub(1))[..])];
        let copies = if number == 0 { &[][..] } else { &copies };
        let length = Redundancy::write(111, copies, &sound(number), &mut payload).unwrap();
        let header = Header {
            payload_type: 63,
            sequence_number: number,
            timestamp: u32::from(number) * 960,
            ssrc: 100,
            ..Header::default()
        };
        let mut packet = [0; 400];
        let mut writer = PacketWriter::new(&mut packet, &header);
        writer.extension_bytes(4, b"0");
        let length = writer.payload(&payload[..length]).unwrap();
        let length = protect.protect(&mut packet, length).unwrap();
        pair.bob.handle_rtp(pair.now, &mut packet[..length]);
    }
    pair.run(MS);
    // The last one is its own only copy.
    assert_eq!(frames(&pair.bob_heard, "0"), (0..19).collect::<Vec<u32>>());
}

#[test]
fn without_names_in_packets_payload_types_and_described_sources_tell_sections_apart() {
    let nameless = |terms: Vec<Terms>| {
        terms.into_iter().map(|terms| Terms { extensions: Vec::new(), ..terms }).collect::<Vec<_>>()
    };
    // Sound and pictures have different payload types.
    let mut pair = Pair::new(6, nameless(both(100)), nameless(both(200))).with_keys();
    pair.send_video("1", &picture(1, true, 500)).unwrap();
    let sound = picture(0, false, 50);
    let frame = OutgoingFrame { data: &sound, ..OutgoingFrame::default() };
    pair.alice.write_frame(pair.now, "0", None, &frame).unwrap();
    pair.run(100 * MS);
    assert_eq!((frames(&pair.bob_heard, "0"), frames(&pair.bob_heard, "1")), (vec![0], vec![1]));

    // Two cameras have the same; the description has their sources.
    let two = |ssrc: u32| nameless(vec![video("a", ssrc), video("b", ssrc + 10)]);
    let mut told = two(200);
    for (terms, ssrc) in told.iter_mut().zip([100, 110]) {
        terms.remote =
            vec![sterna_rtp::session::RemoteSource { ssrc, rtx_ssrc: Some(ssrc + 1), cname: None }];
    }
    for (bob, expected) in [(told, (vec![1], vec![2])), (two(200), (vec![], vec![]))] {
        let mut pair = Pair::new(7, two(100), bob).with_keys();
        pair.send_video("a", &picture(1, true, 500)).unwrap();
        pair.send_video("b", &picture(2, true, 500)).unwrap();
        pair.run(100 * MS);
        assert_eq!((frames(&pair.bob_heard, "a"), frames(&pair.bob_heard, "b")), expected);
        let unknown = pair.bob.statistics().drops.unknown;
        assert_eq!(unknown, if expected.0.is_empty() { 2 } else { 0 });
    }
}

#[test]
fn a_section_in_which_nothing_may_come_takes_nothing() {
    let mut bob = both(200);
    bob[1].receive = false;
    let mut pair = Pair::new(8, both(100), bob).with_keys();
    pair.send_video("1", &picture(1, true, 500)).unwrap();
    pair.run(100 * MS);
    assert!(frames(&pair.bob_heard, "1").is_empty());
    assert!(pair.bob.statistics().drops.unknown >= 1, "probes come, too");
    let mut silent = both(300);
    silent[1].send = None;
    pair.alice.set_terms(pair.now, silent);
    assert_eq!(pair.send_video("1", &picture(1, true, 500)), Err(SendError::NotSending));
}

#[test]
fn another_format_begins_with_a_key_frame_and_is_told() {
    let formats = || {
        let mut vp9 = vp8();
        (vp9.payload_type, vp9.rtx, vp9.codec) = (98, Some(99), Codec::Vp9);
        vec![vp8(), vp9]
    };
    let terms = |ssrc| vec![Terms { formats: formats(), expected: formats(), ..video("1", ssrc) }];
    let mut pair = Pair::new(9, terms(100), terms(200)).with_keys();
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(33 * MS);
    // The first bits of a picture of VP9: a key frame of profile 0, and one that is none.
    let (whole, delta) = ([0x82, 0x49, 0x83, 0x42, 0, 0, 0, 0], [0x86, 0, 0x40, 0x92, 0, 0, 0, 0]);
    let send = |pair: &mut Pair, data: &[u8], payload_type| {
        let frame = OutgoingFrame {
            data,
            payload_type: Some(payload_type),
            time: pair.now.elapsed(),
            ..OutgoingFrame::default()
        };
        let result = pair.alice.write_frame(pair.now, "1", None, &frame);
        pair.run(33 * MS);
        result
    };
    assert_eq!(send(&mut pair, &delta, 98), Err(SendError::KeyFrameNeeded));
    assert_eq!(send(&mut pair, &whole, 98), Ok(()));
    assert_eq!(send(&mut pair, &whole, 55), Err(SendError::UnknownFormat));
    let codecs: Vec<_> = pair
        .bob_heard
        .iter()
        .filter_map(|(_, event)| match event {
            Event::FrameReceived { codec, payload_type, .. } => Some((*codec, *payload_type)),
            _ => None,
        })
        .collect();
    assert_eq!(codecs, [(Codec::Vp8, 96), (Codec::Vp9, 98)]);
}

#[test]
fn packets_that_are_forwarded_out_of_order_leave_as_they_are_and_once() {
    let mut pair = Pair::new(10, vec![audio("0", 100)], vec![audio("0", 200)]).with_keys();
    for number in [1u16, 2, 4, 3, 3, 5] {
        let payload = picture(number.into(), false, 20);
        let packet = OutgoingPacket {
            payload: &payload,
            payload_type: 111,
            sequence_number: number,
            timestamp: u32::from(number) * 960,
            ..OutgoingPacket::default()
        };
        pair.alice.write_packet(pair.now, "0", None, &packet).unwrap();
        pair.step();
    }
    pair.run(100 * MS);
    assert_eq!(frames(&pair.bob_heard, "0"), [1, 2, 3, 4, 5]);
    assert_eq!(pair.alice.statistics().outbound[0].packets_sent, 5);
}

/// An outbox that is always the same memory.
struct Sink(Vec<u8>);

impl sansio::Outbox<()> for Sink {
    fn room(&self) -> usize {
        1 << 20
    }
    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        fill(&mut self.0[..max]);
        true
    }
}

#[test]
fn who_sends_takes_no_memory_per_packet() {
    let mut pair = Pair::new(11, both(100), both(200)).with_keys();
    let mut sink = Sink(vec![0; 2000]);
    let mut now = Time::ZERO;
    let (sound, first, image) = (picture(0, false, 100), picture(0, true, 3000), picture(1, false, 3000));
    let mut round = |number: u64| {
        now += 10 * MS;
        let frame = |data| OutgoingFrame { data, time: now.elapsed(), ..OutgoingFrame::default() };
        let image = if number == 0 { &first } else { &image };
        pair.alice.write_frame(now, "0", None, &frame(&sound)).unwrap();
        pair.alice.write_frame(now, "1", None, &frame(image)).unwrap();
        for _ in 0..4 {
            now += MS;
            pair.alice.poll_transmit(now, &mut sink);
        }
        while pair.alice.poll_event().is_some() {}
    };
    (0..1000).for_each(&mut round);
    let counted = allocation_counter::measure(|| (1000..1200).for_each(&mut round));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(pair.alice.statistics().outbound[1].packets_sent > 2000);
}

#[test]
fn who_only_watches_learns_how_long_the_way_is() {
    for known in [true, false] {
        let section = |ssrc| Terms { receiver_time: known, ..video("1", ssrc) };
        let viewer = vec![Terms { send: None, ..section(200) }];
        let mut pair = Pair::new(12, vec![section(100)], viewer).with_keys();
        film(&mut pair, 4, 500);
        let round_trip = pair.bob.statistics().round_trip_time;
        assert_eq!(round_trip.is_some(), known);
        assert!(round_trip.is_none_or(|time| (49 * MS..55 * MS).contains(&time)), "{round_trip:?}");
    }
}
