//! What part of a path a transfer gets, for paths of many kinds, in virtual time: both controllers.
//! `cargo run --release -p sterna-sctp --example grid [MBITS]`

#[path = "../tests/link/mod.rs"]
mod link;

use link::pipe::{Pipe, fill};
use sterna_sctp::Congestion;

/// What headers leave of a packet: 1,128 of 1,225 bytes.
const BEST: f64 = 1128.0 / 1225.0;

fn main() {
    let widths: Vec<u64> = std::env::args().skip(1).filter_map(|width| width.parse().ok()).collect();
    let widths = if widths.is_empty() { vec![100, 1000] } else { widths };
    println!("Mbit/s  RTT ms  loss %   CUBIC %   after BBR %   (of what is possible)");
    for mbits in widths {
        for rtt in [2, 20, 50, 100, 200] {
            for loss in [0.0, 0.001, 0.01, 0.03] {
                let pipe = Pipe { mbits, rtt, queue: 1.0, loss };
                let [cubic, bbr] = [Congestion::Cubic, Congestion::Bbr].map(|congestion| {
                    let (mut link, id) = pipe.lay(1, |config| config.congestion = congestion);
                    let seconds = (rtt as f64 / 20.0).clamp(1.0, 5.0);
                    fill(&mut link, id, 2.0 * seconds, seconds)[0] / BEST * 100.0
                });
                println!("{mbits:6} {rtt:7} {:7.1} {cubic:9.1} {bbr:13.1}", loss * 100.0);
            }
        }
    }
}
