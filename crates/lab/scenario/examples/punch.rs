//! Punching, measured: `cargo run --release -p sterna-scenario --example punch [SEEDS]`.

use sterna_scenario::{Punching, punching_table};

fn main() {
    let seeds = std::env::args().nth(1).map_or(10, |seeds| seeds.parse().expect("a number of seeds"));
    let begun = std::time::Instant::now();
    let meetings = Punching { seeds, ..Punching::new() }.run(&|_| {});
    print!("{}", punching_table(&meetings));
    println!("{:?}", begun.elapsed());
}
