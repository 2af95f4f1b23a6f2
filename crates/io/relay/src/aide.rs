use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::{Interest, Token, Waker};
use sansio::{Datagram, Path, Rng, Time};
use turn::{AllocationId, Flow, IcmpError, Passage};
use udp::BareSocket;

use crate::carrier::{Authority, Carrier};
use crate::crew::{Letter, Order};
use crate::flows::Carried;
use crate::gate::Gate;
use crate::guests::Guests;
use crate::losses::{Loss, Losses};
use crate::mail::{Room, Slots};
use crate::pulse::Pulse;
use crate::sockets::{Role, Sockets};

/// How often the chief hears what was carried.
const REPORT: Duration = Duration::from_millis(100);

/// A shard without the machine: it carries what has a flow, and asks the chief about the rest.
pub(crate) struct Aide {
    pulse: Pulse,
    carrier: Carrier,
    desk: Desk,
    orders: Receiver<Order>,
}

/// The authority of an aide: it writes letters.
struct Desk {
    /// Which shard this is.
    of: usize,
    slots: Slots,
    chief: Arc<Waker>,
    guests: Guests,
    /// Whether there are letters that the chief has not been woken for.
    waits: bool,
    losses: Arc<Losses>,
    /// What there was no room for, but has to be told: what was carried, by its two ends, and what was lost.
    carried: HashMap<Ends, Carried>,
    lost: HashMap<Path, u64>,
    /// What came from peers without a permission, and was not told yet.
    unpermitted: u64,
    next_report: Time,
}

/// The allocations that a flow counts for.
type Ends = (Option<AllocationId>, Option<AllocationId>);

/// Paths that losses are kept for until there is room to tell them. (In all they are counted at once.)
const LOST_PATHS: usize = 1024;

impl Aide {
    pub(crate) fn new(
        of: usize,
        pulse: Pulse,
        listeners: Vec<BareSocket>,
        (slots, chief): (Slots, Arc<Waker>),
        orders: Receiver<Order>,
        losses: Arc<Losses>,
        rng: &mut Rng,
    ) -> io::Result<Self> {
        let mut sockets = Sockets::new(losses.clone(), rng);
        for (number, mut socket) in listeners.into_iter().enumerate() {
            pulse.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            sockets.add(number, Arc::new(socket), Role::Listener);
        }
        let desk = Desk::new(of, (slots, chief), Guests::new(rng), losses);
        Ok(Self { pulse, carrier: Carrier::new(sockets, rng), desk, orders })
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
            let report = (self.carrier.has_news() || self.desk.owes()).then_some(self.desk.next_report);
            self.turn(report);
        }
        // The chief reads on until all aides have had their last word.
        self.carrier.report(&mut self.desk);
        self.desk.close();
    }

    /// Waits for something to do, until then at the longest, and does it.
    fn turn(&mut self, until: Option<Time>) {
        let now = self.pulse.wait(until, &mut self.carrier.sockets);
        self.obey_all(now);
        self.carrier.hear(now, &mut self.desk);
        for _ in 0..self.carrier.sockets.pending() {
            let Some(role) = self.carrier.receive() else { continue };
            // What the chief has passed on for a client, it has told of before: who answers that finds a flow, and
            // his datagrams are not overtaken by those behind them.
            self.obey_all(now);
            self.carrier.pass_on(now, role, &mut self.desk);
        }
        if self.desk.listens(now) {
            self.carrier.report(&mut self.desk);
        }
        self.desk.rouse();
    }

    /// Takes a turn that waits for nothing.
    #[cfg(test)]
    pub(crate) fn step(&mut self) {
        self.turn(Some(Time::ZERO));
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        let mut tables = self.carrier.tables();
        tables.extend([
            ("carried, not told", self.desk.carried.len()),
            ("lost, not told", self.desk.lost.len()),
            ("unpermitted, not told", self.desk.unpermitted as usize),
        ]);
        tables.extend(self.desk.guests.tables());
        tables
    }

    fn obey_all(&mut self, now: Time) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(now, order);
        }
    }

    fn obey(&mut self, now: Time, order: Order) {
        match order {
            Order::Adopt { number, socket, role } => {
                if role == Role::Relay {
                    self.desk.guests.relayed(socket.local(), true);
                }
                self.carrier.sockets.add(number, socket, role);
                // What came before this order was told to nobody.
                self.carrier.sockets.has_something(number);
            }
            Order::Lend { number, socket, role } => {
                if self.carrier.sockets.exit(socket.local()).is_none() {
                    self.carrier.sockets.add(number, socket, role);
                }
            }
            Order::Close(local) => {
                self.carrier.sockets.remove(local);
                self.desk.guests.relayed(local, false);
            }
            Order::Learn(known) if known.1.until > now => self.carrier.learn(&known.0, known.1),
            Order::Learn(_) => {}
            Order::Forget(id) => {
                self.carrier.report(&mut self.desk);
                self.carrier.forget(id);
            }
            Order::Welcome(client) => self.desk.guests.client(client, true),
            Order::Part(client) => self.desk.guests.client(client, false),
            Order::Permit(permit) => self.desk.guests.permit(permit),
        }
    }
}

impl Desk {
    fn new(of: usize, (slots, chief): (Slots, Arc<Waker>), guests: Guests, losses: Arc<Losses>) -> Self {
        Self {
            of,
            slots,
            chief,
            guests,
            waits: false,
            losses,
            carried: HashMap::new(),
            lost: HashMap::new(),
            unpermitted: 0,
            next_report: Time::ZERO,
        }
    }

    /// Sends a letter. `false`: there is no room.
    fn post(&mut self, letter: Letter) -> bool {
        // All that is about a client goes the same way, in its order: what was carried for him comes before his farewell.
        let room = match &letter {
            Letter::Received { path, .. } | Letter::Lost { path, .. } => self.guests.room(path),
            Letter::Carried(_) | Letter::Unpermitted(_) => Some(Room::Clients),
            Letter::Unreachable(_) => None,
        };
        let sent = self.slots.post(letter, room.unwrap_or(Room::Strangers));
        self.waits |= sent;
        sent
    }

    /// Whether the chief has yet to hear something.
    fn owes(&self) -> bool {
        !self.carried.is_empty() || !self.lost.is_empty() || self.unpermitted > 0
    }

    /// Tells what there was no room for, as far as there is now.
    fn catch_up(&mut self) {
        for carried in std::mem::take(&mut self.carried).into_values() {
            self.tell_carried(carried);
        }
        for (path, datagrams) in std::mem::take(&mut self.lost) {
            self.tell_lost(path, datagrams);
        }
        if self.unpermitted > 0 && self.post(Letter::Unpermitted(self.unpermitted)) {
            self.unpermitted = 0;
        }
    }

    fn tell_carried(&mut self, carried: Carried) {
        if !self.post(Letter::Carried(carried)) {
            let Carried { flow, packets, bytes } = carried;
            let none = Carried { flow, packets: 0, bytes: 0 };
            let owed = self.carried.entry((flow.source, flow.target)).or_insert(none);
            owed.packets += packets;
            owed.bytes += bytes;
        }
    }

    fn tell_lost(&mut self, path: Path, datagrams: u64) {
        let told = self.post(Letter::Lost { path, datagrams });
        if !told && (self.lost.len() < LOST_PATHS || self.lost.contains_key(&path)) {
            *self.lost.entry(path).or_default() += datagrams;
        }
    }

    /// Tells all of it, and waits for room.
    fn close(&mut self) {
        let carried = self.carried.drain().map(|(_, carried)| Letter::Carried(carried));
        let lost = self.lost.drain().map(|(path, datagrams)| Letter::Lost { path, datagrams });
        let unpermitted = (self.unpermitted > 0).then_some(Letter::Unpermitted(self.unpermitted));
        for letter in carried.chain(lost).chain(unpermitted) {
            self.slots.insist(letter);
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
        let path = datagram.from;
        // What comes to a relayed address is a peer's whom somebody wants to hear, or the machine would drop it.
        if self.guests.room(&path).is_none() {
            self.unpermitted += 1;
            return None;
        }
        let payload = datagram.payload.to_vec();
        if !self.post(Letter::Received { of: self.of, path, payload, passage }) {
            self.losses.add(Loss::Busy, 1);
            self.tell_lost(path, 1);
        }
        None
    }

    fn poll_stale(&mut self) -> Option<AllocationId> {
        None // comes as an order
    }

    fn listens(&mut self, now: Time) -> bool {
        let due = now >= self.next_report;
        if due {
            self.next_report = now + REPORT;
            self.catch_up();
        }
        due
    }

    fn carried(&mut self, flow: &Flow, packets: u64, bytes: u64) {
        self.tell_carried(Carried { flow: *flow, packets, bytes });
    }

    fn lost(&mut self, path: Path, datagrams: u64) {
        self.tell_lost(path, datagrams);
    }

    fn unreachable(&mut self, _: Time, error: IcmpError) {
        // What the network says it may leave unsaid: nobody counts on it.
        self.post(Letter::Unreachable(error));
    }

    fn flush(&mut self, _: &mut Sockets) {
        self.rouse();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::sync::mpsc;

    use sansio::Seed;
    use turn::{ChannelNumber, Framing, Permit};
    use udp::Config;

    use super::*;
    use crate::clock::Clock;
    use crate::crew::{Contact, Crew};
    use crate::mail::{Mailbox, mail_with_room};

    fn bind(ip: [u8; 4]) -> BareSocket {
        BareSocket::bind((ip, 0).into(), &Config::default()).unwrap()
    }

    /// So it is after a client has moved, and if somebody else was asked who a user is.
    #[test]
    fn what_leaves_by_a_socket_of_another_shard_is_carried_as_well() {
        let mut rng = Rng::new(Seed::from(1));
        let clock = Clock::start();
        let [chief, pulse] = [(), ()].map(|()| Pulse::new(clock, Duration::ZERO).unwrap());
        let ((slots, mut unread), (orders, obeyed)) = (mail_with_room([9; 3]), mpsc::channel());
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
        let mut sockets = Sockets::new(Arc::default(), &mut rng);
        crew.employ(0, 7, relay, Role::Relay, &mut sockets).unwrap();
        crew.teach(1, passage, flow, &sockets);
        let waker = pulse.waker();
        let aide =
            Aide::new(1, pulse, vec![listener], (slots, chief.waker()), obeyed, Arc::default(), &mut rng)
                .unwrap();

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
        let letters = std::iter::from_fn(|| unread.next());
        let asked = letters.filter(|letter| matches!(letter, Letter::Received { .. })).count();
        assert_eq!(asked, 0);
    }

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn desk(room: [usize; 3]) -> (Desk, Mailbox, Arc<Losses>) {
        let (slots, mailbox) = mail_with_room(room);
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let losses = Arc::<Losses>::default();
        let guests = Guests::new(&mut Rng::new(Seed::from(1)));
        (Desk::new(1, (slots, waker), guests, losses.clone()), mailbox, losses)
    }

    #[test]
    fn who_has_an_allocation_is_heard_in_a_flood_of_others_and_first() {
        let (mut desk, mut mailbox, losses) = desk([2, 1, 3]);
        let guest = Path::udp(at(1), at(2));
        desk.guests.client(guest, true);
        let says = |path| Datagram { from: path, payload: &mut [] };
        for port in 10..100 {
            desk.decide(Time::ZERO, says(Path::udp(at(1), at(port))), None);
        }
        for _ in 0..3 {
            desk.decide(Time::ZERO, says(guest), None);
        }
        assert_eq!(
            losses.so_far().of(Loss::Busy),
            87 + 1,
            "he has room of his own, of which there is an end, too"
        );
        let heard = std::iter::from_fn(|| mailbox.next()).filter_map(|letter| match letter {
            Letter::Received { path, .. } => Some(path.remote.port()),
            _ => None,
        });
        assert_eq!(heard.collect::<Vec<_>>(), [2, 2, 10, 11, 12]);
    }

    #[test]
    fn a_peer_with_a_permission_is_heard_in_a_flood_of_others_and_they_are_dropped_and_counted() {
        let (mut desk, mut mailbox, losses) = desk([1, 2, 3]);
        let (listening, relayed) = (at(1), at(2));
        desk.guests.relayed(relayed, true);
        let says = |local, last| Datagram {
            from: Path::udp(local, ([203, 0, 113, last], 9).into()),
            payload: &mut [],
        };
        desk.guests.permit(Permit { local: relayed, peer: [203, 0, 113, 1].into(), given: true });
        for stranger in 10..=255 {
            desk.decide(Time::ZERO, says(listening, stranger), None);
            desk.decide(Time::ZERO, says(relayed, stranger), None);
        }
        for _ in 0..3 {
            desk.decide(Time::ZERO, says(relayed, 1), None);
        }
        assert_eq!(
            losses.so_far().of(Loss::Busy),
            246 - 3 + 1,
            "he has room of his own, of which there is an end"
        );
        let heard = std::iter::from_fn(|| mailbox.next()).filter_map(|letter| match letter {
            Letter::Received { path, .. } => Some((path.local.port(), path.remote)),
            _ => None,
        });
        let last = |(port, from): (u16, SocketAddr)| match from.ip() {
            IpAddr::V4(ip) => (port, ip.octets()[3]),
            IpAddr::V6(_) => panic!("{from}"),
        };
        // Neither keeps the other out.
        assert_eq!(heard.map(last).collect::<Vec<_>>(), [(2, 1), (1, 10), (2, 1), (1, 11), (1, 12)]);
        assert!(desk.owes());
        desk.catch_up();
        assert!(matches!(mailbox.next(), Some(Letter::Unpermitted(246))));
        assert_eq!(desk.unpermitted, 0, "it is told once");
    }

    #[test]
    fn what_was_carried_and_lost_is_told_later_if_there_is_no_room_now() {
        let (mut desk, mut mailbox, losses) = desk([1; 3]);
        let path = Path::udp(at(1), at(2));
        let flow = Flow {
            source: Some(AllocationId(1)),
            target: None,
            to: path,
            framing: Framing::Plain,
            until: Time::ZERO,
            allowance: None,
        };
        desk.carried(&flow, 1, 10);
        desk.carried(&flow, 2, 20);
        desk.carried(&Flow { source: None, target: Some(AllocationId(1)), ..flow }, 5, 50);
        desk.carried(&flow, 4, 40);
        desk.lost(path, 3);
        for _ in 0..2 {
            desk.decide(Time::ZERO, Datagram { from: path, payload: &mut [] }, None);
        }
        let (mut carried, mut lost) = ([0; 2], 0);
        while desk.owes() {
            desk.catch_up();
            while let Some(letter) = mailbox.next() {
                match letter {
                    Letter::Carried(it) => carried[usize::from(it.flow.source.is_none())] += it.bytes,
                    Letter::Lost { datagrams, .. } => lost += datagrams,
                    Letter::Received { .. } | Letter::Unreachable(_) | Letter::Unpermitted(_) => {
                        panic!("there was no room for that")
                    }
                }
            }
        }
        assert_eq!((carried, lost), ([70, 50], 5));
        assert_eq!(losses.so_far().of(Loss::Busy), 2, "what the chief was not asked about");
    }
}
