//! `sterna relay`: the STUN and TURN server. `sterna serve` is this, and the page and signalling beside it.

mod addresses;
pub(crate) mod admin;
pub(crate) mod args;
mod check;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod garbled;
pub(crate) mod ice_servers;
pub(crate) mod import;
mod inquiry;
mod listening;
mod metrics;
mod open_files;
mod plan;
mod probe;
mod secrets;
pub(crate) mod settings;
mod signals;
mod station;
mod test;
mod tls;
mod watch;

use std::net::SocketAddr;

use serde_json::json;

use self::args::Options;
use crate::failure::{Failure, Kind};
use crate::output::Output;

pub(crate) use self::addresses::Addresses;
pub(crate) use self::check::check;
pub(crate) use self::ice_servers::IceServers;
pub(crate) use self::listening::Ports;
pub(crate) use self::plan::{Plan, read_secrets};
pub(crate) use self::settings::{Settings, Tls};
pub(crate) use self::station::{Station, unix_time};

pub(crate) async fn run(args: args::Relay, output: Output) -> Result<(), Failure> {
    if let Some(args::Task::Test(test)) = args.task {
        return test::run(test, output).await;
    }
    if let Some(path) = &args.import {
        return import::run(path, output);
    }
    let options = args.options;
    if args.check {
        return check(&options, output).await;
    }
    let plan = Plan::make(&options, None).await?;
    let door = admin::Door::bind(plan.settings.admin)?;
    let station = open(plan, &[], door.address(), output)?;
    let admin = operator(&station, door, output)?;
    let ice_servers = station.ice_servers();
    let mut event = json!({ "stun": ice_servers.stun(), "turn": ice_servers.turn() });
    event["dtls"] = ice_servers.turn_over_dtls().into();
    event["admin"] = admin.address.map(|at| format!("http://{at}")).into();
    output.event("listening", event);
    let mut lines = vec!["The relay is up.".to_owned(), String::new()];
    lines.extend(describe(&station));
    lines.extend(admin.address.map(|at| format!("  metrics  http://{at}/metrics")));
    lines.push("\nCredentials for clients: sterna credentials. Ctrl-C ends it.".to_owned());
    output.note(&lines.join("\n"));
    station.run(None, again, admin.serve, output).await
}

/// Opens the sockets of the STUN and TURN server, which is reached through the `page`'s listeners as well, and says what a
/// person should know. `admin` is the operator's, which nobody reaches through the relay.
pub(crate) fn open(
    plan: Plan,
    page: &[SocketAddr],
    admin: Option<SocketAddr>,
    output: Output,
) -> Result<Station, Failure> {
    let few = open_files::raise();
    let mut station = plan.open(page, admin)?;
    station.warnings.extend(few);
    for warning in &station.warnings {
        tracing::warn!("{warning}");
        output.note(&format!("warning: {warning}"));
    }
    Ok(station)
}

/// The options of this process's command line, read again with the file that it names.
pub(crate) fn again() -> Result<Options, Failure> {
    use crate::command_line::{Unread, parse};
    match parse(std::env::args_os().collect()) {
        Ok(mut cli) => Ok(cli.command.options_mut().expect("this is a server").clone()),
        Err(Unread::File(failure)) => Err(failure),
        Err(Unread::Usage(error)) => Err(Failure::new(Kind::Usage, error.to_string())),
    }
}

/// The operator's listener.
pub(crate) struct Operator<F> {
    pub(crate) address: Option<SocketAddr>,
    /// Ends if it cannot go on.
    pub(crate) serve: F,
}

/// Opens the operator's listener, if there is to be one.
pub(crate) fn operator(
    station: &Station,
    door: admin::Door,
    output: Output,
) -> Result<Operator<impl Future<Output = Failure> + use<>>, Failure> {
    let address = door.address();
    let listener = door.open()?;
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        output.note("warning: --admin is not on loopback: who reaches it can read the metrics");
    }
    let desk = station.desk();
    let serve = async move {
        let Some(listener) = listener else { return std::future::pending().await };
        let served = axum::serve(listener, admin::router(desk)).await;
        let why = served.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        Failure::new(Kind::Other, format!("metrics cannot be served any more: {why}"))
    };
    Ok(Operator { address, serve })
}

/// Where the server is reached and what it relays from, for people.
pub(crate) fn describe(station: &Station) -> Vec<String> {
    let ice_servers = station.ice_servers();
    let mut lines = vec![format!("  STUN     {}", ice_servers.stun())];
    if let Some(second) = station.settings.stun_alternate {
        lines.push(format!("  NATs     discovered with the help of {}, too", second.advertised));
    }
    if let Some(partner) = &station.settings.stun_partner {
        lines.push(format!("  NATs     discovered together with the server at {}", partner.address));
    }
    lines.extend(ice_servers.turn().iter().map(|url| format!("  TURN     {url}")));
    lines.extend(ice_servers.turn_over_dtls().map(|url| format!("  TURN     {url} (not for browsers)")));
    let relay = station.addresses.relay.iter().map(|relay| relay.advertised.to_string());
    lines.push(format!(
        "  relayed  from {}, {}",
        relay.collect::<Vec<_>>().join(" and "),
        station.settings.relayed_ports()
    ));
    if let Some(fingerprint) = station.identity.as_ref().and_then(|identity| identity.fingerprint.as_ref()) {
        lines.push(format!("  TLS      self-signed, sha256 {fingerprint}"));
    }
    lines
}
