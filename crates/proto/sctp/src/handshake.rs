//! How an association comes up (RFC 9260 §5): INIT, INIT ACK, COOKIE ECHO, COOKIE ACK, from one side or from both
//! at once, which in WebRTC is the rule.
//!
//! All numbers come from the seed, late duplicates harm nobody, and the first messages travel with the COOKIE ECHO. Nothing
//! is remembered of an INIT that was answered: it comes back in the cookie. If both sides have told their terms elsewhere
//! (SNAP), there is nothing to shake hands about.

use std::time::Duration;

use sansio::{Rng, Time};

use crate::cookie::Oven;
use crate::init::Init;
use crate::packet::kind;

/// The first retransmission of INIT and COOKIE ECHO comes after so long; no round trip has been measured yet.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// Doubling stops here.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Transmissions of one chunk before it is given up: about 30 seconds.
const ATTEMPTS: u32 = 12;
/// The longest state cookie that we echo. It must fit into a packet, and nobody's is near that.
const LONGEST_COOKIE: usize = 900;

/// A chunk that wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The verification tag for its packet.
    pub(crate) tag: u32,
    pub(crate) kind: u8,
    pub(crate) value: Vec<u8>,
}

/// What became of a received chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing.
    None,
    /// The peer's terms are known, and the peer knows ours: data may travel with the COOKIE ECHO.
    Agreed(Init),
    /// The association is up.
    Established(Init),
}

/// One side of the handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    local: Init,
    state: State,
    oven: Oven,
    /// An INIT ACK or COOKIE ACK that wants to be sent.
    answer: Option<Outgoing>,
    /// When INIT or COOKIE ECHO must go out again. `None` before the first time.
    retry: Option<Time>,
    /// Whether INIT or COOKIE ECHO wants to be sent now.
    due: bool,
    attempts: u32,
}

#[derive(Debug)]
enum State {
    CookieWait,
    CookieEchoed { peer: Init, cookie: Vec<u8> },
    Established { peer: Init },
    Failed,
}

impl Handshake {
    pub(crate) fn new(local: Init, rng: &mut Rng) -> Self {
        Self {
            local,
            state: State::CookieWait,
            oven: Oven::new(rng),
            answer: None,
            retry: None,
            due: true,
            attempts: 0,
        }
    }

    /// One that is done: the peer's terms came by signalling, and so did ours to the peer.
    pub(crate) fn skipped(local: Init, peer: Init, rng: &mut Rng) -> Self {
        Self { state: State::Established { peer }, due: false, ..Self::new(local, rng) }
    }

    /// The peer's terms, as far as they are binding.
    pub(crate) fn peer(&self) -> Option<&Init> {
        match &self.state {
            State::CookieEchoed { peer, .. } | State::Established { peer } => Some(peer),
            State::CookieWait | State::Failed => None,
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.state, State::Established { .. })
    }

    /// Takes an INIT, INIT ACK, COOKIE ECHO or COOKIE ACK that came in a packet with `tag`.
    pub(crate) fn handle(&mut self, tag: u32, kind: u8, value: &[u8]) -> Progress {
        match kind {
            kind::INIT if tag == 0 => self.handle_init(value),
            kind::INIT_ACK if tag == self.local.tag => self.handle_init_ack(value),
            kind::COOKIE_ECHO if tag == self.local.tag => self.handle_cookie_echo(value),
            kind::COOKIE_ACK if tag == self.local.tag => self.confirmed(),
            _ => Progress::None,
        }
    }

    /// The peer sent something that it sends only to an association that is up. Its COOKIE ACK may be lost or late.
    pub(crate) fn confirmed(&mut self) -> Progress {
        match self.state {
            State::CookieEchoed { peer, .. } => self.establish(peer),
            _ => Progress::None,
        }
    }

    /// RFC 9260 §5.1 B, §5.2.1, §5.2.2. The answer carries the tag that our own INIT carries, in every state: a
    /// late duplicate must not disturb an association that is up, and the other end of a DTLS association does
    /// not restart within it.
    fn handle_init(&mut self, value: &[u8]) -> Progress {
        let Some((peer, _)) = Init::parse(value) else { return Progress::None };
        if self.is_established() && self.peer().is_some_and(|known| known.tag != peer.tag) {
            return Progress::None;
        }
        let cookie = self.oven.bake(&peer);
        self.answer =
            Some(Outgoing { tag: peer.tag, kind: kind::INIT_ACK, value: self.local.value(Some(&cookie)) });
        Progress::None
    }

    /// RFC 9260 §5.1 C. In any other state it is a duplicate (§5.2.3).
    fn handle_init_ack(&mut self, value: &[u8]) -> Progress {
        let Some((peer, Some(cookie))) = Init::parse(value) else { return Progress::None };
        if !matches!(self.state, State::CookieWait) || cookie.len() > LONGEST_COOKIE {
            return Progress::None;
        }
        self.state = State::CookieEchoed { peer, cookie: cookie.to_vec() };
        self.restart();
        Progress::Agreed(peer)
    }

    /// RFC 9260 §5.1 D, §5.2.4.
    fn handle_cookie_echo(&mut self, value: &[u8]) -> Progress {
        let Some(peer) = self.oven.taste(value) else { return Progress::None };
        match &self.state {
            State::Failed => return Progress::None,
            // We already agreed on other terms with a peer that began from both ends.
            State::CookieEchoed { peer: agreed, .. } | State::Established { peer: agreed }
                if agreed.tag != peer.tag || agreed.tsn != peer.tsn =>
            {
                return Progress::None;
            }
            _ => {}
        }
        self.answer = Some(Outgoing { tag: peer.tag, kind: kind::COOKIE_ACK, value: Vec::new() });
        if self.is_established() { Progress::None } else { self.establish(peer) }
    }

    fn establish(&mut self, peer: Init) -> Progress {
        self.state = State::Established { peer };
        self.due = false;
        self.retry = None;
        Progress::Established(peer)
    }

    fn restart(&mut self) {
        self.due = true;
        self.retry = None;
        self.attempts = 0;
    }

    /// The next chunk to send. Answers come first.
    pub(crate) fn poll(&self) -> Option<Outgoing> {
        if let Some(answer) = &self.answer {
            return Some(answer.clone());
        }
        match &self.state {
            State::CookieWait if self.due => {
                Some(Outgoing { tag: 0, kind: kind::INIT, value: self.local.value(None) })
            }
            State::CookieEchoed { peer, cookie } if self.due => {
                Some(Outgoing { tag: peer.tag, kind: kind::COOKIE_ECHO, value: cookie.clone() })
            }
            _ => None,
        }
    }

    /// Whether what [`Handshake::poll`] returns was sent before, in vain.
    pub(crate) fn is_repeated(&self) -> bool {
        self.answer.is_none() && self.attempts > 0
    }

    /// There is a path again: what waits for an answer goes again at once, and for as long as at first.
    pub(crate) fn hurry(&mut self) {
        if self.retry.take().is_some() {
            (self.due, self.attempts) = (true, 1);
        }
    }

    /// What [`Handshake::poll`] returned was sent.
    pub(crate) fn sent(&mut self, now: Time) {
        if self.answer.take().is_some() {
            return;
        }
        let wait = FIRST_TIMEOUT.saturating_mul(1 << self.attempts.min(8)).min(LONGEST_TIMEOUT);
        self.retry = Some(now + wait);
        self.attempts += 1;
        self.due = false;
    }

    /// Returns whether the peer was given up.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        if self.retry.is_none_or(|at| at > now) {
            return false;
        }
        self.retry = None;
        if self.attempts >= ATTEMPTS {
            self.state = State::Failed;
            return true;
        }
        self.due = true;
        false
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Seed;

    fn side(tag: u32) -> Handshake {
        let local = Init {
            tag,
            window: 1,
            outbound: 9,
            inbound: 9,
            tsn: tag * 10,
            partial: true,
            reconfig: true,
            interleaving: true,
            unsummed: false,
            marks: true,
        };
        Handshake::new(local, &mut Rng::new(Seed::from(u64::from(tag))))
    }

    /// Takes out all that a side wants to send.
    fn drain(side: &mut Handshake, now: Time) -> Vec<Outgoing> {
        std::iter::from_fn(|| {
            let chunk = side.poll()?;
            side.sent(now);
            Some(chunk)
        })
        .collect()
    }

    fn feed(side: &mut Handshake, chunks: &[Outgoing]) -> Vec<Progress> {
        chunks
            .iter()
            .map(|chunk| side.handle(chunk.tag, chunk.kind, &chunk.value))
            .filter(|progress| *progress != Progress::None)
            .collect()
    }

    #[test]
    fn one_side_alone_can_begin() {
        let (mut a, mut b) = (side(1), side(2));
        b.due = false;
        for _ in 0..4 {
            let from_a = drain(&mut a, Time::ZERO);
            feed(&mut b, &from_a);
            let from_b = drain(&mut b, Time::ZERO);
            feed(&mut a, &from_b);
        }
        assert!(a.is_established() && b.is_established());
        assert_eq!((a.peer().unwrap().tag, b.peer().unwrap().tag), (2, 1));
    }

    #[test]
    fn both_sides_can_begin_at_once() {
        let (mut a, mut b) = (side(1), side(2));
        let mut trips = 0;
        while !(a.is_established() && b.is_established()) {
            let (from_a, from_b) = (drain(&mut a, Time::ZERO), drain(&mut b, Time::ZERO));
            feed(&mut b, &from_a);
            feed(&mut a, &from_b);
            trips += 1;
            assert!(trips < 4);
        }
        assert_eq!((a.peer().unwrap().tsn, b.peer().unwrap().tsn), (20, 10));
    }

    #[test]
    fn late_duplicates_are_answered_and_change_nothing() {
        let (mut a, mut b) = (side(1), side(2));
        let mut history = Vec::new();
        for _ in 0..4 {
            let from_a = drain(&mut a, Time::ZERO);
            feed(&mut b, &from_a);
            history.extend(from_a);
            let from_b = drain(&mut b, Time::ZERO);
            feed(&mut a, &from_b);
        }
        assert!(b.is_established());
        for chunk in &history {
            assert_eq!(b.handle(chunk.tag, chunk.kind, &chunk.value), Progress::None);
            let answers: Vec<_> = drain(&mut b, Time::ZERO).iter().map(|answer| answer.kind).collect();
            match chunk.kind {
                kind::INIT => assert_eq!(answers, [kind::INIT_ACK]),
                kind::COOKIE_ECHO => assert_eq!(answers, [kind::COOKIE_ACK]),
                _ => assert!(answers.is_empty()),
            }
        }
        assert_eq!(b.peer().unwrap().tag, 1);
    }

    #[test]
    fn a_stranger_with_another_tag_changes_nothing() {
        let (mut a, mut b) = (side(1), side(2));
        for _ in 0..4 {
            let from_a = drain(&mut a, Time::ZERO);
            feed(&mut b, &from_a);
            let from_b = drain(&mut b, Time::ZERO);
            feed(&mut a, &from_b);
        }
        let mut stranger = side(3);
        feed(&mut b, &drain(&mut stranger, Time::ZERO));
        assert_eq!(drain(&mut b, Time::ZERO), []);
        assert_eq!(b.handle(2, kind::COOKIE_ECHO, &[0; 16]), Progress::None);
        assert_eq!(b.peer().unwrap().tag, 1);
    }

    #[test]
    fn an_unanswered_init_is_repeated_and_given_up() {
        let mut a = side(1);
        let mut now = Time::ZERO;
        let mut sent = 0;
        loop {
            sent += drain(&mut a, now).len();
            let next = a.poll_timeout().expect("a timer runs until the end");
            assert!(next > now, "time moves forward");
            assert!(!a.handle_timeout(now), "too early");
            now = next;
            if a.handle_timeout(now) {
                break;
            }
        }
        assert_eq!(sent, 12);
        assert!((25..40).contains(&now.elapsed().as_secs()), "{now:?}");
        assert_eq!((a.poll(), a.poll_timeout()), (None, None));
    }
}
