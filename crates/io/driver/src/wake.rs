use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use peer::ConnectionId;

/// Wakes the one engine task. Any number of calls before it runs cost one wakeup.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wake {
    /// Makes the next poll ready.
    pub(crate) fn call(&self) {
        // A look costs less than a change while the engine looks, too. Who calls has changed the host under its mutex, so
        // what is seen here is no older than that.
        if self.called.load(Ordering::Acquire) || self.called.swap(true, Ordering::AcqRel) {
            return; // called before, and not heard yet: whoever called then woke the task
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was called since the last time this was ready.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.called.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            other => *other = Some(cx.waker().clone()),
        }
        drop(waker);
        // A call between the two lines above found no waker to wake.
        if self.called.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// How the holders of a handle call the engine.
#[derive(Debug)]
pub(crate) enum Bell {
    /// Of an engine with one host.
    Own(Wake),
    /// Of an engine with many residents.
    House(Arc<Porch>),
    /// Of one of these.
    Resident { porch: Arc<Porch>, id: OnceLock<ConnectionId>, rung: AtomicBool },
}

/// Where the residents of one engine ring.
#[derive(Debug, Default)]
pub(crate) struct Porch {
    wake: Wake,
    rung: Mutex<Vec<ConnectionId>>,
}

impl Porch {
    /// Who has rung since the last time.
    pub(crate) fn take(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bell {
    /// Has the engine take a turn.
    pub(crate) fn ring(&self) {
        match self {
            Self::Own(wake) => wake.call(),
            Self::House(porch) => porch.wake.call(),
            Self::Resident { porch, id, rung } => {
                let Some(id) = id.get() else { return };
                if !rung.swap(true, Ordering::AcqRel) {
                    porch.rung.lock().unwrap_or_else(PoisonError::into_inner).push(*id);
                    porch.wake.call();
                }
            }
        }
    }

    /// Of a resident: what was rung for is seen to from now on.
    pub(crate) fn hear(&self) {
        if let Self::Resident { rung, .. } = self {
            rung.store(false, Ordering::Release);
        }
    }

    /// Of a resident: under which name it rings.
    pub(crate) fn engrave(&self, name: ConnectionId) {
        if let Self::Resident { id, .. } = self {
            // Once: a resident does not move.
            let _ = id.set(name);
        }
    }

    /// Whether the engine was called.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(wake) => wake.poll(cx),
            Self::House(porch) => porch.wake.poll(cx),
            Self::Resident { .. } => Poll::Pending,
        }
    }
}

/// Tasks that wait for something in the state that a mutex guards.
///
/// A future that is dropped leaves its waker behind until the next wakeup; a task that waits again replaces its own.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Vec<Waker>);

impl Waiting {
    /// Adds the task of `cx`.
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    /// Moves all to `wakers`, to be woken once the mutex is released.
    pub(crate) fn drain_into(&mut self, wakers: &mut Vec<Waker>) {
        wakers.append(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake as StdWake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl StdWake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn many_calls_wake_once_and_are_heard_once() {
        let (wake, count) = (Wake::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(wake.poll(&mut cx).is_pending());
        wake.call();
        wake.call();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(wake.poll(&mut cx).is_ready());
        assert!(wake.poll(&mut cx).is_pending());
    }

    #[test]
    fn a_task_that_waits_twice_is_woken_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let (mut waiting, mut wakers) = (Waiting::default(), Vec::new());
        waiting.register(&Context::from_waker(&waker));
        waiting.register(&Context::from_waker(&waker));
        waiting.drain_into(&mut wakers);
        assert_eq!(wakers.len(), 1);
        waiting.drain_into(&mut wakers);
        assert_eq!(wakers.len(), 1);
    }
}
