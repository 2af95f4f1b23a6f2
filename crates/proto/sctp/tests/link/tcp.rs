//! A TCP flow beside ours, as far as it matters for who gets what of a path: CUBIC as RFC 9438 and the kernel have it, HyStart
//! by delay, selective acknowledgements, an acknowledgement for every second segment, and no pacing. It always has
//! something to send.

use std::collections::VecDeque;
use std::time::Duration;

use sansio::Time;

/// Bytes of payload, and what a segment is on the wire.
pub(crate) const SEGMENT: usize = 1448;
pub(crate) const PACKET: usize = 1500;
pub(crate) const ACKNOWLEDGEMENT: usize = 52;
const C: f64 = 0.4;
const BETA: f64 = 0.7;
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// Segments that overtake one and so make it lost.
const OVERTAKEN: u64 = 3;
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
const DELAYED: Duration = Duration::from_millis(40);

/// What travels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parcel {
    Segment(u64),
    /// All that has arrived up to this number is acknowledged.
    Acknowledgement {
        newest: u64,
    },
}

/// Both ends of the flow. Every transmission has a number of its own; what is lost goes again with a new one.
#[derive(Debug)]
pub(crate) struct Tcp {
    window: f64,
    threshold: f64,
    highest: f64,
    epoch: Option<(Time, f64, f64)>,
    reno: f64,
    next: u64,
    /// Number and time of what is on its way, and whether it has arrived (the acknowledgement may still be on its way).
    under_way: VecDeque<(u64, Time, bool)>,
    recovery: u64,
    smoothed: Option<Duration>,
    variation: Duration,
    deadline: Option<Time>,
    backoff: u32,
    round: u64,
    hystart: [Option<Duration>; 2],
    samples: u32,
    /// The receiver: segments since the last acknowledgement, and when that is due.
    pending: u32,
    newest: u64,
    acknowledge_at: Option<Time>,
    /// Segments that have arrived.
    pub(crate) received: usize,
}

impl Tcp {
    pub(crate) fn new() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            highest: 0.0,
            epoch: None,
            reno: 0.0,
            next: 1,
            under_way: VecDeque::new(),
            recovery: 0,
            smoothed: None,
            variation: Duration::ZERO,
            deadline: None,
            backoff: 0,
            round: 1,
            hystart: [None; 2],
            samples: 0,
            pending: 0,
            newest: 0,
            acknowledge_at: None,
            received: 0,
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.deadline.into_iter().chain(self.acknowledge_at).min()
    }

    /// What the sender sends now.
    pub(crate) fn transmit(&mut self, now: Time) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        while (self.under_way.len() as f64) < self.window {
            parcels.push(Parcel::Segment(self.next));
            self.under_way.push_back((self.next, now, false));
            self.next += 1;
        }
        if self.deadline.is_none() {
            self.arm(now);
        }
        parcels
    }

    fn arm(&mut self, now: Time) {
        let base = self
            .smoothed
            .map_or(Duration::from_secs(1), |smoothed| smoothed + (self.variation * 4).max(LEAST_TIMEOUT));
        self.deadline = Some(now + base * (1 << self.backoff.min(6)));
    }

    /// Returns an acknowledgement that is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Option<Parcel> {
        if self.deadline.is_some_and(|at| at <= now) {
            self.highest = self.window;
            self.threshold = (self.window * BETA).max(2.0);
            (self.window, self.epoch, self.hystart) = (1.0, None, [None; 2]);
            self.backoff += 1;
            self.under_way.clear();
            self.recovery = self.next;
            self.deadline = None;
        }
        self.acknowledge_at.is_some_and(|at| at <= now).then(|| self.acknowledgement())
    }

    fn acknowledgement(&mut self) -> Parcel {
        (self.pending, self.acknowledge_at) = (0, None);
        Parcel::Acknowledgement { newest: self.newest }
    }

    /// Something has arrived at whichever end it is for. Returns the answer.
    pub(crate) fn handle(&mut self, now: Time, parcel: Parcel) -> Option<Parcel> {
        match parcel {
            Parcel::Segment(number) => {
                self.received += 1;
                let gap = number != self.newest + 1;
                self.newest = self.newest.max(number);
                if let Ok(at) = self.under_way.binary_search_by_key(&number, |segment| segment.0) {
                    self.under_way[at].2 = true;
                }
                self.pending += 1;
                if self.pending >= 2 || gap {
                    return Some(self.acknowledgement());
                }
                self.acknowledge_at = Some(now + DELAYED);
            }
            Parcel::Acknowledgement { newest } => self.acknowledged(now, newest),
        }
        None
    }

    fn acknowledged(&mut self, now: Time, newest: u64) {
        let before = self.under_way.len() as f64;
        let (mut arrived, mut last) = (0, None);
        self.under_way.retain(|&(number, at, has_arrived)| {
            let acknowledged = has_arrived && number <= newest;
            if acknowledged {
                (arrived, last) = (arrived + 1, Some((number, at)));
            }
            !acknowledged
        });
        let Some((number, at)) = last else { return };
        self.measure(now - at);
        self.backoff = 0;
        let kept = self.under_way.len();
        self.under_way.retain(|&(number, ..)| number + OVERTAKEN > newest);
        let lost = kept > self.under_way.len();
        self.arm(now);
        if lost && newest >= self.recovery {
            self.recovery = self.next;
            self.highest =
                if self.window < self.highest { self.window * (1.0 + BETA) / 2.0 } else { self.window };
            self.window = (self.window * BETA).max(2.0);
            (self.threshold, self.epoch) = (self.window, None);
        } else if newest >= self.recovery && before + 1.0 >= self.window {
            self.grow(now, number, now - at, f64::from(arrived));
        }
    }

    fn measure(&mut self, rtt: Duration) {
        let smoothed = self.smoothed.unwrap_or(rtt);
        self.variation = match self.smoothed {
            None => rtt / 2,
            Some(_) => (self.variation * 3 + smoothed.abs_diff(rtt)) / 4,
        };
        self.smoothed = Some((smoothed * 7 + rtt) / 8);
    }

    fn grow(&mut self, now: Time, number: u64, rtt: Duration, arrived: f64) {
        if self.window < self.threshold {
            self.window = (self.window + arrived).min(self.threshold);
            return self.look_for_delay(number, rtt);
        }
        let (window, highest) = (self.window, self.highest);
        let (begin, flat, plateau) = *self.epoch.get_or_insert_with(|| {
            let below = (highest - window).max(0.0);
            (now, (below / C).cbrt(), window + below)
        });
        if begin == now {
            self.reno = window;
        }
        let off = (now - begin).as_secs_f64() + rtt.as_secs_f64() - flat;
        let target = (plateau + C * off.powi(3)).clamp(window, 1.5 * window);
        self.reno += ALPHA * arrived / window;
        self.window = (window + (target - window) * arrived / window).max(self.reno);
    }

    /// HyStart, by delay.
    fn look_for_delay(&mut self, number: u64, rtt: Duration) {
        if number >= self.round {
            (self.round, self.samples) = (self.next, 0);
            self.hystart = [self.hystart[1].take().or(self.hystart[0]), None];
        }
        self.samples += 1;
        let current = self.hystart[1].map_or(rtt, |least| least.min(rtt));
        self.hystart[1] = Some(current);
        let margin = |base: Duration| (base / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
        if let Some(base) = self.hystart[0]
            && self.samples >= 8
            && self.window >= 16.0
            && current >= base + margin(base)
        {
            self.threshold = self.window;
        }
    }
}
