use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sansio::Path;
use stun::framing::{Deframer, FramingError, MAX_FRAME_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use turn::StreamNews;

use crate::Limits;
use crate::outgoing::Outgoing;
use crate::post::Post;
use crate::splice::{self, Partner};

/// Bytes read by one call.
const READ_BYTES: usize = 16 * 1024;
/// The longest message of a client without an allocation: it has nothing to send but requests.
const STRANGERS_FRAME: usize = 2048;
/// How long a connection that the server closes may take to write what is left.
const FAREWELL: Duration = Duration::from_secs(2);
/// How a ConnectionBind request begins (RFC 6062 §6.1).
const CONNECTION_BIND: [u8; 2] = [0x00, 0x0b];

/// A client with a task of its own, of a stream or of DTLS, as the machine's thread and that task share it.
#[derive(Debug)]
pub(crate) struct Client {
    /// What is on its way to it.
    pub(crate) outgoing: Outgoing,
    /// Whether it has an allocation, and may therefore be silent.
    pub(crate) allocated: AtomicBool,
    /// Whether it has become a data connection (RFC 6062 §5.4): what it sends is for a peer.
    joined: AtomicBool,
    /// The peer's, when there is nothing more to say to the client.
    partner: Mutex<Option<Partner>>,
    /// How often it was answered.
    answers: AtomicU64,
    answered: Notify,
}

impl Client {
    pub(crate) fn new(outgoing: Outgoing) -> Self {
        Self {
            outgoing,
            allocated: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            partner: Mutex::new(None),
            answers: AtomicU64::new(0),
            answered: Notify::new(),
        }
    }

    /// Sends it messages, and returns how many of them were lost.
    pub(crate) fn answer<'a>(&self, messages: impl Iterator<Item = &'a [u8]>) -> u64 {
        let lost = self.outgoing.push(messages);
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.answered.notify_one();
        lost
    }

    /// It is a data connection once it has the answer that is about to be sent.
    pub(crate) fn becomes_data_connection(&self) {
        self.joined.store(true, Ordering::Release);
    }

    /// What waits for it is sent, and then it is joined with `partner`.
    pub(crate) fn join(&self, partner: Partner) {
        *self.partner.lock().unwrap_or_else(PoisonError::into_inner) = Some(partner);
        self.outgoing.close();
    }

    fn take_partner(&self) -> Option<Partner> {
        self.partner.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ready when there are more answers than `before`.
    async fn answered_since(&self, before: u64) {
        while self.answers.load(Ordering::Acquire) == before {
            self.answered.notified().await;
        }
    }
}

/// What such a client's task tells the machine's thread.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// There is a new one. Comes first.
    Opened { path: Path, client: Arc<Client> },
    /// Messages came.
    Received { path: Path, frames: Frames },
    /// It has ended. Comes last, before the system can give its port to another.
    Closed { path: Path, end: End },
    /// Of a peer's connection.
    Peer(StreamNews),
}

/// Why a stream, or a DTLS session, has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the client")]
    Client,
    #[error("closed by the server")]
    Server,
    #[error("the connection with the peer has ended")]
    Peer,
    #[error("broken: {0}")]
    Broken(#[from] io::Error),
    #[error("no message for {0:?}")]
    Silent(Duration),
    #[error("the client has not read for {0:?}")]
    Stalled(Duration),
    #[error(transparent)]
    Garbage(#[from] FramingError),
    #[error(transparent)]
    Dtls(dtls::DtlsError),
}

/// Whole messages, one after another.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The last is a ConnectionBind request.
    asks_to_join: bool,
}

impl Frames {
    /// All that are complete, but none after a ConnectionBind request: what follows that may be for a peer. If something
    /// else comes after them, it is told beside them.
    fn take(deframer: &mut Deframer) -> (Self, Option<FramingError>) {
        let mut frames = Self::default();
        while let Some(frame) = deframer.next_frame() {
            match frame {
                Ok(frame) => {
                    frames.asks_to_join = frame.starts_with(&CONNECTION_BIND);
                    frames.push(frame);
                    if frames.asks_to_join {
                        break;
                    }
                }
                Err(error) => return (frames, Some(error)),
            }
        }
        (frames, None)
    }

    pub(crate) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Hands them out.
    pub(crate) fn for_each(mut self, mut deliver: impl FnMut(&mut [u8])) {
        let mut start = 0;
        for end in self.ends {
            deliver(&mut self.bytes[start..end]);
            start = end;
        }
    }
}

/// Carries messages between a stream and the machine's task until either has enough.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, path: Path, limits: Limits, events: Post) {
    let client = Arc::new(Client::new(Outgoing::new(limits.queue)));
    if events.send(StreamEvent::Opened { path, client: client.clone() }).await.is_err() {
        return;
    }
    // The halves outlive the futures that use them, so that the stream is still open when its end is told.
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut deframer = Deframer::with_limit(STRANGERS_FRAME);
    let end = {
        let read = pin!(read(&mut reader, &mut deframer, path, &client, limits, &events));
        let write = pin!(write(&mut writer, &client, limits));
        tokio::select! {
            end = read => end,
            end = write => end,
        }
    };
    if let Some(partner) = client.take_partner() {
        let peer = partner.path;
        if matches!(end, End::Peer) {
            splice::run((reader, writer), deframer.into_rest(), partner, &events).await;
        }
        let _ = events.send(StreamEvent::Peer(StreamNews::Ended { path: peer })).await;
    }
    let _ = events.send(StreamEvent::Closed { path, end }).await;
}

async fn read<S: AsyncRead>(
    reader: &mut ReadHalf<S>,
    deframer: &mut Deframer,
    path: Path,
    client: &Client,
    limits: Limits,
    events: &Post,
) -> End {
    let mut buffer = vec![0; READ_BYTES];
    let mut patience = limits.handshake;
    let mut deadline = Instant::now() + patience;
    loop {
        let length = match timeout_at(deadline, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return End::Client,
            Ok(Ok(length)) => length,
            Ok(Err(error)) => return End::Broken(error),
            // Who has an allocation may be silent between two messages, but not within one.
            Err(_) if deframer.buffered() == 0 && client.allocated.load(Ordering::Relaxed) => {
                deadline = Instant::now() + patience;
                continue;
            }
            Err(_) => return End::Silent(patience),
        };
        if client.allocated.load(Ordering::Relaxed) {
            deframer.set_limit(MAX_FRAME_BYTES);
        }
        deframer.push(&buffer[..length]);
        loop {
            let (frames, garbage) = Frames::take(deframer);
            let (asks_to_join, answers) = (frames.asks_to_join, client.answers.load(Ordering::Acquire));
            if !frames.is_empty() {
                patience = limits.idle;
                deadline = Instant::now() + patience;
                if events.send(StreamEvent::Received { path, frames }).await.is_err() {
                    // The server is going down; the writing side has the last word.
                    std::future::pending::<()>().await;
                }
            }
            if let Some(error) = garbage {
                return End::Garbage(error);
            }
            if !asks_to_join {
                break;
            }
            if timeout_at(deadline, client.answered_since(answers)).await.is_err() {
                return End::Silent(patience);
            }
            if client.joined.load(Ordering::Acquire) {
                // What comes next is no message. The writing side has the last word.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn write<S: AsyncWrite>(writer: &mut WriteHalf<S>, client: &Client, limits: Limits) -> End {
    let mut bytes = Vec::new();
    while client.outgoing.take(&mut bytes).await {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match timeout(limits.stalled, writer.write(rest)).await {
                Ok(Ok(0)) => return End::Broken(io::ErrorKind::WriteZero.into()),
                Ok(Ok(written)) => rest = &rest[written..],
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::Stalled(limits.stalled),
            }
        }
        match timeout(limits.stalled, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Broken(error),
            Err(_) => return End::Stalled(limits.stalled),
        }
    }
    if client.joined.load(Ordering::Acquire) {
        return End::Peer;
    }
    let _ = timeout(FAREWELL, writer.shutdown()).await;
    End::Server
}
