use std::time::Duration;

use sterna_rtp::session::{Encoding, Event, OutgoingFrame, SendError, Terms};

use crate::pair::{MS, Pair, picture};
use crate::terms::video;

/// A camera in three sizes: the smallest matters most.
fn camera() -> Vec<Terms> {
    let layer = |at: u32, rid: &str, most: u64| Encoding {
        rid: Some(rid.into()),
        rtx_ssrc: Some(101 + 10 * at),
        max_bitrate: Some(most),
        ..Encoding::new(100 + 10 * at)
    };
    let layers = vec![layer(0, "q", 150_000), layer(1, "h", 500_000), layer(2, "f", 1_500_000)];
    vec![Terms { send: Some(layers), ..video("v", 0) }]
}

fn viewer() -> Vec<Terms> {
    let rids = ["q", "h", "f"].map(Box::from).to_vec();
    vec![Terms { send: None, remote_rids: rids, ..video("v", 0) }]
}

/// Sends pictures of the size that the last word of the session allows, in each layer.
fn film(pair: &mut Pair, seconds: u64, frame: &mut u32) -> Vec<(String, Vec<u64>)> {
    let mut rates: Vec<(String, Vec<u64>)> =
        ["q", "h", "f"].map(|rid| (rid.to_string(), Vec::new())).to_vec();
    for _ in 0..seconds * 30 {
        for (rid, told) in &mut rates {
            let rate = pair
                .alice
                .statistics()
                .outbound
                .iter()
                .find(|one| one.rid.as_deref() == Some(rid))
                .unwrap()
                .target_bitrate;
            told.push(rate);
            let data = picture(*frame, (*frame).is_multiple_of(30), (rate / 8 / 30) as usize);
            let outgoing =
                OutgoingFrame { data: &data, time: pair.now.elapsed(), ..OutgoingFrame::default() };
            match pair.alice.write_frame(pair.now, "v", Some(rid), &outgoing) {
                Ok(()) => {}
                Err(SendError::Paused) => assert_eq!(rate, 0),
                // After a pause.
                Err(SendError::KeyFrameNeeded) => assert_ne!(*frame % 30, 0),
                Err(error) => panic!("{error}"),
            }
        }
        *frame += 1;
        pair.run(Duration::from_micros(33_333));
    }
    rates
}

fn frames(pair: &Pair, rid: &str) -> usize {
    let of = |event: &Event| matches!(event, Event::FrameReceived { stream, .. } if stream.rid.as_deref() == Some(rid));
    pair.bob_heard.iter().filter(|(_, event)| of(event)).count()
}

#[test]
fn three_layers_come_under_their_names_with_their_retransmissions() {
    let mut pair = Pair::new(1, camera(), viewer()).with_keys();
    pair.there.capacity = Some(5e6);
    film(&mut pair, 4, &mut 0);
    pair.there.loss = 0.03;
    film(&mut pair, 4, &mut 120);
    pair.run(300 * MS);
    for rid in ["q", "h", "f"] {
        assert!(frames(&pair, rid) > 100, "{rid}: {}", frames(&pair, rid));
    }
    let inbound = pair.bob.statistics().inbound;
    assert_eq!(inbound.len(), 3);
    for stream in &inbound {
        assert_eq!(stream.rtx_ssrc, Some(stream.ssrc + 1), "{stream:?}");
        assert!(stream.rid.as_deref() != Some("f") || stream.packets_recovered > 0);
    }
}

#[test]
fn layers_that_do_not_fit_are_paused_and_come_back_with_a_key_frame() {
    let mut pair = Pair::new(2, camera(), viewer()).with_keys();
    pair.there.capacity = Some(4e6);
    let mut frame = 0;
    film(&mut pair, 5, &mut frame);
    pair.there.capacity = Some(600e3);
    let narrow = film(&mut pair, 6, &mut frame);
    assert!(narrow[0].1.iter().all(|rate| *rate > 0), "the smallest goes on");
    assert_eq!(narrow[2].1.last(), Some(&0), "the largest is paused");
    let before = frames(&pair, "f");
    pair.there.capacity = Some(4e6);
    let wide = film(&mut pair, 6, &mut frame);
    assert!(*wide[2].1.last().unwrap() > 700_000);
    assert!(frames(&pair, "f") > before + 50);
}

#[test]
fn a_key_frame_is_asked_for_of_one_layer() {
    let mut pair = Pair::new(3, camera(), viewer()).with_keys();
    pair.there.capacity = Some(5e6);
    film(&mut pair, 3, &mut 0);
    let before = pair.alice_heard.len();
    pair.bob.request_key_frame("v", Some("h")).unwrap();
    pair.run(100 * MS);
    let asked: Vec<_> = pair.alice_heard[before..]
        .iter()
        .filter_map(|(_, event)| match event {
            Event::KeyFrameRequested { rid, .. } => rid.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(asked, ["h"]);
    assert!(pair.bob.request_key_frame("v", Some("x")).is_err());
}
