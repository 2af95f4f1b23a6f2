//! DTLS records as bytes (RFC 6347 §4.1, RFC 9147 §4): where they begin and end in a datagram.

/// Bytes of a record's header in DTLS 1.2, and of all unprotected records.
pub(crate) const HEADER: usize = 13;
/// The sequence number without the epoch, in that header.
pub(crate) const NUMBER: std::ops::Range<usize> = 5..11;
/// The version that all records name that name one.
pub(crate) const VERSION: [u8; 2] = [0xfe, 0xfd];

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;
pub(crate) const ACK: u8 = 26;

pub(crate) const WARNING: u8 = 1;
pub(crate) const FATAL: u8 = 2;

/// A record, whole, with its header.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// With the header of DTLS 1.2; protected if its epoch is not 0.
    Long { kind: u8, epoch: u16, sequence: u64, bytes: &'a mut [u8] },
    /// With the unified header of DTLS 1.3 (RFC 9147 §4): the low bits of its epoch, and how long the header is.
    Unified { epoch: u8, header: usize, bytes: &'a mut [u8] },
}

/// The first byte of a datagram that may be DTLS (RFC 7983 §7).
pub(crate) fn may_be_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Cuts the first record off a datagram. `None`: there is none, or what there is makes no sense.
pub(crate) fn split(datagram: &mut [u8]) -> Option<(Record<'_>, &mut [u8])> {
    let first = *datagram.first()?;
    let number =
        |at: usize| Some(usize::from(u16::from_be_bytes([*datagram.get(at)?, *datagram.get(at + 1)?])));
    if !is_unified(first) {
        let length = HEADER + number(11)?;
        let epoch = u16::from_be_bytes([datagram[3], datagram[4]]);
        let sequence = datagram[NUMBER].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let (bytes, rest) = datagram.split_at_mut_checked(length)?;
        return Some((Record::Long { kind: first, epoch, sequence, bytes }, rest));
    }
    // We never agree on connection ids, so a record that has one is not ours.
    if first & 0b1_0000 != 0 {
        return None;
    }
    let short = 1 + if first & 0b1000 != 0 { 2 } else { 1 };
    let (header, length) = match first & 0b100 {
        0 => (short, datagram.len()),
        _ => (short + 2, short + 2 + number(short)?),
    };
    let (bytes, rest) = datagram.split_at_mut_checked(length)?;
    Some((Record::Unified { epoch: first & 0b11, header, bytes }, rest))
}

/// Whether this is the first byte of a protected record of DTLS 1.3 (RFC 9147 §4).
fn is_unified(byte: u8) -> bool {
    byte & 0b1110_0000 == 0b0010_0000
}

/// The header of an unprotected record, or of a protected one of DTLS 1.2.
pub(crate) fn header(kind: u8, epoch: u16, sequence: u64, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = kind;
    header[1..3].copy_from_slice(&VERSION);
    header[3..11].copy_from_slice(&sequence.to_be_bytes());
    header[3..5].copy_from_slice(&epoch.to_be_bytes());
    header[11..].copy_from_slice(&(length as u16).to_be_bytes());
    header
}

/// A fatal alert without protection, for a handshake that is given up before there are keys.
pub(crate) fn plain_alert(description: u8) -> [u8; HEADER + 2] {
    let mut record = [0; HEADER + 2];
    // A sequence number far ahead, so that it is not taken for a replay.
    record[..HEADER].copy_from_slice(&header(ALERT, 0, 1 << 32, 2));
    record[HEADER..].copy_from_slice(&[FATAL, description]);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_datagram_is_cut_into_its_records() {
        let long = [&header(HANDSHAKE, 1, 0x0102_0304_0506, 3)[..], b"abc"].concat();
        let mut datagram = [&long[..], &[0b0010_1111, 0, 1, 0, 2, 8, 8], &[0b0010_0010, 5, 9, 9]].concat();
        let (first, rest) = split(&mut datagram).unwrap();
        assert!(
            matches!(first, Record::Long { kind: HANDSHAKE, epoch: 1, sequence: 0x0102_0304_0506, bytes } if bytes == long)
        );
        let (second, rest) = split(rest).unwrap();
        assert!(matches!(second, Record::Unified { epoch: 3, header: 5, bytes } if bytes.len() == 7));
        let (third, rest) = split(rest).unwrap();
        assert!(matches!(third, Record::Unified { epoch: 2, header: 2, bytes } if bytes.len() == 4));
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_cut_short_or_has_a_connection_id_is_no_record() {
        let mut whole = [&header(HANDSHAKE, 0, 0, 3)[..], b"abc"].concat();
        for length in 0..whole.len() {
            assert!(split(&mut whole[..length]).is_none(), "{length}");
        }
        assert!(split(&mut [0b0011_1111, 0, 1, 0, 0]).is_none());
        assert!(split(&mut [0b0010_1100, 0, 1, 0, 3, 9, 9]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &mut bytes[..];
            while let Some((_, next)) = split(rest) {
                prop_assert!(next.len() < 200);
                rest = next;
            }
        }
    }
}
