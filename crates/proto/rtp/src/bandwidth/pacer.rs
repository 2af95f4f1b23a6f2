use std::collections::VecDeque;
use std::time::Duration;

use sansio::Time;

use crate::bandwidth::Probe;

/// Whose turn it is when several wait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Priority {
    /// Sound, which is little and cannot wait.
    Audio,
    /// What was lost, and holds up what came after it.
    Retransmission,
    /// Pictures.
    Video,
}

/// What leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Departure<T> {
    /// The packet; `None` for padding, which the owner makes up, or leaves out if he cannot.
    pub packet: Option<T>,
    /// How many bytes it has, or is to have.
    pub bytes: usize,
    /// The probe that it is part of: for [`Estimator::handle_sent`](super::Estimator::handle_sent).
    pub probe: Option<u32>,
}

/// Lets packets leave evenly, at a rate.
///
/// It holds what its owner gives it, whatever that is, with how many bytes it has.
#[derive(Debug)]
pub struct Pacer<T> {
    queues: [VecDeque<(T, usize)>; 3],
    waiting: usize,
    bits_per_second: f64,
    /// When what has left would have left at this rate.
    clock: Time,
    probe: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    probe: Probe,
    bytes: usize,
    packets: usize,
}

/// What waits longer than this at the rate makes it faster, so that it does not wait longer still.
const LONGEST: Duration = Duration::from_millis(500);
/// How much faster than the rate pictures may leave: what a large one needs is evened out over the next small ones.
const HEADROOM: f64 = 1.05;
/// What may leave at once after a pause.
const BURST: Duration = Duration::from_millis(5);
/// Packets that wait in each of the queues, at most.
const MAX_PACKETS: usize = 4096;

impl<T> Pacer<T> {
    /// A pacer that begins at a rate.
    pub fn new(now: Time, bits_per_second: f64) -> Self {
        Self {
            queues: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            waiting: 0,
            bits_per_second,
            clock: now,
            probe: None,
        }
    }

    /// Sets the rate: the target of an [`Estimator`](super::Estimator).
    pub fn set_rate(&mut self, bits_per_second: f64) {
        self.bits_per_second = bits_per_second.max(1000.0);
    }

    /// Begins a probe; until it is over, packets leave at its rate, and padding where none waits.
    pub fn probe(&mut self, probe: Probe) {
        self.probe = Some(Running { probe, bytes: 0, packets: 0 });
    }

    /// Lets a packet wait for its turn. `false`, and the packet is lost, if too many wait.
    pub fn push(&mut self, now: Time, priority: Priority, bytes: usize, packet: T) -> bool {
        let queue = &mut self.queues[priority as usize];
        if queue.len() >= MAX_PACKETS {
            return false;
        }
        queue.push_back((packet, bytes));
        self.waiting += bytes;
        // Nobody saves up what he did not send.
        self.clock = self.clock.max(Time::from_start(now.elapsed().saturating_sub(BURST)));
        true
    }

    /// What leaves now; `None` if it is nobody's turn yet.
    pub fn poll(&mut self, now: Time) -> Option<Departure<T>> {
        // Sound does not wait: it is too little to fill a queue on the way.
        let probe = self.probe.map(|running| running.probe);
        let audio = &mut self.queues[Priority::Audio as usize];
        let next = match audio.pop_front() {
            None if self.clock > now => return None,
            // Large packets would make a probe of a low rate so long that a queue comes of it: they wait.
            None => self.queues.iter_mut().find_map(|queue| {
                queue.pop_front_if(|(_, bytes)| probe.is_none_or(|probe| *bytes <= probe.packet_bytes))
            }),
            audio => audio,
        };
        let (packet, bytes) = match (next, probe) {
            (Some((packet, bytes)), _) => {
                self.waiting -= bytes;
                (Some(packet), bytes)
            }
            (None, Some(probe)) => (None, probe.packet_bytes),
            (None, None) => return None,
        };
        self.count(now, bytes);
        Some(Departure { packet, bytes, probe: probe.map(|probe| probe.id) })
    }

    /// When it is somebody's turn, perhaps since a while; `None` if nobody waits.
    pub fn poll_timeout(&self) -> Option<Time> {
        (self.waiting > 0 || self.probe.is_some()).then_some(self.clock)
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts the next packet's turn off by what this one takes.
    fn count(&mut self, now: Time, bytes: usize) {
        let rate = match &mut self.probe {
            Some(running) => {
                running.bytes += bytes;
                running.packets += 1;
                let probe = running.probe;
                let rate = probe.bits_per_second;
                self.probe =
                    self.probe.filter(|done| done.bytes < probe.bytes || done.packets < probe.packets);
                // A probe does not make up for what was not sent before it.
                self.clock = self.clock.max(now);
                rate
            }
            None => (HEADROOM * self.bits_per_second).max(self.waiting as f64 * 8.0 / LONGEST.as_secs_f64()),
        };
        self.clock += Duration::from_secs_f64(bytes as f64 * 8.0 / rate);
    }
}
