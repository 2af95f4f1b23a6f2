//! `sterna relay`: the STUN and TURN server. `sterna serve` is this, and the page and signalling beside it.

mod acme;
mod addresses;
pub(crate) mod admin;
pub(crate) mod args;
mod check;
#[cfg(test)]
mod deploy;
mod door;
#[cfg(test)]
mod garbled;
pub(crate) mod ice_servers;
pub(crate) mod import;
mod inquiry;
mod listening;
mod metrics;
mod open_files;
mod plan;
mod privileges;
mod probe;
mod reload;
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
use crate::args::Command;
use crate::failure::{Failure, Kind};
use crate::output::Output;

pub(crate) use self::addresses::Addresses;
pub(crate) use self::check::check;
pub(crate) use self::door::Door;
pub(crate) use self::ice_servers::IceServers;
pub(crate) use self::listening::Ports;
pub(crate) use self::plan::{Plan, read_secrets};
pub(crate) use self::reload::needs_restart;
pub(crate) use self::secrets::check_password;
pub(crate) use self::settings::{Settings, Tls};
pub(crate) use self::station::{Station, unix_time};

pub(crate) async fn run(args: args::Relay, output: Output) -> Result<(), Failure> {
    if let Some(args::Task::Test(test)) = args.task {
        return test::run(test, output).await;
    }
    if let Some(path) = &args.import {
        return import::run(path, output);
    }
    let (options, user) = (args.options, args.user.as_deref());
    if args.check {
        return check(&options, user, None, output).await;
    }
    let plan = Plan::make(&options, user, None).await?;
    let admin = plan.settings.admin.map(Door::admin).transpose()?;
    let station = open(plan, &[], admin.as_ref().map(Door::address), output)?;
    let admin = operator(&station, admin, output)?;
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
    station.run(None, || options_again(user), admin.serve, output).await
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

/// This process's command line, read again with the settings file that it names.
pub(crate) fn again() -> Result<Command, Failure> {
    use crate::command_line::{Unread, parse};
    match parse(std::env::args_os().collect()) {
        Ok(cli) => Ok(cli.command),
        Err(Unread::File(failure)) => Err(failure),
        Err(Unread::Usage(error)) => Err(Failure::new(Kind::Usage, error.to_string())),
    }
}

/// The options, read again. What they do not have needs a restart.
fn options_again(in_force: Option<&str>) -> Result<Options, Failure> {
    let Command::Relay(relay) = again()? else { unreachable!("the command line is the same") };
    let args::Relay { task: _, options, user, check: _, import: _ } = *relay;
    if user.as_deref() != in_force {
        needs_restart("user");
    }
    Ok(options)
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
    door: Option<Door>,
    output: Output,
) -> Result<Operator<impl Future<Output = Failure> + use<>>, Failure> {
    let address = door.as_ref().map(Door::address);
    let listener = door.map(Door::open).transpose()?;
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
