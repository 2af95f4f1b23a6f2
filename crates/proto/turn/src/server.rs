mod accounts;
mod allocate;
mod allocation;
mod answer;
mod anycast;
mod bandwidth;
mod channels;
mod cidr;
mod config;
mod counters;
mod event;
mod flow;
mod icmp;
mod login;
mod lookup;
mod mobility;
mod operation;
mod permission;
mod permit;
mod policy;
mod ports;
mod quota;
mod relaying;
mod request;
mod reservation;
mod session;
mod sharing;
mod streams;
mod ticket;
mod wish;

use std::collections::{BTreeMap, VecDeque};

use sansio::{
    Datagram, KeyedHash, Machine, Outbox, Path, Rng, SocketOp, SocketReply, Ticket, Time, Transport, Wheel,
};
use stun::credential::{Authenticator, AuthenticatorConfig};
use stun::server::{AMPLIFICATION, Partner, Throttle};
use stun::{Class, Message, Method, Packet};

pub use allocation::AllocationId;
pub use bandwidth::Direction;
pub use cidr::{Cidr, CidrError};
pub use config::{Auth, ConfigError, OtherServer, RelayAddress, ServerConfig, User};
pub use counters::{Counters, Drop, LoginFailure};
pub use event::{EndReason, ServerEvent};
pub use flow::{Flow, Framing, Passage};
pub use icmp::IcmpError;
pub use lookup::{LookupId, LookupRules, Verdict};
pub use permit::Permit;
pub use policy::{Denial, PeerPolicy};
pub use quota::Quotas;
pub use session::ThirdParty;
pub use streams::{StreamNews, StreamOp};

use accounts::Accounts;
use allocate::{Pending, Reply};
use allocation::Allocations;
use bandwidth::Meters;
use lookup::Lookups;
use operation::Intake;
use ports::Ports;
use quota::Usage;
use reservation::{Reservation, Reservations, Token};
use sharing::Sharing;
use streams::{ConnectionId, Streams};
use ticket::Tickets;

use crate::attribute::Family;

/// Events that the owner has not fetched; more are not told.
const MAX_EVENTS: usize = 10_000;

/// Bytes of the smallest Allocate request that is in order: a header and REQUESTED-TRANSPORT. The challenge must be small
/// enough to answer it, whoever may really have sent it.
const SMALLEST_ALLOCATE: usize = 20 + 8;

/// Something has no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Full;

/// What a timer is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    /// A relayed address, a permission or a channel of this allocation ends.
    Allocation(AllocationId),
    /// A reserved port that nobody came for is free again.
    Reservation(Token),
    /// A question about a user stays without an answer.
    Lookup(LookupId),
    /// A connection with a peer takes too long.
    Connection(ConnectionId),
}

/// A TURN server, which is a STUN server too.
///
/// It is a [`Machine`] over [`Path`]s. Its owner listens for clients, hands in what comes, one message at a time,
/// and opens relay sockets when [`Machine::poll_socket`] asks for them. A datagram whose `path.local` is the
/// address of a relay socket is a peer's; every other is a client's. On streams, messages go in and come out as
/// they stand on the wire; when a stream ends the owner says so with [`SocketReply::Disconnected`].
///
/// Strangers cost it nothing: it remembers a client from its first authenticated Allocate request on, and not
/// before. What it tells strangers is small, and not often the same one.
///
/// Packets between two of its own allocations never leave it.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    rng: Rng,
    authenticator: Authenticator,
    accounts: Accounts,
    lookups: Lookups,
    throttle: Throttle,
    partner: Option<Partner>,
    usage: Usage,
    meters: Meters,
    /// The ports of each relay address.
    ports: Vec<Ports>,
    allocations: Allocations,
    pending: BTreeMap<Ticket, Pending>,
    pending_by_client: BTreeMap<Path, Ticket>,
    next_ticket: u64,
    reservations: Reservations,
    tickets: Tickets,
    streams: Streams,
    sharing: Sharing,
    timers: Wheel<Due>,
    sockets: VecDeque<SocketOp>,
    replies: VecDeque<Reply>,
    events: VecDeque<ServerEvent>,
    /// Allocations whose flows are to be forgotten.
    stale: VecDeque<AllocationId>,
    /// Permissions that came and went, for an owner who wants to know.
    permits: VecDeque<Permit>,
    counters: Counters,
    intake: Intake,
}

impl Server {
    /// A server without allocations.
    ///
    /// # Errors
    /// If nobody or everybody could use it, or it has nothing to relay from: see [`ConfigError`].
    pub fn new(config: ServerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = Rng::new(config.seed);
        let authenticator = Authenticator::new(AuthenticatorConfig {
            realm: config.realm.clone(),
            nonce_lifetime: config.nonce_lifetime,
            algorithms: request::ALGORITHMS.to_vec(),
            anonymous: false,
            third_party: config.auth.third_party.as_ref().map(|third| third.server_name.clone()),
            seed: rng.fork(),
        });
        if authenticator.challenge_bytes() > AMPLIFICATION * SMALLEST_ALLOCATE {
            return Err(ConfigError::Realm(config.realm));
        }
        let mut meters = Meters::default();
        meters.configure(&config.quotas);
        let mut lookups = Lookups::default();
        lookups.configure(config.auth.lookup.clone());
        let secret = config.alternate.zip(config.partner.clone());
        let partner = secret.map(|(alternate, secret)| Partner::new(alternate, secret, rng.fork()));
        let throttle = Throttle::new(config.quotas.unauthenticated_per_second, &mut rng);
        let hash = KeyedHash::new(&mut rng);
        Ok(Self {
            authenticator,
            accounts: Accounts::new(&config.realm, config.auth.clone()),
            lookups,
            partner,
            throttle,
            usage: Usage::default(),
            meters,
            ports: config.relay_addresses.iter().map(|_| Ports::new(config.ports.clone())).collect(),
            allocations: Allocations::new(&hash),
            pending: BTreeMap::new(),
            pending_by_client: BTreeMap::new(),
            next_ticket: 0,
            reservations: Reservations::default(),
            tickets: Tickets::new(&mut rng),
            streams: Streams::default(),
            sharing: Sharing::new(config.shared_port),
            timers: Wheel::new(hash),
            sockets: VecDeque::new(),
            replies: VecDeque::new(),
            events: VecDeque::new(),
            stale: VecDeque::new(),
            permits: VecDeque::new(),
            counters: Counters::default(),
            intake: Intake::Open,
            rng,
            config,
        })
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// Whether it keeps nothing for anybody: no allocation and none that is being made, no port, no timer, nothing to say.
    pub fn is_idle(&self) -> bool {
        self.allocations.is_empty()
            && self.pending.is_empty()
            && self.pending_by_client.is_empty()
            && self.reservations.len() == 0
            && self.ports.iter().all(Ports::all_free)
            && self.usage.is_empty()
            && self.meters.is_empty()
            && self.timers.next().is_none()
            && self.sockets.is_empty()
            && self.replies.is_empty()
            && self.lookups.is_idle()
            && self.streams.is_idle()
            && self.sharing.is_idle()
            && self.stale.is_empty()
            && self.permits.is_empty()
    }

    /// The port that all its allocations share, if they share one: a socket there is for all.
    pub fn shared_port(&self) -> Option<u16> {
        self.sharing.port()
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends all allocations.
    pub fn close(&mut self, now: Time) {
        self.allocations.ids().into_iter().for_each(|id| self.end(now, id, EndReason::Closed));
        self.pending.values_mut().for_each(Pending::abandon);
    }

    fn handle_stun(&mut self, now: Time, from: Path, message: &Message<'_>, out: &mut dyn Outbox) {
        if message.has_fingerprint() && !message.check_fingerprint() {
            return self.counters.drop(Drop::Malformed);
        }
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => self.handle_binding(now, from, message, out),
            (
                Class::Request,
                Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND,
            ) => self.handle_request(now, from, message, out),
            (Class::Request, Method::CONNECT | Method::CONNECTION_BIND) if self.config.tcp_relay => {
                self.handle_request(now, from, message, out);
            }
            (Class::Indication, Method::SEND) => self.handle_send(now, from, message, out),
            // A keep-alive: "indications never cause responses" (RFC 8489 §6.3.2). Or the other node, which wants somebody
            // answered.
            (Class::Indication, Method::BINDING) => {
                if let Some(partner) = &mut self.partner {
                    partner.handle(now, message, from, None, out);
                }
            }
            _ => self.counters.drop(Drop::Unexpected),
        }
    }

    /// Takes an allocation back, with all that hangs on it.
    fn end(&mut self, now: Time, id: AllocationId, reason: EndReason) {
        self.unsettle(id);
        self.close_streams(id);
        let Some(allocation) = self.allocations.remove(id) else { return };
        self.timers.stop(Due::Allocation(id));
        self.sharing.release(id);
        self.usage.release(&allocation.username, allocation.client.remote.ip());
        if self.usage.is_gone(&allocation.username) {
            self.meters.forget(&allocation.username);
        }
        self.tell_permits(&allocation.seats, allocation.permissions.addresses(), false);
        for seat in allocation.seats.iter() {
            self.free(seat);
        }
        self.tell(ServerEvent::AllocationEnded {
            id,
            username: allocation.username,
            client: allocation.client,
            relayed: allocation.seats.iter().map(|seat| seat.relayed).collect(),
            duration: now.since(allocation.created),
            peers: allocation.permissions.installed(),
            bytes_to_peers: allocation.bytes_to_peers,
            bytes_to_client: allocation.bytes_to_client,
            lost: allocation.lost,
            reason,
        });
    }

    /// Takes one relayed address back, and with the last one the allocation.
    fn end_seat(&mut self, now: Time, id: AllocationId, family: Family, reason: EndReason) {
        let Some(allocation) = self.allocations.by_id(id) else { return };
        if allocation.seats.iter().all(|seat| Family::of(seat.relayed.ip()) == family) {
            return self.end(now, id, reason);
        }
        let seats = allocation.seats;
        if let Some((seat, permitted)) = self.allocations.remove_seat(id, family) {
            self.tell_permits(&seats, permitted, false);
            self.free(&seat);
        }
        self.unsettle(id);
        self.arm(id);
    }

    /// Sets the timer of an allocation to the first that is due of what it has.
    fn arm(&mut self, id: AllocationId) {
        if let Some(expiry) = self.allocations.by_id(id).and_then(|allocation| allocation.next_expiry()) {
            self.timers.set(Due::Allocation(id), expiry);
        }
    }

    /// When an allocation ends at the latest that was made then.
    fn session_end(&self, created: Time) -> Option<Time> {
        self.config.quotas.session.map(|session| created + session)
    }

    /// What an allocation has that is due ends.
    fn expire(&mut self, now: Time, id: AllocationId) {
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let over = allocation.permissions.expire(now);
        allocation.channels.expire(now);
        let seats = allocation.seats;
        self.tell_permits(&seats, over, false);
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let created = allocation.created;
        let due = allocation.seats.iter().filter(|seat| seat.expiry <= now);
        let due: Vec<Family> = due.map(|seat| Family::of(seat.relayed.ip())).collect();
        let over = self.session_end(created).is_some_and(|end| end <= now);
        let reason = if over { EndReason::TimeIsUp } else { EndReason::Expired };
        due.into_iter().for_each(|family| self.end_seat(now, id, family, reason));
        self.arm(id);
    }

    fn tell(&mut self, event: ServerEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    fn count_answer(&mut self, sent: bool) {
        if !sent {
            self.counters.drop(Drop::NoRoom);
        }
    }
}

impl Machine for Server {
    type Addr = Path;
    type Event = ServerEvent;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let Datagram { from, payload } = datagram;
        if from.transport == Transport::Udp
            && let Some(id) = self.allocations.id_by_local(from.local)
        {
            return self.relay_from_peer(now, id, from.remote, payload, out);
        }
        if from.transport == Transport::Udp && self.sharing.has(from.local) {
            return self.relay_shared(now, from.local, from.remote, payload, out);
        }
        if !self.is_for_clients(from.local) {
            return self.counters.drop(Drop::NoAllocation);
        }
        match stun::classify(payload) {
            Packet::ChannelData => self.handle_channel_data(now, from, payload, out),
            Packet::Stun => match Message::parse(payload) {
                Ok(message) => self.handle_stun(now, from, &message, out),
                Err(_) => self.handle_classic(now, from, payload, out),
            },
            _ => self.counters.drop(Drop::Malformed),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some(due) = self.timers.expired(now) {
            match due {
                Due::Allocation(id) => self.expire(now, id),
                Due::Connection(id) => self.connection_due(id),
                Due::Lookup(id) => self.lookup_due(id),
                Due::Reservation(token) => {
                    if let Some(Reservation { relay, port }) = self.reservations.take(token) {
                        self.ports[relay].release(port);
                    }
                }
            }
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.resume(now, out);
        self.send_replies(now, out);
        self.announce(out);
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.sockets.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        match reply {
            SocketReply::Bound { ticket, local } => self.bound(now, ticket, local),
            SocketReply::Failed { ticket, .. } => self.bind_failed(now, ticket),
            SocketReply::Disconnected { path, .. } => self.disconnected(now, path),
            SocketReply::Connected { .. } | SocketReply::Resolved { .. } | SocketReply::Located { .. } => {}
        }
    }
}
