//! What comes from the peer: packets taken apart, channels accepted, messages read.

use sansio::Time;

use super::slot::{Closing, Protocol, Slot};
use super::{Association, PROTOCOL_VIOLATION, USER_INITIATED};
use crate::chunk::{Data, Forward, Sack};
use crate::dcep;
use crate::marks::Marks;
use crate::packet::{self, Checksum, Chunk, Chunks, Header, kind};
use crate::receiver::{Message, Verdict};
use crate::{ChannelId, Event, MessageKind, Role, SctpError};
use bytes::Bytes;

/// Messages, and bytes of them, that are kept for channels that do not exist yet.
const EARLY: (usize, usize) = (256, 1 << 20);
/// HEARTBEATs that wait to be answered.
const ECHOES: usize = 4;

impl Association {
    /// Takes a packet that the layer below authenticated.
    pub fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        self.now = now;
        let marked = std::mem::take(&mut self.marked);
        if self.is_over() {
            self.drops.untimely += 1;
            return;
        }
        let Some((header, chunks)) = packet::parse(packet) else {
            self.drops.malformed += 1;
            return;
        };
        if header.source != self.config.remote_port || header.destination != self.config.local_port {
            self.drops.misdirected += 1;
            return;
        }
        if !self.is_intact(packet, chunks.clone()) {
            return;
        }
        if marked {
            self.note_mark(chunks.clone());
        }
        for chunk in chunks {
            if !self.handle_chunk(header, chunk) || self.is_over() {
                break;
            }
        }
        let Some(link) = &mut self.link else { return };
        link.receiver.handle_packet(now, &mut self.timers);
        if let Some(reset) = link.resets.progressed(link.receiver.cumulative()) {
            self.handle_reset(reset);
        }
    }

    /// Looks at the checksum. It may be missing if we said so (RFC 9653 §5.3), but not before the peer can have heard it.
    fn is_intact(&mut self, packet: &[u8], mut chunks: Chunks<'_>) -> bool {
        match packet::checked(packet) {
            Checksum::Right => return true,
            Checksum::Zero => {
                let too_early = chunks.any(|chunk| matches!(chunk.kind(), kind::INIT | kind::COOKIE_ECHO));
                if self.config.zero_checksum && !too_early || packet::checksum(packet) == 0 {
                    return true;
                }
                self.drops.unsummed += 1;
            }
            Checksum::Wrong => self.drops.malformed += 1,
        }
        false
    }

    /// A packet with these chunks was marked on its way.
    fn note_mark(&mut self, chunks: Chunks<'_>) {
        let Some(link) = self.link.as_mut().filter(|_| self.marks.is_agreed()) else { return };
        let data = chunks.filter(|chunk| matches!(chunk.kind(), kind::DATA | kind::I_DATA));
        if let Some(lowest) = data.filter_map(Data::parse).map(|data| link.receiver.place(data.tsn)).min() {
            self.marks.arrived(lowest);
        }
    }

    /// Takes a chunk. Returns whether to go on with the next.
    fn handle_chunk(&mut self, header: Header, chunk: Chunk<'_>) -> bool {
        match chunk.kind() {
            kind::INIT | kind::INIT_ACK | kind::COOKIE_ECHO | kind::COOKIE_ACK => {
                let progress = self.handshake.handle(header.tag, chunk.kind(), chunk.value());
                self.progress(progress);
            }
            kind::ABORT => {
                self.handle_abort(header, chunk);
                return false;
            }
            kind if is_for_link(kind) => {
                if header.tag != self.local.tag {
                    self.drops.misdirected += 1;
                    return false;
                }
                let progress = self.handshake.confirmed();
                self.progress(progress);
                self.handle_linked(chunk);
            }
            kind::PAD => {}
            // An unknown type says by its highest bit whether to go on with the rest of the packet (RFC 9260 §3.2).
            kind => {
                self.drops.ignored += 1;
                return kind <= kind::SHUTDOWN_COMPLETE || kind & 0x80 != 0;
            }
        }
        true
    }

    /// Takes a chunk of an association that is up.
    fn handle_linked(&mut self, chunk: Chunk<'_>) {
        let now = self.now;
        let Some(link) = &mut self.link else {
            self.drops.untimely += 1;
            return;
        };
        match chunk.kind() {
            kind::DATA | kind::I_DATA => self.handle_data(chunk),
            kind::SACK | kind::FURTHER_SACK => self.handle_sack(chunk),
            kind::FORWARD_TSN | kind::I_FORWARD_TSN => {
                // RFC 8260 §2.3.1: one of them belongs to each kind of DATA.
                if (chunk.kind() == kind::I_FORWARD_TSN) != link.receiver.is_interleaved() {
                    return self.violated("FORWARD-TSN of the wrong kind");
                }
                let sound =
                    Forward::parse(chunk).is_some_and(|forward| link.receiver.handle_forward(&forward));
                self.drops.absurd += u64::from(!sound);
            }
            kind::RE_CONFIG => {
                let cumulative = link.receiver.cumulative();
                let happened = link.resets.handle(chunk, cumulative, &mut self.timers);
                happened.into_iter().for_each(|reset| self.handle_reset(reset));
            }
            kind::HEARTBEAT => {
                if self.echoes.len() < ECHOES && chunk.bytes.len() + packet::HEADER <= self.config.mtu {
                    self.echoes.push_back(chunk.value().to_vec());
                }
            }
            kind::ECNE if self.marks.is_agreed() => self.handle_echo(chunk),
            kind::CWR if self.marks.is_agreed() => {
                self.drops.ignored += u64::from(!self.marks.handle_reduced(chunk));
            }
            kind::HEARTBEAT_ACK if self.marks.handle_answer(chunk.value(), &mut self.timers) => {}
            kind::HEARTBEAT_ACK => match self.probe.handle_answer(now, chunk.value(), &mut self.timers) {
                Some(rtt) => {
                    self.sender.measured(now, rtt);
                    self.set_mtu(self.probe.mtu());
                }
                None => self.drops.ignored += 1,
            },
            // The peer shuts down. It has all that it will take (RFC 9260 §9.2), and RFC 8831 §6.2 closes channels.
            kind::SHUTDOWN | kind::SHUTDOWN_ACK => self.end(Event::Closed, Some(USER_INITIATED)),
            _ => self.drops.ignored += 1,
        }
    }

    fn handle_data(&mut self, chunk: Chunk<'_>) {
        let Some(link) = &mut self.link else { return };
        if (chunk.kind() == kind::I_DATA) != link.receiver.is_interleaved() {
            // "MUST abort the association" (RFC 8260 §2.2.3)
            return self.violated("DATA of the wrong kind");
        }
        let Some(data) = Data::parse(chunk) else {
            self.drops.malformed += 1;
            return;
        };
        if data.payload.is_empty() {
            // "MUST send an ABORT" (RFC 9260 §6.2)
            return self.violated("DATA without data");
        }
        match link.receiver.handle_data(self.now, &data) {
            Verdict::Taken => {}
            Verdict::Duplicate => self.drops.duplicates += 1,
            Verdict::Refused => self.drops.overflowing += 1,
            Verdict::Contradiction => self.drops.absurd += 1,
            Verdict::TooLong => self.violated("a message is larger than was agreed"),
        }
    }

    fn handle_sack(&mut self, chunk: Chunk<'_>) {
        let Some(sack) = Sack::parse(chunk) else {
            self.drops.malformed += 1;
            return;
        };
        if self.sender.acknowledge(self.now, &sack, &mut self.timers).is_err() {
            self.drops.absurd += 1;
        }
        if let (Some(link), Some(rtt)) = (&mut self.link, self.sender.rtt().smoothed()) {
            link.receiver.set_rtt(rtt);
        }
    }

    /// The peer tells of a mark. It does so until it hears that it is heeded, which it is if it can be true.
    fn handle_echo(&mut self, chunk: Chunk<'_>) {
        let Some(tsn) = Marks::told(chunk) else {
            self.drops.malformed += 1;
            return;
        };
        if self.marks.is_capable() {
            match self.sender.marked(tsn) {
                Ok(true) => self.marks.reduced(self.sender.is_least()),
                Ok(false) => {}
                Err(_) => {
                    self.drops.absurd += 1;
                    return;
                }
            }
        }
        self.marks.heed(tsn);
    }

    fn handle_abort(&mut self, header: Header, chunk: Chunk<'_>) {
        // RFC 9260 §8.5.1 B: with the T bit the sender knew only its own tag.
        let reflected = chunk.flags() & 1 != 0;
        let expected =
            if reflected { self.handshake.peer().map(|peer| peer.tag) } else { Some(self.local.tag) };
        if Some(header.tag) != expected {
            self.drops.misdirected += 1;
            return;
        }
        let (cause, text) =
            packet::Parameters(chunk.value()).next().map_or((0, &[][..]), |(cause, text)| (cause, text));
        let event = match cause {
            USER_INITIATED => Event::Closed,
            PROTOCOL_VIOLATION => {
                Event::Failed(SctpError::Aborted(format!("it says that we broke SCTP: {}", printable(text))))
            }
            _ => Event::Failed(SctpError::Aborted(format!("error cause {cause}"))),
        };
        self.end(event, None);
    }

    /// Reads one message of the stream that has waited longest. Returns whether there was one.
    pub(super) fn read_next(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let channels = &self.channels;
        let may = |id: u16| channels.get(&id).is_none_or(|channel| !channel.paused && !channel.finished);
        let Some((id, message)) = link.receiver.read_next(self.now, may) else { return false };
        self.dispatch(id, message);
        true
    }

    /// Takes a message to where it belongs.
    pub(super) fn dispatch(&mut self, id: u16, message: Message) {
        if self.channels.contains_key(&id) {
            self.deliver(id, message);
        } else if Protocol::from(message.protocol) == Protocol::Dcep {
            self.accept(id, &message.data);
        } else {
            self.keep(id, message);
        }
    }

    /// Takes a message on a channel.
    pub(super) fn deliver(&mut self, id: u16, message: Message) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.known = true;
        let (id, data) = (ChannelId(id), message.data);
        let (kind, data) = match Protocol::from(message.protocol) {
            Protocol::Text => (MessageKind::Text, valid_text(data)),
            Protocol::Binary => (MessageKind::Binary, data),
            Protocol::TextEmpty => (MessageKind::Text, Bytes::new()),
            Protocol::BinaryEmpty => (MessageKind::Binary, Bytes::new()),
            Protocol::Dcep if dcep::Message::parse(&data) == Some(dcep::Message::Ack) => return,
            // RFC 8832 §6 (announced twice, or malformed), RFC 8831 §6.6 (an unsupported PPID).
            Protocol::Dcep | Protocol::Unknown => {
                if channel.closing == Closing::No {
                    channel.closing = Closing::Draining;
                    self.stirred.push(id.0);
                }
                return;
            }
        };
        self.events.push_back(Event::MessageReceived { id, kind, data });
    }

    /// Takes the announcement of a channel (RFC 8832 §6), or refuses it by resetting the stream.
    fn accept(&mut self, id: u16, data: &[u8]) {
        let peers_parity = match self.config.role {
            Role::Client => 1,
            Role::Server => 0,
        };
        let config = match dcep::Message::parse(data) {
            Some(dcep::Message::Open(config))
                if id % 2 == peers_parity
                    && id < self.streams()
                    && self.channels.len() < self.config.max_channels =>
            {
                config
            }
            // Late, for a channel that we have forgotten.
            Some(dcep::Message::Ack) => return,
            _ => return self.refuse(id),
        };
        self.channels.insert(id, Box::new(Slot::accepted(config)));
        self.write(id, Protocol::Dcep, dcep::Message::Ack.write().into());
        self.start(id);
    }

    /// Keeps a message for a channel that does not exist yet: its announcement, or our own application's opening
    /// of a negotiated channel, may be on the way.
    fn keep(&mut self, id: u16, message: Message) {
        let kept = self.early.values().flatten();
        let (count, bytes) = kept.fold((0, 0), |(n, sum), message| (n + 1, sum + message.data.len()));
        if count < EARLY.0 && bytes + message.data.len() <= EARLY.1 {
            self.early.entry(id).or_default().push_back(message);
        } else {
            // RFC 8832 §6: a message on an unused stream closes it.
            self.refuse(id);
        }
    }

    /// Closes a stream that is no channel.
    fn refuse(&mut self, id: u16) {
        self.early.remove(&id);
        if let Some(link) = &mut self.link {
            link.resets.want(id);
        }
    }
}

/// Whether chunks of this type belong to an association that is up.
fn is_for_link(kind: u8) -> bool {
    matches!(
        kind,
        kind::DATA
            | kind::I_DATA
            | kind::SACK
            | kind::FURTHER_SACK
            | kind::HEARTBEAT
            | kind::HEARTBEAT_ACK
            | kind::SHUTDOWN
            | kind::SHUTDOWN_ACK
            | kind::RE_CONFIG
            | kind::ECNE
            | kind::CWR
            | kind::FORWARD_TSN
            | kind::I_FORWARD_TSN
    )
}

/// Text as it is, or with what is not UTF-8 replaced.
fn valid_text(data: Bytes) -> Bytes {
    match std::str::from_utf8(&data) {
        Ok(_) => data,
        Err(_) => String::from_utf8_lossy(&data).into_owned().into(),
    }
}

/// The beginning of a text from the network, safe to show.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(100).collect()
}
