use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng};

/// What a machine's random generator starts from. Secret in production, fixed in tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl From<u64> for Seed {
    /// For tests and simulations: 64 bits are too few for production.
    fn from(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A machine's own random generator: cryptographically secure, and a pure function of its [`Seed`].
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator that starts from `seed`.
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// An array of random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number from all of `u32`.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number from all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `0..bound`, without bias.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "the range is empty");
        let zone = u64::MAX - (u64::MAX - bound + 1) % bound;
        loop {
            let number = self.next_u64();
            if number <= zone {
                return number % bound;
            }
        }
    }

    /// A number from `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A seed for a child, so that the child's draws do not change the parent's.
    pub fn fork(&mut self) -> Seed {
        Seed(self.bytes())
    }

    /// `length` characters of the 64 that ICE allows (`ice-char`, RFC 8839 §5.1): 6 random bits each.
    pub fn ice_chars(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..length).map(|_| ALPHABET[(self.next_u32() & 63) as usize] as char).collect()
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers() {
        let (mut a, mut b) = (Rng::new(Seed::from(7)), Rng::new(Seed::from(7)));
        assert_eq!(a.bytes::<32>(), b.bytes::<32>());
        assert_eq!(a.ice_chars(24), b.ice_chars(24));
        assert_ne!(a.bytes::<32>(), Rng::new(Seed::from(8)).bytes::<32>());
    }

    /// TC1 of draft-strombergson-chacha-test-vectors-01: 12 rounds, a key of 256 bits that are 0.
    #[test]
    fn it_is_chacha_with_12_rounds_and_nothing_weaker() {
        let known = [
            0x9bf4_9a6a,
            0x0755_f953,
            0x811f_ce12,
            0x5f26_83d5,
            0x0429_c3bb,
            0x49e0_7414,
            0x7e00_89a5,
            0x2eae_155f,
            0x0564_f879,
            0xd27a_e3c0,
            0x2ce8_2834,
            0xacfa_8c79,
            0x3a62_9f2c,
            0xa0de_6919,
            0x610b_e82f,
            0x4113_26be_u32,
        ];
        let drawn: [u8; 64] = Rng::new(Seed([0; 32])).bytes();
        assert_eq!(drawn.to_vec(), known.map(u32::to_be_bytes).concat());
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_all_of_it() {
        let mut rng = Rng::new(Seed::from(1));
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[rng.below(6) as usize] += 1;
            let unit = rng.unit();
            assert!((0.0..1.0).contains(&unit));
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }

    #[test]
    fn a_seed_does_not_show_itself() {
        assert_eq!(format!("{:?}", Seed::from(7)), "Seed(..)");
    }
}
