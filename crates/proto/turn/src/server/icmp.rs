//! What the network says about datagrams that did not reach their peer (RFC 8656 §11.5).

use std::net::SocketAddr;

use sansio::{Outbox, Time};
use stun::{Class, MessageWriter, Method, TransactionId, kind};

use super::{Drop, Server};
use crate::attribute::plain;
use crate::indication::indication_overhead;

/// Bytes of the ICMP attribute.
const ICMP_BYTES: usize = 4 + 8;

/// An ICMP error about a datagram that left from a relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// The relay socket's address on this machine.
    pub local: SocketAddr,
    /// Whom the datagram was for; port 0 where the system does not tell.
    pub peer: SocketAddr,
    /// The type, of ICMPv4 or ICMPv6 by the family of the peer.
    pub icmp_type: u8,
    /// The code.
    pub icmp_code: u8,
    /// The next hop's MTU, where type and code are about that.
    pub mtu: u32,
}

impl IcmpError {
    /// "Type is either 3 or 11 for an ICMPv4 packet or either 1, 2, or 3 for an ICMPv6 packet" (RFC 8656 §11.5).
    fn is_told(&self) -> bool {
        match self.peer {
            SocketAddr::V4(_) => matches!(self.icmp_type, 3 | 11),
            SocketAddr::V6(_) => matches!(self.icmp_type, 1..=3),
        }
    }

    /// "For other ICMPv6 types and ICMPv4 types and codes, the Error Data field MUST be set to zero" (RFC 8656 §18.13).
    fn data(&self) -> u32 {
        match (self.peer, self.icmp_type, self.icmp_code) {
            (SocketAddr::V4(_), 3, 4) | (SocketAddr::V6(_), 2, _) => self.mtu,
            _ => 0,
        }
    }
}

impl Server {
    /// The network says that a datagram to a peer did not arrive. The client is told, if it has a permission for the peer:
    /// nothing else shows that the datagram was its.
    pub fn handle_icmp(&mut self, now: Time, error: IcmpError, out: &mut dyn Outbox) {
        if !error.is_told() {
            return;
        }
        let peer = plain(error.peer);
        let id = self.allocations.id_by_local(error.local);
        let id = id.or_else(|| self.sharing.holder(error.local, peer));
        let allocation = id.and_then(|id| self.allocations.by_id(id));
        let Some(allocation) = allocation else { return };
        if !allocation.permissions.allows(now, peer.ip()) {
            return self.counters.drop(Drop::NoPermission);
        }
        let Some(client) = allocation.destination() else {
            return self.counters.drop(Drop::Away);
        };
        let id = TransactionId(self.rng.bytes());
        let sent = out.send(client, indication_overhead(peer) + ICMP_BYTES, &mut |buffer| {
            let [a, b, c, d] = error.data().to_be_bytes();
            MessageWriter::new(buffer, Class::Indication, Method::DATA, id)
                .xor_address(kind::XOR_PEER_ADDRESS, peer)
                .raw(kind::ICMP, &[0, 0, error.icmp_type, error.icmp_code, a, b, c, d])
                .finish()
                .unwrap_or(0)
        });
        self.count_answer(sent);
    }
}
