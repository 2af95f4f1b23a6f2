use std::sync::Arc;

use mio::Waker;
use tokio::sync::mpsc;

use crate::connection::StreamEvent;

/// Where streams tell the machine's thread what they have.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) events: mpsc::Sender<StreamEvent>,
    pub(crate) waker: Arc<Waker>,
}

/// Nobody reads any more: the server has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Post {
    /// Waits until there is room.
    pub(crate) async fn send(&self, event: StreamEvent) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended)?;
        self.waker.wake().map_err(|_| Ended)
    }
}
