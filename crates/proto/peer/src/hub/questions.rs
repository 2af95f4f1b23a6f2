use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sansio::{KeyedHash, Rng, Time};

use super::ConnectionId;

/// How long an answer may take: as long as the longest request is waited for (RFC 8489 §6.2.1).
const PATIENCE: Duration = Duration::from_secs(40);
/// Questions that are remembered. Of more, the oldest are forgotten.
const MAX_QUESTIONS: usize = 1 << 16;
/// A table that is emptier than this keeps its memory.
const SMALL: usize = 64;

/// Who has asked what: requests on paths that are not their sender's own.
pub(super) struct Questions {
    by_id: HashMap<[u8; 12], ConnectionId, KeyedHash>,
    /// The oldest first. One that was repeated is there twice, and one that was answered still.
    asked: VecDeque<(Time, [u8; 12])>,
}

impl Questions {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { by_id: HashMap::with_hasher(KeyedHash::new(rng)), asked: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn note(&mut self, now: Time, id: [u8; 12], asker: ConnectionId) {
        self.prune(now);
        while self.asked.len() >= MAX_QUESTIONS
            && let Some((_, oldest)) = self.asked.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        if self.by_id.insert(id, asker).is_none() {
            self.asked.push_back((now, id));
        }
    }

    /// Forgets what was asked too long ago.
    fn prune(&mut self, now: Time) {
        while self.asked.front().is_some_and(|(at, _)| *at + PATIENCE <= now)
            && let Some((_, oldest)) = self.asked.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        if self.asked.capacity() > SMALL && self.asked.len() < self.asked.capacity() / 8 {
            self.asked.shrink_to_fit();
            self.by_id.shrink_to_fit();
        }
    }

    /// Who has asked.
    pub(super) fn asker(&self, id: [u8; 12]) -> Option<ConnectionId> {
        self.by_id.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_number_and_time() {
        let mut questions = Questions::new(&mut Rng::new(Seed::from(1)));
        let id = |number: u32| {
            let mut id = [0; 12];
            id[..4].copy_from_slice(&number.to_be_bytes());
            id
        };
        let [one, other] = [7, 8].map(ConnectionId::first);
        for number in 0..MAX_QUESTIONS as u32 + 10 {
            questions.note(Time::ZERO, id(number), one);
        }
        assert_eq!((questions.len(), questions.asked.len()), (MAX_QUESTIONS, MAX_QUESTIONS));
        assert_eq!((questions.asker(id(9)), questions.asker(id(10))), (None, Some(one)));
        questions.note(Time::ZERO + PATIENCE, id(1), other);
        assert_eq!((questions.len(), questions.asked.len()), (1, 1));
        assert!(questions.asked.capacity() <= SMALL);
        assert_eq!(questions.asker(id(1)), Some(other));
    }
}
