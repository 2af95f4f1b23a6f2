use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Net, SegmentId};
use sansio::{Datagram, Machine, Outbox, Path, Rng, Time};

/// Everybody else behind a box: a host that sends to a new remote port now and then, each time a new mapping of its NAT.
pub(crate) struct Crowd {
    local: SocketAddr,
    remote: SocketAddr,
    pace: Duration,
    rng: Rng,
    next: Time,
    due: bool,
}

impl Crowd {
    /// Puts one into a network; it sends to ports of `server` at which nobody listens.
    pub(crate) fn settle(net: &mut Net, network: SegmentId, server: HostId, per_second: u32) {
        let host = net.add_host("others", &[network]);
        let local = net.bind(host, net.socket(host, 5000)).expect("a new host has no sockets");
        let (remote, rng) = (net.socket(server, 20_000), Rng::new(net.draw_seed()));
        let pace = Duration::from_secs(1) / per_second.max(1);
        net.start(host, Self { local, remote, pace, rng, next: net.now(), due: false });
    }
}

impl Machine for Crowd {
    type Addr = Path;
    type Event = Infallible;

    fn handle_datagram(&mut self, _: Time, _: Datagram<'_>, _: &mut dyn Outbox) {}

    fn handle_timeout(&mut self, now: Time) {
        if now >= self.next {
            self.due = true;
            // Independent of each other, as those of many people are.
            let pause = self.pace.mul_f64(-(1.0 - self.rng.unit()).ln());
            self.next = now + pause.max(Duration::from_micros(1));
        }
    }

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if self.due && out.send_bytes(Path::udp(self.local, self.remote), b"somebody else's") {
            self.due = false;
            let port = self.remote.port().checked_add(1).unwrap_or(20_000);
            self.remote.set_port(port);
        }
    }

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}
