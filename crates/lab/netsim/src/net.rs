mod events;
mod icmp;
mod opening;
mod packets;
mod ping;
mod run;
mod sockets;
mod streams;
mod topology;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sansio::{Machine, Path, Rng, Seed, SocketReply, Time};

use crate::calendar::Calendar;
use crate::content::Content;
use crate::host::{Host, Node, Running};
use crate::laws::Laws;
use crate::link::{Direction, Link, Wire};
use crate::names::Names;
use crate::record::{Fate, Place, PlaceKind, Record};
use crate::segment::Segment;
use crate::stream::{Part, Stream, StreamId};
use crate::trace::Trace;
use crate::tray::Tray;

pub(crate) use ping::Pings;
pub use ping::Pong;

/// A host of a [`Net`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(crate) usize);

/// A segment of a [`Net`]: [`Net::INTERNET`], or a network behind a box.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId(pub(crate) usize);

/// A link of a [`Net`]: between a host and its segment, or between a box and the segment outside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub(crate) usize);

/// How long what is not a packet takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// An answer from the DNS, also that there is no such name.
    pub dns: Duration,
    /// An answer by mDNS.
    pub mdns: Duration,
    /// How long a `.local` name is asked for before it counts as not there.
    pub mdns_timeout: Duration,
    /// How long a stream may take to connect.
    pub connect_timeout: Duration,
}

impl Default for Timing {
    /// 20 ms, 2 ms, 1 s and 10 s.
    fn default() -> Self {
        Self {
            dns: Duration::from_millis(20),
            mdns: Duration::from_millis(2),
            mdns_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// A simulated internet in virtual time. See the [crate's front page](crate).
pub struct Net {
    now: Time,
    calendar: Calendar<Happening>,
    segments: Vec<Segment>,
    hosts: Vec<Host>,
    wires: Vec<Wire>,
    streams: BTreeMap<StreamId, Stream>,
    names: Names,
    trace: Trace,
    /// The internet's core, where packets without a route end.
    core: Place,
    laws: Laws,
    timing: Timing,
    /// Whether errors are told.
    icmp: bool,
    rng: Rng,
    tray: Tray,
    dirty: Vec<HostId>,
    next_packet: u64,
    next_stream: u64,
    steps: u64,
    step_limit: u64,
}

/// A packet under way. `path.local` is where it comes from, as of its latest translation.
#[derive(Clone)]
struct Packet {
    id: u64,
    path: Path,
    payload: Vec<u8>,
    content: Content,
    hash: u64,
    /// Whether it may be marked, and whether it is.
    capable: bool,
    marked: bool,
    /// The payload once more, for the trace.
    kept: Option<Arc<[u8]>>,
    /// `None` for a datagram. Boxed, since most packets are datagrams and packets move a lot.
    part: Option<Box<Part>>,
}

enum Happening {
    Arrival(Stop, Packet),
    Wake(HostId),
    /// For the process that asked, which may have ended meanwhile.
    Reply {
        host: HostId,
        process: u32,
        reply: SocketReply,
    },
    ConnectTimeout(StreamId),
    Repeat(Packet),
    Call(Box<dyn FnOnce(&mut Net) + Send>),
}

/// Where a packet can be.
#[derive(Clone, Copy)]
enum Stop {
    Segment(SegmentId),
    /// The outer side of the box that leads to this segment.
    Gateway(SegmentId),
    Host(HostId),
}

impl Net {
    /// The segment that everything hangs on. It routes, and translates nothing.
    pub const INTERNET: SegmentId = SegmentId(0);

    /// An empty internet whose dice start from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut trace = Trace::new();
        let core = trace.add_place("internet".to_owned(), PlaceKind::Internet);
        let internet = Segment::new(None, Some("5.0.0.0/8".parse().expect("a constant")));
        Self {
            now: Time::ZERO,
            calendar: Calendar::new(),
            segments: vec![internet],
            hosts: Vec::new(),
            wires: Vec::new(),
            streams: BTreeMap::new(),
            names: Names::default(),
            trace,
            core,
            laws: Laws::default(),
            timing: Timing::default(),
            icmp: false,
            rng: Rng::new(Seed::from(seed)),
            tray: Tray::new(),
            dirty: Vec::new(),
            next_packet: 0,
            next_stream: 0,
            steps: 0,
            step_limit: 100_000_000,
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many things have happened so far: packets that came somewhere, timers, answers, calls.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many packets have been sent so far, whether they arrived or not. A repeated part of a stream counts once.
    pub fn packets(&self) -> u64 {
        self.next_packet
    }

    /// What happened to all packets so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The trace, to say how much of it is kept.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Which laws machines are held to from now on.
    pub fn set_laws(&mut self, laws: Laws) {
        self.laws = laws;
    }

    /// How long names and connections take from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// A single run that takes more steps than this panics: 100 million unless told otherwise.
    pub fn set_step_limit(&mut self, steps: u64) {
        self.step_limit = steps;
    }

    /// Machines get an outbox with room for this many bytes from now on, 1 MiB unless told otherwise. With little
    /// room one sees whether they cope with back-pressure; a datagram that is larger never leaves.
    pub fn set_room(&mut self, bytes: usize) {
        self.tray.set_limit(bytes);
    }

    /// Gives `name` these addresses in the DNS, in place of those it had.
    pub fn set_name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.set(name, addresses);
    }

    /// Adds an SRV record to the DNS: `service` (`_turn._udp.example.org`) is at this port of `target`, if no record added
    /// before is.
    pub fn add_service(&mut self, service: &str, target: &str, port: u16) {
        self.names.serve(service, target, port);
    }

    /// A seed for somebody's own dice, drawn from the net's.
    pub fn draw_seed(&mut self) -> Seed {
        self.rng.fork()
    }

    /// Starts a machine on a host: its process, so to say. What the process had is not touched by this.
    ///
    /// # Panics
    /// If one runs there already; [`Net::stop`] it first.
    pub fn start<M>(&mut self, host: HostId, machine: M)
    where
        M: Machine<Addr = Path, Event: Send + 'static> + Send + 'static,
    {
        assert!(self.hosts[host.0].node.is_none(), "host `{}` runs a machine already", self.host_name(host));
        self.hosts[host.0].node = Some(Box::new(Running::new(machine)));
        self.mark_dirty(host);
    }

    /// Ends the process on a host: its sockets and streams close, its published names and its machine are gone.
    pub fn stop(&mut self, host: HostId) {
        let streams: Vec<_> = self.hosts[host.0].streams.keys().copied().collect();
        for path in streams {
            self.disconnect(host, path);
        }
        self.names.withdraw(host);
        let host = &mut self.hosts[host.0];
        host.close_sockets();
        host.held.clear();
        host.node = None;
        host.process += 1;
        host.armed = None;
    }

    /// The machine on a host.
    ///
    /// # Panics
    /// If there is none, or it is of another type.
    pub fn machine<M: 'static>(&self, host: HostId) -> &M {
        let node = self.hosts[host.0].node.as_deref();
        node.and_then(|node| node.machine().downcast_ref()).unwrap_or_else(|| self.no_machine::<M>(host))
    }

    /// The machine on a host, to be given a wish. What it wants to send leaves when time goes on.
    ///
    /// # Panics
    /// If there is none, or it is of another type.
    pub fn machine_mut<M: 'static>(&mut self, host: HostId) -> &mut M {
        if self.hosts[host.0].node.as_deref().is_none_or(|node| !node.machine().is::<M>()) {
            self.no_machine::<M>(host);
        }
        self.mark_dirty(host);
        let node = self.hosts[host.0].node.as_deref_mut();
        node.and_then(|node| node.machine_mut().downcast_mut()).expect("its type has just been looked at")
    }

    /// Calls `wish` with the machine on a host and the time that its clock shows.
    ///
    /// # Panics
    /// If there is none, or it is of another type.
    pub fn with<M: 'static, R>(&mut self, host: HostId, wish: impl FnOnce(&mut M, Time) -> R) -> R {
        let now = self.clock(host);
        wish(self.machine_mut(host), now)
    }

    /// What the machine on a host has told since the last call.
    ///
    /// # Panics
    /// If there is none, or it is of another type.
    pub fn events<M>(&mut self, host: HostId) -> Vec<M::Event>
    where
        M: Machine<Event: 'static> + 'static,
    {
        self.machine_mut::<M>(host);
        self.settle_dirty();
        let node = self.hosts[host.0].node.as_deref_mut().expect("there was one a moment ago");
        *node.take_events().downcast().expect("a machine's events are of its event type")
    }

    #[track_caller]
    fn no_machine<M>(&self, host: HostId) -> ! {
        let wanted = std::any::type_name::<M>();
        match self.hosts[host.0].node.as_deref().map(Node::type_name) {
            Some(found) => panic!("host `{}` runs a {found}, not a {wanted}", self.host_name(host)),
            None => panic!("host `{}` runs nothing; a {wanted} was asked for", self.host_name(host)),
        }
    }

    /// The name a host was given.
    pub fn host_name(&self, host: HostId) -> &str {
        self.trace.name(self.hosts[host.0].place)
    }

    /// A host's place in the trace.
    pub fn place(&self, host: HostId) -> Place {
        self.hosts[host.0].place
    }

    /// Answers a machine's wish after a while.
    fn reply(&mut self, host: HostId, delay: Duration, reply: SocketReply) {
        let process = self.hosts[host.0].process;
        self.calendar.push(self.now + delay, Happening::Reply { host, process, reply });
    }

    fn mark_dirty(&mut self, host: HostId) {
        if !std::mem::replace(&mut self.hosts[host.0].dirty, true) {
            self.dirty.push(host);
        }
    }

    fn record(&mut self, place: Place, packet: &Packet, fate: Fate) {
        let record = Record {
            time: self.now,
            place,
            packet: packet.id,
            path: packet.path,
            content: packet.content,
            length: packet.payload.len(),
            hash: packet.hash,
            fate,
        };
        self.trace.push(record, packet.kept.as_ref());
    }

    fn add_wire(&mut self, link: Link) -> usize {
        let rng = Rng::new(self.rng.fork());
        self.wires.push(Wire::new(link, rng));
        self.wires.len() - 1
    }

    /// What a link does in one direction.
    pub fn link(&self, link: LinkId, direction: Direction) -> &Link {
        self.wires[link.0].link(direction)
    }

    /// How long a packet would wait in a link's queue in one direction, if it came now.
    pub fn wait(&self, link: LinkId, direction: Direction) -> Duration {
        self.wires[link.0].wait(self.now, direction)
    }

    /// Changes a link, in both directions. Packets that are on it already are not affected.
    pub fn set_link(&mut self, id: LinkId, link: Link) {
        self.set_link_towards(id, Direction::Up, link.clone());
        self.set_link_towards(id, Direction::Down, link);
    }

    /// Changes one direction of a link.
    pub fn set_link_towards(&mut self, id: LinkId, direction: Direction, link: Link) {
        self.wires[id.0].set(direction, link);
    }

    /// Pulls a link's plug, or puts it back.
    pub fn set_link_up(&mut self, id: LinkId, up: bool) {
        self.wires[id.0].up = up;
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .field("segments", &self.segments.len())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}
