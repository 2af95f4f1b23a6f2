use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use sansio::{KeyedHash, Path, Time, Transport};
use stun::TransactionId;

use super::channels::Channels;
use super::mobility::Move;
use super::permission::Permissions;
use super::reservation::Token;
use super::session::Secret;
use crate::attribute::Family;

/// Names an allocation among all that the server ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

/// A relayed address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Which of the server's relay addresses it is on.
    pub(super) relay: usize,
    /// The socket's address on this machine.
    pub(super) local: SocketAddr,
    /// The same as others see it.
    pub(super) relayed: SocketAddr,
    pub(super) expiry: Time,
    /// What goes between it and its peers: datagrams, or streams.
    pub(super) transport: Transport,
    /// It is everybody's, and its packets are told apart by their peers.
    pub(super) shared: bool,
}

/// The relayed addresses of an allocation: one, or one of each family ("dual allocation", RFC 8656 §7.2). Each is
/// refreshed and deleted on its own, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seats([Option<Seat>; 2]);

impl Seats {
    pub(super) fn add(&mut self, seat: Seat) {
        self.0[Family::of(seat.relayed.ip()) as usize] = Some(seat);
    }

    pub(super) fn get(&self, family: Family) -> Option<&Seat> {
        self.0[family as usize].as_ref()
    }

    /// The one that datagrams to peers of `family` leave from.
    pub(super) fn datagrams(&self, family: Family) -> Option<&Seat> {
        self.get(family).filter(|seat| seat.transport == Transport::Udp)
    }

    /// Whether peers are reached by streams.
    pub(super) fn are_streams(&self) -> bool {
        self.iter().any(|seat| seat.transport == Transport::Tcp)
    }

    fn remove(&mut self, family: Family) -> Option<Seat> {
        self.0[family as usize].take()
    }

    /// IPv4 first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.0.iter().flatten()
    }

    /// Lets all of them, or the one of `family`, live until `expiry`.
    pub(super) fn extend(&mut self, family: Option<Family>, expiry: Time) {
        let wanted = |seat: &&mut Seat| family.is_none_or(|family| Family::of(seat.relayed.ip()) == family);
        self.0.iter_mut().flatten().filter(wanted).for_each(|seat| seat.expiry = expiry);
    }

    /// Lets none of them live longer than until `end`.
    pub(super) fn shorten(&mut self, end: Time) {
        self.0.iter_mut().flatten().for_each(|seat| seat.expiry = seat.expiry.min(end));
    }

    /// When the first of them is due.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.iter().map(|seat| seat.expiry).min()
    }
}

/// What a client holds (RFC 8656 §6).
#[derive(Debug)]
pub(super) struct Allocation {
    /// The 5-tuple.
    pub(super) client: Path,
    /// The 5-tuple that the client is moving to. It is the allocation's as well.
    pub(super) moving: Option<Move>,
    /// The stream from `client` has ended. Who comes from there next is somebody else.
    pub(super) adrift: bool,
    /// The number of its latest ticket, if it has tickets.
    pub(super) ticket: Option<u32>,
    pub(super) username: String,
    /// What signed the Allocate request. It is good for as long as the allocation lives, whatever becomes of the account.
    pub(super) secret: Secret,
    pub(super) seats: Seats,
    /// Of the Allocate request, to know its retransmissions.
    pub(super) transaction_id: TransactionId,
    /// The family that the client asked for as well and did not get, and why: 440 or 508.
    pub(super) address_error: Option<(Family, u16)>,
    /// Names the port that was reserved along with it.
    pub(super) reservation: Option<Token>,
    pub(super) created: Time,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    pub(super) bytes_to_peers: u64,
    pub(super) bytes_to_client: u64,
    /// Datagrams of it that were lost in this machine.
    pub(super) lost: u64,
    /// Whether somebody was told a flow of it since it was last unsettled.
    pub(super) in_flows: bool,
}

impl Allocation {
    /// Where what is for the client goes. `None`: its stream has ended, and it has not come back.
    pub(super) fn destination(&self) -> Option<Path> {
        if self.adrift { self.moving.map(|there| there.to) } else { Some(self.client) }
    }

    /// When the first of its relayed addresses, permissions and channels is due.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        let all = [self.seats.next_expiry(), self.permissions.next_expiry(), self.channels.next_expiry()];
        all.into_iter().flatten().min()
    }
}

/// All allocations, and the ways to find them.
#[derive(Debug)]
pub(super) struct Allocations {
    by_id: HashMap<AllocationId, Box<Allocation>, KeyedHash>,
    by_client: HashMap<Path, AllocationId, KeyedHash>,
    by_local: HashMap<SocketAddr, AllocationId, KeyedHash>,
    by_relayed: HashMap<SocketAddr, AllocationId, KeyedHash>,
    streams: HashMap<SocketAddr, (AllocationId, SocketAddr), KeyedHash>,
    streams_by_relayed: HashMap<SocketAddr, SocketAddr, KeyedHash>,
    next: u64,
}

impl Allocations {
    pub(super) fn new(hash: &KeyedHash) -> Self {
        Self {
            by_id: HashMap::with_hasher(hash.clone()),
            by_client: HashMap::with_hasher(hash.clone()),
            by_local: HashMap::with_hasher(hash.clone()),
            by_relayed: HashMap::with_hasher(hash.clone()),
            streams: HashMap::with_hasher(hash.clone()),
            streams_by_relayed: HashMap::with_hasher(hash.clone()),
            next: 0,
        }
    }

    pub(super) fn insert(&mut self, allocation: Allocation) -> AllocationId {
        let id = AllocationId(self.next);
        self.next += 1;
        self.by_client.insert(allocation.client, id);
        allocation.seats.iter().for_each(|seat| self.enter(seat, id));
        self.by_id.insert(id, Box::new(allocation));
        id
    }

    pub(super) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.by_id.remove(&id)?;
        self.leave(id, allocation.client);
        if let Some(Move { to, .. }) = allocation.moving {
            self.leave(id, to);
        }
        allocation.seats.iter().for_each(|seat| self.strike(seat));
        Some(*allocation)
    }

    /// A 5-tuple is the allocation's no more, if it was.
    fn leave(&mut self, id: AllocationId, client: Path) {
        if self.by_client.get(&client) == Some(&id) {
            self.by_client.remove(&client);
        }
    }

    fn enter(&mut self, seat: &Seat, id: AllocationId) {
        if seat.shared {
            return;
        }
        if seat.transport == Transport::Udp {
            self.by_local.insert(seat.local, id);
            self.by_relayed.insert(seat.relayed, id);
        } else {
            self.streams.insert(seat.local, (id, seat.relayed));
            self.streams_by_relayed.insert(seat.relayed, seat.local);
        }
    }

    fn strike(&mut self, seat: &Seat) {
        if seat.shared {
            return;
        }
        if seat.transport == Transport::Udp {
            self.by_local.remove(&seat.local);
            self.by_relayed.remove(&seat.relayed);
        } else {
            self.streams.remove(&seat.local);
            self.streams_by_relayed.remove(&seat.relayed);
        }
    }

    /// The allocation that listens for streams of peers at this address of this machine.
    pub(super) fn stream_by_local(&self, local: SocketAddr) -> Option<AllocationId> {
        self.streams.get(&local).map(|(id, _)| *id)
    }

    /// What others call the address of this machine where an allocation listens for streams.
    pub(super) fn relayed_of_stream(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.streams.get(&local).map(|(_, relayed)| *relayed)
    }

    /// Where on this machine an allocation listens for streams that others know by `relayed`.
    pub(super) fn stream_by_relayed(&self, relayed: SocketAddr) -> Option<SocketAddr> {
        self.streams_by_relayed.get(&relayed).copied()
    }

    /// Takes one of two relayed addresses away, with the permissions and channels of its family.
    /// Returns it, and whose permissions they were.
    pub(super) fn remove_seat(&mut self, id: AllocationId, family: Family) -> Option<(Seat, Vec<IpAddr>)> {
        let allocation = self.by_id.get_mut(&id)?;
        let seat = allocation.seats.remove(family)?;
        let permitted = allocation.permissions.forget_family(family);
        allocation.channels.forget(family);
        self.strike(&seat);
        Some((seat, permitted))
    }

    /// The allocation has another 5-tuple beside its own, in place of one that it was moving to before.
    pub(super) fn begin_move(&mut self, id: AllocationId, to: Move) {
        self.cancel_move(id);
        if let Some(allocation) = self.by_id.get_mut(&id) {
            allocation.moving = Some(to);
            self.by_client.insert(to.to, id);
        }
    }

    /// The allocation stays where it is.
    pub(super) fn cancel_move(&mut self, id: AllocationId) {
        if let Some(Move { to, .. }) = self.by_id.get_mut(&id).and_then(|allocation| allocation.moving.take())
        {
            self.leave(id, to);
        }
    }

    /// The allocation is at its new 5-tuple alone. Returns whose it is, and both 5-tuples.
    pub(super) fn finish_move(&mut self, id: AllocationId) -> Option<(String, Path, Path)> {
        let allocation = self.by_id.get_mut(&id)?;
        let Move { to, .. } = allocation.moving.take()?;
        let from = std::mem::replace(&mut allocation.client, to);
        allocation.adrift = false;
        let username = allocation.username.clone();
        if from != to {
            self.leave(id, from);
        }
        Some((username, from, to))
    }

    /// The allocation has no 5-tuple until it moves to one.
    pub(super) fn set_adrift(&mut self, id: AllocationId) {
        self.cancel_move(id);
        let Some(allocation) = self.by_id.get_mut(&id) else { return };
        allocation.adrift = true;
        let client = allocation.client;
        self.leave(id, client);
    }

    pub(super) fn by_id(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.by_id.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn id_by_client(&self, client: Path) -> Option<AllocationId> {
        self.by_client.get(&client).copied()
    }

    pub(super) fn by_client(&mut self, client: Path) -> Option<(AllocationId, &mut Allocation)> {
        let id = *self.by_client.get(&client)?;
        Some((id, self.by_id(id)?))
    }

    /// The allocation whose relay socket has this address on this machine.
    pub(super) fn id_by_local(&self, local: SocketAddr) -> Option<AllocationId> {
        self.by_local.get(&local).copied()
    }

    /// The allocation that others know by this address.
    pub(super) fn id_by_relayed(&self, relayed: SocketAddr) -> Option<AllocationId> {
        self.by_relayed.get(&relayed).copied()
    }

    /// All of them, the oldest first.
    pub(super) fn ids(&self) -> Vec<AllocationId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Whether there is none, and no way to one.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
            && self.by_client.is_empty()
            && self.by_local.is_empty()
            && self.by_relayed.is_empty()
            && self.streams.is_empty()
            && self.streams_by_relayed.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
