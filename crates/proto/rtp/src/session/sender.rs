use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sansio::{Outbox, Rng, Time};

use crate::bandwidth::{EstimatorConfig, Pacer, Priority};
use crate::extension::Name;
use crate::ntp::NtpClock;
use crate::packet::Packet;
use crate::rtcp::ReportBlock;
use crate::session::allocation::{most, share_out};
use crate::session::event::Event;
use crate::session::frame::{OutgoingFrame, OutgoingPacket, SendError};
use crate::session::outgoing::{Dress, Outgoing};
use crate::session::rate::{Rate, Says};
use crate::session::section::Section;
use crate::session::terms::{Encoding, Kind};
use crate::srtp::MAX_OVERHEAD;

/// All that goes: what waits for its turn, and how fast it leaves.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) outgoing: Vec<Outgoing>,
    /// Those that are not sent any more, by the terms. Should one be sent again, it goes on with its numbers: one that came
    /// twice under one key would lay two packets open, and is therefore never protected.
    resting: Vec<Outgoing>,
    pacer: Pacer<Waiting>,
    pub(super) rate: Rate,
    pub(super) events: VecDeque<Event>,
    pub(super) round_trip: Option<Duration>,
    /// Bytes of a protected packet at most.
    max_packet: usize,
}

/// A packet that waits for its turn; its bytes are in the history of its encoding.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ssrc: u32,
    number: u16,
    since: Time,
    /// Whether it is sent again.
    again: bool,
}

/// Encodings that are sent at most, in all sections.
const MAX_OUTGOING: usize = 128;
/// How far key frames that the application is asked for are apart at least.
const KEY_FRAMES: Duration = Duration::from_millis(200);
/// How long the way there and back is taken to be, until a report says so.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// About what is around a payload when it leaves.
const AROUND: usize = 60;

/// Takes out what is sent as the source of this encoding.
fn known(among: &mut Vec<Outgoing>, encoding: &Encoding, kind: Kind) -> Option<Outgoing> {
    let at = among.iter().position(|one| one.encoding.ssrc == encoding.ssrc && one.kind == kind)?;
    Some(among.remove(at))
}

impl Sender {
    pub(super) fn new(bandwidth: EstimatorConfig, max_packet: usize) -> Self {
        let rate = Rate::new(bandwidth);
        Self {
            outgoing: Vec::new(),
            resting: Vec::new(),
            pacer: Pacer::new(Time::ZERO, rate.target()),
            rate,
            events: VecDeque::new(),
            round_trip: None,
            max_packet,
        }
    }

    /// Goes on under other terms. Returns the sources that are no more.
    pub(super) fn set_terms(&mut self, sections: &[Section], rng: &mut Rng) -> Vec<u32> {
        let mut old = std::mem::take(&mut self.outgoing);
        for section in sections {
            for encoding in section.terms.send.iter().flatten() {
                let kept = known(&mut old, encoding, section.terms.kind);
                let kept = kept.or_else(|| known(&mut self.resting, encoding, section.terms.kind));
                let one = match kept {
                    Some(mut one) => {
                        one.set_encoding(section, encoding.clone(), rng);
                        one
                    }
                    None => Outgoing::new(section, encoding.clone(), rng),
                };
                if self.outgoing.len() < MAX_OUTGOING {
                    self.outgoing.push(one);
                }
            }
        }
        let numbered = |section: &Section| {
            section.id(Name::TransportSequenceNumber).is_some()
                && section.hears(|format| format.feedback.transport_cc)
        };
        self.rate.set_feedback(if sections.iter().any(numbered) {
            Says::Transport
        } else if sections.iter().any(|section| section.hears(|format| format.feedback.ccfb)) {
            Says::Sources
        } else {
            Says::Losses
        });
        self.rate.set_most(most(&self.outgoing));
        old.retain(|one| one.source.packets() > 0);
        old.iter_mut().for_each(Outgoing::rest);
        let gone = old.iter().map(|one| one.encoding.ssrc).collect();
        self.resting.append(&mut old);
        let forgotten = self.resting.len().saturating_sub(MAX_OUTGOING);
        self.resting.drain(..forgotten);
        gone
    }

    /// There are keys: what was refused until now is asked for.
    pub(super) fn begin(&mut self, now: Time) {
        for at in 0..self.outgoing.len() {
            self.ask_for_key_frame(now, at);
        }
        self.allocate(now);
    }

    /// Whether a source is one of ours.
    pub(super) fn has(&self, ssrc: u32) -> bool {
        self.outgoing.iter().any(|one| one.encoding.ssrc == ssrc || one.encoding.rtx_ssrc == Some(ssrc))
    }

    fn find(&self, mid: &str, rid: Option<&str>) -> Result<usize, SendError> {
        let named = |one: &Outgoing| *one.mid == *mid && (rid.is_none() || one.rid.as_deref() == rid);
        let at = self.outgoing.iter().position(named).ok_or(SendError::NotSending)?;
        let one = &self.outgoing[at];
        match (one.encoding.active, one.paused) {
            (false, _) => Err(SendError::NotSending),
            (true, true) => Err(SendError::Paused),
            (true, false) => Ok(at),
        }
    }

    pub(super) fn write_frame(
        &mut self,
        now: Time,
        section: &Section,
        rid: Option<&str>,
        frame: &OutgoingFrame<'_>,
    ) -> Result<(), SendError> {
        let at = self.find(&section.mid, rid)?;
        let format = section.format(frame.payload_type).ok_or(SendError::UnknownFormat)?;
        let around = 12 + section.extension_bytes() + 2 + MAX_OVERHEAD;
        let max = if format.codec.is_audio() {
            self.max_packet
        } else {
            self.max_packet.min(self.rate.packet_bytes().saturating_add(around))
        };
        let Self { outgoing, pacer, .. } = self;
        let one = &mut outgoing[at];
        let (ssrc, priority) = (one.encoding.ssrc, priority(one.kind));
        one.write_frame(now, section, format, max.saturating_sub(around), frame, &mut |number, bytes| {
            pacer.push(now, priority, bytes + around / 2, Waiting { ssrc, number, since: now, again: false })
        })
    }

    pub(super) fn write_packet(
        &mut self,
        now: Time,
        section: &Section,
        rid: Option<&str>,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), SendError> {
        let at = self.find(&section.mid, rid)?;
        let format = section.format(Some(packet.payload_type)).ok_or(SendError::UnknownFormat)?;
        let Self { outgoing, pacer, .. } = self;
        let one = &mut outgoing[at];
        let (ssrc, priority) = (one.encoding.ssrc, priority(one.kind));
        one.write_packet(now, section, format, packet, &mut |number, bytes| {
            pacer.push(now, priority, bytes + AROUND, Waiting { ssrc, number, since: now, again: false })
        })
    }

    /// Sends what has its turn into an outbox that protects it.
    pub(super) fn transmit(&mut self, now: Time, sections: &[Section], out: &mut dyn Outbox<()>) {
        if self.outgoing.iter().any(Outgoing::can_pad)
            && let Some(probe) = self.rate.poll_probe(now)
        {
            self.pacer.probe(probe);
        }
        self.pacer.set_rate(self.rate.target());
        while out.room() >= 2 * self.max_packet {
            let Some(departure) = self.pacer.poll(now) else { break };
            match departure.packet {
                Some(waiting) => {
                    self.send(now, sections, waiting, departure.probe, out);
                }
                None => self.pad(now, sections, departure.bytes, departure.probe, out),
            }
        }
    }

    /// Sends a packet that waits in a history; one that is no more there is left out.
    fn send(
        &mut self,
        now: Time,
        sections: &[Section],
        waiting: Waiting,
        probe: Option<u32>,
        out: &mut dyn Outbox<()>,
    ) -> Option<()> {
        let one = self.outgoing.iter_mut().find(|one| one.encoding.ssrc == waiting.ssrc)?;
        let section = sections.iter().find(|section| section.mid == one.mid)?;
        if !waiting.again {
            let packet = Packet::parse(one.history.get(waiting.number)?).ok()?;
            let dress = dress(section, one.acknowledged, one.rid.as_deref(), now, &self.rate);
            let max = packet.bytes().len() + dress.bytes();
            let sent = write(out, max, &mut |buffer| dress.write(&packet, 0, buffer));
            one.tally.packets += 1;
            one.tally.bytes += packet.payload().len() as u64;
            one.tally.header_bytes += sent.saturating_sub(packet.payload().len()) as u64;
            one.tally.delay += now.since(waiting.since);
            one.history.depart(waiting.number);
            let which = (waiting.ssrc, waiting.number);
            self.rate.handle_sent(now, which, sent + MAX_OVERHEAD, probe, dress.number.is_some());
            return Some(());
        }
        let round_trip = self.round_trip.unwrap_or(ROUND_TRIP);
        let packet = Packet::parse(one.history.missed(now, waiting.number, round_trip)?).ok()?;
        let mut dress = dress(section, false, one.rid.as_deref(), now, &self.rate);
        let payload = packet.payload().len();
        dress.repair = match (&mut one.rtx, one.rtx_payload_type) {
            (Some(rtx), Some(_)) => Some(rtx.header(now, Duration::ZERO, false, payload)),
            // Without a source of its own it would use a number twice.
            _ => return None,
        };
        let max = packet.bytes().len() + dress.bytes();
        let sent = write(out, max, &mut |buffer| dress.write(&packet, 0, buffer));
        one.tally.packets += 1;
        one.tally.bytes += payload as u64;
        one.tally.header_bytes += sent.saturating_sub(payload) as u64;
        one.tally.retransmitted += 1;
        one.tally.retransmitted_bytes += payload as u64;
        let which = dress.repair.map_or((0, 0), |own| (own.ssrc, own.sequence_number));
        self.rate.handle_sent(now, which, sent + MAX_OVERHEAD, probe, dress.number.is_some());
        Some(())
    }

    /// Fills a probe: with what was sent before, which may be of use to somebody, or with padding.
    fn pad(
        &mut self,
        now: Time,
        sections: &[Section],
        bytes: usize,
        probe: Option<u32>,
        out: &mut dyn Outbox<()>,
    ) {
        let Some(one) = self.outgoing.iter_mut().find(|one| one.can_pad()) else { return };
        let Some(section) = sections.iter().find(|section| section.mid == one.mid) else { return };
        let Some(rtx) = &mut one.rtx else { return };
        // One packet of the size, if one that was sent was nearly as large; else as many of padding as it takes, all alike,
        // so that what is measured by them is right.
        let mut dress = dress(section, false, one.rid.as_deref(), now, &self.rate);
        let around = 12 + dress.added() + MAX_OVERHEAD;
        let kept =
            one.history.largest(bytes.saturating_sub(around)).and_then(|kept| Packet::parse(kept).ok());
        if let Some((packet, padding)) = kept.and_then(|kept| fits(kept, bytes, around)) {
            let header = rtx.header(now, Duration::ZERO, false, packet.payload().len());
            dress.repair = Some(header);
            let max = packet.bytes().len() + dress.bytes() + usize::from(padding);
            let sent = write(out, max, &mut |buffer| dress.write(&packet, padding, buffer));
            one.tally.pad(sent);
            let which = (header.ssrc, header.sequence_number);
            self.rate.handle_sent(now, which, sent + MAX_OVERHEAD, probe, dress.number.is_some());
            return;
        }
        let packets = bytes.div_ceil(255 + around).max(1);
        let padding = (bytes / packets).saturating_sub(around).clamp(1, 255) as u8;
        for _ in 0..packets {
            dress.number = dress.number.map(|_| self.rate.number());
            let header = rtx.header(now, Duration::ZERO, false, 0);
            dress.repair = Some(header);
            let max = 12 + dress.bytes() + usize::from(padding);
            let sent = write(out, max, &mut |buffer| dress.pad(&header, padding, buffer));
            one.tally.pad(sent);
            let which = (header.ssrc, header.sequence_number);
            self.rate.handle_sent(now, which, sent + MAX_OVERHEAD, probe, dress.number.is_some());
        }
    }

    /// The other side misses packets.
    pub(super) fn handle_nack(&mut self, now: Time, ssrc: u32, lost: &[u16]) {
        let Some(one) = self.outgoing.iter_mut().find(|one| one.encoding.ssrc == ssrc) else { return };
        one.tally.nacks += 1;
        if one.rtx.is_none() || one.rtx_payload_type.is_none() {
            return;
        }
        for number in lost {
            if let Some(packet) = one.history.get(*number) {
                let bytes = packet.len() + AROUND;
                let waiting = Waiting { ssrc, number: *number, since: now, again: true };
                self.pacer.push(now, Priority::Retransmission, bytes, waiting);
            }
        }
    }

    /// The other side cannot see: several who say so are one wish. `request` is the number of a request that counts
    /// (RFC 5104 §4.3.1.1: asking again with the same is no new one).
    pub(super) fn handle_key_frame_request(&mut self, now: Time, ssrc: u32, request: Option<u8>) {
        let Some(at) = self.outgoing.iter().position(|one| one.encoding.ssrc == ssrc) else { return };
        let one = &mut self.outgoing[at];
        match request {
            Some(_) => one.tally.firs += 1,
            None => one.tally.plis += 1,
        }
        if request.is_some() && one.request == request {
            return;
        }
        one.request = request.or(one.request);
        self.ask_for_key_frame(now, at);
    }

    fn ask_for_key_frame(&mut self, now: Time, at: usize) {
        let one = &mut self.outgoing[at];
        let recently = one.key_frame_asked.is_some_and(|asked| now.since(asked) < KEY_FRAMES);
        if one.kind == Kind::Audio || !one.encoding.active || one.paused || recently {
            return;
        }
        one.key_frame_asked = Some(now);
        push(&mut self.events, Event::KeyFrameRequested { mid: one.mid.clone(), rid: one.rid.clone() });
    }

    /// The other side says what it received of a source.
    pub(super) fn handle_report(&mut self, now: Time, clock: &NtpClock, block: &ReportBlock) {
        let Some(one) = self.outgoing.iter_mut().find(|one| one.encoding.ssrc == block.ssrc) else { return };
        one.acknowledged = true;
        one.source.handle_report(now, clock, block);
        one.report = Some((now, *block));
        self.rate.handle_loss(now, one.source.fraction_lost());
        if let Some(round_trip) = one.source.round_trip().filter(|_| block.last_report != 0) {
            self.rate.set_round_trip(round_trip);
            self.round_trip = Some(round_trip);
        }
    }

    /// Shares out what the way can carry, and tells the application what has changed.
    pub(super) fn allocate(&mut self, now: Time) {
        share_out(&mut self.outgoing, self.rate.target());
        for at in 0..self.outgoing.len() {
            let one = &mut self.outgoing[at];
            let share = one.share as u64;
            let resumed = one.told == 0 && share > 0 && one.tally.packets > 0;
            // Small changes are not worth an encoder's while.
            if share.abs_diff(one.told) <= one.told / 20 && (share == 0) == (one.told == 0) {
                continue;
            }
            one.told = share;
            let (mid, rid): (Arc<str>, _) = (one.mid.clone(), one.rid.clone());
            push(&mut self.events, Event::BitrateChanged { mid, rid, bits_per_second: share });
            if resumed {
                one.needs_key_frame = one.kind == Kind::Video;
                self.ask_for_key_frame(now, at);
            }
        }
    }

    /// When something has its turn, or there may be a probe.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let probe = self.rate.poll_timeout().filter(|_| self.outgoing.iter().any(Outgoing::can_pad));
        [self.pacer.poll_timeout(), probe].into_iter().flatten().min()
    }
}

fn priority(kind: Kind) -> Priority {
    match kind {
        Kind::Audio => Priority::Audio,
        Kind::Video => Priority::Video,
    }
}

/// What leaves now has in front. Where it belongs is said until the receiver has reported about it; a simulcast says it
/// always, since its retransmissions are told apart by nothing else.
fn dress<'a>(
    section: &'a Section,
    acknowledged: bool,
    rid: Option<&'a str>,
    now: Time,
    rate: &Rate,
) -> Dress<'a> {
    let told = acknowledged && rid.is_none();
    let number = section.id(Name::TransportSequenceNumber).map(|_| rate.number());
    Dress { section, mid: !told, rid: rid.filter(|_| !told), now, number, repair: None }
}

/// A kept packet as part of a probe, with how much padding it takes to be as large as it should.
fn fits(kept: Packet<'_>, bytes: usize, around: usize) -> Option<(Packet<'_>, u8)> {
    let elements = kept.header_bytes().saturating_sub(16);
    let left = bytes.checked_sub(kept.payload().len() + 2 + around + elements)?;
    u8::try_from(left).ok().map(|padding| (kept, padding))
}

/// Writes a packet; returns its length, before it was protected.
fn write(out: &mut dyn Outbox<()>, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> usize {
    let mut length = 0;
    out.send((), max, &mut |buffer| {
        length = fill(buffer);
        length
    });
    length
}

/// Of an owner who does not listen the oldest is forgotten.
fn push(events: &mut VecDeque<Event>, event: Event) {
    const MAX_EVENTS: usize = 1024;
    if events.len() >= MAX_EVENTS {
        events.pop_front();
    }
    events.push_back(event);
}
