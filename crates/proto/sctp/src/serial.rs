//! Numbers that wrap around (TSN, SSN, MID), unrolled: inside, everything counts with 64 bits, which order like any
//! numbers do, and only the wire sees the lower ones.

/// Where counting begins: so far from 0 that nothing before it is negative.
pub(crate) const START: u64 = 1 << 40;

/// The unrolled number that is nearest to `near` among those whose lower 32 bits are `number`.
pub(crate) fn unroll32(near: u64, number: u32) -> u64 {
    near.saturating_add_signed(i64::from(number.wrapping_sub(near as u32) as i32))
}

/// The unrolled number that is nearest to `near` among those whose lower 16 bits are `number`.
pub(crate) fn unroll16(near: u64, number: u16) -> u64 {
    near.saturating_add_signed(i64::from(number.wrapping_sub(near as u16) as i16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_is_found(near in START..START << 1, distance in -0x7fff_ffff_i64..0x7fff_ffff) {
            let number = near.saturating_add_signed(distance);
            prop_assert_eq!(unroll32(near, number as u32), number);
            let number = near.saturating_add_signed(distance % 0x7fff);
            prop_assert_eq!(unroll16(near, number as u16), number);
        }
    }
}
