//! What RE-CONFIG chunks (RFC 6525) say that the engine takes amiss.
//!
//! A request to reset streams carries, besides its own number, a *response sequence number*: that of the other side's
//! request that was seen last (RFC 6525 §4.1). The engine takes it for an answer, which it mostly is: "performed".
//! But a request that the peer has seen may have been *deferred*, because DATA is missing that was sent before it. The
//! engine then sends its next request too early, is refused, and the number of that stream is spoilt for ever.

use crate::packet::{CHUNK_HEADER, padded, u16_at, u32_at};

const OUTGOING_RESET: u16 = 13;
const RESPONSE: u16 = 16;
/// The result of a request that is deferred (RFC 6525 §4.4).
const IN_PROGRESS: u32 = 6;

/// One direction: the requests of one side, and what the other says to them.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The request that was deferred, until it is answered for good.
    deferred: Option<u32>,
}

impl Answers {
    /// Looks at the answers in a RE-CONFIG chunk. First for all chunks that come together: the engine sends the request
    /// that follows from an answer before the answer.
    pub(crate) fn learn(&mut self, chunk: &[u8]) {
        for (at, kind) in parameters(chunk) {
            match (kind, u32_at(chunk, at + 4), u32_at(chunk, at + 8)) {
                (RESPONSE, Some(number), Some(IN_PROGRESS)) => self.deferred = Some(number),
                (RESPONSE, Some(number), _) if self.deferred == Some(number) => self.deferred = None,
                _ => {}
            }
        }
    }

    /// Corrects the requests in a RE-CONFIG chunk of the side that answers: none of them names a request that it has
    /// deferred as the last one seen, but the one before.
    pub(crate) fn correct(&self, chunk: &[u8]) -> Vec<u8> {
        let mut corrected = chunk.to_vec();
        for (at, kind) in parameters(chunk) {
            if let (OUTGOING_RESET, Some(seen)) = (kind, u32_at(chunk, at + 8))
                && self.deferred == Some(seen)
            {
                corrected[at + 8..at + 12].copy_from_slice(&seen.wrapping_sub(1).to_be_bytes());
            }
        }
        corrected
    }
}

/// Where the parameters of a chunk begin, and their types.
fn parameters(chunk: &[u8]) -> impl Iterator<Item = (usize, u16)> {
    let mut at = CHUNK_HEADER;
    std::iter::from_fn(move || {
        let (here, kind, length) = (at, u16_at(chunk, at)?, u16_at(chunk, at + 2)?);
        at += padded(usize::from(length).max(4));
        Some((here, kind))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(number: u32, result: u32) -> Vec<u8> {
        [&[130, 0, 0, 16, 0, 16, 0, 12][..], &number.to_be_bytes(), &result.to_be_bytes()].concat()
    }

    fn request(number: u32, seen: u32) -> Vec<u8> {
        let head = [130, 0, 0, 22, 0, 13, 0, 18];
        [&head[..], &number.to_be_bytes(), &seen.to_be_bytes(), &[0, 0, 0, 9], &[0, 1]].concat()
    }

    #[test]
    fn a_deferred_request_is_not_named_before_it_is_answered() {
        let mut answers = Answers::default();
        assert_eq!(answers.correct(&request(100, 5)), request(100, 5));
        answers.learn(&response(6, IN_PROGRESS));
        assert_eq!(answers.correct(&request(101, 6)), request(101, 5));
        assert_eq!(answers.correct(&request(102, 4)), request(102, 4));
        answers.learn(&response(6, 1));
        assert_eq!(answers.correct(&request(103, 6)), request(103, 6));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_are_added(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let mut answers = Answers { deferred: Some(0) };
            for chunk in chunks {
                answers.learn(&chunk);
                prop_assert_eq!(answers.correct(&chunk).len(), chunk.len());
            }
        }
    }
}
