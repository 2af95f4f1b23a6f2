use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sansio::{Path, Time};

use super::{HostId, Net, Packet};
use crate::content::Content;
use crate::record::{Cause, Fate};

/// The answer to a [`Net::ping`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pong {
    /// When it came, in the net's time.
    pub at: Time,
    /// From whom.
    pub from: IpAddr,
    /// The asker's identifier.
    pub identifier: u16,
    /// Which question it answers.
    pub sequence: u16,
    /// The bytes of the question.
    pub payload: Vec<u8>,
}

/// What a host asks others by ICMP.
#[derive(Default)]
pub(crate) struct Pings {
    /// Identifiers that it has asked with, and the next sequence number of each.
    next: BTreeMap<u16, u16>,
    pongs: Vec<Pong>,
}

/// Queries by ICMP: echo and its reply (RFC 792, RFC 4443 §4).
impl Net {
    /// A host asks an address whether it is there, and gets the sequence number of its question. Every host that is
    /// awake answers, whatever runs there; [`Net::pongs`] has the answers. `identifier` is what boxes translate in
    /// place of a port. This needs no [`Net::set_icmp`], which is about errors.
    pub fn ping(&mut self, host: HostId, remote: IpAddr, identifier: u16, payload: &[u8]) -> u16 {
        let asker = &mut self.hosts[host.0];
        let next = asker.pings.next.entry(identifier).or_default();
        let sequence = *next;
        *next = next.wrapping_add(1);
        let nowhere = match remote {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = asker.source_for(remote).unwrap_or(nowhere);
        let path = Path::udp(SocketAddr::new(local, identifier), SocketAddr::new(remote, 0));
        let packet = self.packet(path, payload.to_vec(), Content::Echo { sequence });
        self.depart(host, packet);
        sequence
    }

    /// The answers that have come to a host since the last call.
    pub fn pongs(&mut self, host: HostId) -> Vec<Pong> {
        std::mem::take(&mut self.hosts[host.0].pings.pongs)
    }

    /// An echo or its reply has reached a host.
    pub(super) fn receive_query(&mut self, id: HostId, packet: Packet) {
        let (now, place) = (self.now, self.hosts[id.0].place);
        match packet.content {
            Content::Echo { sequence } => {
                self.record(place, &packet, Fate::Delivered);
                let reply =
                    self.packet(packet.path.reversed(), packet.payload, Content::EchoReply { sequence });
                self.depart(id, reply);
            }
            Content::EchoReply { sequence }
                if self.hosts[id.0].pings.next.contains_key(&packet.path.remote.port()) =>
            {
                self.record(place, &packet, Fate::Delivered);
                let Packet { path, payload, .. } = packet;
                let (from, identifier) = (path.local.ip(), path.remote.port());
                let pong = Pong { at: now, from, identifier, sequence, payload };
                self.hosts[id.0].pings.pongs.push(pong);
            }
            _ => self.drop_packet(place, packet, Cause::NoSocket),
        }
    }
}
