//! `sterna relay test`: does a TURN server work, and if not, at which step and why? Anybody's server.

mod judge;
mod trial;
mod tunnel;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use driver::{Clock, Connector, Engine, Host, Network, Shared};
use ice::{Scheme, ServerUrl, ServerUrlError};
use sansio::{Seed, Time, Transport};
use serde_json::{Value, json};
use stun::credential::SharedSecret;
use turn::Credentials;

use self::judge::{Judge, Trust};
use self::trial::{Outcome, Plan, Trial};
use crate::failure::{Failure, Kind};
use crate::output::{Output, round};
use crate::session::{interrupt, trusted};

/// The longest that a name may take to look up.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long credentials are good for that are made with --secret-file, seconds.
const LIFETIME: u64 = 600;
/// Where the password is: a command line can be read by all users of a machine.
const PASSWORD: &str = "STERNA_TURN_PASSWORD";
/// The port of TURN over TLS, where none is named.
const TLS_PORT: u16 = 5349;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The server, such as turn:example.org, turn:198.51.100.1:3478?transport=tcp or turns:example.org:443; without
    /// ?transport= all of UDP, TCP, TLS and DTLS are tried (of turns: the last two)
    #[arg(value_name = "URL")]
    url: String,

    /// The user's name; the password is taken from STERNA_TURN_PASSWORD in the environment
    #[arg(long, value_name = "NAME", env = "STERNA_TURN_USER")]
    user: Option<String>,

    /// Make credentials with the secret that this file holds, instead of a password
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Trust this certificate authority (PEM) as well
    #[arg(long, value_name = "FILE", env = "STERNA_CA")]
    ca: Option<PathBuf>,

    /// How many packets to relay
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    packets: u32,

    /// Bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(4..=1200))]
    size: u64,
}

/// One way to the server.
struct Way {
    url: ServerUrl,
    /// Whether it was asked for by name: then it has to work.
    wanted: bool,
}

pub(crate) async fn run(test: Test, output: Output) -> Result<(), Failure> {
    tokio::select! {
        result = all(&test, output) => result,
        failure = interrupt() => Err(failure),
    }
}

async fn all(test: &Test, output: Output) -> Result<(), Failure> {
    let ways = ways(&test.url)?;
    let credentials = credentials(test)?;
    let authorities = trusted(test.ca.as_deref())?.extra_certificates;
    let judge = Judge::new(&authorities);
    let connector = Connector::new(authorities);
    let mut told = BTreeSet::new();
    let mut working = 0;
    let mut missing = false;
    for way in &ways {
        let server = find(&way.url).await?;
        if told.insert(server.ip()) {
            output.say(&format!("{} is {}", way.url.host, server.ip()));
        }
        let source = driver::source_for(server).ok_or_else(|| {
            Failure::new(Kind::Connection, format!("there is no route to {server} from this machine"))
        })?;
        let plan = Plan {
            transport: way.url.transport,
            server,
            server_name: way.url.host.clone(),
            judge: judge.clone(),
            source,
            credentials: credentials.clone(),
            packets: test.packets,
            size: test.size as usize,
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        };
        let outcome = perform(plan, connector.clone()).await;
        let works = outcome.failed.is_none();
        working += usize::from(works);
        missing |= !works && way.wanted;
        output.event("trial", object(&way.url, server, &outcome));
        output.say(&picture(&way.url, &outcome).join("\n"));
    }
    output.event("done", json!({ "working": working, "tried": ways.len() }));
    if working == 0 || missing {
        output.say("\nThis server does not relay as asked.");
        return Err(Failure::told(Kind::Connection));
    }
    output.say(&format!("\nThis server relays: {working} of {} transports work from here.", ways.len()));
    Ok(())
}

/// All transports, or the one that the URL names.
fn ways(text: &str) -> Result<Vec<Way>, Failure> {
    let usage = |why: String| {
        Failure::new(Kind::Usage, format!("{text}: {why}; write it like turn:example.org:3478"))
    };
    // What no agent of ICE speaks is spoken here.
    let over_dtls = |url: ServerUrl| ServerUrl { transport: Transport::Dtls, ..url };
    let url: ServerUrl = match text.parse() {
        Err(ServerUrlError::Dtls) => text.replace("transport=udp", "transport=tcp").parse().map(over_dtls),
        other => other,
    }
    .map_err(|error| usage(error.to_string()))?;
    if !url.is_turn() {
        return Err(usage("this is no TURN server".to_owned()));
    }
    if text.contains("transport=") {
        return Ok(vec![Way { url, wanted: true }]);
    }
    // The usual port of what is inside TLS, unless this is it.
    let inside = ServerUrl { scheme: Scheme::Turns, transport: Transport::Tls, ..url.clone() };
    if url.transport == Transport::Tls {
        return Ok(vec![Way { url, wanted: true }, Way { url: over_dtls(inside), wanted: false }]);
    }
    let inside = ServerUrl { port: url.port.map(|_| TLS_PORT), ..inside };
    let tcp = ServerUrl { transport: Transport::Tcp, ..url.clone() };
    let all = [url, tcp, inside.clone(), over_dtls(inside)];
    Ok(all.map(|url| Way { url, wanted: false }).into())
}

fn credentials(test: &Test) -> Result<Credentials, Failure> {
    let usage = |message: String| Failure::new(Kind::Usage, message);
    if let Some(path) = &test.secret_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::file("read the secret file", path, &error))?;
        let secret = SharedSecret::new(text.lines().next().unwrap_or_default().trim())
            .map_err(|error| usage(error.to_string()))?;
        let user = test.user.as_deref().unwrap_or("test");
        let (username, password) = secret.credentials(user, super::unix_time() + LIFETIME);
        return Ok(Credentials { username, password });
    }
    match (&test.user, std::env::var(PASSWORD).ok()) {
        (Some(username), Some(password)) => Ok(Credentials { username: username.clone(), password }),
        _ => Err(usage(
            "a TURN server wants credentials: --user with STERNA_TURN_PASSWORD in the environment, or --secret-file \
             with the secret of the server"
                .to_owned(),
        )),
    }
}

/// The first of the server's addresses.
async fn find(url: &ServerUrl) -> Result<SocketAddr, Failure> {
    let found = tokio::time::timeout(LOOKUP, driver::locate(url)).await.ok().and_then(Result::ok);
    found.and_then(|found| found.first().copied()).ok_or_else(|| {
        Failure::new(
            Kind::Connection,
            format!("the name {} has no address: check it, and the name server", url.host),
        )
    })
}

async fn perform(plan: Plan, connector: Connector) -> Outcome {
    let trial = Trial::new(Time::ZERO, plan, Seed(crypto::seed()));
    let shared = Shared::new(Clock::start(), Running(trial));
    Engine::new(shared.clone(), Network::new(connector)).await;
    shared.lock().0.outcome.clone()
}

struct Running(Trial);

impl Host for Running {
    type Machine = Trial;

    fn machine(&mut self) -> &mut Trial {
        &mut self.0
    }

    fn absorb(&mut self, _: Time, _: &mut Vec<Waker>) -> bool {
        false
    }

    fn ended(&self) -> bool {
        self.0.is_over()
    }

    fn abandon(&mut self, _: &mut Vec<Waker>) {}
}

fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1000.0)
}

/// The least, the middle and the greatest round trip.
fn round_trips(outcome: &Outcome) -> Option<[Duration; 3]> {
    let mut all = outcome.round_trips.clone();
    all.sort_unstable();
    Some([*all.first()?, *all.get(all.len() / 2)?, *all.last()?])
}

fn object(url: &ServerUrl, server: SocketAddr, outcome: &Outcome) -> Value {
    let steps: Vec<Value> =
        outcome.done.iter().map(|(step, at)| json!({ "step": step.name(), "at_ms": millis(*at) })).collect();
    let failed = outcome.failed.as_ref().map(|trouble| {
        json!({
            "step": trouble.step.name(), "code": trouble.code, "reason": trouble.reason, "advice": trouble.hint,
        })
    });
    json!({
        "url": url.to_string(), "transport": url.transport.to_string(), "address": server.to_string(),
        "works": outcome.failed.is_none(), "steps": steps,
        "dtls": outcome.dtls.map(|(version, trust)| {
            json!({ "version": version.to_string(), "certificate": trust.name() })
        }),
        "relayed": outcome.relayed.map(|at| at.to_string()), "mapped": outcome.mapped.map(|at| at.to_string()),
        "sent": outcome.sent, "returned": outcome.round_trips.len(),
        "rtt_ms": round_trips(outcome).map(|three| three.map(millis)), "failed": failed,
    })
}

fn picture(url: &ServerUrl, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("\n{url}")];
    for (step, at) in &outcome.done {
        let what = match step {
            trial::Step::Connect if url.transport == Transport::Udp => "the server answers".to_owned(),
            trial::Step::Connect => match outcome.dtls {
                Some((version, Trust::Trusted)) => format!("reached the server, which speaks {version}"),
                Some((version, Trust::Unverified)) => format!(
                    "reached the server, which speaks {version}; its certificate has the right name, but this machine does \
                     not know who signed it"
                ),
                None => "reached the server".to_owned(),
            },
            trial::Step::Allocate => match (outcome.relayed, outcome.mapped) {
                (Some(relayed), Some(mapped)) => {
                    format!("logged in; it relays for us from {relayed}, and sees us at {mapped}")
                }
                _ => "logged in".to_owned(),
            },
            trial::Step::Permit => "two relayed addresses may talk to each other".to_owned(),
            trial::Step::Relay => {
                let back = outcome.round_trips.len();
                let times = round_trips(outcome).map_or_else(String::new, |[least, middle, most]| {
                    let [least, middle, most] = [least, middle, most].map(millis);
                    format!(", there and back in {middle} ms ({least} to {most})")
                });
                format!("relayed {} packets, {back} came back{times}", outcome.sent)
            }
        };
        lines.push(format!("  ok      {:>9.1} ms  {:9} {what}", at.as_secs_f64() * 1000.0, step.name()));
    }
    if let Some(trouble) = &outcome.failed {
        let code = trouble.code.map_or_else(String::new, |code| format!("{code} "));
        lines.push(format!("  FAILED                {:9} {code}{}", trouble.step.name(), trouble.reason));
        lines.push(format!("          {}", trouble.hint));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_url_means_every_transport_and_a_full_one_itself() {
        let urls = |text| ways(text).unwrap().iter().map(|way| way.url.to_string()).collect::<Vec<_>>();
        assert_eq!(
            urls("turn:a.example"),
            [
                "turn:a.example?transport=udp",
                "turn:a.example?transport=tcp",
                "turns:a.example?transport=tcp",
                "turns:a.example?transport=udp"
            ]
        );
        assert_eq!(urls("turn:[2001:db8::1]:80")[3], "turns:[2001:db8::1]:5349?transport=udp");
        let inside = ["turns:a.example:443?transport=tcp", "turns:a.example:443?transport=udp"];
        assert_eq!(urls("turns:a.example:443"), inside);
        assert_eq!(urls("turn:a.example?transport=tcp").len(), 1);
        let wanted = |text| ways(text).unwrap().iter().map(|way| way.wanted).collect::<Vec<_>>();
        assert_eq!(wanted("turns:a.example"), [true, false], "who says turns: means TLS");
        let dtls = &ways("turns:a.example?transport=udp").unwrap()[0];
        assert_eq!((dtls.url.transport, dtls.wanted), (Transport::Dtls, true));
        for bad in ["stun:a.example", "a.example", "turn:"] {
            assert_eq!(ways(bad).err().map(|failure| failure.kind), Some(Kind::Usage), "{bad}");
        }
    }
}
