use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sansio::{
    Batches, Datagram, Machine as _, Path, Rng, SocketError, SocketOp, SocketReply, Time, Transport,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info};
use turn::{
    AllocationId, Flow, IcmpError, LookupId, Passage, Server, ServerEvent, StreamNews, StreamOp, Verdict,
};
use udp::{BareSocket, Config};

use crate::carrier::Authority;
use crate::connection::{Client, StreamEvent};
use crate::control::{Doings, Wish};
use crate::crew::{Crew, Letter};
use crate::flows::Carried;
use crate::journal::Journal;
use crate::losses::{Loss, Losses};
use crate::question::Inquiry;
use crate::sockets::{Role, Sockets};
use crate::streams::StreamOrder;

/// What the machine may write before it is sent: a bundle of tiny datagrams, each made longer by an
/// indication's header, is the most there is.
const OUT_BYTES: usize = 1 << 20;
/// Bytes that the system may hold for each direction of a relay socket.
const RELAY_BUFFER: usize = 1 << 20;

/// The machine, with its outbox and the streams: the authority of all shards.
pub(crate) struct Chief {
    server: Server,
    out: Batches,
    clients: HashMap<Path, Arc<Client>>,
    crew: Crew,
    inquiry: Inquiry,
    /// Where connections of peers are made and joined.
    streams: UnboundedSender<StreamOrder>,
    losses: Arc<Losses>,
    journal: Journal,
    /// The number of the next socket.
    next_socket: usize,
    /// Whether the machine was told something since [`Chief::has_news`] was asked.
    told: bool,
}

impl Chief {
    pub(crate) fn new(
        server: Server,
        crew: Crew,
        next_socket: usize,
        inquiry: Inquiry,
        streams: UnboundedSender<StreamOrder>,
        losses: Arc<Losses>,
        rng: &mut Rng,
    ) -> Self {
        let (out, clients, journal) = (Batches::new(OUT_BYTES), HashMap::new(), Journal::new(rng));
        Self { server, out, clients, crew, inquiry, streams, losses, journal, next_socket, told: true }
    }

    /// Whether the machine was told something since this was asked last, so that it may want something. What flows
    /// carry is nothing new to it.
    pub(crate) fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// When [`Chief::wake`] is due. Changes only with news.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.server.poll_timeout()
    }

    pub(crate) fn wake(&mut self, now: Time) {
        self.told = true;
        self.server.handle_timeout(now);
    }

    /// A stream has something.
    pub(crate) fn stream_has(&mut self, now: Time, event: StreamEvent, sockets: &mut Sockets) {
        self.told = true;
        match event {
            StreamEvent::Opened { path, client } => {
                debug!(%path, "connected");
                self.clients.insert(path, client);
            }
            StreamEvent::Received { path, frames } => frames.for_each(|payload| {
                self.server.handle_datagram(now, Datagram { from: path, payload }, &mut self.out);
                self.journal(now);
                self.flush(sockets);
            }),
            StreamEvent::Closed { path, end } => {
                let lost = self.clients.remove(&path).map_or(0, |client| client.outgoing.lost());
                debug!(%path, %end, lost, "disconnected");
                let error = SocketError::Other(end.to_string());
                self.server.handle_socket(now, SocketReply::Disconnected { path, error });
            }
            StreamEvent::Peer(news) => {
                if let StreamNews::Ended { path } = news {
                    let _ = self.streams.send(StreamOrder::Do(StreamOp::Close { path }));
                }
                self.server.handle_stream(now, news);
            }
        }
    }

    /// Does what the machine wants to have done after something happened to it on behalf of shard `of`.
    pub(crate) fn settle(&mut self, now: Time, of: usize, sockets: &mut Sockets) {
        while let Some(op) = self.server.poll_socket() {
            if let Some(reply) = self.perform(op, of, sockets) {
                self.server.handle_socket(now, reply);
            }
        }
        self.server.poll_transmit(now, &mut self.out);
        // Before anything is sent: a stream's client shall not have its answer before it counts as known.
        self.journal(now);
        self.flush(sockets);
        self.crew.rouse();
    }

    /// Somebody has said who a user is.
    pub(crate) fn answered(&mut self, now: Time, id: LookupId, verdict: Verdict) {
        self.told = true;
        self.server.answer(now, id, verdict, &mut self.out);
    }

    /// The operator has something.
    pub(crate) fn obey(&mut self, wish: Wish) {
        match wish {
            Wish::Tell(answer) => {
                let (allocations, counters) = (self.server.allocations(), self.server.counters().clone());
                let _ = answer.send(Doings { allocations, counters });
            }
            Wish::Apply(rules, answer) => {
                self.told = true;
                let taken = self.server.reconfigure(rules.auth, rules.policy, rules.quotas);
                if taken.is_ok() {
                    self.server.send_to(rules.others);
                }
                let _ = answer.send(taken);
            }
            Wish::Drain(alternate) => self.server.drain(alternate),
        }
    }

    /// An aide has something.
    pub(crate) fn read(&mut self, now: Time, letter: Letter, sockets: &mut Sockets) {
        match letter {
            Letter::Received { of, path, mut payload, passage } => {
                let flow = self.decide(now, Datagram { from: path, payload: &mut payload }, passage);
                if let (Some(flow), Some(passage)) = (flow, passage) {
                    self.crew.teach(of, passage, flow, sockets);
                }
                self.settle(now, of, sockets);
            }
            Letter::Carried(Carried { flow, packets, bytes }) => self.server.carried(&flow, packets, bytes),
            Letter::Lost { path, datagrams } => self.server.lost(path, datagrams),
            Letter::Unpermitted(datagrams) => self.server.unpermitted(datagrams),
            Letter::Unreachable(error) => {
                self.unreachable(now, error);
                self.flush(sockets);
            }
        }
    }

    /// Ends all allocations, and lets the streams go.
    pub(crate) fn close(&mut self, now: Time, sockets: &mut Sockets) {
        self.server.close(now);
        self.settle(now, 0, sockets);
        self.clients.values().for_each(|client| client.outgoing.close());
        let (counters, lost) = (self.server.counters(), self.losses.so_far().total());
        info!(
            allocations = counters.allocations,
            packets = counters.packets_to_peers + counters.packets_to_clients,
            bytes = counters.bytes_to_peers + counters.bytes_to_clients,
            dropped = counters.dropped_in_all(),
            lost,
            "relay stopped"
        );
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![("allocations", self.server.allocations()), ("clients with a task", self.clients.len())]
    }

    fn perform(&mut self, op: SocketOp, of: usize, sockets: &mut Sockets) -> Option<SocketReply> {
        let unsupported = |ticket| {
            let error = SocketError::Other("a relay opens UDP sockets only".into());
            Some(SocketReply::Failed { ticket, error })
        };
        match op {
            SocketOp::Bind { ticket, local } => {
                let mut config = Config::default();
                (config.receive_buffer, config.send_buffer) = (RELAY_BUFFER, RELAY_BUFFER);
                config.report_unreachable = true;
                let number = self.next_socket;
                let opened = BareSocket::bind(local, &config)
                    .and_then(|socket| self.crew.employ(of, number, socket, Role::Relay, sockets));
                match opened {
                    Ok(socket) => {
                        let local = socket.local();
                        if self.server.shared_port() == Some(local.port()) {
                            self.crew.lend(of, number, &socket, Role::Relay);
                        }
                        self.next_socket += 1;
                        Some(SocketReply::Bound { ticket, local })
                    }
                    Err(error) => {
                        debug!(%local, %error, "a relay socket could not be opened");
                        Some(SocketReply::Failed { ticket, error: socket_error(&error) })
                    }
                }
            }
            SocketOp::Unbind { local } => {
                sockets.remove(local);
                self.crew.close(local);
                None
            }
            SocketOp::Disconnect { path } => {
                if let Some(client) = self.clients.get(&path) {
                    client.outgoing.close();
                }
                None
            }
            SocketOp::Connect { ticket, .. }
            | SocketOp::Resolve { ticket, .. }
            | SocketOp::Locate { ticket, .. } => unsupported(ticket),
            SocketOp::Publish { .. } => None,
        }
    }

    /// What is to be done for the machine with the connections of peers.
    fn order(&self, op: StreamOp) -> Option<StreamOrder> {
        let StreamOp::Splice { peer, client, metered } = op else { return Some(StreamOrder::Do(op)) };
        // Gone meanwhile: the machine hears of it.
        let client = self.clients.get(&client)?.clone();
        client.becomes_data_connection();
        Some(StreamOrder::Join { peer, client, metered })
    }

    fn journal(&mut self, now: Time) {
        while let Some(event) = self.server.poll_event() {
            self.journal.record(now, &event);
            if let ServerEvent::AllocationMoved { from, .. } = &event
                && from.transport == Transport::Udp
            {
                self.crew.part(*from);
            }
            let (client, allocated) = match &event {
                ServerEvent::AllocationCreated { client, .. } => (client, true),
                ServerEvent::AllocationMoved { to, .. } => (to, true),
                ServerEvent::AllocationEnded { client, .. } => (client, false),
                ServerEvent::UserAsked { id, username, client } => {
                    self.inquiry.ask(*id, username.clone(), *client);
                    continue;
                }
                ServerEvent::LoginRefused { .. } | ServerEvent::PeerDenied { .. } => continue,
            };
            match (client.transport, allocated) {
                (Transport::Udp, true) => self.crew.welcome(*client),
                (Transport::Udp, false) => self.crew.part(*client),
                _ => {
                    if let Some(client) = self.clients.get(client) {
                        client.allocated.store(allocated, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

impl Authority for Chief {
    fn decide(&mut self, now: Time, datagram: Datagram<'_>, passage: Option<Passage>) -> Option<Flow> {
        self.told = true;
        self.server.handle_datagram(now, datagram, &mut self.out);
        self.server.flow(now, passage?)
    }

    fn poll_stale(&mut self) -> Option<AllocationId> {
        let id = self.server.poll_stale()?;
        self.crew.forget(id);
        Some(id)
    }

    fn listens(&mut self, _: Time) -> bool {
        false // is told before anything else happens to the machine
    }

    fn carried(&mut self, flow: &Flow, packets: u64, bytes: u64) {
        self.server.carried(flow, packets, bytes);
    }

    fn lost(&mut self, path: Path, datagrams: u64) {
        self.server.lost(path, datagrams);
    }

    fn unreachable(&mut self, now: Time, error: IcmpError) {
        self.told = true;
        self.server.handle_icmp(now, error, &mut self.out);
    }

    /// Sends all that was written, one batch a system call.
    fn flush(&mut self, sockets: &mut Sockets) {
        // Before anything is sent: a client that has its answer may have told its peer, who sends at once.
        while let Some(permit) = self.server.poll_permit() {
            self.crew.permit(permit);
        }
        // A client that is joined with a peer has its answer first, and nothing that it sends after that is a message.
        let mut orders = Vec::new();
        while let Some(op) = self.server.poll_stream() {
            orders.extend(self.order(op));
        }
        while let Some(batch) = self.out.pop() {
            match batch.path.transport {
                Transport::Udp => sockets.send(&batch),
                Transport::Tcp | Transport::Tls | Transport::Dtls => {
                    let client = self.clients.get(&batch.path);
                    let lost = client.map_or(0, |client| client.answer(batch.datagrams()));
                    if lost > 0 {
                        self.losses.add(Loss::SlowReader, lost);
                        self.server.lost(batch.path, lost);
                    }
                }
            }
            self.out.recycle(batch);
        }
        while let Some((path, datagrams)) = sockets.poll_lost() {
            self.server.lost(path, datagrams);
        }
        for order in orders {
            let _ = self.streams.send(order);
        }
    }
}

fn socket_error(error: &std::io::Error) -> SocketError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => SocketError::InUse,
        std::io::ErrorKind::AddrNotAvailable => SocketError::Unreachable,
        _ => SocketError::Other(error.to_string()),
    }
}
