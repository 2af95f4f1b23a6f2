//! What two ends agree on, and that they do well without.

mod link;

use std::time::Duration;

use link::{FINE, Link, Weather, pattern};
use sansio::{Machine as _, Seed, Time};
use sterna_sctp::{Association, ChannelConfig, Config, Congestion, Event, Reliability, Role};

const LONG: Duration = Duration::from_secs(300);
const STORM: Weather =
    Weather { delay: Duration::from_millis(20), jitter: Duration::from_millis(15), loss: 15, twice: 5 };

fn config(end: usize) -> Config {
    Config::new([Role::Client, Role::Server][end], Seed::from(end as u64 + 70))
}

/// Two ends that heard each other's INIT beforehand.
fn snapped(weather: Weather, mut change: impl FnMut(usize, &mut Config)) -> Link {
    let mut link = Link::new(1, weather);
    let configs = [0, 1].map(|end| {
        let mut config = config(end);
        change(end, &mut config);
        config
    });
    let inits = configs.clone().map(|config| config.init());
    for (end, config) in configs.into_iter().enumerate() {
        link.ends[end].association =
            Association::agreed(Time::ZERO, config, &inits[1 - end]).expect("it is sound");
    }
    link
}

/// The types of all chunks that an end has sent.
fn kinds(link: &Link, end: usize) -> std::collections::BTreeSet<u8> {
    let mut kinds = std::collections::BTreeSet::new();
    for (_, packet) in &link.ends[end].sent {
        let mut rest = &packet[12..];
        while rest.len() >= 4 {
            kinds.insert(rest[0]);
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]])).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    kinds
}

#[test]
fn with_snap_the_first_message_takes_half_a_round_trip_and_no_handshake() {
    let mut link = snapped(FINE, |_, _| {});
    assert!(link.connected());
    let id = link.open(0, ChannelConfig::default());
    link.send(0, id, b"hello");
    link.run(LONG, |link| !link.ends[1].messages().is_empty());
    assert_eq!(link.now.elapsed(), FINE.delay);
    assert_eq!(link.ends[0].events[0], Event::Connected);
    link.rest(Duration::from_secs(5));
    for end in [0, 1] {
        assert!(kinds(&link, end).is_disjoint(&[1, 2, 10, 11].into()), "{:?}", kinds(&link, end));
    }
}

#[test]
fn snap_survives_loss_and_a_peer_that_shakes_hands_all_the_same() {
    let mut link = snapped(STORM, |_, _| {});
    let id = link.open(0, ChannelConfig::default());
    for number in 0..40 {
        link.send(0, id, &pattern(3_000, number));
    }
    link.run(LONG, |link| link.ends[1].messages().len() == 40);
    // One side knows nothing of SNAP although it was promised.
    let mut link = snapped(FINE, |_, _| {});
    link.ends[1].association = Association::new(Time::ZERO, config(1));
    let id = link.open(0, ChannelConfig::default());
    link.send(0, id, b"hello");
    link.run(LONG, |link| !link.ends[1].messages().is_empty());
}

#[test]
fn messages_are_interleaved_if_both_can_and_one_after_another_if_not() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        for seed in 0..10 {
            let mut link = Link::with(seed, STORM, |config| config.interleaving = ours);
            link.ends[1].association =
                Association::new(Time::ZERO, Config { interleaving: theirs, ..config(1) });
            let ids = [0, 1, 2].map(|number| {
                let reliability =
                    if number == 2 { Reliability::MaxRetransmits(0) } else { Reliability::Reliable };
                link.open(0, ChannelConfig { reliability, ordered: number == 0, ..Default::default() })
            });
            for number in 0..10 {
                ids.iter().for_each(|id| link.send(0, *id, &pattern(20_000, number)));
            }
            link.run(LONG, |link| {
                let messages = link.ends[1].messages();
                ids[..2].iter().all(|id| messages.iter().filter(|message| message.0 == id.0).count() == 10)
            });
            for (_, _, data) in link.ends[1].messages() {
                assert!((0..10).any(|number| data == pattern(20_000, number)), "damaged");
            }
            let both = ours && theirs;
            let kinds = kinds(&link, 0);
            assert_eq!((kinds.contains(&64), kinds.contains(&0)), (both, !both));
            assert!(!kinds.contains(if both { &192 } else { &194 }));
        }
    }
}

#[test]
fn a_large_message_does_not_hold_up_a_small_one_on_another_channel() {
    let latency = {
        let mut link = Link::with(3, FINE, |config| {
            config.receive_window = 65_536;
            config.local_max_message_size = 16_384;
            config.remote_max_message_size = 0;
            config.send_buffer = 16 << 20;
        });
        link.run(LONG, Link::connected);
        let (bulk, chat) = (link.open(0, ChannelConfig::default()), link.open(0, ChannelConfig::default()));
        for number in 0..600 {
            link.send(0, bulk, &pattern(16_384, number));
        }
        link.rest(Duration::from_millis(500));
        let before = link.now;
        link.send(0, chat, b"quick");
        link.run(LONG, |link| link.ends[1].messages().iter().any(|message| message.0 == chat.0));
        link.now - before
    };
    assert!(latency <= FINE.delay * 4, "{latency:?}");
}

#[test]
fn many_long_messages_at_once_do_not_lock_each_other_out() {
    // Together they are far more than the window, and none can be read before it is whole.
    let mut link = Link::with(4, FINE, |config| {
        config.local_max_message_size = 100_000;
        config.remote_max_message_size = 100_000;
        config.receive_window = 400_000;
    });
    let ids: Vec<_> = (0..100).map(|_| link.open(0, ChannelConfig::default())).collect();
    ids.iter().for_each(|id| link.send(0, *id, &pattern(100_000, id.0.into())));
    link.run(LONG, |link| link.ends[1].messages().len() == 100);
    for (id, _, data) in link.ends[1].messages() {
        assert!(data == pattern(100_000, id.into()));
    }
}

#[test]
fn the_last_packet_of_a_burst_asks_for_an_answer_at_once() {
    let mut link = Link::new(5, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    link.rest(Duration::from_secs(1));
    let before = link.now;
    link.send(0, id, b"one");
    link.run(LONG, |link| {
        let mut sent = link.ends[1].sent.iter();
        sent.any(|(at, packet)| *at > before && packet[12] == 3)
    });
    assert_eq!(link.now - before, FINE.delay, "the SACK was not delayed");
}

#[test]
fn after_a_pause_without_path_everything_goes_on_at_once() {
    for wait in [1, 10, 100] {
        let mut link = Link::new(6, FINE);
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        link.weather.loss = 100;
        for number in 0..10 {
            link.send(0, id, &pattern(5_000, number));
        }
        link.rest(Duration::from_secs(wait));
        link.weather.loss = 0;
        let now = link.now;
        link.ends[0].association.hurry(now);
        link.run(LONG, |link| link.ends[1].messages().len() == 10);
        assert!(link.now - now < Duration::from_millis(200), "{:?} after {wait} s", link.now - now);
    }
}

#[test]
fn larger_packets_are_found_where_they_arrive_and_the_rest_goes_on_where_not() {
    for limit in [1160, 1300, 1400] {
        let mut link = Link::with(8, FINE, |config| config.largest_mtu = 1400);
        link.largest = limit;
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        link.rest(Duration::from_secs(60));
        let mtu = link.ends[0].association.mtu();
        assert!(mtu <= limit && limit - mtu < 64, "{mtu} of {limit}");
        link.ends[0].sent.clear();
        link.send(0, id, &pattern(60_000, 1));
        link.run(LONG, |link| link.ends[1].messages().len() == 1);
        let longest = link.ends[0].sent.iter().map(|(_, packet)| packet.len()).max();
        assert!(longest.is_some_and(|longest| mtu - longest < 4), "{longest:?} of {mtu}");
    }
}

#[test]
fn a_path_that_gets_narrower_in_the_middle_of_a_transfer_swallows_nothing_for_long() {
    for (largest, before, after) in [(1432, 1432, 1300), (8932, 9000, 1432), (8932, 9000, 1160)] {
        let mut link = Link::with(9, FINE, |config| config.largest_mtu = largest);
        link.largest = before;
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        link.rest(Duration::from_secs(60));
        assert_eq!(link.ends[0].association.mtu(), largest);
        (0..60).for_each(|salt| link.send(0, id, &pattern(16_000, salt)));
        link.run(LONG, |link| link.ends[1].messages().len() >= 20);
        link.largest = after;
        let since = link.now;
        link.run(LONG, |link| link.ends[1].messages().len() == 60);
        assert!(link.now - since < Duration::from_secs(3), "{before} to {after}: {:?}", link.now - since);
        for (salt, (_, _, data)) in link.ends[1].messages().iter().enumerate() {
            assert!(*data == pattern(16_000, salt));
        }
        link.rest(Duration::from_secs(90));
        let mtu = link.ends[0].association.mtu();
        assert!(mtu <= after && after - mtu < 64, "{mtu} of {after}");
    }
}

#[test]
fn losses_by_chance_are_not_blamed_on_the_size() {
    let mut link = Link::with(10, FINE, |config| config.largest_mtu = 1432);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    link.rest(Duration::from_secs(5));
    link.weather.loss = 5;
    for salt in 0..200 {
        link.run(LONG, |link| link.ends[0].association.buffered_amount(id) < 900_000);
        link.send(0, id, &pattern(16_000, salt));
        assert_eq!(link.ends[0].association.mtu(), 1432);
    }
}

#[test]
fn both_controllers_deliver_in_any_weather() {
    for congestion in [Congestion::Cubic, Congestion::Bbr] {
        for seed in 0..20 {
            let mut link = Link::with(seed, STORM, |config| config.congestion = congestion);
            let id = link.open(0, ChannelConfig::default());
            for number in 0..40 {
                link.send(0, id, &pattern(9_000, number));
            }
            link.run(LONG, |link| link.ends[1].messages().len() == 40);
            for (number, (_, _, data)) in link.ends[1].messages().iter().enumerate() {
                assert!(*data == pattern(9_000, number));
            }
        }
    }
}

#[test]
fn idle_associations_have_nothing_to_do() {
    let mut link = Link::new(9, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.send(0, id, &pattern(50_000, 1));
    link.run(LONG, |link| link.ends[1].messages().len() == 1);
    link.rest(Duration::from_secs(2));
    for end in &link.ends {
        assert_eq!(end.association.poll_timeout(), None);
    }
}
