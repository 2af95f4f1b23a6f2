//! What a client shows to say that an allocation is its own, wherever it comes from (RFC 8016 §5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::HmacSha256Key;
use sansio::Rng;

use super::allocation::AllocationId;

const CONTENT_BYTES: usize = 8 + 4;
const TAG_BYTES: usize = 12;
const SEALED_BYTES: usize = TAG_BYTES + CONTENT_BYTES;

/// A ticket as it goes into MOBILITY-TICKET: [`Tickets`] sealed it, in base64. No client has to understand it, but coturn's
/// takes it for text of at most 32 characters, and cuts it off at a zero.
pub(super) type Ticket = [u8; SEALED_BYTES / 3 * 4];

/// Makes and reads tickets: the allocation, and the ticket's number among its tickets.
///
/// Each is sealed by its own tag, as in SIV (RFC 5297): the tag is a MAC over the content, and the content is encrypted
/// under the tag. So there is no nonce that could be used twice. No two tickets of a run are the same, as no two contents
/// are. Who has no ticket makes one up once in 2⁹⁶ attempts, each of which has to be signed by the holder of the allocation;
/// two tags that happen to be equal (once in 2⁴⁸ tickets) would show how two contents differ, and nothing else.
#[derive(Debug)]
pub(super) struct Tickets {
    seal: HmacSha256Key,
    hide: HmacSha256Key,
}

impl Tickets {
    /// Under keys of this run alone.
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut key = || HmacSha256Key::new(&rng.bytes::<32>());
        Self { seal: key(), hide: key() }
    }

    pub(super) fn issue(&self, id: AllocationId, number: u32) -> Ticket {
        let mut content = [0; CONTENT_BYTES];
        content[..8].copy_from_slice(&id.0.to_be_bytes());
        content[8..].copy_from_slice(&number.to_be_bytes());
        let mut sealed = [0; SEALED_BYTES];
        let tag = self.tag(&content);
        sealed[..TAG_BYTES].copy_from_slice(&tag);
        sealed[TAG_BYTES..].copy_from_slice(&self.hidden(&tag, content));
        let mut ticket = [0; SEALED_BYTES / 3 * 4];
        URL_SAFE_NO_PAD.encode_slice(sealed, &mut ticket).expect("3 bytes are 4 characters of base64");
        ticket
    }

    pub(super) fn read(&self, ticket: &[u8]) -> Option<(AllocationId, u32)> {
        let ticket: &Ticket = ticket.try_into().ok()?;
        let mut sealed = [0; SEALED_BYTES];
        URL_SAFE_NO_PAD.decode_slice(ticket, &mut sealed).ok()?;
        let (tag, hidden) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let content = self.hidden(tag, *hidden.first_chunk()?);
        if !crypto::equal(&self.tag(&content), tag) {
            return None;
        }
        let (id, number) = content.split_first_chunk::<8>()?;
        Some((AllocationId(u64::from_be_bytes(*id)), u32::from_be_bytes(*number.first_chunk()?)))
    }

    fn tag(&self, content: &[u8; CONTENT_BYTES]) -> [u8; TAG_BYTES] {
        *self.seal.sign(&[content]).first_chunk().expect("an HMAC-SHA256 has 32 bytes")
    }

    /// Encrypts, and decrypts again.
    fn hidden(&self, tag: &[u8; TAG_BYTES], mut content: [u8; CONTENT_BYTES]) -> [u8; CONTENT_BYTES] {
        let stream = self.hide.sign(&[tag]);
        content.iter_mut().zip(stream).for_each(|(byte, mask)| *byte ^= mask);
        content
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sansio::Seed;

    use super::*;

    fn tickets(seed: u64) -> Tickets {
        Tickets::new(&mut Rng::new(Seed::from(seed)))
    }

    #[test]
    fn a_ticket_says_what_it_was_issued_for_to_its_own_server_alone() {
        let (ours, others) = (tickets(1), tickets(2));
        for (id, number) in [(0, 0), (1, 7), (u64::MAX, u32::MAX)] {
            let ticket = ours.issue(AllocationId(id), number);
            assert_eq!(ours.read(&ticket), Some((AllocationId(id), number)));
            assert_eq!(others.read(&ticket), None);
        }
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_shows_what_is_in_it() {
        let tickets = tickets(1);
        let mut seen = BTreeSet::new();
        for id in 0..100 {
            for number in 0..100 {
                let ticket = tickets.issue(AllocationId(id), number);
                assert!(seen.insert(ticket) && ticket.iter().all(u8::is_ascii_graphic));
                // The content, which differs in two bytes at most, has nothing in common with that of the first.
                let [first, this] =
                    [seen.first().unwrap(), &ticket].map(|t| URL_SAFE_NO_PAD.decode(t).unwrap());
                let same = first[TAG_BYTES..].iter().zip(&this[TAG_BYTES..]).filter(|(a, b)| a == b).count();
                assert!(first == this || same < 6, "{same} bytes of 12");
            }
        }
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_none() {
        let tickets = tickets(1);
        let ticket = tickets.issue(AllocationId(5), 3);
        for at in 0..ticket.len() {
            for other in b'-'..=b'z' {
                let mut changed = ticket;
                changed[at] = other;
                assert_eq!(tickets.read(&changed).is_some(), other == ticket[at], "byte {at} is {other}");
            }
        }
        assert_eq!(tickets.read(&ticket[..31]), None);
        assert_eq!(tickets.read(&[&ticket[..], b"A"].concat()), None);
        assert_eq!(tickets.read(&[]), None);
    }
}
