use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sansio::{Batch, Path, SocketError, SocketReply};
use stun::framing::Deframer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connect::Io;
use crate::sockets::socket_error;

/// Bytes that wait for a stream before the machine may write no more for it.
const CONGESTED: usize = 64 * 1024;
/// Bytes read from one stream in one turn.
const READ: usize = 64 * 1024;

/// The streams of one engine, each a sequence of STUN messages and ChannelData.
#[derive(Default)]
pub(crate) struct Streams {
    entries: Vec<Entry>,
    scratch: Vec<u8>,
}

struct Entry {
    path: Path,
    io: Io,
    incoming: Deframer,
    outgoing: Vec<u8>,
    written: usize,
    /// Whether what was written still lies in a buffer of the stream's.
    unflushed: bool,
    ended: Option<SocketError>,
}

impl Streams {
    pub(crate) fn add(&mut self, path: Path, io: Io) {
        self.entries.push(Entry {
            path,
            io,
            incoming: Deframer::new(),
            outgoing: Vec::new(),
            written: 0,
            unflushed: false,
            ended: None,
        });
    }

    pub(crate) fn remove(&mut self, path: Path) {
        self.entries.retain(|entry| entry.path != path);
    }

    /// Reads and writes what can be. Whether there is anything new for the machine, or room again.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        self.scratch.resize(READ, 0);
        let mut any = false;
        for entry in &mut self.entries {
            let congested = entry.is_congested();
            entry.write(cx);
            any |= congested && !entry.is_congested();
            any |= entry.read(cx, &mut self.scratch);
            any |= entry.ended.is_some();
        }
        any
    }

    /// Hands out the frames that were read, and which streams have ended.
    pub(crate) fn receive(
        &mut self,
        mut deliver: impl FnMut(Path, &mut [u8]),
        replies: &mut Vec<SocketReply>,
    ) {
        for entry in &mut self.entries {
            while let Some(frame) = entry.incoming.next_frame() {
                match frame {
                    Ok(frame) => deliver(entry.path, frame),
                    Err(error) => {
                        entry.ended.get_or_insert(SocketError::Other(error.to_string()));
                        break;
                    }
                }
            }
        }
        self.entries.retain_mut(|entry| {
            let Some(error) = entry.ended.take() else { return true };
            replies.push(SocketReply::Disconnected { path: entry.path, error });
            false
        });
    }

    /// Writes a batch, or keeps it until there is room. Gives the batch back.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, batch: Batch) -> Option<Batch> {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.path == batch.path) {
            entry.outgoing.extend_from_slice(&batch.bytes);
            entry.write(cx);
        }
        Some(batch)
    }

    /// Adds the streams that take nothing now.
    pub(crate) fn congested(&self, into: &mut Vec<Path>) {
        into.extend(self.entries.iter().filter(|entry| entry.is_congested()).map(|entry| entry.path));
    }
}

impl Entry {
    fn is_congested(&self) -> bool {
        self.outgoing.len() - self.written > CONGESTED
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        if self.ended.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            self.ended = Some(socket_error(error));
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.written < self.outgoing.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing[self.written..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into())),
                written => self.written += written,
            }
            self.unflushed = true;
        }
        self.outgoing.clear();
        self.written = 0;
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads up to the size of `scratch`. Whether anything came.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> bool {
        let mut any = false;
        let mut budget = scratch.len();
        while budget > 0 && self.ended.is_none() {
            let mut buffer = ReadBuf::new(&mut scratch[..budget]);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => self.ended = Some(SocketError::Closed),
                Poll::Ready(Ok(())) => {
                    budget -= buffer.filled().len();
                    // All frames were taken in the turn before, so at most one unfinished is kept.
                    self.incoming.push(buffer.filled());
                    any = true;
                }
                Poll::Ready(Err(error)) => self.ended = Some(socket_error(error)),
            }
        }
        any
    }
}
