use std::time::Duration;

use sterna_rtp::session::{Feedback, OutgoingFrame, Terms};

use crate::pair::{MS, Pair, picture};
use crate::terms::video;

/// What was seen at a moment.
struct Sample {
    at: f64,
    capacity: f64,
    estimate: f64,
    wait: Duration,
}

/// A camera that follows its bitrate, over a way whose capacity changes.
fn film(seed: u64, seconds: u64, by_source: bool, capacity: impl Fn(f64) -> f64) -> Vec<Sample> {
    let video = |ssrc| {
        let mut terms = video("v", ssrc);
        if by_source {
            let feedback = Feedback { nack: true, pli: true, ccfb: true, ..Feedback::default() };
            terms.formats.iter_mut().chain(&mut terms.expected).for_each(|format| format.feedback = feedback);
        }
        terms
    };
    let viewer = Terms { send: None, ..video(0) };
    let mut pair = Pair::new(seed, vec![video(100)], vec![viewer]).with_keys();
    let mut samples = Vec::new();
    for number in 0..seconds as u32 * 30 {
        let statistics = pair.alice.statistics();
        let rate = statistics.outbound[0].target_bitrate.max(100_000);
        // Pictures differ in size.
        let size =
            rate as f64 / 8.0 / 30.0 * (0.7 + 0.6 * f64::from((number * 7919 + seed as u32) % 100) / 100.0);
        let data = picture(number, number == 0, size as usize);
        let frame = OutgoingFrame { data: &data, time: pair.now.elapsed(), ..OutgoingFrame::default() };
        pair.alice.write_frame(pair.now, "v", None, &frame).unwrap();
        for _ in 0..66 {
            let at = pair.now.elapsed().as_secs_f64();
            pair.there.capacity = Some(capacity(at));
            pair.step();
            samples.push(Sample {
                at,
                capacity: capacity(at),
                estimate: 0.0,
                wait: pair.there.wait(pair.now),
            });
        }
        let estimate = pair.alice.statistics().available_outgoing_bitrate;
        samples.iter_mut().rev().take(66).for_each(|sample| sample.estimate = estimate);
    }
    samples
}

/// How long after a moment the estimate first had 90 % of the capacity.
fn found(samples: &[Sample], from: f64) -> f64 {
    let found = samples.iter().find(|sample| sample.at >= from && sample.estimate >= 0.9 * sample.capacity);
    found.map_or(f64::INFINITY, |sample| sample.at - from)
}

fn longest(samples: &[Sample], from: f64, to: f64) -> Duration {
    let inside = samples.iter().filter(|sample| (from..to).contains(&sample.at));
    inside.map(|sample| sample.wait).max().unwrap()
}

#[test]
fn a_new_capacity_is_found_within_three_seconds_and_queues_stay_short() {
    for (seed, before, after) in [(1, 500e3, 2e6), (2, 1e6, 3e6), (3, 300e3, 600e3), (4, 2e6, 8e6)] {
        let samples = film(seed, 16, false, |at| if at < 8.0 { before } else { after });
        let (first, second) = (found(&samples, 0.0), found(&samples, 8.0));
        let wait = longest(&samples, 0.0, 16.0);
        println!("{before} to {after}: after {first:.2} s and {second:.2} s, waits {wait:?} at most");
        assert!(first < 3.0 && second < 3.0, "{before} to {after}: {first} s and {second} s");
        assert!(wait < 100 * MS, "{before} to {after}: {wait:?}");
    }
}

#[test]
fn a_capacity_that_falls_is_followed() {
    for (seed, before, after) in [(1, 2e6, 1e6), (2, 3e6, 1e6), (3, 1e6, 500e3)] {
        let samples = film(seed, 16, false, |at| if at < 8.0 { before } else { after });
        let settled = longest(&samples, 10.0, 16.0);
        println!(
            "{before} to {after}: waits {:?} before, {:?} at the change, {settled:?} afterwards",
            longest(&samples, 0.0, 8.0),
            longest(&samples, 8.0, 10.0)
        );
        assert!(settled < 100 * MS, "{before} to {after}: {settled:?}");
        let last: Vec<f64> =
            samples.iter().filter(|sample| sample.at > 12.0).map(|sample| sample.estimate).collect();
        let mean = last.iter().sum::<f64>() / last.len() as f64 / after;
        assert!((0.75..1.15).contains(&mean), "{mean}");
    }
}

#[test]
fn feedback_by_source_does_as_well() {
    let samples = film(5, 16, true, |at| if at < 8.0 { 500e3 } else { 2e6 });
    let (first, second) = (found(&samples, 0.0), found(&samples, 8.0));
    let wait = longest(&samples, 0.0, 16.0);
    println!("after {first:.2} s and {second:.2} s, waits {wait:?} at most");
    assert!(first < 3.0 && second < 3.0, "{first} s and {second} s");
    assert!(wait < 100 * MS, "{wait:?}");
}

#[test]
fn what_waits_for_its_turn_is_not_missed() {
    let mut pair =
        Pair::new(6, vec![video("v", 100)], vec![Terms { send: None, ..video("v", 0) }]).with_keys();
    for number in 0..1200 {
        pair.there.capacity = Some(if number < 300 { 3e6 } else { 1.5e6 });
        // An encoder that takes more than it is given, so that something waits while probes are made of what was sent.
        let rate = pair.alice.statistics().outbound[0].target_bitrate.max(100_000);
        let part = 0.8 + 0.6 * f64::from(number * 7919 % 101) / 100.0;
        let data = picture(number, number == 0, (rate as f64 / 8.0 / 30.0 * part) as usize);
        let frame = OutgoingFrame { data: &data, time: pair.now.elapsed(), ..OutgoingFrame::default() };
        pair.alice.write_frame(pair.now, "v", None, &frame).unwrap();
        pair.run(33 * MS);
    }
    let sent = &pair.alice.statistics().outbound[0];
    assert_eq!((sent.nack_count, sent.retransmitted_packets_sent), (0, 0), "nothing was lost");
}
