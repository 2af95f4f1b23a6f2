use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use crate::{KeyedHash, Time};

/// Bits of a deadline that one ring looks at.
const BITS: u32 = 6;
/// Spokes of a ring.
const SPOKES: usize = 1 << BITS;
/// The level of the coarsest ring; that of the finest is 0, where a spoke is a nanosecond.
const TOP: usize = (u64::BITS.div_ceil(BITS) - 1) as usize;
/// The coarsest ring is always there.
const ROOT: u32 = 0;
/// Deadlines on one spoke before it gets a ring of its own. So many are looked through to find the first.
const CROWD: u32 = 32;

/// A keyed table of thousands of deadlines: O(1) to set, to move, to stop, and to ask for the next.
///
/// For a machine that serves many; one that has a handful of deadlines is better off with [`Timers`](crate::Timers).
///
/// It is a hierarchical timing wheel (Varghese and Lauck, 1987): rings of 64 spokes, each of a share of the time. A spoke
/// that more than 32 deadlines have come to gets a ring of its own, 64 times finer, and loses it when the last of them has
/// gone. A classic wheel has finer rings for what is near only, turns, and carries what comes near down into them; here
/// they are where the deadlines are. So nothing turns and nothing is carried: days without a call cost nothing, and the
/// next deadline is known to the nanosecond, at any distance.
///
/// No operation goes through more than 11 rings and 32 deadlines; and into each of the rings on its way a deadline is moved
/// once, at the most. A deadline with a key of 16 bytes takes 32, and some 40 in the table of keys; rings add less than 24
/// each, as long as the deadlines do not stand closer than a microsecond in many places. What is free is kept for others.
///
/// Equal deadlines come in the order in which they were set. What lies beyond 584 years counts as that.
///
/// ```
/// use sterna_sansio::{KeyedHash, Rng, Seed, Time, Wheel};
/// use std::time::Duration;
///
/// let at = |seconds| Time::from_start(Duration::from_secs(seconds));
/// let mut wheel = Wheel::new(KeyedHash::new(&mut Rng::new(Seed::from(1))));
/// wheel.set("permission", at(300));
/// wheel.set("allocation", at(600));
/// wheel.set("permission", at(540));
/// assert_eq!(wheel.next(), Some(at(540)));
/// assert_eq!(wheel.expired(at(539)), None);
/// assert_eq!(wheel.expired(at(100_000)), Some("permission"));
/// assert_eq!(wheel.expired(at(100_000)), Some("allocation"));
/// assert_eq!(wheel.next(), None);
/// ```
#[derive(Clone)]
pub struct Wheel<K> {
    by_key: HashMap<K, u32, KeyedHash>,
    timers: Vec<Timer<K>>,
    free_timers: Vec<u32>,
    rings: Vec<Ring>,
    free_rings: Vec<u32>,
    /// The timer that is due first.
    first: Option<u32>,
}

/// A deadline. Those of a spoke are linked in a circle, the oldest first.
#[derive(Clone, Copy)]
struct Timer<K> {
    /// Nanoseconds after the start.
    at: u64,
    before: u32,
    after: u32,
    key: K,
}

#[derive(Clone)]
struct Ring {
    /// A bit for each spoke that is not empty.
    occupied: u64,
    spokes: [Spoke; SPOKES],
}

#[derive(Clone, Copy)]
enum Spoke {
    Empty,
    /// A circle of timers. If there are more than [`CROWD`], they are due at the same moment.
    Timers {
        oldest: u32,
        count: u32,
    },
    /// The finer ring for what belongs here.
    Finer(u32),
}

impl Ring {
    const EMPTY: Self = Self { occupied: 0, spokes: [Spoke::Empty; SPOKES] };

    fn put(&mut self, spoke: usize, what: Spoke) {
        self.spokes[spoke] = what;
        match what {
            Spoke::Empty => self.occupied &= !(1 << spoke),
            Spoke::Timers { .. } | Spoke::Finer(_) => self.occupied |= 1 << spoke,
        }
    }

    /// The first spoke that is not empty.
    fn first(&self) -> Spoke {
        self.spokes.get(self.occupied.trailing_zeros() as usize).copied().unwrap_or(Spoke::Empty)
    }
}

/// Where in a ring of `level` a deadline belongs.
fn spoke(at: u64, level: usize) -> usize {
    (at >> (BITS * level as u32)) as usize % SPOKES
}

fn nanos(at: Time) -> u64 {
    u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanos: u64) -> Time {
    Time::from_start(Duration::from_nanos(nanos))
}

impl<K: Copy + Eq + Hash> Wheel<K> {
    /// Without deadlines. `hash` is for the keys; no order depends on it.
    pub fn new(hash: KeyedHash) -> Self {
        Self {
            by_key: HashMap::with_hasher(hash),
            timers: Vec::new(),
            free_timers: Vec::new(),
            rings: vec![Ring::EMPTY],
            free_rings: Vec::new(),
            first: None,
        }
    }

    /// Sets the deadline of `key`, in place of the one it had.
    pub fn set(&mut self, key: K, at: Time) {
        self.stop(key);
        let at = nanos(at);
        let timer = Timer { at, before: 0, after: 0, key };
        let number = match self.free_timers.pop() {
            Some(number) => {
                self.timers[number as usize] = timer;
                number
            }
            None => {
                self.timers.push(timer);
                self.timers.len() as u32 - 1
            }
        };
        self.by_key.insert(key, number);
        self.place(number, ROOT, TOP);
        if self.first.is_none_or(|first| at < self.timer(first).at) {
            self.first = Some(number);
        }
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        if self.get(key).is_none_or(|old| at < old) {
            self.set(key, at);
        }
    }

    /// Removes the deadline of `key`.
    pub fn stop(&mut self, key: K) {
        if let Some(number) = self.by_key.remove(&key) {
            self.take(number);
        }
    }

    /// The deadline of `key`.
    pub fn get(&self, key: K) -> Option<Time> {
        self.by_key.get(&key).map(|number| time(self.timer(*number).at))
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Time> {
        self.first.map(|first| time(self.timer(first).at))
    }

    /// Takes out the earliest deadline that is not after `now`. Call until it returns `None`.
    pub fn expired(&mut self, now: Time) -> Option<K> {
        let first = self.first?;
        let Timer { at, key, .. } = *self.timer(first);
        if at > nanos(now) {
            return None;
        }
        self.by_key.remove(&key);
        self.take(first);
        Some(key)
    }

    fn timer(&self, number: u32) -> &Timer<K> {
        &self.timers[number as usize]
    }

    fn ring(&mut self, number: u32) -> &mut Ring {
        &mut self.rings[number as usize]
    }

    /// Puts a timer where it belongs, below a ring of `level`.
    fn place(&mut self, number: u32, mut ring: u32, mut level: usize) {
        let at = self.timer(number).at;
        loop {
            let spoke = spoke(at, level);
            match self.rings[ring as usize].spokes[spoke] {
                Spoke::Empty => {
                    self.link(number, number, number);
                    return self.ring(ring).put(spoke, Spoke::Timers { oldest: number, count: 1 });
                }
                Spoke::Timers { oldest, count } if count < CROWD || self.is_moment(oldest, count, at) => {
                    let youngest = self.timer(oldest).before;
                    self.link(youngest, number, oldest);
                    return self.ring(ring).put(spoke, Spoke::Timers { oldest, count: count + 1 });
                }
                Spoke::Timers { oldest, count } => ring = self.split(ring, spoke, level, oldest, count),
                Spoke::Finer(finer) => ring = finer,
            }
            level -= 1;
        }
    }

    /// Gives a spoke of a ring of `level` a ring of its own for the timers that are there.
    fn split(&mut self, ring: u32, spoke: usize, level: usize, oldest: u32, count: u32) -> u32 {
        let finer = match self.free_rings.pop() {
            Some(finer) => finer,
            None => {
                self.rings.push(Ring::EMPTY);
                self.rings.len() as u32 - 1
            }
        };
        self.ring(ring).put(spoke, Spoke::Finer(finer));
        let mut number = oldest;
        for _ in 0..count {
            let after = self.timer(number).after;
            self.place(number, finer, level - 1);
            number = after;
        }
        finer
    }

    /// Whether so many timers, of which there are at least [`CROWD`], are all due `at` the same moment: no finer ring
    /// tells them apart.
    fn is_moment(&self, oldest: u32, count: u32, at: u64) -> bool {
        self.timer(oldest).at == at && (count > CROWD || self.circle(oldest, count).all(|it| it.1 == at))
    }

    /// The timers of a circle, and when they are due.
    fn circle(&self, oldest: u32, count: u32) -> impl Iterator<Item = (u32, u64)> {
        let after = |(number, _): &(u32, u64)| {
            let after = self.timer(*number).after;
            Some((after, self.timer(after).at))
        };
        std::iter::successors(Some((oldest, self.timer(oldest).at)), after).take(count as usize)
    }

    /// Puts a timer between two that are neighbours.
    fn link(&mut self, before: u32, number: u32, after: u32) {
        self.timers[before as usize].after = number;
        self.timers[after as usize].before = number;
        let timer = &mut self.timers[number as usize];
        (timer.before, timer.after) = (before, after);
    }

    /// Takes a timer out, and rings that are empty then.
    fn take(&mut self, number: u32) {
        let Timer { at, before, after, .. } = *self.timer(number);
        // The rings on the way to it, by their level.
        let (mut way, mut level) = ([ROOT; TOP + 1], TOP);
        while let Spoke::Finer(finer) = self.ring(way[level]).spokes[spoke(at, level)] {
            level -= 1;
            way[level] = finer;
        }
        self.timers[before as usize].after = after;
        self.timers[after as usize].before = before;
        let here = &mut self.rings[way[level] as usize];
        match here.spokes[spoke(at, level)] {
            Spoke::Timers { oldest, count: count @ 2.. } => {
                let oldest = if oldest == number { after } else { oldest };
                here.put(spoke(at, level), Spoke::Timers { oldest, count: count - 1 });
            }
            _ => {
                here.put(spoke(at, level), Spoke::Empty);
                while level < TOP && self.ring(way[level]).occupied == 0 {
                    self.free_rings.push(way[level]);
                    level += 1;
                    self.ring(way[level]).put(spoke(at, level), Spoke::Empty);
                }
            }
        }
        self.free_timers.push(number);
        if self.first == Some(number) {
            self.first = self.find_first();
        }
    }

    /// The oldest of those that are due first.
    fn find_first(&self) -> Option<u32> {
        let mut ring = ROOT;
        loop {
            match self.rings[ring as usize].first() {
                Spoke::Empty => return None,
                Spoke::Finer(finer) => ring = finer,
                Spoke::Timers { oldest, count } if count > CROWD => return Some(oldest),
                Spoke::Timers { oldest, count } => {
                    return self.circle(oldest, count).min_by_key(|(_, at)| *at).map(|(number, _)| number);
                }
            }
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for Wheel<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |number: &u32| time(self.timers[*number as usize].at);
        f.debug_map().entries(self.by_key.iter().map(|(key, number)| (key, at(number)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rng, Seed};

    fn wheel() -> Wheel<(u64, u64)> {
        Wheel::new(KeyedHash::new(&mut Rng::new(Seed::from(1))))
    }

    fn rings_in_use(wheel: &Wheel<(u64, u64)>) -> usize {
        wheel.rings.len() - wheel.free_rings.len()
    }

    /// Bytes of timers and rings; the table of keys is the standard library's.
    fn bytes(wheel: &Wheel<(u64, u64)>) -> usize {
        let timers = wheel.timers.len() * size_of::<Timer<(u64, u64)>>();
        timers + rings_in_use(wheel) * size_of::<Ring>()
    }

    #[test]
    fn ten_thousand_deadlines_take_32_bytes_each_and_less_than_24_of_rings() {
        assert_eq!(size_of::<Timer<(u64, u64)>>(), 32);
        // Within an hour, within ten minutes, within a second, and within a millisecond.
        for within in [3_600_000_000_000, 600_000_000_000, 1_000_000_000, 1_000_000] {
            let (mut wheel, mut rng) = (wheel(), Rng::new(Seed::from(within)));
            for key in 0..10_000 {
                wheel.set((key, 0), time(rng.below(within)));
            }
            let each = bytes(&wheel) / 10_000;
            assert!((32..32 + 24).contains(&each), "{each} bytes for each of those within {within} ns");
        }
    }

    #[test]
    fn deadlines_of_one_moment_need_no_ring() {
        let mut wheel = wheel();
        for key in 0..10_000 {
            wheel.set((key, 0), time(600_000_000_000));
        }
        assert_eq!(rings_in_use(&wheel), 1);
        // One beside them does, and they are as they were.
        wheel.set((10_000, 0), time(600_000_000_001));
        assert!(rings_in_use(&wheel) <= TOP + 1);
        for key in 0..=10_000 {
            assert_eq!(wheel.expired(time(u64::MAX)), Some((key, 0)));
        }
        assert_eq!((wheel.next(), rings_in_use(&wheel)), (None, 1));
    }

    #[test]
    fn what_is_free_is_used_again() {
        let (mut wheel, mut rng) = (wheel(), Rng::new(Seed::from(1)));
        let mut fill = |wheel: &mut Wheel<(u64, u64)>| {
            (0..5000).for_each(|key| wheel.set((key, 0), time(rng.below(600_000_000_000))));
        };
        fill(&mut wheel);
        let (timers, rings) = (wheel.timers.len(), wheel.rings.len());
        for _ in 0..20 {
            // Half of them refreshed, all of them gone.
            fill(&mut wheel);
            (0..5000).for_each(|key| wheel.stop((key, 0)));
            assert_eq!((rings_in_use(&wheel), wheel.free_timers.len()), (1, timers));
            fill(&mut wheel);
        }
        assert_eq!(wheel.timers.len(), timers);
        assert!(wheel.rings.len() < rings * 3 / 2, "{} of {rings}", wheel.rings.len());
    }
}
