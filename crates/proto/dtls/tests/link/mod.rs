//! Two ends of a DTLS association on a link, in virtual time.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use crypto::{Certificate, Fingerprint};
use sansio::{Outbox, Rng, Seed, Time};
use sterna_dtls::{Config, Connected, Endpoint, Event, Role, Versions};

/// What the link does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One way.
    pub(crate) delay: Duration,
    /// On top of it, at random.
    pub(crate) jitter: Duration,
    /// Of 100 datagrams so many are lost.
    pub(crate) loss: u64,
    /// Of 100 datagrams so many arrive twice.
    pub(crate) twice: u64,
}

pub(crate) const FINE: Weather =
    Weather { delay: Duration::from_millis(10), jitter: Duration::ZERO, loss: 0, twice: 0 };

/// One end.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Vec<Event>,
    pub(crate) plain: Vec<Vec<u8>>,
    /// Every datagram that it sent.
    pub(crate) sent: Vec<Vec<u8>>,
}

impl End {
    pub(crate) fn connected(&self) -> Option<&Connected> {
        self.events.iter().find_map(|event| match event {
            Event::Connected(connected) => Some(connected),
            _ => None,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Closed | Event::Failed(_)))
    }
}

pub(crate) struct Link {
    pub(crate) now: Time,
    pub(crate) ends: [End; 2],
    pub(crate) weather: Weather,
    pub(crate) wire: BTreeMap<(Time, u64), (usize, Vec<u8>)>,
    number: u64,
    rng: Rng,
}

impl Link {
    /// Client at 0, server at 1.
    pub(crate) fn new(seed: u64, weather: Weather, versions: [Versions; 2]) -> Self {
        Self::with(seed, weather, |config| {
            config.versions = versions[if config.role == Role::Client { 0 } else { 1 }];
        })
    }

    pub(crate) fn with(seed: u64, weather: Weather, mut change: impl FnMut(&mut Config)) -> Self {
        let mut rng = Rng::new(Seed::from(seed));
        let certificates = [(); 2].map(|()| Certificate::generate().expect("a certificate"));
        let fingerprints: Vec<Fingerprint> = certificates.iter().map(Certificate::fingerprint).collect();
        let mut ends = certificates.into_iter().enumerate().map(|(index, certificate)| {
            let role = if index == 0 { Role::Client } else { Role::Server };
            let expected = vec![fingerprints[1 - index].clone()];
            let mut config = Config::new(role, certificate, expected, rng.fork());
            change(&mut config);
            let endpoint = Endpoint::new(Time::ZERO, config).expect("an endpoint");
            End { endpoint, events: Vec::new(), plain: Vec::new(), sent: Vec::new() }
        });
        let ends = [ends.next().expect("two ends"), ends.next().expect("two ends")];
        Self {
            now: Time::ZERO,
            ends,
            weather,
            wire: BTreeMap::new(),
            number: 0,
            rng: Rng::new(Seed::from(seed + 1)),
        }
    }

    /// Seals `plain` and sends it. Returns whether there was room.
    pub(crate) fn say(&mut self, end: usize, plain: &[u8]) -> bool {
        let mut datagrams = Vec::new();
        let taken = self.ends[end].endpoint.lane(&mut datagrams).send_bytes((), plain);
        datagrams.into_iter().for_each(|datagram| self.launch(end, datagram));
        taken
    }

    pub(crate) fn settle(&mut self) {
        for index in 0..2 {
            let mut datagrams = Vec::new();
            self.ends[index].endpoint.poll_transmit(self.now, &mut datagrams);
            datagrams.into_iter().for_each(|datagram| self.launch(index, datagram));
            while let Some(event) = self.ends[index].endpoint.poll_event() {
                self.ends[index].events.push(event);
            }
        }
    }

    fn launch(&mut self, from: usize, datagram: Vec<u8>) {
        assert!(datagram.len() <= 1200, "{} bytes", datagram.len());
        self.ends[from].sent.push(datagram.clone());
        if self.rng.below(100) < self.weather.loss {
            return;
        }
        let copies = if self.rng.below(100) < self.weather.twice { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now + self.weather.delay + self.weather.jitter.mul_f64(self.rng.unit());
            self.number += 1;
            self.wire.insert((at, self.number), (1 - from, datagram.clone()));
        }
    }

    /// Hands a datagram to an end.
    pub(crate) fn hand(&mut self, to: usize, mut datagram: Vec<u8>) {
        let end = &mut self.ends[to];
        let plain = &mut end.plain;
        end.endpoint.open(self.now, &mut datagram, &mut |bytes| plain.push(bytes.to_vec()));
    }

    pub(crate) fn step(&mut self) -> bool {
        self.settle();
        let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.ends.iter().filter_map(|end| end.endpoint.poll_timeout());
        let Some(next) = timers.chain(arrival).min() else { return false };
        self.now = self.now.max(next);
        for end in &mut self.ends {
            if end.endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
                end.endpoint.handle_timeout(self.now);
                let next = end.endpoint.poll_timeout();
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
            let (to, datagram) = self.wire.remove(&(at, number)).expect("it is there");
            self.hand(to, datagram);
        }
        true
    }

    #[track_caller]
    pub(crate) fn run(&mut self, limit: Duration, mut done: impl FnMut(&Link) -> bool) {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return;
            }
            let state = || format!("{:?} {:?}", self.ends[0].events, self.ends[1].events);
            assert!(self.now <= end, "not done in {limit:?}: {}", state());
            if !self.step() {
                panic!("nothing is under way: {:?} {:?}", self.ends[0].events, self.ends[1].events);
            }
        }
    }

    pub(crate) fn rest(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.ends.iter().filter_map(|end| end.endpoint.poll_timeout());
            if timers.chain(arrival).min().is_none_or(|next| next > end) {
                self.now = end;
                return;
            }
            self.step();
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.ends.iter().all(|end| end.endpoint.is_connected())
    }
}
