use std::time::Duration;

/// Packets after which what was learnt counts half.
const MEMORY: f64 = 50_000.0;
/// A path loses at random if it loses more than this, and not only now and then.
const NOISY: f64 = 0.0005;
const MANY: f64 = 4.0;

/// Tells the losses of a full queue from those that the path has anyhow: where there is no queue, losses have other causes, and
/// they go on at the same rate where there is one. Only more than that is congestion.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    /// Packets of this round, and its least round trip.
    round: Tally,
    least: Option<Duration>,
    /// The round trip without a queue, as it was known in the last round.
    base: Duration,
    /// Whether there was a queue in that, and how much arrived.
    queued: bool,
    arrived: f64,
    /// Packets of rounds in which there was no queue.
    quiet: Tally,
}

/// What a round was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There was a queue, and more was lost than chance explains.
    Congested,
    /// There was none, and the path is one that loses all the same.
    Noisy,
    Usual,
}

#[derive(Debug, Default)]
struct Tally {
    arrived: f64,
    lost: f64,
}

impl Noise {
    pub(crate) fn arrived(&mut self, packets: f64, rtt: Option<Duration>) {
        self.round.arrived += packets;
        self.least = self.least.into_iter().chain(rtt).min();
    }

    pub(crate) fn lost(&mut self, packets: f64) {
        self.round.lost += packets;
    }

    /// A round is over, on a path whose bare round trip is `least`; `crowded`: more was on its way in it than the path holds.
    pub(crate) fn conclude(&mut self, least: Duration, crowded: bool) -> Verdict {
        let round = std::mem::take(&mut self.round);
        if least + least / 16 < self.base {
            // There was a queue all the time, of others.
            self.quiet = Tally::default();
        }
        self.base = least;
        let queued = self.least.take().map_or(self.queued, |rtt| rtt > least + least / 16);
        // What is missed in this round was sent in the last.
        let quiet = !std::mem::replace(&mut self.queued, queued || crowded) && !queued && !crowded;
        if quiet {
            self.quiet.arrived += round.arrived;
            self.quiet.lost += round.lost;
            if self.quiet.arrived > MEMORY {
                (self.quiet.arrived, self.quiet.lost) = (self.quiet.arrived / 2.0, self.quiet.lost / 2.0);
            }
        }
        let doubt = if self.quiet.lost > 0.0 { 1.0 } else { 0.0 };
        let share = (self.quiet.lost + doubt) / (self.quiet.arrived + self.quiet.lost + 1.0);
        let arrived = round.arrived.max(std::mem::replace(&mut self.arrived, round.arrived));
        let expected = share * (arrived + round.lost);
        if queued && round.lost > expected + 3.0 * expected.sqrt() {
            Verdict::Congested
        } else if quiet && self.quiet.lost >= MANY && share > NOISY {
            Verdict::Noisy
        } else {
            Verdict::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(50);

    fn round(noise: &mut Noise, arrived: f64, lost: f64, queued: bool) -> bool {
        noise.arrived(arrived, Some(if queued { LEAST * 2 } else { LEAST }));
        noise.lost(lost);
        noise.conclude(LEAST, false) == Verdict::Congested
    }

    #[test]
    fn losses_that_come_with_the_queue_are_congestion_and_those_that_were_there_before_are_not() {
        let mut noise = Noise::default();
        assert!(!round(&mut noise, 1000.0, 0.0, false));
        assert!(round(&mut noise, 1000.0, 1.0, true), "on a clean path one is enough");
        for _ in 0..50 {
            assert!(!round(&mut noise, 990.0, 10.0, false));
        }
        assert!(!round(&mut noise, 990.0, 15.0, true));
        assert!(round(&mut noise, 960.0, 40.0, true));
    }

    #[test]
    fn what_was_learnt_is_forgotten_when_the_path_gets_better() {
        let mut noise = Noise::default();
        for _ in 0..50 {
            round(&mut noise, 970.0, 30.0, false);
        }
        assert!(!round(&mut noise, 990.0, 10.0, true));
        for _ in 0..400 {
            round(&mut noise, 1000.0, 0.0, false);
        }
        assert!(round(&mut noise, 990.0, 10.0, true));
    }
}
