use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What waits to be written to one client. Bounded: what does not fit is lost, as on a network.
///
/// The machine's thread puts whole messages in and never waits; the client's task takes all there is at once.
#[derive(Debug)]
pub(crate) struct Outgoing {
    state: Mutex<State>,
    news: Notify,
    limit: usize,
    /// Whether messages keep their boundaries: each has its length in front. On a stream they tell by themselves.
    datagrams: bool,
}

/// Bytes of that length.
const LENGTH: usize = 2;

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Bytes that were taken and are not yet written.
    in_flight: usize,
    closed: bool,
    lost: u64,
}

impl Outgoing {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), news: Notify::new(), limit, datagrams: false }
    }

    /// For a client of datagrams: what is taken is to be cut by [`Outgoing::datagrams`].
    pub(crate) fn of_datagrams(limit: usize) -> Self {
        Self { datagrams: true, ..Self::new(limit) }
    }

    /// The messages in what was taken.
    pub(crate) fn datagrams(mut taken: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            let (length, rest) = taken.split_first_chunk::<LENGTH>()?;
            let (message, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            taken = rest;
            Some(message)
        })
    }

    /// Puts messages in, as many as there is room for, and returns how many were lost.
    pub(crate) fn push<'a>(&self, messages: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut lost = 0;
        let mut state = self.state();
        for message in messages {
            let fits = !state.closed && state.bytes.len() + state.in_flight + message.len() <= self.limit;
            let length = u16::try_from(message.len());
            if let (true, Ok(length)) = (fits, length) {
                if self.datagrams {
                    state.bytes.extend_from_slice(&length.to_be_bytes());
                }
                state.bytes.extend_from_slice(message);
            } else {
                lost += 1;
            }
        }
        state.lost += lost;
        drop(state);
        self.news.notify_one();
        lost
    }

    /// Waits for messages and exchanges them for `written`, which has been written and is given back.
    /// `false`: there will be no more.
    pub(crate) async fn take(&self, written: &mut Vec<u8>) -> bool {
        written.clear();
        loop {
            {
                let mut state = self.state();
                state.in_flight = 0;
                if !state.bytes.is_empty() {
                    std::mem::swap(&mut state.bytes, written);
                    state.in_flight = written.len();
                    return true;
                }
                if state.closed {
                    return false;
                }
            }
            self.news.notified().await;
        }
    }

    /// Takes no more messages; what is there is still written.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.news.notify_one();
    }

    /// How many messages were lost because the client did not read.
    pub(crate) fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_keep_their_boundaries() {
        let outgoing = Outgoing::of_datagrams(100);
        outgoing.push([&b"one"[..], b"", b"three"].into_iter());
        let mut taken = Vec::new();
        assert!(outgoing.take(&mut taken).await);
        assert_eq!(Outgoing::datagrams(&taken).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_lost_and_counted_until_the_rest_is_written() {
        let outgoing = Outgoing::new(10);
        assert_eq!(outgoing.push([&b"four"[..], b"four", b"four"].into_iter()), 1);
        let mut buffer = Vec::new();
        assert!(outgoing.take(&mut buffer).await);
        assert_eq!(buffer, b"fourfour");
        assert_eq!(outgoing.push([&b"four"[..]].into_iter()), 1, "what was taken is not yet written");
        assert_eq!(outgoing.push([&b"2!"[..]].into_iter()), 0);
        assert!(outgoing.take(&mut buffer).await);
        assert_eq!(buffer, b"2!");
        outgoing.push([&b"last"[..]].into_iter());
        outgoing.close();
        assert_eq!(outgoing.push([&b"late"[..]].into_iter()), 1);
        assert!(outgoing.take(&mut buffer).await);
        assert_eq!(buffer, b"last");
        assert!(!outgoing.take(&mut buffer).await);
        assert_eq!(outgoing.lost(), 3);
    }
}
