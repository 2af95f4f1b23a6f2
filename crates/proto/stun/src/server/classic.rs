//! The same questions as clients of RFC 3489 ask them, without a magic cookie.
//!
//! RFC 5780 §3 advises against answering them, because what they make of the answers (four sorts of NAT) is no good
//! basis for a connection. But they are what distributions still ship to look at NATs with, and that is what a server
//! with two addresses is for. What made the old protocol dangerous is not here: RESPONSE-ADDRESS, which sent answers to
//! anybody, makes a request that is dropped, and so do passwords.

use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path};

use super::alternate::Alternate;
use crate::{ChangeRequest, HEADER_BYTES, MAGIC_COOKIE};

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
        let change = parse(bytes)?;
        let (local, other) = self.route(from, change)?;
        let (IpAddr::V4(_), id) = (from.remote.ip(), &bytes[4..HEADER_BYTES]) else { return None };
        let addresses = [
            (MAPPED_ADDRESS, from.remote),
            (SOURCE_ADDRESS, self.as_seen(local)),
            (CHANGED_ADDRESS, self.as_seen(other)),
        ];
        let path = Path::udp(local, from.remote);
        let length = HEADER_BYTES + addresses.len() * ADDRESS_BYTES;
        Some(out.send(path, length, &mut |buffer| {
            buffer[..2].copy_from_slice(&BINDING_RESPONSE);
            buffer[2..4].copy_from_slice(&((length - HEADER_BYTES) as u16).to_be_bytes());
            buffer[4..HEADER_BYTES].copy_from_slice(id);
            let places = buffer[HEADER_BYTES..].chunks_exact_mut(ADDRESS_BYTES);
            for (place, (kind, address)) in places.zip(addresses) {
                write_address(place, kind, address);
            }
            length
        }))
    }
}

fn write_address(place: &mut [u8], kind: u16, address: SocketAddr) {
    let IpAddr::V4(ip) = address.ip() else { return place.fill(0) };
    place[..2].copy_from_slice(&kind.to_be_bytes());
    place[2..6].copy_from_slice(&[0, 8, 0, 1]);
    place[6..8].copy_from_slice(&address.port().to_be_bytes());
    place[8..].copy_from_slice(&ip.octets());
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
