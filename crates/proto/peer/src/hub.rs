mod claims;
mod listening;
mod questions;
mod router;
mod slots;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::DerefMut;

use sansio::{
    Datagram, KeyedHash, Machine, Outbox, Path, Rng, Seed, SocketError, SocketOp, SocketReply, Time,
    Transport, Wheel,
};

use crate::sockets::Sockets;
use crate::{Connection, Event};
use claims::Claims;
use listening::Listening;
use questions::Questions;
use slots::{Chore, Slots};

pub use router::HubDrops;
pub use slots::ConnectionId;

/// With less room than this left, a connection may have stopped writing for want of room.
const LARGEST_DATAGRAM: usize = 2048;

/// Many connections on one UDP port.
///
/// A server has thousands of peers and one port that its firewall lets through. The hub owns that port's sockets, one for
/// each address it listens on, and gives each datagram to the connection that it is for:
///
/// * a *check* by the username fragment that it carries (RFC 8445 §7.3: `USERNAME` is `ours:theirs`), wherever it comes from;
/// * an *answer* to a check of ours by its transaction;
/// * all else by the *path* that it came by. A path becomes a connection's with the first check that the other side has
///   signed, and is its own once an answer of the other side has come back on it: only who really is there could give that.
///   So nobody takes somebody's path by writing a foreign sender on a packet, not even a peer of another connection; and when a NAT
///   gives the port to somebody else, the path moves as soon as he has answered.
///
/// What is nobody's is dropped and counted ([`Hub::drops`]), and never answered. Two connections with the very same two
/// addresses cannot be told apart, whoever answered last has the path.
///
/// Connections are [`insert`](Hub::insert)ed and from then on driven by the hub. Wishes go through [`Hub::with`]. A connection
/// that has said goodbye ([`Connection::is_finished`]) has no path and no timer any more, and stays until it is
/// [`remove`](Hub::remove)d. Deadlines stand in one [`Wheel`]: who is idle costs nothing before his time has come.
///
/// Its connections do not use TURN by UDP and do not punch ([`Configuration::shared_sockets`](crate::Configuration::shared_sockets)).
///
/// ```
/// use sansio::{Machine, Seed, SocketOp, SocketReply, Time};
/// use sterna_peer::{Configuration, Connection, Hub, HubConfig};
///
/// let now = Time::ZERO;
/// let listening = vec!["192.0.2.1:3478".parse().unwrap()];
/// let mut hub = Hub::new(HubConfig { listening, ..HubConfig::new(Seed::from(1)) });
/// let certificate = crypto::Certificate::generate().unwrap();
/// let ids: Vec<_> = (2..4)
///     .map(|seed| {
///         let mut configuration = Configuration::new(Seed::from(seed), certificate.clone());
///         configuration.interfaces = vec![ice::Interface::new("eth0", "192.0.2.1".parse().unwrap())];
///         hub.insert(now, Connection::new(now, configuration)).ok().unwrap()
///     })
///     .collect();
/// for id in &ids {
///     let offered = hub.with(now, *id, |connection| {
///         connection.create_data_channel(now, "chat", Default::default()).unwrap();
///         connection.set_local_description(now, None).is_ok()
///     });
///     assert_eq!(offered, Some(true));
/// }
/// while let Some(op) = hub.poll_socket() {
///     // Once, however many connections there are.
///     let SocketOp::Bind { ticket, local } = op else { continue };
///     hub.handle_socket(now, SocketReply::Bound { ticket, local });
/// }
/// for id in ids {
///     let offer = hub.with(now, id, |connection| connection.local_description().unwrap()).unwrap();
///     assert!(offer.sdp.contains("192.0.2.1 3478 typ host"));
/// }
/// ```
pub struct Hub<C = Connection> {
    slots: Slots<C>,
    claims: Claims,
    questions: Questions,
    listening: Listening,
    /// Tickets and streams of connections, by the number of their slot.
    sockets: Sockets,
    timers: Wheel<u32>,
    /// What is to be asked of the driver.
    ops: VecDeque<SocketOp>,
    drops: HubDrops,
    /// Whether the next datagram was marked on its way.
    marked: bool,
}

/// What a [`Hub`] is made from. Start from [`HubConfig::new`].
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Where the keys of its tables come from: secret and fresh in production.
    pub seed: Seed,
    /// The addresses to listen on, with their port; unspecified ones stand for all of the machine's. A port of 0 is left to the
    /// driver.
    pub listening: Vec<SocketAddr>,
    /// How many connections there may be.
    pub max_connections: usize,
}

impl HubConfig {
    /// Without addresses, for up to 65,536 connections.
    pub fn new(seed: Seed) -> Self {
        Self { seed, listening: Vec::new(), max_connections: 65_536 }
    }
}

/// What a [`Hub`] holds: a [`Connection`], or something that has one.
pub trait Resident {
    /// The connection.
    fn connection(&mut self) -> impl DerefMut<Target = Connection>;

    /// When, besides the connection, the resident needs a turn.
    fn deadline(&mut self) -> Option<Time> {
        None
    }
}

impl Resident for Connection {
    fn connection(&mut self) -> impl DerefMut<Target = Connection> {
        self
    }
}

/// How much a [`Hub`] keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections, also finished ones.
    pub connections: usize,
    /// Paths that are somebody's.
    pub paths: usize,
    /// Username fragments that checks may carry.
    pub ufrags: usize,
    /// Questions whose answers would find their asker.
    pub questions: usize,
    /// Turns that connections have coming, to write or to tell: none, while nothing happens.
    pub turns: usize,
}

impl<C: Resident> Hub<C> {
    /// A hub without connections.
    pub fn new(config: HubConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        Self {
            slots: Slots::new(config.max_connections),
            claims: Claims::new(&mut rng),
            questions: Questions::new(&mut rng),
            listening: Listening::new(&config.listening),
            sockets: Sockets::default(),
            timers: Wheel::new(KeyedHash::new(&mut rng)),
            ops: VecDeque::new(),
            drops: HubDrops::default(),
            marked: false,
        }
    }

    /// Takes a connection in. It must not have a description yet, unless it was made with
    /// [`Configuration::shared_sockets`](crate::Configuration::shared_sockets).
    ///
    /// # Errors
    /// If there are [`HubConfig::max_connections`]: gives it back.
    pub fn insert(&mut self, now: Time, resident: C) -> Result<ConnectionId, C> {
        let id = self.slots.insert(resident)?;
        if let Some(slot) = self.slots.get_mut(id.slot) {
            slot.resident.connection().configuration.shared_sockets = true;
        }
        self.stir(now, id.slot);
        Ok(id)
    }

    /// A resident.
    pub fn get(&self, id: ConnectionId) -> Option<&C> {
        self.slots.find(id).map(|slot| &*slot.resident)
    }

    /// Does something with a connection: what follows from it is seen to. `None` if it is not here any more.
    pub fn with<R>(
        &mut self,
        now: Time,
        id: ConnectionId,
        wish: impl FnOnce(&mut Connection) -> R,
    ) -> Option<R> {
        let slot = self.slots.find_mut(id)?;
        let result = wish(&mut slot.resident.connection());
        self.stir(now, id.slot);
        Some(result)
    }

    /// Somebody else has done something with a resident.
    pub fn touch(&mut self, now: Time, id: ConnectionId) {
        if self.slots.find(id).is_some() {
            self.stir(now, id.slot);
        }
    }

    /// Lets a resident go. Unless it is finished, the other side will notice by silence.
    pub fn remove(&mut self, id: ConnectionId) -> Option<C> {
        self.slots.find(id)?;
        self.release(id.slot);
        self.slots.remove(id)
    }

    /// The connections that are here.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.slots.ids()
    }

    /// The next resident that may have events, for owners that read them from the residents themselves instead of by
    /// [`Machine::poll_event`]. Told once, until something happens to it again.
    pub fn poll_lively(&mut self) -> Option<ConnectionId> {
        let slot = self.slots.next(Chore::Tell)?;
        self.slots.id(slot)
    }

    /// Its owner has read events of this resident: there may be room for more now, which the other side may have to know.
    /// Not to be called for one that had none, or it would be asked what it has to write for ever.
    pub fn told(&mut self, now: Time, id: ConnectionId) {
        if self.slots.find(id).is_some() {
            self.settle(now, id.slot);
            self.slots.enqueue(id.slot, Chore::Send);
        }
    }

    /// The sockets: which address was wanted, and what came of it, once that is known.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketAddr, Option<Result<SocketAddr, SocketError>>)> {
        self.listening.sockets()
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> HubDrops {
        self.drops
    }

    /// How much is kept.
    pub fn census(&self) -> Census {
        Census {
            connections: self.slots.len(),
            paths: self.claims.len(),
            ufrags: self.slots.ufrags(),
            questions: self.questions.len(),
            turns: self.slots.queued(Chore::Send) + self.slots.queued(Chore::Tell),
        }
    }

    /// After anything has happened to a connection: it gets its turns.
    fn stir(&mut self, now: Time, number: u32) {
        self.settle(now, number);
        self.slots.enqueue(number, Chore::Send);
        self.slots.enqueue(number, Chore::Tell);
    }

    /// Brings the tables in line with what a connection wants by now.
    fn settle(&mut self, now: Time, number: u32) {
        self.serve(now, number);
        let Some(slot) = self.slots.get_mut(number) else { return };
        let deadline = slot.resident.deadline();
        let connection = slot.resident.connection();
        let (finished, due) = (connection.is_finished(), connection.poll_timeout());
        drop(connection);
        if finished {
            self.release(number);
        } else {
            self.slots.sync_ufrags(number);
        }
        match due.into_iter().chain(deadline).min() {
            Some(at) => self.timers.set(number, at),
            None => self.timers.stop(number),
        }
    }

    /// Takes a connection's wishes for sockets and names. UDP sockets there are already.
    fn serve(&mut self, now: Time, number: u32) {
        let Self { slots, listening, sockets, ops, .. } = self;
        let Some(slot) = slots.get_mut(number) else { return };
        let mut connection = slot.resident.connection();
        let mut served = false;
        while let Some(op) = connection.poll_socket() {
            match op {
                SocketOp::Bind { ticket, local } => {
                    if let Some(reply) = listening.ask(number, ticket, local.ip()) {
                        connection.handle_socket(now, reply);
                        served = true;
                    }
                }
                SocketOp::Unbind { .. } => {}
                op => ops.push_back(sockets.ask(number, op)),
            }
        }
        drop(connection);
        if served {
            slots.enqueue(number, Chore::Send);
            slots.enqueue(number, Chore::Tell);
        }
    }

    /// Nothing leads to a connection any more.
    fn release(&mut self, number: u32) {
        self.timers.stop(number);
        self.claims.release(number);
        self.slots.forget_ufrags(number);
        self.listening.forget(number);
        self.ops.extend(self.sockets.forget(number));
    }

    fn give(&mut self, now: Time, number: u32, reply: SocketReply) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.resident.connection().handle_socket(now, reply);
            self.stir(now, number);
        }
    }
}

impl<C: Resident> Machine for Hub<C> {
    type Addr = Path;
    type Event = (ConnectionId, Event);

    fn handle_mark(&mut self, _: Time) {
        self.marked = true;
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let marked = std::mem::take(&mut self.marked);
        let number = match self.route(&datagram) {
            Ok(number) => number,
            Err(reason) => return self.drops.count(reason),
        };
        let Some(id) = self.slots.id(number) else { return };
        let Self { slots, claims, questions, .. } = self;
        let Some(slot) = slots.get_mut(number) else { return };
        let proof = {
            let mut connection = slot.resident.connection();
            let mut out = Watched { now, out, id, claims, questions, refused: false };
            if marked {
                connection.handle_mark(now);
            }
            connection.handle_datagram(now, datagram, &mut out);
            connection.poll_proof()
        };
        if let Some(proof) = proof {
            claims.prove(number, proof);
        }
        // What else follows can wait until all that has come is taken.
        slots.enqueue(number, Chore::Send);
        slots.enqueue(number, Chore::Tell);
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some(number) = self.timers.expired(now) {
            if let Some(slot) = self.slots.get_mut(number) {
                slot.resident.connection().handle_timeout(now);
                self.stir(now, number);
            }
        }
    }

    /// Those that have something to write take turns: who finds no room is the last next time.
    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        for _ in 0..self.slots.queued(Chore::Send) {
            let Some(number) = self.slots.next(Chore::Send) else { return };
            let Some(id) = self.slots.id(number) else { continue };
            let Self { slots, claims, questions, .. } = self;
            let Some(slot) = slots.get_mut(number) else { continue };
            let mut watched = Watched { now, out: &mut *out, id, claims, questions, refused: false };
            slot.resident.connection().poll_transmit(now, &mut watched);
            let refused = watched.refused;
            self.settle(now, number);
            self.slots.enqueue(number, Chore::Tell);
            let full = out.room() < LARGEST_DATAGRAM;
            if refused || full {
                self.slots.enqueue(number, Chore::Send);
            }
            if full {
                return;
            }
        }
    }

    fn poll_event(&mut self) -> Option<(ConnectionId, Event)> {
        while let Some(number) = self.slots.first(Chore::Tell) {
            let event = self.slots.get_mut(number).and_then(|slot| slot.resident.connection().poll_event());
            if let Some(event) = event {
                // What was taken makes room for more: the other side may have to know.
                self.slots.enqueue(number, Chore::Send);
                return Some((self.slots.id(number)?, event));
            }
            self.slots.next(Chore::Tell);
        }
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.listening.poll().or_else(|| self.ops.pop_front())
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        if let Some(answers) = self.listening.answer(&reply) {
            return answers.into_iter().for_each(|(number, reply)| self.give(now, number, reply));
        }
        let gone = match &reply {
            SocketReply::Connected { path, .. } => Some(SocketOp::Disconnect { path: *path }),
            _ => None,
        };
        match self.sockets.answer(reply) {
            Some((number, reply)) => self.give(now, number, reply),
            // Who wanted it is gone.
            None => self.ops.extend(gone),
        }
    }
}

/// Notes which questions a connection asks where it is not at home, so that the answers find it.
struct Watched<'a> {
    now: Time,
    out: &'a mut dyn Outbox,
    id: ConnectionId,
    claims: &'a Claims,
    questions: &'a mut Questions,
    refused: bool,
}

impl Watched<'_> {
    fn write(
        &mut self,
        to: Path,
        send: impl FnOnce(&mut dyn Outbox, &mut dyn FnMut(&mut [u8]) -> usize) -> bool,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> bool {
        let Self { now, out, id: asker, claims, questions, .. } = self;
        let sent = send(*out, &mut |buffer| {
            let used = fill(buffer);
            if to.transport == Transport::Udp
                && let Some(id) = router::question(&buffer[..used])
                && !claims.is_home(asker.slot, &to)
            {
                questions.note(*now, id, *asker);
            }
            used
        });
        self.refused |= !sent;
        sent
    }
}

impl Outbox for Watched<'_> {
    fn room(&self) -> usize {
        self.out.room()
    }

    fn send(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(to, |out, fill| out.send(to, max, fill), fill)
    }

    fn send_whole(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(to, |out, fill| out.send_whole(to, max, fill), fill)
    }

    fn send_capable(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(to, |out, fill| out.send_capable(to, max, fill), fill)
    }
}
