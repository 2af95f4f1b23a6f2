use crypto::aead::{Aead, AeadKey};
use crypto::{AesCounterKey, HmacSha1Key};

use crate::layout::u32_at;
use crate::srtp::Profile;
use crate::srtp::clear::Clear;

/// The bit of SRTCP's last word that says that the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
/// What of an RTCP packet is never encrypted.
const RTCP_CLEAR: usize = 8;
/// Bytes of SRTCP's word with its index.
pub(crate) const INDEX: usize = 4;

/// How packets are encrypted and vouched for, under the keys of one direction.
#[derive(Debug)]
pub(crate) enum Transform {
    /// One cipher does both (RFC 7714).
    Aead { key: AeadKey, salt: [u8; 14] },
    /// AES in counter mode encrypts, HMAC-SHA1 vouches (RFC 3711 §4.1.1, §4.2.1).
    CounterAndMac(Box<CounterAndMac>),
}

/// A cipher that does not vouch, and what does.
#[derive(Debug)]
pub(crate) struct CounterAndMac {
    key: AesCounterKey,
    salt: [u8; 14],
    mac: HmacSha1Key,
    tag_bytes: usize,
}

/// The tag does not belong to the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Forged;

impl Transform {
    pub(crate) fn new(profile: Profile, key: &[u8], mac: &[u8], salt: [u8; 14], tag_bytes: usize) -> Self {
        match profile {
            Profile::AeadAes128Gcm => Self::Aead { key: AeadKey::new(Aead::Aes128Gcm, key), salt },
            Profile::AeadAes256Gcm => Self::Aead { key: AeadKey::new(Aead::Aes256Gcm, key), salt },
            _ => Self::CounterAndMac(Box::new(CounterAndMac {
                key: AesCounterKey::new(key),
                salt,
                mac: HmacSha1Key::new(mac),
                tag_bytes,
            })),
        }
    }

    /// Bytes of a tag.
    pub(crate) fn tag_bytes(&self) -> usize {
        match self {
            Self::Aead { .. } => 16,
            Self::CounterAndMac(both) => both.tag_bytes,
        }
    }

    /// Protects an RTP packet that ends with room for the tag.
    pub(crate) fn seal(&self, packet: &mut [u8], clear: Clear, ssrc: u32, index: u64) {
        match self {
            Self::Aead { key, salt } => {
                clear.gather(packet);
                let (head, rest) = packet.split_at_mut(clear.bytes);
                key.seal(nonce(salt, ssrc, index), head, rest);
                clear.restore(packet);
            }
            Self::CounterAndMac(both) => {
                let CounterAndMac { key, salt, mac, tag_bytes } = &**both;
                let (packet, tag) = packet.split_at_mut(packet.len() - tag_bytes);
                clear.gather(packet);
                key.apply(counter(salt, ssrc, index), &mut packet[clear.bytes..]);
                clear.restore(packet);
                tag.copy_from_slice(&mac.sign(&[packet, &rollovers(index)])[..*tag_bytes]);
            }
        }
    }

    /// Verifies and decrypts an RTP packet that ends with the tag. If it fails, the content may be lost.
    pub(crate) fn open(&self, packet: &mut [u8], clear: Clear, ssrc: u32, index: u64) -> Result<(), Forged> {
        match self {
            Self::Aead { key, salt } => {
                clear.gather(packet);
                let (head, rest) = packet.split_at_mut(clear.bytes);
                key.open(nonce(salt, ssrc, index), head, rest).map_err(|_| Forged)?;
                clear.restore(packet);
            }
            Self::CounterAndMac(both) => {
                let CounterAndMac { key, salt, mac, tag_bytes } = &**both;
                let (packet, tag) = packet.split_at_mut(packet.len() - tag_bytes);
                let expected = mac.sign(&[packet, &rollovers(index)]);
                if !crypto::equal(&expected[..*tag_bytes], tag) {
                    return Err(Forged);
                }
                clear.gather(packet);
                key.apply(counter(salt, ssrc, index), &mut packet[clear.bytes..]);
                clear.restore(packet);
            }
        }
        Ok(())
    }

    /// Protects an RTCP packet that ends with room for the tag and the index.
    pub(crate) fn seal_rtcp(&self, packet: &mut [u8], index: u32) {
        let ssrc = u32_at(packet, 4);
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Aead { key, salt } => {
                let (rest, place) = packet.split_at_mut(packet.len() - INDEX);
                place.copy_from_slice(&word);
                let (head, rest) = rest.split_at_mut(RTCP_CLEAR);
                key.seal(nonce(salt, ssrc, u64::from(index)), &associated(head, word), rest);
            }
            Self::CounterAndMac(both) => {
                let CounterAndMac { key, salt, mac, tag_bytes } = &**both;
                let (rest, tag) = packet.split_at_mut(packet.len() - tag_bytes);
                let end = rest.len() - INDEX;
                key.apply(counter(salt, ssrc, u64::from(index)), &mut rest[RTCP_CLEAR..end]);
                rest[end..].copy_from_slice(&word);
                tag.copy_from_slice(&mac.sign(&[rest])[..*tag_bytes]);
            }
        }
    }

    /// The index that an SRTCP packet claims. It has not been verified.
    pub(crate) fn rtcp_index(&self, packet: &[u8]) -> u32 {
        let end = match self {
            Self::Aead { .. } => packet.len(),
            Self::CounterAndMac(both) => packet.len() - both.tag_bytes,
        };
        u32_at(packet, end - INDEX) & !ENCRYPTED
    }

    /// Verifies and decrypts an SRTCP packet. If it fails, the content may be lost.
    pub(crate) fn open_rtcp(&self, packet: &mut [u8]) -> Result<(), Forged> {
        let ssrc = u32_at(packet, 4);
        let index = u64::from(self.rtcp_index(packet));
        match self {
            Self::Aead { key, salt } => {
                let nonce = nonce(salt, ssrc, index);
                let end = packet.len() - INDEX;
                let word = u32_at(packet, end);
                if word & ENCRYPTED != 0 {
                    let (head, rest) = packet[..end].split_at_mut(RTCP_CLEAR);
                    let associated = associated(head, word.to_be_bytes());
                    key.open(nonce, &associated, rest).map_err(|_| Forged)?;
                } else {
                    // RFC 7714 §9.3: all is vouched for together with the word, which stands behind the tag.
                    let tag = end - self.tag_bytes();
                    packet[tag..].rotate_right(INDEX);
                    let (head, tag) = packet.split_at_mut(tag + INDEX);
                    key.open(nonce, head, tag).map_err(|_| Forged)?;
                }
            }
            Self::CounterAndMac(both) => {
                let CounterAndMac { key, salt, mac, tag_bytes } = &**both;
                let (rest, tag) = packet.split_at_mut(packet.len() - tag_bytes);
                if !crypto::equal(&mac.sign(&[rest])[..*tag_bytes], tag) {
                    return Err(Forged);
                }
                let end = rest.len() - INDEX;
                if u32_at(rest, end) & ENCRYPTED != 0 {
                    key.apply(counter(salt, ssrc, index), &mut rest[RTCP_CLEAR..end]);
                }
            }
        }
        Ok(())
    }
}

/// RFC 3711 §4.1.1: the salt, with the source and the packet's number added.
fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut counter = [0; 16];
    counter[4..8].copy_from_slice(&ssrc.to_be_bytes());
    counter[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    counter.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    counter
}

/// RFC 7714 §8.1 and §9.1, which are the same: the index of RTCP has 16 zeros in front.
fn nonce(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    nonce.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    nonce
}

/// What follows a packet when it is vouched for (RFC 3711 §4.2).
fn rollovers(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 7714 §9.2: the first 8 bytes, and the word with the index.
fn associated(head: &[u8], word: [u8; INDEX]) -> [u8; RTCP_CLEAR + INDEX] {
    let mut associated = [0; RTCP_CLEAR + INDEX];
    associated[..RTCP_CLEAR].copy_from_slice(head);
    associated[RTCP_CLEAR..].copy_from_slice(&word);
    associated
}
