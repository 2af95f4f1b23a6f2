use std::time::Duration;

use sansio::Time;

/// Messages of the greatest length that may be held in part although nothing can be read: none of them could ever become
/// whole otherwise.
const PARTS: usize = 64;

/// How much the peer may send before something is read. It grows with the path: whoever reads more than half of it within a
/// round trip, with what waits for something lost, would be held up by it.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    largest: usize,
    /// What the peer was told last.
    offered: usize,
    rtt: Option<Duration>,
    /// Bytes that were read since, and bytes that came since.
    read: (Time, usize),
    came: (Time, usize),
    /// The most that waited for something lost meanwhile.
    waited: usize,
}

impl Window {
    pub(crate) fn new(limit: usize, largest: usize) -> Self {
        let largest = largest.max(limit);
        let never = (Time::ZERO, 0);
        Self { limit, largest, offered: limit, rtt: None, read: never, came: never, waited: 0 }
    }

    /// Whether there is room for a chunk: the peer may not know yet how much is left, and what messages cost beside their
    /// bytes, so it is twice what it is told.
    pub(crate) fn takes(&self, held: usize, ready: usize, length: usize, longest: usize) -> bool {
        let parts = if ready == 0 { PARTS * longest } else { 0 };
        held + length <= (2 * self.limit).saturating_add(parts)
    }

    /// What there is room for. If nothing can be read, a message must be able to become whole.
    fn room(&self, held: usize, ready: usize, longest: usize) -> usize {
        let least = if ready == 0 { longest.min(self.limit) } else { 0 };
        self.limit.saturating_sub(held).max(least)
    }

    /// What the peer is told now.
    pub(crate) fn offer(&mut self, held: usize, ready: usize, longest: usize) -> u32 {
        self.offered = self.room(held, ready, longest);
        u32::try_from(self.offered).unwrap_or(u32::MAX)
    }

    /// Whether the peer was last told that there is little room, and now there is much.
    pub(crate) fn has_reopened(&self, held: usize) -> bool {
        self.offered < self.limit / 4 && self.limit.saturating_sub(held) >= self.limit / 2
    }

    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    /// Something came, and so much waits for others. If nobody has measured the round trip, it is no longer than a whole window
    /// takes.
    pub(crate) fn arrived(&mut self, now: Time, bytes: usize, waiting: usize) {
        self.waited = self.waited.max(waiting);
        self.came.1 += bytes;
        if self.came.1 >= self.limit {
            let elapsed = now - self.came.0;
            self.rtt = Some(self.rtt.map_or(elapsed, |rtt| rtt.min(elapsed)));
            self.came = (now, 0);
        }
    }

    /// Something was read.
    pub(crate) fn read(&mut self, now: Time, bytes: usize) {
        self.read.1 += bytes;
        let Some(rtt) = self.rtt.filter(|rtt| now - self.read.0 >= *rtt) else { return };
        // What is lost twice waits for two round trips more, so what waits counts double.
        let used = self.read.1 + 2 * std::mem::take(&mut self.waited);
        // A pause of the application's says nothing, and who does not read needs no more.
        if now - self.read.0 < rtt * 4 && used > self.limit / 2 && self.read.1 > self.limit / 16 {
            self.limit = (2 * used).clamp(self.limit, self.largest);
        }
        self.read = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_for_those_who_read_fast_and_only_so_far() {
        let mut window = Window::new(1000, 6000);
        window.set_rtt(Duration::from_millis(10));
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        window.read(at(10), 100);
        assert_eq!(window.offer(0, 1, 10), 1000);
        for round in 2..20 {
            window.read(at(10 * round), 900);
            let read = window.limit;
            window.read(at(10 * round), read);
        }
        assert!((1800..=6000).contains(&window.limit), "{}", window.limit);
        for round in 20..60 {
            window.read(at(10 * round), window.limit);
        }
        assert_eq!(window.limit, 6000);
    }

    #[test]
    fn it_grows_by_what_waits_for_something_lost_as_well() {
        let mut window = Window::new(1000, 60_000);
        window.set_rtt(Duration::from_millis(10));
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        window.read(at(10), 100);
        window.arrived(at(15), 10, 800);
        window.read(at(20), 300);
        assert_eq!(window.limit, 3800);
        window.arrived(at(25), 10, 3000);
        window.read(at(30), 100);
        assert_eq!(window.limit, 3800, "nobody reads");
    }

    #[test]
    fn messages_in_part_leave_room_for_one_to_become_whole() {
        let mut window = Window::new(1000, 1000);
        assert_eq!(window.offer(1500, 0, 300), 300);
        assert_eq!(window.offer(1500, 1, 300), 0);
        assert!(window.takes(2000 + 63 * 300, 0, 300, 300) && !window.takes(2000 + 64 * 300, 0, 1, 300));
        assert!(!window.takes(2000, 1, 1, 300));
        assert!(window.has_reopened(500) && !window.has_reopened(600));
    }
}
