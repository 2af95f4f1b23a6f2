//! How much of a path a transfer gets, and what that does to others. In virtual time, over one narrow link.

mod link;

use std::time::Duration;

use link::pipe::{MESSAGE, Pipe, fill};
use sterna_sctp::{ChannelConfig, Congestion, MessageKind};

const CLEAN: Pipe = Pipe { mbits: 50, rtt: 40, queue: 1.0, loss: 0.0 };

#[test]
fn a_path_without_loss_is_filled() {
    for (mbits, rtt) in [(10, 20), (40, 2), (50, 200)] {
        for congestion in [Congestion::Cubic, Congestion::Bbr] {
            let pipe = Pipe { mbits, rtt, ..CLEAN };
            let (mut link, id) = pipe.lay(1, |config| config.congestion = congestion);
            let used = fill(&mut link, id, 4.0, 3.0)[0];
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
fn two_transfers_share_a_path() {
    let (mut link, id) = CLEAN.lay(1, |_| {});
    fill(&mut link, id, 1.0, 2.0);
    // The second comes when the first has all of it.
    let (mut other, _) = CLEAN.lay(2, |_| {});
    let late = link.now - other.now;
    other.rest(late);
    link.join(other);
    let used = fill(&mut link, id, 10.0, 20.0);
    println!("{used:?}");
    assert!(used[0] + used[1] > 0.86, "{used:?}");
    assert!(used[0] < 2.0 * used[1] && used[1] < 2.0 * used[0], "{used:?}");
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
