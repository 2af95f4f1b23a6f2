use std::collections::VecDeque;
use std::time::Duration;

/// How much gets through, by what the receiver reports.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    arrived: VecDeque<(Duration, usize)>,
}

/// What is looked back on: what came in this time, and so many packets if it was fewer.
const WINDOW: Duration = Duration::from_millis(200);
const PACKETS: usize = 12;
/// Beyond which nothing is.
const PAST: Duration = Duration::from_secs(1);
/// Packets that are remembered.
const MAX_PACKETS: usize = 8192;

impl Throughput {
    /// Takes a packet that arrived.
    pub(super) fn push(&mut self, arrived: Duration, bytes: usize) {
        // One that was overtaken counts with those that did it.
        let arrived = self.arrived.back().map_or(arrived, |(last, _)| arrived.max(*last));
        self.arrived.push_back((arrived, bytes));
        let past = |(at, _): &(Duration, usize)| arrived.saturating_sub(*at) > PAST;
        while self.arrived.len() > MAX_PACKETS || self.arrived.front().is_some_and(past) {
            self.arrived.pop_front();
        }
    }

    /// Bits per second of the last while; `None` before there was one.
    pub(super) fn bits_per_second(&self) -> Option<f64> {
        let (last, _) = *self.arrived.back()?;
        let mut bits = 0;
        let mut first = last;
        for (count, (at, bytes)) in self.arrived.iter().rev().enumerate() {
            first = *at;
            if last - *at > WINDOW && count >= PACKETS {
                break;
            }
            bits += bytes * 8;
        }
        // The first packet of the window only says when it begins.
        let passed = (last - first).as_secs_f64();
        (passed >= 0.15).then(|| bits as f64 / passed)
    }
}
