use std::time::Duration;

use sansio::Time;

use crate::bandwidth::detector::Usage;

/// The rate by how long packets take: less at once when a queue grows, and more slowly when none does
/// (draft-ietf-rmcat-gcc-02 §5.5).
#[derive(Debug)]
pub(super) struct Aimd {
    rate: f64,
    state: State,
    changed: Time,
    decreased: Option<Time>,
    /// What got through when a queue grew: near it steps are small.
    capacity: Option<Capacity>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Hold,
    Increase,
}

/// The mean of what got through at the limit, and how much it varies (squared, in units of the mean).
#[derive(Clone, Copy, Debug)]
struct Capacity {
    mean: f64,
    variance: f64,
}

/// What is left of the throughput when a queue grows.
const DECREASE: f64 = 0.85;
/// Growth in a second.
const INCREASE: f64 = 1.08;
/// Bits of the largest packet.
const PACKET: f64 = 1200.0 * 8.0;
/// Pictures in a second, by which the size of packets is guessed.
const PICTURES: f64 = 30.0;

impl Aimd {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, state: State::Increase, changed: Time::ZERO, decreased: None, capacity: None }
    }

    /// Bits per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Goes to a rate that a probe has shown, or the losses demand.
    pub(super) fn set_rate(&mut self, now: Time, rate: f64) {
        self.rate = rate;
        self.changed = now;
    }

    /// Goes on with what the detector says and what gets through. Returns whether it went down.
    pub(super) fn update(
        &mut self,
        now: Time,
        usage: Usage,
        throughput: Option<f64>,
        round_trip: Duration,
    ) -> bool {
        let passed = now.since(self.changed).min(Duration::from_secs(1)).as_secs_f64();
        self.changed = now;
        match usage {
            Usage::Over => {
                // What was done about it shows after a round trip.
                let response = round_trip + Duration::from_millis(50);
                if self.decreased.is_some_and(|then| now.since(then) < response) {
                    return false;
                }
                let throughput = throughput.unwrap_or(self.rate);
                self.learn(throughput);
                self.decreased = Some(now);
                self.state = State::Hold;
                self.rate = self.rate.min(DECREASE * throughput);
                return true;
            }
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => self.state = State::Increase,
            Usage::Normal => {
                let near = self.capacity.is_some_and(|capacity| capacity.is_near(self.rate));
                let grown = if near {
                    self.rate + 0.5 * self.packet() * passed / (round_trip.as_secs_f64() + 0.1)
                } else {
                    self.rate * INCREASE.powf(passed)
                };
                // What nobody has used, nobody knows.
                let known = throughput.map_or(f64::INFINITY, |throughput| 1.5 * throughput + 10_000.0);
                self.rate = grown.min(known).max(self.rate);
                if self.capacity.is_some_and(|capacity| capacity.is_below(self.rate)) {
                    self.capacity = None;
                }
            }
        }
        false
    }

    /// Bits of a packet, if a picture is cut into equal ones: half of it is the step in a response time, near the limit
    /// (draft-ietf-rmcat-gcc-02 §5.5).
    fn packet(&self) -> f64 {
        let picture = self.rate / PICTURES;
        picture / (picture / PACKET).ceil()
    }

    fn learn(&mut self, throughput: f64) {
        const WEIGHT: f64 = 0.05;
        let new = match self.capacity.filter(|capacity| !capacity.is_above(throughput)) {
            None => Capacity { mean: throughput, variance: 0.01 },
            Some(old) => {
                let mean = (1.0 - WEIGHT) * old.mean + WEIGHT * throughput;
                let error = (throughput - mean) / mean;
                let variance = (1.0 - WEIGHT) * old.variance + WEIGHT * error * error;
                Capacity { mean, variance: variance.clamp(0.0025, 0.04) }
            }
        };
        self.capacity = Some(new);
    }
}

impl Capacity {
    fn spread(self) -> f64 {
        3.0 * self.variance.sqrt() * self.mean
    }

    fn is_near(self, rate: f64) -> bool {
        (rate - self.mean).abs() <= self.spread()
    }

    /// Whether the rate lies beyond what was the limit: it is not any more.
    fn is_below(self, rate: f64) -> bool {
        rate > self.mean + self.spread()
    }

    /// Whether so much less gets through that the limit is another.
    fn is_above(self, throughput: f64) -> bool {
        throughput < self.mean - self.spread()
    }
}
