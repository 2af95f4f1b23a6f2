//! How many packets a real millisecond holds: pairs of players behind NATs throw a ball to and fro.

use std::time::{Duration, Instant};

use sansio::{Datagram, Machine, Outbox, Path, Time};
use sterna_netsim::{Laws, NatBehaviour, Net};

/// Throws back whatever it catches.
#[derive(Default)]
struct Ball {
    first: Option<(Path, Vec<u8>)>,
}

impl Machine for Ball {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        out.send_bytes(datagram.from, datagram.payload);
    }
    fn handle_timeout(&mut self, _: Time) {}
    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if let Some((path, bytes)) = self.first.take() {
            out.send_bytes(path, &bytes);
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

fn run(pairs: usize, laws: Laws, keep: usize) {
    let mut net = Net::new(1);
    net.set_laws(laws);
    net.trace_mut().keep(keep);
    for n in 0..pairs {
        let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
        let [a, b] = [home, Net::INTERNET].map(|segment| {
            let host = net.add_host("host", &[segment]);
            net.bind(host, net.socket(host, 1)).expect("the port is free");
            net.start(host, Ball::default());
            host
        });
        let path = Path::udp(net.socket(a, 1), net.socket(b, 1));
        net.machine_mut::<Ball>(a).first = Some((path, vec![n as u8; 1200]));
    }
    let start = Instant::now();
    net.run_for(Duration::from_secs(1_000_000 / 100 / pairs as u64));
    let elapsed = start.elapsed();
    let packets = net.trace().total() as f64 / 2.5;
    println!(
        "{pairs:>5} pairs, {} laws, {keep:>6} records kept: {:>5.0} packets/ms, {:>5.0} steps/ms, {:.0} virtual s a real s",
        if laws == Laws::NONE { "no" } else { "all" },
        packets / elapsed.as_secs_f64() / 1e3,
        net.steps() as f64 / elapsed.as_secs_f64() / 1e3,
        net.now().elapsed().as_secs_f64() / elapsed.as_secs_f64()
    );
}

fn main() {
    for pairs in [1, 10, 1000] {
        for laws in [Laws::default(), Laws::NONE] {
            run(pairs, laws, 0);
        }
    }
    run(10, Laws::default(), 200_000);
}
