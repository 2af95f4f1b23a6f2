use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sansio::{Batches, Datagram, Machine as _, Path, SocketError, SocketOp, SocketReply, Time, Transport};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tracing::{debug, info};
use turn::{Server, ServerEvent};
use udp::{Bundles, Config, Socket};

use crate::clock::Clock;
use crate::connection::{Client, StreamEvent};
use crate::journal;
use crate::sockets::Sockets;

/// Bundles received by one call, 64 KiB each at most.
const BUNDLES: usize = 4;
/// What the machine may write before it is sent: a bundle of tiny datagrams, each made longer by an
/// indication's header, is the most there is.
const OUT_BYTES: usize = 1 << 20;
/// Stream events handled before the sockets get their turn.
const STREAM_EVENTS: usize = 64;
/// Bytes that the system may hold for each direction of a relay socket.
const RELAY_BUFFER: usize = 1 << 20;

/// One machine with its sockets, its streams and its timer: a task of its own that shares nothing that is
/// hot.
pub(crate) struct Shard {
    clock: Clock,
    server: Server,
    sockets: Sockets,
    clients: HashMap<Path, Arc<Client>>,
    streams: mpsc::Receiver<StreamEvent>,
    bundles: Bundles,
    out: Batches,
    timer: Pin<Box<Sleep>>,
    /// What `timer` is set to.
    armed: Option<Time>,
}

impl Shard {
    pub(crate) fn new(
        clock: Clock,
        server: Server,
        listeners: Vec<Socket>,
        streams: mpsc::Receiver<StreamEvent>,
    ) -> Self {
        let mut sockets = Sockets::default();
        listeners.into_iter().for_each(|socket| sockets.add(socket));
        Self {
            clock,
            server,
            sockets,
            clients: HashMap::new(),
            streams,
            bundles: Bundles::new(BUNDLES),
            out: Batches::new(OUT_BYTES),
            timer: Box::pin(tokio::time::sleep_until(clock.instant(Time::ZERO).into())),
            armed: None,
        }
    }

    /// Serves until `shutdown` is ready; then ends all allocations and lets the streams go.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = poll_fn(|cx| self.sockets.poll_ready(cx)) => self.receive(),
                Some(event) = self.streams.recv() => self.streams_have(event),
                () = self.timer.as_mut(), if self.armed.is_some() => {
                    self.armed = None;
                    self.server.handle_timeout(self.clock.now());
                }
                () = &mut shutdown => break,
            }
            self.settle();
        }
        self.server.close(self.clock.now());
        self.settle();
        self.clients.values().for_each(|client| client.outgoing.close());
        let (counters, lost) = (self.server.counters(), self.sockets.lost());
        info!(
            allocations = counters.allocations,
            packets = counters.packets_to_peers + counters.packets_to_clients,
            bytes = counters.bytes_to_peers + counters.bytes_to_clients,
            dropped = counters.dropped_in_all(),
            lost,
            "relay stopped"
        );
    }

    /// Gives each socket that has something one turn.
    fn receive(&mut self) {
        for _ in 0..self.sockets.pending() {
            if !self.sockets.receive(&mut self.bundles) {
                continue;
            }
            let now = self.clock.now();
            for bundle in self.bundles.iter_mut() {
                let from = bundle.path;
                for payload in bundle.datagrams() {
                    self.server.handle_datagram(now, Datagram { from, payload }, &mut self.out);
                }
                flush(&mut self.out, &mut self.sockets, &self.clients);
            }
        }
    }

    /// Takes an event of a stream, and some of those that wait behind it.
    fn streams_have(&mut self, first: StreamEvent) {
        let now = self.clock.now();
        self.stream_has(now, first);
        for _ in 1..STREAM_EVENTS {
            let Ok(event) = self.streams.try_recv() else { return };
            self.stream_has(now, event);
        }
    }

    fn stream_has(&mut self, now: Time, event: StreamEvent) {
        match event {
            StreamEvent::Opened { path, client } => {
                debug!(%path, "connected");
                self.clients.insert(path, client);
            }
            StreamEvent::Received { path, frames } => frames.for_each(|payload| {
                self.server.handle_datagram(now, Datagram { from: path, payload }, &mut self.out);
                self.journal();
                flush(&mut self.out, &mut self.sockets, &self.clients);
            }),
            StreamEvent::Closed { path, end } => {
                let lost = self.clients.remove(&path).map_or(0, |client| client.outgoing.lost());
                debug!(%path, %end, lost, "disconnected");
                let error = SocketError::Other(end.to_string());
                self.server.handle_socket(now, SocketReply::Disconnected { path, error });
            }
        }
    }

    /// Does what the machine wants to have done after something happened to it.
    fn settle(&mut self) {
        let now = self.clock.now();
        while let Some(op) = self.server.poll_socket() {
            if let Some(reply) = self.perform(op) {
                self.server.handle_socket(now, reply);
            }
        }
        self.server.poll_transmit(now, &mut self.out);
        // Before anything is sent: a stream's client shall not have its answer before it counts as known.
        self.journal();
        flush(&mut self.out, &mut self.sockets, &self.clients);
        let next = self.server.poll_timeout();
        if next != self.armed {
            self.armed = next;
            if let Some(at) = next {
                self.timer.as_mut().reset(self.clock.instant(at).into());
            }
        }
    }

    fn perform(&mut self, op: SocketOp) -> Option<SocketReply> {
        let unsupported = |ticket| {
            let error = SocketError::Other("a relay opens UDP sockets only".into());
            Some(SocketReply::Failed { ticket, error })
        };
        match op {
            SocketOp::Bind { ticket, local } => {
                let mut config = Config::default();
                (config.receive_buffer, config.send_buffer) = (RELAY_BUFFER, RELAY_BUFFER);
                match Socket::bind_with(local, &config) {
                    Ok(socket) => {
                        let local = socket.local();
                        self.sockets.add(socket);
                        Some(SocketReply::Bound { ticket, local })
                    }
                    Err(error) => {
                        debug!(%local, %error, "a relay socket could not be opened");
                        Some(SocketReply::Failed { ticket, error: socket_error(&error) })
                    }
                }
            }
            SocketOp::Unbind { local } => {
                self.sockets.remove(local);
                None
            }
            SocketOp::Disconnect { path } => {
                if let Some(client) = self.clients.get(&path) {
                    client.outgoing.close();
                }
                None
            }
            SocketOp::Connect { ticket, .. } | SocketOp::Resolve { ticket, .. } => unsupported(ticket),
            SocketOp::Publish { .. } => None,
        }
    }

    fn journal(&mut self) {
        while let Some(event) = self.server.poll_event() {
            journal::record(&event);
            let (client, allocated) = match &event {
                ServerEvent::AllocationCreated { client, .. } => (client, true),
                ServerEvent::AllocationEnded { client, .. } => (client, false),
                ServerEvent::PeerDenied { .. } => continue,
            };
            if let Some(client) = self.clients.get(client) {
                client.allocated.store(allocated, Ordering::Relaxed);
            }
        }
    }
}

/// Sends all that was written, one batch a system call.
fn flush(out: &mut Batches, sockets: &mut Sockets, clients: &HashMap<Path, Arc<Client>>) {
    while let Some(batch) = out.pop() {
        match batch.path.transport {
            Transport::Udp => sockets.send(&batch),
            Transport::Tcp | Transport::Tls => {
                if let Some(client) = clients.get(&batch.path) {
                    client.outgoing.push(batch.datagrams());
                }
            }
        }
        out.recycle(batch);
    }
}

fn socket_error(error: &std::io::Error) -> SocketError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => SocketError::InUse,
        std::io::ErrorKind::AddrNotAvailable => SocketError::Unreachable,
        _ => SocketError::Other(error.to_string()),
    }
}
