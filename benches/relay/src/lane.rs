//! Traffic in a closed loop: what has arrived makes room for what is sent next.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use udp::{BareSocket, Bundles, Outcome, Transmit};

/// A lane without an arrival for so long has lost what was in flight.
const STALL: Duration = Duration::from_millis(25);

/// Equal datagrams, ready to be sent many at a time.
pub(crate) struct Burst {
    to: SocketAddr,
    length: usize,
    bytes: Vec<u8>,
}

impl Burst {
    pub(crate) fn new(to: SocketAddr, frame: &[u8]) -> Self {
        Self { to, length: frame.len(), bytes: frame.repeat(64) }
    }

    /// Sends `count` of them, and returns how many went.
    fn send(&self, socket: &BareSocket, count: usize) -> usize {
        let count = count.min(64).min(65_000 / self.length);
        let bytes = &self.bytes[..count * self.length];
        let bytes = [IoSlice::new(bytes)];
        match socket.try_send(&Transmit { from: None, to: self.to, segment: self.length, bytes: &bytes }) {
            Outcome::Sent => count,
            Outcome::Blocked { sent } => sent / self.length,
            Outcome::Lost(error) => panic!("the generator cannot send: {error}"),
        }
    }
}

/// One client's traffic.
pub(crate) struct Lane {
    /// Sends.
    pub(crate) near: BareSocket,
    /// Receives. `None`: what is sent comes back to where it came from.
    pub(crate) far: Option<BareSocket>,
    pub(crate) out: Burst,
    /// What the far end sends for each arrival.
    pub(crate) back: Option<Burst>,
    in_flight: usize,
    owed: usize,
    last: Instant,
}

/// What passed through the server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
}

impl Lane {
    pub(crate) fn new(near: BareSocket, far: Option<BareSocket>, out: Burst, back: Option<Burst>) -> Self {
        Self { near, far, out, back, in_flight: 0, owed: 0, last: Instant::now() }
    }

    /// One turn. `window`: datagrams in flight; `least`: how many are worth a system call.
    fn turn(
        &mut self,
        bundles: &mut Bundles,
        window: usize,
        least: usize,
        passed: &mut Passed,
    ) -> io::Result<()> {
        if let Some(far) = &self.far {
            let arrived = receive(far, bundles)?;
            passed.packets += arrived as u64;
            match &self.back {
                Some(back) => {
                    self.owed += arrived;
                    if self.owed > 0 {
                        self.owed -= back.send(far, self.owed);
                    }
                }
                None => self.arrived(arrived),
            }
        }
        if self.far.is_none() || self.back.is_some() {
            let arrived = receive(&self.near, bundles)?;
            passed.packets += arrived as u64;
            self.arrived(arrived);
        }
        let room = window.saturating_sub(self.in_flight);
        if room >= least {
            self.in_flight += self.out.send(&self.near, room);
        } else if self.last.elapsed() > STALL {
            passed.lost += self.in_flight as u64;
            (self.in_flight, self.owed, self.last) = (0, 0, Instant::now());
        }
        Ok(())
    }

    fn arrived(&mut self, count: usize) {
        if count > 0 {
            self.in_flight = self.in_flight.saturating_sub(count);
            self.last = Instant::now();
        }
    }
}

fn receive(socket: &BareSocket, bundles: &mut Bundles) -> io::Result<usize> {
    socket.try_recv(bundles)?;
    Ok((0..bundles.len())
        .filter_map(|at| bundles.arrival(at))
        .map(|arrived| arrived.range.len().div_ceil(arrived.segment.max(1)))
        .sum())
}

/// Keeps all lanes busy for so long.
pub(crate) fn drive(lanes: &mut [Lane], time: Duration, window: usize, least: usize) -> io::Result<Passed> {
    let mut bundles = Bundles::new(64);
    let mut passed = Passed::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        for lane in &mut *lanes {
            lane.turn(&mut bundles, window, least, &mut passed)?;
        }
    }
    Ok(passed)
}
