use std::collections::VecDeque;
use std::time::Duration;

use crypto::{Certificate, Fingerprint, FingerprintAlgorithm};
use dimpl::{Dtls, Output};
use sansio::{Outbox, Rng, Time};

use crate::engine::{Prepared, Settings, engine, srtp_keys};
use crate::hello::Hellos;
use crate::instant::{instant, time};
use crate::lane::Lane;
use crate::provider::check_key;
use crate::record::{self, plain_alert};
use crate::{
    CipherSuite, Config, ConfigError, Connected, DtlsError, Event, Hello, Role, SrtpKeys, Trust, Version,
    Versions,
};

/// What a handshake may receive in all. An honest one receives a few thousand bytes.
const MOST_RECEIVED: usize = 256 * 1024;
/// Datagrams that wait to be sent. More is a flight sent again while the first could not leave.
const MOST_WAITING: usize = 32;
/// How long a handshake goes on after something that should have ended it, but that nobody vouches for.
const GRACE: Duration = Duration::from_secs(3);
/// How long a server bears with hellos that it cannot accept before it takes them for the peer's.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the engine is told the time while data flows.
const TICK: Duration = Duration::from_millis(50);
/// `bad_certificate` (RFC 8446 §6).
const BAD_CERTIFICATE: u8 = 42;
/// Overhead of a record: header, explicit nonce and tag in DTLS 1.2; short header, content type and tag in 1.3.
const OVERHEAD_12: usize = 13 + 8 + 16;
const OVERHEAD_13: usize = 5 + 1 + 16;

/// One end of a DTLS association. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    trust: Trust,
    versions: Versions,
    certificate: Certificate,
    settings: Settings,
    pub(crate) engine: Dtls,
    /// What unprotected records' numbers are off by.
    renumber: u64,
    stage: Stage,
    rng: Rng,
    /// Datagrams of the handshake that wait to be sent.
    waiting: VecDeque<Vec<u8>>,
    /// Room for what the engine puts out while the handshake lasts.
    scratch: Vec<u8>,
    received: usize,
    /// For a server: what has come of a hello.
    hellos: Hellos,
    /// Whether the engine has put out anything.
    answered: bool,
    peer_certificate: Option<Vec<u8>>,
    suite: Option<u16>,
    srtp: Option<SrtpKeys>,
    suspicion: Option<Suspicion>,
    timeout: Option<Time>,
    /// When the engine was last told the time.
    told: Time,
    events: VecDeque<Event>,
    drops: Drops,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Connected(Version),
    Over,
}

/// Something that should have ended the handshake, if only one knew that it came from the peer.
#[derive(Debug)]
struct Suspicion {
    error: DtlsError,
    since: Time,
    /// When to act on it. `None`: when the next of its kind comes late enough.
    until: Option<Time>,
}

/// Datagrams and records that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Datagrams that are not DTLS, or came after the end.
    pub datagrams: u64,
    /// Records that nobody protected although they should be, or of unknown types.
    pub records: u64,
    /// Datagrams of the handshake that the engine took amiss.
    pub refused: u64,
}

impl Endpoint {
    /// A new end. A client begins with the next [`Endpoint::poll_transmit`].
    ///
    /// # Errors
    /// If the settings cannot be used; see [`ConfigError`].
    pub fn new(now: Time, config: Config) -> Result<Self, ConfigError> {
        Self::make(now, config, None)
    }

    /// [`Endpoint::new`] in less time, if [`Prepared`] does for these settings.
    ///
    /// # Errors
    /// As for [`Endpoint::new`].
    pub fn prepared(now: Time, config: Config, prepared: Prepared) -> Result<Self, ConfigError> {
        Self::make(now, config, Some(prepared))
    }

    fn make(now: Time, config: Config, prepared: Option<Prepared>) -> Result<Self, ConfigError> {
        match &config.trust {
            Trust::Fingerprints(fingerprints) if fingerprints.is_empty() => {
                return Err(ConfigError::NoFingerprint);
            }
            Trust::Owner if config.role == Role::Server => return Err(ConfigError::NobodyJudges),
            _ => {}
        }
        check_key(&config.certificate)?;
        let settings = Settings::of(&config);
        let mut rng = Rng::new(config.seed);
        let (role, versions) = (config.role, config.versions);
        let engine = engine(now, role, versions, &config.certificate, settings, rng.fork(), prepared)?;
        Ok(Self::around(now, config, settings, engine, rng))
    }

    /// The end of a [`Server`](crate::Server) for a client whose address is proven. `None`: the engine does not
    /// accept its hello.
    pub(crate) fn welcoming(now: Time, config: Config, engine: Dtls, hello: &Hello) -> Option<Self> {
        let settings = Settings::of(&config);
        let rng = Rng::new(config.seed);
        let mut endpoint = Self::around(now, config, settings, engine, rng);
        endpoint.tell(now);
        // What the client has said without a cookie and what it was answered, once more for the engine alone.
        endpoint.engine.handle_packet(hello.first()).ok()?;
        endpoint.drain(now, None, &mut |_| {});
        endpoint.waiting.clear();
        endpoint.renumber = hello.number().wrapping_sub(1);
        endpoint.answered = false;
        hello.vouch(|datagram| endpoint.engine.handle_packet(datagram)).ok()?;
        endpoint.drain(now, None, &mut |_| {});
        endpoint.answered.then_some(endpoint)
    }

    fn around(now: Time, config: Config, settings: Settings, engine: Dtls, rng: Rng) -> Self {
        Self {
            role: config.role,
            trust: config.trust,
            versions: config.versions,
            certificate: config.certificate,
            settings,
            engine,
            renumber: 0,
            stage: Stage::Handshake,
            rng,
            waiting: VecDeque::new(),
            scratch: vec![0; 4096],
            received: 0,
            hellos: Hellos::default(),
            answered: false,
            peer_certificate: None,
            suite: None,
            srtp: None,
            suspicion: None,
            timeout: None,
            told: now,
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
            Stage::Connected(version) => Some(version),
            Stage::Handshake | Stage::Over => None,
        }
    }

    /// Bytes that sealing adds to a packet: at most, as long as the version is open.
    pub fn overhead(&self) -> usize {
        match self.stage {
            Stage::Connected(Version::Dtls13) => OVERHEAD_13,
            _ => OVERHEAD_12,
        }
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Takes a datagram from the layer below. Application data in it is decrypted where it lies and handed to
    /// `deliver`, record by record; none is before [`Event::Connected`].
    ///
    /// The engine decrypts in a copy of its own; the plaintext is copied back.
    pub fn open(&mut self, now: Time, datagram: &mut [u8], deliver: &mut dyn FnMut(&mut [u8])) {
        if self.stage == Stage::Over || !record::may_be_dtls(datagram) {
            self.drops.datagrams += 1;
            return;
        }
        let welcome = match self.role {
            Role::Client => record::FROM_SERVER,
            Role::Server => record::FROM_CLIENT,
        };
        let kept = record::sift(datagram, welcome);
        self.drops.records += kept.dropped;
        if let (Some(alert), Stage::Handshake) = (kept.alert, self.stage) {
            self.suspect(now, DtlsError::PeerAlert(alert), Some(now + GRACE));
        }
        let datagram = &mut datagram[..kept.length];
        if datagram.is_empty() {
            return;
        }
        if self.stage == Stage::Handshake && !self.admit(datagram) {
            return;
        }
        if self.role == Role::Server && !self.answered {
            if let Some(hello) = self.hellos.add(datagram) {
                self.greet(now, &hello);
            }
            return;
        }
        self.tell(now);
        match self.engine.handle_packet(datagram) {
            Ok(()) => {}
            Err(error) => self.trouble(now, error),
        }
        match self.stage {
            Stage::Connected(_) => self.drain(now, Some(datagram), deliver),
            Stage::Handshake => self.drain(now, None, deliver),
            Stage::Over => {}
        }
    }

    /// Counts what the handshake receives and makes room for what may come out of it.
    fn admit(&mut self, datagram: &[u8]) -> bool {
        self.received += datagram.len();
        if self.received > MOST_RECEIVED {
            self.drops.datagrams += 1;
            return false;
        }
        // A certificate comes out in one piece, and cannot be longer than all that came in.
        if self.scratch.len() < self.received {
            self.scratch.resize(self.received.next_power_of_two(), 0);
        }
        if self.role == Role::Client {
            self.suite = record::chosen_suite(datagram).or(self.suite);
        }
        true
    }

    /// Writes what the handshake wants to send, as far as there is room.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        if self.is_time_to_tell(now) {
            self.tell(now);
            self.drain(now, None, &mut |_| {});
        }
        self.flush(out);
    }

    /// A lane that seals what is written through it into `out`. It has no room before [`Event::Connected`].
    pub fn lane<'a>(&'a mut self, out: &'a mut dyn Outbox<()>) -> Lane<'a> {
        Lane::new(self, out)
    }

    /// Writes the waiting datagrams. Returns whether none is left.
    pub(crate) fn flush(&mut self, out: &mut dyn Outbox<()>) -> bool {
        while let Some(datagram) = self.waiting.front() {
            if !out.send_bytes((), datagram) {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }

    /// Ends the association: with a `close_notify` if it is up. [`Event::Closed`] follows.
    pub fn close(&mut self, now: Time) {
        if self.stage == Stage::Over {
            return;
        }
        self.farewell(now);
        self.finish(Event::Closed);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.stage == Stage::Over {
            return;
        }
        if self.timeout.is_some_and(|at| at <= now) {
            self.told = now;
            match self.engine.handle_timeout(instant(now)) {
                Ok(()) => self.drain(now, None, &mut |_| {}),
                Err(error) => {
                    self.timeout = None;
                    self.give_up(error);
                }
            }
        }
        if self.suspicion.as_ref().is_some_and(|suspicion| suspicion.until.is_some_and(|until| until <= now))
        {
            let suspicion = self.suspicion.take().expect("it was just looked at");
            self.finish(Event::Failed(suspicion.error));
        }
    }

    /// When [`Endpoint::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.stage == Stage::Over {
            return None;
        }
        let suspicion = self.suspicion.as_ref().and_then(|suspicion| suspicion.until);
        [self.timeout, suspicion].into_iter().flatten().min()
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn is_time_to_tell(&self, now: Time) -> bool {
        match self.stage {
            Stage::Handshake => true,
            // It renews keys when it is told the time, and sends nothing but on these occasions.
            Stage::Connected(_) => now.since(self.told) >= TICK,
            Stage::Over => false,
        }
    }

    /// Tells the engine the time: always while the handshake lasts, now and then afterwards.
    fn tell(&mut self, now: Time) {
        if !self.is_time_to_tell(now) {
            return;
        }
        self.told = now;
        if let Err(error) = self.engine.handle_timeout(instant(now)) {
            self.give_up(error);
        }
    }

    /// Takes out of the engine all that it has to say. `plain` is where plaintext goes, if it fits.
    fn drain(&mut self, now: Time, mut plain: Option<&mut [u8]>, deliver: &mut dyn FnMut(&mut [u8])) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut complete = false;
        while self.stage != Stage::Over {
            let buffer = match &mut plain {
                Some(buffer) => &mut **buffer,
                None => &mut scratch[..],
            };
            let output = self.engine.poll_output(buffer);
            // The engine tells the keys for SRTP after it says that it is connected.
            if complete && !matches!(output, Output::KeyingMaterial(..)) {
                complete = false;
                self.connected();
            }
            match output {
                Output::ApplicationData(data) => {
                    let length = data.len();
                    if matches!(self.stage, Stage::Connected(_)) {
                        deliver(&mut buffer[..length]);
                    }
                }
                Output::Packet(packet) => {
                    let packet = packet.to_vec();
                    self.queue(packet);
                }
                Output::BufferTooSmall { needed } => {
                    plain = None;
                    if scratch.len() < needed {
                        scratch.resize(needed, 0);
                    }
                }
                Output::PeerCert(certificate) => {
                    let certificate = certificate.to_vec();
                    self.recognise(now, certificate);
                }
                Output::KeyingMaterial(material, profile) => self.srtp = srtp_keys(&material, profile),
                Output::Connected => complete = true,
                Output::CloseNotify => {
                    self.farewell(now);
                    self.finish(Event::Closed);
                }
                Output::Timeout(at) => {
                    self.timeout = time(now, at);
                    break;
                }
                _ => {}
            }
        }
        // It is rarely needed once connected, and large.
        self.scratch = if self.is_connected() { Vec::new() } else { scratch };
    }

    fn queue(&mut self, mut packet: Vec<u8>) {
        self.answered = true;
        if self.engine.protocol_version() == Some(dimpl::ProtocolVersion::DTLS1_2) {
            record::write_nonces(&mut packet);
        }
        if self.role == Role::Server {
            self.suite = record::chosen_suite(&packet).or(self.suite);
        }
        if self.renumber != 0 {
            record::renumber(&mut packet, self.renumber);
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(packet);
    }

    /// Looks at the peer's certificate (RFC 8122 §6.2): it is the only thing that says who the peer is.
    fn recognise(&mut self, now: Time, certificate: Vec<u8>) {
        let recognised = match &self.trust {
            Trust::Fingerprints(promised) => {
                promised.iter().any(|fingerprint| fingerprint.matches(&certificate))
            }
            Trust::Owner => true,
        };
        if recognised {
            self.peer_certificate = Some(certificate);
            return;
        }
        let presented = Fingerprint::of(FingerprintAlgorithm::Sha256, &certificate);
        self.peer_certificate = None;
        // Nothing of the handshake that is under way may leave; an alert may.
        self.waiting.clear();
        self.farewell(now);
        if self.waiting.is_empty() {
            self.waiting.push_back(plain_alert(BAD_CERTIFICATE).to_vec());
        }
        self.finish(Event::Failed(DtlsError::FingerprintMismatch { presented }));
    }

    fn connected(&mut self) {
        let version = match self.engine.protocol_version() {
            Some(dimpl::ProtocolVersion::DTLS1_3) => Version::Dtls13,
            _ => Version::Dtls12,
        };
        let peer_certificate = self.peer_certificate.clone();
        if peer_certificate.is_none() && !(self.trust == Trust::Owner && self.role == Role::Server) {
            // The engine demands a certificate from both sides; without one nobody is let in.
            let error = DtlsError::Handshake("the peer showed no certificate".into());
            self.finish(Event::Failed(error));
            return;
        }
        self.stage = Stage::Connected(version);
        self.suspicion = None;
        self.events.push_back(Event::Connected(Connected {
            version,
            cipher: CipherSuite(self.suite.unwrap_or(0)),
            peer_certificate,
            srtp: self.srtp.take(),
        }));
    }

    /// Queues a `close_notify`, if there are keys for it.
    fn farewell(&mut self, now: Time) {
        self.told = now;
        if self.engine.handle_timeout(instant(now)).is_err() || self.engine.close().is_err() {
            return;
        }
        let mut buffer = vec![0; self.settings.mtu.max(2048)];
        // Bounded: an engine that closes has a flight and an alert to send.
        for _ in 0..MOST_WAITING {
            match self.engine.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    let packet = packet.to_vec();
                    self.queue(packet);
                }
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                Output::Timeout(_) => break,
                _ => {}
            }
        }
    }

    fn finish(&mut self, event: Event) {
        self.stage = Stage::Over;
        self.timeout = None;
        self.suspicion = None;
        self.events.push_back(event);
    }

    /// The engine's own clock says that it is over.
    fn give_up(&mut self, error: dimpl::Error) {
        let error = match self.suspicion.take() {
            Some(suspicion) => suspicion.error,
            None if matches!(error, dimpl::Error::Timeout(_)) => DtlsError::Timeout,
            None => self.described(error),
        };
        self.finish(Event::Failed(error));
    }

    /// The engine took a datagram amiss. Its documentation calls every error fatal; but as long as nobody is
    /// recognised, anybody may have sent that datagram, and the true peer's are perhaps still to come.
    fn trouble(&mut self, now: Time, error: dimpl::Error) {
        match self.stage {
            Stage::Over => {}
            // Only protected records come so far, so this is the peer.
            Stage::Connected(_) => {
                let event = match error {
                    dimpl::Error::ConnectionClosed => Event::Closed,
                    error => Event::Failed(self.described(error)),
                };
                self.finish(event);
            }
            Stage::Handshake => {
                self.drops.refused += 1;
                let error = self.described(error);
                tracing::debug!(%error, "a datagram of the DTLS handshake was refused");
                // The engine of a client that looks for a hello has not changed its state for anything else.
                if self.role == Role::Server || self.engine.protocol_version().is_some() {
                    self.suspect(now, error, Some(now + GRACE));
                }
            }
        }
    }

    /// Shows a whole hello to the engine of a server. If it does not answer, nothing happened.
    fn greet(&mut self, now: Time, hello: &[Vec<u8>]) {
        self.tell(now);
        let outcome = hello.iter().try_for_each(|datagram| self.engine.handle_packet(datagram));
        if outcome.is_ok() {
            self.drain(now, None, &mut |_| {});
        }
        if self.answered || self.stage == Stage::Over {
            return;
        }
        self.drops.refused += 1;
        let error = match outcome {
            Err(error) => self.described(error),
            Ok(()) => DtlsError::Handshake("the client's hello is not acceptable".into()),
        };
        tracing::debug!(%error, "a DTLS hello was refused");
        let since = self.suspicion.as_ref().map_or(now, |suspicion| suspicion.since);
        if now.since(since) >= PATIENCE {
            self.finish(Event::Failed(error));
            return;
        }
        self.suspect(now, error, None);
        self.timeout = None;
        let seed = self.rng.fork();
        match engine(now, self.role, self.versions, &self.certificate, self.settings, seed, None) {
            Ok(engine) => self.engine = engine,
            Err(error) => self.finish(Event::Failed(DtlsError::Handshake(error.to_string()))),
        }
    }

    fn suspect(&mut self, now: Time, error: DtlsError, until: Option<Time>) {
        match &mut self.suspicion {
            Some(suspicion) => {
                suspicion.error = error;
                suspicion.until = suspicion.until.or(until);
            }
            None => self.suspicion = Some(Suspicion { error, since: now, until }),
        }
    }

    fn described(&self, error: dimpl::Error) -> DtlsError {
        match error {
            dimpl::Error::SecurityError(dimpl::SecurityError::FatalAlert { description }) => {
                DtlsError::PeerAlert(description)
            }
            dimpl::Error::Timeout(_) => DtlsError::Timeout,
            error if self.is_connected() => DtlsError::Broken(format!("{error:?}")),
            error => DtlsError::Handshake(format!("{error:?}")),
        }
    }

    /// The engine failed to seal.
    pub(crate) fn broken(&mut self, error: dimpl::Error) {
        let error = self.described(error);
        self.finish(Event::Failed(error));
    }
}
