//! Cuts pieces of bytes at the borders of datagrams.

use std::io::IoSlice;

/// A cursor over pieces of bytes that yields one datagram's pieces at a time.
pub(crate) struct Segments<'a> {
    pieces: &'a [IoSlice<'a>],
    /// Bytes of the first piece that are used up.
    offset: usize,
    segment: usize,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(pieces: &'a [IoSlice<'a>], segment: usize) -> Self {
        Self { pieces, offset: 0, segment: segment.max(1) }
    }

    /// Puts the pieces of the next datagram into `out` and returns its length; 0 at the end.
    ///
    /// If the datagram has more pieces than `out` has room for, nothing is consumed and `None` is returned.
    pub(crate) fn next_into(&mut self, out: &mut Vec<IoSlice<'a>>, room: usize) -> Option<usize> {
        let (start, before) = (out.len(), (self.pieces, self.offset));
        let mut length = 0;
        while length < self.segment {
            let Some(piece) = self.pieces.first() else { break };
            // The pieces outlive the cursor, so the slice is taken from `self.pieces`, not from `self`.
            let rest: &'a [u8] = &self.pieces_first_bytes()[self.offset..];
            let take = rest.len().min(self.segment - length);
            if take > 0 {
                if out.len() == room {
                    out.truncate(start);
                    (self.pieces, self.offset) = before;
                    return None;
                }
                out.push(IoSlice::new(&rest[..take]));
                length += take;
            }
            if self.offset + take == piece.len() {
                self.pieces = &self.pieces[1..];
                self.offset = 0;
            } else {
                self.offset += take;
            }
        }
        Some(length)
    }

    fn pieces_first_bytes(&self) -> &'a [u8] {
        let pieces: &'a [IoSlice<'a>] = self.pieces;
        &pieces[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]], segment: usize, room: usize) -> Vec<Vec<u8>> {
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut segments = Segments::new(&pieces, segment);
        let (mut all, mut out) = (Vec::new(), Vec::new());
        loop {
            match segments.next_into(&mut out, room) {
                Some(0) => return all,
                Some(length) => {
                    let bytes: Vec<u8> = out.iter().flat_map(|piece| piece.to_vec()).collect();
                    assert_eq!(bytes.len(), length);
                    all.push(bytes);
                    out.clear();
                }
                None => panic!("a datagram has more than {room} pieces"),
            }
        }
    }

    #[test]
    fn datagrams_are_cut_wherever_the_pieces_end() {
        let whole: Vec<u8> = (0..23).collect();
        for segment in 1..25 {
            let expected: Vec<Vec<u8>> = whole.chunks(segment).map(<[u8]>::to_vec).collect();
            for cut_at in 0..=23 {
                let (left, right) = whole.split_at(cut_at);
                assert_eq!(cut(&[left, &[], right], segment, 3), expected, "{segment} {cut_at}");
            }
        }
    }

    #[test]
    fn a_datagram_in_too_many_pieces_is_left_where_it_is() {
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b"cd")];
        let mut segments = Segments::new(&pieces, 4);
        let mut out = Vec::new();
        assert_eq!(segments.next_into(&mut out, 1), None);
        assert!(out.is_empty());
        assert_eq!(segments.next_into(&mut out, 2), Some(4));
        assert_eq!(segments.next_into(&mut out, 2), Some(0));
    }
}
