use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use peer::{ChannelId, ChannelState, DataChannelInit, MessageKind};
use sansio::Time;

use crate::peer_connection::Handle;
use crate::{ByteStream, Message, SendError};

/// A channel of a [`PeerConnection`](crate::PeerConnection) for messages both ways (`RTCDataChannel`).
///
/// Sending waits while the buffer is full, and the other side waits while nobody receives, so that memory stays
/// bounded. Both can go on at the same time, also from several tasks. Dropping the handle closes the channel; what
/// was sent before is delivered.
///
/// All futures are cancel-safe: a message is sent or received, or it is not.
#[doc(alias = "RTCDataChannel")]
pub struct DataChannel {
    handle: Arc<Handle>,
    id: ChannelId,
    label: String,
    init: DataChannelInit,
}

impl DataChannel {
    pub(crate) fn new(handle: Arc<Handle>, id: ChannelId, label: String, init: DataChannelInit) -> Self {
        Self { handle, id, label, init }
    }

    /// Sends a message: strings as text, bytes as they are. Waits for the connection, and while the buffer is full.
    ///
    /// # Errors
    /// If the message is too large, the channel is closed, or the connection has failed.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let (kind, mut data) = (message.kind(), message.into_bytes());
        poll_fn(|cx| {
            self.poll_send(cx, |connection, now| connection.send_bytes(now, self.id, kind, &mut data))
        })
        .await
    }

    /// Sends a text message. Waits for the connection, and while the buffer is full.
    ///
    /// # Errors
    /// As [`DataChannel::send`].
    pub async fn send_text(&self, text: &str) -> Result<(), SendError> {
        self.send(text).await
    }

    /// Sends messages in their order, and waits where [`DataChannel::send`] would: what is sent is taken off the front
    /// of `messages`, so that a future that is dropped leaves what was not. For many small messages this costs a part of
    /// sending them one by one.
    ///
    /// # Errors
    /// As [`DataChannel::send`]; the message in question is the first of those that are left.
    pub async fn send_all(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
        poll_fn(|cx| {
            let now = self.handle.now();
            let (polled, sent) = self.handle.state().poll_send_all(cx, now, self.id, messages);
            if sent > 0 {
                self.handle.wake();
            }
            polled
        })
        .await
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    /// Those of [`DataChannel::send`], and [`SendError::Full`] and [`SendError::NotOpen`] where that would wait.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let now = self.handle.now();
        let (kind, mut data) = (message.kind(), message.into_bytes());
        self.handle.state().try_send(|connection| connection.send_bytes(now, self.id, kind, &mut data))?;
        self.handle.wake();
        Ok(())
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl FnOnce(&mut peer::Connection, Time) -> Result<(), peer::SendError>,
    ) -> Poll<Result<(), SendError>> {
        let now = self.handle.now();
        let polled = self.handle.state().poll_send(cx, self.id, |connection| send(connection, now));
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.handle.wake();
        }
        polled
    }

    /// Sends a copy of these bytes.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<(), SendError>> {
        self.poll_send(cx, |connection, now| connection.send(now, self.id, MessageKind::Binary, bytes))
    }

    /// The next message; `None` once the channel is closed and all messages were received, or the connection has
    /// failed. [`DataChannel::closed`] tells which.
    pub async fn recv(&self) -> Option<Message> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Waits for a message, and appends all that are there by then to `messages`, but no more than `limit`. Returns how
    /// many; 0 where [`DataChannel::recv`] returns `None`, and if `limit` is 0. For many small messages this costs a part
    /// of receiving them one by one.
    pub async fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        poll_fn(|cx| self.poll_recv_many(cx, limit, |message| messages.push(message))).await
    }

    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut received = None;
        self.poll_recv_many(cx, 1, |message| received = Some(message)).map(|_| received)
    }

    fn poll_recv_many(&self, cx: &mut Context<'_>, limit: usize, take: impl FnMut(Message)) -> Poll<usize> {
        let (polled, resumed) = self.handle.state().poll_recv(cx, || self.handle.now(), self.id, limit, take);
        if resumed {
            self.handle.wake();
        }
        polled
    }

    /// Waits until the channel is open. Sending need not wait for it.
    ///
    /// # Errors
    /// If the channel is closed, or the connection fails, before.
    pub async fn opened(&self) -> Result<(), SendError> {
        poll_fn(|cx| self.handle.state().poll_opened(cx, self.id)).await
    }

    /// Waits until the channel is closed, by either side.
    ///
    /// # Errors
    /// If it was not closed in an orderly way: then messages of either side may be lost.
    pub async fn closed(&self) -> Result<(), SendError> {
        poll_fn(|cx| self.handle.state().poll_channel_closed(cx, self.id)).await
    }

    /// Closes the channel, and returns when all that was sent is acknowledged by the other side.
    ///
    /// # Errors
    /// If that cannot be: the connection has failed, or the other side is gone.
    pub async fn close(&self) -> Result<(), SendError> {
        self.handle.act(|state, now| state.close_channel(now, self.id));
        self.closed().await
    }

    /// Bytes that wait to be sent or acknowledged (`bufferedAmount`).
    #[doc(alias = "bufferedAmount")]
    pub fn buffered_amount(&self) -> usize {
        self.handle.state().connection.buffered_amount(self.id)
    }

    /// What its maker called it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The subprotocol that its maker named, or nothing.
    pub fn protocol(&self) -> &str {
        &self.init.protocol
    }

    /// Whether messages arrive in the order in which they were sent.
    pub fn ordered(&self) -> bool {
        self.init.ordered
    }

    /// The number that both sides know the channel by; `None` until it is settled.
    pub fn id(&self) -> Option<u16> {
        self.handle.state().connection.channel(self.id).and_then(|channel| channel.init.id).or(self.init.id)
    }

    /// Where the channel stands (`readyState`); `None` once it is closed.
    #[doc(alias = "readyState")]
    pub fn state(&self) -> Option<ChannelState> {
        self.handle.state().connection.channel(self.id).map(|channel| channel.state)
    }

    /// The channel as a stream of bytes: [`tokio::io::AsyncRead`] and [`tokio::io::AsyncWrite`].
    pub fn into_stream(self) -> ByteStream {
        ByteStream::new(self)
    }

    /// How the channel ended.
    pub(crate) fn verdict(&self) -> Result<(), SendError> {
        self.handle.state().verdict(self.id)
    }

    pub(crate) fn start_closing(&self) {
        self.handle.act(|state, now| state.close_channel(now, self.id));
    }

    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.handle.state().poll_channel_closed(cx, self.id)
    }
}

impl Drop for DataChannel {
    fn drop(&mut self) {
        self.handle.act(|state, now| state.forget_channel(now, self.id));
    }
}

impl fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataChannel")
            .field("label", &self.label)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
