//! The client's side of a request: sent again until it is answered, or given up.
//!
//! A machine that asks questions owns one [`Transactions`] table. It starts requests with a token of its own
//! ("the check of pair 7"), hands in the responses, and gets the token back with the answer or with the
//! reason why there is none. The table does what RFC 8489 asks of every client: random transaction ids,
//! retransmission with doubling intervals over UDP and none over streams (§6.2.1, §6.2.2), the integrity
//! check of responses (§9.1.4, §9.2.5), and round-trip times by Karn's algorithm.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sansio::{Outbox, Path, Rng, Time, Timers};

use crate::credential::Features;
use crate::{
    AttributeKind, Class, Integrity, Key, Message, MessageWriter, Method, TransactionId, UnknownAttributes,
    WriteError,
};

/// The longest request that can be written: what fits an IPv6 packet of 1280 bytes (RFC 8489 §6.1).
pub const MAX_REQUEST_BYTES: usize = 1232;

/// When requests are sent again, and when they are given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often a request is sent over UDP in all: `Rc` of RFC 8489 §6.2.1.
    pub requests: u32,
    /// For how many initial intervals the last one is waited for: `Rm` of RFC 8489 §6.2.1.
    pub last_wait: u32,
    /// How long an answer may take over a stream: `Ti` of RFC 8489 §6.2.2.
    pub stream_timeout: Duration,
}

impl Timing {
    /// The initial retransmission interval where nothing better is known (RFC 8489 §6.2.1).
    pub const INITIAL_RTO: Duration = Duration::from_millis(500);
}

impl Default for Timing {
    /// What RFC 8489 recommends: 7 requests and 39.5 seconds in all, over UDP (from 500 ms) and over streams.
    fn default() -> Self {
        Self { requests: 7, last_wait: 16, stream_timeout: Duration::from_millis(39_500) }
    }
}

/// What a response must show before it is believed.
#[derive(Clone, Debug, Default)]
pub enum Protection {
    /// Nothing: the request was not signed. Only whoever sees the request can answer it.
    #[default]
    Open,
    /// A signature, in any response (RFC 8489 §9.1.4).
    ShortTerm {
        /// The key that signed the request.
        key: Arc<Key>,
        /// What the response must be signed with, if the request was signed with one only.
        integrity: Option<Integrity>,
    },
    /// A signature, except in 401 and 438, which are challenges (RFC 8489 §9.2.5).
    LongTerm {
        /// The key that signed the request.
        key: Arc<Key>,
        /// What the response must be signed with, if that is known.
        integrity: Option<Integrity>,
    },
}

/// How a request is sent.
#[derive(Clone, Debug)]
pub struct Request<A = Path> {
    /// Where to.
    pub to: A,
    /// Whether a stream carries it: then it is sent once.
    pub reliable: bool,
    /// What it asks for.
    pub method: Method,
    /// The first retransmission interval, doubled each time.
    pub rto: Duration,
    /// What its response must show.
    pub protection: Protection,
}

impl Request<Path> {
    /// An unsigned request over a path, with the interval that RFC 8489 §6.2.1 recommends.
    pub fn new(to: Path, method: Method) -> Self {
        let reliable = to.transport.is_stream();
        Self { to, reliable, method, rto: Timing::INITIAL_RTO, protection: Protection::Open }
    }
}

/// The requests that wait for their answers. `T` is the owner's token, `A` what it addresses datagrams by.
#[derive(Debug)]
pub struct Transactions<T, A = Path> {
    timing: Timing,
    known: &'static [AttributeKind],
    pending: BTreeMap<TransactionId, Pending<T, A>>,
    timers: Timers<TransactionId>,
    ready: VecDeque<TransactionId>,
    failed: VecDeque<Failed<T, A>>,
}

#[derive(Debug)]
struct Pending<T, A> {
    to: A,
    reliable: bool,
    rto: Duration,
    protection: Protection,
    bytes: Box<[u8]>,
    token: T,
    /// How often it was sent, or is about to be.
    requests: u32,
    /// When it was sent for the first time.
    sent_at: Option<Time>,
    /// Whether it stands in the queue of those to send.
    due: bool,
    abandoned: bool,
    /// Whether a response was discarded for its signature, and the error code that it gave.
    violation: Option<Option<u16>>,
}

/// A response that belongs to a request, and passed its checks. The transaction is over.
#[derive(Debug)]
pub struct Response<T, A = Path> {
    /// Of request and response.
    pub id: TransactionId,
    /// Where the request went.
    pub to: A,
    /// The owner's.
    pub token: T,
    /// The request as it was sent.
    pub request: Box<[u8]>,
    /// The round-trip time, if the request was sent once: else nobody knows which one was answered (Karn).
    pub rtt: Option<Duration>,
    /// Whether a signature was asked for and found good. `false` with a challenge (401, 438) in reply to a
    /// signed request.
    pub authenticated: bool,
}

/// A request that will not be answered any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed<T, A = Path> {
    /// Of the request.
    pub id: TransactionId,
    /// Where it went.
    pub to: A,
    /// The owner's.
    pub token: T,
    /// Why.
    pub cause: Cause,
}

/// Why a request will not be answered any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Cause {
    /// Nothing came back.
    #[error("no answer to {requests} request(s)")]
    TimedOut {
        /// How often it was sent.
        requests: u32,
    },
    /// Only responses with a wrong signature or none came back (RFC 8489 §9.1.4, §9.2.5).
    #[error("only responses with a wrong signature or none came back{}", Unsigned(*error))]
    IntegrityViolated {
        /// The error code of the last one: evidence for people, but nothing to act on.
        error: Option<u16>,
    },
    /// The response has attributes that must be comprehended and are not (RFC 8489 §6.3.3, §6.3.4).
    #[error("the response has unknown attributes: {0:?}")]
    UnknownAttributes(UnknownAttributes),
    /// It cannot be reached: the stream broke, or ICMP said so.
    #[error("the other side cannot be reached")]
    Unreachable,
    /// The owner lost interest (see [`Transactions::abandon`]), and no answer came.
    #[error("the request was abandoned")]
    Abandoned,
}

struct Unsigned(Option<u16>);

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |code| write!(f, " (they said {code})"))
    }
}

/// Why a response was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Dropped {
    /// No request waits for it: it is late, a duplicate, or made up. Or it is no response at all.
    #[error("no request waits for this response")]
    Unknown,
    /// It came from elsewhere than where the request went. The request still waits.
    ///
    /// ICE wants to know (RFC 8445 §7.2.5.2.1); for others it is noise.
    #[error("the response came from elsewhere")]
    WrongPath(TransactionId),
    /// Its signature is missing or wrong, or a protection that the server announced was taken out.
    #[error("the response is not authentic")]
    NotAuthentic(TransactionId),
    /// It has unknown attributes; the request has failed.
    #[error("the response has unknown attributes")]
    NotComprehended(TransactionId),
}

impl<T, A: Copy + PartialEq> Transactions<T, A> {
    /// An empty table. `known` are the comprehension-required attributes that the owner understands in
    /// responses, beyond those of RFC 8489.
    pub fn new(timing: Timing, known: &'static [AttributeKind]) -> Self {
        Self {
            timing,
            known,
            pending: BTreeMap::new(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            failed: VecDeque::new(),
        }
    }

    /// Starts a request; it leaves with the next [`Transactions::poll_transmit`]. `build` writes its
    /// attributes.
    ///
    /// # Errors
    /// If it gets longer than [`MAX_REQUEST_BYTES`].
    pub fn start(
        &mut self,
        now: Time,
        rng: &mut Rng,
        request: Request<A>,
        token: T,
        build: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<TransactionId, WriteError> {
        let id = TransactionId::random(rng);
        let mut buffer = [0; MAX_REQUEST_BYTES];
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, request.method, id);
        build(&mut writer);
        let length = writer.finish()?;
        let Request { to, reliable, rto, protection, .. } = request;
        self.timers.set(id, now + if reliable { self.timing.stream_timeout } else { self.wait(rto, 1) });
        self.ready.push_back(id);
        self.pending.insert(
            id,
            Pending {
                to,
                reliable,
                rto,
                protection,
                bytes: buffer[..length].into(),
                token,
                requests: 1,
                sent_at: None,
                due: true,
                abandoned: false,
                violation: None,
            },
        );
        Ok(id)
    }

    /// Takes a response that came from `from`.
    ///
    /// Success and error responses alike end the transaction and are the owner's to read; what is not
    /// believed is dropped, and the request goes on waiting.
    pub fn handle_response(
        &mut self,
        now: Time,
        message: &Message<'_>,
        from: A,
    ) -> Result<Response<T, A>, Dropped> {
        let id = message.transaction_id();
        if !matches!(message.class(), Class::Success | Class::Error) {
            return Err(Dropped::Unknown);
        }
        let pending = self.pending.get_mut(&id).ok_or(Dropped::Unknown)?;
        let sent = Message::parse(&pending.bytes).expect("what the writer finished parses");
        if sent.method() != message.method() {
            return Err(Dropped::Unknown);
        }
        if pending.to != from {
            return Err(Dropped::WrongPath(id));
        }
        let Some(authenticated) = pending.protection.accepts(message) else {
            pending.violation = Some(message.error_code().map(|error| error.code));
            if pending.reliable {
                self.fail(id);
            }
            return Err(Dropped::NotAuthentic(id));
        };
        let unknown = message.unknown_comprehension_required(self.known);
        if !unknown.is_empty() {
            self.fail_because(id, Cause::UnknownAttributes(unknown));
            return Err(Dropped::NotComprehended(id));
        }
        self.timers.stop(id);
        let pending = self.pending.remove(&id).ok_or(Dropped::Unknown)?;
        let once = pending.sent_at.filter(|_| pending.requests == 1);
        Ok(Response {
            id,
            to: pending.to,
            token: pending.token,
            request: pending.bytes,
            rtt: once.map(|sent_at| now.since(sent_at)),
            authenticated,
        })
    }

    /// Sends again, and gives up, what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.timers.expired(now) {
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            if pending.reliable || pending.requests >= self.timing.requests {
                self.fail(id);
                continue;
            }
            pending.requests += 1;
            if !pending.due && !pending.abandoned {
                pending.due = true;
                self.ready.push_back(id);
            }
            let (rto, requests) = (pending.rto, pending.requests);
            self.timers.set(id, now + self.wait(rto, requests));
        }
    }

    /// All requests to `to` have failed: the stream broke, or a hard ICMP error came (RFC 8489 §6.2.1,
    /// §6.2.2).
    pub fn handle_unreachable(&mut self, to: A) {
        let ids: Vec<_> = self.pending.iter().filter(|(_, p)| p.to == to).map(|(&id, _)| id).collect();
        ids.into_iter().for_each(|id| self.fail_because(id, Cause::Unreachable));
    }

    /// Writes the requests that are due, as far as there is room.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<A>) {
        while let Some(id) = self.ready.front() {
            if let Some(pending) =
                self.pending.get_mut(id).filter(|pending| pending.due && !pending.abandoned)
            {
                if !out.send_bytes(pending.to, &pending.bytes) {
                    return;
                }
                pending.due = false;
                pending.sent_at.get_or_insert(now);
            }
            self.ready.pop_front();
        }
    }

    /// The next request that will not be answered any more.
    pub fn poll_failed(&mut self) -> Option<Failed<T, A>> {
        self.failed.pop_front()
    }

    /// When [`Transactions::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Forgets a request: an answer that still comes will be unknown.
    pub fn cancel(&mut self, id: TransactionId) -> Option<T> {
        self.timers.stop(id);
        self.pending.remove(&id).map(|pending| pending.token)
    }

    /// Does not send it any more, but takes its answer for as long as it would have waited for one. If none
    /// comes it fails with [`Cause::Abandoned`]. What RFC 8445 §7.3.1.4 calls cancelling a check.
    pub fn abandon(&mut self, id: TransactionId) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.abandoned = true;
        }
    }

    /// The token of a request that waits.
    pub fn token(&self, id: TransactionId) -> Option<&T> {
        self.pending.get(&id).map(|pending| &pending.token)
    }

    /// The tokens of all requests that wait, in no particular but a reproducible order.
    pub fn tokens(&self) -> impl Iterator<Item = (TransactionId, &T)> {
        self.pending.iter().map(|(&id, pending)| (id, &pending.token))
    }

    /// How often a waiting request was sent, counting one that is about to be.
    pub fn requests(&self, id: TransactionId) -> Option<u32> {
        self.pending.get(&id).map(|pending| pending.requests)
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How long to wait after the request number `requests`.
    fn wait(&self, rto: Duration, requests: u32) -> Duration {
        if requests >= self.timing.requests {
            rto.saturating_mul(self.timing.last_wait)
        } else {
            rto.saturating_mul(1u32.checked_shl(requests - 1).unwrap_or(u32::MAX))
        }
    }

    fn fail(&mut self, id: TransactionId) {
        let Some(pending) = self.pending.get(&id) else { return };
        let cause = match pending.violation {
            Some(error) => Cause::IntegrityViolated { error },
            None if pending.abandoned => Cause::Abandoned,
            None => Cause::TimedOut { requests: pending.requests },
        };
        self.fail_because(id, cause);
    }

    fn fail_because(&mut self, id: TransactionId, cause: Cause) {
        self.timers.stop(id);
        if let Some(Pending { to, token, .. }) = self.pending.remove(&id) {
            self.failed.push_back(Failed { id, to, token, cause });
        }
    }
}

impl Protection {
    /// Whether a response may be believed: `None` if not, otherwise whether it is signed.
    fn accepts(&self, message: &Message<'_>) -> Option<bool> {
        let code = message.error_code().filter(|_| message.class() == Class::Error).map(|error| error.code);
        let (key, integrity) = match self {
            Self::Open => return Some(false),
            Self::ShortTerm { key, integrity } => (key, integrity),
            // A challenge; the server may not know the key yet (RFC 8489 §9.2.4).
            Self::LongTerm { .. } if matches!(code, Some(401 | 438)) => return Some(false),
            Self::LongTerm { key, integrity } => {
                // The server's nonce announces a list that somebody took out (RFC 8489 §9.2.5).
                let announced = message.nonce().and_then(Features::of).is_some_and(|f| f.password_algorithms);
                if announced && message.password_algorithms().is_none() {
                    return None;
                }
                (key, integrity)
            }
        };
        if integrity.is_some() && message.integrity() != *integrity {
            return None;
        }
        message.check_integrity(key).ok().map(|()| true)
    }
}
