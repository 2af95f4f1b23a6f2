use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use sansio::Rng;

/// The ports of one relay address: which are taken, and which comes next.
///
/// The next one is random (RFC 6056 §3.3.1, and CVE-2025-69217): whoever can guess relayed ports can send to
/// allocations that nobody told him of.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    taken: BTreeSet<u16>,
}

/// Draws before the search goes through the range one by one.
const DRAWS: usize = 16;

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, taken: BTreeSet::new() }
    }

    /// Takes a free port at random; with `even`, an even one (RFC 8656 §18.7).
    pub(crate) fn draw(&mut self, rng: &mut Rng, even: bool) -> Option<u16> {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let size = (last + 1).checked_sub(first).filter(|size| *size > 0)?;
        let fits = |port: &u16| !(self.taken.contains(port) || even && !port.is_multiple_of(2));
        let port = |offset: u32| (first + offset % size) as u16;
        let port = (0..DRAWS).map(|_| port(rng.below(size.into()) as u32)).find(&fits).or_else(|| {
            let start = rng.below(size.into()) as u32;
            (0..size).map(|step| port(start + step)).find(&fits)
        })?;
        self.taken.insert(port);
        Some(port)
    }

    /// Takes an even port and the one after it, and returns the even one (RFC 8656 §7.2).
    pub(crate) fn draw_pair(&mut self, rng: &mut Rng) -> Option<u16> {
        let (first, last) =
            (u32::from(*self.range.start()).div_ceil(2), u32::from(*self.range.end()).div_ceil(2));
        let size = last.checked_sub(first).filter(|size| *size > 0)?;
        let start = rng.below(size.into()) as u32;
        let pairs = (0..size).map(|step| (2 * (first + (start + step) % size)) as u16);
        let free = |port: &u16| !self.taken.contains(port) && !self.taken.contains(&(port + 1));
        let port = { pairs }.find(free)?;
        self.taken.extend([port, port + 1]);
        Some(port)
    }

    /// Whether none is taken.
    pub(crate) fn all_free(&self) -> bool {
        self.taken.is_empty()
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Seed;

    #[test]
    fn every_port_is_drawn_once_and_again_when_released() {
        let mut rng = Rng::new(Seed::from(1));
        let mut ports = Ports::new(50_000..=50_099);
        let drawn: BTreeSet<u16> = (0..100).map(|_| ports.draw(&mut rng, false).unwrap()).collect();
        assert_eq!(drawn, (50_000..=50_099).collect());
        assert_eq!(ports.draw(&mut rng, false), None);
        ports.release(50_042);
        assert_eq!(ports.draw(&mut rng, false), Some(50_042));
    }

    #[test]
    fn even_ports_are_even_and_run_out_alone() {
        let mut rng = Rng::new(Seed::from(2));
        let mut ports = Ports::new(50_000..=50_009);
        for _ in 0..5 {
            assert!(ports.draw(&mut rng, true).unwrap().is_multiple_of(2));
        }
        assert_eq!(ports.draw(&mut rng, true), None);
        assert!(ports.draw(&mut rng, false).is_some());
    }

    #[test]
    fn pairs_are_an_even_port_and_the_next_and_lie_within_the_range() {
        let mut rng = Rng::new(Seed::from(4));
        for (range, pairs) in
            [(50_001..=50_010, 4), (50_000..=50_009, 5), (65_534..=65_535, 1), (65_535..=65_535, 0)]
        {
            let mut ports = Ports::new(range.clone());
            let drawn: BTreeSet<u16> = std::iter::from_fn(|| ports.draw_pair(&mut rng)).collect();
            assert_eq!(drawn.len(), pairs, "{range:?}");
            for port in drawn {
                assert!(port.is_multiple_of(2) && range.contains(&port) && range.contains(&(port + 1)));
                assert!(ports.taken.contains(&(port + 1)));
            }
        }
        let mut ports = Ports::new(50_000..=50_001);
        assert!(ports.draw(&mut rng, false).is_some());
        assert_eq!(ports.draw_pair(&mut rng), None, "half of it is taken");
    }

    #[test]
    fn the_ends_of_the_range_do_not_wrap() {
        let mut rng = Rng::new(Seed::from(3));
        let mut ports = Ports::new(65_535..=65_535);
        assert_eq!(ports.draw(&mut rng, false), Some(65_535));
        assert_eq!(ports.draw(&mut rng, false), None);
        #[allow(clippy::reversed_empty_ranges)]
        let mut none = Ports::new(9..=8);
        assert_eq!(none.draw(&mut rng, false), None);
    }

    #[test]
    fn ports_follow_no_order_and_differ_from_seed_to_seed() {
        let draws = |seed| {
            let mut rng = Rng::new(Seed::from(seed));
            let mut ports = Ports::new(49_152..=65_535);
            (0..50).map(|_| ports.draw(&mut rng, false).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        let steps: BTreeSet<i32> = draws(1).windows(2).map(|w| i32::from(w[1]) - i32::from(w[0])).collect();
        assert!(steps.len() > 45, "{steps:?}");
    }
}
