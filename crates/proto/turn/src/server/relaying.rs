use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path, Time};
use stun::{Message, Method, TransactionId, kind};

use super::allocation::{AllocationId, Seat};
use super::bandwidth::Direction;
use super::policy::{Denial, PeerPolicy};
use super::{Drop, Server};
use crate::attribute::{Family, plain};
use crate::channel::{channel_data_room, parse_channel_data, write_channel_data};
use crate::indication::{PLAIN, WITH_DONT_FRAGMENT, indication_room, send_parts, write_indication};

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Out there.
    Network,
    /// Another allocation of this server: its packets never leave the process.
    Inside(AllocationId),
    /// The same, behind the address that all of them have.
    Shared,
}

impl Server {
    /// A Send indication (RFC 8656 §11.2).
    pub(super) fn handle_send(&mut self, now: Time, from: Path, message: &Message<'_>, out: &mut dyn Outbox) {
        let Some((id, allocation)) = self.allocations.by_client(from) else {
            return self.counters.drop(Drop::NoAllocation);
        };
        if allocation.client != from {
            self.arrive(id);
            return self.handle_send(now, from, message, out);
        }
        // Unable to set the DF bit, it "acts as if the DONT-FRAGMENT attribute is an unknown comprehension-required
        // attribute" (RFC 8656 §11.2).
        let known = if self.config.dont_fragment { WITH_DONT_FRAGMENT } else { PLAIN };
        let whole = message.raw(kind::DONT_FRAGMENT).is_some();
        let Some((peer, data)) = send_parts(message, known) else {
            return self.counters.drop(Drop::Malformed);
        };
        if allocation.seats.datagrams(Family::of(peer.ip())).is_none() {
            return self.counters.drop(Drop::Family);
        }
        if !allocation.permissions.allows(now, peer.ip()) {
            return self.counters.drop(Drop::NoPermission);
        }
        self.relay_to_peer(now, id, peer, &message.bytes()[data], whole, out);
    }

    /// ChannelData (RFC 8656 §12.6).
    pub(super) fn handle_channel_data(
        &mut self,
        now: Time,
        from: Path,
        payload: &[u8],
        out: &mut dyn Outbox,
    ) {
        let Some((number, data)) = parse_channel_data(payload) else {
            return self.counters.drop(Drop::Malformed);
        };
        let Some((id, allocation)) = self.allocations.by_client(from) else {
            return self.counters.drop(Drop::NoAllocation);
        };
        if allocation.client != from {
            self.arrive(id);
            return self.handle_channel_data(now, from, payload, out);
        }
        let Some((peer, _)) = allocation.channels.binding(now, number) else {
            return self.counters.drop(Drop::NoChannel);
        };
        self.relay_to_peer(now, id, peer, &payload[data], false, out);
    }

    /// Sends what a client has for a peer.
    fn relay_to_peer(
        &mut self,
        now: Time,
        id: AllocationId,
        peer: SocketAddr,
        data: &[u8],
        whole: bool,
        out: &mut dyn Outbox,
    ) {
        let reach = match self.reach(peer) {
            Ok(reach) => reach,
            Err(Denial::Own) => return self.counters.drop(Drop::Own),
            Err(_) => return self.counters.drop(Drop::Denied),
        };
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let Some(&Seat { local, relayed, shared, .. }) = allocation.seats.datagrams(Family::of(peer.ip()))
        else {
            return;
        };
        if shared {
            self.learn_name(id, data);
            if reach == Reach::Network && !self.claim(now, id, local, peer) {
                return self.counters.drop(Drop::PeerTaken);
            }
        }
        let bytes = data.len() as u64;
        if !self.affords(now, id, Direction::ToPeers, bytes) {
            return self.counters.drop(Drop::Bandwidth);
        }
        let Some(allocation) = self.allocations.by_id(id) else { return };
        allocation.bytes_to_peers += bytes;
        self.counters.packets_to_peers += 1;
        self.counters.bytes_to_peers += bytes;
        match reach {
            Reach::Inside(other) => self.hand_to_client(now, other, relayed, data, out),
            Reach::Shared => match self.find_partner(id, data) {
                Some(other) => self.hand_to_client(now, other, relayed, data, out),
                None => self.counters.drop(Drop::NoPermission),
            },
            Reach::Network => {
                let to = Path::udp(local, peer);
                let fill = &mut |buffer: &mut [u8]| {
                    buffer.copy_from_slice(data);
                    data.len()
                };
                let sent = match whole {
                    true => out.send_whole(to, data.len(), fill),
                    false => out.send(to, data.len(), fill),
                };
                if !sent {
                    self.counters.drop(Drop::NoRoom);
                }
            }
        }
    }

    /// A packet that the network brought to a relayed address (RFC 8656 §11.3).
    pub(super) fn relay_from_peer(
        &mut self,
        now: Time,
        id: AllocationId,
        peer: SocketAddr,
        data: &[u8],
        out: &mut dyn Outbox,
    ) {
        // Other allocations are reached inside. What else comes from our own address is not a peer.
        if !self.is_foreign(peer.ip()) {
            return self.counters.drop(Drop::Own);
        }
        self.hand_to_client(now, id, plain(peer), data, out);
    }

    /// Hands a peer's packet to the client, by channel if there is one (RFC 8656 §12.7).
    pub(super) fn hand_to_client(
        &mut self,
        now: Time,
        id: AllocationId,
        peer: SocketAddr,
        data: &[u8],
        out: &mut dyn Outbox,
    ) {
        let Some(allocation) = self.allocations.by_id(id) else { return };
        if !allocation.permissions.allows(now, peer.ip()) {
            return self.counters.drop(Drop::NoPermission);
        }
        if !self.affords(now, id, Direction::ToClient, data.len() as u64) {
            return self.counters.drop(Drop::Bandwidth);
        }
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let Some(client) = allocation.destination() else {
            return self.counters.drop(Drop::Away);
        };
        let fill = &mut |buffer: &mut [u8]| {
            buffer.copy_from_slice(data);
            data.len()
        };
        let sent = match allocation.channels.number(now, peer) {
            Some((number, _)) => {
                out.send(client, channel_data_room(data.len(), client.transport), &mut |buffer| {
                    write_channel_data(buffer, number, data.len(), client.transport, fill)
                })
            }
            None => {
                let transaction = TransactionId(self.rng.bytes());
                out.send(client, indication_room(peer, data.len()), &mut |buffer| {
                    write_indication(buffer, Method::DATA, transaction, peer, data.len(), fill)
                })
            }
        };
        if !sent {
            return self.counters.drop(Drop::NoRoom);
        }
        allocation.bytes_to_client += data.len() as u64;
        self.counters.packets_to_clients += 1;
        self.counters.bytes_to_clients += data.len() as u64;
    }

    /// Where `peer` is, if it may be reached at all.
    pub(super) fn reach(&self, peer: SocketAddr) -> Result<Reach, Denial> {
        if let Some(id) = self.allocations.id_by_relayed(peer) {
            return Ok(Reach::Inside(id));
        }
        if self.sharing.is_relayed(peer) {
            return Ok(Reach::Shared);
        }
        if self.listens_on(peer) || !self.is_foreign(peer.ip()) {
            return Err(Denial::Own);
        }
        self.config.policy.check(peer.ip()).map(|()| Reach::Network)
    }

    /// Whether an address may have a permission. Those that we relay from may, for the allocations that are there.
    pub(super) fn check_permission(&self, address: IpAddr) -> Result<(), Denial> {
        let relays = &self.config.relay_addresses;
        if relays.iter().any(|relay| relay.advertised == address) {
            return Ok(());
        }
        if !self.is_foreign(address) {
            return Err(Denial::Own);
        }
        self.config.policy.check(address)
    }

    /// Whether `address` is one of this server's own.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        let relays = &self.config.relay_addresses;
        relays.iter().any(|relay| relay.bind == address || relay.advertised == address)
            || self.config.listening.iter().any(|listening| listening.ip() == address)
            || self.config.machine.contains(&address)
    }

    /// Whether clients reach the server at `address`, which therefore is never a peer's.
    fn listens_on(&self, address: SocketAddr) -> bool {
        self.config.listening.iter().filter(|listening| listening.port() == address.port()).any(|listening| {
            // A socket on all addresses is on those that are not on the internet, too.
            let ours = || self.is_own(address.ip()) || PeerPolicy::default().check(address.ip()).is_err();
            listening.ip() == address.ip() || (listening.ip().is_unspecified() && ours())
        })
    }

    /// Whether `local`, which is no relay socket, is one that clients send to. A relay socket's last packets may
    /// come when its allocation is no more.
    pub(super) fn is_for_clients(&self, local: SocketAddr) -> bool {
        let listening = &self.config.listening;
        listening.is_empty()
            || listening.iter().any(|listening| {
                listening.port() == local.port()
                    && (listening.ip() == local.ip() || listening.ip().is_unspecified())
            })
    }
}
