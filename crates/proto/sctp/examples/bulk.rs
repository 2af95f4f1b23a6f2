//! How many bytes a second two ends of an association move on one thread, without DTLS and a network: ours beside
//! `sctp-proto`. `cargo run --release -p sterna-sctp --example bulk`
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/foreign/mod.rs"]
mod foreign;

use std::time::{Duration, Instant};

use bytes::Bytes;
use foreign::Foreign;
use sansio::{Machine, Outbox, Seed, Time};
use sterna_sctp::{Association, ChannelConfig, ChannelId, Config, Event, MessageKind, Reliability, Role};

/// Packets that are sent before they are received.
const BURST: usize = 40;
const MTU: usize = 1160;

/// Packets, one behind the other.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Outbox<()> for Wire {
    fn room(&self) -> usize {
        if self.ends.len() < BURST { 65_536 } else { 0 }
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        if self.ends.len() >= BURST {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.resize(start + max, 0);
        let used = fill(&mut self.bytes[start..]);
        self.bytes.truncate(start + used);
        if used > 0 {
            self.ends.push(start + used);
        }
        true
    }
}

impl Wire {
    fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            take(&self.bytes[start..end]);
            start = end;
        }
        self.bytes.clear();
    }
}

/// What is measured.
#[derive(Clone, Copy)]
struct Task {
    message: usize,
    buffer: usize,
    summed: bool,
    ordered: bool,
    total: usize,
}

fn ours(task: Task) -> Duration {
    let start = Instant::now();
    let now = || Time::from_start(start.elapsed());
    let end = |role, seed| {
        let mut config = Config::new(role, Seed::from(seed));
        config.zero_checksum = !task.summed;
        (config.send_buffer, config.largest_send_buffer) = (task.buffer, 0);
        Association::new(Time::ZERO, config)
    };
    let (mut a, mut b) = (end(Role::Client, 1), end(Role::Server, 2));
    let reliability = if task.ordered { Reliability::Reliable } else { Reliability::MaxRetransmits(0) };
    let channel = ChannelConfig { ordered: task.ordered, reliability, ..Default::default() };
    let id: ChannelId = a.open_channel(Time::ZERO, channel).expect("the first");
    let message = Bytes::from(vec![7; task.message]);
    let (mut there, mut back) = (Wire::default(), Wire::default());
    let mut received = 0;
    let mut begin = None;
    while received < task.total {
        let time = now();
        while a.send_bytes(time, id, MessageKind::Binary, &mut message.clone()).is_ok() {}
        for (end, wire) in [(&mut a, &mut there), (&mut b, &mut back)] {
            if end.poll_timeout().is_some_and(|at| at <= time) {
                end.handle_timeout(time);
            }
            end.poll_transmit(time, wire);
        }
        there.drain(|packet| b.handle_packet(time, packet));
        back.drain(|packet| a.handle_packet(time, packet));
        while let Some(event) = b.poll_event() {
            if let Event::MessageReceived { data, .. } = event {
                begin.get_or_insert_with(Instant::now);
                received += data.len();
            }
        }
        while a.poll_event().is_some() {}
    }
    begin.expect("something was received").elapsed()
}

fn theirs(task: Task) -> Duration {
    let start = Instant::now();
    let now = || Time::from_start(start.elapsed());
    let terms = [1, 2].map(|seed| {
        let mut config = Config::new(Role::Client, Seed::from(seed));
        (config.interleaving, config.zero_checksum) = (false, false);
        config.init()
    });
    let [mut a, mut b] = [0, 1]
        .map(|end: usize| Foreign::new(MTU, 2 << 20, Some((terms[end].clone(), terms[1 - end].clone()))));
    a.open(1, task.ordered, (!task.ordered).then_some(0));
    let message = vec![7; task.message];
    let (mut received, mut begin) = (0, None);
    while received < task.total {
        let time = now();
        while a.buffered(1) + task.message <= task.buffer {
            a.write(1, &message);
        }
        a.handle_timeout(time);
        b.handle_timeout(time);
        for packets in a.transmit(time).chunks(BURST) {
            packets.iter().for_each(|packet| b.handle(time, packet));
            for packet in b.transmit(time) {
                a.handle(time, &packet);
            }
        }
        while let Some(data) = b.read(1) {
            begin.get_or_insert_with(Instant::now);
            received += data.len();
        }
    }
    begin.expect("something was received").elapsed()
}

fn main() {
    let only = std::env::args().nth(1);
    println!("message  buffer  checksum   ours MB/s   sctp-proto MB/s   ratio");
    for (message, buffer, ordered) in [
        (16_384, 64 << 10, true),
        (16_384, 256 << 10, true),
        (16_384, 1 << 20, true),
        (16_384, 4 << 20, true),
        (100, 1 << 20, false),
    ] {
        for summed in [true, false] {
            let total = if message < 1000 { 30 << 20 } else { 300 << 20 };
            let task = Task { message, buffer, summed, ordered, total };
            let speed = |total: usize, took: Duration| total as f64 / took.as_secs_f64() / 1e6;
            let ours = speed(total, ours(task));
            print!(
                "{message:7} {:5} K  {:8} {ours:11.0}",
                buffer >> 10,
                if summed { "CRC32c" } else { "none" }
            );
            if summed && only.as_deref() != Some("ours") {
                let total = total / 6;
                let theirs = speed(total, theirs(Task { total, ..task }));
                print!(" {theirs:17.0} {:7.1}", ours / theirs);
            }
            println!();
        }
    }
}
