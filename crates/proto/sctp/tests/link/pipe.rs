//! A path of a given width and length, and a transfer that fills it.

use std::time::Duration;

use sterna_sctp::{ChannelConfig, ChannelId, Config, MessageKind};

use super::{Bottleneck, Link, Weather, tcp};

/// Bytes that DTLS, UDP and IP add to each packet.
const OVERHEAD: usize = 37 + 28;
pub(crate) const MESSAGE: usize = 16_384;

/// What a path is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    /// Megabits a second.
    pub(crate) mbits: u64,
    /// The round trip, in milliseconds.
    pub(crate) rtt: u64,
    /// What its queue holds, in round trips.
    pub(crate) queue: f64,
    /// What part of the packets is lost at random.
    pub(crate) loss: f64,
}

impl Pipe {
    /// Two ends of it with a channel.
    pub(crate) fn lay(self, seed: u64, mut change: impl FnMut(&mut Config)) -> (Link, ChannelId) {
        let weather =
            Weather { delay: Duration::from_millis(self.rtt) / 2, jitter: Duration::ZERO, loss: 0, twice: 0 };
        let mut link = Link::with(seed, weather, |config| {
            (config.largest_send_buffer, config.largest_receive_window) = (96 << 20, 96 << 20);
            change(config);
        });
        link.keeps = false;
        let id = link.open(0, ChannelConfig::default());
        link.run(Duration::from_secs(60), |link| link.connected() && link.ends[1].association.is_open(id));
        link.bottleneck = Some(self.bottleneck());
        (link, id)
    }

    pub(crate) fn bottleneck(self) -> Bottleneck {
        let rate = self.mbits as f64 * 1e6 / 8.0;
        let queue = ((rate * self.rtt as f64 / 1e3 * self.queue) as usize).max(20_000);
        Bottleneck { rate, queue, overhead: OVERHEAD, loss: self.loss, marks: None }
    }

    /// The path with a TCP flow alone.
    pub(crate) fn lay_for_tcp(self, seed: u64) -> (Link, ChannelId) {
        let (mut link, id) = self.lay(seed, |_| {});
        link.ends.clear();
        link.tcp = Some(tcp::Tcp::new());
        (link, id)
    }
}

/// Sends as much as the associations take for a while, each pair on its first channel. Returns what part of the link the
/// messages used that arrived at each pair, from `warm` seconds on; and at last the TCP flow's part, if there is one.
pub(crate) fn fill(link: &mut Link, id: ChannelId, warm: f64, seconds: f64) -> Vec<f64> {
    let message = vec![7; MESSAGE];
    let pairs = link.ends.len() / 2;
    let begin = link.now;
    let (mut received, mut counted) = (vec![0; pairs + usize::from(link.tcp.is_some())], None);
    let end = begin + Duration::from_secs_f64(warm + seconds);
    while link.now < end {
        let now = link.now;
        for pair in 0..pairs {
            let sender = &mut link.ends[2 * pair];
            while sender.association.send(now, id, MessageKind::Binary, &message).is_ok() {}
            sender.events.clear();
        }
        assert!(link.step());
        if let (Some(tcp), Some(received)) = (&link.tcp, received.last_mut()) {
            *received = tcp.received * tcp::SEGMENT;
        }
        for (pair, received) in received.iter_mut().enumerate().take(pairs) {
            let receiver = &mut link.ends[2 * pair + 1];
            *received += receiver.messages().iter().filter(|message| message.0 == id.0).count() * MESSAGE;
            receiver.events.clear();
        }
        if counted.is_none() && link.now >= begin + Duration::from_secs_f64(warm) {
            counted = Some((link.now, received.clone()));
        }
    }
    let (since, before) = counted.expect("it warmed up");
    let whole = link.bottleneck.expect("there is one").rate * (link.now - since).as_secs_f64();
    received.iter().zip(before).map(|(after, before)| (after - before) as f64 / whole).collect()
}
