//! What goes to the peer: packets, written where they leave from.

use sansio::{Outbox, Time};

use super::{Association, Stage};
use crate::packet::{CHUNK_HEADER, HEADER, Header, Writer, kind, padded};

/// Packets that turn out empty, one after another, before something is wrong: what was to be sent was given up instead.
const EMPTY: u32 = 16;

impl Association {
    /// Writes packets until nothing is left to be sent, or there is no room.
    pub(super) fn write_packets(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        let mut empty = 0;
        while empty < EMPTY && (self.sender.has_work(now) || self.has_control()) {
            if self.sender.is_in_black_hole() && self.probe.fall_back(now, &mut self.timers) {
                self.set_mtu(self.probe.mtu());
            }
            let size = self.probe.mtu();
            // What carries no data is not to be marked (RFC 3168 §6.1.4).
            let capable = self.marks.is_capable() && self.sender.has_work(now);
            let mut used = 0;
            let mut fill = |buffer: &mut [u8]| {
                used = self.fill(now, buffer, None);
                used
            };
            let taken =
                if capable { out.send_capable((), size, &mut fill) } else { out.send((), size, &mut fill) };
            if !taken {
                break;
            }
            empty = if used == 0 { empty + 1 } else { 0 };
        }
        if let Some(size) = self.probe.wanted() {
            out.send_whole((), size, &mut |buffer| self.fill_probe(now, buffer));
        }
        if self.marks.wants_trial() {
            let room = HEADER + CHUNK_HEADER + 16;
            out.send_capable((), room, &mut |buffer| self.fill_trial(now, buffer));
        }
        self.sender.watch(now, &mut self.timers);
        self.sender.pace(now, &mut self.timers);
    }

    /// Whether something other than data wants to be sent.
    fn has_control(&self) -> bool {
        let waits = self.link.as_ref().is_some_and(|link| {
            link.receiver.wants_sack() || link.receiver.has_more() || link.resets.has_work()
        });
        waits || !self.echoes.is_empty() || self.marks.has_news()
    }

    /// Writes a packet: what it begins with, control chunks, and data as far as it fits.
    fn fill(&mut self, now: Time, buffer: &mut [u8], lead: Option<(u8, &[u8])>) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let header = Header {
            source: self.config.local_port,
            destination: self.config.remote_port,
            tag: link.peer.tag,
        };
        let mut writer = Writer::new(buffer, header);
        if let Some((kind, value)) = lead {
            writer.chunk(kind, 0, &[value]);
        }
        if link.receiver.has_more() {
            link.receiver.write_more(&mut writer);
        } else if link.receiver.may_sack() {
            link.receiver.write_sack(&mut writer, &mut self.timers);
        }
        if self.marks.has_news() || !writer.is_empty() {
            self.marks.write(&mut writer);
        }
        while let Some(echo) =
            self.echoes.pop_front_if(|echo| CHUNK_HEADER + padded(echo.len()) <= writer.room())
        {
            writer.chunk(kind::HEARTBEAT_ACK, 0, &[&echo]);
        }
        if link.resets.has_work() {
            let (last, timeout) = (self.sender.last_tsn(), self.sender.rtt().timeout());
            link.resets.write(now, last, timeout, &mut writer, &mut self.timers);
        }
        self.sender.fill(now, &mut writer);
        if writer.is_empty() {
            return 0;
        }
        // Who gets a COOKIE ECHO does not know yet what was agreed on (RFC 9653 §5.2).
        let is_cookie = lead.is_some_and(|(kind, _)| kind == kind::COOKIE_ECHO);
        writer.finish(is_cookie || !link.peer.unsummed)
    }

    /// Writes a packet that finds out whether its size arrives.
    fn fill_probe(&mut self, now: Time, buffer: &mut [u8]) -> usize {
        let Some(link) = &self.link else { return 0 };
        let header = Header {
            source: self.config.local_port,
            destination: self.config.remote_port,
            tag: link.peer.tag,
        };
        let mut writer = Writer::new(buffer, header);
        self.probe.write(now, &mut writer, &mut self.timers);
        writer.finish(!link.peer.unsummed)
    }

    /// Writes a packet that finds out whether what may be marked arrives.
    fn fill_trial(&mut self, now: Time, buffer: &mut [u8]) -> usize {
        let Some(link) = &self.link else { return 0 };
        let header = Header {
            source: self.config.local_port,
            destination: self.config.remote_port,
            tag: link.peer.tag,
        };
        let mut writer = Writer::new(buffer, header);
        self.marks.write_trial(now, &mut writer, &mut self.timers);
        writer.finish(!link.peer.unsummed)
    }

    /// Writes the next packet of the handshake with what may go along. Returns whether it was taken.
    pub(super) fn write_handshake(&mut self, now: Time, out: &mut dyn Outbox<()>) -> bool {
        let Some(chunk) = self.handshake.poll() else { return true };
        let written = if matches!(chunk.kind, kind::COOKIE_ECHO | kind::COOKIE_ACK) && self.link.is_some() {
            // DATA may travel with these two (RFC 9260 §5.1 C, D).
            if chunk.kind == kind::COOKIE_ECHO && self.handshake.is_repeated() {
                self.sender.lose_all();
            }
            let mtu = self.probe.mtu();
            out.send((), mtu, &mut |buffer| self.fill(now, buffer, Some((chunk.kind, &chunk.value))))
        } else {
            let header = Header {
                source: self.config.local_port,
                destination: self.config.remote_port,
                tag: chunk.tag,
            };
            let length = HEADER + CHUNK_HEADER + padded(chunk.value.len());
            out.send((), length, &mut |buffer| {
                let mut writer = Writer::new(buffer, header);
                writer.chunk(chunk.kind, 0, &[&chunk.value]);
                writer.finish(true)
            })
        };
        if written {
            self.handshake.sent(now);
        }
        written
    }

    pub(super) fn write_abort(&mut self, cause: u16, out: &mut dyn Outbox<()>) {
        let Some(peer) = self.handshake.peer() else { return };
        let header =
            Header { source: self.config.local_port, destination: self.config.remote_port, tag: peer.tag };
        let written = out.send((), HEADER + 8, &mut |buffer| {
            let mut writer = Writer::new(buffer, header);
            writer.chunk(kind::ABORT, 0, &[&cause.to_be_bytes(), &4u16.to_be_bytes()]);
            writer.finish(true)
        });
        if written {
            self.stage = Stage::Over;
        }
    }
}
