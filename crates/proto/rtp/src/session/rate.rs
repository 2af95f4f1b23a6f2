use std::time::Duration;

use sansio::Time;

use crate::bandwidth::{Estimator, EstimatorConfig, Probe};
use crate::rtcp::{CongestionFeedback, TransportFeedback};
use crate::session::numbers::Numbers;

/// How fast may be sent, by whatever the other side says about what it receives.
#[derive(Debug)]
pub(super) struct Rate {
    config: EstimatorConfig,
    estimator: Estimator,
    says: Says,
    /// Which packet had which number, where feedback is by source.
    numbers: Numbers,
    /// The rate by what was lost.
    by_loss: f64,
    changed: Time,
    /// The most that the other side thinks possible, if it says so (REMB).
    receiver: Option<f64>,
    /// The number of the next packet of the transport.
    next: u16,
    /// What was sent lately but for probes, in bits, and when that was counted last.
    used: f64,
    counted: Time,
}

/// What the other side says about what it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Says {
    /// Of each packet of the transport, when it arrived.
    Transport,
    /// Of each packet of each source, when it arrived (RFC 8888).
    Sources,
    /// How much was lost.
    Losses,
}

/// More than so much lost is too fast, and less than so much leaves room for more (draft-ietf-rmcat-gcc-02 §6).
const MUCH: f64 = 0.1;
const LITTLE: f64 = 0.02;
/// So many times what is used is enough, and so much in any case, in bits per second.
const MULTIPLE: f64 = 3.0;
const PLENTY: f64 = 1_000_000.0;
/// How often losses change the rate at most.
const INTERVAL: Duration = Duration::from_millis(500);

impl Rate {
    pub(super) fn new(config: EstimatorConfig) -> Self {
        Self {
            config,
            estimator: Estimator::new(config),
            says: Says::Losses,
            numbers: Numbers::default(),
            by_loss: config.start,
            changed: Time::ZERO,
            receiver: None,
            next: 0,
            used: 0.0,
            counted: Time::ZERO,
        }
    }

    /// What the other side has agreed to say.
    pub(super) fn set_feedback(&mut self, says: Says) {
        self.says = says;
    }

    /// Whether it is said of packets when they arrived. If not, what is lost has to do.
    fn is_exact(&self) -> bool {
        self.says != Says::Losses
    }

    /// What the way can carry, in bits per second.
    pub(super) fn estimate(&self) -> f64 {
        if self.is_exact() { self.estimator.estimate() } else { self.by_reports() }
    }

    /// What is to be sent, in bits per second.
    pub(super) fn target(&self) -> f64 {
        if self.is_exact() { self.estimator.target() } else { self.by_reports() }
    }

    fn by_reports(&self) -> f64 {
        let most = self.receiver.unwrap_or(f64::INFINITY);
        self.by_loss.min(most).max(self.config.least)
    }

    pub(super) fn queueing_delay(&self) -> Duration {
        self.estimator.queueing_delay()
    }

    /// Bytes that a packet has at most, so that it does not take the way for long.
    pub(super) fn packet_bytes(&self) -> usize {
        if self.is_exact() { self.estimator.packet_bytes() } else { usize::MAX }
    }

    /// The number of the packet that leaves next.
    pub(super) fn number(&self) -> u16 {
        self.next
    }

    /// A packet of a source left, and bears a number of the transport or not.
    pub(super) fn handle_sent(
        &mut self,
        now: Time,
        (ssrc, sequence_number): (u32, u16),
        bytes: usize,
        probe: Option<u32>,
        numbered: bool,
    ) {
        match self.says {
            Says::Sources => self.numbers.push(self.next, ssrc, sequence_number),
            _ if !numbered => return,
            _ => {}
        }
        if probe.is_none() {
            self.used = self.used(now) + bytes as f64 * 8.0;
            self.counted = now;
        }
        self.estimator.handle_sent(now, self.next, bytes, probe);
        self.next = self.next.wrapping_add(1);
    }

    pub(super) fn handle_feedback(&mut self, now: Time, feedback: &TransportFeedback) {
        self.estimator.handle_feedback(now, feedback);
    }

    pub(super) fn handle_congestion_feedback(&mut self, now: Time, feedback: &CongestionFeedback) {
        if let Some(feedback) = self.numbers.translate(feedback) {
            self.estimator.handle_feedback(now, &feedback);
        }
    }

    /// The other side says how much it thinks possible.
    pub(super) fn handle_receiver_estimate(&mut self, bits_per_second: u64) {
        self.receiver = Some(bits_per_second as f64);
    }

    /// The other side reports which part of a source's packets it lost, from 0 to 1.
    pub(super) fn handle_loss(&mut self, now: Time, fraction: f64) {
        if now.since(self.changed) < INTERVAL {
            return;
        }
        self.changed = now;
        if fraction > MUCH {
            self.by_loss *= 1.0 - 0.5 * fraction;
        } else if fraction < LITTLE {
            self.by_loss *= 1.08;
        }
        self.by_loss = self.by_loss.clamp(self.config.least, self.config.most);
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.estimator.set_round_trip(round_trip);
    }

    /// What was sent lately, in bits: of a second and before, less and less.
    fn used(&self, now: Time) -> f64 {
        self.used * (-now.since(self.counted).as_secs_f64()).exp()
    }

    /// The most that the encodings have use for, in bits per second.
    pub(super) fn set_most(&mut self, most: f64) {
        self.estimator.set_most(most.min(self.config.most));
    }

    /// Considers whether to look for more; only who can make probes asks.
    pub(super) fn poll_probe(&mut self, now: Time) -> Option<Probe> {
        // Who has far more than he uses needs no more: probes cost what they find.
        if !self.is_exact() || self.estimator.estimate() > PLENTY.max(MULTIPLE * self.used(now)) {
            return None;
        }
        self.estimator.handle_timeout(now);
        self.estimator.poll_probe(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.estimator.poll_timeout().filter(|_| self.is_exact())
    }
}
