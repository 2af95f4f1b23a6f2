use std::collections::HashMap;

use sansio::{KeyedHash, Rng, Time};
use turn::{AllocationId, Flow};

use crate::egress::Exit;
use crate::key::Key;

/// Flows that one allocation may have here. The machine decides about each datagram of those beyond.
const PER_ALLOCATION: usize = 1024;

/// The flows that the machine has admitted: where what is known by a [`Key`] goes.
///
/// This table is the seam for a fast path further down: what is in it could be carried by the kernel.
pub(crate) struct Flows {
    by_key: HashMap<Key, u32, KeyedHash>,
    by_allocation: HashMap<AllocationId, Vec<u32>, KeyedHash>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// What flows carried that are no more.
    unreported: Vec<Carried>,
}

/// What a flow carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) flow: Flow,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// One of them.
pub(crate) struct Entry {
    key: Key,
    pub(crate) flow: Flow,
    pub(crate) exit: Exit,
    /// What it carried since that was last reported.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The round in which it last carried something, and the group that took it.
    pub(crate) round: u64,
    pub(crate) group: u32,
    /// Bytes that it may still carry.
    allowance: u64,
}

impl Entry {
    /// Takes so many bytes out of what the flow may still carry. `false`: it has to be asked for again.
    pub(crate) fn affords(&mut self, bytes: usize) -> bool {
        let rest = self.allowance.checked_sub(bytes as u64);
        self.allowance = rest.unwrap_or(0);
        rest.is_some()
    }
}

impl Flows {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let hash = KeyedHash::new(rng);
        Self {
            by_key: HashMap::with_hasher(hash.clone()),
            by_allocation: HashMap::with_hasher(hash),
            entries: Vec::new(),
            free: Vec::new(),
            unreported: Vec::new(),
        }
    }

    /// The flow of what is known by `key`.
    pub(crate) fn find(&mut self, now: Time, key: &Key) -> Option<u32> {
        let at = *self.by_key.get(key)?;
        let entry = self.entries[at as usize].as_ref()?;
        if entry.flow.until <= now {
            self.remove(at);
            return None;
        }
        Some(at)
    }

    pub(crate) fn entry(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    /// Takes a flow in, unless its allocation has as many as it may have.
    pub(crate) fn insert(&mut self, key: Key, flow: Flow, exit: Exit) {
        if let Some(old) = self.by_key.get(&key).copied() {
            self.remove(old);
        }
        let full = |id| self.by_allocation.get(&id).is_some_and(|flows| flows.len() >= PER_ALLOCATION);
        if [flow.source, flow.target].into_iter().flatten().any(full) {
            return;
        }
        let allowance = flow.allowance.unwrap_or(u64::MAX);
        let entry = Entry { key, flow, exit, packets: 0, bytes: 0, round: 0, group: 0, allowance };
        let at = self.free.pop().unwrap_or(self.entries.len() as u32);
        if at as usize == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[at as usize] = Some(entry);
        self.by_key.insert(key, at);
        for id in [flow.source, flow.target].into_iter().flatten() {
            self.by_allocation.entry(id).or_default().push(at);
        }
    }

    /// Forgets all flows of an allocation.
    pub(crate) fn forget(&mut self, id: AllocationId) {
        for at in self.by_allocation.remove(&id).unwrap_or_default() {
            self.remove(at);
        }
    }

    /// What flows carried that have ended since this was asked last, and had not been reported.
    pub(crate) fn take_unreported(&mut self) -> impl Iterator<Item = Carried> {
        self.unreported.drain(..)
    }

    /// Whether there is any of that.
    pub(crate) fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("flows", self.by_key.len()),
            ("allocations with flows", self.by_allocation.len()),
            ("places of flows", self.entries.len() - self.free.len()),
            ("flows that ended", self.unreported.len()),
        ]
    }

    fn remove(&mut self, at: u32) {
        let Some(entry) = self.entries[at as usize].take() else { return };
        if entry.packets > 0 {
            let Entry { flow, packets, bytes, .. } = entry;
            self.unreported.push(Carried { flow, packets, bytes });
        }
        self.free.push(at);
        self.by_key.remove(&entry.key);
        for id in [entry.flow.source, entry.flow.target].into_iter().flatten() {
            if let Some(flows) = self.by_allocation.get_mut(&id) {
                flows.retain(|other| *other != at);
                if flows.is_empty() {
                    self.by_allocation.remove(&id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use sansio::{Path, Seed};
    use turn::{Framing, Passage};

    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn seconds(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    fn key(port: u16) -> Key {
        Key::new(&Passage::Peer { local: at(1), peer: at(port) }).unwrap()
    }

    fn insert(flows: &mut Flows, port: u16, source: u64, target: Option<u64>) {
        let flow = Flow {
            source: Some(AllocationId(source)),
            target: target.map(AllocationId),
            to: Path::udp(at(2), at(3)),
            framing: Framing::Plain,
            until: seconds(10),
            allowance: None,
        };
        flows.insert(
            key(port),
            flow,
            Exit { socket: 0, from: None, to: at(3), key: key(port), shared: false },
        );
    }

    fn flows() -> Flows {
        Flows::new(&mut Rng::new(Seed::from(1)))
    }

    #[test]
    fn a_flow_is_found_until_it_expires_and_leaves_nothing_behind() {
        let mut flows = flows();
        insert(&mut flows, 7, 1, None);
        assert!(flows.find(seconds(9), &key(7)).is_some());
        assert!(flows.find(seconds(9), &key(8)).is_none());
        assert!(flows.find(seconds(10), &key(7)).is_none());
        assert!(flows.by_key.is_empty() && flows.by_allocation.is_empty());
        insert(&mut flows, 9, 1, None);
        assert_eq!(flows.entries.len(), 1, "the place is used again");
    }

    #[test]
    fn a_flow_between_two_allocations_ends_with_either() {
        for ended in [1, 2] {
            let mut flows = flows();
            insert(&mut flows, 7, 1, Some(2));
            insert(&mut flows, 8, 3, None);
            flows.forget(AllocationId(ended));
            assert!(flows.find(seconds(1), &key(7)).is_none());
            assert!(flows.find(seconds(1), &key(8)).is_some());
            assert_eq!(flows.by_allocation.len(), 1);
        }
    }

    #[test]
    fn an_allocation_has_no_more_than_its_share() {
        let mut flows = flows();
        for port in 0..2000 {
            insert(&mut flows, port, 1, None);
        }
        assert_eq!(flows.by_key.len(), PER_ALLOCATION);
        insert(&mut flows, 3000, 2, None);
        assert!(flows.find(seconds(1), &key(3000)).is_some());
    }
}
