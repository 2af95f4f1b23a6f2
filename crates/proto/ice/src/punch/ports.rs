use sansio::Rng;

/// The ports that a NAT may have given out: all but the well-known ones.
const FIRST: u32 = 1024;
const COUNT: u32 = 65_536 - FIRST;
/// From one port to the next: COUNT divided by the golden ratio, and without a common divisor with COUNT. Whenever one
/// stops, the ports that were tried lie almost evenly (Weyl), and none came twice. Against ports that were given out at
/// random this is as good as any other order; a row of neighbours is hit for certain after about 1.2 · COUNT / length.
const STRIDE: u32 = 39_871;

/// In which order ports are tried that nobody knows.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    at: u32,
}

impl Ports {
    /// From a random one on.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self { at: rng.below(COUNT.into()) as u32 }
    }

    /// The next port.
    pub(crate) fn next(&mut self) -> u16 {
        self.at = (self.at + STRIDE) % COUNT;
        (FIRST + self.at) as u16
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sansio::Seed;

    use super::*;

    #[test]
    fn every_port_comes_once() {
        let mut ports = Ports::new(&mut Rng::new(Seed::from(1)));
        let all: BTreeSet<u16> = (0..COUNT).map(|_| ports.next()).collect();
        assert_eq!((all.len() as u32, all.first()), (COUNT, Some(&1024)));
    }

    #[test]
    fn a_row_of_256_is_hit_within_450() {
        for seed in 0..50 {
            let mut ports = Ports::new(&mut Rng::new(Seed::from(seed)));
            let tried: BTreeSet<u16> = (0..450).map(|_| ports.next()).collect();
            let mut last = 1023;
            for port in tried.into_iter().map(u32::from).chain([65_536]) {
                assert!(port - last <= 256, "nothing between {last} and {port}");
                last = port;
            }
        }
    }
}
