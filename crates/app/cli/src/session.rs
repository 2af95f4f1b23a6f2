//! From a code to a connection: what `send`, `receive`, `pipe` and `forward` have in common.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal::{
    ConnectError, ConnectOptions, Door, ErrorCode, Gone, Hello, Host, Invitation, MeetError, Payload,
    SessionError, SignalError,
};
use sterna::{
    Configuration, ConnectionState, DataChannel, DataChannelInit, IceTransportPolicy, PathInfo,
    PeerConnection, PeerEvent, SdpType, SessionDescription,
};
use tokio::sync::{Mutex, mpsc, watch};

use crate::args::Reach;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::qr;

/// How long a connection that works may wait for its first channel.
const CHANNEL_PATIENCE: Duration = Duration::from_secs(20);

/// A peer whose signalling is gone and that is silent for so long is gone as well.
const SILENCE: Duration = Duration::from_secs(8);
/// How long the other side may take to say what it knows of a connection that failed.
const OPINION: Duration = Duration::from_millis(1500);
/// How long the last bytes may take to arrive.
const GOODBYE: Duration = Duration::from_secs(3);

/// What the two sides want of each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purpose {
    /// The name that both sides must agree on.
    pub(crate) app: &'static str,
    /// The label of the channel that the offering side opens.
    pub(crate) channel: &'static str,
}

/// Two machines, connected.
pub(crate) struct Session {
    pub(crate) connection: PeerConnection,
    /// The channel of the [`Purpose`].
    pub(crate) channel: DataChannel,
    incoming: Mutex<mpsc::Receiver<DataChannel>>,
    health: watch::Receiver<Health>,
    negotiation: tokio::task::JoinHandle<()>,
}

/// How the connection does.
#[derive(Clone, Debug, PartialEq)]
enum Health {
    Starting,
    Connected(Box<PathInfo>),
    /// It will not come back.
    Ended(Failure),
}

/// The rooms in which the two sides met, kept while they talk: dropped, they close.
type Place = Box<dyn std::any::Any + Send>;

/// Makes a code, shows it, and waits for whoever has it. `command` is what to type on the other side.
pub(crate) async fn host(
    purpose: Purpose,
    reach: &Reach,
    command: &str,
    output: Output,
) -> Result<Session, Failure> {
    interruptible(async {
        let options = options(reach)?;
        let mut host = Host::open(&reach.server, &reach.server, &options).await.map_err(not_met)?;
        announce(&host, command, reach, output);
        let session = host.meet(&Hello::new(purpose.app, "")).await.map_err(not_met)?;
        connect(Box::new(host), session, purpose, reach, output).await
    })
    .await
}

/// Goes to whoever made the code.
pub(crate) async fn join(
    code: &str,
    purpose: Purpose,
    reach: &Reach,
    output: Output,
) -> Result<Session, Failure> {
    let invitation = Invitation::parse(code).map_err(|error| Failure::new(Kind::Code, error.to_string()))?;
    interruptible(async {
        let mut door = Door::knock(&invitation, &reach.server, &options(reach)?).await.map_err(not_met)?;
        let session = door.meet(&Hello::new(purpose.app, "")).await.map_err(not_met)?;
        connect(Box::new(door), session, purpose, reach, output).await
    })
    .await
}

impl Session {
    /// Runs `work` until it ends, the connection ends, or somebody presses Ctrl-C.
    pub(crate) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut health = self.health.clone();
        let ended = async {
            loop {
                if let Health::Ended(failure) = &*health.borrow_and_update() {
                    return failure.clone();
                }
                if health.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            failure = ended => Err(failure),
            failure = interrupt() => Err(failure),
        }
    }

    /// The next channel that the other side opens, the first one not counted.
    pub(crate) async fn incoming(&self) -> Option<DataChannel> {
        self.incoming.lock().await.recv().await
    }

    /// Says good bye: what was sent is delivered first.
    pub(crate) async fn close(&self) {
        // What could not be delivered any more has been told as a failure before. A side that does not read any
        // more must not keep us.
        let ended = matches!(&*self.health.borrow(), Health::Ended(_));
        let patience = if ended { Duration::from_millis(200) } else { GOODBYE };
        let _ = tokio::time::timeout(patience, self.channel.close()).await;
        let _ = tokio::time::timeout(patience, self.connection.close()).await;
        self.negotiation.abort();
    }
}

/// Shows the code, the link and the QR code.
fn announce(host: &Host, command: &str, reach: &Reach, output: Output) {
    let code = host.code().map(ToString::to_string).unwrap_or_default();
    let link = host.link().map(ToString::to_string).unwrap_or_default();
    let local = reach.server.contains("127.0.0.1") || reach.server.contains("localhost");
    let server = if local { String::new() } else { format!(" --server {}", reach.server) };
    // `forward` has its own arguments before the code.
    let command = format!("{command} {code}{server}");
    output.event("code", json!({ "code": code, "link": link, "command": command }));
    output.say(&format!("On the other machine:\n  {command}\nor open {link}"));
    if output.can_ask()
        && let Some(drawing) = qr::draw(&link)
    {
        output.note(&drawing);
    }
}

/// How to reach the server.
fn options(reach: &Reach) -> Result<ConnectOptions, Failure> {
    trusted(reach.ca.as_deref())
}

/// Trusts the authorities in a PEM file, besides those of the system.
pub(crate) fn trusted(ca: Option<&std::path::Path>) -> Result<ConnectOptions, Failure> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut options = ConnectOptions::default();
    if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
        let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().ok();
        options.extra_certificates = found.filter(|found| !found.is_empty()).ok_or_else(|| {
            Failure::new(Kind::File, format!("{} holds no certificate in PEM", path.display()))
        })?;
    }
    Ok(options)
}

fn not_met(error: MeetError) -> Failure {
    let kind = match &error {
        MeetError::Connect(ConnectError::BadUrl(_)) | MeetError::Link(_) => Kind::Usage,
        MeetError::Connect(_) => Kind::Server,
        MeetError::Signal(SignalError::Refused {
            code: ErrorCode::NoSuchCode | ErrorCode::RoomFull, ..
        }) => Kind::Code,
        MeetError::Signal(_) => Kind::Server,
        MeetError::Gone => Kind::Peer,
        _ => Kind::Code,
    };
    Failure::new(kind, error.to_string())
}

/// Connects to whom we met.
async fn connect(
    place: Place,
    session: signal::Session,
    purpose: Purpose,
    reach: &Reach,
    output: Output,
) -> Result<Session, Failure> {
    let theirs = &session.hello().app;
    if theirs != purpose.app && theirs != "page" {
        let message =
            format!("the other side is there for {theirs:?}, not {:?}; use the same command", purpose.app);
        return Err(Failure::new(Kind::Peer, message));
    }
    output.note("the other side is there, connecting …");
    let connection = PeerConnection::new(configuration(&session, reach)?).map_err(no_connection)?;
    let offers = session.offers();
    // Whoever offers opens the channel: an offer describes what there is.
    let opened = match offers {
        true => Some(
            connection
                .create_data_channel(purpose.channel, DataChannelInit::default())
                .map_err(no_connection)?,
        ),
        false => None,
    };
    let (tell, mut health) = watch::channel(Health::Starting);
    let (channels, mut incoming) = mpsc::channel(64);
    let negotiation = Negotiation {
        connection: connection.clone(),
        session,
        _place: place,
        trickle: !reach.no_trickle,
        channels,
        tell,
        described: false,
        told_evidence: false,
    };
    let negotiation = tokio::spawn(negotiation.run(offers));
    let path = loop {
        match &*health.borrow_and_update() {
            Health::Starting => {}
            Health::Connected(path) => break path.clone(),
            Health::Ended(failure) => return Err(failure.clone()),
        }
        if health.changed().await.is_err() {
            return Err(Failure::new(Kind::Connection, "the connection ended before it began"));
        }
    };
    output.event("connected", json!({ "path": path_json(&path) }));
    output.say(&path.to_string());
    let channel = match opened {
        Some(channel) => channel,
        None => {
            let first = async {
                while let Some(channel) = incoming.recv().await {
                    if channel.label() == purpose.channel {
                        return Some(channel);
                    }
                }
                None
            };
            let first = tokio::time::timeout(CHANNEL_PATIENCE, first).await.ok().flatten();
            first.ok_or_else(|| {
                Failure::new(Kind::Peer, "the other side opened no channel; use the same version")
            })?
        }
    };
    Ok(Session { connection, channel, incoming: Mutex::new(incoming), health, negotiation })
}

fn configuration(session: &signal::Session, reach: &Reach) -> Result<Configuration, Failure> {
    let servers = serde_json::from_value(session.ice_servers().clone()).map_err(|error| {
        Failure::new(
            Kind::Server,
            format!("the server's iceServers make no sense ({error}); is it the right server?"),
        )
    })?;
    Ok(Configuration {
        ice_servers: servers,
        ice_transport_policy: if reach.relay_only {
            IceTransportPolicy::Relay
        } else {
            IceTransportPolicy::All
        },
        use_relay: !reach.no_relay,
        trickle: !reach.no_trickle,
        include_loopback: is_loopback(&reach.server),
        ..Configuration::default()
    })
}

/// Whether a server's URL means this machine.
pub(crate) fn is_loopback(server: &str) -> bool {
    let host = server.split("://").last().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}

fn no_connection(error: sterna::Error) -> Failure {
    Failure::new(Kind::Connection, error.to_string())
}

/// The path as `docs/json.md` describes it.
fn path_json(path: &PathInfo) -> Value {
    json!({
        "kind": path.kind.as_str(),
        "local": path.local.as_str(),
        "remote": path.remote.as_str(),
        "protocol": path.protocol.to_string(),
        "family": path.family,
        "rtt_ms": path.rtt.map(|rtt| crate::output::round(rtt.as_secs_f64() * 1000.0)),
        "relay": path.relay,
        "because": path.because,
    })
}

/// Carries descriptions and candidates between the connection and the signalling, and watches both.
struct Negotiation {
    connection: PeerConnection,
    session: signal::Session,
    /// The rooms close when the connection is over.
    _place: Place,
    trickle: bool,
    channels: mpsc::Sender<DataChannel>,
    tell: watch::Sender<Health>,
    described: bool,
    /// Whether the other side was told what we know of a connection that does not come about.
    told_evidence: bool,
}

impl Negotiation {
    async fn run(mut self, offers: bool) {
        if let Err(failure) = self.negotiate(offers).await {
            self.end(failure);
        }
    }

    fn end(&self, failure: Failure) {
        self.tell.send_if_modified(|health| {
            let first = !matches!(health, Health::Ended(_));
            if first {
                *health = Health::Ended(failure);
            }
            first
        });
    }

    async fn negotiate(&mut self, offers: bool) -> Result<(), Failure> {
        if offers {
            self.describe().await?;
        }
        let mut signalling = true;
        let mut gone = None;
        let mut pulse = Pulse::default();
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = self.connection.next_event() => match event {
                    Some(event) => self.observe(event).await?,
                    None => return Ok(()),
                },
                payload = self.session.next(), if signalling => match payload {
                    Ok(payload) => self.hear(payload).await?,
                    Err(error) => {
                        // A connection between the peers may still be alive, and outlives its signalling.
                        signalling = false;
                        gone = Some(error);
                    }
                },
                _ = tick.tick(), if gone.is_some() => {}
            }
            let Some(error) = &gone else { continue };
            if !matches!(&*self.tell.borrow(), Health::Connected(_)) {
                let message =
                    format!("the other side or the server left before there was a connection: {error}");
                return Err(Failure::new(Kind::Peer, message));
            }
            let left = matches!(error, SessionError::Gone(Gone::Left | Gone::Lost));
            if left && pulse.is_lost(&self.connection) {
                return Err(crate::transfer::wire::vanished());
            }
        }
    }

    /// Makes our description and sends it.
    async fn describe(&mut self) -> Result<(), Failure> {
        self.connection.set_local_description(None).await.map_err(no_connection)?;
        if !self.trickle {
            self.connection.gathering_complete().await.map_err(no_connection)?;
        }
        let description = self.connection.local_description().ok_or_else(|| {
            Failure::new(
                Kind::Connection,
                "there is no local description; this is a defect, please report it",
            )
        })?;
        self.described = true;
        self.say(&Payload::Description(
            serde_json::to_value(&description).expect("a description is plain data"),
        ));
        Ok(())
    }

    /// Sends. If nobody hears it any more, the signalling itself will say so.
    fn say(&mut self, payload: &Payload) {
        let _ = self.session.send(payload);
    }

    async fn hear(&mut self, payload: Payload) -> Result<(), Failure> {
        match payload {
            Payload::Description(value) => {
                let description: SessionDescription = serde_json::from_value(value).map_err(nonsense)?;
                let is_offer = description.kind == SdpType::Offer;
                self.connection.set_remote_description(description).await.map_err(nonsense)?;
                if is_offer {
                    self.describe().await?;
                }
            }
            Payload::Candidate(value) => {
                let candidate = value.map(serde_json::from_value).transpose().map_err(nonsense)?;
                if let Err(error) = self.connection.add_ice_candidate(candidate).await {
                    tracing::debug!(%error, "a candidate of no use");
                }
            }
            Payload::Other(value) => {
                if let Some(summary) = doctor_word(&value) {
                    self.connection.set_remote_summary(summary);
                    self.tell_evidence();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the other side what we know of the connection, once: each side sees what the other cannot.
    fn tell_evidence(&mut self) {
        if !std::mem::replace(&mut self.told_evidence, true) {
            let summary = self.connection.report().evidence.summary();
            self.say(&Payload::Other(json!({ "doctor": summary })));
        }
    }

    /// Why the connection failed, by what both sides know if the other one still answers.
    async fn explain(&mut self, failure: sterna::Failure) -> Failure {
        let connected = matches!(&*self.tell.borrow(), Health::Connected(_));
        let kind = if connected { Kind::Peer } else { Kind::Connection };
        let mut evidence = failure.report.evidence.clone();
        self.tell_evidence();
        let theirs = async {
            while let Ok(payload) = self.session.next().await {
                if let Payload::Other(value) = payload
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

    async fn observe(&mut self, event: PeerEvent) -> Result<(), Failure> {
        match event {
            PeerEvent::Failed(failure) => return Err(self.explain(*failure).await),
            PeerEvent::IceCandidate(candidate) if self.trickle => {
                let value = candidate.map(|candidate| serde_json::to_value(candidate).expect("plain data"));
                self.say(&Payload::Candidate(value));
            }
            PeerEvent::DataChannel(channel) => {
                // More channels than anybody takes are the other side's fault.
                let _ = self.channels.try_send(channel);
            }
            PeerEvent::ConnectionStateChange(ConnectionState::Connected) => {
                if let Some(path) = self.connection.path() {
                    self.tell.send_replace(Health::Connected(Box::new(path)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the other side says of its own evidence: `{"doctor":{…}}`.
fn doctor_word(value: &Value) -> Option<sterna::Summary> {
    serde_json::from_value(value.get("doctor")?.clone()).ok()
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

fn nonsense(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Peer, format!("the other side sent a description that makes no sense: {error}"))
}

/// Runs `work` unless somebody presses Ctrl-C.
async fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        failure = interrupt() => Err(failure),
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupt() -> Failure {
    let stopped = Failure::new(Kind::Interrupted, "stopped");
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return stopped;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    stopped
}
