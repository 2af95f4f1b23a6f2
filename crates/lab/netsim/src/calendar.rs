use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use sansio::Time;

/// What happens when: a heap of small keys over a slab of entries. Entries of one instant keep their order.
pub(crate) struct Calendar<E> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Calendar<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, entry: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(entry);
                slot
            }
            None => {
                self.slots.push(Some(entry));
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 things happen at once")
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse((nanos(at), self.sequence, slot)));
    }

    /// When the first entry is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|&Reverse((at, ..))| Time::from_start(Duration::from_nanos(at)))
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let entry = self.slots[slot as usize].take().expect("a slot is filled as long as its key is queued");
        Some((Time::from_start(Duration::from_nanos(at)), entry))
    }
}

fn nanos(at: Time) -> u64 {
    u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_time_and_then_in_the_order_they_were_made() {
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let mut calendar = Calendar::new();
        for (ms, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            calendar.push(at(ms), name);
        }
        assert_eq!(calendar.next(), Some(at(1)));
        let first = calendar.pop().unwrap();
        assert_eq!(first, (at(1), 'a'));
        calendar.push(at(5), 'e');
        let rest: String = std::iter::from_fn(|| calendar.pop()).map(|(_, name)| name).collect();
        assert_eq!(rest, "bcde");
    }
}
