//! The same questions as clients of RFC 3489 ask them, without a magic cookie.
//!
//! RFC 5780 §3 advises against answering them, because what they make of the answers (four sorts of NAT) is no good
//! basis for a connection. But they are what distributions still ship to look at NATs with, and that is what a server
//! with two addresses is for. What made the old protocol dangerous is not here: RESPONSE-ADDRESS, which sent answers to
//! anybody, makes a request that is dropped, and so do passwords.

use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path};

use super::alternate::{Alternate, Order};
use crate::{ChangeRequest, HEADER_BYTES, MAGIC_COOKIE, TransactionId, WriteError};

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_RESPONSE: [u8; 2] = [0x01, 0x01];
const MAPPED_ADDRESS: u16 = 0x0001;
const CHANGE_REQUEST: u16 = 0x0003;
const SOURCE_ADDRESS: u16 = 0x0004;
const CHANGED_ADDRESS: u16 = 0x0005;
/// An attribute with an IPv4 address.
const ADDRESS_BYTES: usize = 12;

impl Alternate {
    /// Answers a Binding request of RFC 3489 that came by `from`. `None`: it is none, or it wants what nobody should.
    /// `Some(false)`: there was no room.
    pub fn answer_classic(&self, bytes: &[u8], from: Path, out: &mut dyn Outbox) -> Option<bool> {
        let order = self.classic_order(bytes, from)?;
        Some(self.carry_out(&order, None, out))
    }

    /// What a request of RFC 3489 asks for.
    pub(super) fn classic_order(&self, bytes: &[u8], from: Path) -> Option<Order> {
        let change = parse(bytes)?;
        let place = self.place(from).filter(|_| from.remote.is_ipv4())?;
        Some(Order {
            id: TransactionId(std::array::from_fn(|byte| bytes[8 + byte])),
            cookie: std::array::from_fn(|byte| bytes[4 + byte]),
            client: from.remote,
            port: from.remote.port(),
            ..self.plain_order(place, change)
        })
    }
}

impl Order {
    /// Whether its request was one of RFC 3489, which had other bits of its number in the place of the cookie.
    pub(super) fn is_classic(&self) -> bool {
        self.cookie != MAGIC_COOKIE.to_be_bytes()
    }

    pub(super) fn write_classic(
        &self,
        origin: SocketAddr,
        other: SocketAddr,
        buffer: &mut [u8],
    ) -> Result<usize, WriteError> {
        let addresses = [(MAPPED_ADDRESS, self.client), (SOURCE_ADDRESS, origin), (CHANGED_ADDRESS, other)];
        let length = HEADER_BYTES + addresses.len() * ADDRESS_BYTES;
        let buffer = buffer.get_mut(..length).ok_or(WriteError::NoRoom)?;
        buffer[..2].copy_from_slice(&BINDING_RESPONSE);
        buffer[2..4].copy_from_slice(&((length - HEADER_BYTES) as u16).to_be_bytes());
        buffer[4..8].copy_from_slice(&self.cookie);
        buffer[8..HEADER_BYTES].copy_from_slice(&self.id.0);
        let places = buffer[HEADER_BYTES..].chunks_exact_mut(ADDRESS_BYTES);
        for (place, (kind, address)) in places.zip(addresses) {
            write_address(place, kind, address);
        }
        Ok(length)
    }
}

fn write_address(place: &mut [u8], kind: u16, address: SocketAddr) {
    let IpAddr::V4(ip) = address.ip() else { return place.fill(0) };
    place[..2].copy_from_slice(&kind.to_be_bytes());
    place[2..6].copy_from_slice(&[0, 8, 0, 1]);
    place[6..8].copy_from_slice(&address.port().to_be_bytes());
    place[8..].copy_from_slice(&ip.octets());
}

/// Whether this is a Binding request of RFC 3489, and one that may be answered.
pub fn is_classic_request(bytes: &[u8]) -> bool {
    parse(bytes).is_some()
}

/// What a request asks for, if it is one that may be answered.
fn parse(bytes: &[u8]) -> Option<ChangeRequest> {
    let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != BINDING_REQUEST || length != rest.len() || header[4..8] == MAGIC_COOKIE.to_be_bytes() {
        return None;
    }
    let mut change = ChangeRequest::default();
    while let Some((&[kind_high, kind_low, high, low], after)) = rest.split_first_chunk() {
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        match (kind, value) {
            (CHANGE_REQUEST, &[_, _, _, flags]) => {
                change = ChangeRequest { ip: flags & 4 != 0, port: flags & 2 != 0 }
            }
            (0x8000.., _) => {}
            _ => return None,
        }
        rest = after;
    }
    rest.is_empty().then_some(change)
}
