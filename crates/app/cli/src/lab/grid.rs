//! `sterna lab grid`: every pair of NATs.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use netsim::{Laws, Preset};
use scenario::Report;

use super::args;
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// How wide a terminal is that does not say.
pub(super) const WIDTH: usize = 100;

pub(crate) fn run(args: args::Grid, output: Output) -> Result<(), Failure> {
    if !(0.0..=50.0).contains(&args.loss) {
        return Err(Failure::new(Kind::Usage, format!("--loss {} is not between 0 and 50", args.loss)));
    }
    let grid = scenario::Grid {
        seeds: args.seeds,
        first_seed: args.seed,
        loss: args.loss / 100.0,
        laws: if args.strict { Laws::default() } else { Laws::NONE },
        ..scenario::Grid::new(presets(&args.presets)?)
    };
    if let Some(file) = &args.html {
        // Before the work, so that it is not in vain.
        std::fs::File::create(file).map_err(|error| Failure::file("write", file, &error))?;
    }
    let bar = bar(output, grid.pairs().len() as u64 * grid.seeds);
    let report = grid.run(&|done| bar.set_position(done));
    bar.finish_and_clear();
    if output.is_json() {
        for cell in &report.cells {
            output.object(cell);
        }
    } else {
        let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0));
        output.say(scenario::table(&report, width, colours()).trim_end());
        output.note(&speed(&report));
    }
    if let Some(file) = &args.html {
        let page = scenario::html(&report, &grid.ladders(), grid.first_seed);
        std::fs::write(file, page).map_err(|error| Failure::file("write", file, &error))?;
        output.note(&format!("The grid with its ladders is in {}.", file.display()));
    }
    let surprises = report.cells.iter().filter(|cell| !cell.agrees).count();
    if surprises > 0 {
        let message = format!("{surprises} of {} pairs did not come out as theory says", report.cells.len());
        return Err(Failure::new(Kind::Other, message));
    }
    Ok(())
}

/// The presets that were asked for, each once.
pub(super) fn presets(names: &[String]) -> Result<Vec<Preset>, Failure> {
    let mut presets: Vec<Preset> = Vec::new();
    for name in names {
        let named = match name.trim() {
            "all" => Preset::ALL.to_vec(),
            "classic" => Preset::CLASSIC.to_vec(),
            name => vec![name.parse().map_err(|error: netsim::UnknownPreset| {
                Failure::new(Kind::Usage, format!("--presets: {error}; or say classic, or all"))
            })?],
        };
        for preset in named {
            if !presets.contains(&preset) {
                presets.push(preset);
            }
        }
    }
    Ok(presets)
}

fn speed(report: &Report) -> String {
    let (real, played) = (report.took.as_secs_f64(), report.played.as_secs_f64());
    format!(
        "{} connections and {} packets in {real:.1} s: {:.0} virtual seconds in a real one",
        report.runs,
        report.packets,
        played / real.max(1e-3)
    )
}

pub(super) fn bar(output: Output, total: u64) -> ProgressBar {
    let target = if output.is_json() || output.is_quiet() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(8)
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {pos}/{len} connections {eta} left");
    bar.set_style(style.expect("the template is a constant"));
    bar
}

/// Whether standard output takes colours: a terminal, and nobody said `NO_COLOR`.
pub(super) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Result<Vec<Preset>, Failure> {
        presets(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn presets_are_named_one_by_one_or_in_groups() {
        assert_eq!(names(&["classic"]).unwrap(), Preset::CLASSIC);
        assert_eq!(names(&["all"]).unwrap(), Preset::ALL);
        assert_eq!(names(&["cgn", "none", "cgn"]).unwrap(), [Preset::Cgn, Preset::None]);
        let failure = names(&["none", "cone"]).unwrap_err();
        assert!(failure.kind == Kind::Usage && failure.message.contains("`cone`"), "{failure}");
    }
}
