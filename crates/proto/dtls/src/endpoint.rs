use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sansio::{Outbox, Rng, Time, Timers};

use crate::assembly::Assembly;
use crate::handshake::{Awaiting, Greeting, Identity, Scene, State, alert};
use crate::incoming::Incoming;
use crate::lane::Lane;
use crate::outgoing::Outgoing;
use crate::protection::{OVERHEAD_12, OVERHEAD_13, Sealer};
use crate::record::{FATAL, WARNING};
use crate::suite::Suite;
use crate::{Config, ConfigError, DtlsError, Event, Role, Trust, Version, Versions};

/// Retransmissions of a flight that the association does not need, before it is given up.
const REPETITIONS: u32 = 12;
/// A part of the time that an answer takes, after which what has come of one is acknowledged (RFC 9147 §7.1).
const ACKNOWLEDGE_AFTER: u32 = 4;

/// One end of a DTLS association. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) role: Role,
    pub(crate) trust: Trust,
    versions: Versions,
    identity: Arc<Identity>,
    handshake_timeout: Duration,
    pub(crate) stage: Stage,
    rng: Rng,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) assembly: Assembly,
    /// The number of the next handshake message from the peer.
    pub(crate) next_message: u16,
    /// Bytes that the handshake has received.
    pub(crate) received: usize,
    pub(crate) suspicion: Option<Suspicion>,
    pub(crate) timers: Timers<Timer>,
    /// The latest time that was told.
    clock: Time,
    pub(crate) events: VecDeque<Event>,
    pub(crate) drops: Drops,
}

/// Where an endpoint is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// A client that was not asked to send yet.
    New,
    Handshake(Box<State>),
    Connected(Suite),
    Over,
}

/// What an endpoint waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Retransmission,
    Acknowledgement,
    Deadline,
    Suspicion,
}

/// Something that should have ended the handshake, if only one knew that it came from the peer.
#[derive(Debug)]
pub(crate) struct Suspicion {
    pub(crate) error: DtlsError,
    /// What the peer is told about it.
    pub(crate) alert: Option<u8>,
    pub(crate) since: Time,
}

/// Datagrams and records that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Datagrams that are not DTLS, or came after the end.
    pub datagrams: u64,
    /// Records that nobody protected although they should be, that were not sealed with the key, replays, and those of
    /// unknown types.
    pub records: u64,
    /// Messages of the handshake that made no sense.
    pub refused: u64,
}

impl Endpoint {
    /// A new end. A client begins with the next [`Endpoint::poll_transmit`].
    ///
    /// # Errors
    /// If the settings cannot be used; see [`ConfigError`].
    pub fn new(now: Time, config: Config) -> Result<Self, ConfigError> {
        match &config.trust {
            Trust::Fingerprints(fingerprints) if fingerprints.is_empty() => {
                return Err(ConfigError::NoFingerprint);
            }
            Trust::Owner if config.role == Role::Server => return Err(ConfigError::NobodyJudges),
            _ => {}
        }
        let identity = Arc::new(Identity::new(config.certificate.clone())?);
        Ok(Self::with(now, &config, identity))
    }

    pub(crate) fn with(now: Time, config: &Config, identity: Arc<Identity>) -> Self {
        let mtu = config.mtu.clamp(256, 16_000);
        let wait = config.retransmission.clamp(Duration::from_millis(10), Duration::from_secs(10));
        Self {
            role: config.role,
            trust: config.trust.clone(),
            versions: config.versions,
            identity,
            handshake_timeout: config
                .handshake_timeout
                .clamp(Duration::from_secs(1), Duration::from_secs(3600)),
            stage: match config.role {
                Role::Client => Stage::New,
                Role::Server => Stage::Handshake(Box::new(State::Awaiting(Awaiting::default()))),
            },
            rng: Rng::new(config.seed),
            outgoing: Outgoing::new(mtu, wait, config.rekey_after.clamp(1, 1 << 24)),
            incoming: Incoming::default(),
            assembly: Assembly::default(),
            next_message: 0,
            received: 0,
            suspicion: None,
            timers: Timers::default(),
            clock: now,
            events: VecDeque::new(),
            drops: Drops::default(),
        }
    }

    /// Which side of the handshake this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the handshake is complete and the peer is who it should be.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected(_))
    }

    /// The version spoken, once connected.
    pub fn version(&self) -> Option<Version> {
        match self.stage {
            Stage::Connected(suite) => Some(suite.version),
            Stage::New | Stage::Handshake(_) | Stage::Over => None,
        }
    }

    /// Bytes that sealing adds to a packet: at most, as long as the version is open.
    pub fn overhead(&self) -> usize {
        match self.version() {
            Some(Version::Dtls13) => OVERHEAD_13,
            _ => OVERHEAD_12,
        }
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Takes a datagram from the layer below. Application data in it is decrypted where it lies and handed to
    /// `deliver`, record by record; none is before [`Event::Connected`].
    pub fn open(&mut self, now: Time, datagram: &mut [u8], deliver: &mut dyn FnMut(&mut [u8])) {
        self.clock = now;
        self.take_datagram(now, datagram, deliver);
        self.arrange(now);
    }

    /// Writes what the handshake wants to send, as far as there is room.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        self.clock = now;
        if matches!(self.stage, Stage::New) {
            self.greet(now);
        }
        self.flush(out);
    }

    fn greet(&mut self, now: Time) {
        match Greeting::new(&mut self.scene()) {
            Ok(greeting) => {
                self.stage = Stage::Handshake(Box::new(State::Greeting(greeting)));
                self.timers.set(Timer::Deadline, now + self.handshake_timeout);
            }
            Err(refusal) => self.finish(Event::Failed(refusal.error)),
        }
    }

    /// What a handshake works with.
    pub(crate) fn scene(&mut self) -> Scene<'_> {
        Scene {
            asks: self.trust != Trust::Owner,
            identity: &self.identity,
            trust: &self.trust,
            versions: self.versions,
            outgoing: &mut self.outgoing,
            incoming: &mut self.incoming,
            rng: &mut self.rng,
        }
    }

    /// A lane that seals what is written through it into `out`. It has no room before [`Event::Connected`].
    pub fn lane<'a>(&'a mut self, out: &'a mut dyn Outbox<()>) -> Lane<'a> {
        Lane::new(self, out)
    }

    /// What a lane seals with. `None`: not connected, or the key has sealed all that it may.
    pub(crate) fn sealer(&mut self) -> Option<&mut Sealer> {
        if !self.is_connected() {
            return None;
        }
        if self.outgoing.is_exhausted() {
            let why = "its key is used up, and the peer did not let us change it".to_owned();
            self.finish(Event::Failed(DtlsError::Broken(why)));
            return None;
        }
        self.outgoing.sealer()
    }

    /// Writes what waits to be sent. Returns whether nothing is left.
    pub(crate) fn flush(&mut self, out: &mut dyn Outbox<()>) -> bool {
        if self.is_connected() {
            self.outgoing.renew_if_due();
        }
        if !self.outgoing.is_waiting() {
            return true;
        }
        let (now, mtu, outgoing) = (self.clock, self.outgoing.mtu(), &mut self.outgoing);
        while outgoing.is_waiting() {
            if !out.send((), mtu, &mut |buffer| outgoing.write(now, buffer)) {
                break;
            }
        }
        let is_done = !outgoing.is_waiting();
        self.arrange(now);
        is_done
    }

    /// Ends the association: with a `close_notify` if it is up. [`Event::Closed`] follows.
    pub fn close(&mut self, now: Time) {
        self.clock = now;
        match self.stage {
            Stage::Over => return,
            Stage::Connected(_) => self.outgoing.alert(WARNING, alert::CLOSE_NOTIFY),
            Stage::New | Stage::Handshake(_) => self.outgoing.withdraw(),
        }
        self.finish(Event::Closed);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.clock = now;
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Retransmission => self.repeat(),
                Timer::Acknowledgement => self.outgoing.acknowledge_received(),
                Timer::Deadline | Timer::Suspicion => self.give_up(),
            }
        }
    }

    fn repeat(&mut self) {
        if self.is_connected() && self.outgoing.flight.repetitions() >= REPETITIONS {
            self.outgoing.flight.begin(false);
        } else {
            self.outgoing.flight.repeat();
        }
    }

    fn give_up(&mut self) {
        self.outgoing.withdraw();
        match self.suspicion.take() {
            Some(Suspicion { error, alert: Some(alert), .. }) => self.fail(alert, error),
            Some(Suspicion { error, alert: None, .. }) => self.finish(Event::Failed(error)),
            None => self.finish(Event::Failed(DtlsError::Timeout)),
        }
    }

    /// When [`Endpoint::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sets the timers to what is awaited now.
    fn arrange(&mut self, now: Time) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        let acknowledges = match &self.stage {
            Stage::Handshake(state) => state.version() == Some(Version::Dtls13),
            _ => false,
        };
        let acknowledges = acknowledges && self.outgoing.is_behind();
        let patience = self.outgoing.flight.patience();
        self.keep(Timer::Retransmission, self.outgoing.flight.wait().map(|wait| now + wait));
        self.keep(Timer::Acknowledgement, acknowledges.then_some(now + patience / ACKNOWLEDGE_AFTER));
    }

    /// Starts a timer unless it runs, or stops it.
    fn keep(&mut self, timer: Timer, at: Option<Time>) {
        match at {
            None => self.timers.stop(timer),
            Some(at) if self.timers.get(timer).is_none() => self.timers.set(timer, at),
            Some(_) => {}
        }
    }

    /// The handshake has got somewhere: from here on there is a time by which it has to be done.
    pub(crate) fn hurry(&mut self, now: Time) {
        if self.timers.get(Timer::Deadline).is_none() {
            self.timers.set(Timer::Deadline, now + self.handshake_timeout);
        }
    }

    /// The end, which the peer is told.
    pub(crate) fn fail(&mut self, alert: u8, error: DtlsError) {
        self.outgoing.alert(FATAL, alert);
        self.finish(Event::Failed(error));
    }

    /// The end.
    pub(crate) fn finish(&mut self, event: Event) {
        self.stage = Stage::Over;
        self.timers.clear();
        self.suspicion = None;
        self.assembly = Assembly::default();
        self.events.push_back(event);
    }
}
