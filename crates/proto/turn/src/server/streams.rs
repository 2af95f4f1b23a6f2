//! Relayed addresses that peers connect to, and that connect to peers (RFC 6062).
//!
//! An allocation of this sort belongs to a *control connection*. For each connection with a peer the client opens a *data
//! connection* of its own to the server and names the peer's by number; from then on the owner of the machine joins the
//! two, and no byte of them is seen here.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Path, Rng, Ticket, Time, Transport};
use stun::credential::Authenticated;
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};

use super::allocate::{Outcome, Reply};
use super::allocation::AllocationId;
use super::answer::{ANSWER_ROOM, Asker};
use super::bandwidth::Direction;
use super::policy::Denial;
use super::{Drop, Due, Server};
use crate::attribute::{Family, plain};

/// How long a connection to a peer may take: "at least 30 seconds" (RFC 6062 §5.2).
const DIALING: Duration = Duration::from_secs(30);
/// How long a connection with a peer waits for the client's: 30 seconds (RFC 6062 §5.2, §5.3).
const WAITING: Duration = Duration::from_secs(30);

/// The number of a peer's connection (RFC 6062 §6.2.1).
pub(super) type ConnectionId = u32;

/// What the machine wants to have done with the connections of peers. Their path has a relayed address for its local one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOp {
    /// Listen for peers. Answered by [`StreamNews::Listening`] or [`StreamNews::NotListening`].
    Listen {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The address to listen on.
        local: SocketAddr,
    },
    /// Listen no more. Not answered.
    Unlisten {
        /// The address.
        local: SocketAddr,
    },
    /// Connect to a peer, from an address that is listened on. Answered by [`StreamNews::Connected`] or
    /// [`StreamNews::Ended`].
    Connect {
        /// From where, and to whom.
        path: Path,
    },
    /// Whatever comes by either goes out by the other from now on, as it is, beginning with what has not been read yet. The
    /// machine has written its last message to the client by then; it is to be sent first. Ends with
    /// [`StreamNews::Ended`].
    Splice {
        /// The peer's connection.
        peer: Path,
        /// The client's.
        client: Path,
        /// Whether what goes by them has to be asked for, with [`StreamNews::Wants`].
        metered: bool,
    },
    /// The limits have changed. What was granted to a connection that is joined is no longer; what goes by it has to be
    /// asked for from now on, or need not any more. Not answered.
    Meter {
        /// The peer's connection.
        peer: Path,
        /// Whether it has to.
        metered: bool,
    },
    /// So much more may go by a joined connection, or nothing, and it may ask again later. The answer to
    /// [`StreamNews::Wants`]; not answered.
    Grant {
        /// The peer's connection.
        peer: Path,
        /// Which way.
        direction: Direction,
        /// How much.
        bytes: u64,
        /// After so much time it may ask for more.
        after: Duration,
    },
    /// Close a peer's connection, and the client's that it is joined with. Not answered.
    Close {
        /// The peer's.
        path: Path,
    },
}

/// What became of the connections of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamNews {
    /// Peers can connect.
    Listening {
        /// That of the wish.
        ticket: Ticket,
        /// The address with its real port.
        local: SocketAddr,
    },
    /// They cannot.
    NotListening {
        /// That of the wish.
        ticket: Ticket,
    },
    /// A peer has connected. Nothing is read from it before it is told to.
    Accepted {
        /// The relayed address, and the peer's.
        path: Path,
    },
    /// The connection to a peer is there. Nothing is read from it before it is told to.
    Connected {
        /// As it was wished for.
        path: Path,
    },
    /// So many bytes went each way since this was last told.
    Carried {
        /// The peer's connection.
        path: Path,
        /// To the peer.
        to_peer: u64,
        /// To the client.
        to_client: u64,
    },
    /// A joined connection that is metered has something to carry, and may carry no more. Answered by
    /// [`StreamOp::Grant`].
    Wants {
        /// The peer's connection.
        path: Path,
        /// Which way.
        direction: Direction,
    },
    /// There is no connection, or no longer.
    Ended {
        /// The peer's.
        path: Path,
    },
}

/// All connections with peers.
#[derive(Debug, Default)]
pub(super) struct Streams {
    connections: BTreeMap<ConnectionId, Connection>,
    by_path: BTreeMap<Path, ConnectionId>,
    by_client: BTreeMap<Path, ConnectionId>,
    ops: VecDeque<StreamOp>,
    /// Those whose clients are to be told that a peer has connected.
    attempts: VecDeque<ConnectionId>,
}

#[derive(Debug)]
struct Connection {
    allocation: AllocationId,
    path: Path,
    /// As others know it.
    peer: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The client waits for it.
    Dialing { asker: Asker, signer: Authenticated },
    /// It waits for the client.
    Waiting,
    /// Joined with the client's.
    Joined { client: Path },
}

impl Streams {
    pub(super) fn wish(&mut self, op: StreamOp) {
        self.ops.push_back(op);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.connections.is_empty()
            && self.by_path.is_empty()
            && self.by_client.is_empty()
            && self.ops.is_empty()
            && self.attempts.is_empty()
    }

    fn of(&self, allocation: AllocationId) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        let all = self.connections.iter().map(|(id, connection)| (*id, connection));
        all.filter(move |(_, connection)| connection.allocation == allocation)
    }

    fn add(&mut self, rng: &mut Rng, connection: Connection) -> ConnectionId {
        // Random, so that nobody binds what he was not told of.
        let id = loop {
            let id = u32::from_be_bytes(rng.bytes());
            if !self.connections.contains_key(&id) {
                break id;
            }
        };
        self.by_path.insert(connection.path, id);
        self.connections.insert(id, connection);
        id
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.by_path.remove(&connection.path);
        if let State::Joined { client } = connection.state {
            self.by_client.remove(&client);
        }
        self.attempts.retain(|attempt| *attempt != id);
        Some(connection)
    }

    /// The allocation whose connection a ConnectionBind request names.
    pub(super) fn holder(&self, request: &Message<'_>) -> Option<AllocationId> {
        if request.method() != Method::CONNECTION_BIND {
            return None;
        }
        let id = request.u32(kind::CONNECTION_ID)?;
        self.connections.get(&id).map(|connection| connection.allocation)
    }
}

impl Server {
    /// The next wish about connections of peers. Do it before what the machine has written is sent. There are none
    /// unless [`ServerConfig::tcp_relay`](crate::ServerConfig::tcp_relay) is set.
    pub fn poll_stream(&mut self) -> Option<StreamOp> {
        self.streams.ops.pop_front()
    }

    /// Takes what became of a wish, or what a peer did.
    pub fn handle_stream(&mut self, now: Time, news: StreamNews) {
        match news {
            StreamNews::Listening { ticket, local } => self.bound(now, ticket, local),
            StreamNews::NotListening { ticket } => self.bind_failed(now, ticket),
            StreamNews::Accepted { path } => self.accepted(now, path),
            StreamNews::Connected { path } => self.dialed(now, path),
            StreamNews::Carried { path, to_peer, to_client } => self.spliced(path, to_peer, to_client),
            StreamNews::Wants { path, direction } => self.stream_wants(now, path, direction),
            StreamNews::Ended { path } => {
                if let Some(id) = self.streams.by_path.get(&path).copied() {
                    self.hang_up(id);
                }
            }
        }
    }

    /// RFC 6062 §5.2. `Ok`: it is answered later.
    pub(super) fn connect(
        &mut self,
        now: Time,
        id: AllocationId,
        (asker, signer): (Asker, &Authenticated),
        request: &Message<'_>,
    ) -> Result<(), u16> {
        let peer = request.xor_address(kind::XOR_PEER_ADDRESS).map(plain).filter(|peer| peer.port() != 0);
        let peer = peer.ok_or(400u16)?;
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        if !allocation.seats.are_streams() {
            return Err(400);
        }
        let seat = *allocation.seats.get(Family::of(peer.ip())).ok_or(443u16)?;
        let target = self.reach_by_stream(peer);
        let denial = target.map(|_| ());
        self.forbid(id, peer.ip(), denial)?;
        let remote = target.map_err(|_| 403u16)?;
        if self.streams.of(id).any(|(_, connection)| connection.peer == peer) {
            return Err(446);
        }
        if self.streams.of(id).count() >= self.config.quotas.connections {
            return Err(508);
        }
        let path = Path::new(Transport::Tcp, seat.local, remote);
        if self.streams.by_path.contains_key(&path) {
            return Err(446);
        }
        let state = State::Dialing { asker, signer: signer.clone() };
        let connection = Connection { allocation: id, path, peer, state };
        let id = self.streams.add(&mut self.rng, connection);
        self.timers.set(Due::Connection(id), now + DIALING);
        self.streams.wish(StreamOp::Connect { path });
        Ok(())
    }

    /// Where to connect to for `peer`, if it may be reached.
    fn reach_by_stream(&self, peer: SocketAddr) -> Result<SocketAddr, Denial> {
        match self.allocations.stream_by_relayed(peer) {
            // Another allocation of ours, behind the NAT that may be in front of us.
            Some(local) => Ok(local),
            None if !self.is_foreign(peer.ip()) => Err(Denial::Own),
            None => self.reach(peer).map(|_| peer),
        }
    }

    /// The connection that a client has asked for is there.
    fn dialed(&mut self, now: Time, path: Path) {
        let id = self.streams.by_path.get(&path).copied();
        let connection = id.and_then(|id| Some((id, self.streams.connections.get_mut(&id)?)));
        let Some((id, connection)) = connection else {
            return self.streams.wish(StreamOp::Close { path });
        };
        if let State::Dialing { asker, signer } = std::mem::replace(&mut connection.state, State::Waiting) {
            self.timers.set(Due::Connection(id), now + WAITING);
            self.replies.push_back(Reply { asker, signer, outcome: Outcome::Connected(id) });
        }
    }

    /// A peer has connected to a relayed address (RFC 6062 §5.3).
    fn accepted(&mut self, now: Time, path: Path) {
        let holder = self.allocations.stream_by_local(path.local);
        // One of our own relayed addresses goes by its other name.
        let peer = self.allocations.relayed_of_stream(path.remote).unwrap_or_else(|| plain(path.remote));
        let permitted =
            |allocation: &mut super::allocation::Allocation| allocation.permissions.allows(now, peer.ip());
        let known = self.streams.by_path.contains_key(&path);
        let full = holder.is_some_and(|id| self.streams.of(id).count() >= self.config.quotas.connections);
        let own = self.allocations.relayed_of_stream(path.remote).is_none() && !self.is_foreign(peer.ip());
        let holder = holder.filter(|id| self.allocations.by_id(*id).is_some_and(permitted));
        let Some(allocation) = holder.filter(|_| !known && !full && !own) else {
            self.counters.drop(if own { Drop::Own } else { Drop::NoPermission });
            return self.streams.wish(StreamOp::Close { path });
        };
        let connection = Connection { allocation, path, peer, state: State::Waiting };
        let id = self.streams.add(&mut self.rng, connection);
        self.timers.set(Due::Connection(id), now + WAITING);
        self.streams.attempts.push_back(id);
    }

    /// RFC 6062 §5.4. The client's connection is a data connection from now on.
    pub(super) fn join(
        &mut self,
        asker: Asker,
        request: &Message<'_>,
        signer: &Authenticated,
        out: &mut dyn Outbox,
    ) {
        if let Err(code) = self.may_join(asker.client, request, signer) {
            return self.refuse(asker, signer, code, out);
        }
        let Some(id) = request.u32(kind::CONNECTION_ID) else { return };
        let Some(connection) = self.streams.connections.get_mut(&id) else { return };
        connection.state = State::Joined { client: asker.client };
        let (peer, client) = (connection.path, asker.client);
        self.streams.by_client.insert(client, id);
        self.timers.stop(Due::Connection(id));
        self.succeed(asker, signer, out, &|_: &mut MessageWriter<'_>| {});
        let metered = self.is_metered();
        self.streams.wish(StreamOp::Splice { peer, client, metered });
    }

    /// Streams and datagrams of a user have one measure.
    fn stream_wants(&mut self, now: Time, peer: Path, direction: Direction) {
        let connection = self.streams.by_path.get(&peer).and_then(|id| self.streams.connections.get(id));
        let Some(id) = connection.map(|connection| connection.allocation) else { return };
        if let Some((bytes, after)) = self.grant(now, id, direction) {
            self.streams.wish(StreamOp::Grant { peer, direction, bytes, after });
        }
    }

    /// The limits may be others now.
    pub(super) fn meter_streams(&mut self) {
        let metered = self.is_metered();
        let Streams { connections, ops, .. } = &mut self.streams;
        let joined =
            connections.values().filter(|connection| matches!(connection.state, State::Joined { .. }));
        ops.extend(joined.map(|connection| StreamOp::Meter { peer: connection.path, metered }));
    }

    fn may_join(&mut self, from: Path, request: &Message<'_>, signer: &Authenticated) -> Result<(), u16> {
        // A control connection stays one.
        if !from.transport.is_stream() || self.allocations.by_client(from).is_some() {
            return Err(400);
        }
        let id = request.u32(kind::CONNECTION_ID).ok_or(400u16)?;
        let connection = self.streams.connections.get(&id).ok_or(400u16)?;
        let allocation = self.allocations.by_id(connection.allocation).ok_or(400u16)?;
        if allocation.username != signer.username {
            return Err(441);
        }
        if matches!(connection.state, State::Waiting) { Ok(()) } else { Err(400) }
    }

    /// A connection took too long: to be there, or to be joined.
    pub(super) fn connection_due(&mut self, id: ConnectionId) {
        self.close_stream(id);
    }

    /// The stream of a client's data connection has ended.
    pub(super) fn data_connection_ended(&mut self, client: Path) {
        if let Some(id) = self.streams.by_client.get(&client).copied() {
            self.close_stream(id);
        }
    }

    /// Closes all connections of an allocation that is no more.
    pub(super) fn close_streams(&mut self, allocation: AllocationId) {
        let ids: Vec<ConnectionId> = self.streams.of(allocation).map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.close_stream(id));
    }

    /// Closes those with peers that are not reached any more.
    pub(super) fn review_streams(&mut self, allocation: AllocationId) {
        let peers: Vec<(ConnectionId, IpAddr)> =
            self.streams.of(allocation).map(|(id, connection)| (id, connection.peer.ip())).collect();
        for (id, peer) in peers {
            if self.check_permission(peer).is_err() {
                self.close_stream(id);
            }
        }
    }

    fn close_stream(&mut self, id: ConnectionId) {
        if let Some(connection) = self.streams.connections.get(&id) {
            let path = connection.path;
            self.streams.wish(StreamOp::Close { path });
            self.hang_up(id);
        }
    }

    /// A connection with a peer is no more.
    fn hang_up(&mut self, id: ConnectionId) {
        self.timers.stop(Due::Connection(id));
        let Some(connection) = self.streams.remove(id) else { return };
        if let State::Dialing { asker, signer } = connection.state {
            self.replies.push_back(Reply { asker, signer, outcome: Outcome::Refused(447) });
        }
    }

    /// What went by a connection counts.
    fn spliced(&mut self, path: Path, to_peer: u64, to_client: u64) {
        self.counters.bytes_to_peers += to_peer;
        self.counters.bytes_to_clients += to_client;
        let connection = self.streams.by_path.get(&path).and_then(|id| self.streams.connections.get(id));
        if let Some(allocation) = connection.and_then(|it| self.allocations.by_id(it.allocation)) {
            allocation.bytes_to_peers += to_peer;
            allocation.bytes_to_client += to_client;
        }
    }

    /// Tells clients of the peers that have connected.
    pub(super) fn announce(&mut self, out: &mut dyn Outbox) {
        while out.room() >= ANSWER_ROOM {
            let Some(id) = self.streams.attempts.pop_front() else { return };
            let Some(connection) = self.streams.connections.get(&id) else { continue };
            let peer = connection.peer;
            let Some(allocation) = self.allocations.by_id(connection.allocation) else { continue };
            let transaction = TransactionId(self.rng.bytes());
            let Some(client) = allocation.destination() else { continue };
            let sent = out.send(client, ANSWER_ROOM, &mut |buffer| {
                let method = Method::CONNECTION_ATTEMPT;
                MessageWriter::new(buffer, Class::Indication, method, transaction)
                    .u32(kind::CONNECTION_ID, id)
                    .xor_address(kind::XOR_PEER_ADDRESS, peer)
                    .finish()
                    .unwrap_or(0)
            });
            self.count_answer(sent);
        }
    }
}
