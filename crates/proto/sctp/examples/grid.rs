//! What part of a path a transfer gets, for paths of many kinds, in virtual time: both controllers, beside a model of CUBIC
//! TCP. Shares are bytes of messages (of TCP: of payload) of all that the link carries; headers leave 92 % to ours and 97 % to
//! TCP. `cargo run --release -p sterna-sctp --example grid [MBITS]…`

#[path = "../tests/link/mod.rs"]
mod link;

use link::pipe::{Pipe, fill};
use sterna_sctp::Congestion;

fn main() {
    let widths: Vec<u64> = std::env::args().skip(1).filter_map(|width| width.parse().ok()).collect();
    let widths = if widths.is_empty() { vec![100, 1000] } else { widths };
    println!("| Mbit/s | RTT ms | loss % | CUBIC % | after BBR % | TCP CUBIC % |\n|---|---|---|---|---|---|");
    for mbits in widths {
        for rtt in [2, 20, 50, 100, 200] {
            for loss in [0.0, 0.001, 0.01, 0.03] {
                let pipe = Pipe { mbits, rtt, queue: 1.0, loss };
                let seconds = (rtt as f64 / 20.0).clamp(2.0, 8.0);
                let [cubic, bbr] = [Congestion::Cubic, Congestion::Bbr].map(|congestion| {
                    let (mut link, id) = pipe.lay(1, |config| config.congestion = congestion);
                    fill(&mut link, id, seconds, seconds)[0] * 100.0
                });
                let (mut link, id) = pipe.lay_for_tcp(1);
                let tcp = fill(&mut link, id, seconds, seconds)[0] * 100.0;
                let loss = loss * 100.0;
                println!("| {mbits} | {rtt} | {loss:.1} | {cubic:.1} | {bbr:.1} | {tcp:.1} |");
            }
        }
    }
}
