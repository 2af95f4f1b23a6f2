use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use sansio::{Datagram, Machine, Outbox, Path, Rng, SocketError, SocketOp, SocketReply, Time, Transport};

use crate::clock::Clock;
use crate::net::{Pings, SegmentId};
use crate::record::Place;
use crate::stream::StreamId;

/// Ports given to whoever asks for port 0, as Linux does.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// A machine whose type is forgotten.
pub(crate) trait Node: Send {
    /// The next datagram was marked.
    fn mark(&mut self, now: Time);
    fn datagram(&mut self, now: Time, from: Path, payload: &mut [u8], out: &mut dyn Outbox);
    fn timeout(&mut self, now: Time);
    fn transmit(&mut self, now: Time, out: &mut dyn Outbox);
    fn socket(&mut self, now: Time, reply: SocketReply);
    fn next_socket(&mut self) -> Option<SocketOp>;
    /// Drains events into the machine's list and says how many there were.
    fn drain_events(&mut self) -> usize;
    fn next_timeout(&self) -> Option<Time>;
    fn machine(&self) -> &dyn Any;
    fn machine_mut(&mut self) -> &mut dyn Any;
    /// A `Vec<M::Event>`.
    fn take_events(&mut self) -> Box<dyn Any>;
    fn type_name(&self) -> &'static str;
}

/// A machine and what it has told so far.
pub(crate) struct Running<M: Machine> {
    machine: M,
    events: Vec<M::Event>,
}

impl<M: Machine> Running<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, events: Vec::new() }
    }
}

impl<M: Machine<Addr = Path, Event: Send + 'static> + Send + 'static> Node for Running<M> {
    fn mark(&mut self, now: Time) {
        self.machine.handle_mark(now);
    }
    fn datagram(&mut self, now: Time, from: Path, payload: &mut [u8], out: &mut dyn Outbox) {
        self.machine.handle_datagram(now, Datagram { from, payload }, out);
    }
    fn timeout(&mut self, now: Time) {
        self.machine.handle_timeout(now);
    }
    fn transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.machine.poll_transmit(now, out);
    }
    fn socket(&mut self, now: Time, reply: SocketReply) {
        self.machine.handle_socket(now, reply);
    }
    fn next_socket(&mut self) -> Option<SocketOp> {
        self.machine.poll_socket()
    }
    fn drain_events(&mut self) -> usize {
        let before = self.events.len();
        while let Some(event) = self.machine.poll_event() {
            self.events.push(event);
        }
        self.events.len() - before
    }
    fn next_timeout(&self) -> Option<Time> {
        self.machine.poll_timeout()
    }
    fn machine(&self) -> &dyn Any {
        &self.machine
    }
    fn machine_mut(&mut self) -> &mut dyn Any {
        &mut self.machine
    }
    fn take_events(&mut self) -> Box<dyn Any> {
        Box::new(std::mem::take(&mut self.events))
    }
    fn type_name(&self) -> &'static str {
        std::any::type_name::<M>()
    }
}

/// A computer: interfaces, sockets, and the machine that runs on it.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) node: Option<Box<dyn Node>>,
    /// Counts the processes that have run here.
    pub(crate) process: u32,
    /// What it takes for the time.
    pub(crate) clock: Clock,
    /// Since when it has been asleep.
    pub(crate) asleep: Option<Time>,
    /// What its machine will be told when it wakes up.
    pub(crate) held: Vec<SocketReply>,
    /// When the calendar will look at the machine's timeout, in the net's time.
    pub(crate) armed: Option<Time>,
    /// Whether somebody outside may have changed the machine.
    pub(crate) dirty: bool,
    /// The instant of the latest wake-up, and how many there were in it.
    pub(crate) wakes: (Time, u32),
    pub(crate) listeners: BTreeMap<SocketAddr, Listener>,
    pub(crate) streams: BTreeMap<Path, StreamId>,
    /// What it asks others by ICMP.
    pub(crate) pings: Pings,
    udp: BTreeSet<SocketAddr>,
    /// Sockets that are closed. What a machine still sends from them is dropped; from others, it breaks a law.
    closed: BTreeSet<SocketAddr>,
    rng: Rng,
}

/// One end of a link, with the addresses a host has there.
pub(crate) struct Interface {
    pub(crate) segment: SegmentId,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) wire: usize,
}

/// Who waits for streams at an address.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) transport: Transport,
    /// For TLS: the name in the certificate.
    pub(crate) name: Option<String>,
}

impl Host {
    pub(crate) fn new(place: Place, rng: Rng) -> Self {
        Self {
            place,
            interfaces: Vec::new(),
            node: None,
            process: 0,
            clock: Clock::default(),
            asleep: None,
            held: Vec::new(),
            armed: None,
            dirty: false,
            wakes: (Time::ZERO, 0),
            listeners: BTreeMap::new(),
            streams: BTreeMap::new(),
            pings: Pings::default(),
            udp: BTreeSet::new(),
            closed: BTreeSet::new(),
            rng,
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied())
    }

    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses().any(|own| own == address)
    }

    /// The interface that has this address.
    pub(crate) fn interface_of(&self, address: IpAddr) -> Option<usize> {
        self.interfaces.iter().position(|interface| interface.addresses.contains(&address))
    }

    /// The address from which a packet to `remote` leaves if its sender did not choose.
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(remote);
        }
        self.addresses().find(|own| own.is_ipv4() == remote.is_ipv4())
    }

    /// Opens a UDP socket; port 0 becomes an ephemeral one.
    pub(crate) fn bind(&mut self, local: SocketAddr) -> Result<SocketAddr, SocketError> {
        if !local.ip().is_unspecified() && !self.owns(local.ip()) {
            return Err(SocketError::Unreachable);
        }
        let local = if local.port() == 0 { self.ephemeral(local.ip(), Self::udp_taken)? } else { local };
        if self.udp_taken(local) {
            return Err(SocketError::InUse);
        }
        self.udp.insert(local);
        self.closed.remove(&local);
        Ok(local)
    }

    pub(crate) fn unbind(&mut self, local: SocketAddr) {
        if self.udp.remove(&local) {
            self.closed.insert(local);
        }
    }

    /// Closes everything, as the end of a process does.
    pub(crate) fn close_sockets(&mut self) {
        self.udp.clear();
        self.closed.clear();
        self.listeners.clear();
    }

    /// The UDP socket that receives what is sent to `local`.
    pub(crate) fn socket_for(&self, local: SocketAddr) -> Option<SocketAddr> {
        [local, wildcard(local)].into_iter().find(|socket| self.udp.contains(socket))
    }

    /// Whether `local` was bound once.
    pub(crate) fn was_bound(&self, local: SocketAddr) -> bool {
        [local, wildcard(local)].iter().any(|socket| self.closed.contains(socket))
    }

    pub(crate) fn listener_for(&self, local: SocketAddr) -> Option<&Listener> {
        self.listeners.get(&local).or_else(|| self.listeners.get(&wildcard(local)))
    }

    /// A port for a stream that goes out from `local`.
    pub(crate) fn stream_port(&mut self, local: IpAddr) -> Result<SocketAddr, SocketError> {
        self.ephemeral(local, Self::stream_taken)
    }

    fn ephemeral(
        &mut self,
        local: IpAddr,
        taken: fn(&Self, SocketAddr) -> bool,
    ) -> Result<SocketAddr, SocketError> {
        let span = u64::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let first = self.rng.below(span);
        (0..span)
            .map(|n| EPHEMERAL.start() + ((first + n) % span) as u16)
            .map(|port| SocketAddr::new(local, port))
            .find(|&candidate| !taken(self, candidate))
            .ok_or(SocketError::InUse)
    }

    fn udp_taken(&self, local: SocketAddr) -> bool {
        self.udp.contains(&local)
            || self.udp.contains(&wildcard(local))
            || local.ip().is_unspecified()
                && self.udp.iter().any(|own| own.port() == local.port() && own.is_ipv4() == local.is_ipv4())
    }

    fn stream_taken(&self, local: SocketAddr) -> bool {
        self.listener_for(local).is_some() || self.streams.keys().any(|path| path.local == local)
    }
}

fn wildcard(local: SocketAddr) -> SocketAddr {
    let any: IpAddr = match local.ip() {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, local.port())
}
