//! Punching, measured: `cargo run --release -p sterna-scenario --example punch [SEEDS] [BUSY]`, with so many connections a
//! second of others behind each box. `sterna lab punch` does the same.

use sterna_scenario::{Punching, punching_table};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |number| number.parse().expect("a number"));
    let (seeds, busy) = (number(10), number(0));
    let punching = Punching { seeds: seeds.into(), busy, ..Punching::new() };
    print!("{}", punching_table(&punching.run(&|_| {})));
}
