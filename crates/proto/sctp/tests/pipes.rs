//! How much of a path a transfer gets, and what that does to others. In virtual time, over one narrow link.

mod link;

use std::time::Duration;

use link::pipe::{MESSAGE, Pipe, fill};
use link::tcp::Tcp;
use sterna_sctp::{ChannelConfig, Congestion, MessageKind};

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
        let (mut ours, mut tcp) = (0.0, 0.0);
        for seed in 0..6 {
            // What discovery finds on a path of Ethernet's MTU, as TCP does.
            let (mut link, id) = pipe.lay(seed, |config| config.mtu = 1432);
            ours += fill(&mut link, id, 3.0, 30.0)[0];
            let (mut link, id) = pipe.lay_for_tcp(seed);
            tcp += fill(&mut link, id, 3.0, 30.0)[0];
        }
        println!("{rtt} ms, {loss}: {:.2} times TCP's {:.3}", ours / tcp, tcp / 6.0);
        assert!(ours >= tcp, "{rtt} ms, {loss}: {ours} for {tcp}");
    }
}

#[test]
fn a_long_fat_lossy_path_is_filled_by_the_one_after_bbr() {
    let pipe = Pipe { mbits: 200, rtt: 100, queue: 1.0, loss: 0.01 };
    let (mut link, id) = pipe.lay(1, |config| config.congestion = Congestion::Bbr);
    let used = fill(&mut link, id, 6.0, 4.0)[0];
    assert!(used > 0.8, "{used}");
}

/// Lets a second flow come (TCP if none is named) when the first has all of the path, and returns what each gets.
fn share(pipe: Pipe, first: Congestion, second: Option<Congestion>) -> Vec<f64> {
    let (mut link, id) = pipe.lay(1, |config| config.congestion = first);
    fill(&mut link, id, 1.0, 2.0);
    match second {
        Some(second) => {
            let (mut other, _) = pipe.lay(2, |config| config.congestion = second);
            let late = link.now - other.now;
            other.rest(late);
            link.join(other);
        }
        None => link.tcp = Some(Tcp::new()),
    }
    let used = fill(&mut link, id, 10.0, 40.0);
    println!("{first:?} and {second:?}: {used:?}");
    used
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
    let (mut link, bulk) = Pipe { queue: 0.5, ..CLEAN }.lay(1, |_| {});
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
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("{} messages, median {:?}, p99 {p99:?}", latencies.len(), latencies[latencies.len() / 2]);
    assert!(p99 <= Duration::from_millis(40 + 5), "{p99:?}");
}
