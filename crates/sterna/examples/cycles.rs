//! Connects and closes two peers again and again, and shows what the process holds on to: nothing.
//! `cargo run --release -p sterna --example cycles [how often]` (Linux shows all three numbers)

#[path = "../tests/cycle/mod.rs"]
mod cycle;

use std::time::Instant;

use cycle::{Holdings, cycle};

#[tokio::main]
async fn main() {
    let times: usize = std::env::args().nth(1).map_or(10_000, |times| times.parse().expect("a number"));
    let tasks = Holdings::now().tasks;
    let started = Instant::now();
    println!(
        "{:>8} {:>10} {:>12} {:>6} {:>12}",
        "cycles", "ms a cycle", "descriptors", "tasks", "memory, KiB"
    );
    for n in 0..=times {
        if n % (times / 10).max(1) == 0 {
            let Holdings { descriptors, tasks, memory } = Holdings::settled(tasks).await;
            let each = started.elapsed().as_secs_f64() * 1e3 / n.max(1) as f64;
            println!("{n:8} {each:10.2} {descriptors:12} {tasks:6} {:12}", memory / 1024);
        }
        cycle(n % 2 == 0).await;
    }
}
