//! Records that are sealed and opened where they lie.

use crypto::Secret;
use crypto::aead::{AeadKey, MaskKey, TAG_BYTES};

use crate::record::{self, HEADER};
use crate::replay::Replay;

/// Bytes of the unified header as we write it: 16 bits of the number, and a length.
const UNIFIED: usize = 5;
/// Bytes of the nonce that AES-GCM shows in DTLS 1.2 (RFC 5288 §3).
const EXPLICIT_NONCE: usize = 8;
/// The highest number that a record may have.
const LAST: u64 = (1 << 48) - 1;

/// Overhead of a record: header, explicit nonce and tag in DTLS 1.2; short header, content type and tag in 1.3.
pub(crate) const OVERHEAD_12: usize = HEADER + EXPLICIT_NONCE + TAG_BYTES;
pub(crate) const OVERHEAD_13: usize = UNIFIED + 1 + TAG_BYTES;

/// What protects the records of one direction in one epoch.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) aead: AeadKey,
    pub(crate) iv: [u8; 12],
    pub(crate) numbering: Numbering,
}

/// How a record tells its number, and what its nonce is.
#[allow(clippy::large_enum_variant, reason = "an association has a handful, and each record needs it")]
#[derive(Debug)]
pub(crate) enum Numbering {
    /// DTLS 1.3: its low bits, hidden.
    Masked(MaskKey),
    /// DTLS 1.2 with AES-GCM: in the header, and again as the explicit part of the nonce. RFC 5288 §3 demands that it be
    /// unique, and RFC 9325 §7.2.1 that it come from a counter.
    Explicit,
    /// DTLS 1.2 with ChaCha20-Poly1305 (RFC 7905 §2): in the header.
    Implicit,
}

impl Keys {
    /// The initialisation vector with a number added to it (RFC 8446 §5.3).
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
        nonce
    }

    /// The same for a nonce whose last part is told.
    fn told(&self, explicit: [u8; EXPLICIT_NONCE]) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(&explicit);
        nonce
    }
}

/// Seals one direction's records of one epoch.
#[derive(Debug)]
pub(crate) struct Sealer {
    pub(crate) epoch: u64,
    /// The next record's number: also how many have been sealed.
    pub(crate) next: u64,
    /// What the keys are made from, in DTLS 1.3.
    pub(crate) secret: Option<Secret>,
    keys: Keys,
}

impl Sealer {
    pub(crate) fn new(epoch: u64, keys: Keys, secret: Option<Secret>) -> Self {
        Self { epoch, next: 0, secret, keys }
    }

    /// Bytes in front of the plaintext.
    pub(crate) fn front(&self) -> usize {
        match self.keys.numbering {
            Numbering::Masked(_) => UNIFIED,
            Numbering::Explicit => HEADER + EXPLICIT_NONCE,
            Numbering::Implicit => HEADER,
        }
    }

    /// Bytes that sealing adds.
    pub(crate) fn overhead(&self) -> usize {
        let kind = usize::from(matches!(self.keys.numbering, Numbering::Masked(_)));
        self.front() + kind + TAG_BYTES
    }

    /// Whether there are no more numbers.
    pub(crate) fn is_spent(&self) -> bool {
        self.next > LAST
    }

    /// Seals the `plain` bytes at [`Sealer::front`] of `buffer`, and returns how long the record has become.
    pub(crate) fn seal(&mut self, kind: u8, buffer: &mut [u8], plain: usize) -> usize {
        let number = self.next;
        self.next += 1;
        let length = plain + self.overhead();
        match &self.keys.numbering {
            Numbering::Masked(mask) => {
                let (header, body) = buffer[..length].split_at_mut(UNIFIED);
                header[0] = 0b0010_1100 | (self.epoch & 0b11) as u8;
                header[1..3].copy_from_slice(&(number as u16).to_be_bytes());
                header[3..].copy_from_slice(&((length - UNIFIED) as u16).to_be_bytes());
                body[plain] = kind;
                self.keys.aead.seal(self.keys.nonce(number), header, body);
                hide(mask, &mut header[1..3], body);
            }
            numbering => {
                let front = self.front();
                let header = record::header(kind, self.epoch as u16, number, length - HEADER);
                buffer[..HEADER].copy_from_slice(&header);
                let told: [u8; 8] = header[3..11].try_into().expect("8 bytes");
                let nonce = match numbering {
                    Numbering::Explicit => {
                        buffer[HEADER..front].copy_from_slice(&told);
                        self.keys.told(told)
                    }
                    _ => self.keys.nonce(u64::from_be_bytes(told)),
                };
                let aad = legacy_aad(&header, plain);
                self.keys.aead.seal(nonce, &aad, &mut buffer[front..length]);
            }
        }
        length
    }
}

/// Hides or shows the number of a record that has this body.
fn hide(mask: &MaskKey, number: &mut [u8], body: &[u8]) {
    let sample = body.first_chunk().expect("a record that is sealed is as long as a tag");
    number.iter_mut().zip(mask.mask(sample)).for_each(|(byte, mask)| *byte ^= mask);
}

/// What a record of DTLS 1.2 vouches for besides its content (RFC 5246 §6.2.3.3).
fn legacy_aad(header: &[u8; HEADER], plain: usize) -> [u8; HEADER] {
    let mut aad = *header;
    aad[..8].copy_from_slice(&header[3..11]);
    aad[8..11].copy_from_slice(&header[..3]);
    aad[11..].copy_from_slice(&(plain as u16).to_be_bytes());
    aad
}

/// Opens one direction's records of one epoch.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) epoch: u64,
    /// What the keys are made from, in DTLS 1.3.
    pub(crate) secret: Option<Secret>,
    keys: Keys,
    replay: Replay,
    /// Records that were not sealed with this key (RFC 9147 §4.5.3).
    pub(crate) forged: u64,
}

/// What was in a record.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) kind: u8,
    pub(crate) number: u64,
    pub(crate) plain: &'a mut [u8],
}

impl Opener {
    pub(crate) fn new(epoch: u64, keys: Keys, secret: Option<Secret>) -> Self {
        Self { epoch, secret, keys, replay: Replay::new(), forged: 0 }
    }

    /// Opens a record of DTLS 1.3, whose header has so many bytes.
    pub(crate) fn open_unified<'a>(&mut self, bytes: &'a mut [u8], header: usize) -> Option<Opened<'a>> {
        let Numbering::Masked(mask) = &self.keys.numbering else { return None };
        if bytes.len() < header + TAG_BYTES + 1 {
            return None;
        }
        let (header, body) = bytes.split_at_mut(header);
        let digits = if header[0] & 0b1000 != 0 { 2 } else { 1 };
        hide(mask, &mut header[1..=digits], body);
        let low = header[1..=digits].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let number = nearest(self.replay.next(), low, 8 * digits as u32);
        let nonce = self.keys.nonce(number);
        let Ok(inner) = self.keys.aead.open(nonce, header, body) else {
            self.forged += 1;
            return None;
        };
        // Not before, or the time that it takes would tell the number.
        if !self.replay.is_new(number) {
            return None;
        }
        self.replay.note(number);
        let end = inner.iter().rposition(|&byte| byte != 0)?;
        let kind = inner[end];
        Some(Opened { kind, number, plain: &mut inner[..end] })
    }

    /// Opens a record of DTLS 1.2.
    pub(crate) fn open_long<'a>(&mut self, bytes: &'a mut [u8], number: u64) -> Option<Opened<'a>> {
        let front = match self.keys.numbering {
            Numbering::Masked(_) => return None,
            Numbering::Explicit => HEADER + EXPLICIT_NONCE,
            Numbering::Implicit => HEADER,
        };
        let plain = bytes.len().checked_sub(front + TAG_BYTES)?;
        if !self.replay.is_new(number) {
            return None;
        }
        let (front, body) = bytes.split_at_mut(front);
        let (header, explicit) = front.split_first_chunk::<HEADER>()?;
        let nonce = match explicit.try_into() {
            Ok(explicit) => self.keys.told(explicit),
            Err(_) => self.keys.nonce(u64::from_be_bytes(header[3..11].try_into().expect("8 bytes"))),
        };
        let Ok(plain) = self.keys.aead.open(nonce, &legacy_aad(header, plain), body) else {
            self.forged += 1;
            return None;
        };
        self.replay.note(number);
        Some(Opened { kind: header[0], number, plain })
    }
}

/// The number with these low bits that is nearest to what is expected (RFC 9147 §4.2.2).
fn nearest(expected: u64, low: u64, bits: u32) -> u64 {
    let span = 1 << bits;
    let candidate = expected & !(span - 1) | low;
    if candidate > expected + span / 2 && candidate >= span {
        candidate - span
    } else if candidate + span / 2 < expected {
        candidate + span
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::aead::Aead;

    fn keys(numbering: u8) -> Keys {
        let numbering = match numbering {
            0 => Numbering::Masked(MaskKey::new(Aead::Aes128Gcm, &[3; 16])),
            1 => Numbering::Explicit,
            _ => Numbering::Implicit,
        };
        let mut iv = [2; 12];
        if matches!(numbering, Numbering::Explicit) {
            iv[4..].fill(0);
        }
        Keys { aead: AeadKey::new(Aead::Aes128Gcm, &[1; 16]), iv, numbering }
    }

    fn open<'a>(opener: &mut Opener, bytes: &'a mut [u8]) -> Option<Opened<'a>> {
        match record::split(bytes)?.0 {
            record::Record::Long { sequence, bytes, .. } => opener.open_long(bytes, sequence),
            record::Record::Unified { header, bytes, .. } => opener.open_unified(bytes, header),
        }
    }

    #[test]
    fn what_is_sealed_is_opened_once_and_only_if_whole() {
        for numbering in 0..3 {
            let mut sealer = Sealer::new(3, keys(numbering), None);
            let mut opener = Opener::new(3, keys(numbering), None);
            for round in 0..3 {
                let mut buffer = [9; 100];
                let front = sealer.front();
                buffer[front..front + 5].copy_from_slice(b"hello");
                let length = sealer.seal(23, &mut buffer, 5);
                assert_eq!(length, 5 + sealer.overhead());
                for at in 0..length {
                    let mut broken = buffer;
                    broken[at] ^= 4;
                    let opened = open(&mut opener, &mut broken[..length]);
                    assert!(opened.is_none(), "{numbering} {at}");
                    let mut cut = buffer;
                    assert!(open(&mut opener, &mut cut[..at]).is_none());
                }
                let mut record = buffer;
                let opened = open(&mut opener, &mut record[..length]).expect("it is whole");
                assert_eq!((opened.kind, opened.number, &*opened.plain), (23, round, &b"hello"[..]));
                assert!(open(&mut opener, &mut buffer[..length]).is_none(), "a replay");
            }
            assert!(opener.forged > 0);
        }
    }

    #[test]
    fn numbers_are_completed_with_what_is_nearest() {
        for (expected, low, number) in [
            (0, 5, 5),
            (0, 0xffff, 0xffff),
            (0x1_0000, 0xffff, 0xffff),
            (0xffff, 0, 0x1_0000),
            (0x5_8000, 0x8001, 0x5_8001),
            (0x5_fff0, 0x0003, 0x6_0003),
            (0x6_0003, 0xfff0, 0x5_fff0),
        ] {
            assert_eq!(nearest(expected, low, 16), number, "{expected:x} {low:x}");
        }
    }
}
