use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};
use sansio::Time;

use crate::clock::Clock;
use crate::gathering::{Gathering, MOMENT};
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
    /// What the clock showed after the last wait.
    now: Time,
    /// Whether somebody has called since that was asked last.
    called: bool,
    gathering: Gathering,
}

impl Pulse {
    pub(crate) fn new(clock: Clock, busy: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            clock,
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            busy,
            last: Instant::now(),
            now: Time::ZERO,
            called: true,
            gathering: Gathering::default(),
        })
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

    /// Whether somebody has woken it since this was asked last: he has left something.
    pub(crate) fn was_called(&mut self) -> bool {
        std::mem::take(&mut self.called)
    }

    /// Waits until a socket has something, `until` has come, or somebody wakes it; and before that for a moment, where it pays.
    /// Returns what time it is. (The clock is
    /// read once for each turn: how long to wait is reckoned from the last one's beginning.)
    pub(crate) fn wait(&mut self, until: Option<Time>, sockets: &mut Sockets) -> Time {
        self.gathering.count(self.now, sockets.take_alone());
        if self.busy.is_zero() && self.gathering.pays() && sockets.pending() == 0 {
            std::thread::sleep(MOMENT);
        }
        let looks = !self.busy.is_zero() && self.last.elapsed() < self.busy;
        let timeout = if sockets.pending() > 0 || sockets.is_troubled() || looks {
            Some(Duration::ZERO)
        } else {
            until.map(|at| at.since(self.now))
        };
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // Nothing that could be waited for any more, and nobody to tell: better slow than spinning.
            tracing::error!(%error, "cannot wait for sockets");
            std::thread::sleep(Duration::from_millis(10));
        }
        for event in &self.events {
            if event.token() == WAKER {
                self.called = true;
            } else {
                sockets.has_something(event.token().0);
                if event.is_error() {
                    sockets.has_trouble(event.token().0);
                }
            }
        }
        if !self.busy.is_zero() && !self.events.is_empty() {
            self.last = Instant::now();
        }
        self.now = self.clock.now();
        self.now
    }
}
