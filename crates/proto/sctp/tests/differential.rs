//! Ours at one end, another engine at the other: what one says, the other understands, in any weather.

mod foreign;

use std::collections::BTreeMap;
use std::time::Duration;

use foreign::Foreign;
use sansio::{Machine as _, Rng, Seed, Time};
use sterna_sctp::{
    Association, ChannelConfig, ChannelId, Config, Event, MessageKind, Reliability, Role, SendError,
};

const MTU: usize = 1160;
const STREAM: u16 = 4;

/// How the two come together.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Begin {
    /// By INITs that each heard beforehand.
    Snap,
    /// The other begins, and ours only answers.
    Theirs,
}

struct Pair {
    now: Time,
    ours: Association,
    theirs: Foreign,
    events: Vec<Event>,
    heard: Vec<Vec<u8>>,
    wire: BTreeMap<(Time, u64), (bool, Vec<u8>)>,
    number: u64,
    loss: u64,
    rng: Rng,
    /// Whether our INIT is kept back.
    mute: bool,
}

impl Pair {
    fn new(seed: u64, begin: Begin, loss: u64) -> Self {
        let config = Config::new(Role::Client, Seed::from(seed));
        let foreign = Config {
            interleaving: false,
            zero_checksum: false,
            ..Config::new(Role::Server, Seed::from(seed + 1))
        };
        let (ours, theirs) = match begin {
            Begin::Snap => {
                let ours =
                    Association::agreed(Time::ZERO, config.clone(), &foreign.init()).expect("it is sound");
                (ours, Foreign::new(MTU, 2 << 20, Some((foreign.init(), config.init()))))
            }
            Begin::Theirs => (Association::new(Time::ZERO, config), Foreign::new(MTU, 2 << 20, None)),
        };
        Self {
            now: Time::ZERO,
            ours,
            theirs,
            events: Vec::new(),
            heard: Vec::new(),
            wire: BTreeMap::new(),
            number: 0,
            loss,
            rng: Rng::new(Seed::from(seed)),
            mute: begin == Begin::Theirs,
        }
    }

    fn launch(&mut self, to_us: bool, packet: Vec<u8>) {
        if self.rng.below(100) < self.loss || !to_us && self.mute && packet[12] == 1 {
            return;
        }
        let delay = Duration::from_micros(20_000 + self.rng.below(5_000));
        self.number += 1;
        self.wire.insert((self.now + delay, self.number), (to_us, packet));
    }

    fn step(&mut self) {
        let mut out: Vec<Vec<u8>> = Vec::new();
        self.ours.poll_transmit(self.now, &mut out);
        out.into_iter().for_each(|packet| self.launch(false, packet));
        for packet in self.theirs.transmit(self.now) {
            self.launch(true, packet.to_vec());
        }
        self.events.extend(std::iter::from_fn(|| self.ours.poll_event()));
        while let Some(data) = self.theirs.read(STREAM) {
            self.heard.push(data.to_vec());
        }
        let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
        let timers = [arrival, self.ours.poll_timeout(), self.theirs.poll_timeout()];
        let next = timers.into_iter().flatten().min().unwrap_or(self.now + Duration::from_secs(1));
        self.now = self.now.max(next);
        if self.ours.poll_timeout().is_some_and(|at| at <= self.now) {
            self.ours.handle_timeout(self.now);
        }
        self.theirs.handle_timeout(self.now);
        while let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now
        {
            let (to_us, packet) = entry.remove();
            if to_us {
                self.ours.handle_packet(self.now, &packet);
            } else {
                self.theirs.handle(self.now, &packet);
            }
        }
    }

    #[track_caller]
    fn run(&mut self, seconds: u64, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(seconds);
        while !done(self) {
            let said = self.received().len();
            assert!(
                self.now < end,
                "{said} arrived here and {} there: {:?}",
                self.heard.len(),
                self.ours.drops()
            );
            self.step();
        }
    }

    fn received(&self) -> Vec<&[u8]> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::MessageReceived { data, .. } => Some(&data[..]),
            _ => None,
        });
        messages.collect()
    }

    /// A channel whose number both know.
    fn open(&mut self, ordered: bool, retransmissions: Option<u16>) -> ChannelId {
        self.run(60, |pair| pair.ours.is_connected() && pair.theirs.connected);
        let reliability = retransmissions.map_or(Reliability::Reliable, Reliability::MaxRetransmits);
        let negotiated = Some(ChannelId(STREAM));
        let config = ChannelConfig { negotiated, ordered, reliability, ..Default::default() };
        let id = self.ours.open_channel(self.now, config).expect("it is free");
        self.theirs.open(STREAM, ordered, retransmissions.map(u32::from));
        id
    }
}

/// Bytes that tell which message they are.
fn message(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + number * 31) as u8).collect()
}

#[test]
fn both_ends_understand_each_other_with_any_seed() {
    for seed in 0..30 {
        let begin = if seed % 2 == 0 { Begin::Snap } else { Begin::Theirs };
        let mut pair = Pair::new(seed, begin, seed % 4 * 4);
        let id = pair.open(true, None);
        let lengths: Vec<usize> = (0..25).map(|_| 1 + pair.rng.below(20_000) as usize).collect();
        for (number, &length) in lengths.iter().enumerate() {
            pair.ours
                .send(pair.now, id, MessageKind::Binary, &message(number, length))
                .expect("there is room");
            pair.theirs.write(STREAM, &message(number + 100, length));
        }
        pair.run(600, |pair| pair.heard.len() == 25 && pair.received().len() == 25);
        for (number, &length) in lengths.iter().enumerate() {
            assert!(pair.heard[number] == message(number, length), "seed {seed}");
            assert!(pair.received()[number] == message(number + 100, length), "seed {seed}");
        }
        assert_eq!((pair.ours.drops().absurd, pair.ours.drops().malformed), (0, 0));
    }
}

#[test]
fn what_is_given_up_is_skipped_at_both_ends() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Begin::Snap, 0);
        let id = pair.open(seed % 2 == 0, Some(0));
        pair.loss = 15;
        for number in 0..60 {
            match pair.ours.send(pair.now, id, MessageKind::Binary, &message(number, 3_000)) {
                Ok(()) | Err(SendError::Full) => {}
                Err(error) => panic!("{error}"),
            }
            pair.theirs.write(STREAM, &message(number, 3_000));
            let until = pair.now + Duration::from_millis(30);
            pair.run(60, |pair| pair.now >= until);
        }
        pair.loss = 0;
        let until = pair.now + Duration::from_secs(20);
        pair.run(60, |pair| pair.now >= until);
        // Whatever is missing holds up nothing that comes later.
        let last = message(77, 100);
        pair.ours.send(pair.now, id, MessageKind::Binary, &last).expect("there is room");
        pair.theirs.write(STREAM, &last);
        pair.run(60, |pair| {
            pair.heard.last() == Some(&last) && pair.received().last().is_some_and(|data| *data == last)
        });
        for count in [pair.heard.len(), pair.received().len()] {
            assert!((15..60).contains(&count), "{count} of 61 with seed {seed}");
        }
        assert!(pair.heard.iter().all(|data| (0..78).any(|number| *data == message(number, data.len()))));
    }
}

#[test]
fn channels_are_closed_from_both_ends() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed, Begin::Snap, seed % 3 * 5);
        let id = pair.open(true, None);
        pair.ours.send(pair.now, id, MessageKind::Binary, b"from here").expect("there is room");
        pair.theirs.write(STREAM, b"from there");
        pair.run(60, |pair| pair.heard.len() == 1 && pair.received().len() == 1);
        let now = pair.now;
        if seed % 2 == 0 {
            pair.ours.close_channel(now, id);
        } else {
            pair.theirs.close(STREAM);
        }
        pair.run(60, |pair| pair.events.contains(&Event::ChannelClosed(id)));
        assert!(pair.ours.is_connected());
    }
}
