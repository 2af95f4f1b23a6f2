/// Whether a sequence number comes after another, in the half of the circle that lies before it.
pub fn newer(number: u16, than: u16) -> bool {
    number != than && number.wrapping_sub(than) < 0x8000
}

/// Numbers that go around, unrolled: 65,535, 0, 1 become 65,535, 65,536, 65,537.
///
/// Each number is taken to be the one that lies nearest to the highest so far. The first ones lie far above zero, so
/// that those which came before them and were overtaken have a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unroller {
    highest: Option<u64>,
}

impl Unroller {
    /// The unrolled number, which is remembered if it is the highest.
    pub fn unroll(&mut self, number: u16) -> u64 {
        let unrolled = self.peek(number);
        if self.highest.is_none_or(|highest| unrolled > highest) {
            self.highest = Some(unrolled);
        }
        unrolled
    }

    /// The unrolled number, without remembering it.
    pub fn peek(&self, number: u16) -> u64 {
        let Some(highest) = self.highest else { return FIRST + u64::from(number) };
        let ahead = number.wrapping_sub(highest as u16);
        if ahead < 0x8000 {
            highest + u64::from(ahead)
        } else {
            // Whoever goes back so often that he would come below zero stays at the bottom.
            highest.saturating_sub(u64::from(ahead.wrapping_neg()))
        }
    }

    /// The highest so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// What is added to the first number.
const FIRST: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unrolled_across_the_end_both_ways() {
        let mut unroller = Unroller::default();
        let first = unroller.unroll(65_534);
        for (number, distance) in [(65_535, 1), (1, 3), (0, 2), (65_533, -1), (40_000, -25_534), (2, 4)] {
            assert_eq!(unroller.unroll(number) as i64 - first as i64, distance, "{number}");
        }
        assert_eq!(unroller.highest(), Some(first + 4));
        let mut early = Unroller::default();
        let first = early.unroll(0);
        assert_eq!(early.unroll(65_535), first - 1);
    }

    #[test]
    fn half_a_circle_ahead_is_newer() {
        assert!(newer(1, 0) && newer(0, 65_535) && newer(0x7fff, 0));
        assert!(!newer(0, 0) && !newer(0x8000, 0) && !newer(65_535, 0));
    }
}
