use std::time::Duration;

use sansio::Time;

use super::hystart::HyStart;
use super::{Ack, Controller, INITIAL, Loss};

/// RFC 9438 §4.1, §4.6: how steep the curve is, in packets per second cubed, and what a loss leaves of the window.
const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// RFC 9438 §4.3: as much a round trip as Reno would grow with this β.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// What TCP has in a packet, with the headers that chunks have.
const TCP: usize = 1474;
/// The least window after a loss, in packets.
const LEAST: f64 = 2.0;

/// CUBIC (RFC 9438): after a loss the window grows fast towards where the loss was, slowly around it, and then looks for
/// more. Windows and losses are counted in packets as large as TCP's, so that it shares a path with TCP as equals whatever size ours
/// have: who sends more of them loses more of them, too.
#[derive(Debug)]
pub(crate) struct Cubic {
    unit: f64,
    window: f64,
    threshold: f64,
    hystart: HyStart,
    /// The window before the last loss.
    highest: f64,
    epoch: Option<Epoch>,
    /// What is lost and not reacted to, and whether the last round of losses was.
    owed: f64,
    reacted: bool,
}

/// Congestion avoidance since the last loss, or since the application was the limit.
#[derive(Debug)]
struct Epoch {
    begin: Time,
    /// When the curve is at its flat point, in seconds after the begin, and how high that is.
    flat: f64,
    plateau: f64,
    /// What Reno would have.
    reno: f64,
}

impl Cubic {
    pub(crate) fn new(mtu: usize) -> Self {
        Self {
            unit: unit(mtu),
            window: INITIAL as f64,
            threshold: f64::INFINITY,
            hystart: HyStart::default(),
            highest: 0.0,
            epoch: None,
            owed: 0.0,
            reacted: false,
        }
    }

    /// One whose window is used up by what is on its way.
    pub(crate) fn full(mtu: usize, flight: usize) -> Self {
        Self { window: flight as f64 / unit(mtu), ..Self::new(mtu) }
    }

    /// More than this is never used.
    pub(crate) fn cap(&mut self, bytes: usize) {
        self.window = self.window.min((bytes as f64 / self.unit).max(INITIAL as f64));
    }

    /// There is room, whatever the curve says.
    pub(crate) fn grow(&mut self, by: f64) {
        self.window *= by;
        self.epoch = None;
    }

    /// More is on its way than the path holds.
    pub(crate) fn shrink(&mut self, flight: usize) {
        // Fast convergence (RFC 9438 §4.7): whoever is still below the last peak leaves room for newcomers.
        self.highest =
            if self.window < self.highest { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        let used = (flight as f64 / self.unit).min(self.window);
        self.window = (used * BETA).max(LEAST);
        self.threshold = self.window;
        self.epoch = None;
    }

    fn avoid(&mut self, now: Time, rtt: Duration, packets: f64) {
        let (window, highest) = (self.window, self.highest);
        let epoch = self.epoch.get_or_insert_with(|| {
            let below = (highest - window).max(0.0);
            Epoch { begin: now, flat: cube_root(below / C), plateau: window + below, reno: window }
        });
        let time = (now - epoch.begin).as_secs_f64() + rtt.as_secs_f64();
        let off = time - epoch.flat;
        let target = epoch.plateau + C * off * off * off;
        let target = target.clamp(window, 1.5 * window);
        let alpha = if epoch.reno < highest { ALPHA } else { 1.0 };
        epoch.reno += alpha * packets / window;
        self.window = (window + (target - window) * packets / window).max(epoch.reno.min(1.5 * window));
    }
}

impl Controller for Cubic {
    fn acknowledged(&mut self, ack: &Ack) {
        if ack.recovering && self.reacted {
            return;
        }
        let packets = ack.bytes as f64 / self.unit;
        if !ack.limited {
            // The curve is about time in which the window mattered (RFC 9438 §5.8).
            self.epoch = None;
            return;
        }
        if self.window >= self.threshold {
            return self.avoid(ack.now, ack.smoothed, packets);
        }
        match self.hystart.acknowledged(ack.round, ack.rtt) {
            Some(part) => self.window = (self.window + packets * part).min(self.threshold),
            None => self.threshold = self.window,
        }
    }

    fn lost(&mut self, loss: &Loss) {
        self.reacted &= !loss.fresh;
        if self.reacted {
            return;
        }
        self.owed += (loss.bytes as f64 / TCP as f64).min(1.0);
        if self.owed >= 1.0 {
            (self.owed, self.reacted) = (self.owed - 1.0, true);
            self.shrink(loss.flight);
        }
    }

    /// As much as for a loss (RFC 3168 §6.1.2), so that it shares queues that mark with TCP as equals.
    fn marked(&mut self, flight: usize) {
        // What is lost in the same round trip is lost to the same queue.
        (self.owed, self.reacted) = (0.0, true);
        self.shrink(flight);
    }

    fn timed_out(&mut self, _: Time, flight: usize, again: bool) {
        if !again {
            self.highest = self.window;
            self.threshold = (flight as f64 / self.unit * BETA).max(2.0 * LEAST);
        }
        self.window = 1.0;
        self.hystart = HyStart::default();
        self.epoch = None;
    }

    fn window(&self) -> usize {
        (self.window * self.unit) as usize
    }

    fn rate(&self, smoothed: Option<Duration>) -> Option<f64> {
        let seconds = smoothed?.as_secs_f64().max(1e-6);
        let gain = if self.window < self.threshold { 2.0 } else { 1.25 };
        Some(gain * self.window * self.unit / seconds)
    }

    fn set_mtu(&mut self, mtu: usize) {
        let ratio = self.unit / unit(mtu);
        self.unit = unit(mtu);
        [&mut self.window, &mut self.threshold, &mut self.highest]
            .into_iter()
            .for_each(|size| *size *= ratio);
        self.epoch = None;
    }
}

/// Bytes of a packet as windows count them.
fn unit(mtu: usize) -> f64 {
    mtu.max(TCP) as f64
}

/// By Newton's method: `f64::cbrt` gives other bits on other machines, and the same seed has to give the same packets.
fn cube_root(number: f64) -> f64 {
    let mut root = number.max(1.0);
    for _ in 0..100 {
        let next = (2.0 * root + number / (root * root)) / 3.0;
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn ack(now: Time, bytes: usize, limited: bool) -> Ack {
        Ack {
            now,
            bytes,
            flight: bytes,
            rtt: Some(RTT),
            smoothed: RTT,
            least: RTT,
            round: true,
            recovering: false,
            limited,
            delivery: None,
        }
    }

    fn cubic() -> Cubic {
        Cubic { unit: 1000.0, ..Cubic::new(1000) }
    }

    fn loss(flight: usize) -> Loss {
        Loss { bytes: 1500, flight, fresh: true }
    }

    #[test]
    fn slow_start_doubles_and_a_loss_leaves_seven_tenths() {
        let mut cubic = cubic();
        cubic.acknowledged(&ack(Time::ZERO, 10_000, true));
        assert_eq!(cubic.window(), 20_000);
        cubic.acknowledged(&ack(Time::ZERO, 20_000, false));
        assert_eq!(cubic.window(), 20_000, "the window was not the limit");
        cubic.lost(&loss(20_000));
        assert_eq!(cubic.window(), 14_000);
    }

    #[test]
    fn cube_roots_are_those_of_the_library() {
        for number in [0.0, 1e-9, 0.3, 1.0, 2.5, 27.0, 1e4, 123_456.7, 1e9] {
            let (ours, theirs): (f64, f64) = (cube_root(number), number.cbrt());
            assert!((ours - theirs).abs() <= 1e-9 * theirs.max(1.0), "{number}: {ours}, {theirs}");
        }
    }

    #[test]
    fn the_window_comes_back_to_where_it_was_and_lingers_there() {
        let mut cubic = cubic();
        cubic.window = 1000.0;
        cubic.lost(&loss(1_000_000));
        let flat = (300.0f64 / C).cbrt();
        let mut now = Time::ZERO;
        let mut at_plateau = 0;
        for _ in 0..200 {
            cubic.acknowledged(&ack(now, cubic.window(), true));
            now += RTT;
            let seconds = now.elapsed().as_secs_f64();
            if (seconds - flat).abs() < 1.5 {
                at_plateau += 1;
                assert!((980.0..1030.0).contains(&cubic.window), "{} at {seconds}", cubic.window);
            }
        }
        assert!(at_plateau > 20);
        assert!(cubic.window > 1500.0, "{}", cubic.window);
    }

    #[test]
    fn losses_of_small_packets_count_as_much_as_they_hold() {
        let mut cubic = cubic();
        let losses = (0..100).filter(|_| {
            cubic.window = 100.0;
            cubic.lost(&Loss { bytes: TCP / 2, ..loss(100_000) });
            cubic.window < 100.0
        });
        assert_eq!(losses.count(), 50);
        // More of the same round says no more.
        cubic.window = 100.0;
        cubic.lost(&loss(100_000));
        let window = cubic.window();
        cubic.lost(&Loss { fresh: false, ..loss(100_000) });
        assert_eq!((window, cubic.window()), (70_000, 70_000));
    }

    #[test]
    fn a_timeout_begins_anew_and_a_second_one_does_not_lower_the_goal() {
        let mut cubic = cubic();
        cubic.window = 100.0;
        cubic.timed_out(Time::ZERO, 100_000, false);
        cubic.timed_out(Time::ZERO, 1_000, true);
        assert_eq!((cubic.window(), cubic.threshold), (1000, 70.0));
    }
}
