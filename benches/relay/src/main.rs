//! Sterna's relay beside coturn and a bare UDP forwarder.
//!
//! `cargo run --release --manifest-path benches/relay/Cargo.toml -- [--quick] [--json] [--runs N] [--only PART]
//! [--clients N] [--sizes]`: see docs/benchmarks.md. It ends by itself, and sends to loopback only.

mod allocations;
mod contestant;
mod forwarder;
mod lane;
mod latency;
mod ours;
mod place;
mod scenario;
mod session;
mod summary;
mod system;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use contestant::{Contestant, Kind};
use scenario::Scenario;
use serde_json::{Value, json};
use summary::Summary;

/// What the command line says.
struct Options {
    runs: usize,
    time: Duration,
    clients: usize,
    allocations: usize,
    sizes: bool,
    json: bool,
    only: Option<String>,
}

impl Options {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            runs: 15,
            time: Duration::from_millis(500),
            clients: 16,
            allocations: 10_000,
            sizes: false,
            json: false,
            only: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: &String| text.parse().map_err(|_| format!("{text} is no number"));
            match argument.as_str() {
                "--quick" => (options.runs, options.time) = (3, Duration::from_millis(300)),
                "--json" => options.json = true,
                "--sizes" => options.sizes = true,
                "--runs" => options.runs = number(value()?)?,
                "--clients" => options.clients = number(value()?)?,
                "--only" => options.only = Some(value()?.clone()),
                other => return Err(format!("what is {other}?")),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| part.contains(only.as_str()))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address, shards, busy] => serve(address, shards, busy),
        ["forward-bundles", address] => parse(address).and_then(forwarder::bundles),
        ["forward-each", address] => parse(address).and_then(forwarder::each),
        _ => match Options::read(&arguments) {
            Ok(options) => bench(&options),
            Err(error) => Err(io::Error::other(error)),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| io::Error::other(format!("cannot read {text}")))
}

fn serve(address: &str, shards: &str, busy: &str) -> io::Result<()> {
    let address: SocketAddr = parse(address)?;
    ours::serve(address, parse(shards)?, Duration::from_micros(parse(busy)?))
}

fn bench(options: &Options) -> io::Result<()> {
    system::open_many_files();
    let others = [Kind::Coturn, Kind::Bundles, Kind::Each];
    let mut servers = vec![Contestant::start(Kind::Sterna)?];
    for kind in others {
        servers.push(Contestant::start(kind)?);
    }
    system::pin(&[place::GENERATOR_CORE])?;
    throughput(options, &servers)?;
    allocating(options, &servers[..2])?;
    remembering(options)?;
    waiting(options, &servers[..2])?;
    drop(servers);
    scaling(options)
}

fn throughput(options: &Options, servers: &[Contestant]) -> io::Result<()> {
    use Scenario::{Binding, Both, Bundled, Down, Indications, Meeting, Up};
    let mut scenarios =
        vec![Binding, Up(1200), Down(1200), Both(160), Indications(1200), Bundled(1200), Meeting(1200)];
    if options.sizes {
        scenarios.extend([64, 160, 500, 1000].map(Up));
        scenarios.extend([64, 160, 500, 1000].map(Down));
        scenarios.extend([64, 160, 500].map(Indications));
        scenarios.extend([64, 160, 500].map(Bundled));
    }
    scenarios.retain(|scenario| options.wants(&scenario.name()));
    if scenarios.is_empty() {
        return Ok(());
    }
    let title = "thousand datagrams per second of the server's CPU time";
    heading(options, title, servers.iter().map(|server| server.kind));
    for scenario in scenarios {
        let mut rows = vec![<[Summary; 4]>::default(); servers.len()];
        for _ in 0..options.runs {
            for (server, row) in servers.iter().zip(&mut rows) {
                if scenario.is_bare() || server.kind.is_turn() {
                    let outcome = scenario.run(server, options.clients, options.time)?;
                    row[0].add(outcome.per_cpu_second / 1e3);
                    row[1].add(outcome.lost);
                    row[2].add(outcome.busy);
                    row[3].add(outcome.per_second / 1e3);
                }
            }
        }
        let results = servers.iter().zip(&rows).map(|(server, [rate, lost, busy, passed])| {
            let more =
                json!({ "lost": lost.median(), "busy": busy.median(), "kpackets_per_s": passed.median() });
            (server.kind, rate.clone(), more)
        });
        show(options, &scenario.name(), "kpackets_per_cpu_s", 0, results.collect());
    }
    Ok(())
}

fn allocating(options: &Options, servers: &[Contestant]) -> io::Result<()> {
    let name = "allocations per second of the server's CPU time";
    if !options.wants(name) {
        return Ok(());
    }
    heading(options, name, servers.iter().map(|server| server.kind));
    let mut rows = vec![Summary::default(); servers.len()];
    for _ in 0..options.runs {
        for (server, row) in servers.iter().zip(&mut rows) {
            row.add(allocations::rate(server, options.time)?);
        }
    }
    let results = servers.iter().zip(rows).map(|(server, row)| (server.kind, row, json!({})));
    show(options, "allocated and released", "per_cpu_s", 0, results.collect());
    Ok(())
}

/// With servers that have done nothing before.
fn remembering(options: &Options) -> io::Result<()> {
    let name = "memory, KB per allocation";
    if !options.wants(name) {
        return Ok(());
    }
    let kinds = [Kind::SternaFresh, Kind::CoturnFresh];
    heading(options, name, kinds.into_iter());
    let mut results = Vec::new();
    for kind in kinds {
        let mut summary = Summary::default();
        summary.add(allocations::memory(&Contestant::start(kind)?, options.allocations)? / 1e3);
        results.push((kind, summary, json!({})));
    }
    show(options, &format!("over {}", options.allocations), "kb_per_allocation", 1, results);
    Ok(())
}

fn waiting(options: &Options, servers: &[Contestant]) -> io::Result<()> {
    let name = "latency at 5,000 datagrams a second, microseconds";
    if !options.wants(name) {
        return Ok(());
    }
    let busy = Contestant::start(Kind::SternaBusy)?;
    let kinds: Vec<Kind> = servers.iter().map(|server| server.kind).chain([busy.kind]).collect();
    heading(options, name, kinds.iter().copied());
    let mut straight = (Summary::default(), Summary::default());
    let mut rows = vec![straight.clone(); kinds.len()];
    for _ in 0..options.runs {
        let direct = latency::measure(None, options.time)?;
        straight.0.add(direct.p50);
        straight.1.add(direct.p99);
        for (server, row) in servers.iter().chain([&busy]).zip(&mut rows) {
            let found = latency::measure(Some(server), options.time)?;
            row.0.add(found.p50 - direct.p50);
            row.1.add(found.p99 - direct.p50);
        }
    }
    let note = json!({ "straight_p50": straight.0.median(), "straight_p99": straight.1.median() });
    let results = |pick: &dyn Fn(&(Summary, Summary)) -> Summary| {
        kinds.iter().zip(&rows).map(|(kind, row)| (*kind, pick(row), note.clone())).collect()
    };
    show(options, "added, p50", "p50_us", 1, results(&|row| row.0.clone()));
    show(options, "added, p99", "p99_us", 1, results(&|row| row.1.clone()));
    Ok(())
}

/// Two shards on both cores, the generator beside them: what a second costs, and how the work is shared.
fn scaling(options: &Options) -> io::Result<()> {
    let name = "two shards on both cores, thousand datagrams per second of CPU time";
    if !options.wants(name) {
        return Ok(());
    }
    let servers = [Contestant::start(Kind::Sterna)?, Contestant::start(Kind::SternaTwice)?];
    heading(options, name, servers.iter().map(|server| server.kind));
    let scenario = Scenario::Both(1200);
    let mut rows = vec![Summary::default(); servers.len()];
    for _ in 0..options.runs {
        for (server, row) in servers.iter().zip(&mut rows) {
            row.add(scenario.run(server, options.clients, options.time)?.per_cpu_second / 1e3);
        }
    }
    let results = servers.iter().zip(rows).map(|(server, row)| {
        let threads = system::threads(server.process()).unwrap_or_default();
        let shares = threads.iter().filter(|(name, _)| name.starts_with("relay-"));
        let shares: Vec<Value> = shares.map(|(name, time)| json!([name, time.as_secs_f64()])).collect();
        (server.kind, row, json!({ "cpu_s_of_threads": shares }))
    });
    show(options, &scenario.name(), "kpackets_per_cpu_s", 0, results.collect());
    Ok(())
}

fn heading(options: &Options, title: &str, kinds: impl Iterator<Item = Kind>) {
    if options.json {
        return;
    }
    println!(
        "\n{title}; median of {} (least to most), then the median of the ratios to coturn and to the bare forwarder run by run\n",
        options.runs
    );
    let names: Vec<&str> = kinds.map(Kind::name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
}

fn show(options: &Options, name: &str, unit: &str, digits: usize, results: Vec<(Kind, Summary, Value)>) {
    let find = |wanted: fn(Kind) -> bool| results.iter().find(|(kind, ..)| wanted(*kind));
    let coturn = find(Kind::is_coturn).map(|(_, summary, _)| summary);
    let bare = find(|kind| kind == Kind::Bundles).map(|(_, summary, _)| summary);
    let mut cells = Vec::new();
    for (kind, summary, more) in &results {
        let (median, least, most) = (summary.median(), summary.least(), summary.most());
        let to = |base: Option<&Summary>| base.map(|base| summary.ratio_to(base));
        let to_coturn = to(coturn.filter(|_| !kind.is_coturn()));
        let to_bare = to(bare.filter(|_| *kind == Kind::Sterna)).filter(|ratio| !ratio.median().is_nan());
        if options.json {
            let ratio = |ratio: &Option<Summary>| {
                ratio
                    .as_ref()
                    .map(|it| json!({ "median": it.median(), "least": it.least(), "most": it.most() }))
            };
            println!(
                "{}",
                json!({ "what": name, "server": kind.name(), "unit": unit, "median": median, "least": least,
                        "most": most, "ratio_to_coturn": ratio(&to_coturn), "ratio_to_bare": ratio(&to_bare),
                        "more": more })
            );
        } else if median.is_nan() {
            cells.push("–".to_owned());
        } else {
            let coturn = to_coturn.map(|ratio| format!(" **{:.2}**", ratio.median())).unwrap_or_default();
            let bare = to_bare.map(|ratio| format!(", {:.2} of bare", ratio.median())).unwrap_or_default();
            cells.push(format!(
                "{median:.digits$} ({least:.digits$} to {most:.digits$}){coturn}{bare}{}",
                note(more)
            ));
        }
    }
    if !options.json {
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// What a reader of the table has to know besides.
fn note(more: &Value) -> String {
    match (&more["lost"], &more["cpu_s_of_threads"]) {
        (Value::Number(lost), _) if lost.as_f64() > Some(0.001) => {
            format!(", {:.1} % lost", lost.as_f64().unwrap_or(0.0) * 100.0)
        }
        (_, Value::Array(threads)) => {
            let times = threads.iter().filter_map(|thread| thread[1].as_f64());
            format!(", CPU-s {}", times.map(|time| format!("{time:.1}")).collect::<Vec<_>>().join(" + "))
        }
        _ => String::new(),
    }
}
