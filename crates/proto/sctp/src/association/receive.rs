//! What comes from the peer: packets taken apart, channels accepted, messages read.

use std::borrow::Cow;

use bytes::Bytes;
use sansio::Time;

use super::slot::{Closing, Slot};
use super::{Association, PROTOCOL_VIOLATION, Stage, USER_INITIATED};
use crate::bundler::Bundler;
use crate::dcep;
use crate::engine::{Engine, HIDDEN_WINDOW, Protocol};
use crate::handshake::Progress;
use crate::packet::{self, Chunk, Header, kind};
use crate::repair::Repair;
use crate::{ChannelId, Event, MessageKind, Role, SctpError};

/// Messages, and bytes of them, that are kept for channels that do not exist yet.
const EARLY: (usize, usize) = (256, 1 << 20);

impl Association {
    /// Gives the engine a packet that is all its own.
    pub(super) fn pass(&mut self, now: Time, header: Header, packet: &[u8]) {
        if header.tag != self.local.tag {
            self.drops.misdirected += 1;
            return;
        }
        let progress = self.handshake.confirmed();
        self.progress(progress);
        let Some(engine) = &mut self.engine else {
            self.drops.untimely += 1;
            return;
        };
        engine.receive(now, packet);
        let Some(repair) = &mut self.repair else { return };
        let chunks = packet::parse(packet).into_iter().flat_map(|(_, chunks)| chunks);
        for chunk in chunks.filter(|chunk| chunk.kind() == kind::SACK) {
            repair.acknowledge(now, engine.rtt(), chunk.bytes);
        }
    }

    /// Takes the chunks of a packet apart: those of the handshake and ABORT are ours, what the engine does not
    /// understand or takes amiss is left out (RFC 9260 §3.2), and the rest is the engine's.
    pub(super) fn sort_out(&mut self, now: Time, header: Header, chunks: packet::Chunks<'_>) {
        for chunk in chunks.clone().filter(|chunk| chunk.kind() == kind::RE_CONFIG) {
            self.answers.learn(chunk.bytes);
        }
        let mut kept: Vec<Cow<'_, [u8]>> = Vec::new();
        for chunk in chunks {
            match chunk.kind() {
                kind::RE_CONFIG => kept.push(Cow::Owned(self.answers.correct(chunk.bytes))),
                kind if is_for_engine(kind) => kept.push(Cow::Borrowed(chunk.bytes)),
                kind::INIT | kind::INIT_ACK | kind::COOKIE_ECHO | kind::COOKIE_ACK => {
                    let progress = self.handshake.handle(header.tag, chunk.kind(), chunk.value());
                    self.progress(progress);
                }
                kind::ABORT => {
                    self.handle_abort(header, chunk);
                    return;
                }
                // An unknown type says by its highest bit whether to go on with the rest of the packet.
                kind if kind > kind::SHUTDOWN_COMPLETE && kind & 0x80 == 0 => {
                    self.drops.ignored += 1;
                    break;
                }
                _ => self.drops.ignored += 1,
            }
        }
        if !kept.is_empty() {
            let packet = packet::assemble(header, kept.iter().map(|chunk| &**chunk));
            self.pass(now, header, &packet);
        }
    }

    pub(super) fn handle_abort(&mut self, header: Header, chunk: Chunk<'_>) {
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

    pub(super) fn progress(&mut self, progress: Progress) {
        let (peer, established) = match progress {
            Progress::None => return,
            Progress::Agreed(peer) => (peer, false),
            Progress::Established(peer) => (peer, true),
        };
        if self.engine.is_none() {
            let Some(engine) = Engine::new(&self.config, &self.local, &peer) else {
                let error = SctpError::Protocol("unusable INIT".into());
                self.end(Event::Failed(error), Some(PROTOCOL_VIOLATION));
                return;
            };
            self.engine = Some(engine);
            let header = Header {
                source: self.config.local_port,
                destination: self.config.remote_port,
                tag: peer.tag,
            };
            self.bundler = Some(Bundler::new(header, self.config.mtu, HIDDEN_WINDOW));
            self.repair = Some(Repair::new(header, self.config.mtu, self.local.tsn));
            let ids: Vec<u16> = self.channels.keys().copied().collect();
            ids.into_iter().for_each(|id| self.start(id));
        }
        if established {
            if self.stage == Stage::Connecting {
                self.stage = Stage::Up;
            }
            self.events.push_back(Event::Connected);
            let ids: Vec<u16> = self.channels.keys().copied().collect();
            ids.into_iter().for_each(|id| self.announce(id));
        }
    }

    /// Reads one message of the stream that has waited longest. Returns whether there was one.
    pub(super) fn read_next(&mut self) -> bool {
        let paused = |id: &u16| self.channels.get(id).is_some_and(|channel| channel.paused);
        let Some(at) = self.readable.iter().position(|id| !paused(id)) else { return false };
        let Some(id) = self.readable.remove(at) else { return false };
        if self.read_from(id) {
            self.readable.push_back(id);
        }
        true
    }

    pub(super) fn read_from(&mut self, id: u16) -> bool {
        let Some((protocol, data)) = self.engine.as_mut().and_then(|engine| engine.read(id)) else {
            return false;
        };
        self.read += data.len();
        if self.channels.contains_key(&id) {
            self.deliver(id, protocol, data);
        } else if protocol == Protocol::Dcep {
            self.accept(id, &data);
        } else {
            self.keep(id, protocol, data);
        }
        true
    }

    /// Takes a message on a channel.
    pub(super) fn deliver(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.known = true;
        let id = ChannelId(id);
        let event = match protocol {
            Protocol::Text => Event::MessageReceived { id, kind: MessageKind::Text, data: valid_text(data) },
            Protocol::Binary => Event::MessageReceived { id, kind: MessageKind::Binary, data },
            Protocol::TextEmpty => Event::MessageReceived { id, kind: MessageKind::Text, data: Bytes::new() },
            Protocol::BinaryEmpty => {
                Event::MessageReceived { id, kind: MessageKind::Binary, data: Bytes::new() }
            }
            Protocol::Dcep if dcep::Message::parse(&data) == Some(dcep::Message::Ack) => return,
            // RFC 8832 §6 (announced twice, or malformed), RFC 8831 §6.6 (an unsupported PPID).
            Protocol::Dcep | Protocol::Unknown => {
                if channel.closing == Closing::No {
                    channel.closing = Closing::Draining;
                    self.watched.insert(id.0);
                    self.acknowledged = true;
                }
                return;
            }
        };
        self.events.push_back(event);
    }

    /// Takes the announcement of a channel (RFC 8832 §6), or refuses it by resetting the stream.
    pub(super) fn accept(&mut self, id: u16, data: &[u8]) {
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
            _ => {
                self.early.remove(&id);
                if let Some(engine) = &mut self.engine {
                    engine.reset(id);
                }
                return;
            }
        };
        self.channels.insert(id, Slot::accepted(config));
        self.give(id, Protocol::Dcep, dcep::Message::Ack.write().into());
        self.start(id);
    }

    /// Keeps a message for a channel that does not exist yet: its announcement, or our own application's opening
    /// of a negotiated channel, may be on the way.
    pub(super) fn keep(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let kept = self.early.values().flatten();
        let (count, bytes) = kept.fold((0, 0), |(n, sum), (_, message)| (n + 1, sum + message.len()));
        if count < EARLY.0 && bytes + data.len() <= EARLY.1 {
            self.early.entry(id).or_default().push_back((protocol, data));
        } else {
            // RFC 8832 §6: a message on an unused stream closes it.
            self.early.remove(&id);
            if let Some(engine) = &mut self.engine {
                engine.reset(id);
            }
        }
    }
}

/// Whether the engine understands chunks of this type, and takes none of them amiss.
pub(super) fn is_for_engine(kind: u8) -> bool {
    matches!(
        kind,
        kind::DATA
            | kind::SACK
            | kind::HEARTBEAT
            | kind::SHUTDOWN
            | kind::SHUTDOWN_ACK
            | kind::SHUTDOWN_COMPLETE
            | kind::FORWARD_TSN
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
