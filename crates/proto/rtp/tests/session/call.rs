use std::time::Duration;

use sansio::Time;
use sterna_rtp::extension::{AudioLevel, VideoOrientation};
use sterna_rtp::session::{Delivery, Event, OutgoingFrame, OutgoingPacket, SendError, Terms};

use crate::pair::{MS, Pair, frames, key, picture, requests};
use crate::terms::{both, video};

/// Sound every 20 ms and pictures every 33 ms, both ways, for a while.
fn talk(pair: &mut Pair, seconds: u64) -> (u32, u32) {
    let (mut sounds, mut pictures) = (0, 0);
    let start = pair.now;
    let (mut next_sound, mut next_picture) = (start, start);
    let loss = pair.there.loss;
    while pair.now.since(start) < Duration::from_secs(seconds) {
        let now = pair.now;
        // What nothing came before, or nothing comes behind, nobody can miss.
        let inside = (100 * MS..Duration::from_secs(seconds) - 200 * MS).contains(&now.since(start));
        (pair.there.loss, pair.back.loss) = if inside { (loss, loss) } else { (0.0, 0.0) };
        let sound = now >= next_sound;
        let image = now >= next_picture;
        let size = if pictures % 10 == 0 { 3000 } else { 900 };
        let (voice, view) = (picture(sounds, false, 80), picture(pictures, pictures == 0, size));
        for session in [&mut pair.alice, &mut pair.bob] {
            let frame = |data| OutgoingFrame { data, time: now.elapsed(), ..OutgoingFrame::default() };
            if sound {
                session.write_frame(now, "0", None, &frame(&voice)).unwrap();
            }
            if image {
                session.write_frame(now, "1", None, &frame(&view)).unwrap();
            }
        }
        if sound {
            sounds += 1;
            next_sound += 20 * MS;
        }
        if image {
            pictures += 1;
            next_picture += 33 * MS;
        }
        pair.step();
    }
    pair.run(Duration::from_secs(1));
    (sounds, pictures)
}

#[test]
fn with_five_per_cent_lost_every_picture_comes_by_retransmission() {
    for seed in 0..5 {
        let mut pair = Pair::new(seed, both(100), both(200)).with_keys();
        pair.there.loss = 0.05;
        let (_, pictures) = talk(&mut pair, 10);
        for (heard, name) in [(&pair.bob_heard, "bob"), (&pair.alice_heard, "alice")] {
            assert_eq!(frames(heard, "1"), (0..pictures).collect::<Vec<_>>(), "{name}, seed {seed}");
            assert_eq!(requests(heard), 1, "{name}, seed {seed}");
        }
        let statistics = pair.bob.statistics();
        let inbound = statistics.inbound.iter().find(|stream| &*stream.mid == "1").unwrap();
        assert!(inbound.packets_recovered > 5, "{inbound:?}");
        assert_eq!(inbound.rtx_ssrc, Some(111));
        assert_eq!(inbound.cname.as_deref().map(str::len), Some(16));
        let outbound = pair.alice.statistics().outbound;
        let remote = outbound[1].remote.unwrap();
        let round_trip = remote.round_trip_time.unwrap();
        assert!((50 * MS..60 * MS).contains(&round_trip), "{round_trip:?}");
        assert!(outbound[1].retransmitted_packets_sent >= inbound.packets_recovered);
    }
}

#[test]
fn without_loss_everything_comes_once_and_nothing_is_asked_for() {
    let mut pair = Pair::new(1, both(100), both(200)).with_keys();
    let (sounds, pictures) = talk(&mut pair, 5);
    for heard in [&pair.bob_heard, &pair.alice_heard] {
        assert_eq!(frames(heard, "0"), (0..sounds).collect::<Vec<_>>());
        assert_eq!(frames(heard, "1"), (0..pictures).collect::<Vec<_>>());
        assert_eq!(requests(heard), 1, "once, when there were keys");
    }
    let statistics = pair.bob.statistics();
    assert_eq!((statistics.drops, statistics.refusals), Default::default());
    assert!(statistics.inbound.iter().all(|stream| stream.nack_count == 0 && stream.packets_lost == 0));
}

#[test]
fn sound_and_pictures_of_one_moment_are_told_to_be_of_one_moment() {
    let mut pair = Pair::new(2, both(100), both(200)).with_keys();
    talk(&mut pair, 4);
    let captured = |mid: &str| {
        let last = pair.bob_heard.iter().rev().find_map(|(_, event)| match event {
            Event::FrameReceived { stream, frame, captured, .. } if *stream.mid == *mid => {
                Some((u32::from_be_bytes(frame.data[1..5].try_into().unwrap()), captured.unwrap()))
            }
            _ => None,
        });
        last.unwrap()
    };
    let seconds = |ntp: u64| ntp as f64 / 2f64.powi(32);
    let ((sound, heard), (image, seen)) = (captured("0"), captured("1"));
    let (heard, seen) = (seconds(heard) - f64::from(sound) * 0.02, seconds(seen) - f64::from(image) * 0.033);
    assert!((heard - seen).abs() < 0.002, "{heard} and {seen}");
}

#[test]
fn what_cannot_be_recovered_is_replaced_by_a_key_frame_that_is_asked_for() {
    let mut pair = Pair::new(3, both(100), both(200)).with_keys();
    let mut number = 0;
    let mut send = |pair: &mut Pair, key| {
        pair.send_video("1", &picture(number, key, 2000)).unwrap();
        number += 1;
        pair.run(33 * MS);
    };
    send(&mut pair, true);
    (0..10).for_each(|_| send(&mut pair, false));
    let before = requests(&pair.alice_heard);
    // Nothing comes through for longer than anybody waits.
    pair.there.loss = 1.0;
    (0..20).for_each(|_| send(&mut pair, false));
    pair.there.loss = 0.0;
    pair.back.loss = 1.0;
    (0..20).for_each(|_| send(&mut pair, false));
    pair.back.loss = 0.0;
    (0..25).for_each(|_| send(&mut pair, false));
    let asked = requests(&pair.alice_heard) - before;
    assert!((1..=5).contains(&asked), "{asked}");
    let shown = frames(&pair.bob_heard, "1").len();
    send(&mut pair, true);
    (0..5).for_each(|_| send(&mut pair, false));
    pair.run(500 * MS);
    let shown = &frames(&pair.bob_heard, "1")[shown..];
    assert!(shown.ends_with(&[76, 77, 78, 79, 80, 81]), "{shown:?}");
    let plis = pair.bob.statistics().inbound.iter().map(|stream| stream.pli_count).sum::<u64>();
    assert!(plis > 0);
}

#[test]
fn an_application_that_asks_often_asks_once_in_a_while() {
    let mut pair = Pair::new(4, both(100), both(200)).with_keys();
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(100 * MS);
    assert!(pair.bob.request_key_frame("2", None).is_err());
    assert!(pair.bob.request_key_frame("0", None).is_err());
    let before = requests(&pair.alice_heard);
    for _ in 0..100 {
        pair.bob.request_key_frame("1", None).unwrap();
        pair.run(10 * MS);
    }
    let asked = requests(&pair.alice_heard) - before;
    assert!((3..=4).contains(&asked), "{asked}");
}

#[test]
fn before_there_are_keys_nothing_leaves_and_what_comes_too_early_is_kept() {
    let mut pair = Pair::new(5, both(100), both(200));
    assert_eq!(pair.send_video("1", &picture(0, true, 500)), Err(SendError::NotReady));
    assert_eq!(pair.send_video("7", &picture(0, true, 500)), Err(SendError::Unknown));
    pair.alice.set_keys(pair.now, &key(1), &key(2));
    pair.run(MS);
    assert_eq!(requests(&pair.alice_heard), 1);
    assert_eq!(pair.send_video("1", &picture(0, false, 500)), Err(SendError::KeyFrameNeeded));
    for number in 0..5 {
        pair.send_video("1", &picture(number, number == 0, 500)).unwrap();
        pair.run(20 * MS);
    }
    pair.run(50 * MS);
    assert_eq!(pair.bob_heard, []);
    assert_eq!(pair.back.sent, 0);
    pair.bob.set_keys(pair.now, &key(2), &key(1));
    pair.run(MS);
    assert_eq!(frames(&pair.bob_heard, "1"), [0, 1, 2, 3, 4]);
}

#[test]
fn far_too_much_that_comes_too_early_is_counted() {
    let mut pair = Pair::new(6, both(100), both(200));
    for _ in 0..1000 {
        pair.bob.handle_rtp(Time::ZERO, &mut [0x80; 1200]);
    }
    assert!(pair.bob.statistics().drops.early >= 900);
}

#[test]
fn levels_and_orientation_come_along() {
    let mut pair = Pair::new(7, both(100), both(200)).with_keys();
    let level = AudioLevel { below_full: 20, voice: true };
    let orientation = VideoOrientation { quarter_turns: 1, ..VideoOrientation::default() };
    let (sound, image) = (picture(0, false, 50), picture(0, true, 5000));
    let frame = OutgoingFrame { data: &sound, audio_level: Some(level), ..OutgoingFrame::default() };
    pair.alice.write_frame(pair.now, "0", None, &frame).unwrap();
    let frame = OutgoingFrame { data: &image, orientation: Some(orientation), ..OutgoingFrame::default() };
    pair.alice.write_frame(pair.now, "1", None, &frame).unwrap();
    pair.run(300 * MS);
    let told: Vec<_> = pair
        .bob_heard
        .iter()
        .filter_map(|(_, event)| match event {
            Event::FrameReceived { audio_level, orientation, .. } => Some((*audio_level, *orientation)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Some(level), None), (None, Some(orientation))]);
}

#[test]
fn a_forwarder_gets_packets_at_once_and_hands_them_on_as_they_are() {
    let forwarder = |mut terms: Vec<Terms>| {
        terms[0].delivery = Delivery::Packets;
        terms
    };
    let mut first = Pair::new(8, vec![video("1", 100)], forwarder(vec![video("1", 200)])).with_keys();
    let mut second = Pair::new(9, vec![video("1", 300)], vec![video("1", 400)]).with_keys();
    first.there.loss = 0.05;
    let mut forwarded = 0;
    for number in 0..300 {
        first.there.loss = if number < 5 { 0.0 } else { 0.05 };
        first.send_video("1", &picture(number, number == 0, 2500)).unwrap();
        for _ in 0..66 {
            first.step();
            for (_, event) in first.bob_heard.drain(..) {
                let Event::PacketReceived { header, payload, .. } = event else { continue };
                let packet = OutgoingPacket {
                    payload: &payload,
                    payload_type: header.payload_type,
                    sequence_number: header.sequence_number,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    ..OutgoingPacket::default()
                };
                second.alice.write_packet(second.now, "1", None, &packet).unwrap();
                forwarded += 1;
            }
            second.step();
        }
    }
    second.run(Duration::from_secs(1));
    assert!(forwarded >= 900, "{forwarded}");
    assert_eq!(frames(&second.bob_heard, "1"), (0..300).collect::<Vec<_>>());
    assert!(first.bob.statistics().inbound[0].packets_recovered > 10);
}

#[test]
fn a_renegotiation_does_not_interrupt_what_stays_and_ends_what_goes() {
    let mut pair = Pair::new(10, both(100), both(200)).with_keys();
    talk(&mut pair, 2);
    // Pictures go on, sound is gone.
    pair.alice.set_terms(pair.now, vec![video("1", 110)]);
    let before = frames(&pair.bob_heard, "1").len();
    for number in 1000..1010 {
        pair.send_video("1", &picture(number, false, 900)).unwrap();
        pair.run(33 * MS);
    }
    pair.run(100 * MS);
    assert_eq!(frames(&pair.bob_heard, "1")[before..], (1000..1010).collect::<Vec<_>>());
    let ended = |heard: &[(Time, Event)], ssrc| {
        heard.iter().any(|(_, event)| matches!(event, Event::SourceEnded(stream) if stream.ssrc == ssrc))
    };
    assert!(ended(&pair.bob_heard, 100), "goodbye was said");
    assert!(ended(&pair.alice_heard, 200), "nothing may come there any more");
    assert!(!ended(&pair.bob_heard, 110));
    pair.alice.close(pair.now);
    pair.run(100 * MS);
    assert!(ended(&pair.bob_heard, 110));
}

/// Its numbers go on: under the same keys none may be used twice, and the receiver counts on them.
#[test]
fn a_source_that_rests_goes_on_where_it_was() {
    let mut pair = Pair::new(12, both(100), both(200)).with_keys();
    let terms = |rtx_ssrc| {
        let mut terms = video("1", 110);
        terms.send.iter_mut().flatten().for_each(|encoding| encoding.rtx_ssrc = rtx_ssrc);
        vec![terms]
    };
    for (round, rtx_ssrc) in [(0, Some(111)), (1, Some(111)), (2, Some(112)), (3, None)] {
        pair.alice.set_terms(pair.now, terms(rtx_ssrc));
        assert_eq!(pair.send_video("1", &picture(0, false, 900)), Err(SendError::KeyFrameNeeded));
        for number in 0..10 {
            pair.send_video("1", &picture(100 * round + number, number == 0, 900)).unwrap();
            pair.run(33 * MS);
        }
        pair.run(100 * MS);
        pair.alice.set_terms(pair.now, vec![Terms { send: None, ..video("1", 110) }]);
        assert_eq!(pair.send_video("1", &picture(0, true, 900)), Err(SendError::NotSending));
        pair.run(500 * MS);
    }
    let all = (0..4).flat_map(|round| (0..10).map(move |number| 100 * round + number));
    assert_eq!(frames(&pair.bob_heard, "1"), all.collect::<Vec<_>>());
    let outcomes = |event: &Event| match event {
        Event::SourceAppeared(stream) if stream.ssrc == 110 => Some(true),
        Event::SourceEnded(stream) if stream.ssrc == 110 => Some(false),
        _ => None,
    };
    let told: Vec<_> = pair.bob_heard.iter().filter_map(|(_, event)| outcomes(event)).collect();
    assert_eq!(told, [true, false].repeat(4));
}

#[test]
fn a_source_that_falls_silent_ends_and_comes_back() {
    let mut pair = Pair::new(11, both(100), both(200)).with_keys();
    pair.send_video("1", &picture(0, true, 500)).unwrap();
    pair.run(100 * MS);
    pair.there.loss = 1.0;
    pair.run(Duration::from_secs(75));
    let sources = |pair: &Pair| {
        pair.bob_heard
            .iter()
            .filter_map(|(_, event)| match event {
                Event::SourceAppeared(_) => Some(true),
                Event::SourceEnded(_) => Some(false),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sources(&pair), [true, false]);
    pair.there.loss = 0.0;
    pair.send_video("1", &picture(1, true, 500)).unwrap();
    pair.run(100 * MS);
    assert_eq!(sources(&pair), [true, false, true]);
    assert_eq!(frames(&pair.bob_heard, "1"), [0, 1]);
}
