use sansio::{Datagram, Machine, Outbox, Rng, Seed, Time};

/// Feeds a machine what no friend would send: noise, and damaged copies of what a friend might.
///
/// ```
/// use sterna_netsim::{Hostile, Limits, Puppet};
/// use sansio::{Path, Time};
///
/// let stranger = Path::udp("5.0.0.1:1".parse().unwrap(), "5.0.0.2:2".parse().unwrap());
/// let mut hostile = Hostile::new(1).with_samples([b"\x00\x01 a well-formed request".to_vec()]);
/// let answers = hostile.assault(&mut Puppet::default(), Time::ZERO, &[stranger], 1000, Limits::default());
/// assert_eq!(answers.datagrams, 0);
/// ```
#[derive(Debug)]
pub struct Hostile {
    rng: Rng,
    samples: Vec<Vec<u8>>,
}

/// How much a machine may answer to strangers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Datagrams in answer to one.
    pub datagrams: usize,
    /// Bytes in answer to one, as a multiple of its bytes.
    pub amplification: f64,
    /// Bytes that are always allowed in answer to one.
    pub allowance: usize,
}

impl Default for Limits {
    /// One datagram of twice the size, or 128 bytes.
    fn default() -> Self {
        Self { datagrams: 1, amplification: 2.0, allowance: 128 }
    }
}

/// What a machine answered to an assault.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Answers {
    /// Datagrams that were sent to it.
    pub sent: usize,
    /// Datagrams that it answered.
    pub datagrams: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Events that it told.
    pub events: usize,
}

impl Hostile {
    /// A source of hostile bytes.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::new(Seed::from(seed)), samples: Vec::new() }
    }

    /// Well-formed datagrams to damage. The nearer they are to what the machine expects, the deeper the bytes get.
    #[must_use]
    pub fn with_samples(mut self, samples: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.samples.extend(samples);
        self
    }

    /// The next hostile datagram, of 1 to 2000 bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        if self.samples.is_empty() || self.rng.below(8) == 0 {
            return self.noise();
        }
        let mut bytes = self.sample();
        for _ in 0..=self.rng.below(3) {
            self.damage(&mut bytes);
        }
        bytes.truncate(2000);
        if bytes.is_empty() {
            bytes.push(self.rng.next_u32() as u8);
        }
        bytes
    }

    fn sample(&mut self) -> Vec<u8> {
        let at = self.rng.below(self.samples.len() as u64) as usize;
        self.samples[at].clone()
    }

    fn noise(&mut self) -> Vec<u8> {
        let most = [8, 64, 2000][self.rng.below(3) as usize];
        let mut bytes = vec![0; 1 + self.rng.below(most) as usize];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        if length == 0 {
            return;
        }
        let at = self.rng.below(length as u64) as usize;
        match self.rng.below(8) {
            0 => bytes[at] ^= 1 << self.rng.below(8),
            1 => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][self.rng.below(5) as usize],
            2 => bytes.truncate(at),
            3 => {
                let tail = self.noise();
                bytes.extend_from_slice(&tail);
            }
            // Lengths and counts are mostly two bytes, and they lie at even places.
            4 if length >= 2 => {
                let at = at.min(length - 2) & !1;
                let value = [0, 1, 3, 4, 0x7fff, 0xfffc, 0xffff, length as u16][self.rng.below(8) as usize];
                bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
            }
            5 => {
                let end = at + self.rng.below((length - at) as u64 + 1) as usize;
                let again = bytes[at..end].to_vec();
                bytes.splice(end..end, again);
            }
            6 => {
                let end = at + self.rng.below((length - at) as u64 + 1) as usize;
                bytes.drain(at..end);
            }
            _ => {
                let other = self.sample();
                let from = self.rng.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Sends `rounds` hostile datagrams to a machine, by the `paths` in turn, and looks at what it answers.
    ///
    /// The machine's other wishes (timers, sockets) are left alone; its events are drained and counted.
    ///
    /// # Panics
    /// If the machine does, or if it answers more than `limits` allow. The message carries the datagram in hex.
    pub fn assault<M>(
        &mut self,
        machine: &mut M,
        now: Time,
        paths: &[M::Addr],
        rounds: usize,
        limits: Limits,
    ) -> Answers
    where
        M: Machine<Addr: Copy>,
    {
        let mut answers = Answers::default();
        // What the machine had to say before is not an answer.
        machine.poll_transmit(now, &mut Counter::default());
        while machine.poll_event().is_some() {}
        for &from in paths.iter().cycle().take(rounds) {
            let mut payload = self.bytes();
            let mut out = Counter::default();
            let sent = payload.clone();
            machine.handle_datagram(now, Datagram { from, payload: &mut payload }, &mut out);
            machine.poll_transmit(now, &mut out);
            while machine.poll_event().is_some() {
                answers.events += 1;
            }
            let most = limits.allowance.max((sent.len() as f64 * limits.amplification) as usize);
            assert!(
                out.datagrams <= limits.datagrams && out.bytes <= most,
                "law: {} datagrams with {} bytes in answer to {} hostile bytes: {}",
                out.datagrams,
                out.bytes,
                sent.len(),
                sent.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            );
            answers.sent += 1;
            answers.datagrams += out.datagrams;
            answers.bytes += out.bytes;
        }
        answers
    }
}

/// An outbox that counts what is written into it and forgets it.
#[derive(Default)]
struct Counter {
    datagrams: usize,
    bytes: usize,
    buffer: Vec<u8>,
}

impl<A> Outbox<A> for Counter {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn send(&mut self, _: A, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.buffer.resize(self.buffer.len().max(max), 0);
        let used = fill(&mut self.buffer[..max]);
        self.datagrams += usize::from(used > 0);
        self.bytes += used;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Puppet;
    use sansio::Path;

    fn stranger() -> Path {
        Path::udp(([5, 0, 0, 1], 1).into(), ([5, 0, 0, 2], 2).into())
    }

    #[test]
    fn samples_are_damaged_in_many_ways() {
        let sample: Vec<u8> = (0..100).collect();
        let mut hostile = Hostile::new(3).with_samples([sample.clone()]);
        let all: Vec<Vec<u8>> = (0..1000).map(|_| hostile.bytes()).collect();
        assert!(all.iter().all(|bytes| (1..=2000).contains(&bytes.len())));
        let alike = all.iter().filter(|bytes| bytes.starts_with(&sample[..20]));
        assert!(alike.count() > 200, "most should begin like the sample");
        let mut distinct = all.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 900, "{}", distinct.len());
    }

    #[test]
    fn the_same_size_back_is_within_the_limits() {
        let limits = Limits { amplification: 1.0, allowance: 0, ..Limits::default() };
        let answers = Hostile::new(1).assault(&mut Puppet::echo(), Time::ZERO, &[stranger()], 500, limits);
        assert_eq!((answers.sent, answers.datagrams, answers.events), (500, 500, 500));
    }

    #[test]
    #[should_panic(expected = "law: 1 datagrams")]
    fn too_much_of_an_answer_is_a_broken_law() {
        let limits = Limits { amplification: 0.5, allowance: 0, ..Limits::default() };
        Hostile::new(1).assault(&mut Puppet::echo(), Time::ZERO, &[stranger()], 500, limits);
    }
}
