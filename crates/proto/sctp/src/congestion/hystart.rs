use std::time::Duration;

/// RFC 9406 §4.3.
const LEAST_THRESHOLD: Duration = Duration::from_millis(4);
const MOST_THRESHOLD: Duration = Duration::from_millis(16);
const DIVISOR: u32 = 8;
const SAMPLES: u32 = 8;
const CONSERVATIVE_DIVISOR: f64 = 4.0;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Ends slow start when round trips get longer, and not only when the path's queue has overflown: HyStart++ (RFC 9406).
#[derive(Debug, Default)]
pub(crate) struct HyStart {
    /// The least round trips of the last round and of this one.
    last: Option<Duration>,
    current: Option<Duration>,
    samples: u32,
    conservative: Option<Conservative>,
}

/// Conservative slow start: grows more slowly, and waits whether the delay was only noise.
#[derive(Debug)]
struct Conservative {
    baseline: Duration,
    rounds: u32,
}

impl HyStart {
    /// Something arrived in slow start, at the end of a round or not. Returns by what part of what arrived the window
    /// grows; `None`: slow start is over.
    pub(crate) fn acknowledged(&mut self, round: bool, rtt: Option<Duration>) -> Option<f64> {
        if round {
            self.last = self.current.take().or(self.last);
            self.samples = 0;
            if let Some(conservative) = &mut self.conservative {
                conservative.rounds += 1;
                if conservative.rounds >= CONSERVATIVE_ROUNDS {
                    return None;
                }
            }
        }
        if let Some(rtt) = rtt {
            self.current = Some(self.current.map_or(rtt, |current| current.min(rtt)));
            self.samples += 1;
        }
        if let (true, Some(current), Some(last)) = (self.samples >= SAMPLES, self.current, self.last) {
            match &self.conservative {
                None if current >= last + (last / DIVISOR).clamp(LEAST_THRESHOLD, MOST_THRESHOLD) => {
                    self.conservative = Some(Conservative { baseline: current, rounds: 0 });
                }
                Some(conservative) if current < conservative.baseline => self.conservative = None,
                _ => {}
            }
        }
        Some(if self.conservative.is_some() { 1.0 / CONSERVATIVE_DIVISOR } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of ten samples, each of so many milliseconds.
    fn round(hystart: &mut HyStart, millis: u64) -> Option<f64> {
        let grown: Option<Vec<f64>> =
            (0..10).map(|at| hystart.acknowledged(at == 0, Some(Duration::from_millis(millis)))).collect();
        grown.and_then(|grown| grown.last().copied())
    }

    #[test]
    fn growing_delay_ends_slow_start_after_a_while_and_noise_does_not() {
        let mut hystart = HyStart::default();
        assert_eq!(round(&mut hystart, 50), Some(1.0));
        assert_eq!(round(&mut hystart, 51), Some(1.0));
        assert_eq!(round(&mut hystart, 60), Some(0.25));
        assert_eq!(round(&mut hystart, 55), Some(1.0), "it was noise");
        assert_eq!(round(&mut hystart, 65), Some(0.25));
        let rounds = (0..10).take_while(|_| round(&mut hystart, 65).is_some()).count();
        assert_eq!(rounds, 4);
    }
}
