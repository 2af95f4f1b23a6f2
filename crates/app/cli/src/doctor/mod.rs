//! `sterna doctor`: what this machine's network lets through, and what is in the way.
//!
//! Everything is asked at once: the server first, since it names the STUN and TURN servers; then those by NAT discovery
//! (RFC 5780), by the gathering of a real connection, and with packets of all sizes. What came of it goes to the crate
//! `doctor`, which says what it means.

mod args;
mod bundle;
pub(crate) mod echo;
mod findings;
mod mtu;
mod nat;
mod paint;
mod picture;
mod portal;
mod relays;
mod server;
mod together;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use driver::DiscoverOptions;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal::ConnectOptions;
use sterna::IceServer;

pub(crate) use self::args::Doctor;
use self::findings::Findings;
use self::nat::Nat;
use self::paint::Paint;
use self::server::Visit;
use self::together::Examined;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::session::{interrupt, is_loopback, trusted};

/// The server if nobody says which.
const SERVER: &str = "http://127.0.0.1:8080";
/// A server that has not answered by then is not there, as far as a diagnosis goes.
const VISIT: Duration = Duration::from_millis(2500);
/// The longest that a name may take to look up.
const LOOKUP: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: Doctor, output: Output) -> Result<(), Failure> {
    let plan = Plan::new(&args)?;
    tokio::select! {
        result = look(&args, &plan, output) => result,
        failure = interrupt() => Err(failure),
    }
}

async fn look(args: &Doctor, plan: &Plan, output: Output) -> Result<(), Failure> {
    let reach = args.reach(SERVER);
    // The other side can come while this machine is examined.
    let meeting = match (&reach, &args.code) {
        (Some(reach), Some(code)) => Some((together::join(code, reach).await?, reach)),
        (Some(reach), None) => Some((together::invite(reach, output).await?, reach)),
        (None, _) => None,
    };
    let progress = Progress::new(output);
    let findings = examine(plan, &progress).await;
    progress.end();
    let report = findings.json();
    output.event("report", report.clone());
    output.say(&picture::draw(&findings, Paint::of_stdout()));
    if let Some(path) = &args.bundle {
        let text = picture::draw(&findings, Paint::plain());
        bundle::write(path, &report, &text, &plan.names(&findings))?;
        output.note(&format!(
            "\nWrote {}, without addresses and names, to attach to a bug report.",
            path.display()
        ));
    }
    match meeting {
        Some((meeting, reach)) => {
            let meeting = meeting.await.map_err(|error| Failure::new(Kind::Other, error.to_string()))??;
            meeting.compare(Examined { place: findings.place(), report }, reach, output).await
        }
        None => outcome(&findings),
    }
}

/// What the exit code says. The report has been printed; nothing is left to tell.
fn outcome(findings: &Findings) -> Result<(), Failure> {
    let absent = findings.visit.as_ref().is_some_and(|visit| visit.greeting.is_none());
    if findings.can_connect() {
        Ok(())
    } else if absent {
        Err(Failure::told(Kind::Server))
    } else {
        Err(Failure::told(Kind::Connection))
    }
}

/// What is to be asked.
struct Plan {
    server: Option<String>,
    options: ConnectOptions,
    /// STUN URLs.
    stun: Vec<String>,
    turn: Vec<IceServer>,
    lifetime: Option<Duration>,
    discover: bool,
}

impl Plan {
    fn new(args: &Doctor) -> Result<Self, Failure> {
        let usage = |message: String| Failure::new(Kind::Usage, message);
        let mut stun = Vec::new();
        for text in &args.stun {
            let url = if text.starts_with("stun:") { text.clone() } else { format!("stun:{text}") };
            url.parse::<ice::ServerUrl>().map_err(|error| {
                usage(format!("--stun {text}: {error}; write it like stun.example.org or 198.51.100.1:3478"))
            })?;
            stun.push(url);
        }
        let mut turn = Vec::new();
        for url in &args.turn {
            let parsed =
                url.parse::<ice::ServerUrl>().map_err(|error| usage(format!("--turn {url}: {error}")))?;
            let (Some(user), Some(password)) = (&args.turn_user, &args.turn_password) else {
                return Err(usage(format!("--turn {url} needs --turn-user and --turn-password")));
            };
            if !parsed.is_turn() {
                return Err(usage(format!("--turn {url} is no TURN server; --stun asks STUN servers")));
            }
            turn.push(IceServer::new(url).with_credential(user, password));
        }
        let alone = stun.is_empty() && turn.is_empty();
        let server = args.server.clone().or_else(|| alone.then(|| SERVER.to_owned()));
        let options = ConnectOptions { timeout: VISIT, ..trusted(args.ca.as_deref())? };
        Ok(Self {
            server,
            options,
            stun,
            turn,
            lifetime: args.lifetime.map(Duration::from_secs),
            discover: args.discover.is_some(),
        })
    }

    /// The servers of a connection: those that were named here, and those of the server.
    fn ice_servers(&self, visit: Option<&Visit>) -> Vec<IceServer> {
        let named = self.stun.iter().map(IceServer::new).chain(self.turn.iter().cloned());
        named.chain(visit.into_iter().flat_map(|visit| visit.ice_servers.iter().cloned())).collect()
    }

    /// What is not to be in a bug report: whom this machine asks, as whom, and what its interfaces are called.
    fn names(&self, findings: &Findings) -> Vec<bundle::Name> {
        let servers = self.ice_servers(findings.visit.as_ref());
        let urls = servers.iter().flat_map(|server| &server.urls);
        let hosts = urls.filter_map(|url| url.parse::<ice::ServerUrl>().ok()).map(|url| url.host);
        let users = servers.iter().filter_map(|server| server.username.clone());
        // Our own default tells nothing.
        let realms = findings.ice.servers.iter().filter_map(|server| server.realm.clone());
        let realms = realms.filter(|realm| realm != "sterna");
        let inside = findings.interfaces.iter().filter(|one| one.kind != ice::InterfaceKind::Loopback);
        hosts
            .map(|host| (host, "server"))
            .chain(users.map(|user| (user, "user")))
            .chain(realms.map(|realm| (realm, "realm")))
            .chain(inside.map(|one| (one.name.clone(), "interface")))
            .collect()
    }
}

async fn examine(plan: &Plan, progress: &Progress) -> Findings {
    let started = Instant::now();
    let mut findings =
        Findings { interfaces: driver::interfaces(), proxy: driver::proxy(), ..Findings::default() };
    let own = findings.interfaces.iter().find(|one| one.kind != ice::InterfaceKind::Loopback);
    let own = own.or(findings.interfaces.first()).map(|one| one.address);
    let mdns = async {
        match own {
            Some(address) => Some(progress.during("mDNS", driver::hears_itself(address)).await),
            None => None,
        }
    };
    let port_mappers = async {
        let own = findings.interfaces.iter().filter(|one| one.default_route || one.address.is_ipv4());
        let own = own.max_by_key(|one| (one.address.is_ipv4(), one.default_route))?.address;
        progress.during("router", driver::port_mappers(own)).await
    };
    let discovered = async {
        match plan.discover {
            true => Some(progress.during("relays", driver::discover(DiscoverOptions::default())).await),
            false => None,
        }
    };
    let servers = async {
        let visit = match &plan.server {
            Some(url) => Some(progress.during("server", server::visit(url, &plan.options)).await),
            None => None,
        };
        let ice_servers = plan.ice_servers(visit.as_ref());
        let stun = progress.during("names", addresses(&ice_servers)).await;
        let [v4, v6] = [true, false].map(|v4| -> Vec<SocketAddr> {
            stun.iter().copied().filter(|server| server.is_ipv4() == v4).collect()
        });
        let authorities = plan.options.extra_certificates.clone();
        let loopback =
            plan.server.as_deref().is_some_and(is_loopback) || stun.iter().any(|at| at.ip().is_loopback());
        let gather = async {
            if ice_servers.is_empty() {
                return Ok(ice::Report::default());
            }
            relays::gather(ice_servers.clone(), authorities, loopback).await
        };
        let path_mtu = async {
            let server = *v4.first().or(v6.first())?;
            mtu::measure(driver::source_for(server)?, server).await
        };
        let (v4, v6, gathered, path_mtu, echo) = tokio::join!(
            progress.during("NAT", discover(v4.clone(), plan.lifetime)),
            progress.during("IPv6", discover(v6.clone(), plan.lifetime)),
            progress.during("relay", gather),
            progress.during("path MTU", path_mtu),
            progress.during("relay ports", echo::measure(&ice_servers)),
        );
        (visit, [v4, v6], gathered, path_mtu, echo)
    };
    let (mdns, port_mappers, discovered, servers) = tokio::join!(mdns, port_mappers, discovered, servers);
    let (visit, nats, gathered, path_mtu, echo) = servers;
    (findings.mdns, findings.port_mappers, findings.discovered) = (mdns, port_mappers, discovered);
    (findings.visit, findings.nats, findings.path_mtu, findings.echo) = (visit, nats, path_mtu, echo);
    match gathered {
        Ok(report) => findings.ice = report,
        Err(error) => findings.ice_error = Some(error),
    }
    findings.verdicts = doctor::examine(&findings.evidence());
    findings.took = started.elapsed();
    findings
}

async fn discover(servers: Vec<SocketAddr>, lifetime: Option<Duration>) -> Option<Nat> {
    if servers.is_empty() { None } else { nat::discover(servers, lifetime).await }
}

/// The addresses of the STUN servers, and of TURN servers over UDP, which are STUN servers too.
async fn addresses(servers: &[IceServer]) -> Vec<SocketAddr> {
    let mut wanted: Vec<ice::ServerUrl> = Vec::new();
    for url in servers.iter().flat_map(|server| &server.urls) {
        let Ok(url) = url.parse::<ice::ServerUrl>() else { continue };
        if url.transport == sansio::Transport::Udp && !wanted.contains(&url) {
            wanted.push(url);
        }
    }
    let lookups: Vec<_> = wanted
        .into_iter()
        .map(|url| {
            tokio::spawn(async move {
                let found = tokio::time::timeout(LOOKUP, driver::locate(&url)).await;
                found.ok().and_then(Result::ok).unwrap_or_default()
            })
        })
        .collect();
    let mut found = Vec::new();
    for lookup in lookups {
        for address in lookup.await.unwrap_or_default() {
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// What is being asked, on a terminal.
struct Progress {
    bar: ProgressBar,
    pending: std::sync::Mutex<Vec<&'static str>>,
}

impl Progress {
    fn new(output: Output) -> Self {
        let bar = match output.shows_progress() {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(12)),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner:.cyan} asking: {msg} {elapsed:.dim}");
        bar.set_style(style.expect("the template is a constant"));
        bar.enable_steady_tick(Duration::from_millis(90));
        Self { bar, pending: std::sync::Mutex::new(Vec::new()) }
    }

    /// Shows `what` while `work` is under way.
    async fn during<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        self.change(|pending| pending.push(what));
        let result = work.await;
        self.change(|pending| pending.retain(|other| *other != what));
        result
    }

    fn change(&self, change: impl FnOnce(&mut Vec<&'static str>)) {
        let mut pending = self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut pending);
        self.bar.set_message(pending.join(", "));
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn plan(arguments: &[&str]) -> Result<Plan, Failure> {
        let cli = crate::args::Cli::try_parse_from(["sterna", "doctor"].iter().chain(arguments)).unwrap();
        let crate::args::Command::Doctor(args) = cli.command else { unreachable!() };
        Plan::new(&args)
    }

    #[test]
    fn servers_are_taken_as_they_are_written() {
        let plan =
            plan(&["--stun", "stun.example.org,198.51.100.1:3479", "--stun", "stun:a.example"]).unwrap();
        assert_eq!(plan.stun, ["stun:stun.example.org", "stun:198.51.100.1:3479", "stun:a.example"]);
        if std::env::var_os("STERNA_SERVER").is_none() {
            assert_eq!(plan.server, None);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for arguments in [
            &["--stun", "a:b:c:d"][..],
            &["--turn", "turn:a.example"],
            &["--turn", "stun:a.example", "--turn-user", "u", "--turn-password", "p"],
        ] {
            assert_eq!(plan(arguments).err().map(|failure| failure.kind), Some(Kind::Usage), "{arguments:?}");
        }
    }

    #[tokio::test]
    async fn names_and_literals_become_addresses_once() {
        let servers = [
            IceServer::new("stun:127.0.0.1:3478"),
            IceServer::new("turn:127.0.0.1:3478?transport=udp"),
            IceServer::new("turn:127.0.0.1:3479?transport=tcp"),
            IceServer::new("stun:[::1]:3478"),
        ];
        let found = addresses(&servers).await;
        assert_eq!(found, ["127.0.0.1:3478".parse().unwrap(), "[::1]:3478".parse::<SocketAddr>().unwrap()]);
    }
}
