//! What files travel on: a data channel, or in tests a pair of queues.

use std::future::Future;

use bytes::Bytes;

use crate::failure::{Failure, Kind};

/// One message of the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Bytes),
}

/// A reliable, ordered channel of messages. Sending waits while the channel is full.
pub(crate) trait Wire {
    fn send(&self, frame: Frame) -> impl Future<Output = Result<(), Failure>>;
    /// The next message; `None` once the other side is gone.
    fn recv(&self) -> impl Future<Output = Option<Frame>>;
}

/// What to say when the channel ends before the job does.
pub(crate) fn vanished() -> Failure {
    let message =
        "the other side vanished; what arrived is kept: run the same command again on both sides to go on";
    Failure::new(Kind::Peer, message)
}

impl Wire for sterna::DataChannel {
    async fn send(&self, frame: Frame) -> Result<(), Failure> {
        let sent = match frame {
            Frame::Text(text) => self.send_text(&text).await,
            Frame::Binary(bytes) => Self::send(self, bytes).await,
        };
        sent.map_err(|_| vanished())
    }

    async fn recv(&self) -> Option<Frame> {
        Some(match Self::recv(self).await? {
            sterna::Message::Text(text) => Frame::Text(text),
            sterna::Message::Binary(bytes) => Frame::Binary(bytes),
        })
    }
}

#[cfg(test)]
pub(crate) mod pair {
    use tokio::sync::{Mutex, mpsc};

    use super::*;

    /// One end of a pair of queues, each of which holds a few messages.
    pub(crate) struct QueueWire {
        out: mpsc::Sender<Frame>,
        queue: Mutex<mpsc::Receiver<Frame>>,
    }

    pub(crate) fn wires() -> (QueueWire, QueueWire) {
        let ((to_b, from_a), (to_a, from_b)) = (mpsc::channel(4), mpsc::channel(4));
        (
            QueueWire { out: to_b, queue: Mutex::new(from_b) },
            QueueWire { out: to_a, queue: Mutex::new(from_a) },
        )
    }

    impl Wire for QueueWire {
        async fn send(&self, frame: Frame) -> Result<(), Failure> {
            self.out.send(frame).await.map_err(|_| vanished())
        }
        async fn recv(&self) -> Option<Frame> {
            self.queue.lock().await.recv().await
        }
    }
}
