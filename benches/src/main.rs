//! Sterna beside str0m and rtc: how long a data channel takes to open, what it carries, and what that costs.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- [--json] [--quick] [--only PART] [--measure PART] [--runs N] [--seconds N]`

mod contender;
mod duel;
mod end;
mod flow;
mod memory;
mod product;
mod rtc_peer;
mod sterna;
mod str0m_peer;

use std::process::ExitCode;
use std::time::Duration;

use contender::{Channel, Make};
use duel::Task;
use flow::Flow;

/// What is measured.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Milliseconds until the first message.
    Open,
    /// MB/s and processor time with messages of so many bytes, on a reliable channel.
    Throughput(usize),
    /// Messages of 100 bytes, unordered and without retransmission.
    Small,
}

impl Measure {
    const ALL: [Self; 4] = [Self::Open, Self::Throughput(16 << 10), Self::Throughput(64 << 10), Self::Small];

    /// What it tells.
    fn names(self) -> Vec<String> {
        match self {
            Self::Open => vec!["first message, ms".into()],
            Self::Throughput(_) | Self::Small => self.figures().into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// How that follows from what passed.
    fn figures(self) -> Vec<Figure> {
        match self {
            Self::Open => vec![],
            Self::Throughput(size) => vec![
                (format!("{} KiB messages, MB/s", size >> 10), Flow::megabytes_per_second),
                (format!("{} KiB messages, CPU seconds per GB", size >> 10), Flow::seconds_per_gigabyte),
            ],
            Self::Small => {
                vec![("100 B messages a second, thousands".into(), |flow| flow.messages_per_second() / 1e3)]
            }
        }
    }

    fn task(self, duration: Duration) -> Task {
        match self {
            Self::Open => Task { channel: Channel::Reliable, size: 1, duration },
            Self::Throughput(size) => Task { channel: Channel::Reliable, size, duration },
            Self::Small => Task { channel: Channel::Fleeting, size: 100, duration },
        }
    }
}

/// A name, and how the number follows from what passed.
type Figure = (String, fn(&Flow) -> f64);

/// How the ends are driven.
#[derive(Clone, Copy, PartialEq)]
enum Setting {
    Memory,
    Loopback,
}

impl Setting {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "in memory, one thread",
            Self::Loopback => "UDP on loopback, a process each",
        }
    }
}

enum Contestant {
    Make(Make),
    /// Sterna's own driver; on loopback only.
    Product,
}

impl Contestant {
    const ALL: [Self; 5] = [
        Self::Make(sterna::MAKE),
        Self::Product,
        Self::Make(str0m_peer::MAKE),
        Self::Make(str0m_peer::SMALL),
        Self::Make(rtc_peer::MAKE),
    ];

    fn name(&self) -> &'static str {
        match self {
            Self::Make(make) => make.name,
            Self::Product => "sterna, its own driver",
        }
    }

    fn note(&self) -> &'static str {
        match self {
            Self::Make(make) => make.note,
            Self::Product => "tokio, GSO and GRO",
        }
    }

    /// The figures of one run.
    fn run(&self, setting: Setting, measure: Measure, duration: Duration) -> Vec<f64> {
        let task = measure.task(duration);
        let flow = match (self, setting, measure) {
            (Self::Make(make), Setting::Memory, Measure::Open) => return vec![memory::open(*make)],
            (_, _, Measure::Open) => return vec![duel::open(self.name())],
            (Self::Make(make), Setting::Memory, _) => memory::flood(*make, task.channel, task.size, duration),
            (_, _, _) => duel::flood(self.name(), task),
        };
        measure.figures().into_iter().map(|(_, figure)| figure(&flow)).collect()
    }

    /// Is one end of a duel.
    fn end(&self, role: &str, task: Task) {
        match (self, role) {
            (Self::Make(make), "offer") => end::offer(*make, task),
            (Self::Make(make), _) => end::answer(*make, task),
            (Self::Product, role) => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .expect("a runtime");
                match role {
                    "offer" => runtime.block_on(product::offer(task)),
                    _ => runtime.block_on(product::answer(task)),
                }
            }
        }
    }
}

/// The middle, and how far the rest is from it.
struct Summary {
    median: f64,
    least: f64,
    most: f64,
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], least: values[0], most: values[values.len() - 1] }
    }
}

struct Options {
    json: bool,
    runs: usize,
    duration: Duration,
    only: Option<String>,
    measure: Option<String>,
}

impl Options {
    fn parse(arguments: Vec<String>) -> Result<Self, String> {
        let mut options =
            Self { json: false, runs: 5, duration: Duration::from_secs(2), only: None, measure: None };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().ok_or(format!("{argument} wants a number"))?;
                value.parse::<u64>().map_err(|_| format!("{value} is not a number"))
            };
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => (options.runs, options.duration) = (3, Duration::from_millis(700)),
                "--runs" => options.runs = number()?.max(1) as usize,
                "--seconds" => options.duration = Duration::from_secs(number()?.clamp(1, 60)),
                "--only" => options.only = Some(arguments.next().ok_or("--only wants a part of a name")?),
                "--measure" => {
                    options.measure = Some(arguments.next().ok_or("--measure wants a part of a name")?);
                }
                other => {
                    return Err(format!(
                        "{other}? There are --json, --quick, --runs N, --seconds N, --only PART and --measure PART"
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, role, name, task @ ..] = &arguments[..]
        && flag == "--end"
    {
        let contestant = Contestant::ALL.into_iter().find(|contestant| contestant.name() == name);
        contestant.expect("a contestant").end(role, Task::parse(task).expect("a task"));
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    for setting in [Setting::Memory, Setting::Loopback] {
        contest(setting, &options);
    }
    ExitCode::SUCCESS
}

/// Runs all against all in turns, so that what disturbs the machine disturbs all alike.
fn contest(setting: Setting, options: &Options) {
    let wanted = |contestant: &Contestant| {
        let can = setting == Setting::Loopback || !matches!(contestant, Contestant::Product);
        let name = format!("{} {}", setting.name(), contestant.name());
        can && options.only.as_ref().is_none_or(|part| name.contains(part))
    };
    let contestants: Vec<Contestant> = Contestant::ALL.into_iter().filter(wanted).collect();
    if contestants.is_empty() {
        return;
    }
    if !options.json {
        println!("\n{}; median of {} (least to most), ratio to the first\n", setting.name(), options.runs);
    }
    let is_wanted = |measure: &Measure| {
        options.measure.as_ref().is_none_or(|part| measure.names().iter().any(|name| name.contains(part)))
    };
    for measure in Measure::ALL.into_iter().filter(is_wanted) {
        // A quick one opens in milliseconds: more runs cost nothing.
        let runs = if measure == Measure::Open { options.runs * 4 } else { options.runs };
        let mut values: Vec<Vec<Vec<f64>>> = contestants.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (contestant, values) in contestants.iter().zip(&mut values) {
                values.push(contestant.run(setting, measure, options.duration));
            }
        }
        for (at, name) in measure.names().iter().enumerate() {
            let of = |values: &Vec<Vec<f64>>| Summary::of(values.iter().map(|figures| figures[at]).collect());
            let summaries: Vec<Summary> = values.iter().map(of).collect();
            report(setting, name, &contestants, &summaries, runs, options.json);
        }
    }
}

fn report(
    setting: Setting,
    name: &str,
    contestants: &[Contestant],
    summaries: &[Summary],
    runs: usize,
    json: bool,
) {
    if !json {
        println!("  {name}");
    }
    for (contestant, summary) in contestants.iter().zip(summaries) {
        let ratio = summary.median / summaries[0].median;
        if json {
            let line = serde_json::json!({
                "setting": setting.name(), "measure": name, "stack": contestant.name(),
                "note": contestant.note(), "median": summary.median, "least": summary.least,
                "most": summary.most, "ratio": ratio, "runs": runs,
            });
            println!("{line}");
        } else {
            println!(
                "    {:<24} {:>9.2}  ({:>8.2} to {:>8.2})  {:>6.2}  {}",
                contestant.name(),
                summary.median,
                summary.least,
                summary.most,
                ratio,
                contestant.note(),
            );
        }
    }
}
