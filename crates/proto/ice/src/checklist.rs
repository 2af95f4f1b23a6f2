use std::collections::VecDeque;

use crate::pair::{Pair, PairId};
use crate::report::PairState;
use crate::route::Route;

/// The pairs of the data stream, in the order in which they are checked, and the triggered-check queue
/// (RFC 8445 §6.1.2, §6.1.4.1).
#[derive(Debug)]
pub(crate) struct Checklist {
    /// Decreasing by priority.
    pairs: Vec<Pair>,
    triggered: VecDeque<PairId>,
    limit: usize,
}

impl Checklist {
    /// Room for `limit` pairs (RFC 8445 §6.1.2.5).
    pub(crate) fn new(limit: usize) -> Self {
        Self { pairs: Vec::new(), triggered: VecDeque::new(), limit }
    }

    /// Gives back what was kept for more.
    pub(crate) fn shrink(&mut self) {
        self.pairs.shrink_to_fit();
        self.triggered.shrink_to_fit();
    }

    /// Adds a pair and gives it its first state. Returns false if it is redundant or there is no room for it.
    pub(crate) fn insert(&mut self, mut pair: Pair) -> bool {
        if self.pairs.iter().any(|other| other.route == pair.route) || !self.make_room(pair.priority) {
            return false;
        }
        pair.state = self.initial_state(&pair);
        let at = self.pairs.partition_point(|other| other.priority >= pair.priority);
        self.pairs.insert(at, pair);
        true
    }

    /// RFC 8838 §12, rules 1 to 3, which for pairs that are there from the start come to RFC 8445 §6.1.2.6.
    fn initial_state(&self, pair: &Pair) -> PairState {
        let mut peers = self.pairs.iter().filter(|other| other.foundation == pair.foundation).peekable();
        let topmost = peers.peek().is_none_or(|first| first.priority < pair.priority);
        match topmost || peers.any(|other| other.state == PairState::Succeeded) {
            true => PairState::Waiting,
            false => PairState::Frozen,
        }
    }

    /// RFC 8838 §10.6: failed pairs give way first, then those of less priority that wait.
    fn make_room(&mut self, priority: u64) -> bool {
        if self.pairs.len() < self.limit {
            return true;
        }
        let failed = self.pairs.iter().rposition(|pair| pair.state == PairState::Failed);
        let lesser = |pair: &Pair| {
            pair.priority < priority && matches!(pair.state, PairState::Frozen | PairState::Waiting)
        };
        let Some(at) = failed.or_else(|| self.pairs.iter().rposition(lesser)) else { return false };
        let gone = self.pairs.remove(at);
        self.triggered.retain(|id| *id != gone.id);
        true
    }

    /// The pair with this name, if it is still there.
    pub(crate) fn get(&self, id: PairId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.id == id)
    }

    /// The pair with this name, if it is still there.
    pub(crate) fn get_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.id == id)
    }

    /// The pair whose packets take `route`.
    pub(crate) fn at_route(&self, route: &Route) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.route == *route)
    }

    /// All pairs, by decreasing priority.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }

    /// All pairs, by decreasing priority. Changed priorities take effect with [`Checklist::sort`].
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.pairs.iter_mut()
    }

    /// Puts the pairs in order again.
    pub(crate) fn sort(&mut self) {
        self.pairs.sort_by_key(|pair| std::cmp::Reverse(pair.priority));
    }

    /// The best pair that may carry data.
    pub(crate) fn best_valid(&self) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.valid.is_some())
    }

    /// Puts a pair into the triggered-check queue and makes it wait there.
    pub(crate) fn trigger(&mut self, id: PairId) {
        if let Some(pair) = self.get_mut(id) {
            pair.state = PairState::Waiting;
            if !self.triggered.contains(&id) {
                self.triggered.push_back(id);
            }
        }
    }

    /// Queues a repetition of a successful check, which leaves the state as it is (RFC 8445 §8.1.1).
    pub(crate) fn repeat(&mut self, id: PairId) {
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
        }
    }

    /// The next triggered check that can be sent.
    pub(crate) fn next_triggered(&mut self) -> Option<PairId> {
        let ready = |id: &PairId| self.get(*id).is_some_and(|pair| pair.permitted);
        let at = self.triggered.iter().position(ready)?;
        self.triggered.remove(at)
    }

    /// The next pair for an ordinary check (RFC 8445 §6.1.4.2, steps 2 and 3).
    pub(crate) fn next_ordinary(&mut self) -> Option<PairId> {
        self.thaw();
        let ready = |pair: &&Pair| pair.state == PairState::Waiting && pair.permitted;
        self.pairs.iter().find(ready).map(|pair| pair.id)
    }

    /// Whether [`Checklist::next_ordinary`] will return something.
    pub(crate) fn has_ordinary(&self) -> bool {
        let ready = |pair: &Pair| pair.state == PairState::Waiting && pair.permitted;
        self.pairs.iter().any(|pair| ready(pair) || (pair.state == PairState::Frozen && !self.is_busy(pair)))
    }

    /// RFC 8445 §6.1.4.2, step 2: a foundation of which nothing waits or is under way gets its best frozen pair.
    fn thaw(&mut self) {
        let waiting = |pair: &Pair| pair.state == PairState::Waiting && pair.permitted;
        if self.pairs.iter().any(waiting) {
            return;
        }
        for at in 0..self.pairs.len() {
            if self.pairs[at].state == PairState::Frozen && !self.is_busy(&self.pairs[at]) {
                self.pairs[at].state = PairState::Waiting;
            }
        }
    }

    /// Whether a pair of the same foundation waits or is under way.
    fn is_busy(&self, pair: &Pair) -> bool {
        self.pairs.iter().any(|other| {
            other.foundation == pair.foundation
                && matches!(other.state, PairState::Waiting | PairState::InProgress)
        })
    }

    /// RFC 8445 §7.2.5.3.3: a success thaws all pairs of its foundation.
    pub(crate) fn thaw_foundation(&mut self, foundation: &(String, String)) {
        for pair in &mut self.pairs {
            if pair.state == PairState::Frozen && pair.foundation == *foundation {
                pair.state = PairState::Waiting;
            }
        }
    }

    /// Nothing is to be checked any more.
    pub(crate) fn stop(&mut self) {
        self.triggered.clear();
    }

    /// How many checks wait or are under way, for the RTO (RFC 8445 §14.3).
    pub(crate) fn busy(&self) -> usize {
        let busy = |pair: &&Pair| matches!(pair.state, PairState::Waiting | PairState::InProgress);
        self.pairs.iter().filter(busy).count()
    }

    /// Whether no check can change anything any more (RFC 8445 §7.2.5.4).
    pub(crate) fn is_exhausted(&self) -> bool {
        !self.pairs.iter().any(Pair::is_open)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use sansio::Path;

    use super::*;
    use crate::local::Locals;
    use crate::pair::Evidence;
    use crate::remote::Remotes;

    fn pair(number: u16, priority: u64, foundation: &str) -> Pair {
        let address: SocketAddr = ([192, 0, 2, 1], number).into();
        Pair {
            id: PairId(number.into()),
            base: Locals::default().add_base(address, None, 0),
            remote: Remotes::new(1).learn(address, 1).unwrap(),
            route: Route::Direct(Path::udp(address, address)),
            priority,
            foundation: ("1".to_owned(), foundation.to_owned()),
            state: PairState::Frozen,
            permitted: true,
            current: None,
            valid: None,
            nominate_on_success: false,
            nominated: false,
            relayed: false,
            evidence: Evidence::default(),
        }
    }

    fn states(list: &Checklist) -> Vec<(u32, PairState)> {
        list.iter().map(|pair| (pair.id.0, pair.state)).collect()
    }

    #[test]
    fn one_pair_of_each_foundation_waits_and_success_thaws_the_others() {
        use PairState::*;
        let mut list = Checklist::new(10);
        for (number, priority, foundation) in [(1, 10, "a"), (2, 30, "b"), (3, 20, "b"), (4, 5, "a")] {
            assert!(list.insert(pair(number, priority, foundation)));
        }
        assert_eq!(states(&list), [(2, Waiting), (3, Frozen), (1, Waiting), (4, Frozen)]);
        let first = list.next_ordinary().unwrap();
        assert_eq!(first, PairId(2));
        list.get_mut(first).unwrap().state = Succeeded;
        list.thaw_foundation(&("1".to_owned(), "b".to_owned()));
        assert_eq!(states(&list), [(2, Succeeded), (3, Waiting), (1, Waiting), (4, Frozen)]);
        assert!(list.insert(pair(5, 1, "b")), "RFC 8838 §12, rule 2");
        assert_eq!(list.get(PairId(5)).unwrap().state, Waiting);
        assert!(list.insert(pair(6, 1, "a")), "rule 3");
        assert_eq!(list.get(PairId(6)).unwrap().state, Frozen);
        assert!(list.insert(pair(7, 99, "a")), "rule 1");
        assert_eq!(list.get(PairId(7)).unwrap().state, Waiting);
    }

    #[test]
    fn a_frozen_pair_gets_its_turn_when_its_foundation_is_idle() {
        use PairState::*;
        let mut list = Checklist::new(10);
        list.insert(pair(1, 20, "a"));
        list.insert(pair(2, 10, "a"));
        list.get_mut(PairId(1)).unwrap().state = InProgress;
        assert!(!list.has_ordinary());
        assert_eq!(list.next_ordinary(), None);
        list.get_mut(PairId(1)).unwrap().state = Failed;
        assert!(list.has_ordinary());
        assert_eq!(list.next_ordinary(), Some(PairId(2)));
    }

    #[test]
    fn a_full_list_gives_up_failed_pairs_and_then_lesser_ones() {
        let mut list = Checklist::new(3);
        for number in 1..=3 {
            assert!(list.insert(pair(number, u64::from(number) * 10, "a")));
        }
        list.get_mut(PairId(3)).unwrap().state = PairState::Failed;
        assert!(list.insert(pair(4, 1, "a")));
        assert!(list.get(PairId(3)).is_none());
        assert!(!list.insert(pair(5, 1, "a")), "not better than any");
        assert!(list.insert(pair(6, 15, "a")));
        assert!(list.get(PairId(4)).is_none());
        assert!(!list.insert(pair(6, 99, "a")), "redundant");
    }

    #[test]
    fn triggered_checks_keep_their_order_and_wait_for_permission() {
        let mut list = Checklist::new(3);
        for number in 1..=3 {
            list.insert(pair(number, 10, "a"));
        }
        list.get_mut(PairId(1)).unwrap().permitted = false;
        for number in [1, 2, 3, 2] {
            list.trigger(PairId(number));
        }
        assert_eq!(list.next_triggered(), Some(PairId(2)));
        assert_eq!(list.next_triggered(), Some(PairId(3)));
        assert_eq!(list.next_triggered(), None);
        list.get_mut(PairId(1)).unwrap().permitted = true;
        assert_eq!(list.next_triggered(), Some(PairId(1)));
    }
}
