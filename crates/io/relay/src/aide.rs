use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use mio::{Interest, Token, Waker};
use sansio::{Datagram, Rng, Time};
use turn::{AllocationId, Flow, IcmpError, Passage};
use udp::BareSocket;

use crate::carrier::{Authority, Carrier};
use crate::clock::Clock;
use crate::crew::{Letter, Order};
use crate::gate::Gate;
use crate::pulse::Pulse;
use crate::sockets::{Role, Sockets};

/// How often the chief hears what was carried.
const REPORT: Duration = Duration::from_millis(100);

/// A shard without the machine: it carries what has a flow, and asks the chief about the rest.
pub(crate) struct Aide {
    clock: Clock,
    pulse: Pulse,
    carrier: Carrier,
    desk: Desk,
    orders: Receiver<Order>,
}

/// The authority of an aide: it writes letters.
struct Desk {
    /// Which shard this is.
    of: usize,
    letters: SyncSender<Letter>,
    chief: Arc<Waker>,
    /// Whether there are letters that the chief has not been woken for.
    waits: bool,
    /// Letters that there was no room for: the chief has more to do than it can.
    lost: u64,
    next_report: Time,
}

impl Aide {
    pub(crate) fn new(
        of: usize,
        pulse: Pulse,
        listeners: Vec<BareSocket>,
        letters: SyncSender<Letter>,
        chief: Arc<Waker>,
        orders: Receiver<Order>,
        rng: &mut Rng,
    ) -> io::Result<Self> {
        let mut sockets = Sockets::new(rng);
        for (number, mut socket) in listeners.into_iter().enumerate() {
            pulse.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            sockets.add(number, Arc::new(socket), Role::Listener);
        }
        let desk = Desk { of, letters, chief, waits: false, lost: 0, next_report: Time::ZERO };
        Ok(Self { clock: pulse.clock(), pulse, carrier: Carrier::new(sockets, rng), desk, orders })
    }

    /// Lets what is DTLS through there.
    pub(crate) fn with_gate(mut self, gate: Option<Gate>) -> Self {
        self.carrier.gate = gate;
        self
    }

    /// Wakes its thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        self.pulse.waker()
    }

    /// Carries until `stop` says so.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let report = self.carrier.has_news().then_some(self.desk.next_report);
            self.pulse.wait(report, &mut self.carrier.sockets);
            self.obey_all();
            self.carrier.hear(self.clock.now(), &mut self.desk);
            for _ in 0..self.carrier.sockets.pending() {
                let Some(role) = self.carrier.receive() else { continue };
                // What the chief has passed on for a client, it has told of before: who answers that finds a flow, and
                // his datagrams are not overtaken by those behind them.
                self.obey_all();
                self.carrier.pass_on(self.clock.now(), role, &mut self.desk);
            }
            if self.desk.listens(self.clock.now()) {
                self.carrier.report(&mut self.desk);
            }
            self.desk.rouse();
        }
        tracing::debug!(shard = self.desk.of, lost = self.desk.lost + self.carrier.sockets.lost(), "stopped");
    }

    fn obey_all(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(self.clock.now(), order);
        }
    }

    fn obey(&mut self, now: Time, order: Order) {
        match order {
            Order::Adopt { number, socket, role } => {
                self.carrier.sockets.add(number, socket, role);
                // What came before this order was told to nobody.
                self.carrier.sockets.has_something(number);
            }
            Order::Lend { number, socket, role } => self.carrier.sockets.add(number, socket, role),
            Order::Close(local) => self.carrier.sockets.remove(local),
            Order::Learn(known) if known.1.until > now => self.carrier.learn(&known.0, known.1),
            Order::Learn(_) => {}
            Order::Forget(id) => {
                self.carrier.report(&mut self.desk);
                self.carrier.forget(id);
            }
        }
    }
}

impl Desk {
    fn post(&mut self, letter: Letter) {
        match self.letters.try_send(letter) {
            Ok(()) => self.waits = true,
            Err(_) => self.lost += 1,
        }
    }

    fn rouse(&mut self) {
        if std::mem::take(&mut self.waits) {
            let _ = self.chief.wake();
        }
    }
}

impl Authority for Desk {
    fn decide(&mut self, _: Time, datagram: Datagram<'_>, passage: Option<Passage>) -> Option<Flow> {
        let payload = datagram.payload.to_vec();
        self.post(Letter::Received { of: self.of, path: datagram.from, payload, passage });
        None
    }

    fn poll_stale(&mut self) -> Option<AllocationId> {
        None // comes as an order
    }

    fn listens(&mut self, now: Time) -> bool {
        let due = now >= self.next_report;
        if due {
            self.next_report = now + REPORT;
        }
        due
    }

    fn carried(&mut self, flow: &Flow, packets: u64, bytes: u64) {
        self.post(Letter::Carried { flow: *flow, packets, bytes });
    }

    fn unreachable(&mut self, _: Time, error: IcmpError) {
        self.post(Letter::Unreachable(error));
    }

    fn flush(&mut self, _: &mut Sockets) {
        self.rouse();
    }
}
