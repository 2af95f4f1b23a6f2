/// Cuts bytes into the fewest pieces of at most `max`, which are equally long but for the last: equal packets leave
/// in one system call.
pub(super) fn split(bytes: &[u8], max: usize) -> impl ExactSizeIterator<Item = &[u8]> {
    let pieces = bytes.len().div_ceil(max).max(1);
    bytes.chunks(bytes.len().div_ceil(pieces).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_alike() {
        let lengths = |length: usize, max| split(&vec![0; length], max).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(10, 10), [10]);
        assert_eq!(lengths(11, 10), [6, 5]);
        assert_eq!(lengths(2401, 1200), [801, 801, 799]);
    }
}
