//! A peer that lies, chunk by chunk: what it says is dropped, counted, and does no harm.

mod link;

use std::time::Duration;

use link::{FINE, Link, pattern};
use sansio::{Seed, Time};
use sterna_sctp::{Association, ChannelConfig, ChannelId, Config, Drops, Event, InitError, Role};

const LONG: Duration = Duration::from_secs(300);

/// Two ends that are up, with a channel, and with plain DATA chunks or with I-DATA.
fn pair(interleaving: bool) -> (Link, ChannelId) {
    let mut link = Link::with(1, FINE, |config| config.interleaving = interleaving);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    link.rest(Duration::from_secs(1));
    (link, id)
}

/// A packet to `to`, in the name of the other end, with a checksum.
fn forged(link: &Link, to: usize, chunks: &[u8]) -> Vec<u8> {
    let header = &link.ends[1 - to].sent.last().expect("it has sent something").1[..8];
    let mut packet = [header, &[0; 4], chunks].concat();
    let sum = crc32c::crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

/// Lets `to` hear chunks, and returns what it dropped because of them.
fn tell(link: &mut Link, to: usize, chunks: &[u8]) -> Drops {
    let packet = forged(link, to, chunks);
    let now = link.now;
    let before = link.ends[to].association.drops();
    link.ends[to].association.handle_packet(now, &packet);
    let after = link.ends[to].association.drops();
    Drops {
        malformed: after.malformed - before.malformed,
        unsummed: after.unsummed - before.unsummed,
        misdirected: after.misdirected - before.misdirected,
        untimely: after.untimely - before.untimely,
        ignored: after.ignored - before.ignored,
        absurd: after.absurd - before.absurd,
        duplicates: after.duplicates - before.duplicates,
        overflowing: after.overflowing - before.overflowing,
    }
}

fn sack(cumulative: u32, window: u32, gaps: &[(u16, u16)]) -> Vec<u8> {
    let mut chunk = vec![3, 0];
    chunk.extend((16 + 4 * gaps.len() as u16).to_be_bytes());
    chunk.extend(cumulative.to_be_bytes());
    chunk.extend(window.to_be_bytes());
    chunk.extend((gaps.len() as u16).to_be_bytes());
    chunk.extend([0, 0]);
    for (first, last) in gaps {
        chunk.extend(first.to_be_bytes());
        chunk.extend(last.to_be_bytes());
    }
    chunk
}

/// DATA (type 0: `number` is the SSN) or I-DATA (type 64: `number` is the MID and `fragment` the FSN or the PPID).
fn data(kind: u8, flags: u8, tsn: u32, number: u32, fragment: u32, payload: &[u8]) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend([0, 0]);
    if kind == 0 {
        value.extend((number as u16).to_be_bytes());
    } else {
        value.extend([0, 0]);
        value.extend(number.to_be_bytes());
    }
    value.extend(fragment.to_be_bytes());
    value.extend(payload);
    let mut chunk = vec![kind, flags];
    chunk.extend((4 + value.len() as u16).to_be_bytes());
    chunk.extend(&value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// The last TSN that an end has sent.
fn last_tsn(link: &Link, end: usize) -> u32 {
    let packets = link.ends[end].sent.iter().map(|(_, packet)| &packet[12..]);
    let tsns = packets.flat_map(|mut rest| {
        let mut found = Vec::new();
        while rest.len() >= 8 {
            if rest[0] == 0 || rest[0] == 64 {
                found.push(u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]));
            }
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]])).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        found
    });
    tsns.last().expect("it has sent DATA")
}

#[track_caller]
fn still_works(link: &mut Link, id: ChannelId) {
    assert!(link.ends.iter().all(|end| !end.is_over()));
    for end in [0, 1] {
        link.send(end, id, b"still here");
    }
    let heard = |end: &link::End| end.messages().last().is_some_and(|message| message.2 == b"still here");
    link.run(LONG, |link| link.ends.iter().all(heard));
}

#[test]
fn a_sack_that_acknowledges_the_future_changes_nothing() {
    let (mut link, id) = pair(true);
    link.weather.loss = 100;
    link.send(0, id, &pattern(5_000, 1));
    link.settle();
    let last = last_tsn(&link, 0);
    for ahead in [1, 2, 1000, 1 << 30, (1 << 31) - 10] {
        let drops = tell(&mut link, 0, &sack(last.wrapping_add(ahead), 1 << 20, &[]));
        assert_eq!(drops, Drops { absurd: 1, ..Drops::default() }, "{ahead} ahead");
        assert_eq!(link.ends[0].association.buffered_amount(id), 5_000);
    }
    // Long past is not the future, and says nothing either.
    tell(&mut link, 0, &sack(last.wrapping_sub(1000), 0, &[]));
    assert_eq!(link.ends[0].association.buffered_amount(id), 5_000);
    link.weather.loss = 0;
    still_works(&mut link, id);
    assert_eq!(link.ends[1].messages()[0].2, pattern(5_000, 1));
}

#[test]
fn absurd_gap_blocks_change_nothing() {
    let (mut link, id) = pair(true);
    link.weather.loss = 100;
    let before = last_tsn(&link, 0);
    link.send(0, id, &pattern(9_000, 1));
    link.settle();
    let absurd: [&[(u16, u16)]; 8] = [
        &[(0, 0)],
        &[(0, 65_535)],
        &[(1, 2)],
        &[(5, 3)],
        &[(4, 5), (2, 3)],
        &[(3, 5), (4, 6)],
        &[(3, 65_535)],
        &[(2, 2), (60_000, 60_001)],
    ];
    for gaps in absurd {
        let drops = tell(&mut link, 0, &sack(before, 1 << 20, gaps));
        assert_eq!(drops.absurd, 1, "{gaps:?}");
    }
    // A chunk that is shorter than its counts say.
    let mut short = sack(before, 1 << 20, &[(2, 3)]);
    short[13] = 9;
    assert_eq!(tell(&mut link, 0, &short).malformed, 1);
    link.weather.loss = 0;
    still_works(&mut link, id);
    assert_eq!(link.ends[1].messages()[0].2, pattern(9_000, 1));
}

#[test]
fn what_was_acknowledged_and_is_taken_back_is_sent_again() {
    let (mut link, id) = pair(true);
    link.weather.loss = 100;
    let before = last_tsn(&link, 0);
    link.send(0, id, &pattern(9_000, 1));
    link.settle();
    // "I have all but the first." Then: "I have none."
    tell(&mut link, 0, &sack(before, 1 << 20, &[(2, 8)]));
    tell(&mut link, 0, &sack(before, 1 << 20, &[]));
    link.weather.loss = 0;
    still_works(&mut link, id);
    assert_eq!(link.ends[1].messages()[0].2, pattern(9_000, 1));
}

#[test]
fn a_window_that_shrinks_holds_the_sender_back_and_breaks_nothing() {
    let (mut link, id) = pair(true);
    link.weather.loss = 100;
    let count = |link: &Link| link.ends[0].sent.len();
    let before = last_tsn(&link, 0);
    link.send(0, id, &pattern(60_000, 1));
    link.settle();
    let sent = count(&link);
    tell(&mut link, 0, &sack(before, 0, &[]));
    link.settle();
    assert_eq!(count(&link), sent, "there is no room");
    tell(&mut link, 0, &sack(before, 1, &[]));
    link.settle();
    assert_eq!(count(&link), sent);
    // Probes go now and then, and nothing else does.
    link.rest(Duration::from_secs(60));
    assert!((sent + 3..sent + 300).contains(&count(&link)), "{} packets", count(&link) - sent);
    link.weather.loss = 0;
    still_works(&mut link, id);
}

#[test]
fn a_window_that_closes_while_nothing_is_under_way_is_asked_about() {
    let (mut link, id) = pair(true);
    let last = last_tsn(&link, 0);
    tell(&mut link, 0, &sack(last, 0, &[]));
    let before = link.now;
    // Nobody will tell that there is room again.
    still_works(&mut link, id);
    assert!(link.now - before < Duration::from_secs(2), "{:?}", link.now - before);
}

#[test]
fn a_window_that_was_closed_for_long_does_not_slow_down_what_follows() {
    let (mut link, id) = pair(true);
    for number in 0..6 {
        (0..60).for_each(|_| link.send(0, id, &pattern(16_000, number)));
        link.run(LONG, |link| link.ends[0].association.buffered_amount(id) == 0);
    }
    // What is sent to see whether there is room again does not arrive.
    let last = last_tsn(&link, 0);
    tell(&mut link, 0, &sack(last, 0, &[]));
    link.weather.loss = 100;
    link.send(0, id, b"room?");
    link.rest(Duration::from_secs(20));
    link.weather.loss = 0;
    tell(&mut link, 0, &sack(last, 2 << 20, &[]));
    let (before, heard) = (link.now, link.ends[1].messages().len());
    (0..60).for_each(|_| link.send(0, id, &pattern(16_000, 7)));
    link.run(LONG, |link| link.ends[1].messages().len() == heard + 61);
    assert!(link.now - before < Duration::from_millis(200), "{:?}", link.now - before);
}

#[test]
fn packets_without_checksum_need_agreement() {
    for agreed in [true, false] {
        let mut link = Link::with(3, FINE, |config| config.zero_checksum = agreed);
        let id = link.open(0, ChannelConfig::default());
        link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
        link.rest(Duration::from_secs(1));
        link.ends.iter_mut().for_each(|end| end.sent.clear());
        link.send(0, id, b"a message");
        link.run(LONG, |link| link.ends[1].messages().len() == 1);
        let unsummed = |end: &link::End| end.sent.iter().all(|(_, packet)| packet[8..12] == [0; 4]);
        assert_eq!(unsummed(&link.ends[0]), agreed);
        let heartbeat = [4, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4];
        let mut packet = forged(&link, 1, &heartbeat);
        packet[8..12].fill(0);
        let now = link.now;
        link.ends[1].association.handle_packet(now, &packet);
        assert_eq!(link.ends[1].association.drops().unsummed, u64::from(!agreed));
        still_works(&mut link, id);
    }
}

#[test]
fn an_init_or_a_cookie_without_checksum_is_dropped_even_so() {
    let mut link = Link::new(4, FINE);
    link.settle();
    let mut init = link.ends[0].sent[0].1.clone();
    init[8..12].fill(0);
    let now = link.now;
    link.ends[1].association.handle_packet(now, &init);
    assert_eq!(link.ends[1].association.drops().unsummed, 1);
    link.run(LONG, Link::connected);
    for end in &link.ends {
        let early = end.sent.iter().filter(|(_, packet)| matches!(packet[12], 1 | 10));
        assert!(early.map(|(_, packet)| &packet[8..12]).all(|sum| sum != [0; 4]));
    }
}

#[test]
fn one_side_that_wants_checksums_gets_them() {
    let mut link = Link::new(5, FINE);
    let config = Config { zero_checksum: false, ..Config::new(Role::Server, Seed::from(9)) };
    link.ends[1].association = Association::new(Time::ZERO, config);
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    link.ends.iter_mut().for_each(|end| end.sent.clear());
    still_works(&mut link, id);
    assert!(link.ends[0].sent.iter().all(|(_, packet)| packet[8..12] != [0; 4]), "it asked for them");
    assert!(link.ends[1].sent.iter().all(|(_, packet)| packet[8..12] == [0; 4]), "we did not");
}

#[test]
fn forged_tags_change_nothing() {
    let (mut link, id) = pair(true);
    for chunk in [
        &sack(0, 0, &[])[..],
        &[6, 0, 0, 8, 0, 12, 0, 4],
        &[7, 0, 0, 8, 0, 0, 0, 1],
        &data(64, 3, 0, 0, 53, b"x"),
    ] {
        let mut packet = forged(&link, 1, chunk);
        packet[7] ^= 1;
        packet[8..12].fill(0);
        let sum = crc32c::crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
        let before = link.ends[1].association.drops().misdirected;
        let now = link.now;
        link.ends[1].association.handle_packet(now, &packet);
        assert_eq!(link.ends[1].association.drops().misdirected, before + 1);
    }
    still_works(&mut link, id);
}

#[test]
fn overlapping_fragments_are_dropped() {
    // Two beginnings, one behind the other; a fragment of another message; a fragment number that was there before.
    for kind in [0, 64] {
        let (mut link, id) = pair(kind == 64);
        let next = last_tsn(&link, 0).wrapping_add(1);
        let number = 1;
        let pieces = [
            data(kind, 2, next, number, 53, b"begin"),
            data(kind, 2, next.wrapping_add(1), number, 53, b"again"),
            data(kind, 0, next.wrapping_add(2), number, if kind == 0 { 53 } else { 1 }, b"more"),
            data(kind, 0, next.wrapping_add(3), number, if kind == 0 { 53 } else { 1 }, b"overlap"),
        ];
        let drops: u64 = pieces.iter().map(|piece| tell(&mut link, 1, piece).absurd).sum();
        assert!(drops >= 1, "kind {kind}");
        link.settle();
        assert!(link.ends[1].messages().is_empty() && !link.ends[1].is_over());
        // The other end has not sent those, so only it can go on.
        link.send(1, id, b"alive");
        link.run(LONG, |link| !link.ends[0].messages().is_empty());
    }
}

#[test]
fn data_that_is_far_ahead_or_beyond_all_room_is_refused() {
    let mut link = Link::with(6, FINE, |config| {
        config.local_max_message_size = 1000;
        config.receive_window = 10_000;
    });
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    let now = link.now;
    link.ends[1].association.set_reading(now, id, false);
    let next = last_tsn(&link, 0).wrapping_add(1);
    assert_eq!(tell(&mut link, 1, &data(64, 3, next.wrapping_add(70_000), 9, 53, b"x")).overflowing, 1);
    let mut refused = 0;
    for number in 0..100 {
        refused += tell(&mut link, 1, &data(64, 3, next.wrapping_add(number), 1 + number, 53, &[7; 900]))
            .overflowing;
    }
    assert!((70..90).contains(&refused), "{refused} of 100 refused");
    let forward = [&[194, 0, 0, 8][..], &next.wrapping_add(200_000).to_be_bytes()].concat();
    assert_eq!(tell(&mut link, 1, &forward).absurd, 1);
    assert!(!link.ends[1].is_over());
}

#[test]
fn pieces_and_beginnings_without_end_are_bounded() {
    for (kind, flags) in [(0, 0), (0, 2), (64, 0), (64, 2)] {
        let (mut link, _) = pair(kind == 64);
        let next = last_tsn(&link, 0).wrapping_add(1);
        let mut dropped = 0;
        for number in 0..80_000u32 {
            let piece = data(kind, flags, next.wrapping_add(number), 5 + number, 7, b"x");
            let drops = tell(&mut link, 1, &piece);
            dropped += drops.absurd + drops.overflowing;
        }
        assert!(dropped > 10_000, "{dropped} of kind {kind} with flags {flags}");
    }
}

#[test]
fn what_came_of_a_message_that_is_given_up_takes_no_room() {
    for kind in [0, 64] {
        let (mut link, id) = pair(kind == 64);
        let next = last_tsn(&link, 0).wrapping_add(1);
        let told = |link: &Link| {
            let mut sent = link.ends[1].sent.iter();
            let (_, sack) = sent.rfind(|(_, packet)| packet[12] == 3).expect("it has sent a SACK");
            u32::from_be_bytes([sack[20], sack[21], sack[22], sack[23]])
        };
        // The first piece is lost, the second comes, and the last is not sent any more.
        tell(
            &mut link,
            1,
            &data(kind, 0, next.wrapping_add(1), 1, if kind == 0 { 53 } else { 1 }, &[7; 900]),
        );
        link.settle();
        let before = told(&link);
        let mut forward = vec![if kind == 0 { 192 } else { 194 }, 0, 0, if kind == 0 { 12 } else { 16 }];
        forward.extend(next.to_be_bytes());
        forward.extend(id.0.to_be_bytes());
        forward.extend(if kind == 0 { vec![0, 1] } else { vec![0, 0, 0, 0, 0, 1] });
        assert_eq!(tell(&mut link, 1, &forward), Drops::default());
        link.settle();
        assert!(told(&link) >= before + 900, "{} after {before}", told(&link));
    }
}

#[test]
fn data_of_the_wrong_kind_ends_the_association_as_the_rfc_demands() {
    for (interleaving, kind) in [(true, 0), (false, 64)] {
        let (mut link, _) = pair(interleaving);
        let next = last_tsn(&link, 0).wrapping_add(1);
        tell(&mut link, 1, &data(kind, 3, next, 1, 53, b"x"));
        link.settle();
        assert!(
            matches!(link.ends[1].events.last(), Some(Event::Failed(error)) if error.code() == "sctp-protocol")
        );
    }
}

fn config(role: Role, seed: u64) -> Config {
    Config::new(role, Seed::from(seed))
}

#[test]
fn a_snap_that_is_no_init_is_refused() {
    let good = config(Role::Server, 2).init();
    let agreed = |init: &[u8]| Association::agreed(Time::ZERO, config(Role::Client, 1), init).map(drop);
    assert_eq!(agreed(&good), Ok(()));
    for cut in 0..good.len() - 3 {
        assert_eq!(agreed(&good[..cut]), Err(InitError), "{cut} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        agreed(&bytes)
    };
    assert_eq!(with(0, 2), Err(InitError), "an INIT ACK");
    assert_eq!(agreed(&[&good[..4], &[0; 4], &good[8..]].concat()), Err(InitError), "no tag");
    assert_eq!(agreed(&[&good[..12], &[0; 4], &good[16..]].concat()), Err(InitError), "no streams");
}

#[test]
fn a_snap_that_lies_is_harmless() {
    // About its tag, its first TSN, its window, its extensions.
    let lies: [(usize, &[u8]); 4] =
        [(4, &[1, 2, 3, 4]), (16, &[9, 9, 9, 9]), (8, &[0, 0, 0, 0]), (20, &[0xbf, 0xff])];
    for (at, bytes) in lies {
        let mut link = Link::new(7, FINE);
        let inits = [Role::Client, Role::Server].map(|role| config(role, role as u64 + 1).init());
        let mut lie = inits[1].clone();
        lie[at..at + bytes.len()].copy_from_slice(bytes);
        link.ends[0].association =
            Association::agreed(Time::ZERO, config(Role::Client, 1), &lie).expect("it looks sound");
        link.ends[1].association =
            Association::agreed(Time::ZERO, config(Role::Server, 2), &inits[0]).expect("it is sound");
        let id = link.open(0, ChannelConfig::default());
        for number in 0..50 {
            link.send(0, id, &pattern(2_000, number));
        }
        link.rest(Duration::from_secs(30));
        let packets = link.ends.iter().map(|end| end.sent.len()).sum::<usize>();
        assert!(packets < 1_000, "{packets} packets");
    }
}
