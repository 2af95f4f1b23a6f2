//! What is sent arrives, as the channel promises.

mod link;

use std::time::Duration;

use link::{FINE, Link, Weather, pattern};
use sansio::{Machine as _, Rng, Seed};
use sterna_sctp::{ChannelConfig, ChannelId, Event, MessageKind, Reliability, SendError};

const LONG: Duration = Duration::from_secs(600);

fn storm(loss: u64) -> Weather {
    Weather { delay: Duration::from_millis(20), jitter: Duration::from_millis(15), loss, twice: 5 }
}

#[test]
fn the_first_message_arrives_after_one_and_a_half_round_trips() {
    let mut link = Link::new(1, FINE);
    // The server begins later, so that the client does all the work.
    let id = link.open(0, ChannelConfig { label: "first".into(), ..Default::default() });
    link.send(0, id, b"hello");
    link.run(LONG, |link| !link.ends[1].messages().is_empty());
    assert_eq!(link.now.elapsed(), Duration::from_millis(30));
    assert_eq!(link.ends[1].messages(), [(0, MessageKind::Binary, &b"hello"[..])]);
    let opened = Event::ChannelOpened {
        id,
        config: ChannelConfig { label: "first".into(), ..Default::default() },
        incoming: true,
    };
    assert!(link.ends[1].has(&opened));
}

#[test]
fn the_first_messages_arrive_whichever_packet_of_the_handshake_they_travel_with_and_is_lost() {
    for seed in 0..400 {
        let mut link = Link::new(seed, storm(30));
        let config = ChannelConfig { negotiated: Some(ChannelId(7)), ..Default::default() };
        let ids = [0, 1].map(|end| link.open(end, config.clone()));
        ids.into_iter().enumerate().for_each(|(end, id)| link.send(end, id, b"hello"));
        link.run(LONG, |link| link.ends.iter().all(|end| end.messages().len() == 1));
    }
}

#[test]
fn ordered_reliable_data_survives_loss_and_reordering_with_any_seed() {
    for seed in 0..300 {
        let loss = 10 + seed % 21;
        let mut link = Link::new(seed, storm(loss));
        let mut rng = Rng::new(Seed::from(seed));
        let id = link.open(0, ChannelConfig::default());
        let sizes: Vec<usize> = (0..25)
            .map(|_| match rng.below(4) {
                0 => rng.below(3) as usize,
                1 => rng.below(200) as usize,
                2 => rng.below(3_000) as usize,
                _ => rng.below(20_000) as usize,
            })
            .collect();
        let back: Vec<usize> = (0..10).map(|_| rng.below(2_000) as usize).collect();
        for (number, &size) in sizes.iter().enumerate() {
            link.send(0, id, &pattern(size, number));
        }
        link.run(LONG, |link| !link.ends[1].messages().is_empty());
        for (number, &size) in back.iter().enumerate() {
            link.send(1, id, &pattern(size, number));
        }
        link.run(LONG, |link| {
            link.ends[1].messages().len() >= sizes.len() && link.ends[0].messages().len() >= back.len()
        });
        for (end, sizes) in [(1, &sizes), (0, &back)] {
            let messages = link.ends[end].messages();
            assert_eq!(messages.len(), sizes.len(), "seed {seed}");
            for (number, (message, &size)) in messages.iter().zip(sizes).enumerate() {
                assert!(message.2 == pattern(size, number), "message {number} of seed {seed} is damaged");
            }
        }
    }
}

#[test]
fn unordered_reliable_messages_all_arrive_once() {
    for seed in 0..40 {
        let mut link = Link::new(seed, storm(20));
        let id = link.open(0, ChannelConfig { ordered: false, ..Default::default() });
        link.run(LONG, Link::connected);
        link.rest(Duration::from_secs(3));
        for number in 0..100 {
            link.send(0, id, &pattern(500, number));
        }
        link.run(LONG, |link| link.ends[1].messages().len() >= 100);
        let arrived: Vec<Vec<u8>> =
            link.ends[1].messages().iter().map(|message| message.2.to_vec()).collect();
        assert_eq!(arrived.len(), 100);
        let mut sorted = arrived.clone();
        sorted.sort();
        let mut wanted: Vec<Vec<u8>> = (0..100).map(|number| pattern(500, number)).collect();
        assert_ne!(arrived, wanted, "with loss and jitter some overtake others");
        wanted.sort();
        assert_eq!(sorted, wanted, "seed {seed}");
    }
}

#[test]
fn partially_reliable_channels_drop_rather_than_wait() {
    for (ordered, reliability) in [
        (true, Reliability::MaxRetransmits(0)),
        (false, Reliability::MaxRetransmits(0)),
        (true, Reliability::MaxRetransmits(2)),
        (true, Reliability::MaxLifetime(Duration::from_millis(100))),
        (false, Reliability::MaxLifetime(Duration::from_millis(100))),
    ] {
        let mut arrived = 0;
        for seed in 0..20 {
            let mut link = Link::new(seed, storm(20));
            let id = link.open(0, ChannelConfig { ordered, reliability, ..Default::default() });
            link.run(LONG, Link::connected);
            link.rest(Duration::from_secs(5));
            for number in 0..100 {
                link.send(0, id, &pattern(2_000, number));
                link.rest(Duration::from_millis(20));
            }
            link.rest(Duration::from_secs(5));
            link.weather = FINE;
            // What comes after the gaps still gets through, and soon.
            link.send(0, id, &pattern(100, 1234));
            let last = pattern(100, 1234);
            link.run(Duration::from_secs(8), |link| {
                link.ends[1].messages().last().is_some_and(|message| message.2 == last)
            });
            let messages = link.ends[1].messages();
            arrived += messages.len() - 1;
            let numbers: Vec<usize> = messages[..messages.len() - 1]
                .iter()
                .map(|message| (0..100).find(|&number| message.2 == pattern(2_000, number)).expect("whole"))
                .collect();
            let mut distinct = numbers.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), numbers.len(), "none comes twice");
            if ordered {
                assert_eq!(distinct, numbers, "{reliability:?} in order, seed {seed}");
            }
        }
        assert!((300..2000).contains(&arrived), "{ordered} {reliability:?}: {arrived} of 2000 arrived");
    }
}

#[test]
fn messages_of_all_sizes_up_to_the_limit_arrive_and_larger_ones_are_refused() {
    let limit = 262_144;
    let mut link = Link::with(3, FINE, |config| config.remote_max_message_size = limit);
    let id = link.open(0, ChannelConfig::default());
    let sizes = [1, 1131, 1132, 1133, 1160, 65_535, 65_536, limit as usize];
    for (number, size) in sizes.into_iter().enumerate() {
        link.send(0, id, &pattern(size, number));
    }
    let refused =
        link.ends[0].association.send(link.now, id, MessageKind::Binary, &vec![0; limit as usize + 1]);
    assert_eq!(refused, Err(SendError::TooLarge { limit }));
    link.run(LONG, |link| link.ends[1].messages().len() == sizes.len());
    for (number, (message, size)) in link.ends[1].messages().iter().zip(sizes).enumerate() {
        assert!(message.2 == pattern(size, number), "{size} bytes");
    }
}

#[test]
fn a_limit_of_zero_is_none() {
    let mut link = Link::with(4, FINE, |config| {
        config.remote_max_message_size = 0;
        config.local_max_message_size = 8 << 20;
    });
    let id = link.open(0, ChannelConfig::default());
    let message = pattern(5 << 20, 9);
    link.send(0, id, &message);
    link.run(LONG, |link| link.ends[1].messages().len() == 1);
    assert!(link.ends[1].messages()[0].2 == message);
}

#[test]
fn a_message_over_our_own_limit_ends_the_association() {
    let mut link = Link::with(5, FINE, |config| {
        config.remote_max_message_size = 0;
        config.local_max_message_size = 1000;
    });
    let id = link.open(0, ChannelConfig::default());
    link.send(0, id, &[7; 5000]);
    link.run(LONG, |link| link.ends.iter().all(link::End::is_over));
    assert!(matches!(link.ends[1].events.last(), Some(Event::Failed(_))));
    assert!(matches!(link.ends[0].events.last(), Some(Event::Failed(_))), "the peer is told");
    assert_eq!(link.ends[1].messages(), []);
}

#[test]
fn empty_messages_and_text_keep_their_kind() {
    let mut link = Link::new(6, FINE);
    let id = link.open(0, ChannelConfig::default());
    let (now, association) = (link.now, &mut link.ends[0].association);
    association.send(now, id, MessageKind::Text, b"").unwrap();
    association.send(now, id, MessageKind::Binary, b"").unwrap();
    association.send(now, id, MessageKind::Text, "grüß".as_bytes()).unwrap();
    assert_eq!(association.send(now, id, MessageKind::Text, b"\xff"), Err(SendError::NotText));
    link.run(LONG, |link| link.ends[1].messages().len() == 3);
    let wanted = [
        (0, MessageKind::Text, &b""[..]),
        (0, MessageKind::Binary, b""),
        (0, MessageKind::Text, "grüß".as_bytes()),
    ];
    assert_eq!(link.ends[1].messages(), wanted);
}

#[test]
fn many_small_messages_share_packets_within_the_mtu() {
    let mut link = Link::new(7, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, Link::connected);
    link.rest(Duration::from_secs(1));
    let before = link.ends[0].sent.len();
    for number in 0..1000 {
        link.send(0, id, &[number as u8]);
    }
    link.run(LONG, |link| link.ends[1].messages().len() == 1000);
    let packets = link.ends[0].sent.len() - before;
    // 57 chunks of 20 bytes fit into 1160; the MTU itself is checked at every packet.
    assert!(packets <= 30, "{packets} packets for 1000 messages");
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let trace = |seed| {
        let mut link = Link::new(seed, storm(15));
        let ids: Vec<ChannelId> = (0..4)
            .map(|number: u8| {
                let reliability = if number.is_multiple_of(2) {
                    Reliability::Reliable
                } else {
                    Reliability::MaxRetransmits(0)
                };
                link.open(number as usize % 2, ChannelConfig { reliability, ..Default::default() })
            })
            .collect();
        for number in 0..60 {
            link.send(0, ids[2 * (number % 2)], &pattern(1_500, number));
            link.send(1, ids[2 * (number % 2) + 1], &pattern(900, number));
        }
        link.rest(Duration::from_secs(20));
        link.ends.into_iter().map(|end| end.sent).collect::<Vec<_>>()
    };
    let (first, second, other) = (trace(5), trace(5), trace(6));
    assert!(first[0].len() > 50);
    assert!(first == second, "the traces of one seed differ");
    assert!(first != other);
}

#[test]
fn packets_may_have_any_length() {
    for mtu in [128, 129, 1157, 1158, 1159, 1500] {
        for interleaving in [true, false] {
            let mut link = Link::with(mtu as u64, FINE, |config| {
                (config.mtu, config.interleaving) = (mtu, interleaving);
            });
            let id = link.open(0, ChannelConfig::default());
            for number in 0..20 {
                link.send(0, id, &pattern(5_000 + number, number));
            }
            link.run(LONG, |link| link.ends[1].messages().len() == 20);
            let longest = link.ends[0].sent.iter().map(|(_, packet)| packet.len()).max();
            assert!(
                longest.is_some_and(|longest| (mtu - 3..=mtu).contains(&longest)),
                "{longest:?} of {mtu}"
            );
            let took = link.now.elapsed();
            assert!(took < Duration::from_secs(2), "{took:?} with packets of {mtu} bytes");
        }
    }
}

#[test]
fn both_ends_can_use_many_channels_at_once() {
    let mut link = Link::new(8, storm(5));
    let mut ids = Vec::new();
    for number in 0..50 {
        for end in 0..2 {
            let label = format!("{end}/{number}");
            let id = link.open(end, ChannelConfig { label: label.clone(), ..Default::default() });
            assert_eq!(id.0 as usize % 2, end, "the client's are even, the server's odd");
            link.send(end, id, label.as_bytes());
            ids.push((end, id, label));
        }
    }
    link.run(LONG, |link| link.ends.iter().all(|end| end.messages().len() == 50));
    for (end, id, label) in &ids {
        let wanted = (id.0, MessageKind::Binary, label.as_bytes());
        assert!(link.ends[1 - end].messages().contains(&wanted));
    }
    // Each can answer on the other's channels.
    for (end, id, label) in &ids {
        link.send(1 - end, *id, label.as_bytes());
    }
    link.run(LONG, |link| link.ends.iter().all(|end| end.messages().len() == 100));
}

#[test]
fn a_dead_path_is_noticed_by_nobody_but_timers_go_on_and_it_can_come_back() {
    let mut link = Link::new(9, FINE);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, Link::connected);
    link.rest(Duration::from_secs(1));
    link.weather.loss = 100;
    link.send(0, id, &pattern(50_000, 1));
    link.rest(Duration::from_secs(300));
    assert!(link.ends[0].messages().is_empty() && !link.ends[0].is_over());
    link.weather.loss = 0;
    let back = link.now;
    link.run(LONG, |link| link.ends[1].messages().len() == 1);
    assert!(link.now - back < Duration::from_secs(5), "it took {:?}", link.now - back);
}

#[test]
fn nobody_there_is_an_error_after_half_a_minute() {
    let mut link = Link::new(10, Weather { loss: 100, ..FINE });
    link.open(0, ChannelConfig::default());
    link.run(Duration::from_secs(60), |link| link.ends.iter().all(link::End::is_over));
    let end = &link.ends[0];
    assert!(matches!(end.events.last(), Some(Event::Failed(error)) if error.code() == "sctp-no-answer"));
    assert!((20..40).contains(&link.now.elapsed().as_secs()));
    assert_eq!(end.association.poll_timeout(), None);
}
