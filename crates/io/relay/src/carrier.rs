use std::net::SocketAddr;
use std::ops::Range;

use sansio::{Datagram, Path, Rng, Time};
use stun::TransactionId;
use turn::{AllocationId, ChannelNumber, Flow, Framing, IcmpError, Passage, parse_channel_data, parse_send};
use udp::{Arrived, Bundles, Unreachable};

use crate::egress::{Egress, Exit, Piece};
use crate::flows::{Carried, Entry, Flows};
use crate::gate::Gate;
use crate::key::Key;
use crate::sockets::{Role, Sockets};

/// Bundles received by one call. Many, so that there is something to group: a group is one walk through the system,
/// however many datagrams it has.
const BUNDLES: usize = Bundles::MAX;
/// What the network says that is listened to before datagrams get their turn again.
const COMPLAINTS: usize = 256;

/// Whoever decides what the carrier has no flow for.
pub(crate) trait Authority {
    /// Decides about one datagram, and tells what becomes of those that take the same passage.
    fn decide(&mut self, now: Time, datagram: Datagram<'_>, passage: Option<Passage>) -> Option<Flow>;
    /// An allocation whose flows are to be forgotten.
    fn poll_stale(&mut self) -> Option<AllocationId>;
    /// Whether it wants to hear now what flows carried.
    fn listens(&mut self, now: Time) -> bool;
    /// A flow carried so much.
    fn carried(&mut self, flow: &Flow, packets: u64, bytes: u64);
    /// So many datagrams did not leave by a path.
    fn lost(&mut self, path: Path, datagrams: u64);
    /// A datagram that left from a relayed address did not arrive.
    fn unreachable(&mut self, now: Time, error: IcmpError);
    /// Sends what was decided.
    fn flush(&mut self, sockets: &mut Sockets);
}

/// Moves bytes: from sockets to sockets by the flows that are known, and to the authority otherwise.
///
/// A round is one receiving of one socket. Nothing is copied and nothing allocated for a datagram that has a flow: its
/// header goes, another one takes its place, and it leaves together with those that go the same way.
pub(crate) struct Carrier {
    pub(crate) sockets: Sockets,
    bundles: Bundles,
    flows: Flows,
    egress: Egress,
    /// Flows that carried something that was not reported yet.
    busy: Vec<u32>,
    transactions: Transactions,
    /// Where DTLS goes, if it is spoken here.
    pub(crate) gate: Option<Gate>,
}

/// One datagram of a bundle.
struct Segment {
    /// The number of its bundle.
    bundle: usize,
    range: Range<usize>,
    /// Where the bytes begin that may be written over: its own, and those in front of a bundle's first.
    floor: usize,
    /// Where they end.
    ceiling: usize,
}

impl Carrier {
    pub(crate) fn new(sockets: Sockets, rng: &mut Rng) -> Self {
        Self {
            sockets,
            gate: None,
            bundles: Bundles::new(BUNDLES),
            flows: Flows::new(rng),
            egress: Egress::new(),
            busy: Vec::new(),
            transactions: Transactions::new(rng),
        }
    }

    /// Receives from the next socket that has something. `None`: it had nothing after all.
    pub(crate) fn receive(&mut self) -> Option<Role> {
        self.sockets.receive(&mut self.bundles)
    }

    /// Passes on what was received, from a socket of this role.
    pub(crate) fn pass_on(&mut self, now: Time, role: Role, authority: &mut impl Authority) {
        for at in 0..self.bundles.len() {
            self.pass_on_bundle(now, role, at, authority);
        }
        self.depart(now, authority);
    }

    /// Passes on what the network says about datagrams that did not arrive.
    pub(crate) fn hear(&mut self, now: Time, authority: &mut impl Authority) {
        for _ in 0..COMPLAINTS {
            let Some((local, Unreachable { to, icmp_type, icmp_code, mtu })) =
                self.sockets.poll_unreachable()
            else {
                return;
            };
            authority.unreachable(now, IcmpError { local, peer: to, icmp_type, icmp_code, mtu });
        }
    }

    /// Whether something was carried that the authority has not heard of.
    pub(crate) fn has_news(&self) -> bool {
        !self.busy.is_empty() || self.flows.has_unreported()
    }

    /// Forgets the flows that are no longer as they were.
    pub(crate) fn forget_stale(&mut self, authority: &mut impl Authority) {
        while let Some(id) = authority.poll_stale() {
            self.flows.forget(id);
        }
    }

    /// Forgets all flows of an allocation.
    pub(crate) fn forget(&mut self, id: AllocationId) {
        self.flows.forget(id);
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        let mut tables = [self.sockets.tables(), self.flows.tables()].concat();
        tables.push(("flows that carried", self.busy.len()));
        tables.push(("bytes behind the gate", self.gate.as_ref().map_or(0, Gate::waiting)));
        tables
    }

    fn pass_on_bundle(&mut self, now: Time, role: Role, bundle: usize, authority: &mut impl Authority) {
        let Some(Arrived { path, segment, range, .. }) = self.bundles.arrival(bundle) else { return };
        let (way, segment, range, mut known) = (Key::of(path), *segment, range.clone(), None);
        let mut start = range.start;
        while start < range.end {
            let end = (start + segment).min(range.end);
            let at = Segment {
                bundle,
                range: start..end,
                floor: if start == range.start { start - Bundles::SLACK } else { start },
                ceiling: if end == range.end { end + Bundles::SLACK } else { end },
            };
            self.pass_on_one(now, role, way, at, &mut known, authority);
            start = end;
        }
    }

    /// `known` is the flow of the datagram before, if that has one.
    fn pass_on_one(
        &mut self,
        now: Time,
        role: Role,
        way: Option<Key>,
        at: Segment,
        known: &mut Option<(Key, u32)>,
        authority: &mut impl Authority,
    ) {
        let bytes = &self.bundles.bytes()[at.range.clone()];
        let front = Front::read(role, bytes);
        if front.is_none()
            && role == Role::Listener
            && let Some(gate) = &self.gate
            && let Some(Arrived { path, .. }) = self.bundles.arrival(at.bundle)
            && gate.takes(now, path, bytes)
        {
            return;
        }
        let mut exhausted = false;
        if let Some((front, data)) = &front
            && let Some(key) = way.and_then(|way| front.key(way))
        {
            let data = at.range.start + data.start..at.range.start + data.end;
            let flow = match known {
                Some((before, flow)) if *before == key => Some(*flow),
                _ => self.flows.find(now, &key),
            };
            // Empty datagrams have no place in a group.
            if let Some(flow) = flow
                && !data.is_empty()
            {
                if self.flows.entry(flow).is_some_and(|entry| entry.affords(data.len())) {
                    *known = Some((key, flow));
                    return self.carry(flow, data, &at);
                }
                exhausted = true;
            }
        }
        *known = None;
        let Some(&Arrived { path, .. }) = self.bundles.arrival(at.bundle) else { return };
        let passage = front.map(|(front, _)| front.passage(path));
        // First what was carried, for the decision may be to end what is counted.
        if authority.listens(now) || exhausted || may_end(&self.bundles.bytes()[at.range.clone()]) {
            self.report(authority);
        }
        let payload = &mut self.bundles.bytes_mut()[at.range];
        let flow = authority.decide(now, Datagram { from: path, payload }, passage);
        self.forget_stale(authority);
        if let (Some(flow), Some(passage)) = (flow, passage) {
            self.learn(&passage, flow);
        }
    }

    /// Takes in where what takes `passage` goes.
    pub(crate) fn learn(&mut self, passage: &Passage, flow: Flow) {
        let Some((socket, is_wildcard)) = self.sockets.exit(flow.to.local) else { return };
        let (Some(key), Some(exit)) = (Key::new(passage), Key::of(&flow.to)) else { return };
        let from = is_wildcard.then(|| flow.to.local.ip()).filter(|ip| !ip.is_unspecified());
        let shared = flow.target.is_some();
        self.flows.insert(key, flow, Exit { socket, from, to: flow.to.remote, key: exit, shared });
    }

    /// Lets `data` go the way of `flow`.
    fn carry(&mut self, flow: u32, data: Range<usize>, at: &Segment) {
        let Some(entry) = self.flows.entry(flow) else { return };
        let round = self.egress.round();
        if entry.packets == 0 {
            self.busy.push(flow);
        }
        let last = (entry.round == round).then_some(entry.group);
        entry.round = round;
        entry.packets += 1;
        entry.bytes += data.len() as u64;
        let framing = entry.flow.framing;
        let (header, padding) = (framing.header(), framing.padding(data.len()));
        let length = header + data.len() + padding;
        let id = if matches!(framing, Framing::Data(_)) {
            self.transactions.next()
        } else {
            TransactionId([0; 12])
        };
        let fits_in_place = data.start - header >= at.floor && data.end + padding <= at.ceiling;
        entry.group = if fits_in_place {
            let bytes = self.bundles.bytes_mut();
            framing.write_header(&mut bytes[data.start - header..data.start], data.len(), id);
            bytes[data.end..data.end + padding].fill(0);
            let whole = Piece::Received(data.start - header..data.end + padding);
            self.egress.add(&entry.exit, last, length, [whole])
        } else {
            let Entry { exit, .. } = entry;
            let front = self.egress.header(header, |to| framing.write_header(to, data.len(), id));
            if padding == 0 {
                self.egress.add(exit, last, length, [front, Piece::Received(data)])
            } else {
                let back = self.egress.header(padding, |to| to.fill(0));
                self.egress.add(exit, last, length, [front, Piece::Received(data), back])
            }
        };
    }

    /// Sends what this round has gathered.
    fn depart(&mut self, now: Time, authority: &mut impl Authority) {
        // What was decided first: a flow's first datagram is decided about, and those behind it are carried.
        authority.flush(&mut self.sockets);
        self.egress.depart(&self.bundles, &mut self.sockets);
        while let Some((path, datagrams)) = self.sockets.poll_lost() {
            authority.lost(path, datagrams);
        }
        if authority.listens(now) {
            self.report(authority);
        }
    }

    /// Tells what flows carried.
    pub(crate) fn report(&mut self, authority: &mut impl Authority) {
        for flow in self.busy.drain(..) {
            if let Some(entry) = self.flows.entry(flow) {
                let (packets, bytes) = (std::mem::take(&mut entry.packets), std::mem::take(&mut entry.bytes));
                authority.carried(&entry.flow, packets, bytes);
            }
        }
        for Carried { flow, packets, bytes } in self.flows.take_unreported() {
            authority.carried(&flow, packets, bytes);
        }
    }
}

/// Whether a client's datagram may give its allocation back: it is a Refresh request.
fn may_end(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x00, 0x04])
}

/// What a datagram says that may have a flow, besides the way that it came.
enum Front {
    Plain,
    Channel(ChannelNumber),
    Send(SocketAddr),
}

impl Front {
    /// Reads it, and where in the datagram the application data lies.
    fn read(role: Role, bytes: &[u8]) -> Option<(Self, Range<usize>)> {
        match (role, bytes.first()?) {
            (Role::Relay, _) => Some((Self::Plain, 0..bytes.len())),
            (Role::Listener, 0x40..=0x4f) => {
                parse_channel_data(bytes).map(|(number, data)| (Self::Channel(number), data))
            }
            (Role::Listener, 0) if bytes.get(1) == Some(&0x16) => {
                parse_send(bytes).map(|(peer, data)| (Self::Send(peer), data))
            }
            (Role::Listener, _) => None,
        }
    }

    /// By what its flow is found; `way` is the key of the way that it came.
    fn key(&self, way: Key) -> Option<Key> {
        match self {
            Self::Plain => Some(way),
            Self::Channel(number) => Some(way.with_channel(*number)),
            Self::Send(peer) => way.with_peer(peer),
        }
    }

    fn passage(self, client: Path) -> Passage {
        match self {
            Self::Plain => Passage::Peer { local: client.local, peer: client.remote },
            Self::Channel(number) => Passage::Channel { client, number },
            Self::Send(peer) => Passage::Send { client, peer },
        }
    }
}

/// Transaction ids for indications: nobody answers them, but no two shall be the same.
struct Transactions {
    prefix: [u8; 4],
    next: u64,
}

impl Transactions {
    fn new(rng: &mut Rng) -> Self {
        Self { prefix: rng.bytes(), next: rng.next_u64() }
    }

    fn next(&mut self) -> TransactionId {
        // A step that is odd visits every number once before it comes back.
        self.next = self.next.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.prefix);
        id[4..].copy_from_slice(&self.next.to_be_bytes());
        TransactionId(id)
    }
}
