//! The classic grid, timed: `cargo run --release -p sterna-scenario --example grid [SEEDS]`.

use netsim::{Laws, Preset};
use sterna_scenario::{Grid, html, table};

fn main() {
    let seeds = std::env::args().nth(1).map_or(10, |seeds| seeds.parse().expect("a number of seeds"));
    let presets =
        if std::env::var_os("ALL").is_some() { Preset::ALL.to_vec() } else { Preset::CLASSIC.to_vec() };
    let laws = if std::env::var_os("LAWS").is_some() { Laws::default() } else { Laws::NONE };
    let grid = Grid { seeds, laws, ..Grid::new(presets) };
    let report = grid.run(&|_| {});
    print!("{}", table(&report, 100, false));
    println!(
        "{} runs in {:?}: {:.0} virtual seconds a second",
        report.runs,
        report.took,
        report.played.as_secs_f64() / report.took.as_secs_f64()
    );
    println!("{} packets, {} steps", report.packets, report.steps);
    for cell in report.cells.iter().filter(|cell| !cell.agrees) {
        println!("{cell:?}");
    }
    if let Some(file) = std::env::var_os("HTML") {
        std::fs::write(file, html(&report, &grid.ladders(), grid.first_seed))
            .expect("a file that can be written");
    }
}
