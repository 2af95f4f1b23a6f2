mod answer;
mod config;
mod data;
mod event;
mod hint;
mod lane;
mod mobility;
mod peers;
mod relayed;
mod request;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Path, Rng, Time, Timers, Transport, unmapped};
use stun::credential::{AccessToken, LongTerm};
use stun::transaction::{Timing, Transactions};
use stun::{AttributeKind, Class, Message, MessageWriter, Method, Packet, TransactionId, kind};

pub use config::{ClientConfig, Credentials};
pub use data::{DataConnection, Joining};
pub use event::ClientEvent;
pub use lane::Lane;
pub use mobility::Immobile;

use crate::attribute::{Family, plain};
use crate::channel::{CHANNEL_DATA_HEADER, parse_channel_data};
use crate::error::{Stage, TurnError};
use crate::indication::{data_range, indication_overhead};
use lane::Header;
use peers::{Peers, Permit};
use relayed::Relayed;
use request::{Asked, Request};

/// Requests that wait for their answers at one time: "a client SHOULD limit the number of outstanding transactions to
/// the same server to ten" (RFC 8489 §6.2.1).
const MAX_OUTSTANDING: usize = 10;
/// Comprehension-required attributes that answers may have.
const KNOWN: &[AttributeKind] = &[
    kind::XOR_RELAYED_ADDRESS,
    kind::LIFETIME,
    kind::RESERVATION_TOKEN,
    kind::XOR_PEER_ADDRESS,
    kind::CONNECTION_ID,
];

/// One allocation over one path to one server: asks for a relayed address, keeps it, and carries packets to and
/// from peers through it.
///
/// It belongs to a machine that owns the path, an ICE agent for example. That machine hands it
///
/// * everything that comes in on the path, by [`Client::open`];
/// * the time, by [`Client::handle_timeout`], when [`Client::poll_timeout`] says;
/// * an outbox, in [`Client::poll_transmit`];
///
/// and learns what happened from [`Client::poll_event`]. The allocation is asked for at once. A peer has to be
/// named with [`Client::permit`] before packets go either way; then [`Client::lane`] is the way to it.
///
/// A client ends with [`ClientEvent::Failed`], [`ClientEvent::Redirected`] or [`ClientEvent::Closed`], and is
/// quiet afterwards. An allocation that the server has lost (a restart, say) is not asked for again: its address
/// was known to peers, and the next one would be another.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    state: State,
    long_term: LongTerm,
    transactions: Transactions<Asked>,
    /// What will be asked when fewer requests are outstanding.
    waiting: VecDeque<Request>,
    peers: Peers,
    timers: Timers<Timer>,
    /// What moves the allocation to another path.
    ticket: Option<Vec<u8>>,
    /// The path that it is being moved to; the path that it is on if a NAT has given us another address.
    moving: Option<Path>,
    /// How often it was moved without leaving its path, since the server last knew us as we were.
    returns: u8,
    /// Whether something was sent since the last keep-alive was due.
    active: bool,
    keepalive_due: bool,
    events: VecDeque<ClientEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for an allocation.
    Allocating,
    /// Relaying.
    Allocated { relayed: Relayed },
    /// Giving the allocation back, or waiting for one in order to give it back.
    Leaving,
    /// At its end.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Refresh,
    Permission(IpAddr),
    Keepalive,
}

/// What [`Client::open`] found in a packet from the server's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A peer's packet, which was delivered.
    Data,
    /// The client's own business: an answer, or something that it dropped.
    Control,
    /// Not for this client: a STUN answer to a request that it did not send, or another protocol altogether.
    Other,
}

impl Client {
    /// A client that asks for an allocation right away.
    pub fn new(now: Time, config: ClientConfig) -> Self {
        let mut long_term = LongTerm::new(&config.credentials.username, &config.credentials.password);
        if let Some(token) = config.token.clone() {
            long_term = long_term.with_token(token);
        }
        let mut client = Self {
            rng: Rng::new(config.seed),
            long_term,
            state: State::Allocating,
            transactions: Transactions::new(Timing::default(), KNOWN),
            waiting: VecDeque::new(),
            peers: Peers::new(),
            timers: Timers::default(),
            ticket: None,
            moving: None,
            returns: 0,
            active: false,
            keepalive_due: false,
            events: VecDeque::new(),
            config,
        };
        client.ask(now, Asked { request: Request::Allocate, times: 1 });
        client
    }

    /// Takes a packet that came in on the server's path; on streams, one frame.
    ///
    /// What a peer sent is handed to `deliver` with the peer's address, where it lies. Delivered are packets of
    /// permitted addresses only, from any of their ports.
    pub fn open(
        &mut self,
        now: Time,
        payload: &mut [u8],
        deliver: &mut dyn FnMut(SocketAddr, &mut [u8]),
    ) -> Opened {
        let (peer, data) = match stun::classify(payload) {
            Packet::ChannelData => {
                let Some((number, data)) = parse_channel_data(payload) else { return Opened::Control };
                let Some(peer) = self.peers.peer(number) else { return Opened::Control };
                (peer, data)
            }
            Packet::Stun => {
                let Ok(message) = Message::parse(payload) else { return Opened::Other };
                match (message.class(), message.method()) {
                    (Class::Indication, Method::DATA) => {}
                    (Class::Indication, Method::CONNECTION_ATTEMPT) => {
                        self.handle_attempt(&message);
                        return Opened::Control;
                    }
                    (Class::Success | Class::Error, _) => return self.handle_response(now, &message),
                    _ => return Opened::Other,
                }
                let Some(peer) = message.xor_address(kind::XOR_PEER_ADDRESS) else { return Opened::Control };
                let Some(data) = data_range(&message) else {
                    self.handle_icmp(peer, &message);
                    return Opened::Control;
                };
                (peer, data)
            }
            _ => return Opened::Other,
        };
        if !matches!(self.state, State::Allocated { .. }) || !self.peers.expects(peer.ip()) {
            return Opened::Control;
        }
        deliver(peer, &mut payload[data]);
        Opened::Data
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.transactions.handle_timeout(now);
        self.settle(now);
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Refresh => self.ask(now, Asked { request: Request::Refresh, times: 1 }),
                Timer::Permission(address) => self.renew(now, address),
                Timer::Keepalive => {
                    self.keepalive_due = !std::mem::take(&mut self.active);
                    if let Some(interval) = self.keepalive_interval() {
                        self.timers.set(Timer::Keepalive, now + interval);
                    }
                }
            }
        }
        self.start_waiting(now);
    }

    /// Writes requests and keep-alives that are ready to be sent.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        let room = out.room();
        self.transactions.poll_transmit(now, out);
        self.active |= out.room() != room;
        if std::mem::take(&mut self.keepalive_due) && !self.active {
            // A Binding indication, which nobody answers (RFC 8489 §6.3.2). If there is no room, something was sent.
            let id = TransactionId::random(&mut self.rng);
            out.send(self.config.server, stun::HEADER_BYTES, &mut |buffer| {
                MessageWriter::new(buffer, Class::Indication, Method::BINDING, id).finish().unwrap_or(0)
            });
        }
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.transactions.poll_timeout(), self.timers.next()].into_iter().flatten().min()
    }

    /// Asks that packets may be exchanged with `peer`: a permission, and then a channel. Both are kept up until
    /// [`Client::forget`].
    ///
    /// Answered by [`ClientEvent::PermissionGranted`] or [`ClientEvent::PermissionRefused`]. May be called before
    /// there is an allocation. A peer of a family without a relayed address is refused at once.
    pub fn permit(&mut self, now: Time, peer: SocketAddr) {
        let peer = plain(unmapped(peer));
        if matches!(self.state, State::Leaving | State::Over) {
            return;
        }
        let family = Family::of(peer.ip());
        let reachable = match self.state {
            State::Allocated { relayed } => relayed.of(family).is_some(),
            _ => self.config.families.include(family),
        };
        if !reachable {
            return self.out_of_reach(peer);
        }
        let permit = self.peers.permit(peer);
        if !matches!(self.state, State::Allocated { .. }) {
            return;
        }
        match permit {
            Permit::Ask => self.want(Request::Permission(peer.ip())),
            Permit::Asked => {}
            Permit::Granted => {
                self.events.push_back(ClientEvent::PermissionGranted(peer));
                self.want_channel(now, peer);
            }
        }
        self.start_waiting(now);
    }

    /// Lets permission and channel of `peer` lapse.
    pub fn forget(&mut self, peer: SocketAddr) {
        let peer = plain(unmapped(peer));
        self.peers.forget(peer);
        if !self.peers.expects(peer.ip()) {
            self.timers.stop(Timer::Permission(peer.ip()));
        }
    }

    /// The way to `peer`; `None` unless its permission is granted or being asked for.
    ///
    /// Nobody has to wait for [`ClientEvent::PermissionGranted`]: what is written after [`Client::poll_transmit`] follows the
    /// request, and arrives unless that is lost, refused or overtaken. It saves a round trip to the server.
    pub fn lane<'a>(&'a mut self, peer: SocketAddr, out: &'a mut dyn Outbox) -> Option<Lane<'a>> {
        if !self.has_lane(peer) {
            return None;
        }
        let peer = plain(unmapped(peer));
        let header = match self.peers.channel(peer) {
            Some(number) => Header::Channel(number),
            None => Header::Send { peer, rng: &mut self.rng, whole: false },
        };
        Some(Lane { out, server: self.config.server, header, active: &mut self.active })
    }

    /// Whether there is a [`Client::lane`] to `peer`.
    pub fn has_lane(&self, peer: SocketAddr) -> bool {
        matches!(self.state, State::Allocated { .. }) && self.peers.is_asked(plain(unmapped(peer)).ip())
    }

    /// The way to `peer` for datagrams that are not to be fragmented behind the server, for finding out what fits. By Send
    /// indications with DONT-FRAGMENT, whatever the channels: 4 bytes more than those without. What is too large comes
    /// back as [`ClientEvent::PeerUnreachable`], if somebody on the way says so.
    ///
    /// `None` unless the permission is granted, and the server has said that it can ([`ClientConfig::dont_fragment`]).
    pub fn whole_lane<'a>(&'a mut self, peer: SocketAddr, out: &'a mut dyn Outbox) -> Option<Lane<'a>> {
        let peer = plain(unmapped(peer));
        let is_allocated = matches!(self.state, State::Allocated { .. });
        if !is_allocated || !self.config.dont_fragment || !self.peers.is_permitted(peer.ip()) {
            return None;
        }
        let header = Header::Send { peer, rng: &mut self.rng, whole: true };
        Some(Lane { out, server: self.config.server, header, active: &mut self.active })
    }

    /// Bytes that the relay's header costs a packet to `peer`: 4 with a channel, otherwise 36 (IPv4) or 48
    /// (IPv6). Padding to a multiple of 4 comes on top, with a channel on streams only.
    pub fn overhead(&self, peer: SocketAddr) -> usize {
        match self.peers.channel(plain(unmapped(peer))) {
            Some(_) => CHANNEL_DATA_HEADER,
            None => indication_overhead(unmapped(peer)),
        }
    }

    /// Asks the server to connect to `peer` from the relayed address (RFC 6062 §4.3). Answered by
    /// [`ClientEvent::PeerConnected`] or [`ClientEvent::PeerRefused`]. Without an allocation of that sort
    /// ([`ClientConfig::streams`]) it does nothing.
    pub fn connect(&mut self, now: Time, peer: SocketAddr) {
        if self.config.streams && matches!(self.state, State::Allocated { .. }) {
            self.want(Request::Connect(plain(unmapped(peer))));
            self.start_waiting(now);
        }
    }

    /// Makes of another stream to the server, `path`, the client's end of a connection that [`ClientEvent::PeerConnected`]
    /// or [`ClientEvent::PeerConnecting`] has named.
    pub fn data_connection(&mut self, now: Time, path: Path, connection: u32) -> DataConnection {
        DataConnection::new(now, path, connection, self.long_term.clone(), self.rng.fork())
    }

    /// The relayed address, while there is one; of two the one for peers with IPv4.
    pub fn relayed(&self) -> Option<SocketAddr> {
        match self.state {
            State::Allocated { relayed } => Some(relayed.first),
            _ => None,
        }
    }

    /// Whether there is an allocation that can be taken along, see [`Client::migrate`].
    pub fn is_mobile(&self) -> bool {
        matches!(self.state, State::Allocated { .. }) && self.ticket.is_some()
    }

    /// Asks the server whether the allocation is still ours. For when nothing comes from peers any more: a NAT on the way
    /// may have given us another address, by which the server does not know us. Then the allocation moves there
    /// ([`ClientEvent::Moved`]), if it can.
    pub fn make_sure(&mut self, now: Time) {
        let is_asked = |asked: &Asked| matches!(asked.request, Request::Refresh | Request::Move);
        if matches!(self.state, State::Allocated { .. })
            && !self.transactions.tokens().any(|(_, asked)| is_asked(asked))
        {
            self.want(Request::Refresh);
            self.start_waiting(now);
        }
    }

    /// The server's realm, once it has asked for credentials.
    pub fn realm(&self) -> Option<&str> {
        self.long_term.realm()
    }

    /// The name by which authorization servers know this one, once it has asked for credentials, if it takes access tokens
    /// (RFC 7635 §6.1). A token is made for that name.
    pub fn third_party(&self) -> Option<&str> {
        self.long_term.third_party()
    }

    /// Shows the server another access token before the one that it knows expires, by a Refresh. Without an allocation it
    /// does nothing.
    pub fn renew_token(&mut self, now: Time, token: AccessToken) {
        if !matches!(self.state, State::Allocated { .. }) {
            return;
        }
        // The answer to one with the old token would be taken for the answer to this one.
        for id in self.outstanding(|request| request == Request::Refresh) {
            self.transactions.cancel(id);
        }
        self.long_term.renew(token);
        self.ask(now, Asked { request: Request::Refresh, times: 1 });
    }

    /// The way to the server.
    pub fn server(&self) -> Path {
        self.config.server
    }

    /// Gives the allocation back. Ends with [`ClientEvent::Closed`], once the server knows or does not answer; who
    /// does not want to wait for that may drop the client after the next [`Client::poll_transmit`].
    pub fn close(&mut self, now: Time) {
        match self.state {
            State::Allocating => {
                self.state = State::Leaving;
                self.peers = Peers::new();
            }
            State::Allocated { .. } => {
                self.end();
                self.state = State::Leaving;
                self.ask(now, Asked { request: Request::Delete, times: 1 });
            }
            State::Leaving | State::Over => {}
        }
    }

    /// The path to the server is gone: a broken stream, a closed socket. Ends with [`ClientEvent::Failed`], whose
    /// reason is `reason`.
    pub fn path_lost(&mut self, _now: Time, reason: &str) {
        let hint = hint::for_silence(self.config.server.transport == Transport::Udp).to_owned();
        self.fail(TurnError { code: None, reason: reason.to_owned(), stage: Stage::Connection, hint });
    }

    /// There is no relayed address of its family.
    fn out_of_reach(&mut self, peer: SocketAddr) {
        let reason = format!("there is no relayed address with {}", Family::of(peer.ip()));
        self.events.push_back(ClientEvent::PermissionRefused { peer, code: Some(443), reason });
    }

    /// A packet to `peer` came back as an ICMP error (RFC 8656 §11.6, §18.13).
    fn handle_icmp(&mut self, peer: SocketAddr, message: &Message<'_>) {
        if let Some(&[_, _, icmp_type, icmp_code, ref data @ ..]) = message.raw(kind::ICMP)
            && let Ok(data) = data.try_into()
            && self.peers.expects(peer.ip())
        {
            let data = u32::from_be_bytes(data);
            self.events.push_back(ClientEvent::PeerUnreachable { peer, icmp_type, icmp_code, data });
        }
    }

    /// A peer has connected to the relayed address (RFC 6062 §4.4).
    fn handle_attempt(&mut self, message: &Message<'_>) {
        let (peer, connection) =
            (message.xor_address(kind::XOR_PEER_ADDRESS), message.u32(kind::CONNECTION_ID));
        if let (Some(peer), Some(connection)) = (peer, connection)
            && self.config.streams
            && self.peers.expects(peer.ip())
        {
            self.events.push_back(ClientEvent::PeerConnecting { peer, connection });
        }
    }

    /// Asks for a permission's next five minutes: by its channels, which cost no more and renew those too.
    fn renew(&mut self, now: Time, address: IpAddr) {
        let peers: Vec<SocketAddr> = self.peers.at(address).collect();
        let channels = peers.into_iter().filter(|peer| self.want_channel(now, *peer)).count();
        if channels == 0 {
            self.want(Request::Permission(address));
        }
    }

    /// Asks as soon as there is a place among the outstanding requests.
    fn want(&mut self, request: Request) {
        if !self.waiting.contains(&request) {
            self.waiting.push_back(request);
        }
    }

    fn start_waiting(&mut self, now: Time) {
        while self.transactions.len() < MAX_OUTSTANDING && !self.is_returning() {
            let Some(request) = self.waiting.pop_front() else { return };
            // The owner may have lost interest.
            let wanted = match request {
                Request::Permission(address) => self.peers.expects(address),
                Request::Channel(peer, _) => self.peers.wants(peer),
                _ => true,
            };
            if wanted {
                self.ask(now, Asked { request, times: 1 });
            }
        }
    }

    fn ask(&mut self, now: Time, asked: Asked) {
        if let Request::Permission(address) = asked.request {
            self.peers.asked(address);
        }
        let path = self.moving.filter(|_| asked.request == Request::Move).unwrap_or(self.config.server);
        let mut request = stun::transaction::Request::new(path, asked.request.method());
        request.rto = self.config.rto;
        let presents = asked.request.presents_token();
        request.protection = if presents { self.long_term.presented() } else { self.long_term.protection() };
        let (config, long_term, ticket) = (&self.config, &self.long_term, self.ticket.as_deref());
        let started = self.transactions.start(now, &mut self.rng, request, asked, |writer| {
            asked.request.write(config, ticket, writer);
            match presents {
                true => long_term.present(writer),
                false => long_term.sign(writer),
            }
        });
        if started.is_err() {
            let reason = "username, realm and nonce do not fit into a request".to_owned();
            let hint = "Use a shorter username.".to_owned();
            self.fail(TurnError { code: None, reason, stage: asked.request.stage(), hint });
        }
    }

    fn keepalive_interval(&self) -> Option<Duration> {
        self.config.keepalive.filter(|_| !self.config.server.transport.is_stream())
    }

    /// The end that nobody asked for.
    fn fail(&mut self, error: TurnError) {
        match self.state {
            State::Over => {}
            State::Leaving => self.closed(),
            State::Allocating | State::Allocated { .. } => {
                self.end();
                self.events.push_back(ClientEvent::Failed(error));
            }
        }
    }

    /// The end that the owner asked for.
    fn closed(&mut self) {
        if self.state != State::Over {
            self.end();
            self.events.push_back(ClientEvent::Closed);
        }
    }

    /// Forgets everything but what the owner has not yet been told.
    fn end(&mut self) {
        self.state = State::Over;
        self.transactions = Transactions::new(Timing::default(), KNOWN);
        self.waiting.clear();
        self.peers = Peers::new();
        self.timers.clear();
        (self.ticket, self.moving, self.returns) = (None, None, 0);
        self.keepalive_due = false;
    }
}
