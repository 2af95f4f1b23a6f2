use std::collections::VecDeque;
use std::time::Duration;

use sansio::Time;

use super::cubic::Cubic;
use super::noise::{Noise, Verdict};
use super::{Ack, Controller, INITIAL, Loss};

/// Doubles the rate each round trip: 2 / ln 2.
const STARTUP: f64 = 2.885;
/// The rates of one cycle, each for a round trip: look for more, make up for it, cruise. As long as more is found, more is looked
/// for, by so much more each time.
const EAGER: f64 = 1.25;
const FOUND: f64 = 1.15;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// How many times what the path holds may be on its way: acknowledgements come in clumps.
const WINDOW: f64 = 2.0;
/// Rounds for which the greatest rate counts.
const ROUNDS: u64 = 10;
/// So often the queue is emptied, for so long, to see the bare round trip.
const EMPTYING: Duration = Duration::from_secs(10);
const EMPTY: Duration = Duration::from_millis(200);
/// What is left of the rate where more is lost than usual, if more did not arrive.
const BETA: f64 = 0.7;
/// By how much more of the window is taken back in each round without a queue.
const REGAIN: f64 = 1.25;
/// When more is on its way than this many times what the path holds, some of it surely waits.
const CROWDED: f64 = 1.5;
/// The least window, in packets.
const LEAST: usize = 4;

/// After BBR: sends at the rate at which things arrive, and keeps about what the path holds on its way. A loss is not taken
/// for a full queue, so links that lose at random stay full.
#[derive(Debug)]
pub(crate) struct Bbr {
    mtu: usize,
    phase: Phase,
    /// Rounds so far.
    round: u64,
    /// The greatest rates of the last rounds, falling, with their rounds.
    rates: VecDeque<(u64, f64)>,
    least: Option<(Duration, Time)>,
    /// The rate after which startup saw no growth, and for how many rounds.
    full: (f64, u32),
    noise: Noise,
    /// What CUBIC would do, if it knew which losses are of a full queue, since the first of them: no more than that may be on its
    /// way, so that others get their part.
    fair: Option<Cubic>,
    /// The rate when more was looked for last, and how often in a row more was found.
    probed: f64,
    finds: u32,
    /// The greatest rate of this round, and the most that was on its way in it.
    latest: f64,
    peak: usize,
    /// After a timeout, until something arrives.
    silent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Startup,
    /// Lets the queue of the startup run off.
    Drain,
    Cruise {
        step: usize,
        since: Time,
    },
    Empty {
        until: Option<Time>,
    },
}

impl Bbr {
    pub(crate) fn new(mtu: usize) -> Self {
        Self {
            mtu,
            phase: Phase::Startup,
            round: 0,
            rates: VecDeque::new(),
            least: None,
            full: (0.0, 0),
            noise: Noise::default(),
            fair: None,
            probed: 0.0,
            finds: 0,
            latest: 0.0,
            peak: 0,
            silent: false,
        }
    }

    fn fastest(&self) -> Option<f64> {
        self.rates.front().map(|(_, rate)| *rate)
    }

    /// What the path holds.
    fn product(&self) -> Option<f64> {
        Some(self.fastest()? * self.least?.0.as_secs_f64())
    }

    fn gain(&self) -> f64 {
        match self.phase {
            Phase::Startup => STARTUP,
            Phase::Drain => 1.0 / STARTUP,
            Phase::Cruise { step: 0, .. } => (CYCLE[0] * EAGER.powi(self.finds as i32)).min(STARTUP),
            Phase::Cruise { step, .. } => CYCLE[step],
            Phase::Empty { .. } => 1.0,
        }
    }

    fn learn(&mut self, ack: &Ack) {
        if ack.round {
            self.round += 1;
        }
        while self.rates.front().is_some_and(|(round, _)| round + ROUNDS < self.round) && self.rates.len() > 1
        {
            self.rates.pop_front();
        }
        if let Some((rate, starved)) = ack.delivery
            && (!starved || self.fastest().is_none_or(|fastest| rate > fastest))
        {
            while self.rates.back().is_some_and(|(_, old)| *old <= rate) {
                self.rates.pop_back();
            }
            self.rates.push_back((self.round, rate));
        }
        if let Some(rtt) = ack.rtt
            && self.least.is_none_or(|(least, _)| rtt <= least)
        {
            self.least = Some((rtt, ack.now));
        }
    }

    /// A round is over. Returns whether the path was too full in it; then less is sent from now on.
    fn conclude(&mut self) -> bool {
        let (latest, peak) = (std::mem::take(&mut self.latest), std::mem::take(&mut self.peak));
        let crowded = self.product().is_some_and(|product| peak as f64 > CROWDED * product);
        let verdict = self.noise.conclude(self.least.map(|(least, _)| least).unwrap_or_default(), crowded);
        match (verdict, self.fastest()) {
            (Verdict::Congested, Some(fastest)) => {
                let most = (fastest * BETA).max(latest);
                self.rates.iter_mut().for_each(|(_, rate)| *rate = rate.min(most));
                let mtu = self.mtu;
                self.fair.get_or_insert_with(|| Cubic::full(mtu, peak)).shrink(peak);
            }
            // Nobody is there whom it would be unfair to, and the curve may have been bent by chance.
            (Verdict::Noisy, _) => self.fair.iter_mut().for_each(|fair| fair.grow(REGAIN)),
            _ => {}
        }
        verdict == Verdict::Congested
    }

    /// The step of the cycle after this one.
    fn after(&mut self, step: usize, ack: &Ack) -> usize {
        let fastest = self.fastest().unwrap_or(0.0);
        // Where there is a queue, it is taken from others.
        let queued = ack.smoothed > ack.least + ack.least / 8;
        let found = step == 1 && !queued && fastest > FOUND * self.probed;
        let next = if found { 0 } else { (step + 1) % CYCLE.len() };
        if next == 0 {
            self.probed = fastest;
            self.finds = if found { self.finds + 1 } else { 0 };
        }
        next
    }

    /// Startup is over when three rounds have not brought a quarter more.
    fn is_full(&mut self, ack: &Ack) -> bool {
        // Neither the application nor the peer's window was the limit, or there is a queue all the same.
        let limited = ack.limited && ack.delivery.is_some_and(|(_, starved)| !starved);
        let queued = ack.smoothed > ack.least.mul_f64(1.25);
        let limited =
            limited || queued || self.product().is_some_and(|product| ack.flight as f64 >= 1.25 * product);
        let (Some(rate), true, true) = (self.fastest(), ack.round, limited) else { return false };
        if rate >= self.full.0 * 1.25 {
            self.full = (rate, 0);
        } else {
            self.full.1 += 1;
        }
        self.full.1 >= 3
    }
}

impl Controller for Bbr {
    fn acknowledged(&mut self, ack: &Ack) {
        self.silent = false;
        self.learn(ack);
        self.noise.arrived(ack.bytes as f64 / self.mtu as f64, ack.rtt);
        self.peak = self.peak.max(ack.flight);
        self.latest = self.latest.max(ack.delivery.map_or(0.0, |(rate, _)| rate));
        let congested = ack.round && self.conclude();
        let left = ack.flight.saturating_sub(ack.bytes);
        let product = self.product().unwrap_or(0.0);
        let cruise = Phase::Cruise { step: 2, since: ack.now };
        if let Some(fair) = &mut self.fair {
            fair.acknowledged(&Ack { recovering: false, ..*ack });
            fair.cap((WINDOW * product) as usize);
        }
        let full = self.phase == Phase::Startup && (congested || self.is_full(ack));
        self.phase = match self.phase {
            Phase::Startup if full => Phase::Drain,
            Phase::Drain if left as f64 <= product => cruise,
            Phase::Cruise { step, since } => {
                let round = ack.now - since >= ack.least.max(Duration::from_millis(1));
                // The queue that looking for more has made is gone early.
                let drained = step == 1 && left as f64 <= product;
                let step = if round || drained { self.after(step, ack) } else { step };
                let stale = self.least.is_some_and(|(_, at)| ack.now - at > EMPTYING);
                match (stale, round || drained) {
                    (true, _) => Phase::Empty { until: None },
                    (false, true) => Phase::Cruise { step, since: ack.now },
                    (false, false) => self.phase,
                }
            }
            Phase::Empty { until: None } if left <= self.window() + self.mtu => {
                Phase::Empty { until: Some(ack.now + EMPTY.max(ack.least)) }
            }
            Phase::Empty { until: Some(until) } => {
                if let Some(rtt) = ack.rtt {
                    self.least = Some((
                        self.least.map_or(
                            rtt,
                            |(old, at)| if at + EMPTYING < ack.now { rtt } else { old.min(rtt) },
                        ),
                        ack.now,
                    ));
                }
                if ack.now >= until { cruise } else { self.phase }
            }
            phase => phase,
        };
    }

    fn lost(&mut self, loss: &Loss) {
        self.peak = self.peak.max(loss.flight);
        self.noise.lost(loss.bytes as f64 / self.mtu as f64);
    }

    /// No noise, for once: the queue is full, or held to be.
    fn marked(&mut self, flight: usize) {
        let mtu = self.mtu;
        self.fair.get_or_insert_with(|| Cubic::full(mtu, flight)).shrink(flight);
        if self.phase == Phase::Startup {
            self.phase = Phase::Drain;
        }
    }

    fn timed_out(&mut self, _: Time, _: usize, _: bool) {
        self.silent = true;
    }

    fn window(&self) -> usize {
        if self.silent {
            return self.mtu;
        }
        let Some(product) = self.product() else { return INITIAL * self.mtu };
        let gain = match self.phase {
            Phase::Startup | Phase::Drain | Phase::Cruise { .. } => WINDOW,
            Phase::Empty { .. } => 0.5,
        };
        let window = (product * gain) as usize;
        let window = self.fair.as_ref().map_or(window, |fair| window.min(fair.window()));
        window.max(if self.phase == Phase::Startup { INITIAL } else { LEAST } * self.mtu)
    }

    fn rate(&self, smoothed: Option<Duration>) -> Option<f64> {
        match self.fastest() {
            Some(rate) => Some(self.gain() * rate),
            None => Some(STARTUP * (INITIAL * self.mtu) as f64 / smoothed?.as_secs_f64().max(1e-6)),
        }
    }

    fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
        self.fair.iter_mut().for_each(|fair| fair.set_mtu(mtu));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// A path that carries so many bytes a second, with room for a round trip in its queue.
    fn drive(bbr: &mut Bbr, capacity: f64, rounds: usize, now: &mut Time) -> f64 {
        let mut carried = 0.0;
        for _ in 0..rounds {
            let sent = (bbr.rate(Some(RTT)).unwrap() * RTT.as_secs_f64()).min(bbr.window() as f64);
            let arrived = sent.min(capacity * RTT.as_secs_f64());
            *now += RTT;
            carried += arrived;
            bbr.acknowledged(&Ack {
                now: *now,
                bytes: arrived as usize,
                flight: sent as usize,
                rtt: Some(RTT),
                smoothed: RTT,
                least: RTT,
                round: true,
                recovering: false,
                limited: true,
                delivery: Some((arrived / RTT.as_secs_f64(), false)),
            });
        }
        carried / (RTT.as_secs_f64() * rounds as f64)
    }

    #[test]
    fn it_finds_the_rate_of_the_path_and_stays_there_whatever_is_lost() {
        let mut bbr = Bbr::new(1200);
        let mut now = Time::ZERO;
        drive(&mut bbr, 10e6, 30, &mut now);
        assert!(matches!(bbr.phase, Phase::Cruise { .. }), "{:?}", bbr.phase);
        let carried = drive(&mut bbr, 10e6, 200, &mut now);
        assert!(carried > 9.4e6, "{carried}");
        // The path gets slower, and faster again.
        drive(&mut bbr, 2e6, 40, &mut now);
        assert!(bbr.fastest().unwrap() < 2.1e6);
        drive(&mut bbr, 8e6, 100, &mut now);
        assert!(bbr.fastest().unwrap() > 7.5e6);
    }

    #[test]
    fn silence_leaves_one_packet_until_something_arrives() {
        let mut bbr = Bbr::new(1200);
        let mut now = Time::ZERO;
        drive(&mut bbr, 10e6, 30, &mut now);
        bbr.timed_out(now, 1, false);
        assert_eq!(bbr.window(), 1200);
        drive(&mut bbr, 10e6, 1, &mut now);
        assert!(bbr.window() > 100_000);
    }
}
