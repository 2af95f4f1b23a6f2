//! From a code to a connection: what `send`, `receive`, `pipe` and `forward` have in common.

use std::future::Future;
use std::time::Duration;

use ::doctor::Code;
use serde_json::{Value, json};
use signal::{
    ConnectError, ConnectOptions, Door, ErrorCode, Hello, Host, Invitation, MeetError, SignalError,
};
use sterna::{
    Configuration, DataChannel, DataChannelInit, IceServer, IceTransportPolicy, PeerConnection, Punch,
};
use tokio::sync::{Mutex, mpsc, watch};

use crate::args::Reach;
use crate::doctor::echo;
use crate::failure::{Failure, Kind};
use crate::negotiation::{Health, Negotiation, path_json};
use crate::offered;
use crate::output::Output;
use crate::qr;
use crate::reunion::Reunion;

/// How long a connection that works may wait for its first channel.
const CHANNEL_PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection may be without a path: long enough for a laptop that sleeps over a coffee.
const PATIENCE: Duration = Duration::from_secs(300);
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

/// The rooms in which the two sides met, kept while they talk: dropped, they close.
pub(crate) type Place = Box<dyn std::any::Any + Send>;

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
        let reunion = Reunion::new(&reach.server, options, Hello::new(purpose.app, ""), session.offers());
        connect(Box::new(host), session, reunion, purpose, reach, output).await
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
        let options = options(reach)?;
        let mut door = Door::knock(&invitation, &reach.server, &options).await.map_err(not_met)?;
        let session = door.meet(&Hello::new(purpose.app, "")).await.map_err(not_met)?;
        // A link names its own server.
        let server = door.link().map_or(reach.server.as_str(), |link| link.server()).to_owned();
        let reunion = Reunion::new(&server, options, Hello::new(purpose.app, ""), session.offers());
        connect(Box::new(door), session, reunion, purpose, reach, output).await
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

    /// The path that data takes, or took if the other side has closed already, as `docs/json.md` describes it.
    pub(crate) fn via(&self) -> Value {
        self.connection.last_path().as_ref().map_or(Value::Null, path_json)
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
pub(crate) fn announce(host: &Host, command: &str, reach: &Reach, output: Output) {
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
pub(crate) fn options(reach: &Reach) -> Result<ConnectOptions, Failure> {
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

pub(crate) fn not_met(error: MeetError) -> Failure {
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
pub(crate) async fn connect(
    place: Place,
    session: signal::Session,
    reunion: Reunion,
    purpose: Purpose,
    reach: &Reach,
    output: Output,
) -> Result<Session, Failure> {
    let session = same_purpose(session, purpose).await?;
    output.note("the other side is there, connecting …");
    let configuration = configuration(&session, reach, output).await?;
    let servers = configuration.ice_servers.clone();
    let connection = PeerConnection::new(configuration).map_err(no_connection)?;
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
    let negotiation = Negotiation::new(
        connection.clone(),
        session,
        place,
        reunion,
        !reach.no_trickle,
        channels,
        tell,
        output,
    );
    let negotiation = tokio::spawn(negotiation.run(offers));
    loop {
        let failure = match &*health.borrow_and_update() {
            Health::Starting => None,
            Health::Connected => break,
            Health::Ended(failure) => Some(failure.clone()),
        };
        if let Some(failure) = failure {
            return Err(with_relay_ports(failure, &connection, &servers).await);
        }
        if health.changed().await.is_err() {
            return Err(Failure::new(Kind::Connection, "the connection ended before it began"));
        }
    }
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

/// Whether the other one is there for the same; if not, both sides say so.
pub(crate) async fn same_purpose(
    session: signal::Session,
    purpose: Purpose,
) -> Result<signal::Session, Failure> {
    let theirs = session.hello().app.as_str();
    if theirs == purpose.app || (theirs == "page" && purpose.app != "doctor") {
        return Ok(session);
    }
    // It has to hear who we are before we end, or it would take its code for wrong.
    session.flush().await;
    let command = |app: &str| match app {
        "transfer" => "`sterna send` or `receive`".to_owned(),
        "doctor" | "pipe" | "forward" => format!("`sterna {app}`"),
        "page" => "the page in a browser".to_owned(),
        other => format!("{other:?}"),
    };
    let message = format!(
        "the other side is {}, and this is {}: use the same command on both",
        command(theirs),
        command(purpose.app)
    );
    Err(Failure::new(Kind::Peer, message))
}

async fn configuration(
    session: &signal::Session,
    reach: &Reach,
    output: Output,
) -> Result<Configuration, Failure> {
    let mut servers: Vec<IceServer> =
        serde_json::from_value(session.ice_servers().clone()).map_err(|error| {
            Failure::new(
                Kind::Server,
                format!("the server's iceServers make no sense ({error}); is it the right server?"),
            )
        })?;
    let found = match reach.discover {
        Some(which) => offered::relays(which).await,
        None => Vec::new(),
    };
    for relay in &found {
        output.note(&format!("this network offers a relay: {}", relay.url()));
        servers.push(offered::without_credentials(relay));
    }
    Ok(Configuration {
        ice_servers: servers,
        certificate_names: found.into_iter().map(|relay| (relay.host, relay.identity)).collect(),
        servers_ahead: session.server_ahead(),
        certificate_authorities: options(reach)?.extra_certificates,
        ice_transport_policy: if reach.relay_only {
            IceTransportPolicy::Relay
        } else {
            IceTransportPolicy::All
        },
        use_relay: !reach.no_relay,
        trickle: !reach.no_trickle,
        include_loopback: is_loopback(&reach.server),
        port_mapping: !reach.no_port_mapping,
        roam: Some(PATIENCE),
        punch: reach.punch.then(Punch::default),
        ..Configuration::default()
    })
}

/// A relay was there, and did not help: whether its ports are closed this machine can find out by itself, after the fact.
async fn with_relay_ports(
    mut failure: Failure,
    connection: &PeerConnection,
    servers: &[IceServer],
) -> Failure {
    let known = failure.verdicts.iter().any(|verdict| verdict.code == Code::RelayPortsClosed);
    let evidence = connection.report().evidence;
    let relays = evidence.ice.servers.iter().any(|server| {
        server.request == ice::ServerRequest::Allocate
            && matches!(server.outcome, ice::ServerOutcome::Succeeded(_))
    });
    if failure.kind != Kind::Connection || known || !relays {
        return failure;
    }
    let relay_echo = echo::measure(servers).await;
    let report = sterna::Report::new(sterna::Evidence { relay_echo, ..evidence });
    let closed = report.verdicts.into_iter().find(|verdict| verdict.code == Code::RelayPortsClosed);
    if let Some(closed) = closed {
        failure.verdicts.retain(|verdict| verdict.code != Code::Inconclusive);
        failure.verdicts.push(closed);
        failure.verdicts.sort_by_key(|verdict| verdict.code);
    }
    failure
}

/// Whether a server's URL means this machine.
pub(crate) fn is_loopback(server: &str) -> bool {
    let host = server.split("://").last().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start))
}

pub(crate) fn no_connection(error: sterna::Error) -> Failure {
    Failure::new(Kind::Connection, error.to_string())
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
