//! How channels open, fill, empty and close.

mod link;

use std::time::Duration;

use link::{FINE, Link, Weather, pattern};
use sansio::Time;
use sterna_sctp::{ChannelConfig, ChannelId, Event, MessageKind, OpenError, Reliability, SendError};

const LONG: Duration = Duration::from_secs(300);
const STORM: Weather =
    Weather { delay: Duration::from_millis(20), jitter: Duration::from_millis(15), loss: 15, twice: 5 };

fn negotiated(id: u16) -> ChannelConfig {
    ChannelConfig { negotiated: Some(ChannelId(id)), ..Default::default() }
}

#[test]
fn the_announcement_tells_all_that_a_channel_promises() {
    for (ordered, reliability) in [
        (true, Reliability::Reliable),
        (false, Reliability::MaxRetransmits(3)),
        (true, Reliability::MaxLifetime(Duration::from_millis(1500))),
    ] {
        let config = ChannelConfig {
            label: "Möwe".into(),
            protocol: "sterna".into(),
            ordered,
            reliability,
            priority: 512,
            negotiated: None,
        };
        let mut link = Link::new(1, FINE);
        let id = link.open(1, config.clone());
        link.run(LONG, |link| link.ends.iter().all(|end| end.events.len() >= 2));
        assert_eq!(
            link.ends[0].events,
            [Event::Connected, Event::ChannelOpened { id, config: config.clone(), incoming: true }]
        );
        assert_eq!(
            link.ends[1].events,
            [Event::Connected, Event::ChannelOpened { id, config, incoming: false }]
        );
    }
}

#[test]
fn a_channel_opens_without_waiting_for_the_acknowledgement() {
    let mut link = Link::new(2, FINE);
    link.run(LONG, Link::connected);
    link.rest(Duration::from_secs(1));
    let before = link.now;
    let id = link.open(0, ChannelConfig::default());
    link.settle();
    assert!(matches!(link.ends[0].events.last(), Some(Event::ChannelOpened { incoming: false, .. })));
    link.send(0, id, b"at once");
    link.run(LONG, |link| !link.ends[1].messages().is_empty());
    assert_eq!(link.now - before, FINE.delay);
}

#[test]
fn channels_agreed_on_elsewhere_need_no_announcement_and_early_messages_wait() {
    let mut link = Link::new(3, FINE);
    let id = link.open(0, negotiated(7));
    link.send(0, id, b"early");
    link.rest(Duration::from_secs(1));
    assert_eq!(link.ends[1].events, [Event::Connected], "nobody announced it");
    link.open(1, negotiated(7));
    link.send(0, id, b"late");
    link.run(LONG, |link| link.ends[1].messages().len() == 2);
    assert_eq!(link.ends[1].messages()[0].2, b"early");
    assert!(matches!(link.ends[1].events[1], Event::ChannelOpened { incoming: false, .. }));
    link.send(1, id, b"and back");
    link.run(LONG, |link| link.ends[0].messages().len() == 1);
}

#[test]
fn what_strangers_send_on_no_channel_is_bounded() {
    let mut link = Link::new(4, FINE);
    let id = link.open(0, negotiated(7));
    for number in 0..2000 {
        link.send(0, id, &pattern(100, number));
    }
    link.rest(Duration::from_secs(20));
    assert!(link.ends[1].messages().is_empty());
    // The stream was reset, so the channel closed; the association lives.
    assert!(link.ends[0].has(&Event::ChannelClosed(id)), "{:?}", link.ends[0].events);
    assert!(link.connected());
    let other = link.open(0, ChannelConfig::default());
    link.send(0, other, b"still here");
    link.run(LONG, |link| link.ends[1].messages().iter().any(|message| message.0 == other.0));
}

#[test]
fn wrong_numbers_and_texts_are_refused() {
    let mut link = Link::with(5, FINE, |config| config.max_channels = 3);
    let now = Time::ZERO;
    let association = &mut link.ends[0].association;
    assert_eq!(association.open_channel(now, negotiated(65_535)), Err(OpenError::InvalidId));
    assert_eq!(association.open_channel(now, negotiated(4)), Ok(ChannelId(4)));
    assert_eq!(association.open_channel(now, negotiated(4)), Err(OpenError::InUse));
    let long = ChannelConfig { label: "x".repeat(65_536), ..Default::default() };
    assert_eq!(association.open_channel(now, long), Err(OpenError::TooLong));
    assert_eq!(association.open_channel(now, ChannelConfig::default()), Ok(ChannelId(0)));
    assert_eq!(association.open_channel(now, ChannelConfig::default()), Ok(ChannelId(2)));
    assert_eq!(association.open_channel(now, ChannelConfig::default()), Err(OpenError::Exhausted));
    assert_eq!(association.send(now, ChannelId(9), MessageKind::Binary, b""), Err(SendError::Closed));
}

#[test]
fn the_peers_channels_beyond_the_limit_are_refused() {
    let mut link = Link::new(6, FINE);
    let config = sterna_sctp::Config {
        max_channels: 1,
        ..sterna_sctp::Config::new(sterna_sctp::Role::Server, sansio::Seed::from(9))
    };
    link.ends[1].association = sterna_sctp::Association::new(Time::ZERO, config);
    let first = link.open(0, ChannelConfig::default());
    let second = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.ends[0].has(&Event::ChannelClosed(second)));
    assert!(!link.ends[0].has(&Event::ChannelClosed(first)));
    assert_eq!(link.ends[1].association.channels().count(), 1);
}

#[test]
fn a_long_label_takes_several_packets() {
    let mut link = Link::new(7, STORM);
    let config =
        ChannelConfig { label: "ä".repeat(30_000), protocol: "p".repeat(65_535), ..Default::default() };
    let id = link.open(0, config.clone());
    link.send(0, id, b"behind it");
    link.run(LONG, |link| !link.ends[1].messages().is_empty());
    assert!(link.ends[1].has(&Event::ChannelOpened { id, config, incoming: true }));
}

#[test]
fn a_full_buffer_refuses_and_tells_when_there_is_room() {
    let mut link = Link::with(8, FINE, |config| config.send_buffer = 100_000);
    let id = link.open(0, ChannelConfig::default());
    let mut sent = 0;
    let mut refusals = 0;
    while sent < 200 {
        let now = link.now;
        match link.ends[0].association.send(now, id, MessageKind::Binary, &pattern(10_000, sent)) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => {
                refusals += 1;
                assert!(link.ends[0].association.buffered_amount(id) > 90_000);
                let before = link.ends[0].events.len();
                link.run(LONG, |link| link.ends[0].events[before..].contains(&Event::Writable(id)));
                assert!(link.ends[0].association.buffered_amount(id) <= 50_000);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refusals > 10);
    link.run(LONG, |link| link.ends[1].messages().len() == 200);
    link.rest(Duration::from_secs(1));
    assert_eq!(link.ends[0].association.buffered_amount(id), 0);
    let writable = link.ends[0].events.iter().filter(|event| **event == Event::Writable(id)).count();
    assert_eq!(writable, refusals, "once for each refusal");
}

#[test]
fn a_message_larger_than_the_buffer_goes_alone() {
    let mut link = Link::with(9, FINE, |config| config.send_buffer = 1_000);
    let id = link.open(0, ChannelConfig::default());
    link.send(0, id, &[1; 5_000]);
    let now = link.now;
    let refused = link.ends[0].association.send(now, id, MessageKind::Binary, b"x");
    assert_eq!(refused, Err(SendError::Full));
    link.run(LONG, |link| link.ends[1].messages().len() == 1);
}

#[test]
fn the_buffered_amount_counts_messages_only_and_tells_when_it_is_low() {
    let mut link = Link::new(10, FINE);
    let id = link.open(0, ChannelConfig { label: "long label".repeat(10), ..Default::default() });
    let association = &mut link.ends[0].association;
    assert_eq!(association.buffered_amount(id), 0);
    association.set_buffered_amount_low_threshold(id, 5_000);
    link.send(0, id, &[0; 20_000]);
    assert_eq!(link.ends[0].association.buffered_amount(id), 20_000);
    link.run(LONG, |link| link.ends[0].has(&Event::BufferedAmountLow(id)));
    assert!(link.ends[0].association.buffered_amount(id) <= 5_000);
    link.rest(Duration::from_secs(2));
    assert_eq!(link.ends[0].association.buffered_amount(id), 0);
    // A second time, from a connected state and with the default threshold.
    link.ends[0].association.set_buffered_amount_low_threshold(id, 0);
    let before = link.ends[0].events.len();
    link.send(0, id, &[0; 20_000]);
    link.run(LONG, |link| link.ends[0].events[before..].contains(&Event::BufferedAmountLow(id)));
    assert_eq!(link.ends[0].association.buffered_amount(id), 0);
}

#[test]
fn closing_loses_nothing_with_any_seed() {
    for seed in 0..100 {
        let mut link = Link::new(seed, STORM);
        let id = link.open(0, ChannelConfig { ordered: seed % 2 == 0, ..Default::default() });
        let other = link.open(0, ChannelConfig::default());
        if seed % 3 == 0 {
            link.run(LONG, Link::connected);
        }
        for number in 0..20 {
            link.send(0, id, &pattern(3_000, number));
            link.send(0, other, &pattern(1_000, number));
        }
        let now = link.now;
        link.ends[0].association.close_channel(now, id);
        assert_eq!(link.ends[0].association.send(now, id, MessageKind::Binary, b"x"), Err(SendError::Closed));
        link.run(LONG, |link| link.ends.iter().all(|end| end.has(&Event::ChannelClosed(id))));
        let closed = link.ends[1].events.iter().position(|event| *event == Event::ChannelClosed(id));
        let before = link.ends[1].events[..closed.unwrap()].iter();
        let arrived = before.filter(|event| {
            matches!(event, Event::MessageReceived { id: on, data, .. } if *on == id && data.len() == 3_000)
        });
        assert_eq!(arrived.count(), 20, "seed {seed}");
        link.run(LONG, |link| link.ends[1].messages().iter().filter(|m| m.0 == other.0).count() == 20);
        // The number can be used again, and what comes is new.
        let again = link.open(0, ChannelConfig { label: "again".into(), ..Default::default() });
        assert_eq!(again, id);
        link.send(0, again, b"second life");
        link.run(LONG, |link| link.ends[1].messages().last().is_some_and(|m| m.2 == b"second life"));
    }
}

#[test]
fn both_ends_may_close_at_the_same_time_while_both_have_data_under_way() {
    for seed in 0..60 {
        let mut link = Link::new(seed, STORM);
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        for number in 0..10 {
            link.send(0, id, &pattern(2_000, number));
            link.send(1, id, &pattern(2_000, number));
        }
        let now = link.now;
        link.ends[0].association.close_channel(now, id);
        link.ends[1].association.close_channel(now, id);
        link.run(LONG, |link| link.ends.iter().all(|end| end.has(&Event::ChannelClosed(id))));
        assert!(link.connected(), "seed {seed}");
        assert_eq!(
            link.ends[0].association.channels().count() + link.ends[1].association.channels().count(),
            0
        );
    }
}

#[test]
fn a_hundred_channels_can_close_at_once() {
    let mut link = Link::new(11, STORM);
    let ids: Vec<ChannelId> = (0..100).map(|_| link.open(0, ChannelConfig::default())).collect();
    for id in &ids {
        link.send(0, *id, b"bye");
    }
    let now = link.now;
    for id in &ids {
        link.ends[0].association.close_channel(now, *id);
    }
    link.run(LONG, |link| {
        link.ends.iter().all(|end| ids.iter().all(|id| end.has(&Event::ChannelClosed(*id))))
    });
    assert_eq!(link.ends[1].messages().len(), 100);
    assert!(link.connected());
}

#[test]
fn closing_the_association_delivers_first() {
    for seed in 0..30 {
        let mut link = Link::new(seed, STORM);
        let id = link.open(0, ChannelConfig::default());
        for number in 0..30 {
            link.send(0, id, &pattern(3_000, number));
        }
        let now = link.now;
        link.ends[0].association.close(now);
        link.weather.twice = 0;
        link.run(LONG, |link| link.ends[0].is_over());
        link.weather.loss = 0;
        link.rest(Duration::from_secs(1));
        assert_eq!(link.ends[1].messages().len(), 30, "seed {seed}");
        assert_eq!(link.ends[0].events.last(), Some(&Event::Closed));
        assert_eq!(link.ends[0].events.iter().filter(|e| **e == Event::ChannelClosed(id)).count(), 1);
    }
}

#[test]
fn aborting_ends_both_ends_at_once_and_quietly() {
    let mut link = Link::new(12, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    link.send(1, id, b"just arrived");
    link.ends[0].asleep = true;
    link.rest(Duration::from_millis(500));
    let now = link.now;
    link.ends[1].association.abort(now);
    link.rest(Duration::from_secs(1));
    link.ends[0].asleep = false;
    link.settle();
    // What was received before the end is still handed over.
    let events = &link.ends[0].events[link.ends[0].events.len() - 3..];
    let message = Event::MessageReceived { id, kind: MessageKind::Binary, data: "just arrived".into() };
    assert_eq!(events, [message, Event::ChannelClosed(id), Event::Closed]);
    assert_eq!(link.ends[1].events.last(), Some(&Event::Closed));
    assert!(!link.step(), "nothing goes on");
    assert_eq!(
        link.ends[0].association.open_channel(link.now, ChannelConfig::default()),
        Err(OpenError::Closed)
    );
}

#[test]
fn a_reader_that_stops_makes_the_sender_wait_and_goes_on_at_once() {
    for seed in 0..5 {
        let mut link = Link::with(seed, FINE, |config| {
            config.local_max_message_size = 50_000;
            config.receive_window = 200_000;
        });
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        let now = link.now;
        link.ends[1].association.set_reading(now, id, false);
        for number in 0..50 {
            link.send(0, id, &pattern(20_000, number));
        }
        link.rest(Duration::from_secs(8));
        assert!(link.ends[1].messages().is_empty());
        assert!(link.ends[0].association.buffered_amount(id) > 700_000, "the sender waits");
        let now = link.now;
        link.ends[1].association.set_reading(now, id, true);
        link.run(LONG, |link| link.ends[1].messages().len() == 50);
        assert!(link.now - now < Duration::from_millis(500), "it took {:?}", link.now - now);
    }
}

#[test]
fn a_reader_that_rests_for_long_costs_no_more_than_one_probe() {
    let mut link = Link::new(14, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    let now = link.now;
    link.ends[1].association.set_reading(now, id, false);
    let mut sent = 0;
    while link.ends[0].association.send(link.now, id, MessageKind::Binary, &pattern(60_000, sent)).is_ok() {
        sent += 1;
        link.rest(Duration::from_millis(100));
    }
    link.rest(Duration::from_secs(200));
    assert!(link.ends[1].messages().is_empty());
    let now = link.now;
    link.ends[1].association.set_reading(now, id, true);
    link.run(LONG, |link| link.ends[1].messages().len() == sent);
    assert!(link.now - now < Duration::from_secs(5), "it took {:?}", link.now - now);
}

#[test]
fn a_slow_reader_is_served_without_pauses() {
    let mut link = Link::with(15, FINE, |config| {
        config.send_buffer = 16 << 20;
        config.local_max_message_size = 16_384;
        config.receive_window = 256 * 1024;
    });
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    for number in 0..512 {
        link.send(0, id, &pattern(16_384, number));
    }
    // Reads for 20 ms of each 100, which at most lets through two windows each time.
    let begin = link.now;
    let mut reading = false;
    while link.ends[1].messages().len() < 512 {
        reading = !reading;
        let now = link.now;
        link.ends[1].association.set_reading(now, id, reading);
        link.rest(Duration::from_millis(if reading { 20 } else { 80 }));
        assert!(link.now - begin < Duration::from_secs(6), "{} messages", link.ends[1].messages().len());
    }
}

/// A link whose throughput the window limits, as that of a real one is limited by its rate.
fn narrow(seed: u64) -> Link {
    let mut link = Link::with(seed, FINE, |config| {
        config.send_buffer = 64 << 20;
        config.local_max_message_size = 16_384;
        config.receive_window = 65_536;
    });
    link.run(LONG, Link::connected);
    link.rest(Duration::from_secs(1));
    link
}

#[test]
fn a_short_message_does_not_wait_behind_a_long_transfer() {
    let mut link = narrow(16);
    let file = link.open(0, ChannelConfig::default());
    let chat = link.open(0, ChannelConfig::default());
    for number in 0..1000 {
        link.send(0, file, &pattern(16_384, number));
    }
    link.rest(Duration::from_secs(1));
    let before = link.now;
    link.send(0, chat, b"quick");
    link.run(LONG, |link| link.ends[1].messages().iter().any(|message| message.0 == chat.0));
    // The 16 MB ahead take five seconds.
    assert!(link.now - before < Duration::from_millis(150), "it took {:?}", link.now - before);
    // A channel of the peer opens and is acknowledged in the midst of it.
    let before = link.now;
    let theirs = link.open(1, ChannelConfig { ordered: false, ..Default::default() });
    link.send(1, theirs, b"question");
    link.run(LONG, |link| link.ends[0].messages().iter().any(|message| message.0 == theirs.0));
    link.send(0, theirs, b"answer");
    link.run(LONG, |link| link.ends[1].messages().iter().any(|message| message.0 == theirs.0));
    assert!(link.now - before < Duration::from_millis(200), "it took {:?}", link.now - before);
}

#[test]
fn channels_share_by_their_priority() {
    let mut link = narrow(17);
    let ids = [128, 256, 1024].map(|priority| link.open(0, ChannelConfig { priority, ..Default::default() }));
    for id in ids {
        for number in 0..800 {
            link.send(0, id, &pattern(4_096, number));
        }
    }
    link.run(LONG, |link| link.ends[1].messages().len() >= 700);
    let counts = ids.map(|id| link.ends[1].messages().iter().filter(|message| message.0 == id.0).count());
    let ratio = |a: usize, b: usize| counts[a] as f64 / counts[b] as f64;
    assert!((1.6..2.4).contains(&ratio(1, 0)), "{counts:?}");
    assert!((3.4..4.6).contains(&ratio(2, 1)), "{counts:?}");
}
