use std::fmt;
use std::hash::{BuildHasher, Hasher};

use crate::Rng;

/// A fast hash for tables whose keys strangers choose, such as addresses.
///
/// Two multiplications and an exclusive or a word, with a secret key: nobody outside can aim at one bucket. For nothing
/// else: it does not hide what it hashes. No table's order may influence what a machine does.
#[derive(Clone)]
pub struct KeyedHash {
    start: u64,
    factor: u64,
}

impl KeyedHash {
    /// With a key of its own.
    pub fn new(rng: &mut Rng) -> Self {
        // Odd, so that no bit of a word is multiplied away.
        Self { start: rng.next_u64(), factor: rng.next_u64() | 1 }
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash")
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.start, factor: self.factor }
    }
}

/// What [`KeyedHash`] makes.
#[derive(Clone)]
pub struct KeyedHasher {
    state: u64,
    factor: u64,
}

impl fmt::Debug for KeyedHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHasher")
    }
}

impl Hasher for KeyedHasher {
    #[inline]
    fn finish(&self) -> u64 {
        fold(self.state, self.factor)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value, self.factor);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// Every bit of both reaches every bit.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use super::*;
    use crate::Seed;

    #[test]
    fn neighbouring_addresses_spread_over_the_buckets_and_differently_under_another_key() {
        let buckets = |seed| {
            let hash = KeyedHash::new(&mut Rng::new(Seed::from(seed)));
            let of = |port: u16| hash.hash_one(SocketAddr::from(([192, 0, 2, 1], port)));
            (1..=1024).map(|port| (of(port) % 1024, of(port) >> 57)).collect::<Vec<_>>()
        };
        let (one, other) = (buckets(1), buckets(2));
        assert_ne!(one, other);
        for spread in [one, other] {
            let low: BTreeSet<u64> = spread.iter().map(|(low, _)| *low).collect();
            let high: BTreeSet<u64> = spread.iter().map(|(_, high)| *high).collect();
            // Of 1024 balls in as many boxes, 647 boxes get one on average.
            assert!((580..720).contains(&low.len()), "{}", low.len());
            assert_eq!(high.len(), 128);
        }
    }
}
