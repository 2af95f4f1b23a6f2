//! What the two sides tell each other by signalling, and what becomes of their connection: it outlives its path, and its
//! signalling.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal::{Gone, Payload, SessionError};
use sterna::{
    ConnectionState, DataChannel, IceServer, PathInfo, PeerConnection, PeerEvent, SdpType,
    SessionDescription, SignalingState,
};
use tokio::sync::{mpsc, watch};

use crate::failure::{Failure, Kind};
use crate::output::{Output, round};
use crate::reunion::Reunion;
use crate::session::{Place, no_connection};

/// A peer whose signalling has ended and that is silent for so long is gone as well.
const SILENCE: Duration = Duration::from_secs(8);
/// An offer that is not answered for so long may have gone into the void.
const ANSWER: Duration = Duration::from_secs(2);

/// How long the other side may take to say what it knows of a connection that failed.
const OPINION: Duration = Duration::from_millis(1500);

/// How the connection does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Health {
    Starting,
    /// It was up. It may be looking for another path now.
    Connected,
    /// It will not come back.
    Ended(Failure),
}

/// Carries descriptions and candidates between the connection and the signalling, and watches both.
pub(crate) struct Negotiation {
    connection: PeerConnection,
    /// Where the other side is heard; what we say goes by the last. There are two for the moment in which one takes the
    /// place of the other.
    lines: Vec<signal::Session>,
    reunion: Reunion,
    /// The rooms close when the connection is over.
    _place: Place,
    trickle: bool,
    /// Whether this side's offer gives way when both make one at once.
    polite: bool,
    channels: mpsc::Sender<DataChannel>,
    tell: watch::Sender<Health>,
    output: Output,
    /// Why there is no line.
    gone: Option<SessionError>,
    pulse: Pulse,
    /// When the offer that awaits its answer was sent.
    offered: Option<Instant>,
    /// The offer of the other side that was answered last.
    answered: Option<SessionDescription>,
    /// When the two found each other again.
    met: Option<Instant>,
    /// The path that was told last.
    told: Option<Value>,
    /// Since when there is no path.
    lost: Option<Instant>,
    /// Whether the other side was told what we know of a connection that does not come about.
    told_evidence: bool,
}

impl Negotiation {
    #[expect(clippy::too_many_arguments, reason = "they are its parts, and it is made in one place")]
    pub(crate) fn new(
        connection: PeerConnection,
        session: signal::Session,
        place: Place,
        reunion: Reunion,
        trickle: bool,
        channels: mpsc::Sender<DataChannel>,
        tell: watch::Sender<Health>,
        output: Output,
    ) -> Self {
        Self {
            connection,
            polite: !session.offers(),
            lines: vec![session],
            reunion,
            _place: place,
            trickle,
            channels,
            tell,
            output,
            gone: None,
            pulse: Pulse::default(),
            offered: None,
            answered: None,
            met: None,
            told: None,
            lost: None,
            told_evidence: false,
        }
    }

    /// Runs until the connection is over; `offers`: whether this side makes the first offer.
    pub(crate) async fn run(mut self, offers: bool) {
        if let Err(failure) = self.negotiate(offers).await {
            self.tell.send_if_modified(|health| {
                let first = !matches!(health, Health::Ended(_));
                if first {
                    *health = Health::Ended(failure);
                }
                first
            });
        }
    }

    async fn negotiate(&mut self, offers: bool) -> Result<(), Failure> {
        if offers {
            self.describe().await?;
        }
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            let watchful = self.lines.is_empty() || self.offered.is_some();
            tokio::select! {
                event = self.connection.next_event() => match event {
                    Some(event) => self.observe(event).await?,
                    None => return Ok(()),
                },
                (line, heard) = next(&mut self.lines) => match heard {
                    Ok(payload) => self.hear(payload).await?,
                    Err(error) => self.hung_up(line, error),
                },
                session = self.reunion.found() => self.met(session).await?,
                _ = tick.tick(), if watchful => {}
            }
            self.judge()?;
        }
    }

    /// Whether it is over, or the other side has to be looked for.
    fn judge(&mut self) -> Result<(), Failure> {
        if self.offered.is_some_and(|at| at.elapsed() >= ANSWER) && self.was_connected() {
            self.reunion.knock();
        }
        let Some(error) = &self.gone else { return Ok(()) };
        if !self.was_connected() {
            return Err(self.abandoned(error));
        }
        // One that was cut off may come back; one that has ended does not.
        let left = matches!(error, SessionError::Gone(Gone::Left | Gone::Lost));
        if left && self.pulse.is_lost(&self.connection) {
            return Err(crate::transfer::wire::vanished());
        }
        Ok(())
    }

    /// Why nothing came of it, when the other side goes before there was a connection. One that has told what it knows
    /// has given up, so we have nobody left to try with: that is a connection that failed here as well.
    fn abandoned(&self, error: &SessionError) -> Failure {
        let mut evidence = self.connection.report().evidence;
        if evidence.theirs.is_none() {
            let message = format!("the other side or the server left before there was a connection: {error}");
            return Failure::new(Kind::Peer, message);
        }
        evidence.outcome = doctor::Outcome::Failed;
        let verdicts = sterna::Report::from(evidence).verdicts;
        let message = "no path to the other side, which has given up looking for one";
        Failure { verdicts, ..Failure::new(Kind::Connection, message) }
    }

    fn was_connected(&self) -> bool {
        matches!(&*self.tell.borrow(), Health::Connected)
    }

    fn is_connected(&self) -> bool {
        self.connection.connection_state() == ConnectionState::Connected
    }

    /// Makes the description that is due and sends it.
    async fn describe(&mut self) -> Result<(), Failure> {
        self.connection.set_local_description(None).await.map_err(no_connection)?;
        if !self.trickle {
            self.connection.gathering_complete().await.map_err(no_connection)?;
        }
        self.say_description()
    }

    /// Sends our description, with the candidates that it has by now.
    fn say_description(&mut self) -> Result<(), Failure> {
        let description = self.connection.local_description().ok_or_else(|| {
            Failure::new(
                Kind::Connection,
                "there is no local description; this is a defect, please report it",
            )
        })?;
        self.offered = (description.kind == SdpType::Offer).then(Instant::now);
        self.say(&Payload::Description(
            serde_json::to_value(&description).expect("a description is plain data"),
        ));
        Ok(())
    }

    /// Sends. If nobody hears it any more, the signalling itself will say so.
    fn say(&mut self, payload: &Payload) {
        if let Some(line) = self.lines.last_mut() {
            let _ = line.send(payload);
        }
    }

    async fn hear(&mut self, payload: Payload) -> Result<(), Failure> {
        match payload {
            Payload::Description(value) => match serde_json::from_value(value) {
                Ok(description) => self.hear_description(description).await,
                Err(error) => self.object(&error),
            },
            Payload::Candidate(value) => {
                let candidate = match value.map(serde_json::from_value).transpose() {
                    Ok(candidate) => candidate,
                    Err(error) => return self.object(&error),
                };
                if let Err(error) = self.connection.add_ice_candidate(candidate).await {
                    tracing::debug!(%error, "a candidate of no use");
                }
                Ok(())
            }
            Payload::Doctor(value) => {
                if let Some(summary) = doctor_word(&value) {
                    self.connection.set_remote_summary(summary);
                    self.tell_evidence();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells the other side what we know of the connection, once: each side sees what the other cannot.
    fn tell_evidence(&mut self) {
        if !std::mem::replace(&mut self.told_evidence, true) {
            let summary = self.connection.report().evidence.summary();
            self.say(&Payload::Doctor(json!({ "summary": summary })));
        }
    }

    /// Why the connection failed, by what both sides know if the other one still answers.
    async fn explain(&mut self, failure: sterna::Failure) -> Failure {
        let kind = if self.was_connected() { Kind::Peer } else { Kind::Connection };
        let mut evidence = failure.report.evidence.clone();
        self.tell_evidence();
        let theirs = async {
            while let (_, Ok(payload)) = next(&mut self.lines).await {
                if let Payload::Doctor(value) = payload
                    && let Some(summary) = doctor_word(&value)
                {
                    return Some(Box::new(summary));
                }
            }
            None
        };
        if evidence.theirs.is_none() {
            evidence.theirs = tokio::time::timeout(OPINION, theirs).await.ok().flatten();
        }
        let verdicts = sterna::Report::from(evidence).verdicts;
        Failure { verdicts, ..Failure::new(kind, failure.to_string()) }
    }

    /// W3C's perfect negotiation, and what has been said already may be said again on another line.
    async fn hear_description(&mut self, description: SessionDescription) -> Result<(), Failure> {
        let state = self.connection.signaling_state();
        let is_offer = description.kind == SdpType::Offer;
        if is_offer && self.answered.as_ref() == Some(&description) && state == SignalingState::Stable {
            return self.say_description();
        }
        let collides = is_offer && state != SignalingState::Stable && !self.polite;
        let late = !is_offer && state != SignalingState::HaveLocalOffer;
        if (collides || late) && self.was_connected() {
            return Ok(());
        }
        if let Err(error) = self.connection.set_remote_description(description.clone()).await {
            return self.object(&error);
        }
        self.offered = None;
        if is_offer {
            self.answered = Some(description);
            self.describe().await?;
        }
        Ok(())
    }

    /// The other side said what makes no sense. To a connection that works it does no harm.
    fn object(&self, error: &dyn std::fmt::Display) -> Result<(), Failure> {
        if self.was_connected() {
            tracing::debug!(%error, "a description that makes no sense");
            return Ok(());
        }
        let message = format!("the other side sent a description that makes no sense: {error}");
        Err(Failure::new(Kind::Peer, message))
    }

    /// A line is dead.
    fn hung_up(&mut self, line: usize, error: SessionError) {
        tracing::debug!(%error, "the signalling has ended");
        self.lines.remove(line);
        if !self.lines.is_empty() {
            return;
        }
        self.gone = Some(error);
        if self.was_connected() {
            self.reunion.knock();
        }
    }

    /// The other side is found again.
    async fn met(&mut self, session: signal::Session) -> Result<(), Failure> {
        tracing::debug!("met again");
        self.gone = None;
        self.pulse = Pulse::default();
        self.reunion.wait(session.way_back());
        // Credentials expire; these are fresh, for the next search.
        if let Ok(servers) = serde_json::from_value::<Vec<IceServer>>(session.ice_servers().clone())
            && let Err(error) = self.connection.set_ice_servers(servers)
        {
            tracing::debug!(%error, "the new servers are of no use");
        }
        if self.lines.len() > 1 {
            self.lines.remove(0);
        }
        self.lines.push(session);
        let again = self.has_just_met();
        self.met = Some(Instant::now());
        if self.connection.signaling_state() != SignalingState::HaveLocalOffer {
            return Ok(());
        }
        if self.is_connected() || again {
            // It may have got lost with the line that it was said on.
            return self.say_description();
        }
        // It rests on servers that may be gone, as the line is. These are there.
        let rollback = Some(SessionDescription::rollback());
        self.connection.set_local_description(rollback).await.map_err(no_connection)?;
        self.connection.restart_ice();
        self.describe().await
    }

    fn has_just_met(&self) -> bool {
        self.met.is_some_and(|at| at.elapsed() < ANSWER)
    }

    async fn observe(&mut self, event: PeerEvent) -> Result<(), Failure> {
        match event {
            PeerEvent::IceCandidate(candidate) if self.trickle => {
                let value = candidate.map(|candidate| serde_json::to_value(candidate).expect("plain data"));
                self.say(&Payload::Candidate(value));
            }
            PeerEvent::DataChannel(channel) => {
                // More channels than anybody takes are the other side's fault.
                let _ = self.channels.try_send(channel);
            }
            PeerEvent::NegotiationNeeded if self.was_connected() => {
                if !self.is_connected() && !self.has_just_met() {
                    // What broke the path may have broken the signalling as well: it is not waited for.
                    self.reunion.knock();
                }
                if self.connection.signaling_state() == SignalingState::Stable {
                    self.describe().await?;
                }
            }
            PeerEvent::ConnectionStateChange(ConnectionState::Connected) => self.up(),
            PeerEvent::ConnectionStateChange(ConnectionState::Disconnected)
                if self.was_connected() && self.lost.is_none() =>
            {
                self.lost = Some(Instant::now());
                self.output.event("disconnected", json!({}));
                self.output.note("the path is silent, looking for another …");
            }
            PeerEvent::PathChange(_) if self.was_connected() && self.is_connected() => self.tell_path(),
            PeerEvent::Failed(failure) => return Err(self.explain(*failure).await),
            _ => {}
        }
        Ok(())
    }

    /// The connection is there, or there again.
    fn up(&mut self) {
        if self.was_connected() {
            return self.tell_path();
        }
        let Some(path) = self.connection.path() else { return };
        self.reunion.wait(match self.lines.last() {
            Some(line) => line.way_back(),
            None => return,
        });
        self.told = Some(way(&path));
        self.output.event("connected", json!({ "path": path_json(&path) }));
        self.output.say(&path.to_string());
        self.tell.send_replace(Health::Connected);
    }

    /// Tells the path if it is another one than was told, or was gone for a while.
    fn tell_path(&mut self) {
        let Some(path) = self.connection.path() else { return };
        let outage = self.lost.take().map(|since| since.elapsed());
        let way = way(&path);
        let told = self.told.replace(way.clone());
        if outage.is_none() && told.as_ref() == Some(&way) {
            return;
        }
        let outage_ms = outage.map(|outage| round(outage.as_secs_f64() * 1000.0));
        self.output.event("path", json!({ "path": path_json(&path), "outage_ms": outage_ms }));
        // Addresses that take over from others of their kind are news for programs; people see no difference.
        if outage.is_some() || told.map(visible) != Some(visible(way)) {
            let after =
                outage.map_or(String::new(), |outage| format!(" after {:.1} s", outage.as_secs_f64()));
            self.output.note(&format!("now {path}{after}"));
        }
    }
}

/// What is heard next, and on which line. Cancel-safe.
async fn next(lines: &mut [signal::Session]) -> (usize, Result<Payload, SessionError>) {
    match lines {
        [] => std::future::pending().await,
        [one] => (0, one.next().await),
        [first, second, ..] => tokio::select! {
            heard = first.next() => (0, heard),
            heard = second.next() => (1, heard),
        },
    }
}

/// What the other side says of its own evidence: `{"doctor":{"summary":{…}}}`.
fn doctor_word(value: &Value) -> Option<sterna::Summary> {
    serde_json::from_value(value.get("summary")?.clone()).ok()
}

/// What makes one path another one: all but how long its round trip takes, and how it is explained.
fn way(path: &PathInfo) -> Value {
    let mut way = path_json(path);
    way["rtt_ms"] = Value::Null;
    way["because"] = Value::Null;
    way
}

/// What a person sees of it.
fn visible(mut way: Value) -> Value {
    way["local_address"] = Value::Null;
    way["remote_address"] = Value::Null;
    way
}

/// The path as `docs/json.md` describes it.
pub(crate) fn path_json(path: &PathInfo) -> Value {
    json!({
        "kind": path.kind.as_str(),
        "local": path.local.as_str(),
        "remote": path.remote.as_str(),
        "local_address": path.local_address,
        "remote_address": path.remote_address,
        "protocol": path.protocol.to_string(),
        "family": path.family,
        "rtt_ms": path.rtt.map(|rtt| round(rtt.as_secs_f64() * 1000.0)),
        "relay": path.relay,
        "because": path.because,
    })
}

/// Signs of life of a peer whose signalling has gone. A live one answers a consent check every few seconds
/// (RFC 7675), so we need not wait the half minute after which ICE has to give up.
#[derive(Default)]
struct Pulse {
    signs: u64,
    since: Option<Instant>,
}

impl Pulse {
    fn is_lost(&mut self, connection: &PeerConnection) -> bool {
        let pairs = connection.report().evidence.ice.pairs;
        let signs = pairs
            .iter()
            .map(|pair| u64::from(pair.responses_received) + u64::from(pair.requests_received))
            .sum();
        if self.since.is_none() || signs != self.signs {
            (self.signs, self.since) = (signs, Some(Instant::now()));
        }
        self.since.is_some_and(|since| since.elapsed() >= SILENCE)
    }
}
