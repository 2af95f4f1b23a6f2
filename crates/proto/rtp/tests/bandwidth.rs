//! The estimator and the pacer, against a link whose capacity changes, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Rng, Seed, Time};
use sterna_rtp::bandwidth::{Departure, Estimator, EstimatorConfig, Pacer, Priority, Probe};
use sterna_rtp::receive::Arrivals;
use sterna_rtp::rtcp::{Arrival, TransportFeedback};

const STEP: Duration = Duration::from_micros(250);
const MS: Duration = Duration::from_millis(1);

/// A link: a queue in front of something that carries so many bits a second, and a way behind it.
struct Link {
    delay: Duration,
    /// How long packets may wait; what would wait longer is lost.
    longest: Duration,
    loss: f64,
    /// By how much the way's length varies, from packet to packet; they stay in their order.
    jitter: Duration,
    rng: Rng,
    queue: VecDeque<(u16, usize, Time)>,
    queued: usize,
    credit: f64,
    on_the_way: VecDeque<(Time, u16)>,
    delivered: usize,
}

impl Link {
    fn new(seed: u64) -> Self {
        Self {
            delay: 25 * MS,
            longest: 500 * MS,
            loss: 0.0,
            jitter: Duration::ZERO,
            rng: Rng::new(Seed::from(seed)),
            queue: VecDeque::new(),
            queued: 0,
            credit: 0.0,
            on_the_way: VecDeque::new(),
            delivered: 0,
        }
    }

    fn wait(&self, capacity: f64) -> Duration {
        Duration::from_secs_f64(self.queued as f64 * 8.0 / capacity)
    }

    fn send(&mut self, now: Time, capacity: f64, number: u16, bytes: usize) {
        if self.rng.unit() >= self.loss && self.wait(capacity) < self.longest {
            self.queue.push_back((number, bytes, now));
            self.queued += bytes;
        }
    }

    /// Carries for a step, and returns what has arrived.
    fn carry(&mut self, now: Time, capacity: f64) -> Vec<(Time, u16)> {
        self.credit += capacity * STEP.as_secs_f64() / 8.0;
        while let Some((number, bytes, _)) =
            self.queue.front().copied().filter(|(_, bytes, _)| *bytes as f64 <= self.credit)
        {
            self.queue.pop_front();
            self.queued -= bytes;
            self.credit -= bytes as f64;
            self.delivered += bytes;
            let arrival = now + self.delay + self.jitter.mul_f64(self.rng.unit());
            let arrival = self.on_the_way.back().map_or(arrival, |(last, _)| arrival.max(*last));
            self.on_the_way.push_back((arrival, number));
        }
        if self.queue.is_empty() {
            self.credit = 0.0;
        }
        let arrived = self.on_the_way.iter().take_while(|(arrival, _)| *arrival <= now).count();
        self.on_the_way.drain(..arrived).collect()
    }
}

/// What was seen at a moment.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    capacity: f64,
    estimate: f64,
    wait: Duration,
    delivered: usize,
}

/// What the application sends: so many bits a second at most.
struct Application {
    most: f64,
}

fn run(
    link: &mut Link,
    application: Application,
    seconds: u64,
    capacity: impl Fn(Duration) -> f64,
) -> Vec<Sample> {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    let mut pacer: Pacer<()> = Pacer::new(Time::ZERO, estimator.target());
    let mut dice = Rng::new(link.rng.fork());
    let mut samples = Vec::new();
    let mut number = 0u16;
    let mut arrivals = Arrivals::default();
    let mut feedback: VecDeque<(Time, TransportFeedback)> = VecDeque::new();
    let steps = seconds * 1_000_000 / STEP.as_micros() as u64;
    for step in 0..steps {
        let elapsed = STEP * step as u32;
        let (now, capacity) = (Time::from_start(elapsed), capacity(elapsed));
        // A picture 30 times a second, as large as is right, more or less.
        if step % 133 == 0 {
            let size = estimator.target().min(application.most) / 8.0 / 30.08 * (0.7 + 0.6 * dice.unit());
            let mut left = size as usize;
            while left > 0 {
                let bytes = left.min(estimator.packet_bytes());
                pacer.push(now, Priority::Video, bytes, ());
                left -= bytes;
            }
        }
        estimator.handle_timeout(now);
        assert!(estimator.poll_timeout().is_none_or(|next| next > now), "a timeout moves forward");
        if let Some(probe) = estimator.poll_probe(now) {
            pacer.probe(probe);
        }
        pacer.set_rate(estimator.target());
        while let Some(departure) = pacer.poll(now) {
            estimator.handle_sent(now, number, departure.bytes, departure.probe);
            link.send(now, capacity, number, departure.bytes);
            number = number.wrapping_add(1);
        }
        for (arrival, number) in link.carry(now, capacity) {
            // The receiver's clock has another beginning.
            arrivals.handle_packet(arrival + Duration::from_secs(3600), number);
        }
        while let Some(report) =
            Some(&mut arrivals).filter(|_| step % 200 == 0).and_then(|arrivals| arrivals.report(1, 2))
        {
            feedback.push_back((now + link.delay, report));
        }
        while let Some((_, report)) = feedback.pop_front_if(|(arrival, _)| *arrival <= now) {
            estimator.handle_feedback(now, &report);
        }
        if step % 40 == 0 {
            samples.push(Sample {
                at: elapsed,
                capacity,
                estimate: estimator.estimate(),
                wait: link.wait(capacity),
                delivered: link.delivered,
            });
        }
    }
    samples
}

fn between(samples: &[Sample], from: f64, to: f64) -> Vec<Sample> {
    let inside = |sample: &&Sample| (from..to).contains(&sample.at.as_secs_f64());
    samples.iter().filter(inside).copied().collect()
}

fn longest_wait(samples: &[Sample]) -> Duration {
    samples.iter().map(|sample| sample.wait).max().unwrap()
}

/// How long after a moment the estimate first had 90 % of the capacity.
fn found(samples: &[Sample], from: f64) -> f64 {
    let rest = between(samples, from, f64::INFINITY);
    let found = rest.iter().find(|sample| sample.estimate >= 0.9 * sample.capacity);
    found.map_or(f64::INFINITY, |sample| sample.at.as_secs_f64()) - from
}

fn mean(samples: &[Sample]) -> f64 {
    samples.iter().map(|sample| sample.estimate / sample.capacity).sum::<f64>() / samples.len() as f64
}

const UNLIMITED: Application = Application { most: f64::INFINITY };

/// Each pair of capacities, with ten seeds.
fn changes(pairs: &[(f64, f64)], check: impl Fn(&str, &[Sample], f64)) {
    for (before, after) in pairs {
        for seed in 0..10 {
            let change = 10.0 + seed as f64 * 0.237 % 2.5;
            let capacity = |at: Duration| if at.as_secs_f64() < change { *before } else { *after };
            let samples = run(&mut Link::new(seed), UNLIMITED, 23, capacity);
            let name = format!("{:.1} to {:.1} Mbit/s, seed {seed}", before / 1e6, after / 1e6);
            check(&name, &samples, change);
        }
    }
}

#[test]
fn a_new_capacity_is_found_within_three_seconds() {
    let pairs = [(500e3, 2e6), (1e6, 3e6), (300e3, 600e3), (2e6, 10e6), (1e6, 1.5e6)];
    changes(&pairs, |name, samples, change| {
        let (first, second) = (found(samples, 0.0), found(samples, change));
        let means = [(4.0, 10.0), (change + 4.0, 23.0)].map(|(from, to)| mean(&between(samples, from, to)));
        println!(
            "{name}: after {first:.2} and {second:.2} s, {means:.2?}, waits {:?}",
            longest_wait(samples)
        );
        assert!(first < 3.0 && second < 3.0, "{name}: after {first} and {second} s");
        assert!(longest_wait(samples) < 100 * MS, "{name}: {:?}", longest_wait(samples));
        assert!(means.iter().all(|mean| (0.85..1.1).contains(mean)), "{name}: {means:?}");
    });
}

#[test]
fn a_capacity_that_falls_is_followed_and_the_queue_is_emptied() {
    let pairs = [(2e6, 1e6), (3e6, 1e6), (1e6, 500e3), (5e6, 3e6)];
    changes(&pairs, |name, samples, change| {
        // Nobody can know before a round trip is over; what has piled up until then has to leave first.
        let peak = longest_wait(&between(samples, change, 23.0));
        let long =
            between(samples, change, 23.0).iter().filter(|sample| sample.wait >= 100 * MS).count() * 10;
        let mean = mean(&between(samples, change + 3.0, 23.0));
        println!("{name}: waits {peak:?} at most, {long} ms long more than 100 ms, then {mean:.2}");
        assert!(longest_wait(&between(samples, 0.0, 10.0)) < 100 * MS, "{name}");
        let ratio = samples[0].capacity / samples.last().unwrap().capacity;
        assert!(peak < (100 * MS).mul_f64(ratio), "{name}: {peak:?}");
        let settled = longest_wait(&between(samples, change + 1.5, 23.0));
        assert!(settled < 100 * MS, "{name}: {settled:?}");
        assert!((0.85..1.1).contains(&mean), "{name}: {mean}");
    });
}

#[test]
fn what_is_found_is_used() {
    let mut link = Link::new(6);
    let samples = run(&mut link, UNLIMITED, 20, |_| 2e6);
    let settled = between(&samples, 5.0, 20.0);
    let bytes = settled.last().unwrap().delivered - settled[0].delivered;
    let used = bytes as f64 * 8.0 / 15.0 / 2e6;
    assert!(used > 0.8, "{used}");
}

#[test]
fn losses_that_are_not_the_queues_do_not_matter_until_they_are_many() {
    let estimate = |loss| {
        let mut link = Link::new(7);
        link.loss = loss;
        mean(&between(&run(&mut link, UNLIMITED, 15, |_| 2e6), 5.0, 15.0))
    };
    assert!(estimate(0.05) > 0.85, "{}", estimate(0.05));
    assert!(estimate(0.4) < 0.6, "{}", estimate(0.4));
}

#[test]
fn a_short_queue_is_noticed_by_what_it_loses() {
    let mut link = Link::new(8);
    link.longest = 20 * MS;
    let samples = run(&mut link, UNLIMITED, 20, |_| 1e6);
    let mean = mean(&between(&samples, 5.0, 20.0));
    assert!((0.6..1.25).contains(&mean), "{mean}");
}

#[test]
fn a_way_of_changing_length_is_not_taken_for_a_queue() {
    let mut link = Link::new(9);
    link.jitter = 10 * MS;
    let samples = run(&mut link, UNLIMITED, 20, |_| 2e6);
    let mean = mean(&between(&samples, 5.0, 20.0));
    assert!(mean > 0.75, "{mean}");
}

#[test]
fn who_sends_little_learns_by_probes_that_there_is_more() {
    let samples = run(&mut Link::new(10), Application { most: 200e3 }, 15, |_| 3e6);
    assert!(found(&samples, 0.0) < 4.0, "{}", found(&samples, 0.0));
    assert!(longest_wait(&samples) < 100 * MS);
}

#[test]
fn who_sends_nothing_looks_for_nothing() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    let probes = |estimator: &mut Estimator, from: u64| {
        let mut probes = 0;
        for millisecond in from..from + 5000 {
            let now = Time::from_start(Duration::from_millis(millisecond));
            estimator.handle_timeout(now);
            probes += u32::from(estimator.poll_probe(now).is_some());
        }
        probes
    };
    assert_eq!(probes(&mut estimator, 0), 0);
    estimator.handle_sent(Time::from_start(Duration::from_secs(5)), 0, 1200, None);
    assert!(probes(&mut estimator, 5000) > 0);
    assert_eq!(probes(&mut estimator, 10_000), 0);
}

#[test]
fn packets_leave_evenly_and_sound_first() {
    let mut pacer = Pacer::new(Time::ZERO, 1e6);
    for number in 0..10 {
        pacer.push(Time::ZERO, Priority::Video, 1250, number);
    }
    let mut left = Vec::new();
    for step in 0..400 {
        let now = Time::from_start(STEP * step);
        if step == 100 {
            pacer.push(now, Priority::Audio, 100, 77);
            pacer.push(now, Priority::Retransmission, 1250, 88);
        }
        while let Some(departure) = pacer.poll(now) {
            assert_eq!(departure.probe, None);
            left.push((step, departure.packet.unwrap()));
        }
    }
    assert_eq!(left.len(), 12);
    assert_eq!(pacer.waiting(), 0);
    let sound = left.iter().position(|(_, packet)| *packet == 77).unwrap();
    assert_eq!((left[sound].0, left[sound + 1].1), (100, 88), "at once, and then what was lost");
    // 10 ms a packet at 1 Mbit/s, and a little faster.
    let gap = left[1].0 - left[0].0;
    assert!((37..=40).contains(&gap), "{gap}");
    // What was not sent in a pause is not made up for.
    let now = Time::from_start(Duration::from_secs(5));
    for number in 0..5 {
        pacer.push(now, Priority::Video, 1250, number);
    }
    assert_eq!(std::iter::from_fn(|| pacer.poll(now)).count(), 1);
    assert!(pacer.poll_timeout().unwrap() > now);
}

#[test]
fn a_probe_has_its_rate_with_or_without_packets() {
    let mut pacer: Pacer<u32> = Pacer::new(Time::ZERO, 1e5);
    pacer.probe(Probe { id: 3, bits_per_second: 4e6, bytes: 7500, packets: 5, packet_bytes: 1000 });
    pacer.push(Time::ZERO, Priority::Video, 1000, 1);
    let mut left: Vec<(u32, Departure<u32>)> = Vec::new();
    for step in 0..400 {
        while let Some(departure) = pacer.poll(Time::from_start(STEP * step)) {
            left.push((step, departure));
        }
    }
    assert_eq!(left.len(), 8);
    assert!(left.iter().all(|(_, departure)| departure.probe == Some(3) && departure.bytes == 1000));
    assert_eq!((left[0].1.packet, left[1].1.packet), (Some(1), None));
    // 2 ms for 1,000 bytes.
    assert!(left.windows(2).all(|pair| pair[1].0 - pair[0].0 == 8), "{left:?}");
    assert_eq!(pacer.poll_timeout(), None);
}

#[test]
fn feedback_about_nothing_changes_nothing() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    let before = estimator.estimate();
    let arrivals =
        (0..100).map(|number| Arrival { sequence_number: number * 600, delta: i16::MIN }).collect();
    let nonsense = TransportFeedback { first: 5, count: u16::MAX, arrivals, ..TransportFeedback::default() };
    estimator.handle_feedback(Time::ZERO, &nonsense);
    assert_eq!(estimator.estimate(), before);
    for number in 0..2000 {
        estimator.handle_sent(Time::ZERO, number, 1200, None);
    }
    estimator.handle_feedback(Time::ZERO, &nonsense);
    assert!((30_000.0..20e6).contains(&estimator.estimate()), "{}", estimator.estimate());
}
