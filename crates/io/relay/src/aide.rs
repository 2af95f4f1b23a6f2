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
            Order::Lend { number, socket, role } => {
                if self.carrier.sockets.exit(socket.local()).is_none() {
                    self.carrier.sockets.add(number, socket, role);
                }
            }
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::mpsc;

    use sansio::{Path, Seed};
    use turn::{ChannelNumber, Framing};
    use udp::Config;

    use super::*;
    use crate::crew::{Contact, Crew};

    fn bind(ip: [u8; 4]) -> BareSocket {
        BareSocket::bind((ip, 0).into(), &Config::default()).unwrap()
    }

    /// So it is after a client has moved, and if somebody else was asked who a user is.
    #[test]
    fn what_leaves_by_a_socket_of_another_shard_is_carried_as_well() {
        let mut rng = Rng::new(Seed::from(1));
        let clock = Clock::start();
        let [chief, pulse] = [(), ()].map(|()| Pulse::new(clock, Duration::ZERO).unwrap());
        let ((letters, unread), (orders, obeyed)) = (mpsc::sync_channel(9), mpsc::channel());
        let (listener, relay) = (bind([127, 0, 0, 3]), bind([127, 0, 0, 2]));
        let [client, peer] = [(), ()].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.connect(listener.local()).unwrap();
        let passage = Passage::Channel {
            client: Path::udp(listener.local(), client.local_addr().unwrap()),
            number: ChannelNumber::new(0x4000).unwrap(),
        };
        let flow = Flow {
            source: Some(AllocationId(1)),
            target: None,
            to: Path::udp(relay.local(), peer.local_addr().unwrap()),
            framing: Framing::Plain,
            until: Time::from_start(Duration::from_secs(1000)),
            allowance: None,
        };
        let contact = Contact {
            registry: pulse.registry().try_clone().unwrap(),
            orders,
            waker: pulse.waker(),
            waits: false,
        };
        let mut crew = Crew::new(chief.registry().try_clone().unwrap(), vec![contact]);
        let mut sockets = Sockets::new(&mut rng);
        crew.employ(0, 7, relay, Role::Relay, &mut sockets).unwrap();
        crew.teach(1, passage, flow, &sockets);
        let waker = pulse.waker();
        let aide = Aide::new(1, pulse, vec![listener], letters, chief.waker(), obeyed, &mut rng).unwrap();

        let stop = Arc::new(AtomicBool::new(false));
        let running = std::thread::spawn({
            let stop = stop.clone();
            move || aide.run(&stop)
        });
        client.send(&[0x40, 0, 0, 3, b'a', b'b', b'c']).unwrap();
        let mut arrived = [0; 9];
        let (length, from) = peer.recv_from(&mut arrived).expect("it is carried");
        assert_eq!((&arrived[..length], from), (&b"abc"[..], flow.to.local));
        stop.store(true, Ordering::Release);
        waker.wake().unwrap();
        running.join().unwrap();
        let asked = unread.try_iter().filter(|letter| matches!(letter, Letter::Received { .. })).count();
        assert_eq!(asked, 0);
    }
}
