//! After a loss the association is soon as fast as before.

mod link;

use std::time::Duration;

use link::{Link, Weather, pattern};
use sterna_sctp::{ChannelConfig, Event, SendError};

const LONG: Duration = Duration::from_secs(600);
const ROUND_TRIP: Duration = Duration::from_millis(50);
const STEADY: Weather =
    Weather { delay: Duration::from_millis(25), jitter: Duration::ZERO, loss: 0, twice: 0 };

#[test]
fn a_lost_tail_is_repeated_in_ever_larger_steps() {
    for seed in 0..10 {
        let mut link = Link::new(seed, STEADY);
        let id = link.open(0, ChannelConfig::default());
        // Warm up, until the buffer is what limits.
        let mut count = 0;
        let message = pattern(16_000, 1);
        while count < 400 {
            let now = link.now;
            match link.ends[0].association.send(now, id, sterna_sctp::MessageKind::Binary, &message) {
                Ok(()) => count += 1,
                Err(SendError::Full) => assert!(link.step()),
                Err(error) => panic!("{error}"),
            }
        }
        link.run(LONG, |link| link.ends[1].messages().len() == 400);
        link.rest(Duration::from_secs(1));
        // Then a whole buffer, of which nothing arrives.
        for _ in 0..60 {
            link.send(0, id, &message);
        }
        link.weather.loss = 100;
        link.settle();
        link.rest(ROUND_TRIP);
        link.weather.loss = 0;
        let lost = link.now;
        link.run(LONG, |link| link.ends[1].messages().len() == 460);
        let took = link.now - lost;
        // The timeout, and then 800 packets in some ten doublings.
        assert!(took < Duration::from_millis(500) + 25 * ROUND_TRIP, "seed {seed}: {took:?}");
    }
}

#[test]
fn a_burst_that_is_lost_in_the_middle_costs_a_few_round_trips() {
    for seed in 0..10 {
        let mut link = Link::new(seed, STEADY);
        let id = link.open(0, ChannelConfig::default());
        let message = pattern(16_000, 1);
        let mut count = 0;
        let (mut lossy, mut since) = (None, None);
        while count < 900 {
            let now = link.now;
            // A whole settling, somewhere in full flight, and then no more.
            if count == 500 && since.is_none() {
                (link.weather.loss, lossy, since) = (100, Some(now + Duration::from_millis(10)), Some(now));
            }
            if lossy.is_some_and(|until| now >= until) {
                (link.weather.loss, lossy) = (0, None);
            }
            match link.ends[0].association.send(now, id, sterna_sctp::MessageKind::Binary, &message) {
                Ok(()) => count += 1,
                Err(SendError::Full) => assert!(link.step()),
                Err(error) => panic!("{error}"),
            }
        }
        link.weather.loss = 0;
        link.run(LONG, |link| link.ends[1].messages().len() == 900);
        let took = link.now - since.expect("it was lossy");
        // 400 messages are eight buffers, at one buffer a round trip.
        assert!(took < Duration::from_millis(600) + 40 * ROUND_TRIP, "seed {seed}: {took:?}");
    }
}

#[test]
fn a_dead_path_is_probed_less_and_less() {
    let near = Weather { delay: Duration::from_micros(500), ..STEADY };
    let mut link = Link::new(2, near);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].events.len() > 1);
    link.rest(Duration::from_secs(1));
    link.weather.loss = 100;
    link.ends[0].sent.clear();
    link.send(0, id, b"lost");
    link.rest(Duration::from_millis(390));
    // At 5, 15, 35, 75, 155 and 315 ms, and the retransmission timer comes after 400.
    assert_eq!(link.ends[0].sent.len(), 7);
    link.rest(Duration::from_secs(60));
    assert!((20..40).contains(&link.ends[0].sent.len()), "{}", link.ends[0].sent.len());
}

#[test]
fn a_channel_is_closed_without_waiting_for_anything_but_the_network() {
    let mut link = Link::new(1, STEADY);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].events.len() > 1);
    link.rest(Duration::from_secs(1));
    let start = link.now;
    link.send(0, id, b"the only packet");
    let now = link.now;
    link.ends[0].association.close_channel(now, id);
    link.run(LONG, |link| link.ends[0].has(&Event::ChannelClosed(id)));
    let took = link.now - start;
    assert!(took <= 3 * ROUND_TRIP, "{took:?}");
}
