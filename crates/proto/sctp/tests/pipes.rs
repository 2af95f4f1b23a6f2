//! How much of a path a transfer gets, and what that does to others. In virtual time, over one narrow link.

mod link;

use std::time::Duration;

use link::Link;
use link::pipe::{MESSAGE, Pipe, fill};
use link::tcp::Tcp;
use sterna_sctp::{ChannelConfig, ChannelId, Congestion, MessageKind};

const CLEAN: Pipe = Pipe { mbits: 50, rtt: 40, queue: 1.0, loss: 0.0 };

#[test]
fn a_path_without_loss_is_filled() {
    for (mbits, rtt) in [(10, 20), (40, 2), (50, 200)] {
        for congestion in [Congestion::Cubic, Congestion::Bbr] {
            let pipe = Pipe { mbits, rtt, ..CLEAN };
            let (mut link, id) = pipe.lay(1, |config| config.congestion = congestion);
            let used = fill(&mut link, id, 4.0, 6.0)[0];
            println!("{congestion:?} {mbits} Mbit/s {rtt} ms: {:.1} %", used * 100.0);
            // 8 % is what headers cost: 1128 of 1225 bytes are message.
            assert!(used > 0.86, "{congestion:?} {mbits} Mbit/s {rtt} ms: {used}");
        }
    }
}

#[test]
fn random_loss_does_not_stop_the_one_after_bbr() {
    for (mbits, rtt) in [(50, 20), (30, 100)] {
        let pipe = Pipe { mbits, rtt, loss: 0.01, ..CLEAN };
        let (mut link, id) = pipe.lay(1, |config| config.congestion = Congestion::Bbr);
        let used = fill(&mut link, id, 3.0, 4.0)[0];
        println!("{mbits} Mbit/s {rtt} ms, 1 % lost: {:.1} %", used * 100.0);
        assert!(used > 0.8, "{mbits} Mbit/s {rtt} ms: {used}");
    }
}

#[test]
fn under_random_loss_cubic_gets_no_less_than_tcp() {
    for (rtt, loss) in [(20, 0.01), (50, 0.001), (100, 0.01), (50, 0.03)] {
        let pipe = Pipe { mbits: 50, rtt, queue: 1.0, loss };
        let mean = |seconds: f64, lay: &dyn Fn(u64) -> (Link, ChannelId)| {
            let shares = (0..6).map(|seed| {
                let (mut link, id) = lay(seed);
                fill(&mut link, id, 3.0, seconds)[0]
            });
            shares.sum::<f64>() / 6.0
        };
        let tcp = mean(30.0, &|seed| pipe.lay_for_tcp(seed));
        // Packets that any path carries, and those that discovery finds on a path of Ethernet's MTU, as TCP does.
        for mtu in [1160, 1432] {
            let ours = mean(30.0, &|seed| pipe.lay(seed, |config| config.mtu = mtu));
            println!("{rtt} ms, {loss}, {mtu}: {:.2} times TCP's {tcp:.3}", ours / tcp);
            assert!(ours >= tcp, "{rtt} ms, {loss}, {mtu}: {ours} for {tcp}");
        }
    }
}

#[test]
fn a_long_fat_lossy_path_is_filled_by_the_one_after_bbr() {
    for (mbits, rtt, loss) in [(300, 100, 0.01), (200, 200, 0.01), (200, 100, 0.03)] {
        let pipe = Pipe { mbits, rtt, queue: 1.0, loss };
        let (mut link, id) = pipe.lay(1, |config| config.congestion = Congestion::Bbr);
        let used = fill(&mut link, id, 5.0, 4.0)[0];
        println!("{mbits} Mbit/s, {rtt} ms, {loss}: {used:.3}");
        assert!(used > 0.8, "{mbits} Mbit/s, {rtt} ms, {loss}: {used}");
    }
}

#[test]
fn the_one_after_bbr_finds_soon_that_a_path_has_become_wider() {
    let (mut link, id) = Pipe { mbits: 5, ..CLEAN }.lay(1, |config| config.congestion = Congestion::Bbr);
    fill(&mut link, id, 1.0, 2.0);
    let wide = Pipe { mbits: 50, ..CLEAN }.bottleneck();
    link.bottleneck = Some(wide);
    let used = fill(&mut link, id, 1.5, 1.0)[0];
    assert!(used > 0.8, "{used}");
}

#[test]
fn gaps_that_a_sack_has_no_room_for_are_told_all_the_same_and_nothing_is_repeated_for_them() {
    // A packet has room for 93 gaps, and some 150 of a thousand packets are lost in each round trip.
    let pipe = Pipe { mbits: 20, rtt: 200, queue: 1.0, loss: 0.15 };
    let (mut link, id) = pipe.lay(1, |config| (config.congestion, config.mtu) = (Congestion::Bbr, 400));
    link.keeps = true;
    let used = fill(&mut link, id, 0.0, 12.0)[0];
    let sacks = |kind: u8| link.ends[1].sent.iter().filter(|(_, packet)| packet[12] == kind).count();
    let (sacks, further) = (sacks(3), sacks(174));
    let payload: usize = link.ends[0].sent.iter().map(|(_, packet)| packet.len() - 12).sum();
    let arrived = used * 12.0 * 20e6 / 8.0;
    println!("{used:.3}, {sacks} SACKs and {further} further ones, {payload} sent for {arrived:.0}");
    assert!(further > 100, "{further}");
    assert!(used > 0.45, "{used}");
    // 18 % for what is lost and lost again, 7 % of headers, and what is on its way at the end.
    assert!((payload as f64) < 1.4 * arrived, "{payload} for {arrived}");
}

/// Lets a second flow come (TCP if none is named) when the first has all of the path, and returns what each gets: the mean of several
/// times, since chance decides who is hit when the queue is full.
fn share(pipe: Pipe, first: Congestion, second: Option<Congestion>) -> Vec<f64> {
    let times: Vec<_> = (0..3).map(|time| share_once(pipe, first, second, f64::from(time) * 0.13)).collect();
    let mean = |at: usize| times.iter().map(|used| used[at]).sum::<f64>() / times.len() as f64;
    let used = vec![mean(0), mean(1)];
    println!("{first:?} and {second:?}, {} round trips of queue: {used:.3?} of {times:.3?}", pipe.queue);
    used
}

fn share_once(pipe: Pipe, first: Congestion, second: Option<Congestion>, later: f64) -> Vec<f64> {
    let (mut link, id) = pipe.lay(1, |config| config.congestion = first);
    fill(&mut link, id, 1.0, 2.0 + later);
    match second {
        Some(second) => {
            let (mut other, _) = pipe.lay(2, |config| config.congestion = second);
            let late = link.now - other.now;
            other.rest(late);
            link.join(other);
        }
        None => link.tcp = Some(Tcp::new()),
    }
    fill(&mut link, id, 5.0, 20.0)
}

#[track_caller]
fn assert_fair(used: &[f64]) {
    assert!(used[0] + used[1] > 0.86, "{used:?}");
    assert!(used[0] <= 2.0 * used[1] && used[1] <= 2.0 * used[0], "{used:?}");
}

#[test]
fn two_of_cubic_share_a_path() {
    assert_fair(&share(CLEAN, Congestion::Cubic, Some(Congestion::Cubic)));
}

#[test]
fn two_after_bbr_share_a_path() {
    for queue in [0.3, 1.0] {
        assert_fair(&share(Pipe { queue, ..CLEAN }, Congestion::Bbr, Some(Congestion::Bbr)));
    }
}

#[test]
fn cubic_and_the_one_after_bbr_share_a_path_whoever_comes_first() {
    for queue in [0.3, 1.0] {
        assert_fair(&share(Pipe { queue, ..CLEAN }, Congestion::Cubic, Some(Congestion::Bbr)));
        assert_fair(&share(Pipe { queue, ..CLEAN }, Congestion::Bbr, Some(Congestion::Cubic)));
    }
}

#[test]
fn both_share_a_path_with_tcp() {
    for queue in [0.3, 1.0] {
        assert_fair(&share(Pipe { queue, ..CLEAN }, Congestion::Cubic, None));
        assert_fair(&share(Pipe { queue, ..CLEAN }, Congestion::Bbr, None));
    }
}

#[test]
fn a_short_message_keeps_its_latency_beside_a_bulk_transfer() {
    // CUBIC fills the queue of the path, whoever waits behind it; the one after BBR does not.
    for (congestion, queue, most) in
        [(Congestion::Cubic, 0.5, 40 + 5), (Congestion::Cubic, 1.0, 40 + 20), (Congestion::Bbr, 1.0, 40 + 5)]
    {
        let (median, p99) = beside_a_transfer(congestion, queue);
        println!("{congestion:?} with a queue of {queue}: median {median:?}, p99 {p99:?}");
        assert!(p99 <= Duration::from_millis(most), "{congestion:?} with a queue of {queue}: {p99:?}");
    }
}

/// How long short messages take beside a bulk transfer: median and p99.
fn beside_a_transfer(congestion: Congestion, queue: f64) -> (Duration, Duration) {
    let (mut link, bulk) = Pipe { queue, ..CLEAN }.lay(1, |config| config.congestion = congestion);
    let chat = link.open(0, ChannelConfig { priority: 1024, ..Default::default() });
    fill(&mut link, bulk, 1.0, 2.0);
    let message = vec![7; MESSAGE];
    let mut latencies = Vec::new();
    let mut asked = None;
    let end = link.now + Duration::from_secs(5);
    while link.now < end {
        let now = link.now;
        while link.ends[0].association.send(now, bulk, MessageKind::Binary, &message).is_ok() {}
        if asked.is_none() {
            link.send(0, chat, b"quick");
            asked = Some(now);
        }
        assert!(link.step());
        if link.ends[1].messages().iter().any(|message| message.0 == chat.0) {
            latencies.extend(asked.take().map(|asked| link.now - asked));
        }
        link.ends[1].events.clear();
    }
    latencies.sort();
    assert!(latencies.len() > 50);
    (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100])
}

#[test]
fn a_path_that_becomes_narrower_without_a_word_is_silent_for_less_than_a_timeout() {
    for (mtu, narrow, congestion) in
        [(1432, 1232, Congestion::Cubic), (8932, 1432, Congestion::Cubic), (1432, 1160, Congestion::Bbr)]
    {
        let (mut link, id) =
            CLEAN.lay(1, |config| (config.largest_mtu, config.congestion) = (mtu, congestion));
        link.rest(Duration::from_secs(20));
        assert_eq!(link.ends[0].association.mtu(), mtu);
        fill(&mut link, id, 1.0, 1.0);
        link.largest = narrow;
        let (mut last, mut longest) = (link.now, Duration::ZERO);
        let end = link.now + Duration::from_secs(3);
        let message = vec![7; MESSAGE];
        while link.now < end {
            let now = link.now;
            while link.ends[0].association.send(now, id, MessageKind::Binary, &message).is_ok() {}
            assert!(link.step());
            if !link.ends[1].messages().is_empty() {
                (last, longest) = (link.now, longest.max(link.now - last));
            }
            link.ends[1].events.clear();
        }
        println!("{mtu} to {narrow}, {congestion:?}: silent for {longest:?}");
        assert!(
            longest < Duration::from_millis(400 + CLEAN.rtt),
            "{mtu} to {narrow}, {congestion:?}: {longest:?}"
        );
    }
}
