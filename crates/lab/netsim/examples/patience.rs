//! How patient should a client be? A question and an answer over a mobile link that loses packets, with three rules
//! for asking again, a thousand runs each: how long the answer took, and how many packets it cost.
//!
//! Nothing here knows of WebRTC: the simulator runs any protocol that is written as a `sansio::Machine`.
//!
//! ```text
//! cargo run -p sterna-netsim --example patience
//! ```

use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, Time};
use sterna_netsim::{Link, Net, Preset, Puppet};

/// Asks until it is answered, and waits `factor` times longer after each question.
struct Client {
    server: Path,
    wait: Duration,
    factor: u32,
    next: Option<Time>,
    due: bool,
    answered: Option<Time>,
}

impl Machine for Client {
    type Addr = Path;
    /// When the answer came.
    type Event = Time;

    fn handle_datagram(&mut self, now: Time, _: Datagram<'_>, _: &mut dyn Outbox) {
        if self.next.take().is_some() {
            self.answered = Some(now);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + self.wait);
            self.wait *= self.factor;
            self.due = true;
        }
    }

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if self.due {
            self.due = !out.send_bytes(self.server, b"what is the weather like?");
        }
    }

    fn poll_event(&mut self) -> Option<Time> {
        self.answered.take()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.next
    }
}

/// One run: how long the answer took, and how many packets were sent.
fn ask(seed: u64, wait: Duration, factor: u32) -> (Duration, usize) {
    let mut net = Net::new(seed);
    let server = net.add_host("server", &[Net::INTERNET]);
    net.bind(server, net.socket(server, 53)).expect("nobody has the port");
    net.start(server, Puppet::echo());

    let radio = Link { loss: 0.2, jitter: Duration::from_millis(80), ..Link::delay_ms(60) };
    let mobile = net.add_preset(Net::INTERNET, "mobile", Preset::MobileCgn);
    net.set_link(net.uplink(mobile), radio);
    let phone = net.add_host("phone", &[mobile]);
    let path = Path::udp(net.socket(phone, 4000), net.socket(server, 53));
    net.bind(phone, path.local).expect("nobody has the port");
    let next = Some(Time::ZERO);
    net.start(phone, Client { server: path, wait, factor, next, due: false, answered: None });

    let mut answered = None;
    net.run_until(Duration::from_secs(600), |net| {
        answered = net.events::<Client>(phone).pop();
        answered.is_some()
    });
    let place = net.place(phone);
    let sent =
        |record: &&sterna_netsim::Record| record.place == place && record.fate == sterna_netsim::Fate::Sent;
    let packets = net.trace().records().iter().filter(sent).count();
    (answered.expect("within ten minutes").elapsed(), packets)
}

fn main() {
    println!("first wait  then       median   99 of 100   packets");
    for (wait, factor) in [(100, 1), (500, 1), (500, 2), (1000, 2)] {
        let mut runs: Vec<_> = (0..1000).map(|seed| ask(seed, Duration::from_millis(wait), factor)).collect();
        let packets: usize = runs.iter().map(|(_, packets)| packets).sum();
        runs.sort();
        let [median, late] = [500, 990].map(|n| runs[n].0.as_millis());
        let then = if factor == 1 { "the same" } else { "twice" };
        println!("{wait:>7} ms  {then:<9}{median:>5} ms  {late:>7} ms  {:>8.2}", packets as f64 / 1000.0);
    }
}
