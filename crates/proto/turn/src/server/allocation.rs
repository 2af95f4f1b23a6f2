use std::collections::BTreeMap;
use std::net::SocketAddr;

use sansio::{Path, Time};
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
}

impl Allocation {
    pub(super) fn family(&self) -> Family {
        Family::of(self.relayed.ip())
    }
}

/// All allocations, and the ways to find them.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    by_id: BTreeMap<AllocationId, Allocation>,
    by_client: BTreeMap<Path, AllocationId>,
    by_local: BTreeMap<SocketAddr, AllocationId>,
    by_relayed: BTreeMap<SocketAddr, AllocationId>,
    next: u64,
}

impl Allocations {
    pub(super) fn insert(&mut self, allocation: Allocation) -> AllocationId {
        let id = AllocationId(self.next);
        self.next += 1;
        self.by_client.insert(allocation.client, id);
        self.by_local.insert(allocation.local, id);
        self.by_relayed.insert(allocation.relayed, id);
        self.by_id.insert(id, allocation);
        id
    }

    pub(super) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.by_id.remove(&id)?;
        self.by_client.remove(&allocation.client);
        self.by_local.remove(&allocation.local);
        self.by_relayed.remove(&allocation.relayed);
        Some(allocation)
    }

    pub(super) fn by_id(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn by_client(&mut self, client: Path) -> Option<(AllocationId, &mut Allocation)> {
        let id = *self.by_client.get(&client)?;
        Some((id, self.by_id.get_mut(&id)?))
    }

    /// The allocation whose relay socket has this address on this machine.
    pub(super) fn id_by_local(&self, local: SocketAddr) -> Option<AllocationId> {
        self.by_local.get(&local).copied()
    }

    /// The allocation that others know by this address.
    pub(super) fn id_by_relayed(&self, relayed: SocketAddr) -> Option<AllocationId> {
        self.by_relayed.get(&relayed).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = AllocationId> + '_ {
        self.by_id.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
