use std::collections::{BTreeMap, VecDeque};

use super::Resident;

/// Names a connection of a [`Hub`](super::Hub), for ever: the next one in its place has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    pub(super) slot: u32,
    tenant: u32,
}

/// What a connection may have to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Write.
    Send,
    /// Tell what has happened.
    Tell,
}

impl ConnectionId {
    /// The first in its place.
    #[cfg(test)]
    pub(super) fn first(slot: u32) -> Self {
        Self { slot, tenant: 0 }
    }
}

/// The connections, and whose turn it is.
pub(super) struct Slots<C> {
    list: Vec<Entry<C>>,
    free: Vec<u32>,
    limit: usize,
    by_ufrag: BTreeMap<Box<str>, u32>,
    queues: [VecDeque<u32>; 2],
}

struct Entry<C> {
    tenant: u32,
    slot: Option<Slot<C>>,
}

/// One connection.
pub(super) struct Slot<C> {
    pub(super) resident: Box<C>,
    /// The username fragments that lead here.
    ufrags: [Option<Box<str>>; 2],
    /// Which chores it is queued for.
    queued: [bool; 2],
}

impl<C> Slots<C> {
    pub(super) fn new(limit: usize) -> Self {
        let queues = Default::default();
        Self { list: Vec::new(), free: Vec::new(), limit, by_ufrag: BTreeMap::new(), queues }
    }

    /// Gives it back if there is no room.
    pub(super) fn insert(&mut self, resident: C) -> Result<ConnectionId, C> {
        if self.len() >= self.limit.min(u32::MAX as usize) {
            return Err(resident);
        }
        let number = self.free.pop().unwrap_or(self.list.len() as u32);
        if number as usize == self.list.len() {
            self.list.push(Entry { tenant: 0, slot: None });
        }
        let entry = &mut self.list[number as usize];
        entry.slot = Some(Slot { resident: Box::new(resident), ufrags: [None, None], queued: [false; 2] });
        Ok(ConnectionId { slot: number, tenant: entry.tenant })
    }

    /// Its username fragments must have been forgotten.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<C> {
        self.find(id)?;
        let entry = &mut self.list[id.slot as usize];
        let slot = entry.slot.take()?;
        entry.tenant = entry.tenant.wrapping_add(1);
        // A number that is still queued would be taken for the next tenant's.
        for (queue, _) in self.queues.iter_mut().zip(slot.queued).filter(|(_, queued)| *queued) {
            queue.retain(|number| *number != id.slot);
        }
        self.free.push(id.slot);
        Some(*slot.resident)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() - self.free.len()
    }

    pub(super) fn ufrags(&self) -> usize {
        self.by_ufrag.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        let of = |(number, entry): (usize, &Entry<C>)| {
            entry.slot.as_ref().map(|_| ConnectionId { slot: number as u32, tenant: entry.tenant })
        };
        self.list.iter().enumerate().filter_map(of)
    }

    pub(super) fn id(&self, number: u32) -> Option<ConnectionId> {
        let entry = self.list.get(number as usize)?;
        entry.slot.as_ref().map(|_| ConnectionId { slot: number, tenant: entry.tenant })
    }

    pub(super) fn find(&self, id: ConnectionId) -> Option<&Slot<C>> {
        let entry = self.list.get(id.slot as usize)?;
        entry.slot.as_ref().filter(|_| entry.tenant == id.tenant)
    }

    pub(super) fn find_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<C>> {
        self.find(id)?;
        self.get_mut(id.slot)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Slot<C>> {
        self.list.get_mut(number as usize)?.slot.as_mut()
    }

    /// Whom a check with this username fragment is for.
    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<u32> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn forget_ufrags(&mut self, number: u32) {
        let Some(slot) = self.get_mut(number) else { return };
        for ufrag in std::mem::take(&mut slot.ufrags).into_iter().flatten() {
            if self.by_ufrag.get(&ufrag) == Some(&number) {
                self.by_ufrag.remove(&ufrag);
            }
        }
    }

    /// Queues a connection for a chore, unless it is.
    pub(super) fn enqueue(&mut self, number: u32, chore: Chore) {
        if let Some(slot) = self.get_mut(number)
            && !std::mem::replace(&mut slot.queued[chore as usize], true)
        {
            self.queues[chore as usize].push_back(number);
        }
    }

    /// How many are queued for it.
    pub(super) fn queued(&self, chore: Chore) -> usize {
        self.queues[chore as usize].len()
    }

    /// Whose turn it is.
    pub(super) fn first(&self, chore: Chore) -> Option<u32> {
        self.queues[chore as usize].front().copied()
    }

    /// Takes the first out of the queue.
    pub(super) fn next(&mut self, chore: Chore) -> Option<u32> {
        let number = self.queues[chore as usize].pop_front()?;
        if let Some(slot) = self.get_mut(number) {
            slot.queued[chore as usize] = false;
        }
        Some(number)
    }
}

impl<C: Resident> Slots<C> {
    /// Brings the table in line with what the connection goes by now.
    pub(super) fn sync_ufrags(&mut self, number: u32) {
        let Some(slot) = self.get_mut(number) else { return };
        let Slot { resident, ufrags, .. } = slot;
        let mut now = [None, None];
        {
            let connection = resident.connection();
            let mut current = connection.local_ufrags();
            let known = ufrags.each_ref().map(|ufrag| ufrag.as_deref());
            let mut fresh = [current.next(), current.next()];
            if fresh == known {
                return;
            }
            for (slot, ufrag) in now.iter_mut().zip(&mut fresh) {
                *slot = ufrag.map(Box::<str>::from);
            }
        }
        self.forget_ufrags(number);
        for ufrag in now.iter().flatten() {
            // 48 random bits: that two of ours are the same does not happen.
            self.by_ufrag.entry(ufrag.clone()).or_insert(number);
        }
        if let Some(slot) = self.get_mut(number) {
            slot.ufrags = now;
        }
    }
}
