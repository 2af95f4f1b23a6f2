//! What part of a path a transfer gets, for paths of many kinds, in virtual time: both controllers, beside a model of CUBIC
//! TCP. Shares are bytes of messages (of TCP: of payload) of all that the link carries; with packets for an MTU of 1280
//! headers leave 92 % to ours, and 97 % to TCP.
//!
//! `cargo run --release -p sterna-sctp --example paths [mbits=100,1000] [rtt=2,20,…] [loss=0,0.1,…] [seeds=1] [mtu=1160]`

#[path = "../tests/link/mod.rs"]
mod link;

use link::pipe::{Pipe, fill};
use sterna_sctp::Congestion;

/// The numbers that the command line gives for a name.
fn numbers(name: &str, usual: &[f64]) -> Vec<f64> {
    let given = std::env::args().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()));
    given.map_or(usual.to_vec(), |list| list.split(',').filter_map(|number| number.parse().ok()).collect())
}

fn main() {
    let seeds = numbers("seeds", &[1.0]).first().map_or(1, |seeds| *seeds as u64).max(1);
    let mtu = numbers("mtu", &[1160.0]).first().map_or(1160, |mtu| *mtu as usize);
    println!("| Mbit/s | RTT ms | loss % | CUBIC % | after BBR % | TCP CUBIC % |\n|---|---|---|---|---|---|");
    for mbits in numbers("mbits", &[100.0, 1000.0]) {
        for rtt in numbers("rtt", &[2.0, 20.0, 50.0, 100.0, 200.0]) {
            for loss in numbers("loss", &[0.0, 0.1, 1.0, 3.0]) {
                let pipe = Pipe { mbits: mbits as u64, rtt: rtt as u64, queue: 1.0, loss: loss / 100.0 };
                let seconds = (rtt / 20.0).clamp(2.0, 8.0);
                let share = |congestion: Option<Congestion>| {
                    let shares = (1..=seeds).map(|seed| {
                        let (mut link, id) = match congestion {
                            Some(congestion) => pipe.lay(seed, |config| {
                                (config.congestion, config.mtu) = (congestion, mtu);
                            }),
                            None => pipe.lay_for_tcp(seed),
                        };
                        fill(&mut link, id, seconds, seconds)[0]
                    });
                    shares.sum::<f64>() / seeds as f64 * 100.0
                };
                let shares = [Some(Congestion::Cubic), Some(Congestion::Bbr), None].map(share);
                let [cubic, bbr, tcp] = shares;
                println!("| {mbits} | {rtt} | {loss:.1} | {cubic:.1} | {bbr:.1} | {tcp:.1} |");
            }
        }
    }
}
