//! `sterna lab kernel`: every pair of NATs that Linux can be, by this very program.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::{Builder, Findings, Lab, LabError, Meeting, Pair, Prober, Stop};
use netsim::Preset;
use scenario::{Cell, Report};
use serde_json::{Value, json};

use super::args;
use super::grid::{WIDTH, colours, presets};
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::session::interrupt;

/// Attempts of the simulator for each pair, to compare with.
const SEEDS: u64 = 5;

pub(crate) async fn run(args: args::Kernel, output: Output) -> Result<(), Failure> {
    let presets = offered(&args.presets)?;
    let stop = Stop::default();
    let asked = stop.clone();
    let mut work = tokio::task::spawn_blocking(move || match args.probe {
        true => probe(&args, &presets, output),
        false => grid(&args, &presets, &stop, output),
    });
    let ended = tokio::select! {
        ended = &mut work => ended,
        failure = interrupt() => {
            output.note("stopping; the namespaces are being removed …");
            asked.ask();
            let _ = work.await;
            return Err(failure);
        }
    };
    ended.unwrap_or_else(|error| Err(Failure::new(Kind::Other, format!("the lab broke down: {error}"))))
}

/// What was asked for; `all` is all that the kernel lab can build.
fn offered(names: &[String]) -> Result<Vec<Preset>, Failure> {
    let all = names.iter().any(|name| name.trim() == "all");
    let mut presets = presets(names)?;
    if all {
        presets.retain(|preset| Lab::objection(*preset).is_none());
    }
    let objection = |preset: &Preset| {
        let why = Lab::objection(*preset)?;
        Some(Failure::new(Kind::Usage, format!("the kernel lab does not offer `{preset}`: {why}")))
    };
    match presets.iter().find_map(objection) {
        Some(failure) => Err(failure),
        None => Ok(presets),
    }
}

fn failed(error: LabError) -> Failure {
    let kind = match &error {
        error if error.is_lacking() => Kind::Machine,
        LabError::NotOffered { .. } => Kind::Usage,
        LabError::Stopped => Kind::Interrupted,
        _ => Kind::Other,
    };
    Failure::new(kind, error.to_string())
}

fn builder(args: &args::Kernel) -> Builder {
    if args.userspace { Builder::Userspace } else { Builder::Either }
}

/// What each preset does to packets, and whether that is what the simulator's does.
fn probe(args: &args::Kernel, presets: &[Preset], output: Output) -> Result<(), Failure> {
    let mut lab = Lab::new().map_err(failed)?;
    lab.set_builder(builder(args));
    output.note(&format!("probing {} presets …", presets.len()));
    let probed = Prober::new(&mut lab).and_then(|mut prober| prober.presets(&mut lab, presets));
    let probed = probed.map_err(failed)?;
    let mut differing = Vec::new();
    let width = presets.iter().map(|preset| preset.name().len()).max().unwrap_or_default();
    for (preset, probed) in presets.iter().zip(probed) {
        let made: Vec<_> = probed.made.iter().map(|made| made.name()).collect();
        let agrees = probed.findings == Findings::simulated(*preset);
        if !agrees {
            differing.push(preset.name());
        }
        let mut line = json!({ "preset": preset.name(), "made": made });
        if let (Value::Object(line), Value::Object(findings)) = (&mut line, probed.findings.to_json()) {
            line.extend(findings);
        }
        line["agrees"] = agrees.into();
        if output.is_json() {
            output.object(&line);
        }
        let doubt = if agrees { "" } else { "  (the simulator's differs)" };
        output.say(&format!(
            "{:<width$}  {}; made by {}{doubt}",
            preset.name(),
            probed.findings,
            made.join(" and ")
        ));
    }
    if differing.is_empty() {
        return Ok(());
    }
    let message = format!("the kernel and the simulator differ in {}", differing.join(", "));
    Err(Failure::new(Kind::Other, message))
}

fn grid(args: &args::Kernel, presets: &[Preset], stop: &Stop, output: Output) -> Result<(), Failure> {
    let sterna = std::env::current_exe()
        .map_err(|error| Failure::new(Kind::Other, format!("cannot tell which program this is: {error}")))?;
    let grid = kernel::Grid {
        rounds: args.rounds,
        lanes: usize::from(args.lanes),
        builder: builder(args),
        ..kernel::Grid::new(sterna, presets)
    };
    let pairs = presets.len() * presets.len();
    let done = AtomicUsize::new(0);
    output.note("building the topologies …");
    let begun = std::time::Instant::now();
    let pairs_met = grid.run(stop, &|pair| {
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        let how: Vec<_> = pair.meetings.iter().map(describe).collect();
        output.note(&format!("{number:>3} of {pairs}  {} → {}: {}", pair.a, pair.b, how.join(", ")));
    });
    let pairs_met = pairs_met.map_err(failed)?;
    let took = begun.elapsed();
    let simulated = scenario::Grid { seeds: SEEDS, ..scenario::Grid::new(presets) }.run(&|_| {});
    tell(&pairs_met, &simulated, took, output)
}

/// Prints the grid, and where it is not as the simulator's or as theory says.
fn tell(pairs: &[Pair], simulated: &Report, took: Duration, output: Output) -> Result<(), Failure> {
    let cells: Vec<Cell> = pairs.iter().map(Pair::cell).collect();
    let mut quarrels = Vec::new();
    for ((pair, cell), simulated) in pairs.iter().zip(&cells).zip(&simulated.cells) {
        let as_simulated = pair.is_as(simulated);
        if !as_simulated || !cell.agrees {
            quarrels.push(format!(
                "{} → {}: {}; simulated {}, in theory {}",
                pair.a,
                pair.b,
                pair.meetings.iter().map(describe).collect::<Vec<_>>().join(", "),
                simulated.way().map_or("not connected", scenario::Way::name),
                cell.expected,
            ));
        }
        let mut line = serde_json::to_value(cell).expect("a cell is plain data");
        line["simulated"] = json!({
            "direct": simulated.direct, "relayed": simulated.relayed, "failed": simulated.failed,
        });
        line["as_simulated"] = as_simulated.into();
        let whys: Vec<_> = pair.meetings.iter().filter_map(why).collect();
        if !whys.is_empty() {
            line["failures"] = whys.into();
        }
        if output.is_json() {
            output.object(&line);
        }
    }
    let report = Report {
        cells,
        runs: pairs.iter().map(|pair| pair.meetings.len() as u64).sum(),
        took,
        ..simulated.clone()
    };
    if !output.is_json() {
        let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
        output.say(scenario::table(&report, width, colours()).trim_end());
    }
    output.note(&format!("{} connections of real programs in {:.1} s", report.runs, took.as_secs_f64()));
    if quarrels.is_empty() {
        output.note("Every pair came out as in the simulator, and as theory says.");
        return Ok(());
    }
    for why in pairs.iter().flat_map(|pair| pair.meetings.iter().filter_map(why)) {
        output.note(&why);
    }
    let message = format!(
        "{} of {} pairs did not come out as in the simulator:\n  {}",
        quarrels.len(),
        pairs.len(),
        quarrels.join("\n  ")
    );
    Err(Failure::new(Kind::Other, message))
}

fn describe(meeting: &Meeting) -> String {
    match meeting {
        Meeting::Connected { way, took } => format!("{} after {:.2} s", way.name(), took.as_secs_f64()),
        Meeting::Failed(_) => "not connected".to_owned(),
    }
}

fn why(meeting: &Meeting) -> Option<String> {
    match meeting {
        Meeting::Connected { .. } => None,
        Meeting::Failed(why) => Some(why.clone()),
    }
}
