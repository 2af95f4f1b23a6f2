//! Sterna beside str0m and rtc: how long a data channel takes to open, and what it carries.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -- [--json] [--quick] [--only PART] [--runs N] [--mib N]`

mod contender;
mod loopback;
mod memory;
mod product;
mod rtc_peer;
mod sterna;
mod str0m_peer;

use std::process::ExitCode;

use contender::Make;

/// What is measured.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// Milliseconds until the first message.
    Open,
    /// MB/s with messages of so many bytes.
    Throughput(usize),
}

impl Measure {
    const ALL: [Self; 3] = [Self::Open, Self::Throughput(16 << 10), Self::Throughput(64 << 10)];

    fn name(self) -> String {
        match self {
            Self::Open => "first message, ms".into(),
            Self::Throughput(message) => format!("{} KiB messages, MB/s", message >> 10),
        }
    }
}

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
            Self::Loopback => "UDP on loopback, a thread each",
        }
    }
}

enum Contestant {
    Make(Make),
    /// Sterna's own driver; on loopback only.
    Product,
}

impl Contestant {
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

    fn run(&self, setting: Setting, measure: Measure, bytes: u64) -> f64 {
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        match (self, setting, measure) {
            (Self::Make(make), Setting::Memory, Measure::Open) => milliseconds(memory::open(*make)),
            (Self::Make(make), Setting::Memory, Measure::Throughput(message)) => {
                memory::throughput(*make, message, bytes) / 1e6
            }
            (Self::Make(make), Setting::Loopback, Measure::Open) => milliseconds(loopback::open(*make)),
            (Self::Make(make), Setting::Loopback, Measure::Throughput(message)) => {
                loopback::throughput(*make, message, bytes) / 1e6
            }
            (Self::Product, _, Measure::Open) => milliseconds(product::open()),
            (Self::Product, _, Measure::Throughput(message)) => product::throughput(message, bytes) / 1e6,
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
    bytes: u64,
    only: Option<String>,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self { json: false, runs: 5, bytes: 256 << 20, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().ok_or(format!("{argument} wants a number"))?;
                value.parse::<u64>().map_err(|_| format!("{value} is not a number"))
            };
            match argument.as_str() {
                "--json" => options.json = true,
                "--quick" => (options.runs, options.bytes) = (3, 64 << 20),
                "--runs" => options.runs = number()?.max(1) as usize,
                "--mib" => options.bytes = number()?.max(1) << 20,
                "--only" => options.only = Some(arguments.next().ok_or("--only wants a part of a name")?),
                other => {
                    return Err(format!("{other}? There are --json, --quick, --runs N, --mib N and --only PART"));
                }
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    for setting in [Setting::Memory, Setting::Loopback] {
        let mut contestants = vec![Contestant::Make(sterna::WHOLE), Contestant::Make(sterna::LAYERS)];
        if setting == Setting::Loopback {
            contestants.insert(1, Contestant::Product);
        }
        contestants.extend([str0m_peer::MAKE, str0m_peer::SMALL, rtc_peer::MAKE].map(Contestant::Make));
        contest(setting, &contestants, &options);
    }
    ExitCode::SUCCESS
}

/// Runs all against all in turns, so that what disturbs the machine disturbs all alike.
fn contest(setting: Setting, contestants: &[Contestant], options: &Options) {
    let wanted = |contestant: &&Contestant| {
        options.only.as_ref().is_none_or(|part| format!("{} {}", setting.name(), contestant.name()).contains(part))
    };
    let contestants: Vec<&Contestant> = contestants.iter().filter(wanted).collect();
    if contestants.is_empty() {
        return;
    }
    if !options.json {
        println!("\n{}; median of {} (least to most), ratio to the first\n", setting.name(), options.runs);
    }
    for measure in Measure::ALL {
        // A quick one opens in milliseconds: more runs cost nothing.
        let runs = if measure == Measure::Open { options.runs * 4 } else { options.runs };
        let mut values: Vec<Vec<f64>> = contestants.iter().map(|_| Vec::new()).collect();
        for _ in 0..runs {
            for (contestant, values) in contestants.iter().zip(&mut values) {
                values.push(contestant.run(setting, measure, options.bytes));
            }
        }
        let summaries: Vec<Summary> = values.into_iter().map(Summary::of).collect();
        if !options.json {
            println!("  {}", measure.name());
        }
        for (contestant, summary) in contestants.iter().zip(&summaries) {
            let ratio = summary.median / summaries[0].median;
            if options.json {
                let line = serde_json::json!({
                    "setting": setting.name(), "measure": measure.name(), "stack": contestant.name(),
                    "note": contestant.note(), "median": summary.median, "least": summary.least,
                    "most": summary.most, "ratio": ratio, "runs": runs, "bytes": options.bytes,
                });
                println!("{line}");
            } else {
                println!(
                    "    {:<24} {:>9.1}  ({:>8.1} to {:>8.1})  {:>6.2}  {}",
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
}
