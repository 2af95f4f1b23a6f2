use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use sansio::{Batch, KeyedHash, Path, Rng};
use tracing::warn;
use udp::{BareSocket, Bundles, Outcome, Transmit, Unreachable};

use crate::losses::{self, Losses};

/// Who sends to a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Clients do.
    Listener,
    /// Peers do, to a relayed address.
    Relay,
}

/// The UDP sockets that one shard sends by, each known by a number. From some of them it receives, too.
pub(crate) struct Sockets {
    entries: HashMap<usize, Entry, KeyedHash>,
    by_local: HashMap<SocketAddr, usize, KeyedHash>,
    /// Those that have something, each once.
    ready: VecDeque<usize>,
    /// Those that the network has something to say about.
    troubled: VecDeque<usize>,
    /// Datagrams that came alone, not in a bundle, since that was asked last.
    alone: u64,
    losses: Arc<Losses>,
    /// What was lost and is not yet told: on which path, and how many datagrams.
    lost: Vec<(Path, u64)>,
}

struct Entry {
    socket: Arc<BareSocket>,
    role: Role,
    /// Whether it stands among the ready.
    queued: bool,
}

impl Sockets {
    pub(crate) fn new(losses: Arc<Losses>, rng: &mut Rng) -> Self {
        let hash = KeyedHash::new(rng);
        Self {
            entries: HashMap::with_hasher(hash.clone()),
            by_local: HashMap::with_hasher(hash),
            ready: VecDeque::new(),
            troubled: VecDeque::new(),
            alone: 0,
            losses,
            lost: Vec::new(),
        }
    }

    /// Takes a socket in.
    pub(crate) fn add(&mut self, number: usize, socket: Arc<BareSocket>, role: Role) {
        self.by_local.insert(socket.local(), number);
        self.entries.insert(number, Entry { socket, role, queued: false });
    }

    /// Lets a socket go, which closes it if nobody else has it.
    pub(crate) fn remove(&mut self, local: SocketAddr) {
        if let Some(number) = self.by_local.remove(&local) {
            self.entries.remove(&number);
        }
    }

    /// Those that clients send to.
    pub(crate) fn listeners(&self) -> Vec<Arc<BareSocket>> {
        let listeners = self.entries.values().filter(|entry| entry.role == Role::Listener);
        listeners.map(|entry| entry.socket.clone()).collect()
    }

    /// The poll says that this one has something.
    pub(crate) fn has_something(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(&number)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.ready.push_back(number);
        }
    }

    /// The poll says that the network has something to say about this one.
    pub(crate) fn has_trouble(&mut self, number: usize) {
        if !self.troubled.contains(&number) {
            self.troubled.push_back(number);
        }
    }

    /// The next datagram that did not arrive, and the address of the socket that it left by.
    pub(crate) fn poll_unreachable(&mut self) -> Option<(SocketAddr, Unreachable)> {
        loop {
            let number = *self.troubled.front()?;
            let socket = self.entries.get(&number).map(|entry| &entry.socket);
            if let Some((local, unreachable)) =
                socket.and_then(|socket| Some((socket.local(), socket.poll_unreachable()?)))
            {
                return Some((local, unreachable));
            }
            self.troubled.pop_front();
        }
    }

    /// Whether the network may have more to say.
    pub(crate) fn is_troubled(&self) -> bool {
        !self.troubled.is_empty()
    }

    /// How many sockets have something.
    pub(crate) fn pending(&self) -> usize {
        self.ready.len()
    }

    /// Receives from the socket whose turn it is, and tells who sends to it. `None`: there was nothing after all.
    pub(crate) fn receive(&mut self, bundles: &mut Bundles) -> Option<Role> {
        bundles.clear();
        let number = self.ready.pop_front()?;
        let Entry { socket, role, queued } = self.entries.get_mut(&number)?;
        match socket.try_recv(bundles) {
            Ok(count) => {
                *queued = count == bundles.capacity();
                if *queued {
                    // At the end of the queue: what more it has comes when the others had their turn.
                    self.ready.push_back(number);
                }
                let arrivals = (0..count).filter_map(|at| bundles.arrival(at));
                self.alone += arrivals.filter(|it| it.range.len() <= it.segment).count() as u64;
                (count > 0).then_some(*role)
            }
            Err(error) => {
                let local = socket.local();
                warn!(%local, %error, "a socket is broken and was closed");
                self.remove(local);
                None
            }
        }
    }

    /// How many datagrams came alone since this was asked last.
    pub(crate) fn take_alone(&mut self) -> u64 {
        std::mem::take(&mut self.alone)
    }

    /// Sends a batch; what the system does not take is lost, as on a network.
    pub(crate) fn send(&mut self, batch: &Batch) {
        let Some(entry) = self.find(batch.path.local).and_then(|number| self.entries.get(&number)) else {
            return;
        };
        let outcome = entry.socket.try_send_batch(batch);
        self.sent(&outcome, batch.path, batch.segment, batch.bytes.len());
    }

    /// Sends by one of them; what the system does not take is lost, as on a network.
    pub(crate) fn transmit(&mut self, number: usize, transmit: &Transmit<'_>) {
        let Some(Entry { socket, .. }) = self.entries.get(&number) else { return };
        let outcome = socket.try_send(transmit);
        if matches!(outcome, Outcome::Sent) {
            return;
        }
        let local = socket.local();
        let local = SocketAddr::new(transmit.from.unwrap_or(local.ip()), local.port());
        let total = transmit.bytes.iter().map(|piece| piece.len()).sum();
        self.sent(&outcome, Path::udp(local, transmit.to), transmit.segment, total);
    }

    /// Counts what did not go.
    fn sent(&mut self, outcome: &Outcome, path: Path, segment: usize, total: usize) {
        if let Some((reason, datagrams)) = losses::of(outcome, path, segment, total) {
            self.losses.add(reason, datagrams);
            self.lost.push((path, datagrams));
        }
    }

    /// Datagrams that did not go, and where they should have gone.
    pub(crate) fn poll_lost(&mut self) -> Option<(Path, u64)> {
        self.lost.pop()
    }

    /// The socket that packets from `local` leave by, and whether it is bound to all addresses.
    pub(crate) fn exit(&self, local: SocketAddr) -> Option<(usize, bool)> {
        let number = self.find(local)?;
        Some((number, self.entries.get(&number)?.socket.is_wildcard()))
    }

    /// The socket that peers send to at `local`, with its number.
    pub(crate) fn relay_socket(&self, local: SocketAddr) -> Option<(usize, Arc<BareSocket>)> {
        let number = self.find(local)?;
        let entry = self.entries.get(&number).filter(|entry| entry.role == Role::Relay)?;
        Some((number, entry.socket.clone()))
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("sockets", self.entries.len()),
            ("addresses of sockets", self.by_local.len()),
            ("sockets that have something", self.ready.len()),
            ("sockets in trouble", self.troubled.len()),
            ("losses to tell", self.lost.len()),
        ]
    }

    fn find(&self, local: SocketAddr) -> Option<usize> {
        self.by_local.get(&local).copied().or_else(|| {
            let everywhere = match local {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            self.by_local.get(&SocketAddr::new(everywhere, local.port())).copied()
        })
    }
}
