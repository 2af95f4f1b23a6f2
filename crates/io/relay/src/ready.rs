use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Which of many sockets have something to do, so that nobody has to ask all of them.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Flag>>,
    task: Option<Waker>,
}

/// Puts its socket into the queue when it is woken, once until it is taken out.
#[derive(Debug)]
pub(crate) struct Flag {
    key: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Ready {
    /// A flag for the socket `key`. It is up at first: nobody has looked at the socket yet.
    pub(crate) fn flag(self: &Arc<Self>, key: u64) -> Arc<Flag> {
        let flag = Arc::new(Flag { key, queued: AtomicBool::new(false), ready: self.clone() });
        flag.wake_by_ref();
        flag
    }

    /// The next socket that has something to do.
    pub(crate) fn next(&self) -> Option<u64> {
        let flag = self.state().queue.pop_front()?;
        // Down before the socket is looked at: what happens from here on raises it again. An exchange, not a
        // store, so that whoever found it up has what he did before seen by the look that follows.
        flag.queued.swap(false, Ordering::AcqRel);
        Some(flag.key)
    }

    /// How many sockets have something to do.
    pub(crate) fn len(&self) -> usize {
        self.state().queue.len()
    }

    /// Ready when any socket has something to do.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.queue.is_empty() {
            return Poll::Ready(());
        }
        match &mut state.task {
            Some(task) => task.clone_from(cx.waker()),
            None => state.task = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut state = self.ready.state();
            state.queue.push_back(self.clone());
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stands_in_the_queue_once_and_in_turn() {
        let ready = Arc::new(Ready::default());
        let flags = [ready.flag(1), ready.flag(2)];
        flags[1].wake_by_ref();
        flags[0].wake_by_ref();
        assert_eq!((ready.next(), ready.next(), ready.next()), (Some(1), Some(2), None));
        flags[1].wake_by_ref();
        flags[0].wake_by_ref();
        assert_eq!((ready.next(), ready.next(), ready.next()), (Some(2), Some(1), None));
    }

    #[test]
    fn a_flag_wakes_the_task_that_waits() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let ready = Arc::new(Ready::default());
        let flag = ready.flag(1);
        ready.next();
        let count = Arc::new(Count(Default::default()));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(ready.poll(&mut cx).is_pending());
        flag.wake_by_ref();
        flag.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(ready.poll(&mut cx).is_ready());
    }
}
