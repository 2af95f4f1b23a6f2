use bytes::{Bytes, BytesMut};

use crate::chunk::{Data, flag};

/// The most that is set aside for a message before it has come.
const MOST_GUESSED: usize = 256 * 1024;

/// Messages in part for which so much may be set aside at the same time.
const MOST_SET_ASIDE: usize = 64;

/// Fragments, or messages in part, that are held at most.
pub(crate) const MOST_PIECES: usize = 65_536;

/// What a message in part, and a fragment that continues nothing yet, cost beyond their bytes.
const COST: (usize, usize) = (256, 64);

/// What so many messages in part and fragments that continue nothing cost beyond their bytes.
pub(crate) fn cost(parts: usize, loose: usize) -> usize {
    parts * COST.0 + loose * COST.1
}

/// A message that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) protocol: u32,
    pub(crate) data: Bytes,
}

/// A message that is whole, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    /// Its unrolled number.
    pub(crate) number: u64,
    pub(crate) message: Message,
}

/// Fragments that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Bytes that are not held any more, those of the fragment that showed it among them.
    pub(crate) dropped: usize,
}

/// A message from its beginning on, as far as it has come.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    pub(crate) number: u64,
    protocol: u32,
    bytes: BytesMut,
}

impl Assembly {
    /// One that begins with `data`. `guess` is how long it may become, and `others` how many there are beside it.
    pub(crate) fn begin(data: &Data<'_>, number: u64, guess: usize, others: usize) -> Self {
        let aside = if others < MOST_SET_ASIDE { guess.min(MOST_GUESSED) } else { 0 };
        let mut bytes = BytesMut::with_capacity(aside.max(data.payload.len()));
        bytes.extend_from_slice(data.payload);
        let unordered = data.has(flag::UNORDERED);
        Self { stream: data.stream, unordered, number, protocol: data.protocol, bytes }
    }

    pub(crate) fn append(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn finish(self) -> Assembled {
        let message = Message { protocol: self.protocol, data: self.bytes.freeze() };
        Assembled { stream: self.stream, unordered: self.unordered, number: self.number, message }
    }
}

/// A message of one fragment.
pub(crate) fn whole(data: &Data<'_>, number: u64) -> Assembled {
    let message = Message { protocol: data.protocol, data: Bytes::copy_from_slice(data.payload) };
    Assembled { stream: data.stream, unordered: data.has(flag::UNORDERED), number, message }
}
