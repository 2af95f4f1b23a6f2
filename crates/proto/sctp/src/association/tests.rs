//! What only shows where numbers wrap around, which seeds do not reach.

use sansio::Seed;

use super::*;
use crate::{MessageKind, Role};

/// An association whose first TSN is a given one.
fn beginning_with(tsn: u32, role: Role, interleaving: bool) -> Association {
    let config = Config { interleaving, ..Config::new(role, Seed::from(u64::from(tsn))) };
    let mut association = Association::new(Time::ZERO, config);
    association.local.tsn = tsn;
    association.handshake = Handshake::new(association.local, &mut Rng::new(Seed::from(1)));
    association.sender = Sender::new(Time::ZERO, association.config.congestion, 1160, tsn);
    association
}

#[test]
fn numbers_wrap_around_under_loss() {
    for (interleaving, seed) in [(true, 1), (true, 2), (false, 3), (false, 4)] {
        let mut ends = [(u32::MAX - 20, Role::Client), (u32::MAX, Role::Server)]
            .map(|(tsn, role)| beginning_with(tsn, role, interleaving));
        let mut dice = Rng::new(Seed::from(seed));
        let ordered = ends[0].open_channel(Time::ZERO, ChannelConfig::default()).unwrap();
        let hasty = crate::Reliability::MaxRetransmits(1);
        let config = ChannelConfig { ordered: false, reliability: hasty, ..Default::default() };
        let unordered = ends[0].open_channel(Time::ZERO, config).unwrap();
        let (mut now, mut sent, mut received) = (Time::ZERO, 0u32, 0u32);
        // More messages than there are stream sequence numbers.
        const COUNT: u32 = 70_000;
        while received < COUNT {
            while sent < COUNT {
                let _ = ends[0].send(now, unordered, MessageKind::Binary, &[7; 9]);
                if ends[0].send(now, ordered, MessageKind::Binary, &sent.to_be_bytes()).is_err() {
                    break;
                }
                sent += 1;
            }
            for end in 0..2 {
                if ends[end].poll_timeout().is_some_and(|at| at <= now) {
                    ends[end].handle_timeout(now);
                }
                let mut out: Vec<Vec<u8>> = Vec::new();
                ends[end].poll_transmit(now, &mut out);
                for packet in out {
                    if dice.below(100) >= 3 {
                        ends[1 - end].handle_packet(now, &packet);
                    }
                }
                while let Some(event) = ends[end].poll_event() {
                    match event {
                        Event::MessageReceived { id, data, .. } if id == ordered => {
                            assert_eq!(data, received.to_be_bytes()[..]);
                            received += 1;
                        }
                        Event::Failed(error) => panic!("{error}"),
                        _ => {}
                    }
                }
            }
            now += Duration::from_millis(2);
            assert!(now < Time::ZERO + Duration::from_secs(3600), "{received} of {COUNT}");
        }
        assert_eq!(ends[0].drops.absurd + ends[1].drops.absurd, 0);
    }
}

#[test]
fn room_is_told_even_if_all_messages_have_expired_unsent() {
    let mut association = beginning_with(1, Role::Client, true);
    let peer = Config::new(Role::Server, Seed::from(9)).init();
    association.agree(Init::parse_chunk(&peer).unwrap());
    association.handshake = Handshake::skipped(
        association.local,
        Init::parse_chunk(&peer).unwrap(),
        &mut Rng::new(Seed::from(1)),
    );
    association.establish();
    let reliability = crate::Reliability::MaxLifetime(Duration::from_millis(5));
    let negotiated = Some(ChannelId(2));
    let config = ChannelConfig { negotiated, ordered: false, reliability, ..Default::default() };
    let id = association.open_channel(Time::ZERO, config).unwrap();
    while association.send(Time::ZERO, id, MessageKind::Binary, &[7; 10_000]).is_ok() {}
    let later = Time::ZERO + Duration::from_millis(6);
    association.poll_transmit(later, &mut Vec::new());
    let events: Vec<Event> = std::iter::from_fn(|| association.poll_event()).collect();
    assert!(events.contains(&Event::Writable(id)), "{events:?}");
}
