use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Rng, Seed, Time};

/// One direction of a way: it loses, carries so many bits a second, and takes its time.
pub(crate) struct Link {
    pub(crate) delay: Duration,
    pub(crate) loss: f64,
    /// Bits per second; what would wait longer than `longest` is lost.
    pub(crate) capacity: Option<f64>,
    pub(crate) longest: Duration,
    rng: Rng,
    /// When the last packet will have left.
    free: Time,
    on_the_way: VecDeque<(Time, Vec<u8>)>,
    pub(crate) sent: u64,
    copies: Vec<Vec<u8>>,
    pub(crate) bytes: u64,
}

impl Link {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            delay: Duration::from_millis(25),
            loss: 0.0,
            capacity: None,
            longest: Duration::from_millis(500),
            rng: Rng::new(Seed::from(seed)),
            free: Time::ZERO,
            on_the_way: VecDeque::new(),
            sent: 0,
            copies: Vec::new(),
            bytes: 0,
        }
    }

    /// How long a packet waits that comes now.
    pub(crate) fn wait(&self, now: Time) -> Duration {
        self.free.since(now)
    }

    pub(crate) fn send(&mut self, now: Time, packet: Vec<u8>) {
        self.sent += 1;
        self.copies.push(packet.clone());
        self.bytes += packet.len() as u64;
        if self.rng.unit() < self.loss || self.wait(now) > self.longest {
            return;
        }
        let takes = self.capacity.map_or(0.0, |capacity| packet.len() as f64 * 8.0 / capacity);
        self.free = self.free.max(now) + Duration::from_secs_f64(takes);
        self.on_the_way.push_back((self.free + self.delay, packet));
    }

    /// Copies of what was sent since this was asked last.
    pub(crate) fn taken(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.copies)
    }

    /// What has arrived.
    pub(crate) fn arrived(&mut self, now: Time) -> Vec<Vec<u8>> {
        let arrived = self.on_the_way.iter().take_while(|(at, _)| *at <= now).count();
        self.on_the_way.drain(..arrived).map(|(_, packet)| packet).collect()
    }
}
