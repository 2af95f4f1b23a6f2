//! What goes into a packet: what is given up, what is lost, what is new.

use sansio::Time;

use super::backlog::Fragment;
use super::{Forwarding, Sender};
use crate::chunk::{Data, Forward, flag};
use crate::packet::{CHUNK_HEADER, HEADER, Writer};

impl Sender {
    /// Writes what fits into a packet.
    pub(crate) fn fill(&mut self, now: Time, writer: &mut Writer<'_>) {
        let before = writer.room();
        if self.forward == Forwarding::Due {
            self.write_forward(now, writer);
        }
        self.write_copies(writer);
        self.write_lost(now, writer);
        // What asks for an answer had better be small.
        let asks = self.probe && self.mtu > self.base;
        if !self.flight.has_lost() && !asks {
            self.write_new(now, writer);
        }
        if std::mem::take(&mut self.probe) && writer.room() == before {
            self.write_probe(now, writer);
        }
        let used = before - writer.room();
        self.pacer.spend(used);
        self.unwatched |= used > 0;
        self.packet += 1;
        if self.backlog.is_empty() && self.flight.bytes() < self.congestion.window() {
            self.meter.starve(self.flight.bytes());
        }
    }

    fn write_forward(&mut self, now: Time, writer: &mut Writer<'_>) {
        self.forward = Forwarding::Idle;
        let interleaved = self.backlog.is_interleaved();
        let limit = writer.room().saturating_sub(CHUNK_HEADER + 4) / Forward::entry(interleaved);
        if self.flight.is_advanced() && limit > 0 {
            let (cumulative, skipped) = self.flight.skipped(interleaved, limit);
            Forward::write(cumulative, interleaved, skipped.into_iter(), writer);
            self.forward = Forwarding::Sent(now);
        }
    }

    fn write_lost(&mut self, now: Time, writer: &mut Writer<'_>) {
        while let Some(tsn) = self.flight.next_lost() {
            if self.partial && self.flight.is_limit_reached(now, tsn) {
                self.abandon(now, tsn);
                continue;
            }
            // A probe may be too much for the window: nothing else would get things going again if an answer was lost.
            let full =
                self.flight.bytes() > 0 && self.flight.bytes() >= self.congestion.window() && !self.probe;
            if full || !self.write_again(now, tsn, writer) {
                return;
            }
            if self.rtt.backoff() == 0 && self.flight.is_urgent(tsn) {
                self.copies.push_back((self.packet, tsn));
            }
        }
    }

    /// Writes what was sent again in packets before this one, once more.
    fn write_copies(&mut self, writer: &mut Writer<'_>) {
        while let Some(&(packet, tsn)) = self.copies.front().filter(|(packet, _)| *packet < self.packet) {
            if let Some(sent) = self.flight.under_way(packet, tsn) {
                let interleaved = self.backlog.is_interleaved();
                if Data::header(interleaved) + sent.fragment.data.len() > writer.room() {
                    return;
                }
                chunk(&sent.fragment, tsn, flag::IMMEDIATELY).write(interleaved, writer);
                self.copied = self.copied.saturating_add(1);
            }
            self.copies.pop_front();
        }
    }

    /// Writes a chunk that was sent before. Returns whether it fitted.
    fn write_again(&mut self, now: Time, tsn: u64, writer: &mut Writer<'_>) -> bool {
        let Some(sent) = self.flight.get(tsn) else { return false };
        let interleaved = self.backlog.is_interleaved();
        if Data::header(interleaved) + sent.fragment.data.len() > writer.room() {
            return false;
        }
        chunk(&sent.fragment, tsn, flag::IMMEDIATELY).write(interleaved, writer);
        let snapshot = self.meter.sent(now, self.flight.bytes());
        self.flight.resend(now, self.packet, tsn, snapshot);
        self.note_size(tsn, writer);
        true
    }

    fn write_new(&mut self, now: Time, writer: &mut Writer<'_>) {
        let interleaved = self.backlog.is_interleaved();
        let header = Data::header(interleaved);
        let window = self.congestion.window();
        // A packet that is begun may be filled (RFC 9260 §6.1 B).
        let mut begun = false;
        while !self.backlog.is_empty() && !self.flight.is_full() {
            let under_way = self.flight.payload();
            let credit = match self.window.saturating_sub(under_way) {
                _ if self.peek && under_way == 0 => self.mtu,
                credit => credit,
            };
            if credit == 0
                || !begun && self.flight.bytes() > 0 && self.flight.bytes() >= window && !self.probe
            {
                return;
            }
            let room = writer.room().min(self.base - HEADER);
            let Some(fragment) = self.backlog.next(now, header, room, credit) else { return };
            if self.partial && fragment.limit.is_reached(now, 0) {
                // Too late for the rest of a message that is begun.
                self.backlog.release(fragment.stream, fragment.protocol, fragment.data.len());
                self.flight.push_abandoned(now, fragment);
                self.abandon(now, self.flight.last_assigned());
                continue;
            }
            begun = true;
            let hurry = if self.backlog.is_empty() { flag::IMMEDIATELY } else { 0 };
            chunk(&fragment, self.flight.next(), hurry).write(interleaved, writer);
            let snapshot = self.meter.sent(now, self.flight.bytes());
            self.flight.push(now, self.packet, fragment, snapshot);
            self.note_size(self.flight.last_assigned(), writer);
            self.peeked |= std::mem::take(&mut self.peek) && self.window < self.mtu;
        }
    }

    fn note_size(&mut self, tsn: u64, writer: &Writer<'_>) {
        if writer.used() > self.base {
            self.flight.set_large(tsn);
        }
    }

    fn write_probe(&mut self, now: Time, writer: &mut Writer<'_>) {
        if let Some(tsn) = self.flight.repeatable(now) {
            self.write_again(now, tsn, writer);
        }
    }

    /// Gives up the message that a chunk belongs to.
    fn abandon(&mut self, now: Time, tsn: u64) {
        let Some(sent) = self.flight.get(tsn) else { return };
        let (stream, message) = (sent.fragment.stream, sent.fragment.message);
        let unordered = sent.fragment.flags & flag::UNORDERED != 0;
        if let Some(rest) = self.backlog.abandon(stream, unordered, message) {
            self.flight.push_abandoned(now, rest);
        }
        let backlog = &mut self.backlog;
        self.flight.abandon(tsn, |fragment| {
            backlog.release(fragment.stream, fragment.protocol, fragment.data.len());
        });
        if self.flight.advance() {
            self.forward = Forwarding::Due;
        }
    }
}

fn chunk(fragment: &Fragment, tsn: u64, flags: u8) -> Data<'_> {
    Data {
        flags: fragment.flags | flags,
        tsn: tsn as u32,
        stream: fragment.stream,
        message: fragment.message,
        protocol: fragment.protocol,
        fragment: fragment.number,
        payload: &fragment.data,
    }
}
