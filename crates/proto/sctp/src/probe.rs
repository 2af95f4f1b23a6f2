use std::time::Duration;

use sansio::{Rng, Time, Timers};

use crate::packet::{Writer, kind, u16_at, u32_at};
use crate::timer::Timer;

/// Attempts with one size (RFC 8899 §5.1.2).
const ATTEMPTS: u32 = 3;
/// Sizes that are closer than this are the same.
const STEP: usize = 32;
/// How long an answer is waited for, and when larger sizes are tried again (RFC 8899 §5.1.1).
const TIMEOUT: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(600);
/// When they are tried again after they seemed to get lost: it may have been chance.
const SOON: Duration = Duration::from_secs(5);
/// What most paths carry: 1,500 bytes with IPv4, UDP and DTLS in front.
const USUAL: usize = 1432;
/// The type of the parameter in a HEARTBEAT, and its length: a random number and the size.
const INFO: u16 = 1;
const INFO_LENGTH: u16 = 4 + 12;

/// Looks for the largest packet that arrives (RFC 8899), by HEARTBEATs that are padded.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The size that arrives for sure, the one that is in use, and the one above which nothing arrives.
    base: usize,
    confirmed: usize,
    bound: usize,
    largest: usize,
    trial: Option<Trial>,
    due: bool,
    rng: Rng,
}

#[derive(Debug)]
struct Trial {
    size: usize,
    nonce: u64,
    attempts: u32,
    at: Time,
}

impl Probe {
    /// Nothing is tried if `largest` is not larger than `base`.
    pub(crate) fn new(base: usize, largest: usize, rng: Rng) -> Self {
        Self { base, confirmed: base, bound: largest + STEP, largest, trial: None, due: false, rng }
    }

    /// The association is up, or there is another path.
    pub(crate) fn begin(&mut self, timers: &mut Timers<Timer>) {
        (self.confirmed, self.bound) = (self.base, self.largest + STEP);
        timers.stop(Timer::Size);
        self.next();
    }

    /// No more than this is tried from now on.
    pub(crate) fn set_largest(&mut self, largest: usize) {
        self.largest = largest;
    }

    fn next(&mut self) {
        let usual = USUAL.min(self.largest);
        let size = match self.bound {
            bound if self.confirmed < usual && bound > usual => usual,
            bound if bound > self.largest => self.largest,
            bound => (self.confirmed + bound) / 2,
        };
        let size = size & !3;
        let worth = size >= self.confirmed + STEP.min(self.largest.saturating_sub(self.base)).max(4);
        self.trial = worth.then(|| Trial { size, nonce: self.rng.next_u64(), attempts: 0, at: Time::ZERO });
        self.due = self.trial.is_some();
    }

    /// The size of the packet that wants to be sent.
    pub(crate) fn wanted(&self) -> Option<usize> {
        self.trial.as_ref().filter(|_| self.due).map(|trial| trial.size)
    }

    /// Writes a probe that fills the packet.
    pub(crate) fn write(&mut self, now: Time, writer: &mut Writer<'_>, timers: &mut Timers<Timer>) {
        let Some(trial) = &mut self.trial else { return };
        let mut info = Vec::with_capacity(INFO_LENGTH.into());
        info.extend(INFO.to_be_bytes());
        info.extend(INFO_LENGTH.to_be_bytes());
        info.extend(trial.nonce.to_be_bytes());
        info.extend((trial.size as u32).to_be_bytes());
        writer.chunk(kind::HEARTBEAT, 0, &[&info]);
        writer.pad_to(trial.size);
        trial.attempts += 1;
        trial.at = now;
        self.due = false;
        timers.set(Timer::Size, now + TIMEOUT);
    }

    /// Takes what a HEARTBEAT ACK brings back. Returns the round trip if it is our own.
    pub(crate) fn handle_answer(
        &mut self,
        now: Time,
        value: &[u8],
        timers: &mut Timers<Timer>,
    ) -> Option<Duration> {
        let trial = self.trial.as_ref()?;
        let nonce = u64::from(u32_at(value, 4)?) << 32 | u64::from(u32_at(value, 8)?);
        if u16_at(value, 0)? != INFO || nonce != trial.nonce {
            return None;
        }
        let rtt = now - trial.at;
        self.confirmed = trial.size;
        self.proceed(now, timers);
        Some(rtt)
    }

    /// No answer came, or it is time to try again.
    pub(crate) fn timed_out(&mut self, now: Time, timers: &mut Timers<Timer>) {
        match &self.trial {
            Some(trial) if trial.attempts < ATTEMPTS => self.due = true,
            Some(trial) => {
                self.bound = trial.size;
                self.proceed(now, timers);
            }
            None => {
                self.bound = self.largest + STEP;
                self.next();
            }
        }
    }

    fn proceed(&mut self, now: Time, timers: &mut Timers<Timer>) {
        self.next();
        match &self.trial {
            None if self.confirmed < self.largest => timers.set(Timer::Size, now + AGAIN),
            _ => timers.stop(Timer::Size),
        }
    }

    /// Large packets no longer arrive. Returns whether that changes anything.
    pub(crate) fn fall_back(&mut self, now: Time, timers: &mut Timers<Timer>) -> bool {
        if self.confirmed == self.base {
            return false;
        }
        (self.bound, self.confirmed, self.trial, self.due) = (self.confirmed, self.base, None, false);
        timers.set(Timer::Size, now + SOON);
        true
    }

    /// The size that packets may have.
    pub(crate) fn mtu(&self) -> usize {
        self.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Header, parse};
    use sansio::Seed;

    /// Lets a path of `limit` bytes be probed.
    fn search(base: usize, largest: usize, limit: usize) -> (usize, usize) {
        let mut probe = Probe::new(base, largest, Rng::new(Seed::from(1)));
        let mut timers = Timers::default();
        let mut now = Time::ZERO;
        let mut packets = 0;
        probe.begin(&mut timers);
        loop {
            if let Some(size) = probe.wanted() {
                let mut buffer = vec![0; size];
                let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
                probe.write(now, &mut writer, &mut timers);
                assert_eq!(writer.finish(true), size);
                packets += 1;
                let chunk = parse(&buffer).unwrap().1.next().unwrap();
                if size <= limit {
                    assert!(probe.handle_answer(now, chunk.value(), &mut timers).is_some());
                }
            } else {
                let Some(next) = timers.next() else { return (probe.mtu(), packets) };
                if next - now > Duration::from_secs(10) {
                    return (probe.mtu(), packets);
                }
                now = next;
                assert_eq!(timers.expired(now), Some(Timer::Size));
                probe.timed_out(now, &mut timers);
            }
        }
    }

    #[test]
    fn the_largest_size_is_found() {
        assert_eq!(search(1160, 1160, 9000), (1160, 0));
        assert_eq!(search(1160, 1400, 1400), (1400, 1));
        assert_eq!(search(1160, 1400, 1160).0, 1160);
        let (mtu, packets) = search(1160, 8960, 3000);
        assert!((3000 - 2 * STEP..=3000).contains(&mtu), "{mtu}");
        assert!(packets < 30, "{packets}");
    }

    #[test]
    fn a_black_hole_leads_back_to_the_base() {
        let mut probe = Probe::new(1160, 1400, Rng::new(Seed::from(1)));
        let mut timers = Timers::default();
        assert!(!probe.fall_back(Time::ZERO, &mut timers));
        probe.begin(&mut timers);
        probe.confirmed = 1400;
        assert!(probe.fall_back(Time::ZERO, &mut timers));
        assert_eq!(probe.mtu(), 1160);
    }
}
