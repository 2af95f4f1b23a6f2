use std::time::Duration;

use sansio::{Rng, Seed, Time};

use crate::record::Cause;

/// What a link does to what crosses it. The same in both directions unless each is set on its own.
///
/// Probabilities are from 0.0 to 1.0 and per packet.
///
/// ```
/// use std::time::Duration;
/// use sterna_netsim::Link;
///
/// let radio = Link { loss: 0.02, jitter: Duration::from_millis(30), ..Link::delay_ms(40) };
/// assert_eq!(radio.mtu, 1500);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How long a packet takes at least.
    pub delay: Duration,
    /// At most so much more, evenly spread. By itself it does not reorder.
    pub jitter: Duration,
    /// How probably a packet is lost. A packet of a stream is then sent again, later.
    pub loss: f64,
    /// How probably a datagram arrives twice.
    pub duplicate: f64,
    /// How probably a packet is held back, so that later ones overtake it.
    pub reorder: f64,
    /// How probably a datagram arrives with some of its bits changed, as no checksum would let it.
    pub tamper: f64,
    /// Bits a second; `None` is as fast as one likes.
    pub rate: Option<u64>,
    /// Bytes that wait when packets come faster than `rate`; the next datagrams are dropped, streams wait.
    pub queue: usize,
    /// How many bytes may wait before datagrams are marked that may be ([`Outbox::send_capable`](sansio::Outbox::send_capable));
    /// `None`: none ever is.
    pub marks: Option<usize>,
    /// The largest IP packet that fits, headers included.
    pub mtu: usize,
}

impl Link {
    /// A clean link with this one-way delay, in milliseconds.
    pub fn delay_ms(delay: u64) -> Self {
        Self { delay: Duration::from_millis(delay), ..Self::default() }
    }

    /// This link, losing packets with this probability.
    #[must_use]
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

impl Default for Link {
    /// Clean, without delay or limit of speed, 1500 bytes of MTU, and a queue of 64 KiB should a rate be set.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            tamper: 0.0,
            rate: None,
            queue: 64 * 1024,
            marks: None,
            mtu: 1500,
        }
    }
}

/// Which way a packet crosses a link, as its owner (the host, or the box whose uplink it is) sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Away from the owner.
    Up,
    /// Towards the owner.
    Down,
}

/// A link in use: its two directions, each with its own queue and dice. For those who carry the packets themselves, and
/// want to know when each arrives.
#[derive(Debug)]
pub struct Wire {
    pub(crate) up: bool,
    lanes: [Lane; 2],
}

#[derive(Debug)]
struct Lane {
    link: Link,
    rng: Rng,
    busy_until: Time,
    last_arrival: Time,
}

/// How a packet fares that crosses a [`Wire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passage {
    /// When it arrives.
    pub arrival: Time,
    /// Whether some of its bits are to be changed.
    pub tampered: bool,
    /// Whether more waited before it than [`Link::marks`] allows, so that it is marked if it may be.
    pub crowded: bool,
    /// When its duplicate arrives, if it has one.
    pub duplicate: Option<Time>,
}

impl Wire {
    /// A wire that is the same in both directions.
    pub fn new(link: Link, mut rng: Rng) -> Self {
        let lane = |link, seed: Seed| Lane {
            link,
            rng: Rng::new(seed),
            busy_until: Time::ZERO,
            last_arrival: Time::ZERO,
        };
        Self { up: true, lanes: [lane(link.clone(), rng.fork()), lane(link, rng.fork())] }
    }

    pub(crate) fn set(&mut self, direction: Direction, link: Link) {
        self.lanes[direction as usize].link = link;
    }

    pub(crate) fn link(&self, direction: Direction) -> &Link {
        &self.lanes[direction as usize].link
    }

    /// Carries `bytes`, headers included. What is `patient` (a part of a stream) is neither too big nor too much.
    ///
    /// # Errors
    /// Why it does not arrive.
    pub fn cross(
        &mut self,
        now: Time,
        direction: Direction,
        bytes: usize,
        patient: bool,
    ) -> Result<Passage, Cause> {
        if !self.up {
            return Err(Cause::LinkDown);
        }
        self.lanes[direction as usize].cross(now, bytes, patient)
    }

    /// How long what crosses now would wait for what was there before it.
    pub(crate) fn wait(&self, now: Time, direction: Direction) -> Duration {
        self.lanes[direction as usize].busy_until - now
    }

    /// Random bits for whoever changes a tampered packet.
    pub(crate) fn dice(&mut self, direction: Direction) -> &mut Rng {
        &mut self.lanes[direction as usize].rng
    }
}

impl Lane {
    fn cross(&mut self, now: Time, bytes: usize, patient: bool) -> Result<Passage, Cause> {
        let Self { link, rng, busy_until, last_arrival } = self;
        if bytes > link.mtu && !patient {
            return Err(Cause::TooBig { mtu: link.mtu });
        }
        let (mut leaves, mut crowded) = (now, false);
        if let Some(rate) = link.rate {
            let waiting = *busy_until - now;
            let queued = waiting.as_secs_f64() * rate as f64 / 8.0;
            if !patient && queued + bytes as f64 > link.queue as f64 {
                return Err(Cause::QueueFull);
            }
            crowded = link.marks.is_some_and(|marks| queued > marks as f64);
            leaves = now + waiting + Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64);
            *busy_until = leaves;
        }
        if chance(rng, link.loss) {
            return Err(Cause::Lost);
        }
        let mut arrival = leaves + link.delay + part(rng, link.jitter);
        if chance(rng, link.reorder) {
            // Held back by about a round trip, and not waited for by those behind it.
            arrival += link.delay.max(Duration::from_millis(1)) + part(rng, link.delay + link.jitter);
        } else {
            arrival = arrival.max(*last_arrival);
            *last_arrival = arrival;
        }
        let tampered = !patient && chance(rng, link.tamper);
        let duplicate = (!patient && chance(rng, link.duplicate))
            .then(|| arrival + part(rng, link.jitter.max(Duration::from_millis(1))));
        Ok(Passage { arrival, tampered, crowded, duplicate })
    }
}

/// Draws only if the outcome is open, so that a clean link costs no dice.
fn chance(rng: &mut Rng, probability: f64) -> bool {
    probability > 0.0 && rng.unit() < probability
}

fn part(rng: &mut Rng, whole: Duration) -> Duration {
    if whole.is_zero() { whole } else { whole.mul_f64(rng.unit()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(link: Link) -> Wire {
        Wire::new(link, Rng::new(Seed::from(1)))
    }

    fn at(micros: u64) -> Time {
        Time::ZERO + Duration::from_micros(micros)
    }

    fn arrivals(wire: &mut Wire, packets: u64, every: u64, bytes: usize) -> Vec<Result<Time, Cause>> {
        let cross = |n: u64| wire.cross(at(n * every), Direction::Up, bytes, false).map(|p| p.arrival);
        (0..packets).map(cross).collect()
    }

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_drops_them() {
        let link = Link { rate: Some(8_000_000), queue: 3000, ..Link::delay_ms(1) };
        // 1000 bytes take 1 ms; three fit into the queue.
        let came = arrivals(&mut wire(link), 5, 0, 1000);
        assert_eq!(came[..3], [Ok(at(2000)), Ok(at(3000)), Ok(at(4000))]);
        assert_eq!(came[3..], [Err(Cause::QueueFull), Err(Cause::QueueFull)]);
    }

    #[test]
    fn what_finds_a_long_queue_is_told_so() {
        let link = Link { rate: Some(8_000_000), queue: 5000, marks: Some(1500), ..Link::default() };
        let mut wire = wire(link);
        let crowded = |_| wire.cross(at(0), Direction::Up, 1000, false).map(|it| it.crowded);
        assert_eq!([0; 4].map(crowded), [false, false, true, true].map(Ok));
    }

    #[test]
    fn a_stream_waits_where_a_datagram_is_dropped() {
        let mut wire = wire(Link { rate: Some(8_000_000), queue: 1500, mtu: 1000, ..Link::default() });
        let too_big = wire.cross(at(0), Direction::Up, 1001, false).map(|p| p.arrival);
        assert_eq!(too_big, Err(Cause::TooBig { mtu: 1000 }));
        for n in 1..=4 {
            let arrival = wire.cross(at(0), Direction::Up, 2000, true).map(|p| p.arrival);
            assert_eq!(arrival, Ok(at(n * 2000)));
        }
    }

    #[test]
    fn loss_is_as_frequent_as_asked() {
        let came = arrivals(&mut wire(Link::default().with_loss(0.3)), 10_000, 100, 100);
        let lost = came.iter().filter(|c| **c == Err(Cause::Lost)).count();
        assert!((2800..3200).contains(&lost), "{lost}");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jitter = Link { jitter: Duration::from_millis(20), ..Link::delay_ms(5) };
        let came = arrivals(&mut wire(jitter.clone()), 1000, 1000, 100);
        assert!(came.is_sorted_by_key(|c| *c.as_ref().unwrap()));
        let came = arrivals(&mut wire(Link { reorder: 0.1, ..jitter }), 1000, 1000, 100);
        assert!(!came.is_sorted_by_key(|c| *c.as_ref().unwrap()));
    }

    #[test]
    fn nothing_crosses_a_link_that_is_down() {
        let mut wire = wire(Link::default());
        wire.up = false;
        assert!(matches!(wire.cross(at(0), Direction::Down, 1, true), Err(Cause::LinkDown)));
    }
}
