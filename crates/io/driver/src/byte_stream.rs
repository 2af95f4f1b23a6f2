use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{DataChannel, SendError};

/// Bytes that one message carries.
const CHUNK: usize = 64 * 1024;

/// A [`DataChannel`] as a stream of bytes, for an ordered and reliable channel whose other side does the same, or
/// does not care where messages begin.
///
/// What is written leaves at once; flushing has nothing to do. Shutting down closes the channel, both ways, once
/// all that was written is acknowledged: a protocol in which one side ends and still listens has to say "end" in
/// its own words. Reading ends with 0 bytes if the other side has closed the channel, and with an error if the
/// connection broke.
#[derive(Debug)]
pub struct ByteStream {
    channel: DataChannel,
    /// What is left of the message that was received last.
    rest: Bytes,
    /// Bytes of a message; less if the other side takes less.
    chunk: usize,
    closing: bool,
}

impl ByteStream {
    pub(crate) fn new(channel: DataChannel) -> Self {
        Self { channel, rest: Bytes::new(), chunk: CHUNK, closing: false }
    }

    /// The channel underneath.
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.channel.poll_recv(cx)) {
                Some(message) => self.rest = message.into_bytes(),
                None => return Poll::Ready(self.channel.verdict().map_err(io::Error::from)),
            }
        }
        let take = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..take]);
        self.rest.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let take = bytes.len().min(self.chunk);
            match ready!(self.channel.poll_write(cx, &bytes[..take])) {
                Ok(()) => return Poll::Ready(Ok(take)),
                Err(SendError::TooLarge { limit }) if (1..take).contains(&(limit as usize)) => {
                    self.chunk = limit as usize;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closing, true) {
            self.channel.start_closing();
        }
        self.channel.poll_closed(cx).map_err(io::Error::from)
    }
}
