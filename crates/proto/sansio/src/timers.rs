use std::collections::{BTreeMap, BTreeSet};

use crate::Time;

/// One keyed table of deadlines per machine: O(log n) to set, O(1) to ask for the next.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one it had.
    pub fn set(&mut self, key: K, at: Time) {
        if let Some(old) = self.by_key.insert(key, at) {
            self.by_time.remove(&(old, key));
        }
        self.by_time.insert((at, key));
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        if self.get(key).is_none_or(|old| at < old) {
            self.set(key, at);
        }
    }

    /// Removes the deadline of `key`.
    pub fn stop(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
    }

    /// Removes all deadlines.
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }

    /// The deadline of `key`.
    pub fn get(&self, key: K) -> Option<Time> {
        self.by_key.get(&key).copied()
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest deadline that is not after `now`. Call until it returns `None`.
    pub fn expired(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
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
