use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use sansio::Time;

use crate::clock::Clock;
use crate::sockets::Sockets;

/// The token of those that wake a shard from outside.
const WAKER: Token = Token(usize::MAX);
/// Sockets that one look tells of.
const EVENTS: usize = 1024;

/// What a shard's thread waits on.
pub(crate) struct Pulse {
    clock: Clock,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// How long it keeps looking without sleeping after something came.
    busy: Duration,
    /// When something came last.
    last: Instant,
}

impl Pulse {
    pub(crate) fn new(clock: Clock, busy: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self { clock, poll, events: Events::with_capacity(EVENTS), waker, busy, last: Instant::now() })
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Wakes this thread from another.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until a socket has something, `until` has come, or somebody wakes it.
    pub(crate) fn wait(&mut self, until: Option<Time>, sockets: &mut Sockets) {
        let looks = !self.busy.is_zero() && self.last.elapsed() < self.busy;
        let timeout = if sockets.pending() > 0 || sockets.is_troubled() || looks {
            Some(Duration::ZERO)
        } else {
            until.map(|at| at.since(self.clock.now()))
        };
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // Nothing that could be waited for any more, and nobody to tell: better slow than spinning.
            tracing::error!(%error, "cannot wait for sockets");
            std::thread::sleep(Duration::from_millis(10));
        }
        for event in &self.events {
            if event.token() != WAKER {
                sockets.has_something(event.token().0);
                if event.is_error() {
                    sockets.has_trouble(event.token().0);
                }
            }
        }
        if !self.busy.is_zero() && !self.events.is_empty() {
            self.last = Instant::now();
        }
    }
}
