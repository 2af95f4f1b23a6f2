use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sansio::Time;

use crate::extension::Name;
use crate::packet::{Header, Packet};
use crate::receive::{Arrivals, Redundancy, retransmitted};
use crate::session::event::{Event, Stream};
use crate::session::incoming::{Incoming, stream};
use crate::session::marks::Marks;
use crate::session::observed::Observed;
use crate::session::section::{Identifiers, Role, Section};
use crate::session::statistics::Drops;
use crate::session::terms::Format;

/// All that comes: which source and which section a packet belongs to, and what becomes of it.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) sources: BTreeMap<u32, Incoming>,
    /// Sources of retransmissions, and what they are of.
    repairs: BTreeMap<u32, u32>,
    ids: Identifiers,
    pub(super) arrivals: Arrivals,
    pub(super) observed: Observed,
    /// Whether the other side wants to know when packets of the transport arrived, or those of each source.
    feedback: (bool, bool),
    pub(super) events: VecDeque<Event>,
    pub(super) drops: Drops,
    patience: Duration,
    pub(super) round_trip: Option<Duration>,
}

/// Sources that are known at most. Those that have ended make room; further ones are dropped.
const MAX_SOURCES: usize = 256;
/// Events that wait for an owner who does not listen.
const MAX_EVENTS: usize = 1024;
/// How long the way there and back is taken to be, until a report says so.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// After so long without a word a source has ended.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

impl Receiver {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sources: BTreeMap::new(),
            repairs: BTreeMap::new(),
            ids: Identifiers::default(),
            arrivals: Arrivals::default(),
            observed: Observed::default(),
            feedback: (false, false),
            events: VecDeque::new(),
            drops: Drops::default(),
            patience,
            round_trip: None,
        }
    }

    /// Goes on under other terms: what has no section any more ends.
    pub(super) fn set_terms(&mut self, now: Time, sections: &[Section]) {
        self.ids = Identifiers::default();
        sections.iter().for_each(|section| self.ids.add(&section.terms));
        let mut expected = sections.iter().flat_map(|section| &section.terms.expected);
        let numbered = self.ids.get(Name::TransportSequenceNumber).is_some()
            && expected.clone().any(|format| format.feedback.transport_cc);
        self.feedback = (numbered, !numbered && expected.any(|format| format.feedback.ccfb));
        let gone: Vec<u32> = self
            .sources
            .iter()
            .filter(|(_, source)| !stays(source, sections))
            .map(|(ssrc, _)| *ssrc)
            .collect();
        for ssrc in gone {
            self.end(ssrc);
            self.forget(ssrc);
        }
        for source in self.sources.values_mut() {
            let Some(section) = find(sections, &source.stream.mid) else { continue };
            if let Some((format, _)) = section.expects(source.payload_type) {
                source.set_format(format, section.terms.delivery);
            }
        }
        // RFC 5576 §4.2: which source repairs which may have been said only now.
        for remote in sections.iter().flat_map(|section| &section.terms.remote) {
            if let (Some(rtx), true) = (remote.rtx_ssrc, self.sources.contains_key(&remote.ssrc)) {
                self.set_repair(remote.ssrc, rtx);
            }
        }
        self.drain(now);
    }

    /// Takes a packet that has been verified. `ours` are the sources that we send.
    pub(super) fn handle_packet(
        &mut self,
        now: Time,
        bytes: &[u8],
        sections: &[Section],
        ours: impl Fn(u32) -> bool,
    ) {
        let Ok(packet) = Packet::parse(bytes) else {
            self.drops.malformed += 1;
            return;
        };
        let header = packet.header();
        if ours(header.ssrc) {
            // RFC 3550 §8.2: somebody has our number, or our own packets come back.
            self.drops.collided += 1;
            return;
        }
        let marks = Marks::read(&packet, &self.ids);
        if let Some(number) = marks.number.filter(|_| self.feedback.0) {
            self.arrivals.handle_packet(now, number);
        }
        if self.feedback.1 {
            self.observed.handle_packet(now, header.ssrc, header.sequence_number);
        }
        let Some(section) = self.section(&header, &marks, sections) else {
            self.drops.unknown += 1;
            return;
        };
        let Some((format, role)) = section.expects(header.payload_type) else {
            self.drops.unknown += 1;
            return;
        };
        if role == Role::Repair {
            return self.handle_repair(now, &packet, section, &marks, format.payload_type);
        }
        // RFC 8843 §9.2: a source that names another section has moved there.
        if self.sources.get(&header.ssrc).is_some_and(|source| source.stream.mid != section.mid) {
            self.end(header.ssrc);
            self.forget(header.ssrc);
        }
        if !self.sources.contains_key(&header.ssrc) && !self.appear(now, &header, section, &marks, format) {
            return;
        }
        let Some(source) = self.sources.get_mut(&header.ssrc) else { return };
        if source.ended {
            source.ended = false;
            push(&mut self.events, &mut self.drops, Event::SourceAppeared(source.stream.clone()));
        }
        source.set_format(format, section.terms.delivery);
        source.set_marks(marks.audio_level, marks.orientation);
        (source.heard, source.received) = (now, Some(now));
        source.statistics.handle_packet(now, &header, packet.payload().len());
        source.tally.header_bytes += (packet.header_bytes() + packet.padding()) as u64;
        match role {
            Role::Redundant => self.handle_redundant(now, header, packet.payload()),
            _ => self.deliver(now, &header, packet.payload()),
        }
    }

    /// Which section a packet belongs to (RFC 8843 §9.2): the one it names, or the one its source has been found in, or
    /// the one whose description has its source, or the only one that expects its payload type.
    fn section<'s>(
        &self,
        header: &Header,
        marks: &Marks<'_>,
        sections: &'s [Section],
    ) -> Option<&'s Section> {
        let known = || {
            let ssrc = self.repairs.get(&header.ssrc).unwrap_or(&header.ssrc);
            self.sources.get(ssrc).and_then(|source| find(sections, &source.stream.mid))
        };
        let told = || {
            sections.iter().find(|section| {
                let is = |ssrc| header.ssrc == ssrc;
                section.terms.remote.iter().any(|remote| is(remote.ssrc) || remote.rtx_ssrc.is_some_and(is))
            })
        };
        let only = || {
            let mut able = sections
                .iter()
                .filter(|section| section.terms.receive && section.expects(header.payload_type).is_some());
            able.next().filter(|_| able.next().is_none())
        };
        let section = match marks.mid {
            Some(mid) => find(sections, mid),
            None => known().or_else(told).or_else(only),
        };
        section.filter(|section| section.terms.receive)
    }

    /// A source that is new, if there is room for it, and a simulcast knows which of its encodings it is.
    fn appear(
        &mut self,
        now: Time,
        header: &Header,
        section: &Section,
        marks: &Marks<'_>,
        format: &Format,
    ) -> bool {
        let rids = &section.terms.remote_rids;
        let rid = marks.rid.filter(|rid| rids.is_empty() || rids.iter().any(|known| **known == **rid));
        let told = section.terms.remote.iter().find(|remote| remote.ssrc == header.ssrc);
        if !rids.is_empty() && rid.is_none() && told.is_none() {
            self.drops.unknown += 1;
            return false;
        }
        if self.sources.len() >= MAX_SOURCES {
            let ended = self.sources.values().filter(|source| source.ended).min_by_key(|source| source.heard);
            let Some(oldest) = ended.map(|source| source.stream.ssrc) else {
                self.drops.too_many += 1;
                return false;
            };
            self.forget(oldest);
        }
        let stream = stream(&section.mid, rid, header.ssrc);
        // What carries a known name takes the place of what carried it before.
        if let Some(rid) = &stream.rid {
            let same = |source: &&Incoming| {
                source.stream.mid == stream.mid && source.stream.rid.as_ref() == Some(rid)
            };
            if let Some(old) = self.sources.values().find(same).map(|source| source.stream.ssrc) {
                self.end(old);
                self.forget(old);
            }
        }
        push(&mut self.events, &mut self.drops, Event::SourceAppeared(stream.clone()));
        let mut source = Incoming::new(
            now,
            stream,
            format,
            section.terms.delivery,
            self.patience,
            self.round_trip.unwrap_or(ROUND_TRIP),
        );
        source.cname = told.and_then(|told| told.cname.clone());
        self.sources.insert(header.ssrc, source);
        if let Some(rtx) = told.and_then(|told| told.rtx_ssrc) {
            self.set_repair(header.ssrc, rtx);
        }
        true
    }

    /// A retransmission (RFC 4588): what it brings goes where the original would have gone, and nowhere else; a
    /// retransmission of a retransmission is a payload like any other, and mostly none.
    fn handle_repair(
        &mut self,
        now: Time,
        packet: &Packet<'_>,
        section: &Section,
        marks: &Marks<'_>,
        payload_type: u8,
    ) {
        let ssrc = packet.header().ssrc;
        let of = self.repairs.get(&ssrc).copied().or_else(|| self.repaired(section, marks));
        let Some(source) = of.and_then(|of| self.sources.get_mut(&of)) else {
            self.drops.unknown += 1;
            return;
        };
        let primary = source.stream.ssrc;
        source.heard = now;
        source.tally.retransmitted += 1;
        source.tally.retransmitted_bytes += packet.payload().len() as u64;
        if source.repair != Some(ssrc) {
            self.set_repair(primary, ssrc);
        }
        // Padding brings nothing; that it came was what it was for.
        let Some((header, payload)) = retransmitted(packet, primary, payload_type) else { return };
        match section.expects(header.payload_type) {
            Some((_, Role::Media)) => self.deliver(now, &header, payload),
            _ => self.drops.malformed += 1,
        }
    }

    /// Which source a new source of retransmissions repairs: the one of the encoding that it names, or the only one of
    /// its section.
    fn repaired(&self, section: &Section, marks: &Marks<'_>) -> Option<u32> {
        let mut sources =
            self.sources.values().filter(|source| source.stream.mid == section.mid && !source.ended);
        match marks.repaired {
            Some(rid) => sources.find(|source| source.stream.rid.as_deref() == Some(rid)),
            None => sources.next().filter(|_| sources.next().is_none()),
        }
        .map(|source| source.stream.ssrc)
    }

    fn set_repair(&mut self, primary: u32, repair: u32) {
        let Some(source) = self.sources.get_mut(&primary) else { return };
        if let Some(old) = source.repair.replace(repair) {
            self.repairs.remove(&old);
        }
        if let Some(other) = self.repairs.insert(repair, primary).filter(|other| *other != primary) {
            self.sources.get_mut(&other).into_iter().for_each(|other| other.repair = None);
        }
    }

    /// A payload with copies of earlier ones (RFC 2198): each goes its way; those that came are known already.
    fn handle_redundant(&mut self, now: Time, header: Header, payload: &[u8]) {
        match Redundancy::parse(header, payload) {
            Ok(copies) => copies
                .filter(|(_, copy)| !copy.is_empty())
                .for_each(|(header, copy)| self.deliver(now, &header, copy)),
            Err(_) => self.drops.malformed += 1,
        }
    }

    fn deliver(&mut self, now: Time, header: &Header, payload: &[u8]) {
        let Some(source) = self.sources.get_mut(&header.ssrc) else { return };
        if let Some(event) = source.handle_packet(now, header, payload) {
            push(&mut self.events, &mut self.drops, event);
        }
        drain_source(now, source, &mut self.events);
    }

    fn drain(&mut self, now: Time) {
        for source in self.sources.values_mut() {
            drain_source(now, source, &mut self.events);
        }
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
        self.sources.values_mut().for_each(|source| source.set_round_trip(round_trip));
    }

    /// What waited too long is asked for or given up.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        for source in self.sources.values_mut() {
            source.handle_timeout(now);
        }
        self.drain(now);
    }

    /// Who has been silent for long has ended.
    pub(super) fn handle_silence(&mut self, now: Time) {
        let silent = |source: &&Incoming| !source.ended && now.since(source.heard) >= SILENCE;
        let silent: Vec<u32> =
            self.sources.values().filter(silent).map(|source| source.stream.ssrc).collect();
        silent.into_iter().for_each(|ssrc| self.end(ssrc));
    }

    /// A source is no more; its number is remembered, should it come again.
    pub(super) fn end(&mut self, ssrc: u32) {
        let Some(source) = self.sources.get_mut(&ssrc).filter(|source| !source.ended) else { return };
        source.ended = true;
        let delivery = source.delivery();
        source.restart(delivery);
        let stream = source.stream.clone();
        push(&mut self.events, &mut self.drops, Event::SourceEnded(stream));
    }

    fn forget(&mut self, ssrc: u32) {
        if let Some(repair) = self.sources.remove(&ssrc).and_then(|source| source.repair) {
            self.repairs.remove(&repair);
        }
    }

    /// The sources of a section, or the one of an encoding.
    pub(super) fn streams<'r>(
        &'r mut self,
        mid: &'r str,
        rid: Option<&'r str>,
    ) -> impl Iterator<Item = &'r mut Incoming> {
        self.sources.values_mut().filter(move |source| {
            *source.stream.mid == *mid
                && !source.ended
                && rid.is_none_or(|rid| source.stream.rid.as_deref() == Some(rid))
        })
    }

    /// Whether there is something to say about when packets arrived.
    pub(super) fn has_feedback(&self) -> bool {
        !self.arrivals.is_empty() || !self.observed.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.sources.values().filter(|source| !source.ended).filter_map(Incoming::poll_timeout).min()
    }
}

/// Frames that are whole become events, as long as somebody takes them.
fn drain_source(now: Time, source: &mut Incoming, events: &mut VecDeque<Event>) {
    while events.len() < MAX_EVENTS {
        let Some(event) = source.poll_frame(now) else { return };
        events.push_back(event);
    }
}

/// Of an owner who does not listen the oldest is forgotten.
fn push(events: &mut VecDeque<Event>, drops: &mut Drops, event: Event) {
    if events.len() >= MAX_EVENTS {
        events.pop_front();
        drops.unheard += 1;
    }
    events.push_back(event);
}

fn find<'s>(sections: &'s [Section], mid: &str) -> Option<&'s Section> {
    sections.iter().find(|section| *section.mid == *mid)
}

/// Whether a source may still send under the terms.
fn stays(source: &Incoming, sections: &[Section]) -> bool {
    let Stream { mid, rid, .. } = &source.stream;
    find(sections, mid).is_some_and(|section| {
        let rids = &section.terms.remote_rids;
        section.terms.receive
            && section.expects(source.payload_type).is_some()
            && rid.as_ref().is_none_or(|rid| rids.is_empty() || rids.iter().any(|known| **known == **rid))
    })
}
