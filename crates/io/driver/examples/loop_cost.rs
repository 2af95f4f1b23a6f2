//! What the loop and the sockets cost without any protocol: two engines on loopback, 1,200-byte datagrams one way, a
//! window of 512 KiB, acknowledged once a turn. `cargo run --release -p sterna-driver --example loop_cost`

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Ticket, Time};
use sterna_driver::{Clock, Engine, Host, Network, Shared};

const SIZE: usize = 1200;
const WINDOW: u64 = 512 * 1024;

#[derive(Default)]
struct Flood {
    bind: bool,
    path: Option<Path>,
    to_send: u64,
    sent: u64,
    acked: u64,
    received: u64,
    told: u64,
    turns: u64,
}

impl Machine for Flood {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        if datagram.payload.len() == 8 {
            self.acked = u64::from_le_bytes((&*datagram.payload).try_into().unwrap());
        } else {
            self.received += datagram.payload.len() as u64;
            self.path = Some(datagram.from);
        }
    }
    fn handle_timeout(&mut self, _: Time) {}
    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        self.turns += 1;
        let Some(path) = self.path else { return };
        if self.received > self.told && out.send_bytes(path, &self.received.to_le_bytes()) {
            self.told = self.received;
        }
        while self.sent < self.to_send && self.sent - self.acked < WINDOW {
            if !out.send(path, SIZE, &mut |_| SIZE) {
                break;
            }
            self.sent += SIZE as u64;
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn poll_socket(&mut self) -> Option<SocketOp> {
        std::mem::take(&mut self.bind)
            .then(|| SocketOp::Bind { ticket: Ticket(0), local: "127.0.0.1:0".parse().unwrap() })
    }
    fn handle_socket(&mut self, _: Time, reply: SocketReply) {
        if let SocketReply::Bound { local, .. } = reply {
            self.path = Some(Path::udp(local, local));
        }
    }
}

struct Only(Flood);

impl Host for Only {
    type Machine = Flood;
    fn machine(&mut self) -> &mut Flood {
        &mut self.0
    }
    fn absorb(&mut self, _: Time, _: &mut Vec<Waker>) -> bool {
        false
    }
    fn ended(&self) -> bool {
        false
    }
    fn abandon(&mut self, _: &mut Vec<Waker>) {}
}

async fn start() -> (Arc<Shared<Only>>, std::net::SocketAddr) {
    let shared = Shared::new(Clock::start(), Only(Flood { bind: true, ..Flood::default() }));
    tokio::spawn(Engine::new(shared.clone(), Network::default()));
    loop {
        if let Some(path) = shared.lock().0.path {
            return (shared.clone(), path.local);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main]
async fn main() {
    let total: u64 = std::env::args().nth(1).map_or(2 << 30, |bytes| bytes.parse().expect("bytes"));
    let ((here, a), (there, b)) = (start().await, start().await);
    there.lock().0.path = None;
    let started = Instant::now();
    {
        let flood = &mut here.lock().0;
        flood.path = Some(Path::udp(a, b));
        flood.to_send = total;
    }
    here.wake();
    while there.lock().0.received < total {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let packets = total as f64 / SIZE as f64;
    println!(
        "{:.0} MB/s, {:.2} µs a datagram; {} turns to send, {} to receive",
        total as f64 / 1e6 / seconds,
        seconds * 1e6 / packets,
        here.lock().0.turns,
        there.lock().0.turns
    );
}
