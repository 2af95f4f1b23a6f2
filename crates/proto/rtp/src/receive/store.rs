use std::collections::BTreeMap;

use sansio::Time;

use crate::codecs::PayloadInfo;

/// A packet that waits for its turn.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
    pub(super) arrived: Time,
    /// What the payload is part of; `None` for padding, and for what is no payload of the format.
    pub(super) info: Option<PayloadInfo>,
}

/// The packets that wait, by their unrolled numbers.
pub(super) type Store = BTreeMap<u64, Stored>;

/// Where the next frame ends, one past its last packet, if all of it is there.
///
/// A picture ends with the marker, or where another timestamp begins (RFC 3550 §5.1 leaves the marker to the format);
/// sound is one packet.
pub(super) fn frame_end(store: &Store, next: u64, is_audio: bool) -> Option<u64> {
    let timestamp = store.get(&next)?.timestamp;
    let mut end = next;
    for (number, packet) in store.range(next..) {
        if *number != end {
            return None;
        }
        if packet.timestamp != timestamp {
            return Some(end);
        }
        end += 1;
        if is_audio || packet.marker {
            return Some(end);
        }
    }
    None
}

/// The first number that is missing before one that is there.
pub(super) fn hole(store: &Store, next: u64) -> Option<u64> {
    let (last, _) = store.last_key_value()?;
    // Mostly nothing is missing.
    if last + 1 - next == store.len() as u64 {
        return None;
    }
    store.keys().zip(next..).find(|(number, expected)| *number != expected).map(|(_, expected)| expected)
}

/// The next number from which a decoder can begin.
pub(super) fn entrance(store: &Store, from: u64, is_audio: bool) -> Option<u64> {
    let is_entrance =
        |packet: &Stored| packet.info.is_some_and(|info| is_audio || info.starts && info.key_frame);
    store.range(from..).find(|(_, packet)| is_entrance(packet)).map(|(number, _)| *number)
}
