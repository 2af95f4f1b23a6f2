use crate::Time;

/// With fewer than a quarter of so many places taken, memory is given back.
const SMALL: usize = 16;

/// One keyed table of deadlines per machine: a handful of them, O(n) to set, O(1) to ask for the next.
///
/// A sorted list, which is smaller and faster than trees are before there are hundreds. For those who have thousands there is
/// [`Wheel`](crate::Wheel).
#[derive(Debug, Clone)]
pub struct Timers<K> {
    /// The next is the last.
    list: Vec<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { list: Vec::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one it had.
    pub fn set(&mut self, key: K, at: Time) {
        self.take(key);
        let place = self.list.partition_point(|other| *other > (at, key));
        self.list.insert(place, (at, key));
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        if self.get(key).is_none_or(|old| at < old) {
            self.set(key, at);
        }
    }

    /// Removes the deadline of `key`.
    pub fn stop(&mut self, key: K) {
        self.take(key);
        self.shrink();
    }

    /// Removes all deadlines.
    pub fn clear(&mut self) {
        self.list = Vec::new();
    }

    /// The deadline of `key`.
    pub fn get(&self, key: K) -> Option<Time> {
        self.list.iter().find(|(_, other)| *other == key).map(|(at, _)| *at)
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Time> {
        self.list.last().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline that is not after `now`. Call until it returns `None`.
    pub fn expired(&mut self, now: Time) -> Option<K> {
        let (_, key) = self.list.pop_if(|(at, _)| *at <= now)?;
        self.shrink();
        Some(key)
    }

    fn take(&mut self, key: K) {
        if let Some(at) = self.list.iter().position(|(_, other)| *other == key) {
            self.list.remove(at);
        }
    }

    fn shrink(&mut self) {
        if self.list.capacity() > SMALL && self.list.len() < self.list.capacity() / 4 {
            self.list.shrink_to(self.list.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn deadlines_come_out_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set('b', at(2));
        timers.set('a', at(9));
        timers.set('a', at(1));
        timers.set('c', at(3));
        timers.stop('c');
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.expired(at(0)), None);
        assert_eq!(timers.expired(at(5)), Some('a'));
        assert_eq!(timers.expired(at(5)), Some('b'));
        assert_eq!(timers.expired(at(5)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn set_earlier_never_postpones() {
        let mut timers = Timers::default();
        timers.set_earlier('a', at(5));
        timers.set_earlier('a', at(7));
        assert_eq!(timers.get('a'), Some(at(5)));
        timers.set_earlier('a', at(3));
        assert_eq!(timers.get('a'), Some(at(3)));
    }
}
