//! Users whom somebody else knows: a web service of the operator's, for example.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use sansio::{Outbox, Path, Time};
use stun::credential::{NonceState, Rejection};
use stun::{Message, PasswordAlgorithm, PasswordHash, TransactionId};

use super::accounts::Found;
use super::answer::ANSWER_ROOM;
use super::quota::block;
use super::{Drop, Due, LoginFailure, Server, ServerEvent, User};

/// The longest name that is asked for (RFC 8489 §14.3).
const MAX_NAME: usize = 508;
/// The longest request that waits for an answer: what fits into a datagram that is not fragmented.
const MAX_REQUEST: usize = 1232;

/// How users are asked for who stand in no list and whom no shared secret vouches for.
///
/// Somebody else knows them: the server tells of each with [`ServerEvent::UserAsked`], and its owner answers with
/// [`Server::answer`]. Only who has shown by a fresh nonce that he receives what is sent to him is asked for. His request
/// waits; no thread does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupRules {
    /// How long it is believed that a user is who he is. The allocations that he has made by then go on.
    pub ttl: Duration,
    /// How long it is believed that there is no such user.
    pub unknown_ttl: Duration,
    /// How long an answer may take; after that the request is dropped.
    pub patience: Duration,
    /// Requests that wait for an answer at a time.
    pub waiting: usize,
    /// Those of one source: an IPv4 address or an IPv6 /64.
    pub waiting_per_source: usize,
    /// Users who are remembered.
    pub remembered: usize,
}

impl Default for LookupRules {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            unknown_ttl: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            waiting: 1024,
            waiting_per_source: 16,
            remembered: 10_000,
        }
    }
}

/// Names a question about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What is known about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// He has this password.
    Known(User),
    /// There is no such user, or he may not come in.
    Unknown,
    /// Nobody could tell. It will be asked again.
    Failed,
}

/// The questions, and the answers so far.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    rules: Option<LookupRules>,
    /// By MD5 and by SHA-256; `None` for those that do not exist.
    known: BTreeMap<String, (Option<[PasswordHash; 2]>, Time)>,
    by_end: BTreeSet<(Time, String)>,
    open: BTreeMap<LookupId, Open>,
    by_name: BTreeMap<String, LookupId>,
    waiting: usize,
    by_source: BTreeMap<IpAddr, usize>,
    /// Requests whose users are known by now.
    ready: VecDeque<Request>,
    next: u64,
}

/// A question without an answer.
#[derive(Debug)]
struct Open {
    username: String,
    requests: Vec<Request>,
}

/// A request that waits for its user to be known.
#[derive(Debug)]
struct Request {
    from: Path,
    id: TransactionId,
    bytes: Vec<u8>,
}

/// What becomes of a request whose user is not known.
#[derive(Debug, PartialEq, Eq)]
enum Waits {
    /// He has to be asked for.
    Ask(LookupId),
    /// He has been asked for already.
    Asked,
    /// It does not: there is no room.
    Not,
}

impl Lookups {
    /// Goes by these rules from now on, and forgets whom it knew.
    pub(super) fn configure(&mut self, rules: Option<LookupRules>) {
        self.rules = rules;
        self.known.clear();
        self.by_end.clear();
    }

    /// Whether somebody can be asked.
    pub(super) fn is_on(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.by_name.is_empty() && self.by_source.is_empty() && self.ready.is_empty()
    }

    /// What is known about `username`.
    pub(super) fn find(&self, now: Time, username: &str, algorithm: PasswordAlgorithm) -> Found {
        match self.known.get(username) {
            Some((Some([md5, sha256]), until)) if *until > now => {
                Found::Account(if algorithm == PasswordAlgorithm::Md5 { *md5 } else { *sha256 })
            }
            Some((None, until)) if *until > now => Found::Nobody,
            _ => Found::Elsewhere,
        }
    }

    fn wait(&mut self, username: &str, from: Path, request: &Message<'_>) -> Waits {
        let Some(rules) = &self.rules else { return Waits::Not };
        let id = request.transaction_id();
        let open = self.by_name.get(username).copied();
        if let Some(open) = open.and_then(|open| self.open.get(&open))
            && open.requests.iter().any(|waiting| (waiting.from, waiting.id) == (from, id))
        {
            return Waits::Asked;
        }
        let source = block(from.remote.ip());
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        let too_long = username.len() > MAX_NAME || request.bytes().len() > MAX_REQUEST;
        if too_long || self.waiting >= rules.waiting || of_source >= rules.waiting_per_source {
            return Waits::Not;
        }
        self.waiting += 1;
        self.by_source.insert(source, of_source + 1);
        let request = Request { from, id, bytes: request.bytes().to_vec() };
        if let Some(open) = open.and_then(|open| self.open.get_mut(&open)) {
            open.requests.push(request);
            return Waits::Asked;
        }
        let id = LookupId(self.next);
        self.next += 1;
        self.by_name.insert(username.to_owned(), id);
        self.open.insert(id, Open { username: username.to_owned(), requests: vec![request] });
        Waits::Ask(id)
    }

    /// The question is no more: the requests that waited for its answer.
    fn close(&mut self, id: LookupId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.by_name.remove(&open.username);
        open.requests.iter().for_each(|request| self.release(request.from));
        Some(open)
    }

    fn release(&mut self, from: Path) {
        let source = block(from.remote.ip());
        self.waiting -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    fn remember(&mut self, now: Time, username: String, hashes: Option<[PasswordHash; 2]>) {
        let Some(rules) = &self.rules else { return };
        // Long enough for the requests that wait for it.
        let ttl = if hashes.is_some() { rules.ttl } else { rules.unknown_ttl }.max(Duration::from_secs(1));
        if let Some((_, until)) = self.known.remove(&username) {
            self.by_end.remove(&(until, username.clone()));
        }
        while self.known.len() >= rules.remembered.max(1)
            && let Some((_, oldest)) = self.by_end.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.by_end.insert((now + ttl, username.clone()));
        self.known.insert(username, (hashes, now + ttl));
    }

    /// Nobody waits at the other end of `path` any more.
    pub(super) fn forget(&mut self, path: Path) {
        let mut gone = 0;
        for open in self.open.values_mut() {
            let before = open.requests.len();
            open.requests.retain(|request| request.from != path);
            gone += before - open.requests.len();
        }
        (0..gone).for_each(|_| self.release(path));
        self.ready.retain(|request| request.from != path);
    }
}

impl Server {
    /// Answers [`ServerEvent::UserAsked`]: the requests that waited for it are taken up again. Too late, or for the second
    /// time, it does nothing.
    pub fn answer(&mut self, now: Time, id: LookupId, verdict: Verdict, out: &mut dyn Outbox) {
        let Some(Open { username, requests }) = self.lookups.close(id) else { return };
        self.timers.stop(Due::Lookup(id));
        let hashes = match verdict {
            Verdict::Known(user) => Some(user.hashes_as(&username, &self.config.realm)),
            Verdict::Unknown => None,
            Verdict::Failed => return self.nobody_answers(&requests),
        };
        self.lookups.remember(now, username, hashes);
        self.lookups.ready.extend(requests);
        self.resume(now, out);
    }

    /// A question stays without an answer.
    pub(super) fn lookup_due(&mut self, id: LookupId) {
        if let Some(Open { requests, .. }) = self.lookups.close(id) {
            self.nobody_answers(&requests);
        }
    }

    fn nobody_answers(&mut self, requests: &[Request]) {
        requests.iter().for_each(|_| self.counters.login_failure(LoginFailure::NobodyToAsk));
    }

    /// Somebody else may know the user of `request`, who has the nonce of somebody that receives what he is sent.
    pub(super) fn ask_elsewhere(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        out: &mut dyn Outbox,
    ) {
        if self.authenticator.nonce_state(now, from, request) != Some(NonceState::Fresh) {
            self.counters.login_failure(LoginFailure::StaleNonce);
            if self.may_answer(now, from) {
                self.reject(now, from, request, Rejection::StaleNonce, LoginFailure::StaleNonce, out);
            }
            return;
        }
        let Some(username) = request.username() else { return };
        match self.lookups.wait(username, from, request) {
            Waits::Asked => {}
            Waits::Not => self.counters.drop(Drop::Throttled),
            Waits::Ask(id) => {
                let patience = self.lookups.rules.as_ref().map_or(Duration::ZERO, |rules| rules.patience);
                self.timers.set(Due::Lookup(id), now + patience.max(Duration::from_millis(1)));
                self.tell(ServerEvent::UserAsked { id, username: username.to_owned(), client: from });
            }
        }
    }

    /// Takes the requests up again whose users have become known.
    pub(super) fn resume(&mut self, now: Time, out: &mut dyn Outbox) {
        while out.room() >= ANSWER_ROOM {
            let Some(Request { from, bytes, .. }) = self.lookups.ready.pop_front() else { return };
            if let Ok(message) = Message::parse(&bytes) {
                self.handle_stun(now, from, &message, out);
            }
        }
    }
}
