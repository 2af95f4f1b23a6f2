//! `sterna serve`: the page, signalling, STUN and TURN in one process.

mod addresses;
mod http;
mod ice_servers;
mod listening;
mod settings;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay::{Relay, RelayConfig};
use serde_json::json;
use tokio::net::TcpListener;

use self::addresses::Addresses;
use self::http::{HttpListener, Remote, mark_source};
use self::ice_servers::IceServers;
use self::listening::Listening;
use self::settings::{Settings, Tls};
use self::tls::Identity;
use crate::args::Serve;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::session::interrupt;

/// How long `--busy-poll` looks for more.
const BUSY_POLL: Duration = Duration::from_millis(1);

pub(crate) async fn run(args: Serve, output: Output) -> Result<(), Failure> {
    let settings = Settings::gather(args)?;
    let addresses = Addresses::find(&settings)?;
    let identity = settings.tls.as_ref().map(|tls| Identity::load(tls, &addresses.names)).transpose()?;
    let listener = bind_http(&settings).await?;
    let http = listener.local_addr().map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
    let secret = settings.secret()?;
    let relay = bind_relay(&settings, &addresses, identity.as_ref(), &secret)?;
    let ice_servers = IceServers::new(&settings, &addresses, &relay, secret);

    let scheme = if identity.is_some() { "https" } else { "http" };
    let page = |host: IpAddr| format!("{scheme}://{}/", SocketAddr::new(host, http.port()));
    announce(&settings, &addresses, identity.as_ref(), &page, &ice_servers, output);

    let signalling = signal::SignalConfig {
        ice_servers: Arc::new(move |client| ice_servers.for_client(client, unix_time())),
        ..signal::SignalConfig::default()
    };
    let app = signal::router(signalling).merge(web::router()).layer(axum::middleware::from_fn(mark_source));
    let acceptor = identity.map(|identity| tokio_rustls::TlsAcceptor::from(identity.config));
    let listener = HttpListener::new(listener, acceptor)
        .map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
    let page = axum::serve(listener, app.into_make_service_with_connect_info::<Remote>());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relaying = tokio::spawn(relay.run(async {
        let _ = stopped.await;
    }));
    tokio::select! {
        ended = async { page.await } => {
            let why = ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            return Err(Failure::new(Kind::Other, format!("the page cannot be served any more: {why}")));
        }
        _ = interrupt() => {}
    }
    let _ = stop.send(());
    let _ = relaying.await;
    output.note("stopped");
    output.event("done", json!({}));
    Ok(())
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn bind_http(settings: &Settings) -> Result<TcpListener, Failure> {
    let address = SocketAddr::new(settings.listen, settings.http);
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, "--http", &error))
}

/// Why an address cannot be listened on, and what to do.
fn cannot_listen(address: SocketAddr, flag: &str, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("is in use; stop what uses it or choose another port with {flag}")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("needs privileges, as all ports below 1024 do; choose another port with {flag}")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "is not an address of this machine; check --listen".to_owned()
        }
        _ => format!("cannot be used: {error}"),
    };
    Failure::new(Kind::Server, format!("cannot listen: {address} {advice}"))
}

fn bind_relay(
    settings: &Settings,
    addresses: &Addresses,
    identity: Option<&Identity>,
    secret: &str,
) -> Result<Relay, Failure> {
    let listening = Listening::choose(settings, addresses)?;
    let mut policy = turn::PeerPolicy::default();
    for range in &settings.allow_peer {
        let cidr = range.parse().map_err(|error| {
            Failure::new(Kind::Usage, format!("--allow-peer {range}: {error}; write it like 10.0.0.0/8"))
        })?;
        policy = policy.allow(cidr);
    }
    let auth = turn::Auth::shared_secret(secret).map_err(|error| {
        let message = format!("--secret-file: {error}; `openssl rand -hex 32 > FILE` makes a good one");
        Failure::new(Kind::Usage, message)
    })?;
    let seed = sansio::Seed(crypto::seed());
    let mut server = turn::ServerConfig::new("sterna", addresses.relay[0], auth, seed);
    server.relay_addresses = addresses.relay.clone();
    server.ports = settings.relay_ports.clone();
    server.policy = policy;
    server.alternate = listening.alternate;
    server.partner = listening.partner;
    server.unix_time_at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let tls = identity
        .map(|identity| (SocketAddr::new(settings.listen, settings.stun_tls), identity.config.clone()));
    let tls = tls.into_iter().collect();
    let config = RelayConfig {
        udp: listening.udp,
        tcp: vec![listening.stun],
        tls,
        shards: settings.relay_threads,
        busy_poll: if settings.busy_poll { BUSY_POLL } else { Duration::ZERO },
        ..RelayConfig::new(server)
    };
    Relay::bind(config).map_err(|error| Failure::new(Kind::Server, error.to_string()))
}

/// Says what to open, what to type next, and which addresses and ports are in use.
fn announce(
    settings: &Settings,
    addresses: &Addresses,
    identity: Option<&Identity>,
    page: &dyn Fn(IpAddr) -> String,
    ice_servers: &IceServers,
    output: Output,
) {
    let primary = page(addresses.names[0]);
    let mut event = json!({
        "http": primary.trim_end_matches('/'), "stun": ice_servers.stun(), "turn": ice_servers.turn(),
    });
    if let Some(second) = settings.stun_alternate {
        event["stun_alternate"] = second.advertised.to_string().into();
    }
    if let Some(partner) = &settings.stun_partner {
        event["stun_partner"] = partner.address.to_string().into();
    }
    if let Some(fingerprint) = identity.and_then(|identity| identity.fingerprint.as_ref()) {
        event["fingerprint"] = fingerprint.clone().into();
    }
    output.event("listening", event);
    let mut lines =
        vec![format!("Sterna is up. Open {primary} in two windows and enter the same room."), String::new()];
    for name in &addresses.names[1..] {
        lines.push(format!("  page     {}", page(*name)));
    }
    let (low, high) = (settings.relay_ports.start(), settings.relay_ports.end());
    let from =
        addresses.relay.iter().map(|relay| relay.advertised.to_string()).collect::<Vec<_>>().join(" and ");
    lines.push(format!("  STUN     {}", ice_servers.stun()));
    if let Some(second) = settings.stun_alternate {
        lines.push(format!("  NATs     discovered with the help of {}, too", second.advertised));
    }
    if let Some(partner) = &settings.stun_partner {
        lines.push(format!("  NATs     discovered together with the server at {}", partner.address));
    }
    for url in ice_servers.turn() {
        lines.push(format!("  TURN     {url}"));
    }
    lines.push(format!("  relayed  from {from}, UDP ports {low} to {high}"));
    if let Some(fingerprint) = identity.and_then(|identity| identity.fingerprint.as_ref()) {
        lines.push(format!("  TLS      self-signed, sha256 {fingerprint}"));
    }
    lines.push(String::new());
    let server = if settings.listen.is_loopback() && settings.http == 8080 && identity.is_none() {
        String::new()
    } else {
        format!(" --server {}", primary.trim_end_matches('/'))
    };
    lines.push(format!("Next, in another terminal: sterna send FILE{server}"));
    if settings.listen.is_loopback() {
        lines.push("Only this machine can reach it; --listen 0.0.0.0 lets others in.".to_owned());
    }
    if settings.tls.is_none() && !settings.listen.is_loopback() {
        lines.push("Browsers give camera and microphone only to https pages: add --tls CERT,KEY or --tls self-signed.".to_owned());
    }
    lines.push("Ctrl-C ends it.".to_owned());
    output.say(&lines.join("\n"));
    if let Some(pem) = identity.and_then(|identity| identity.pem.as_ref())
        && matches!(settings.tls, Some(Tls::SelfSigned))
    {
        output.note(&format!("\nClients trust it with --ca FILE, where FILE holds this:\n{pem}"));
    }
}
