use std::collections::HashMap;
use std::net::SocketAddr;

use sansio::{KeyedHash, Path, Rng, Time};
use stun::TransactionId;

use super::channels::Channels;
use super::permission::Permissions;
use crate::attribute::Family;

/// Names an allocation among all that the server ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

/// A relayed address and whom it serves (RFC 8656 §6).
#[derive(Debug)]
pub(super) struct Allocation {
    /// The 5-tuple.
    pub(super) client: Path,
    pub(super) username: String,
    /// Which of the server's relay addresses it is on.
    pub(super) relay: usize,
    /// The socket's address on this machine.
    pub(super) local: SocketAddr,
    /// The same as others see it.
    pub(super) relayed: SocketAddr,
    /// Of the Allocate request, to know its retransmissions.
    pub(super) transaction_id: TransactionId,
    /// Whether the client wanted an IPv6 address in addition, and has been told that there is none.
    pub(super) wanted_another: bool,
    pub(super) created: Time,
    pub(super) expiry: Time,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    pub(super) bytes_to_peers: u64,
    pub(super) bytes_to_client: u64,
    /// Whether somebody was told a flow of it since it was last unsettled.
    pub(super) in_flows: bool,
}

impl Allocation {
    pub(super) fn family(&self) -> Family {
        Family::of(self.relayed.ip())
    }
}

/// All allocations, and the ways to find them.
#[derive(Debug)]
pub(super) struct Allocations {
    by_id: HashMap<AllocationId, Box<Allocation>, KeyedHash>,
    by_client: HashMap<Path, AllocationId, KeyedHash>,
    by_local: HashMap<SocketAddr, AllocationId, KeyedHash>,
    by_relayed: HashMap<SocketAddr, AllocationId, KeyedHash>,
    next: u64,
}

impl Allocations {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let hash = KeyedHash::new(rng);
        Self {
            by_id: HashMap::with_hasher(hash.clone()),
            by_client: HashMap::with_hasher(hash.clone()),
            by_local: HashMap::with_hasher(hash.clone()),
            by_relayed: HashMap::with_hasher(hash),
            next: 0,
        }
    }

    pub(super) fn insert(&mut self, allocation: Allocation) -> AllocationId {
        let id = AllocationId(self.next);
        self.next += 1;
        self.by_client.insert(allocation.client, id);
        self.by_local.insert(allocation.local, id);
        self.by_relayed.insert(allocation.relayed, id);
        self.by_id.insert(id, Box::new(allocation));
        id
    }

    pub(super) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.by_id.remove(&id)?;
        self.by_client.remove(&allocation.client);
        self.by_local.remove(&allocation.local);
        self.by_relayed.remove(&allocation.relayed);
        Some(*allocation)
    }

    pub(super) fn by_id(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.by_id.get_mut(&id).map(Box::as_mut)
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

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
