//! What goes to the peer: queues, turns and packets.

use bytes::Bytes;
use sansio::{Outbox, Time};

use super::{Association, Stage};
use crate::bundler::Bundler;
use crate::engine::{Engine, Protocol};
use crate::packet::{self, HEADER, Header, kind};
use crate::turns::quantum;

impl Association {
    /// Queues a message of the application.
    pub(super) fn write(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.queued += data.len();
        channel.queue.push_back((protocol, data));
        self.watched.insert(id);
        self.offer(id);
    }

    /// Sees to it that what is queued on a channel gets to the engine, if there is one: in turn with the others, or
    /// at once if its messages have a limit.
    pub(super) fn offer(&mut self, id: u16) {
        let Some(channel) = self.channels.get(&id) else { return };
        if self.engine.is_none() || channel.queue.is_empty() || self.unstarted.contains(&id) {
            return;
        }
        if channel.is_hasty() {
            while let Some((protocol, data)) = self.next_of(id) {
                self.give(id, protocol, data);
            }
        } else {
            self.turns.join(id);
        }
    }

    /// Takes the next message out of a channel's queue.
    pub(super) fn next_of(&mut self, id: u16) -> Option<(Protocol, Bytes)> {
        let channel = self.channels.get_mut(&id)?;
        let (protocol, data) = channel.queue.pop_front()?;
        channel.queued -= data.len();
        Some((protocol, data))
    }

    /// Gives the engine as much of the queues as it may hold.
    pub(super) fn feed(&mut self) {
        while let Some(id) = self.turns.current() {
            let Some(channel) = self.channels.get_mut(&id).filter(|channel| !channel.queue.is_empty()) else {
                self.turns.leave();
                continue;
            };
            if channel.credit <= 0 {
                channel.credit += quantum(channel.config.priority);
                self.turns.rotate();
                continue;
            }
            if let Some((protocol, data)) = self.next_of(id) {
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.credit -= data.len() as i64;
                    if channel.queue.is_empty() {
                        channel.credit = channel.credit.min(0);
                    }
                }
                self.give(id, protocol, data);
            }
        }
    }

    /// Gives a message to the engine.
    pub(super) fn give(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let (Some(engine), Some(channel)) = (&mut self.engine, self.channels.get_mut(&id)) else { return };
        let length = data.len();
        if protocol == Protocol::Dcep {
            channel.control += length as u64;
        } else {
            let reliability = (!channel.config.ordered && channel.known, channel.config.reliability);
            if channel.reliability != Some(reliability) {
                channel.reliability = Some(reliability);
                engine.set_reliability(id, reliability.0, reliability.1);
            }
        }
        if engine.write(id, protocol, data) {
            channel.written += length as u64;
            self.turns.given(id, length);
        }
    }

    /// The last acknowledged number, if the peer was last told that there is little room and now there is much.
    pub(super) fn reopened(&self) -> Option<u32> {
        let last = self.bundler.as_ref().and_then(Bundler::acknowledged)?;
        let window = self.local.window;
        let room = last.window as usize + self.read;
        (last.window < window / 4 && room >= window as usize / 2).then_some(last.tsn)
    }

    /// Whether there is something to send that was not there when [`Association::poll_transmit`] was called last.
    pub(super) fn has_news(&self) -> bool {
        self.handshake.is_established()
            && self.bundler.as_ref().is_some_and(Bundler::is_empty)
            && (self.reopened().is_some() || self.engine.as_ref().is_some_and(Engine::is_dirty))
    }

    /// Gets the engine's packets, if there are none.
    pub(super) fn refill(&mut self, now: Time) {
        self.feed();
        if let (Some(engine), Some(bundler), Some(repair)) =
            (&mut self.engine, &mut self.bundler, &mut self.repair)
            && bundler.is_empty()
        {
            let before = bundler.acknowledged();
            let rtt = engine.rtt();
            if self.timeouts != engine.timeouts() {
                self.timeouts = engine.timeouts();
                repair.timed_out();
            }
            engine.transmit(now, |packet| {
                self.turns.sent(&packet);
                let left = repair.watch(now, rtt, packet, |stream| self.turns.is_hasty(stream));
                left.into_iter().for_each(|packet| bundler.push(packet));
            });
            while let Some(packet) = repair.poll(now) {
                bundler.push(packet);
            }
            if self.turns.is_idle() {
                bundler.hurry();
            }
            bundler.complete();
            if bundler.acknowledged() != before {
                self.read = 0;
            }
        }
    }

    /// Writes the next packet of the handshake with what may go along. Returns whether it was taken.
    pub(super) fn write_handshake(&mut self, now: Time, out: &mut dyn Outbox<()>) -> bool {
        let Some(chunk) = self.handshake.poll() else { return true };
        let header =
            Header { source: self.config.local_port, destination: self.config.remote_port, tag: chunk.tag };
        let mut bytes = vec![0; HEADER + packet::CHUNK_HEADER + packet::padded(chunk.value.len())];
        let mut writer = packet::Writer::new(&mut bytes, header);
        writer.chunk(chunk.kind, 0, &[&chunk.value]);
        writer.finish();
        let written = if matches!(chunk.kind, kind::COOKIE_ECHO | kind::COOKIE_ACK) && self.bundler.is_some()
        {
            // DATA may travel with these two (RFC 9260 §5.1 C, D).
            self.refill(now);
            let length = packet::CHUNK_HEADER + chunk.value.len();
            let lead = &bytes[HEADER..HEADER + length];
            self.bundler.as_mut().is_some_and(|bundler| bundler.write(Some(lead), out))
        } else {
            out.send_bytes((), &bytes)
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
        let mut bytes = [0; HEADER + 8];
        let mut writer = packet::Writer::new(&mut bytes, header);
        writer.chunk(kind::ABORT, 0, &[&cause.to_be_bytes(), &4u16.to_be_bytes()]);
        let used = writer.finish();
        if out.send_bytes((), &bytes[..used]) {
            self.stage = Stage::Over;
        }
    }
}
