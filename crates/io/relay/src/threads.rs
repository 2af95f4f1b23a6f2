use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mio::Waker;
use tokio::sync::watch;

/// The threads of a relay. Dropped, they end.
pub(crate) struct Threads {
    stop: Arc<AtomicBool>,
    running: Vec<(Arc<Waker>, JoinHandle<()>)>,
    /// Each thread holds a receiver as long as it runs.
    alive: watch::Sender<()>,
}

impl Default for Threads {
    fn default() -> Self {
        Self { stop: Arc::default(), running: Vec::new(), alive: watch::channel(()).0 }
    }
}

impl Threads {
    /// Starts one, which is to look at its flag whenever `waker` wakes it. What it logs goes where the caller's goes.
    pub(crate) fn start(
        &mut self,
        name: String,
        waker: Arc<Waker>,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) {
        let (stop, alive) = (self.stop.clone(), self.alive.subscribe());
        let log = tracing::dispatcher::get_default(Clone::clone);
        let body = move || {
            let _alive = alive;
            tracing::dispatcher::with_default(&log, || run(&stop));
        };
        let thread =
            std::thread::Builder::new().name(name).spawn(body).expect("the system has room for a thread");
        self.running.push((waker, thread));
    }

    /// Ready when all have ended.
    pub(crate) async fn ended(&self) {
        self.alive.closed().await;
    }

    /// Tells them to end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for (waker, _) in &self.running {
            let _ = waker.wake();
        }
    }

    /// Waits until all have ended. What made one panic makes the caller panic.
    pub(crate) fn join(&mut self) {
        for (_, thread) in self.running.drain(..) {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
        for (_, thread) in self.running.drain(..) {
            let _ = thread.join();
        }
    }
}
