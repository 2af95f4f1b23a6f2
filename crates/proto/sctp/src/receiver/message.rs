use bytes::{Bytes, BytesMut};

/// The most that is set aside for a message before it has come.
const MOST_GUESSED: usize = 256 * 1024;

/// Fragments, or messages in part, that are held at most.
pub(crate) const MOST_PIECES: usize = 65_536;

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
    /// `guess`: how long it may become.
    pub(crate) fn new(stream: u16, unordered: bool, number: u64, protocol: u32, guess: usize) -> Self {
        let bytes = BytesMut::with_capacity(guess.min(MOST_GUESSED));
        Self { stream, unordered, number, protocol, bytes }
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
pub(crate) fn whole(stream: u16, unordered: bool, number: u64, protocol: u32, payload: &[u8]) -> Assembled {
    let message = Message { protocol, data: Bytes::copy_from_slice(payload) };
    Assembled { stream, unordered, number, message }
}
