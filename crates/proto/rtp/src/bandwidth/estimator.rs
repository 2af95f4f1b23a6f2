use std::time::Duration;

use sansio::Time;

use crate::bandwidth::Probe;
use crate::bandwidth::aimd::Aimd;
use crate::bandwidth::detector::{Detector, Usage};
use crate::bandwidth::groups::Groups;
use crate::bandwidth::loss::LossControl;
use crate::bandwidth::probe::Probing;
use crate::bandwidth::sent::{Outcome, SentPackets};
use crate::bandwidth::throughput::Throughput;
use crate::bandwidth::trend::Trend;
use crate::rtcp::TransportFeedback;

/// What an [`Estimator`] begins with, and between what it stays. All in bits per second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EstimatorConfig {
    /// Before anything is known: 300,000.
    pub start: f64,
    /// Never less: 30,000.
    pub least: f64,
    /// Never more: 20,000,000. What the application can use at most is what one does not look beyond.
    pub most: f64,
}

impl Default for EstimatorConfig {
    fn default() -> Self {
        Self { start: 300_000.0, least: 30_000.0, most: 20_000_000.0 }
    }
}

/// Estimates how much the way can carry, out of what the receiver reports.
#[derive(Debug)]
pub struct Estimator {
    config: EstimatorConfig,
    sent: SentPackets,
    groups: Groups,
    trend: Trend,
    detector: Detector,
    usage: Usage,
    throughput: Throughput,
    /// When a probe raised the rate.
    raised: Time,
    aimd: Aimd,
    loss: LossControl,
    probing: Probing,
    queue: Queue,
    /// How long packets waited when the last report came.
    before: Duration,
    /// When something was sent that was no probe.
    used: Option<Time>,
    round_trip: Duration,
}

impl Estimator {
    /// An estimator that knows nothing yet.
    pub fn new(config: EstimatorConfig) -> Self {
        Self {
            config,
            sent: SentPackets::default(),
            groups: Groups::default(),
            trend: Trend::default(),
            detector: Detector::default(),
            usage: Usage::Normal,
            throughput: Throughput::default(),
            raised: Time::ZERO,
            aimd: Aimd::new(config.start.clamp(config.least, config.most)),
            loss: LossControl::new(),
            probing: Probing::new(),
            queue: Queue::default(),
            before: Duration::ZERO,
            used: None,
            round_trip: Duration::from_millis(100),
        }
    }

    /// What the way can carry, in bits per second.
    pub fn estimate(&self) -> f64 {
        self.aimd.rate()
    }

    /// What is to be sent, in bits per second: less than the way can carry while a queue is to be emptied.
    pub fn target(&self) -> f64 {
        let queue = self.queue.delay().as_secs_f64();
        let drain = ((queue - LONG.as_secs_f64()) / 0.08).clamp(0.0, 0.6);
        (self.aimd.rate() * (1.0 - drain)).max(self.config.least)
    }

    /// How large packets are to be at most: so that none of them takes more than 20 ms of the way, from 400 to 1,200
    /// bytes.
    pub fn packet_bytes(&self) -> usize {
        (self.target() * 0.02 / 8.0).clamp(400.0, 1200.0) as usize
    }

    /// How long packets seem to wait on the way.
    pub fn queueing_delay(&self) -> Duration {
        self.queue.delay()
    }

    /// Learns how long the way there and back is, from reports.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// The most that the application has use for, in bits per second: beyond it nothing is looked for.
    pub fn set_most(&mut self, most: f64) {
        self.config.most = most.max(self.config.least);
    }

    /// A packet leaves under a transport-wide number, with so many bytes in all, as part of a probe or not.
    pub fn handle_sent(&mut self, now: Time, number: u16, bytes: usize, probe: Option<u32>) {
        self.sent.push(now, number, bytes, probe);
        if probe.is_none() {
            self.used = Some(now);
        }
    }

    /// Learns what arrived, and when.
    pub fn handle_feedback(&mut self, now: Time, feedback: &TransportFeedback) {
        let outcomes = self.sent.outcomes(feedback);
        if outcomes.is_empty() {
            return;
        }
        let (mut lost, mut over) = (0, false);
        for outcome in &outcomes {
            match outcome.arrived {
                Some(arrived) => self.handle_arrival(outcome, arrived),
                None => lost += 1,
            }
            // What is over in a moment, a picture larger than others, is no queue yet.
            over |= self.usage == Usage::Over && self.queue.delay() > SHORT;
        }
        // Where the capacity falls by half, what is under way already fills a queue: there the line through what
        // was seen lately, which goes by many groups, is too slow.
        let delay = self.queue.delay();
        over |= delay > CALM && delay.saturating_sub(std::mem::replace(&mut self.before, delay)) > STEEP;
        let usage = match self.usage {
            _ if over => Usage::Over,
            Usage::Over => Usage::Normal,
            // While packets wait and less is sent, nobody learns that more would get through.
            Usage::Normal if self.queue.delay() > LONG => Usage::Under,
            usage => usage,
        };
        let throughput = self.throughput.bits_per_second();
        let mut full = self.aimd.update(now, usage, throughput, self.round_trip);
        if let Some(factor) = self.loss.push(now, outcomes.len() as u32, lost) {
            self.aimd.set_rate(now, self.aimd.rate() * factor);
            full = true;
        }
        if full {
            self.probing.delay(now);
        }
        // What got through once tells more than steps; but not while a queue grows.
        let seen = self.probing.push(now, &outcomes, usage != Usage::Over);
        if let Some(seen) = seen.filter(|seen| *seen > self.aimd.rate()) {
            self.aimd.set_rate(now, seen);
            self.throughput = Throughput::default();
            self.raised = now;
        }
        self.aimd.set_rate(now, self.aimd.rate().clamp(self.config.least, self.config.most));
    }

    /// Considers whether to look for more.
    pub fn handle_timeout(&mut self, now: Time) {
        let calm = self.usage != Usage::Over && self.queue.delay() < CALM;
        // Who sends nothing needs no more.
        let used = self.used.is_some_and(|used| now.since(used) < IDLE);
        self.probing.update(now, self.aimd.rate(), self.config.most, calm && used);
    }

    /// When [`Estimator::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(self.probing.next())
    }

    /// A probe that is to be sent now: for [`Pacer::probe`](super::Pacer::probe).
    pub fn poll_probe(&mut self, now: Time) -> Option<Probe> {
        self.probing.take(now)
    }

    fn handle_arrival(&mut self, outcome: &Outcome, arrived: Duration) {
        // What was sent more slowly does not say what gets through now.
        if outcome.sent >= self.raised {
            self.throughput.push(arrived, outcome.bytes);
        }
        self.queue.push(outcome.sent, arrived);
        // A probe makes a queue of its own, which says nothing about the rate.
        if outcome.probe.is_some() {
            self.groups.interrupt();
            return;
        }
        if let Some(variation) = self.groups.push(outcome.sent, arrived) {
            let trend = self.trend.push(variation);
            self.usage = self.detector.push(variation.arrived, trend);
        }
    }
}

/// A wait that does not matter.
const SHORT: Duration = Duration::from_millis(10);
/// A wait that grew by so much from one report to the next is a queue.
const STEEP: Duration = Duration::from_millis(20);
/// A wait that allows a probe.
const CALM: Duration = Duration::from_millis(30);
/// After so long without a packet nothing is looked for.
const IDLE: Duration = Duration::from_secs(1);
/// A wait that must not become longer.
const LONG: Duration = Duration::from_millis(20);

/// How long packets wait, by how much longer they take than the fastest lately.
#[derive(Debug, Default)]
struct Queue {
    /// The shortest time of this period and of the one before, in microseconds; clocks have no common zero.
    shortest: [Option<i64>; 2],
    since: Duration,
    delay: Duration,
}

/// How long the fastest is remembered: twice as long at most. Clocks drift, and ways change.
const PERIOD: Duration = Duration::from_secs(10);

impl Queue {
    fn push(&mut self, sent: Time, arrived: Duration) {
        let took = arrived.as_micros() as i64 - sent.elapsed().as_micros() as i64;
        if arrived.saturating_sub(self.since) > PERIOD {
            self.since = arrived;
            self.shortest = [None, self.shortest[0]];
        }
        self.shortest[0] = Some(self.shortest[0].map_or(took, |shortest| shortest.min(took)));
        let shortest = self.shortest.into_iter().flatten().min().unwrap_or(took);
        self.delay = Duration::from_micros((took - shortest).max(0).cast_unsigned());
    }

    fn delay(&self) -> Duration {
        self.delay
    }
}
