//! What part of a real link a transfer gets: processes in network namespaces with a wire between them that delays, loses and
//! queues, one reliable channel of the library as users hold it, beside the kernel's own TCP, both controllers of each, in
//! turns. Shares are bytes of messages (of TCP: of payload) of all that the link carries; the queue holds one round trip.
//!
//! `cargo run --release -p sterna-kernel --example cells [mbits=100] [rtt=2,50,100,200] [loss=0,0.1,1] [queue=1] [runs=3] [--json]`
//!
//! It needs root, and sends within its namespaces only.

#[path = "cells/channel.rs"]
mod channel;
#[path = "cells/contestant.rs"]
mod contestant;
#[path = "cells/tcp.rs"]
mod tcp;

use std::error::Error;
use std::fs;
use std::time::Duration;

use contestant::{CONTESTANTS, Contestant, Terms};
use sterna_kernel::{Host, Lab, Link};

type Failure = Box<dyn Error + Send + Sync>;

/// A link, and for how long it is filled.
#[derive(Clone, Copy)]
struct Cell {
    mbits: f64,
    rtt_ms: f64,
    /// In per cent.
    loss: f64,
    /// In round trips.
    queue: f64,
}

impl Cell {
    fn link(&self) -> Link {
        let bits = self.mbits * 1e6;
        Link {
            rate: Some(bits as u64),
            queue: (bits / 8.0 * self.rtt_ms / 1e3 * self.queue) as usize,
            delay: Duration::from_secs_f64(self.rtt_ms / 2e3),
            loss: self.loss / 100.0,
            ..Link::default()
        }
    }

    /// A twentieth of as many seconds as the round trip has milliseconds, from 2 to 8, to warm it up, and as many count.
    fn terms(&self) -> Terms {
        let seconds = (self.rtt_ms / 20.0).clamp(2.0, 8.0);
        Terms { warm: seconds, count: seconds }
    }
}

fn main() -> Result<(), Failure> {
    if let Some(part) = std::env::args().nth(1).and_then(|it| it.strip_prefix("part=").map(str::to_owned)) {
        return contestant::play(&part);
    }
    let json = std::env::args().any(|it| it == "--json");
    let runs = numbers("runs", &[3.0])[0].max(1.0) as u64;
    let queue = numbers("queue", &[1.0])[0];
    if !json {
        let names = CONTESTANTS.map(|it| format!(" {} % |", it.name)).concat();
        println!("| Mbit/s | RTT ms | loss % |{names}\n|---|---|---|{}", "---|".repeat(CONTESTANTS.len()));
    }
    for mbits in numbers("mbits", &[100.0]) {
        for rtt_ms in numbers("rtt", &[2.0, 50.0, 100.0, 200.0]) {
            for loss in numbers("loss", &[0.0, 0.1, 1.0]) {
                let cell = Cell { mbits, rtt_ms, loss, queue };
                let mut shares = CONTESTANTS.map(|_| Vec::new());
                for run in 1..=runs {
                    for (contestant, shares) in CONTESTANTS.iter().zip(&mut shares) {
                        shares.push(share(&cell, contestant, run)?);
                    }
                }
                tell(&cell, &mut shares, json);
            }
        }
    }
    Ok(())
}

/// The numbers that the command line gives for a name.
fn numbers(name: &str, usual: &[f64]) -> Vec<f64> {
    let given = std::env::args().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
    let given: Vec<f64> =
        given.iter().flat_map(|it| it.split(',')).filter_map(|it| it.parse().ok()).collect();
    if given.is_empty() { usual.to_vec() } else { given }
}

/// What one transfer gets of a link, in per cent.
fn share(cell: &Cell, contestant: &Contestant, run: u64) -> Result<f64, Failure> {
    let mut lab = Lab::new()?;
    let ends = lab.add_wire(["giver", "taker"], cell.link(), run.into())?;
    ends.iter().try_for_each(roomy)?;
    let bits = contestant.carry(&ends, cell.terms())?;
    Ok(bits / (cell.mbits * 1e6) * 100.0)
}

/// TCP may have as much under way as the path holds, and more.
fn roomy(host: &Host) -> Result<(), Failure> {
    host.enter(|| {
        fs::write("/proc/sys/net/ipv4/tcp_wmem", "4096 65536 134217728")?;
        fs::write("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 134217728")
    })??;
    Ok(())
}

fn tell(cell: &Cell, shares: &mut [Vec<f64>], json: bool) {
    let Cell { mbits, rtt_ms, loss, queue } = cell;
    shares.iter_mut().for_each(|shares| shares.sort_by(f64::total_cmp));
    if json {
        let named = CONTESTANTS.iter().zip(shares.iter());
        let percent: serde_json::Map<_, _> =
            named.map(|(it, shares)| (it.name.to_owned(), serde_json::json!(shares))).collect();
        println!(
            "{}",
            serde_json::json!({ "mbits": mbits, "rtt_ms": rtt_ms, "loss": loss, "queue": queue, "percent": percent })
        );
        return;
    }
    let medians = shares.iter().map(|shares| {
        let (least, median, most) = (shares[0], shares[shares.len() / 2], shares[shares.len() - 1]);
        format!(" {median:.1} ({least:.1} to {most:.1}) |")
    });
    println!("| {mbits} | {rtt_ms} | {loss} |{}", medians.collect::<String>());
}
