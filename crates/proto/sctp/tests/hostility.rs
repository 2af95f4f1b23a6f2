//! Whatever bytes come, nothing panics, nothing grows without bound, and answers are few.

mod link;

use std::time::Duration;

use link::{FINE, Link, Weather, pattern};
use sansio::{Machine as _, Rng, Seed};
use sterna_sctp::{ChannelConfig, Config, Event, Reliability};

const LONG: Duration = Duration::from_secs(300);

/// A session in which every type of chunk occurs.
fn lively(seed: u64) -> Link {
    lively_with(seed, |_| {})
}

/// The same, with other settings for both.
fn lively_with(seed: u64, change: impl FnMut(&mut Config)) -> Link {
    let windy =
        Weather { delay: Duration::from_millis(5), jitter: Duration::from_millis(5), loss: 10, twice: 0 };
    let mut link = Link::with(seed, windy, change);
    let reliable = link.open(0, ChannelConfig { label: "reliable".into(), ..Default::default() });
    let hasty = link.open(
        1,
        ChannelConfig { ordered: false, reliability: Reliability::MaxRetransmits(0), ..Default::default() },
    );
    let strict =
        link.open(1, ChannelConfig { reliability: Reliability::MaxRetransmits(0), ..Default::default() });
    for number in 0..20 {
        link.send(0, reliable, &pattern(2_000, number));
        link.send(1, hasty, &pattern(1_500, number));
        link.send(1, strict, &pattern(1_500, number));
    }
    link.run(LONG, |link| link.ends[1].messages().len() == 20);
    link
}

/// The checksum that the packet should have.
fn repair(packet: &mut [u8]) {
    if packet.len() >= 12 {
        packet[8..12].copy_from_slice(&[0; 4]);
        let sum = crc32c::crc32c(packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
    }
}

fn mutate(rng: &mut Rng, packet: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        if packet.len() <= 13 {
            return;
        }
        // The tag and the ports stay right more often than not, so that the chunks are reached.
        let from = if rng.below(10) == 0 { 0 } else { 12 };
        let at = from + rng.below((packet.len() - from) as u64) as usize;
        match rng.below(6) {
            0 => packet[at] = rng.next_u32() as u8,
            1 => packet[at] ^= 1 << rng.below(8),
            2 => packet.truncate(at.max(12)),
            3 => packet.insert(at, rng.next_u32() as u8),
            4 => {
                let copy = packet[12..].to_vec();
                packet.extend(copy.iter().take(400));
            }
            _ => packet[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
        }
    }
}

#[test]
fn mutated_packets_with_good_checksums_do_no_harm() {
    let mut rng = Rng::new(Seed::from(77));
    for seed in 0..300 {
        let mut link = lively(seed);
        let close = link.now;
        let id = link.ends[0].association.channels().next().expect("there is one").0;
        link.ends[0].association.close_channel(close, id);
        link.rest(Duration::from_millis(50));
        let material: Vec<(usize, Vec<u8>)> = (0..2)
            .flat_map(|end| link.ends[end].sent.iter().map(move |(_, packet)| (1 - end, packet.clone())))
            .collect();
        for _ in 0..300 {
            let (to, packet) = &material[rng.below(material.len() as u64) as usize];
            let mut packet = packet.clone();
            mutate(&mut rng, &mut packet);
            repair(&mut packet);
            let before = link.ends[*to].sent.len();
            let now = link.now;
            link.ends[*to].association.handle_packet(now, &packet);
            link.settle();
            let answers = link.ends[*to].sent.len() - before;
            assert!(answers < 200, "{answers} answers to one packet");
            if rng.below(20) == 0 {
                link.step();
            }
            if link.ends[*to].is_over() {
                break;
            }
        }
    }
}

#[test]
fn noise_without_checksum_changes_nothing() {
    let mut link = lively_with(1, |config| config.zero_checksum = false);
    link.weather = FINE;
    link.rest(Duration::from_secs(10));
    let mut rng = Rng::new(Seed::from(5));
    let material: Vec<Vec<u8>> = link.ends[0].sent.iter().map(|(_, packet)| packet.clone()).collect();
    let events = link.ends[1].events.len();
    let dropped = |link: &Link| {
        let drops = link.ends[1].association.drops();
        drops.malformed + drops.misdirected + drops.ignored + drops.untimely
    };
    for _ in 0..2_000 {
        let mut packet = material[rng.below(material.len() as u64) as usize].clone();
        let at = rng.below(packet.len() as u64) as usize;
        packet[at] ^= 1 << rng.below(8);
        let now = link.now;
        link.ends[1].association.handle_packet(now, &packet);
        link.settle();
    }
    assert_eq!(link.ends[1].events.len(), events);
    assert!(dropped(&link) > 0);
    assert!(link.connected());
}

#[test]
fn replayed_and_late_packets_change_nothing() {
    for seed in 0..20 {
        let mut link = lively(seed);
        link.weather = FINE;
        link.rest(Duration::from_secs(10));
        let counts = [link.ends[0].events.len(), link.ends[1].events.len()];
        let all: Vec<(usize, Vec<u8>)> = (0..2)
            .flat_map(|end| link.ends[end].sent.iter().map(move |(_, packet)| (1 - end, packet.clone())))
            .collect();
        for (to, packet) in all.iter().chain(all.iter().rev()) {
            let now = link.now;
            link.ends[*to].association.handle_packet(now, packet);
        }
        link.rest(Duration::from_secs(10));
        assert_eq!([link.ends[0].events.len(), link.ends[1].events.len()], counts, "seed {seed}");
        assert!(link.connected(), "an INIT that comes late does not end the association");
        let id = link.open(0, ChannelConfig::default());
        link.send(0, id, b"alive");
        link.run(LONG, |link| link.ends[1].messages().last().is_some_and(|message| message.2 == b"alive"));
    }
}

#[test]
fn errors_and_unknown_chunks_are_no_reason_to_give_up() {
    let mut link = lively(3);
    link.weather = FINE;
    link.rest(Duration::from_secs(5));
    let header = link.ends[0].sent.last().expect("something was sent").1[..12].to_vec();
    let error = [9, 0, 0, 8, 0, 6, 0, 4];
    let heartbeat_ack = [5, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4];
    let skip = [0x8f, 0, 0, 4];
    let stop = [0x3f, 0, 0, 4];
    for chunks in [&error[..], &heartbeat_ack, &skip, &stop, &[error, [9, 0, 0, 8, 0, 1, 0, 4]].concat()] {
        let mut packet = [&header[..], chunks].concat();
        repair(&mut packet);
        let now = link.now;
        link.ends[1].association.handle_packet(now, &packet);
    }
    assert!(link.ends[1].association.drops().ignored >= 6);
    let id = link.open(0, ChannelConfig::default());
    // A packet of data with an unknown chunk in front still counts.
    link.send(0, id, b"alive");
    link.run(LONG, |link| link.ends[1].messages().last().is_some_and(|message| message.2 == b"alive"));
    assert!(!link.ends[1].events.iter().any(|event| matches!(event, Event::Failed(_))));
}

#[test]
fn a_heartbeat_is_answered() {
    let mut link = lively(4);
    link.weather = FINE;
    link.rest(Duration::from_secs(5));
    let header = link.ends[0].sent.last().expect("something was sent").1[..12].to_vec();
    let mut packet = [&header[..], &[4, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4]].concat();
    repair(&mut packet);
    let now = link.now;
    link.ends[1].association.handle_packet(now, &packet);
    link.settle();
    let answer = &link.ends[1].sent.last().expect("an answer").1;
    assert_eq!(answer[12..], [5, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4]);
}

#[test]
fn a_shutdown_by_the_peer_closes_in_order() {
    let mut link = lively(5);
    link.weather = FINE;
    link.rest(Duration::from_secs(5));
    let header = link.ends[0].sent.last().expect("something was sent").1[..12].to_vec();
    let mut packet = [&header[..], &[7, 0, 0, 8, 0, 0, 0, 1]].concat();
    repair(&mut packet);
    let now = link.now;
    link.ends[1].association.handle_packet(now, &packet);
    link.settle();
    assert_eq!(link.ends[1].events.last(), Some(&Event::Closed));
    assert_eq!(link.ends[1].association.poll_timeout(), None);
}
