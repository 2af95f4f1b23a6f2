//! Two associations at the ends of a link, in virtual time; or several such pairs that share the link.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod pipe;
pub(crate) mod tcp;

use std::collections::BTreeMap;
use std::time::Duration;

use sansio::{Machine, Outbox, Rng, Seed, Time};
use sterna_sctp::{Association, ChannelId, Config, Event, MessageKind, Role};

use tcp::{Parcel, Tcp};

/// What the link does to packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One way.
    pub(crate) delay: Duration,
    /// On top of it, at random; more than the spacing of packets reorders them.
    pub(crate) jitter: Duration,
    /// Of 100 packets so many are lost.
    pub(crate) loss: u64,
    /// Of 100 packets so many arrive twice.
    pub(crate) twice: u64,
}

pub(crate) const FINE: Weather =
    Weather { delay: Duration::from_millis(10), jitter: Duration::ZERO, loss: 0, twice: 0 };

/// One end.
pub(crate) struct End {
    pub(crate) association: Association,
    pub(crate) events: Vec<Event>,
    /// Every packet that it sent, with its time.
    pub(crate) sent: Vec<(Time, Vec<u8>)>,
    /// While set its events are not polled.
    pub(crate) asleep: bool,
    mtu: usize,
}

impl End {
    /// The messages received so far.
    pub(crate) fn messages(&self) -> Vec<(u16, MessageKind, &[u8])> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::MessageReceived { id, kind, data } => Some((id.0, *kind, &data[..])),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn has(&self, wanted: &Event) -> bool {
        self.events.contains(wanted)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Closed | Event::Failed(_)))
    }

    pub(crate) fn send(&mut self, now: Time, id: ChannelId, data: &[u8]) {
        self.association.send(now, id, MessageKind::Binary, data).expect("the message is taken");
    }
}

/// The narrowest part of a path, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bottleneck {
    /// Bytes per second.
    pub(crate) rate: f64,
    /// Bytes that may wait.
    pub(crate) queue: usize,
    /// Bytes that each packet costs beyond its own.
    pub(crate) overhead: usize,
    /// What part of the packets it loses at random.
    pub(crate) loss: f64,
    /// When so many bytes wait, what may be marked is; `None`: nothing is.
    pub(crate) marks: Option<usize>,
}

/// What the link does to packets that may be marked, besides what its queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capable {
    Carried,
    /// They arrive as others do, and are never marked.
    Bleached,
    Swallowed,
    /// All of them are marked, for no reason.
    Marked,
}

/// What is on its way.
enum Cargo {
    /// To which end, the packet, and whether it is marked.
    Packet(usize, Vec<u8>, bool),
    Parcel(Parcel),
}

pub(crate) struct Link {
    pub(crate) now: Time,
    /// Even ones talk to the odd ones after them.
    pub(crate) ends: Vec<End>,
    pub(crate) weather: Weather,
    pub(crate) bottleneck: Option<Bottleneck>,
    /// When the bottleneck has sent all that waits, for each direction.
    free: [Time; 2],
    pub(crate) capable: Capable,
    /// Packets that were marked.
    pub(crate) marked: usize,
    /// Packets that found the queue full.
    pub(crate) overflown: usize,
    /// Larger packets do not arrive.
    pub(crate) largest: usize,
    /// Whether [`End::sent`] is kept.
    pub(crate) keeps: bool,
    /// A TCP flow in the direction from even ends to odd ones.
    pub(crate) tcp: Option<Tcp>,
    /// Arrival, number, what arrives.
    wire: BTreeMap<(Time, u64), Cargo>,
    number: u64,
    rng: Rng,
}

/// Collects packets.
struct Sink<'a> {
    packets: &'a mut Vec<(Vec<u8>, bool)>,
    mtu: usize,
    room: usize,
}

impl Outbox<()> for Sink<'_> {
    fn room(&self) -> usize {
        self.room
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(false, max, fill)
    }

    fn send_capable(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(true, max, fill)
    }
}

impl Sink<'_> {
    fn write(&mut self, capable: bool, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        if max > self.room {
            return false;
        }
        let mut packet = vec![0; max];
        let used = fill(&mut packet);
        packet.truncate(used);
        assert!(used <= self.mtu, "{used} bytes are more than the MTU");
        self.room -= used;
        if used > 0 {
            self.packets.push((packet, capable));
        }
        true
    }
}

impl Link {
    /// Client at 0, server at 1.
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self::with(seed, weather, |_| {})
    }

    /// The same, with other settings for both.
    pub(crate) fn with(seed: u64, weather: Weather, mut change: impl FnMut(&mut Config)) -> Self {
        let mut rng = Rng::new(Seed::from(seed));
        let mut end = |role| {
            // Buffers stay as each test sets them.
            let mut config =
                Config { largest_send_buffer: 0, largest_receive_window: 0, ..Config::new(role, rng.fork()) };
            change(&mut config);
            End {
                mtu: config.mtu.max(config.largest_mtu),
                association: Association::new(Time::ZERO, config),
                events: Vec::new(),
                sent: Vec::new(),
                asleep: false,
            }
        };
        let ends = vec![end(Role::Client), end(Role::Server)];
        Self {
            now: Time::ZERO,
            ends,
            weather,
            bottleneck: None,
            free: [Time::ZERO; 2],
            capable: Capable::Carried,
            marked: 0,
            overflown: 0,
            largest: usize::MAX,
            keeps: true,
            tcp: None,
            wire: BTreeMap::new(),
            number: 0,
            rng,
        }
    }

    /// Two more ends, of a link that is made in the same way.
    pub(crate) fn join(&mut self, mut other: Link) {
        self.ends.append(&mut other.ends);
    }

    pub(crate) fn open(&mut self, end: usize, config: sterna_sctp::ChannelConfig) -> ChannelId {
        let now = self.now;
        self.ends[end].association.open_channel(now, config).expect("the channel can be opened")
    }

    pub(crate) fn send(&mut self, end: usize, id: ChannelId, data: &[u8]) {
        let now = self.now;
        self.ends[end].send(now, id, data);
    }

    /// Lets both ends send and report what they want to.
    pub(crate) fn settle(&mut self) {
        let now = self.now;
        let parcels = self.tcp.as_mut().map(|tcp| tcp.transmit(now));
        parcels.into_iter().flatten().for_each(|parcel| self.launch_parcel(parcel));
        for index in 0..self.ends.len() {
            let end = &mut self.ends[index];
            let mut packets = Vec::new();
            end.association
                .poll_transmit(self.now, &mut Sink { packets: &mut packets, mtu: end.mtu, room: 1 << 20 });
            for (packet, capable) in packets {
                if self.keeps {
                    self.ends[index].sent.push((self.now, packet.clone()));
                }
                self.launch(index ^ 1, packet, capable);
            }
            let end = &mut self.ends[index];
            while !end.asleep
                && let Some(event) = end.association.poll_event()
            {
                end.events.push(event);
            }
        }
    }

    /// Goes through the bottleneck, if there is one. Returns how long it takes to the other end, unless it gets lost, and whether it
    /// is marked, if it may be.
    fn pass(&mut self, direction: usize, bytes: usize) -> Option<(Duration, bool)> {
        let delay = self.weather.delay;
        let Some(Bottleneck { rate, queue, loss, marks, .. }) = self.bottleneck else {
            return Some((delay, false));
        };
        let free = &mut self.free[direction];
        let waits = *free - self.now;
        if waits.as_secs_f64() * rate > queue as f64 {
            self.overflown += 1;
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / rate);
        *free = self.now + waits + takes;
        let is_lost = loss > 0.0 && self.rng.unit() < loss;
        let is_marked = marks.is_some_and(|marks| waits.as_secs_f64() * rate > marks as f64);
        (!is_lost).then_some((delay + waits + takes, is_marked))
    }

    fn launch_parcel(&mut self, parcel: Parcel) {
        let (direction, bytes) = match parcel {
            Parcel::Segment(_) => (1, tcp::PACKET),
            Parcel::Acknowledgement { .. } => (0, tcp::ACKNOWLEDGEMENT),
        };
        if let Some((delay, _)) = self.pass(direction, bytes) {
            self.number += 1;
            self.wire.insert((self.now + delay, self.number), Cargo::Parcel(parcel));
        }
    }

    fn launch(&mut self, to: usize, packet: Vec<u8>, capable: bool) {
        if capable && self.capable == Capable::Swallowed {
            return;
        }
        if self.rng.below(100) < self.weather.loss || packet.len() > self.largest {
            return;
        }
        let overhead = self.bottleneck.map_or(0, |bottleneck| bottleneck.overhead);
        let Some((delay, crowded)) = self.pass(to & 1, packet.len() + overhead) else { return };
        let marked =
            capable && (crowded && self.capable == Capable::Carried || self.capable == Capable::Marked);
        self.marked += usize::from(marked);
        let copies = if self.rng.below(100) < self.weather.twice { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.weather.jitter.mul_f64(self.rng.unit());
            let at = self.now + delay + jitter;
            self.number += 1;
            self.wire.insert((at, self.number), Cargo::Packet(to, packet.clone(), marked));
        }
    }

    /// Goes on to the next arrival or timer. Returns whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        self.settle();
        let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.ends.iter().filter_map(|end| end.association.poll_timeout());
        let tcp = self.tcp.as_ref().and_then(Tcp::next_timeout);
        let Some(next) = timers.chain(arrival).chain(tcp).min() else { return false };
        self.now = self.now.max(next);
        let now = self.now;
        let parcel = self.tcp.as_mut().and_then(|tcp| tcp.handle_timeout(now));
        parcel.into_iter().for_each(|parcel| self.launch_parcel(parcel));
        for end in &mut self.ends {
            if end.association.poll_timeout().is_some_and(|at| at <= self.now) {
                end.association.handle_timeout(self.now);
                let next = end.association.poll_timeout();
                assert!(
                    next.is_none_or(|at| at > self.now),
                    "a timeout moves forward: {next:?} at {}",
                    self.now
                );
            }
        }
        while let Some((&(at, number), _)) = self.wire.first_key_value()
            && at <= self.now
        {
            match self.wire.remove(&(at, number)).expect("it is there") {
                Cargo::Packet(to, packet, marked) => {
                    if let Some(end) = self.ends.get_mut(to) {
                        if marked {
                            end.association.handle_mark(now);
                        }
                        end.association.handle_packet(now, &packet);
                    }
                }
                Cargo::Parcel(parcel) => {
                    let answer = self.tcp.as_mut().and_then(|tcp| tcp.handle(now, parcel));
                    answer.into_iter().for_each(|answer| self.launch_parcel(answer));
                }
            }
        }
        true
    }

    /// Runs until `done`, for at most `limit`.
    #[track_caller]
    pub(crate) fn run(&mut self, limit: Duration, mut done: impl FnMut(&Link) -> bool) {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            assert!(self.now <= end, "not done in {limit:?}: {:?} {:?}", self.summary(0), self.summary(1));
            assert!(self.step(), "nothing is under way: {:?} {:?}", self.summary(0), self.summary(1));
        }
    }

    /// Runs for a while.
    pub(crate) fn rest(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.ends.iter().filter_map(|end| end.association.poll_timeout());
            if timers.chain(arrival).min().is_none_or(|next| next > end) {
                self.now = end;
                return;
            }
            self.step();
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.ends.iter().all(|end| end.association.is_connected())
    }

    fn summary(&self, end: usize) -> String {
        let end = &self.ends[end];
        let messages = end.messages().len();
        let others: Vec<_> =
            end.events.iter().filter(|event| !matches!(event, Event::MessageReceived { .. })).collect();
        format!("{messages} messages, {others:?}")
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: usize, salt: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(31) ^ (at >> 8).wrapping_mul(17) ^ salt.wrapping_mul(101)) as u8)
        .collect()
}
