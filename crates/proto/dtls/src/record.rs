//! DTLS records as bytes (RFC 6347 §4.1, RFC 9147 §4): where they begin and end in a datagram, and which of them
//! may be shown to the engine.

/// Bytes of a record's header in DTLS 1.2, and of all unprotected records.
pub(crate) const HEADER: usize = 13;
/// Bytes of the explicit nonce of AES-GCM in DTLS 1.2 (RFC 5288 §3).
const EXPLICIT_NONCE: usize = 8;
/// The epoch and the sequence number, in the header.
const SEQUENCE: std::ops::Range<usize> = 3..11;
/// The sequence number without the epoch.
pub(crate) const NUMBER: std::ops::Range<usize> = 5..11;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const FATAL: u8 = 2;
/// Bytes of a handshake message's header.
pub(crate) const MESSAGE_HEADER: usize = 12;
pub(crate) const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The handshake messages that a client sends without protection, in either version: hello, certificate, its
/// verification and key exchange.
pub(crate) const FROM_CLIENT: &[u8] = &[CLIENT_HELLO, 11, 15, 16];
/// The handshake messages that a server sends without protection, in either version: hello, verify request,
/// certificate, its status, key exchange, certificate request and done.
pub(crate) const FROM_SERVER: &[u8] = &[SERVER_HELLO, 3, 11, 22, 12, 13, 14];

/// The first byte of a datagram that may be DTLS (RFC 7983 §7).
pub(crate) fn may_be_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// What was in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Bytes that are left, at the beginning of the buffer.
    pub(crate) length: usize,
    /// Records that were taken out.
    pub(crate) dropped: u64,
    /// The description of a fatal alert that nobody protected, and that anybody may have sent.
    pub(crate) alert: Option<u8>,
}

/// Takes out of a datagram the records that have no business there: unprotected alerts and application data, handshake
/// messages other than those of `welcome`, and types that are not known. What cannot be cut into records is dropped
/// from there on.
pub(crate) fn sift(datagram: &mut [u8], welcome: &[u8]) -> Kept {
    let mut kept = Kept::default();
    let mut at = 0;
    while at < datagram.len() {
        let rest = &datagram[at..];
        let Some(length) = length(rest).filter(|&length| length <= rest.len()) else {
            kept.dropped += 1;
            break;
        };
        let record = &rest[..length];
        if is_welcome(record, welcome) {
            if at != kept.length {
                datagram.copy_within(at..at + length, kept.length);
            }
            kept.length += length;
        } else {
            if record[0] == ALERT && record.get(HEADER) == Some(&FATAL) {
                kept.alert = record.get(HEADER + 1).copied();
            }
            kept.dropped += 1;
        }
        at += length;
    }
    kept
}

/// Whether a record may be shown to the engine.
fn is_welcome(record: &[u8], welcome: &[u8]) -> bool {
    if is_unified(record[0]) {
        return true;
    }
    let protected = record[3..5] != [0, 0];
    match record[0] {
        CHANGE_CIPHER_SPEC => true,
        HANDSHAKE => protected || are_whole(&record[HEADER..], welcome),
        ALERT | APPLICATION_DATA => protected,
        _ => false,
    }
}

/// Whether an unprotected record consists of whole fragments of welcome messages. The engine would keep one that does
/// not, and stumble over it in the end.
fn are_whole(body: &[u8], welcome: &[u8]) -> bool {
    let mut covered = 0;
    for fragment in Fragments(body) {
        if !welcome.contains(&fragment.kind) {
            return false;
        }
        covered += MESSAGE_HEADER + fragment.to - fragment.from;
    }
    covered > 0 && covered == body.len()
}

/// A part of a handshake message (RFC 6347 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) kind: u8,
    /// The message's number and length.
    pub(crate) message: u16,
    pub(crate) length: usize,
    /// Which bytes of the message these are.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// The fragments in the body of an unprotected record. Ends early at one that is not whole.
struct Fragments<'a>(&'a [u8]);

impl Iterator for Fragments<'_> {
    type Item = Fragment;

    fn next(&mut self) -> Option<Fragment> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (header, rest) = self.0.split_first_chunk::<MESSAGE_HEADER>()?;
        let (length, from, bytes) = (number(&header[1..4]), number(&header[6..9]), number(&header[9..12]));
        if from + bytes > length || bytes > rest.len() {
            return None;
        }
        self.0 = &rest[bytes..];
        let message = u16::from_be_bytes([header[4], header[5]]);
        Some(Fragment { kind: header[0], message, length, from, to: from + bytes })
    }
}

/// The handshake fragments of the unprotected records of a datagram.
pub(crate) fn fragments(mut datagram: &[u8]) -> impl Iterator<Item = Fragment> + '_ {
    std::iter::from_fn(move || {
        let record = datagram.get(..length(datagram)?)?;
        datagram = &datagram[record.len()..];
        Some(record)
    })
    .filter(|record| record[0] == HANDSHAKE && record[3..5] == [0, 0])
    .flat_map(|record| Fragments(&record[HEADER..]))
}

/// Whether this is the first byte of a protected record of DTLS 1.3 (RFC 9147 §4).
fn is_unified(byte: u8) -> bool {
    byte & 0b1110_0000 == 0b0010_0000
}

/// The length of the record at the beginning of `bytes`, header included.
fn length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    if !is_unified(*bytes.first()?) {
        return Some(HEADER + number(11)?);
    }
    let flags = bytes[0];
    // We never agree on connection ids, so a record that has one is not ours.
    if flags & 0b1_0000 != 0 {
        return None;
    }
    let header = 1 + if flags & 0b1000 != 0 { 2 } else { 1 };
    if flags & 0b100 == 0 { Some(bytes.len()) } else { Some(header + 2 + number(header)?) }
}

/// The records of a datagram that we made.
fn records(datagram: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let bytes = std::mem::take(&mut rest);
        let length = length(bytes).filter(|&length| length <= bytes.len())?;
        let (record, others) = bytes.split_at_mut(length);
        rest = others;
        Some(record)
    })
}

/// Writes into each protected record of DTLS 1.2 the explicit nonce that it was sealed with: see `provider.rs`.
pub(crate) fn write_nonces(datagram: &mut [u8]) {
    for record in records(datagram) {
        if !is_unified(record[0]) && record[3..5] != [0, 0] && record.len() >= HEADER + EXPLICIT_NONCE {
            record.copy_within(SEQUENCE, HEADER);
        }
    }
}

/// Adds to the sequence numbers of the unprotected records that we made.
pub(crate) fn renumber(datagram: &mut [u8], by: u64) {
    for record in records(datagram) {
        if !is_unified(record[0]) && record[3..5] == [0, 0] {
            let number = &mut record[NUMBER];
            let sum = number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)).wrapping_add(by);
            number.copy_from_slice(&sum.to_be_bytes()[2..]);
        }
    }
}

/// The cipher suite that a ServerHello in this datagram chooses (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3).
pub(crate) fn chosen_suite(datagram: &[u8]) -> Option<u16> {
    const VERSION_AND_RANDOM: usize = 2 + 32;
    let mut rest = datagram;
    loop {
        let record = rest.get(..length(rest)?)?;
        rest = &rest[record.len()..];
        let Some(message) = record.get(HEADER..) else { continue };
        if record[0] != HANDSHAKE || record[3..5] != [0, 0] || message.first() != Some(&SERVER_HELLO) {
            continue;
        }
        let hello = message.get(MESSAGE_HEADER..)?;
        let session = usize::from(*hello.get(VERSION_AND_RANDOM)?);
        let suite = hello.get(VERSION_AND_RANDOM + 1 + session..)?;
        return Some(u16::from_be_bytes([*suite.first()?, *suite.get(1)?]));
    }
}

/// A fatal alert without protection, for a handshake that is given up before there are keys.
pub(crate) fn plain_alert(description: u8) -> [u8; HEADER + 2] {
    // A sequence number far ahead, so that it is not taken for a replay.
    let mut record = [0; HEADER + 2];
    record[..HEADER].copy_from_slice(&[ALERT, 0xfe, 0xfd, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    record[HEADER..].copy_from_slice(&[FATAL, description]);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 7, 0, body.len() as u8];
        record.extend(body);
        record
    }

    #[test]
    fn unprotected_alerts_and_data_are_taken_out() {
        let hello = plain(HANDSHAKE, 0, b"\x01\0\0\x05\0\0\0\0\0\0\0\x05hello");
        let sealed = plain(APPLICATION_DATA, 1, b"sealed");
        let unified = [0b0010_1111, 0, 1, 0, 3, 9, 9, 9];
        let mut datagram = [
            &hello[..],
            &plain(APPLICATION_DATA, 0, b"anybody"),
            &sealed,
            &plain(ALERT, 0, &[FATAL, 40]),
            &plain(99, 0, b"?"),
            &plain(HANDSHAKE, 0, b"\x01\0\0\x05\0\0\0\0\0\0\0\x05hell"),
            &unified,
            &[HANDSHAKE, 0xfe],
        ]
        .concat();
        let kept = sift(&mut datagram, FROM_CLIENT);
        assert_eq!((kept.dropped, kept.alert), (5, Some(40)));
        assert_eq!(datagram[..kept.length], [&hello[..], &sealed, &unified].concat());
    }

    #[test]
    fn nonces_become_sequence_numbers() {
        let mut datagram = [plain(HANDSHAKE, 0, &[9; 20]), plain(HANDSHAKE, 1, &[9; 20])].concat();
        write_nonces(&mut datagram);
        assert_eq!(datagram[HEADER..HEADER + 20], [9; 20]);
        let second = &datagram[HEADER + 20..];
        assert_eq!(second[HEADER..HEADER + 8], second[SEQUENCE]);
        assert_eq!(second[HEADER + 8..], [9; 12]);
    }

    #[test]
    fn unprotected_records_are_renumbered_and_protected_ones_are_not() {
        let mut datagram = [plain(HANDSHAKE, 0, &[9; 20]), plain(HANDSHAKE, 1, &[9; 20])].concat();
        let before = datagram.clone();
        renumber(&mut datagram, 0x1_00);
        assert_eq!(datagram[NUMBER], [0, 0, 0, 0, 1, 7]);
        assert_eq!(datagram[NUMBER.end..], before[NUMBER.end..]);
    }

    #[test]
    fn an_alert_of_ours_is_an_unprotected_alert() {
        let mut alert = plain_alert(42);
        assert!(may_be_dtls(&alert));
        assert_eq!(sift(&mut alert, FROM_CLIENT), Kept { length: 0, dropped: 1, alert: Some(42) });
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            chosen_suite(&bytes);
            write_nonces(&mut bytes.clone());
            let kept = sift(&mut bytes, FROM_SERVER);
            fragments(&bytes).for_each(drop);
            prop_assert!(kept.length <= bytes.len());
        }
    }
}
