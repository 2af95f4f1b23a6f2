use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Outbox, Path, SocketOp, Ticket, Time, Transport};
use stun::credential::Authenticated;
use stun::{Class, Message, MessageWriter, kind};

use super::allocation::{Allocation, AllocationId, Seat, Seats};
use super::answer::{ANSWER_ROOM, Asker};
use super::channels::Channels;
use super::config::OtherServer;
use super::mobility::write_ticket;
use super::permission::Permissions;
use super::quota::Exceeded;
use super::reservation::{RESERVATION_LIFETIME, Reservation};
use super::session::Secret;
use super::sharing::Needs;
use super::streams::StreamOp;
use super::wish::{PortWish, Wish};
use super::{Due, Server, ServerEvent};
use crate::attribute::Family;
use crate::discovery::is_anycast;

/// How many ports are tried when others on this machine have taken some.
const BIND_ATTEMPTS: u8 = 8;
/// Ports kept for later allocations at a time.
const MAX_RESERVATIONS: usize = 256;

/// An allocation whose sockets are being bound, one after another.
#[derive(Debug)]
pub(super) struct Pending {
    holder: Holder,
    lifetime: Duration,
    /// Between the relayed address and its peers.
    transport: Transport,
    /// What is bound already.
    seats: Seats,
    /// What is being bound.
    place: Place,
    /// The family that comes after it.
    another: Option<Family>,
    /// The family that was not to be had, of two.
    address_error: Option<(Family, u16)>,
    /// Of the port that is reserved along.
    reservation: Option<Reservation>,
    attempts: u8,
    /// The client's stream ended meanwhile.
    abandoned: bool,
}

/// Whose allocation it will be.
#[derive(Debug)]
struct Holder {
    asker: Asker,
    signer: Authenticated,
    secret: Secret,
    ticket: Option<u32>,
}

/// A port to bind.
#[derive(Clone, Copy, Debug)]
struct Place {
    relay: usize,
    port: u16,
    wish: PortWish,
}

/// An answer that could not be given at once, for the socket had to be bound first.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) asker: Asker,
    pub(super) signer: Authenticated,
    pub(super) outcome: Outcome,
}

/// What it says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// There is an allocation.
    Allocated(AllocationId),
    /// There is a connection with a peer.
    Connected(u32),
    /// No.
    Refused(u16),
}

impl Pending {
    /// Nobody waits for it any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Server {
    /// RFC 8656 §7.2.
    pub(super) fn handle_allocate(
        &mut self,
        now: Time,
        asker: Asker,
        request: &Message<'_>,
        (signer, secret): (Authenticated, Secret),
        out: &mut dyn Outbox,
    ) {
        if let Some((id, allocation)) = self.allocations.by_client(asker.client) {
            if allocation.transaction_id != asker.id {
                return self.refuse(asker, &signer, 437, out);
            }
            // A retransmission: the same answer, "stateless stack approach".
            let reply = Reply { asker, signer, outcome: Outcome::Allocated(id) };
            return self.reply(now, &reply, out);
        }
        if let Some(ticket) = self.pending_by_client.get(&asker.client) {
            // A retransmission will be answered when the first one is.
            if self.pending.get(ticket).is_none_or(|pending| pending.holder.asker.id != asker.id) {
                self.refuse(asker, &signer, 437, out);
            }
            return;
        }
        let wish = match self.wish(asker.client, request) {
            Ok(mut wish) => {
                let longest = secret.longest(self.unix(now)).unwrap_or(wish.lifetime);
                wish.lifetime = wish.lifetime.min(longest);
                wish
            }
            Err(code) => return self.refuse(asker, &signer, code, out),
        };
        let ticket = match self.wants_ticket(request) {
            // Streams are at home where they are.
            Ok(wants) => (wants && wish.transport == Transport::Udp).then_some(0),
            Err(code) => return self.refuse(asker, &signer, code, out),
        };
        match self.usage.admit(&self.config.quotas, &signer.username, asker.client.remote.ip()) {
            Ok(()) if is_anycast(asker.client.local.ip()) => {
                self.usage.release(&signer.username, asker.client.remote.ip());
                return self.send_home(asker, &signer, out);
            }
            Ok(()) => {}
            Err(Exceeded::User | Exceeded::Source) => return self.refuse(asker, &signer, 486, out),
            Err(Exceeded::Total) => return self.redirect(asker, &signer, out),
        }
        let holder = Holder { asker, signer: signer.clone(), secret, ticket };
        // Who asks for a certain port may find it elsewhere no more than here.
        let any = wish.port == PortWish::Any;
        if let Err(code) = self.begin(now, holder, wish) {
            self.usage.release(&signer.username, asker.client.remote.ip());
            match code {
                508 if any => self.redirect(asker, &signer, out),
                code => self.refuse(asker, &signer, code, out),
            }
        }
    }

    /// Finds a port, and has its socket bound.
    fn begin(&mut self, now: Time, holder: Holder, wish: Wish) -> Result<(), u16> {
        let Wish { family, another, port, lifetime, transport } = wish;
        let (place, another, address_error) = match (self.place(family, port), another) {
            (Ok(place), another) => (place, another, None),
            // Of two families one will do (RFC 8656 §7.2, step 9).
            (Err(code), Some(another)) => (self.place(another, port)?, None, Some((family, code))),
            (Err(code), None) => return Err(code),
        };
        let reservation =
            (port == PortWish::Pair).then(|| Reservation { relay: place.relay, port: place.port + 1 });
        let pending = Pending {
            holder,
            lifetime,
            transport,
            seats: Seats::default(),
            place,
            another,
            address_error,
            reservation,
            attempts: 1,
            abandoned: false,
        };
        self.bind(now, pending);
        Ok(())
    }

    /// A free port of `family`, which is taken from now on.
    fn place(&mut self, family: Family, wish: PortWish) -> Result<Place, u16> {
        if let PortWish::Reserved(token) = wish {
            let Reservation { relay, port } = self.reservations.take(token).ok_or(508u16)?;
            self.timers.stop(Due::Reservation(token));
            return Ok(Place { relay, port, wish });
        }
        let relays: Vec<usize> = (0..self.config.relay_addresses.len())
            .filter(|at| Family::of(self.config.relay_addresses[*at].bind) == family)
            .collect();
        if relays.is_empty() {
            return Err(440);
        }
        if wish == PortWish::Pair && self.reservations.len() >= MAX_RESERVATIONS {
            return Err(508);
        }
        let relay = relays[self.rng.below(relays.len() as u64) as usize];
        let port = match self.sharing.port() {
            Some(port) if wish == PortWish::Any => port,
            Some(_) => return Err(508),
            None => self.draw(relay, wish).ok_or(508u16)?,
        };
        Ok(Place { relay, port, wish })
    }

    fn draw(&mut self, relay: usize, wish: PortWish) -> Option<u16> {
        match wish {
            PortWish::Pair => self.ports[relay].draw_pair(&mut self.rng),
            PortWish::Any | PortWish::Even => self.ports[relay].draw(&mut self.rng, wish == PortWish::Even),
            // That one or none.
            PortWish::Reserved(_) => None,
        }
    }

    fn bind(&mut self, now: Time, pending: Pending) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let Place { relay, port, .. } = pending.place;
        let local = SocketAddr::new(self.config.relay_addresses[relay].bind, port);
        let needs = match self.sharing.port() {
            Some(_) => self.sharing.want(relay, ticket),
            None => Needs::Binding,
        };
        let transport = pending.transport;
        self.pending_by_client.insert(pending.holder.asker.client, ticket);
        self.pending.insert(ticket, pending);
        match (needs, transport) {
            (Needs::Binding, Transport::Udp) => self.sockets.push_back(SocketOp::Bind { ticket, local }),
            (Needs::Binding, _) => self.streams.wish(StreamOp::Listen { ticket, local }),
            (Needs::Patience, _) => {}
            (Needs::Nothing(local), _) => self.seat(now, ticket, local),
        }
    }

    fn take_pending(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        self.pending_by_client.remove(&pending.holder.asker.client);
        Some(pending)
    }

    /// A relay socket is there.
    pub(super) fn bound(&mut self, now: Time, ticket: Ticket, local: SocketAddr) {
        let Some(relay) = self.pending.get(&ticket).map(|pending| pending.place.relay) else { return };
        if self.sharing.port().is_none() {
            return self.seat(now, ticket, local);
        }
        let relayed = SocketAddr::new(self.config.relay_addresses[relay].advertised, local.port());
        for ticket in self.sharing.bound(relay, local, relayed) {
            self.seat(now, ticket, local);
        }
    }

    /// So is the allocation, unless it waits for another.
    fn seat(&mut self, now: Time, ticket: Ticket, local: SocketAddr) {
        let Some(mut pending) = self.take_pending(ticket) else { return };
        let relay = pending.place.relay;
        let relayed = SocketAddr::new(self.config.relay_addresses[relay].advertised, local.port());
        let lifetime = self.config.quotas.session.map_or(pending.lifetime, |end| pending.lifetime.min(end));
        let (expiry, transport, shared) = (now + lifetime, pending.transport, self.sharing.port().is_some());
        pending.seats.add(Seat { relay, local, relayed, expiry, transport, shared });
        self.next_of(now, pending);
    }

    /// A relay socket is not to be had: another port, or not this family, or no allocation.
    pub(super) fn bind_failed(&mut self, now: Time, ticket: Ticket) {
        if self.sharing.port().is_some() {
            return self.sharing_failed(now, ticket);
        }
        let Some(mut pending) = self.take_pending(ticket) else { return };
        let Place { relay, port, wish } = pending.place;
        let again = pending.attempts < BIND_ATTEMPTS && !pending.abandoned;
        // Another one is drawn before the bad one is given back.
        let another = if again { self.draw(relay, wish) } else { None };
        self.ports[relay].release(port);
        if let Some(reserved) = pending.reservation.take() {
            self.ports[relay].release(reserved.port);
        }
        let Some(port) = another else {
            let family = Family::of(self.config.relay_addresses[relay].bind);
            pending.address_error = Some((family, 508));
            return self.next_of(now, pending);
        };
        pending.place.port = port;
        pending.attempts += 1;
        pending.reservation = (wish == PortWish::Pair).then(|| Reservation { relay, port: port + 1 });
        self.bind(now, pending);
    }

    /// The socket that all share is not to be had: nobody's allocation is, on this address.
    fn sharing_failed(&mut self, now: Time, ticket: Ticket) {
        let Some(relay) = self.pending.get(&ticket).map(|pending| pending.place.relay) else { return };
        let family = Family::of(self.config.relay_addresses[relay].bind);
        for ticket in self.sharing.failed(relay) {
            let Some(mut pending) = self.take_pending(ticket) else { continue };
            pending.address_error = Some((family, 508));
            self.next_of(now, pending);
        }
    }

    /// Binds what is still to be bound, or is done with it.
    fn next_of(&mut self, now: Time, mut pending: Pending) {
        if let Some(family) = pending.another.take().filter(|_| !pending.abandoned) {
            match self.place(family, PortWish::Any) {
                Ok(place) => {
                    (pending.place, pending.attempts) = (place, 1);
                    return self.bind(now, pending);
                }
                Err(code) => pending.address_error = Some((family, code)),
            }
        }
        if pending.abandoned || pending.seats.next_expiry().is_none() {
            self.give_up(pending);
        } else {
            self.establish(now, pending);
        }
    }

    fn give_up(&mut self, pending: Pending) {
        let Pending { holder: Holder { asker, signer, .. }, seats, reservation, abandoned, .. } = pending;
        for seat in seats.iter() {
            self.free(seat);
        }
        if let Some(Reservation { relay, port }) = reservation {
            self.ports[relay].release(port);
        }
        self.usage.release(&signer.username, asker.client.remote.ip());
        if !abandoned {
            self.replies.push_back(Reply { asker, signer, outcome: Outcome::Refused(508) });
        }
    }

    /// Closes the socket of a relayed address that is no more.
    pub(super) fn free(&mut self, seat: &Seat) {
        if seat.shared {
            return;
        }
        self.ports[seat.relay].release(seat.local.port());
        match seat.transport {
            Transport::Udp => self.sockets.push_back(SocketOp::Unbind { local: seat.local }),
            _ => self.streams.wish(StreamOp::Unlisten { local: seat.local }),
        }
    }

    fn establish(&mut self, now: Time, pending: Pending) {
        let Pending { holder, seats, address_error, reservation, .. } = pending;
        let Holder { asker, signer, secret, ticket } = holder;
        let reservation = reservation.map(|reservation| {
            let token = self.reservations.add(&mut self.rng, reservation);
            self.timers.set(Due::Reservation(token), now + RESERVATION_LIFETIME);
            token
        });
        let id = self.allocations.insert(Allocation {
            client: asker.client,
            moving: None,
            adrift: false,
            ticket,
            username: signer.username.clone(),
            secret,
            seats,
            transaction_id: asker.id,
            address_error,
            reservation,
            created: now,
            permissions: Permissions::new(self.config.quotas.permissions),
            channels: Channels::new(self.config.quotas.channels),
            bytes_to_peers: 0,
            bytes_to_client: 0,
            lost: 0,
            in_flows: false,
        });
        if let Some(expiry) = seats.next_expiry() {
            self.timers.set(Due::Allocation(id), expiry);
        }
        self.counters.allocations += 1;
        self.tell(ServerEvent::AllocationCreated {
            id,
            username: signer.username.clone(),
            client: asker.client,
            relayed: seats.iter().map(|seat| seat.relayed).collect(),
        });
        self.replies.push_back(Reply { asker, signer, outcome: Outcome::Allocated(id) });
    }

    /// The client's stream ended while its socket was being bound.
    pub(super) fn abandon(&mut self, client: Path) {
        if let Some(pending) =
            self.pending_by_client.get(&client).and_then(|ticket| self.pending.get_mut(ticket))
        {
            pending.abandon();
        }
    }

    /// Answers that had to wait.
    pub(super) fn send_replies(&mut self, now: Time, out: &mut dyn Outbox) {
        while out.room() >= ANSWER_ROOM {
            let Some(reply) = self.replies.pop_front() else { return };
            self.reply(now, &reply, out);
        }
    }

    fn reply(&mut self, now: Time, reply: &Reply, out: &mut dyn Outbox) {
        let Reply { asker, signer, outcome } = reply;
        let id = match outcome {
            Outcome::Allocated(id) => *id,
            Outcome::Connected(id) => {
                return self.succeed(*asker, signer, out, &|writer: &mut MessageWriter<'_>| {
                    writer.u32(kind::CONNECTION_ID, *id);
                });
            }
            Outcome::Refused(code) => return self.refuse(*asker, signer, *code, out),
        };
        // Deleted or expired before the outbox had room.
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let (seats, error, reservation) =
            (allocation.seats, allocation.address_error, allocation.reservation);
        let ticket = self.ticket(id);
        let lifetime = seats.next_expiry().map_or(0, |expiry| expiry.since(now).as_secs() as u32);
        self.succeed(*asker, signer, out, &|writer: &mut MessageWriter<'_>| {
            for seat in seats.iter() {
                writer.xor_address(kind::XOR_RELAYED_ADDRESS, seat.relayed);
            }
            writer.xor_address(kind::XOR_MAPPED_ADDRESS, asker.client.remote);
            writer.u32(kind::LIFETIME, lifetime);
            write_ticket(writer, ticket.as_ref());
            if let Some(token) = reservation {
                writer.raw(kind::RESERVATION_TOKEN, &token.0);
            }
            if let Some((family, code)) = error {
                let [family, ..] = family.value();
                writer.raw(kind::ADDRESS_ERROR_CODE, &[family, 0, (code / 100) as u8, (code % 100) as u8]);
            }
        });
    }

    /// Sends a client that is not taken to another server, if one is known (RFC 8489 §10). The answer is signed, or anybody
    /// could send clients anywhere.
    pub(super) fn redirect(&mut self, asker: Asker, signer: &Authenticated, out: &mut dyn Outbox) {
        // "The IP address family … MUST be identical to that of the source IP address of the request" (RFC 8489 §14.15).
        let family = asker.client.remote.is_ipv4();
        let fitting: Vec<&OtherServer> =
            self.config.others.iter().filter(|other| other.address.is_ipv4() == family).collect();
        let Some(last) = (fitting.len() as u64).checked_sub(1) else {
            return self.refuse(asker, signer, 508, out);
        };
        let other = fitting[self.rng.below(last + 1) as usize];
        let sent = asker.answer(out, Class::Error, Some(signer), &|writer| {
            writer.error(300).address(kind::ALTERNATE_SERVER, other.address);
            if let Some(domain) = &other.domain {
                writer.string(kind::ALTERNATE_DOMAIN, domain);
            }
        });
        self.count_answer(sent);
    }

    /// Answers a request with success.
    pub(super) fn succeed(
        &mut self,
        asker: Asker,
        signer: &Authenticated,
        out: &mut dyn Outbox,
        write: &dyn Fn(&mut MessageWriter<'_>),
    ) {
        let software = self.config.software.as_deref();
        let sent = asker.answer(out, Class::Success, Some(signer), &|writer| {
            write(writer);
            if let Some(software) = software {
                writer.string(kind::SOFTWARE, software);
            }
        });
        self.count_answer(sent);
    }

    /// Answers an authenticated request with an error.
    pub(super) fn refuse(&mut self, asker: Asker, signer: &Authenticated, code: u16, out: &mut dyn Outbox) {
        let sent = asker.answer(out, Class::Error, Some(signer), &|writer| {
            writer.error(code);
        });
        self.count_answer(sent);
    }
}
