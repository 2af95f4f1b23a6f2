use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use sansio::{Path, Transport};

use super::headers::{self, Segment, flag};
use super::{Way, packet};
use crate::content::Content;
use crate::nat::Refusal;
use crate::record::{Cause, Fate, Place, PlaceKind, Record};
use crate::trace::Trace;

/// The largest TCP payload in one packet.
const SEGMENT: usize = 1400;
const INSIDE: u32 = 0;
const OUTSIDE: u32 = 1;

/// Writes what one place saw, packet by packet.
pub(super) struct Capture<'a> {
    trace: &'a Trace,
    place: Place,
    /// Packets that have left a host: others were dropped before.
    sent: HashSet<u64>,
    /// Where each packet of a stream would have begun, had the stream been one of bytes.
    starts: HashMap<u64, u32>,
    /// What this place has seen of each direction of each stream.
    flows: HashMap<Path, Flow>,
}

/// One direction of a stream.
#[derive(Default)]
struct Flow {
    /// The number behind all that was seen without a gap.
    next: u32,
    /// From where to where, behind the gap.
    later: BTreeMap<u32, u32>,
}

impl Flow {
    fn see(&mut self, start: u32, end: u32) {
        self.later.insert(start, end);
        while let Some(entry) = self.later.first_entry().filter(|entry| *entry.key() <= self.next) {
            self.next = self.next.max(entry.remove());
        }
    }
}

impl<'a> Capture<'a> {
    pub(super) fn new(trace: &'a Trace, place: Place) -> Self {
        Self { trace, place, sent: HashSet::new(), starts: starts(trace), flows: HashMap::new() }
    }

    pub(super) fn record(&mut self, index: usize, out: &mut Vec<u8>) {
        let record = &self.trace.records()[index];
        if record.fate == Fate::Sent {
            self.sent.insert(record.packet);
        }
        if record.place != self.place {
            return;
        }
        if self.trace.kind(self.place) == PlaceKind::Gateway {
            return self.record_at_box(index, record, out);
        }
        match record.fate {
            Fate::Sent => self.write(index, record.path, 0, Way::Out, None, out),
            Fate::Delivered => self.write(index, record.path, 0, Way::In, None, out),
            Fate::Dropped(cause @ (Cause::NoSocket | Cause::StreamGone))
                if self.sent.contains(&record.packet) =>
            {
                self.write(index, record.path, 0, Way::In, Some(&format!("dropped: {cause}")), out);
            }
            _ => {}
        }
    }

    fn record_at_box(&mut self, index: usize, record: &Record, out: &mut Vec<u8>) {
        let from = record.path;
        match record.fate {
            Fate::Translated { to } => {
                let (came, went) = sides(&from, &to);
                let told = format!("rewritten: {} -> {} {}", from.local, from.remote, record.fate);
                self.write(index, from, came, Way::In, Some(&told), out);
                self.write(index, to, went, Way::Out, Some(&told), out);
            }
            Fate::Passed { outward } => {
                let (came, went) = if outward { (INSIDE, OUTSIDE) } else { (OUTSIDE, INSIDE) };
                self.write(index, from, came, Way::In, None, out);
                self.write(index, from, went, Way::Out, None, out);
            }
            Fate::Dropped(cause @ Cause::Refused(refusal)) => {
                let side = match refusal {
                    Refusal::NoMapping | Refusal::Filtered => OUTSIDE,
                    Refusal::Blocked | Refusal::NoFreePort | Refusal::NoHairpin => INSIDE,
                };
                self.write(index, from, side, Way::In, Some(&format!("dropped: {cause}")), out);
            }
            _ => {}
        }
    }

    fn write(
        &mut self,
        index: usize,
        path: Path,
        interface: u32,
        way: Way,
        comment: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let record = &self.trace.records()[index];
        let payload = self.trace.payload(index).unwrap_or_default();
        let nanos = record.time.elapsed().as_nanos() as u64;
        let id = record.packet as u16;
        let full = |bytes: &[u8]| bytes.len() + record.length - payload.len();
        let bytes = match record.content {
            Content::Icmp(error) => Some(headers::icmp(&path, id, error, None)),
            Content::EchoError { error, sequence } => Some(headers::icmp(&path, id, error, Some(sequence))),
            Content::Echo { sequence } => {
                Some(headers::echo(&path, id, false, sequence, payload, record.length))
            }
            Content::EchoReply { sequence } => {
                Some(headers::echo(&path, id, true, sequence, payload, record.length))
            }
            _ if path.transport == Transport::Udp => Some(headers::udp(&path, id, payload, record.length)),
            _ => None,
        };
        if let Some(bytes) = bytes {
            return packet(out, interface, nanos, way, &bytes, full(&bytes), comment);
        }
        let mut segment = self.segment(record, path);
        let told = told(record.content, path.transport);
        let comment = match (told, comment) {
            (Some(told), Some(comment)) => Some(format!("{told}; {comment}")),
            (told, comment) => told.or(comment).map(str::to_owned),
        };
        if payload.len() <= SEGMENT {
            let bytes = headers::tcp(&path, id, segment, payload, record.length);
            return packet(out, interface, nanos, way, &bytes, full(&bytes), comment.as_deref());
        }
        for part in payload.chunks(SEGMENT) {
            let bytes = headers::tcp(&path, id, segment, part, part.len());
            packet(out, interface, nanos, way, &bytes, bytes.len(), comment.as_deref());
            segment.sequence = segment.sequence.wrapping_add(part.len() as u32);
        }
    }

    /// Where a packet stands in its stream.
    fn segment(&mut self, record: &Record, path: Path) -> Segment {
        let opens = matches!(record.content, Content::Syn | Content::SynAck);
        let sequence = self.starts.get(&record.packet).copied();
        let flow = self.flows.entry(path).or_default();
        let sequence = sequence.unwrap_or(flow.next);
        if opens {
            *flow = Flow::default(); // a port may be used again
        }
        flow.see(sequence, sequence.wrapping_add(takes(record)));
        let acknowledged = self.flows.get(&path.reversed()).map_or(0, |flow| flow.next);
        let flags = match record.content {
            Content::Syn => flag::SYN,
            Content::SynAck => flag::SYN | flag::ACK,
            Content::Fin => flag::FIN | flag::ACK,
            Content::Reset => flag::RST | flag::ACK,
            _ => flag::PSH | flag::ACK,
        };
        Segment { sequence, acknowledged, flags }
    }
}

/// The sequence numbers of all packets of streams, as their senders would have counted.
fn starts(trace: &Trace) -> HashMap<u64, u32> {
    let mut starts = HashMap::new();
    let mut ends: HashMap<Path, u32> = HashMap::new();
    let sent =
        trace.records().iter().filter(|record| record.fate == Fate::Sent && record.content.is_stream());
    for record in sent {
        let Entry::Vacant(start) = starts.entry(record.packet) else { continue };
        let end = ends.entry(record.path).or_default();
        if matches!(record.content, Content::Syn | Content::SynAck) {
            *end = 0;
        }
        start.insert(*end);
        *end = end.wrapping_add(takes(record));
    }
    starts
}

/// How many sequence numbers a packet takes (RFC 9293 §3.4).
fn takes(record: &Record) -> u32 {
    let opens_or_closes = matches!(record.content, Content::Syn | Content::SynAck | Content::Fin);
    record.length as u32 + u32::from(opens_or_closes)
}

/// On which sides of a box a rewritten packet came and went.
fn sides(from: &Path, to: &Path) -> (u32, u32) {
    let same_family = from.local.is_ipv4() == to.local.is_ipv4();
    let (source, destination) = (from.local != to.local, from.remote != to.remote);
    match (source, destination) {
        // Both are new: it has turned, or NAT64 has changed the family.
        (true, true) if same_family => (INSIDE, INSIDE),
        (true, true) => {
            if to.local.is_ipv4() {
                (INSIDE, OUTSIDE)
            } else {
                (OUTSIDE, INSIDE)
            }
        }
        (true, false) => (INSIDE, OUTSIDE),
        (false, _) => (OUTSIDE, INSIDE),
    }
}

/// What the bytes of a packet do not tell.
fn told(content: Content, transport: Transport) -> Option<&'static str> {
    match content {
        Content::TlsHello => Some("TLS ClientHello (the simulation's has only the name in it)"),
        Content::TlsAnswer => {
            Some("the TLS server's answer (the simulation's has only the certificate's name in it)")
        }
        Content::Message if transport == Transport::Tls => Some("inside TLS"),
        _ => None,
    }
}
