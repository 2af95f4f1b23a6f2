//! How much of a path a transfer gets, and what that does to others. In virtual time, over one narrow link.

mod link;

use std::time::Duration;

use link::{Bottleneck, Link, Weather};
use sterna_sctp::{ChannelConfig, ChannelId, Config, Congestion, MessageKind};

const LONG: Duration = Duration::from_secs(60);
/// Bytes that DTLS, UDP and IP add to each packet.
const OVERHEAD: usize = 37 + 28;
const MESSAGE: usize = 16_384;

/// A path of so many bits a second and milliseconds of round trip, with a queue of so many of them.
fn path(mbits: u64, rtt: u64, queue: f64, change: impl FnMut(&mut Config)) -> (Link, ChannelId) {
    let delay = Duration::from_millis(rtt) / 2;
    let mut change = change;
    let mut link = Link::with(1, Weather { delay, jitter: Duration::ZERO, loss: 0, twice: 0 }, |config| {
        (config.largest_send_buffer, config.largest_receive_window) = (64 << 20, 64 << 20);
        change(config);
    });
    let rate = mbits as f64 * 1e6 / 8.0;
    let queue = (rate * rtt as f64 / 1e3 * queue) as usize;
    link.bottleneck = Some(Bottleneck { rate, queue: queue.max(20_000), overhead: OVERHEAD });
    link.keeps = false;
    let id = link.open(0, ChannelConfig::default());
    link.run(LONG, |link| link.connected() && link.ends[1].association.is_open(id));
    (link, id)
}

/// Sends as much as the association takes for a while. Returns what part of the link the messages that arrived used, from
/// `warm` seconds on.
fn fill(link: &mut Link, id: ChannelId, warm: u64, seconds: u64) -> f64 {
    let message = vec![7; MESSAGE];
    let begin = link.now;
    let (mut received, mut counted) = (0, None);
    let end = begin + Duration::from_secs(warm + seconds);
    while link.now < end {
        let now = link.now;
        while link.ends[0].association.send(now, id, MessageKind::Binary, &message).is_ok() {}
        assert!(link.step());
        received += link.ends[1].messages().iter().filter(|message| message.0 == id.0).count() * MESSAGE;
        link.ends[1].events.clear();
        link.ends[0].events.clear();
        if counted.is_none() && link.now >= begin + Duration::from_secs(warm) {
            counted = Some((link.now, received));
        }
    }
    let (since, before) = counted.expect("it warmed up");
    let rate = link.bottleneck.expect("there is one").rate;
    (received - before) as f64 / (link.now - since).as_secs_f64() / rate
}

#[test]
fn a_path_without_loss_is_filled() {
    for (mbits, rtt) in [(10, 20), (40, 2), (50, 200)] {
        for congestion in [Congestion::Cubic, Congestion::Bbr] {
            let (mut link, id) = path(mbits, rtt, 1.0, |config| config.congestion = congestion);
            let used = fill(&mut link, id, 4, 3);
            println!("{congestion:?} {mbits} Mbit/s {rtt} ms: {:.1} %", used * 100.0);
            // 8 % is what headers cost: 1128 of 1225 bytes are message.
            assert!(used > 0.86, "{congestion:?} {mbits} Mbit/s {rtt} ms: {used}");
        }
    }
}

#[test]
fn random_loss_does_not_stop_the_one_after_bbr() {
    for (mbits, rtt) in [(50, 20), (30, 100)] {
        let (mut link, id) = path(mbits, rtt, 1.0, |config| config.congestion = Congestion::Bbr);
        link.weather.loss = 1;
        let used = fill(&mut link, id, 3, 4);
        println!("{mbits} Mbit/s {rtt} ms, 1 % lost: {:.1} %", used * 100.0);
        assert!(used > 0.72, "{mbits} Mbit/s {rtt} ms: {used}");
    }
}

#[test]
fn a_short_message_keeps_its_latency_beside_a_bulk_transfer() {
    let (mut link, bulk) = path(50, 40, 0.5, |_| {});
    let chat = link.open(0, ChannelConfig { priority: 1024, ..Default::default() });
    fill(&mut link, bulk, 1, 2);
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
