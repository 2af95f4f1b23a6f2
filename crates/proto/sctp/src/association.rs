use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sansio::{Datagram, Machine, Outbox, Rng, Time, Timers};

use crate::bundler::Bundler;
use crate::dcep;
use crate::engine::{Engine, HIDDEN_WINDOW, Notice, Protocol};
use crate::handshake::{Handshake, Progress};
use crate::init::Init;
use crate::packet::{self, Chunk, HEADER, Header, kind};
use crate::turns::{Turns, quantum};
use crate::{
    ChannelConfig, ChannelId, Config, Event, MessageKind, OpenError, Reliability, Role, SctpError, SendError,
};

/// A channel that is being closed is forgotten after so long if the peer never resets its half.
const CLOSING: Duration = Duration::from_secs(10);
/// Messages, and bytes of them, that are kept for channels that do not exist yet.
const EARLY: (usize, usize) = (256, 1 << 20);
/// Error causes in ABORT (RFC 9260 §3.3.10).
const USER_INITIATED: u16 = 12;
const PROTOCOL_VIOLATION: u16 = 13;

/// One SCTP association with its data channels. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Association {
    config: Config,
    local: Init,
    handshake: Handshake,
    /// There once the terms are agreed.
    engine: Option<Engine>,
    bundler: Option<Bundler>,
    stage: Stage,
    channels: BTreeMap<u16, Channel>,
    /// Streams that may have something to read, in the order in which they got it.
    readable: VecDeque<u16>,
    /// Messages on streams that belong to no channel yet.
    early: BTreeMap<u16, VecDeque<(Protocol, Bytes)>>,
    turns: Turns,
    /// Channels whose buffered amount somebody waits for to fall.
    watched: BTreeSet<u16>,
    /// Whether buffered amounts may have fallen.
    acknowledged: bool,
    /// Bytes read since the last SACK told our window.
    read: usize,
    /// Whether the draining of events left something to send.
    wake: bool,
    timers: Timers<u16>,
    events: VecDeque<Event>,
    drops: Drops,
    now: Time,
}

/// How far the association is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Up,
    /// Closed by us once all is delivered.
    Draining,
    /// Over but for the ABORT that says so.
    Aborting {
        cause: u16,
    },
    Over,
}

#[derive(Debug)]
struct Channel {
    config: ChannelConfig,
    /// Whether [`Event::ChannelOpened`] was reported.
    open: bool,
    incoming: bool,
    /// Whether the peer is known to know the channel: only then may messages go out of order (RFC 8832 §6).
    known: bool,
    closing: Closing,
    /// What the engine has not got yet.
    queue: VecDeque<(Protocol, Bytes)>,
    queued: usize,
    /// Bytes that may still be sent in this turn; negative after a message that was larger.
    credit: i64,
    /// Bytes written to the engine, and how many of them were DCEP's, which came first.
    written: u64,
    control: u64,
    /// What the engine was told last.
    reliability: Option<(bool, Reliability)>,
    low: usize,
    above_low: bool,
    wants_room: bool,
    paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Waits for what is buffered.
    Draining,
    /// Our half is being reset.
    Resetting,
}

impl Channel {
    fn new(config: ChannelConfig, incoming: bool) -> Self {
        Self {
            known: incoming || config.negotiated.is_some(),
            config,
            open: false,
            incoming,
            closing: Closing::No,
            queue: VecDeque::new(),
            queued: 0,
            credit: 0,
            written: 0,
            control: 0,
            reliability: None,
            low: 0,
            above_low: false,
            wants_room: false,
            paused: false,
        }
    }
}

impl Channel {
    /// Whether its messages are given up at some time.
    fn is_hasty(&self) -> bool {
        self.config.reliability != Reliability::Reliable
    }
}

/// Packets and chunks that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Not an SCTP packet, or its checksum is wrong.
    pub malformed: u64,
    /// For other ports or another verification tag.
    pub misdirected: u64,
    /// Before the terms were agreed, or after the end.
    pub untimely: u64,
    /// Chunks of a type that is not known, or that says nothing we act on.
    pub ignored: u64,
}

impl Association {
    /// An association that begins to connect with the next [`Association::poll_transmit`]. Both sides may.
    pub fn new(now: Time, config: Config) -> Self {
        let mut config = config;
        config.mtu = config.mtu.clamp(128, 65_000);
        config.max_channels = config.max_channels.min(65_535);
        let mut rng = Rng::new(config.seed);
        let local = Init {
            tag: rng.next_u32().max(1),
            // A message can only be read when it is whole, so the window must hold several.
            window: config.receive_window.max(config.local_max_message_size.saturating_mul(4)),
            outbound: u16::MAX,
            inbound: u16::MAX,
            // From the lower half: the engine dislikes 0, and numbers that wrap around are the least trodden path.
            tsn: (rng.next_u32() >> 1).max(1),
            partial: true,
            reconfig: true,
        };
        Self {
            handshake: Handshake::new(local, Rng::new(rng.fork())),
            config,
            local,
            engine: None,
            bundler: None,
            stage: Stage::Connecting,
            channels: BTreeMap::new(),
            readable: VecDeque::new(),
            early: BTreeMap::new(),
            turns: Turns::new(local.tsn),
            watched: BTreeSet::new(),
            acknowledged: false,
            read: 0,
            wake: false,
            timers: Timers::default(),
            events: VecDeque::new(),
            drops: Drops::default(),
            now,
        }
    }

    /// Opens a channel. It can be written to at once, before the association is up and without waiting for the
    /// peer to acknowledge it; [`Event::ChannelOpened`] follows.
    ///
    /// # Errors
    /// If the number is taken or cannot be had, a text is too long, or the association is over.
    pub fn open_channel(&mut self, now: Time, config: ChannelConfig) -> Result<ChannelId, OpenError> {
        self.now = now;
        if !matches!(self.stage, Stage::Connecting | Stage::Up) {
            return Err(OpenError::Closed);
        }
        if config.label.len() > 65_535 || config.protocol.len() > 65_535 {
            return Err(OpenError::TooLong);
        }
        if self.channels.len() >= self.config.max_channels {
            return Err(OpenError::Exhausted);
        }
        let id = match config.negotiated {
            Some(ChannelId(id)) if id >= self.streams() => return Err(OpenError::InvalidId),
            Some(ChannelId(id)) if self.channels.contains_key(&id) => return Err(OpenError::InUse),
            Some(ChannelId(id)) => id,
            None => self.free_id().ok_or(OpenError::Exhausted)?,
        };
        self.channels.insert(id, Channel::new(config, false));
        self.start(id);
        Ok(ChannelId(id))
    }

    /// Queues a message. Copies it once.
    ///
    /// # Errors
    /// If the buffer is full, the message too large for the peer, or the channel closed.
    pub fn send(
        &mut self,
        now: Time,
        id: ChannelId,
        kind: MessageKind,
        data: &[u8],
    ) -> Result<(), SendError> {
        self.check(id, kind, data)?;
        self.send_bytes(now, id, kind, Bytes::copy_from_slice(data))
    }

    /// Queues a message without copying it.
    ///
    /// # Errors
    /// If the buffer is full, the message too large for the peer, or the channel closed.
    pub fn send_bytes(
        &mut self,
        now: Time,
        id: ChannelId,
        kind: MessageKind,
        data: Bytes,
    ) -> Result<(), SendError> {
        self.check(id, kind, &data)?;
        self.now = now;
        let protocol = match (kind, data.is_empty()) {
            (MessageKind::Text, false) => Protocol::Text,
            (MessageKind::Binary, false) => Protocol::Binary,
            (MessageKind::Text, true) => Protocol::TextEmpty,
            (MessageKind::Binary, true) => Protocol::BinaryEmpty,
        };
        // SCTP knows no empty messages (RFC 8831 §6.6).
        let data = if data.is_empty() { Bytes::from_static(&[0]) } else { data };
        self.write(id.0, protocol, data);
        Ok(())
    }

    /// Why a message would not be taken.
    fn check(&mut self, id: ChannelId, kind: MessageKind, data: &[u8]) -> Result<(), SendError> {
        let limit = self.config.remote_max_message_size;
        let space = self.config.send_buffer;
        if limit != 0 && data.len() > limit as usize {
            return Err(SendError::TooLarge { limit });
        }
        if kind == MessageKind::Text && std::str::from_utf8(data).is_err() {
            return Err(SendError::NotText);
        }
        if !self.is_open(id) {
            return Err(SendError::Closed);
        }
        let buffered = self.buffered_amount(id);
        // A message larger than the whole buffer goes alone.
        if buffered > 0 && buffered + data.len() > space {
            if let Some(channel) = self.channels.get_mut(&id.0) {
                channel.wants_room = true;
                self.watched.insert(id.0);
            }
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Whether the channel can be written to.
    pub fn is_open(&self, id: ChannelId) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Up)
            && self.channels.get(&id.0).is_some_and(|channel| channel.closing == Closing::No)
    }

    /// Bytes of messages that wait to be sent or acknowledged.
    pub fn buffered_amount(&mut self, id: ChannelId) -> usize {
        let Some(channel) = self.channels.get(&id.0) else { return 0 };
        let Some(engine) = &mut self.engine else { return channel.queued };
        let unacknowledged = engine.buffered(id.0);
        // DCEP's bytes were the first of the stream, and are the first to be acknowledged.
        let done = channel.written.saturating_sub(unacknowledged as u64);
        let control = channel.control.saturating_sub(done);
        channel.queued + unacknowledged.saturating_sub(control as usize)
    }

    /// Sets the amount at which [`Event::BufferedAmountLow`] is due; 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, bytes: usize) {
        if let Some(channel) = self.channels.get_mut(&id.0) {
            channel.low = bytes;
            self.watched.insert(id.0);
        }
    }

    /// Stops or resumes the reading of a channel. What a stopped one receives stays where it counts against the
    /// receive window, so that in the end the peer must wait.
    pub fn set_reading(&mut self, now: Time, id: ChannelId, reading: bool) {
        self.now = now;
        if let Some(channel) = self.channels.get_mut(&id.0) {
            channel.paused = !reading;
        }
    }

    /// Closes a channel once all that was sent on it is delivered (RFC 8831 §6.7); [`Event::ChannelClosed`] follows.
    /// Nothing more can be sent on it.
    pub fn close_channel(&mut self, now: Time, id: ChannelId) {
        self.now = now;
        if let Some(channel) = self.channels.get_mut(&id.0)
            && channel.closing == Closing::No
        {
            channel.closing = Closing::Draining;
            channel.paused = false;
            self.watched.insert(id.0);
            self.acknowledged = true;
        }
    }

    /// Ends the association once all that was sent is delivered. [`Event::Closed`] follows.
    pub fn close(&mut self, now: Time) {
        self.now = now;
        match self.stage {
            Stage::Connecting if self.channels.values().all(|channel| channel.queue.is_empty()) => {
                self.abort(now);
            }
            Stage::Connecting | Stage::Up => {
                self.stage = Stage::Draining;
                self.acknowledged = true;
            }
            Stage::Draining | Stage::Aborting { .. } | Stage::Over => {}
        }
    }

    /// Ends the association now. What is not delivered is lost. [`Event::Closed`] follows.
    pub fn abort(&mut self, now: Time) {
        self.now = now;
        self.end(Event::Closed, Some(USER_INITIATED));
    }

    /// The channels there are.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &ChannelConfig)> {
        self.channels.iter().map(|(&id, channel)| (ChannelId(id), &channel.config))
    }

    /// Whether the association is up.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Draining) && self.handshake.is_established()
    }

    /// The smoothed round-trip time, once one was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.engine.as_ref().map(Engine::rtt).filter(|rtt| !rtt.is_zero())
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Streams that the peer lets us use.
    fn streams(&self) -> u16 {
        self.handshake.peer().map_or(u16::MAX, |peer| peer.inbound.min(peer.outbound))
    }

    /// The lowest free number of our parity (RFC 8832 §6).
    fn free_id(&self) -> Option<u16> {
        let first = match self.config.role {
            Role::Client => 0,
            Role::Server => 1,
        };
        (first..self.streams())
            .step_by(2)
            .find(|id| !self.channels.contains_key(id) && !self.early.contains_key(id))
    }

    /// Takes a packet that the layer below authenticated.
    pub fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        self.now = now;
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
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
        if chunks.clone().all(|chunk| is_for_engine(chunk.kind())) {
            self.pass(now, header, packet);
        } else if packet::intact(packet) {
            self.sort_out(now, header, chunks);
        } else {
            self.drops.malformed += 1;
        }
        self.acknowledged = true;
    }

    /// Gives the engine a packet that is all its own.
    fn pass(&mut self, now: Time, header: Header, packet: &[u8]) {
        if header.tag != self.local.tag {
            self.drops.misdirected += 1;
            return;
        }
        let progress = self.handshake.confirmed();
        self.progress(progress);
        match &mut self.engine {
            Some(engine) => engine.receive(now, packet),
            None => self.drops.untimely += 1,
        }
    }

    /// Takes the chunks of a packet apart: those of the handshake and ABORT are ours, what the engine does not
    /// understand or takes amiss is left out (RFC 9260 §3.2), and the rest is the engine's.
    fn sort_out(&mut self, now: Time, header: Header, chunks: packet::Chunks<'_>) {
        let mut kept: Vec<Chunk<'_>> = Vec::new();
        for chunk in chunks {
            match chunk.kind() {
                kind if is_for_engine(kind) => kept.push(chunk),
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
            let packet = packet::assemble(header, kept.iter().map(|chunk| chunk.bytes));
            self.pass(now, header, &packet);
        }
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

    fn progress(&mut self, progress: Progress) {
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

    /// Brings a new channel to the engine, as soon as there is one, and what was written to it before.
    fn start(&mut self, id: u16) {
        let streams = self.streams();
        let (Some(engine), Some(channel)) = (&mut self.engine, self.channels.get_mut(&id)) else { return };
        if id >= streams {
            self.forget(id);
            return;
        }
        engine.open(id);
        self.turns.begin(id, channel.is_hasty());
        if channel.config.negotiated.is_none() && !channel.incoming {
            let open = dcep::Message::Open(channel.config.clone()).write();
            self.give(id, Protocol::Dcep, open.into());
        }
        self.offer(id);
        self.announce(id);
    }

    /// Reports a channel as open if it is, and what came for it early.
    fn announce(&mut self, id: u16) {
        let up = self.handshake.is_established();
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if !up || channel.open {
            return;
        }
        channel.open = true;
        self.events.push_back(Event::ChannelOpened {
            id: ChannelId(id),
            config: channel.config.clone(),
            incoming: channel.incoming,
        });
        for (protocol, data) in self.early.remove(&id).unwrap_or_default() {
            self.deliver(id, protocol, data);
        }
    }

    /// Queues a message of the application.
    fn write(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.queued += data.len();
        channel.queue.push_back((protocol, data));
        self.watched.insert(id);
        self.offer(id);
    }

    /// Sees to it that what is queued on a channel gets to the engine, if there is one: in turn with the others, or
    /// at once if its messages have a limit.
    fn offer(&mut self, id: u16) {
        let Some(channel) = self.channels.get(&id) else { return };
        if self.engine.is_none() || channel.queue.is_empty() {
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
    fn next_of(&mut self, id: u16) -> Option<(Protocol, Bytes)> {
        let channel = self.channels.get_mut(&id)?;
        let (protocol, data) = channel.queue.pop_front()?;
        channel.queued -= data.len();
        Some((protocol, data))
    }

    /// Gives the engine as much of the queues as it may hold.
    fn feed(&mut self) {
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
    fn give(&mut self, id: u16, protocol: Protocol, data: Bytes) {
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

    /// Takes what the engine has to say.
    fn pump(&mut self) {
        while let Some(notice) = self.engine.as_mut().and_then(Engine::poll) {
            match notice {
                Notice::Readable(id) => {
                    if !self.readable.contains(&id) {
                        self.readable.push_back(id);
                    }
                }
                // The peer's half is closed. The engine closes ours in answer.
                Notice::Finished(id) => {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.closing = Closing::Resetting;
                        self.timers.set(id, self.now + CLOSING);
                    }
                    self.early.remove(&id);
                }
                Notice::Reset(id) => self.forget(id),
                Notice::Lost(error) => {
                    self.end(Event::Failed(error), Some(PROTOCOL_VIOLATION));
                    return;
                }
            }
        }
        if self.engine.as_ref().is_some_and(Engine::is_closing)
            && !matches!(self.stage, Stage::Aborting { .. } | Stage::Over)
        {
            // The peer shuts down. It has all that it will take (RFC 9260 §9.2), and RFC 8831 §6.2 closes channels.
            self.end(Event::Closed, Some(USER_INITIATED));
        }
    }

    /// Looks after the channels whose buffers have emptied.
    fn settle(&mut self) {
        if !std::mem::take(&mut self.acknowledged) {
            return;
        }
        for id in std::mem::take(&mut self.watched) {
            let buffered = self.buffered_amount(ChannelId(id));
            let all = self.engine.as_mut().map_or(0, |engine| engine.buffered(id));
            let connected = self.handshake.is_established();
            let space = self.config.send_buffer;
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            if buffered > channel.low {
                channel.above_low = true;
            } else if std::mem::take(&mut channel.above_low) {
                self.events.push_back(Event::BufferedAmountLow(ChannelId(id)));
            }
            if channel.wants_room && buffered <= space / 2 {
                channel.wants_room = false;
                self.events.push_back(Event::Writable(ChannelId(id)));
            }
            let done = buffered == 0 && all == 0 && channel.queue.is_empty();
            if channel.closing == Closing::Draining && done {
                if connected {
                    self.reset(id);
                } else if self.engine.is_none() {
                    self.forget(id);
                } else {
                    self.watched.insert(id);
                }
                continue;
            }
            if channel.above_low || channel.wants_room || channel.closing == Closing::Draining {
                self.watched.insert(id);
            }
        }
        if self.stage == Stage::Draining && self.is_drained() {
            self.end(Event::Closed, Some(USER_INITIATED));
        }
    }

    /// Whether nothing is left to be delivered.
    fn is_drained(&mut self) -> bool {
        let ids: Vec<u16> = self.channels.keys().copied().collect();
        self.handshake.is_established()
            && self.channels.values().all(|channel| channel.queue.is_empty())
            && ids.into_iter().all(|id| self.engine.as_mut().is_none_or(|engine| engine.buffered(id) == 0))
    }

    /// Resets our half of a stream. The engine then forgets what was not read, so it is read first.
    fn reset(&mut self, id: u16) {
        while self.read_from(id) {}
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.closing = Closing::Resetting;
            self.timers.set(id, self.now + CLOSING);
        }
        if let Some(engine) = &mut self.engine {
            engine.reset(id);
        }
    }

    /// The end of a channel.
    fn forget(&mut self, id: u16) {
        self.timers.stop(id);
        self.watched.remove(&id);
        if self.channels.remove(&id).is_some() {
            self.events.push_back(Event::ChannelClosed(ChannelId(id)));
        }
    }

    /// The end of the association: what can be read is read, all channels are closed, and that is all.
    fn end(&mut self, event: Event, cause: Option<u16>) {
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
            return;
        }
        while let Some(notice) = self.engine.as_mut().and_then(Engine::poll) {
            if let Notice::Readable(id) = notice {
                self.readable.push_back(id);
            }
        }
        while let Some(id) = self.readable.pop_front() {
            while self.read_from(id) {}
        }
        self.stage = match cause {
            Some(cause) if self.handshake.peer().is_some() => Stage::Aborting { cause },
            _ => Stage::Over,
        };
        self.timers.clear();
        while let Some((&id, _)) = self.channels.first_key_value() {
            self.forget(id);
        }
        self.events.push_back(event);
        self.engine = None;
    }

    /// Reads one message of the stream that has waited longest. Returns whether there was one.
    fn read_next(&mut self) -> bool {
        let paused = |id: &u16| self.channels.get(id).is_some_and(|channel| channel.paused);
        let Some(at) = self.readable.iter().position(|id| !paused(id)) else { return false };
        let Some(id) = self.readable.remove(at) else { return false };
        if self.read_from(id) {
            self.readable.push_back(id);
        }
        true
    }

    fn read_from(&mut self, id: u16) -> bool {
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
    fn deliver(&mut self, id: u16, protocol: Protocol, data: Bytes) {
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
            _ => {
                self.early.remove(&id);
                if let Some(engine) = &mut self.engine {
                    engine.reset(id);
                }
                return;
            }
        };
        self.channels.insert(id, Channel::new(config, true));
        self.give(id, Protocol::Dcep, dcep::Message::Ack.write().into());
        self.start(id);
    }

    /// Keeps a message for a channel that does not exist yet: its announcement, or our own application's opening
    /// of a negotiated channel, may be on the way.
    fn keep(&mut self, id: u16, protocol: Protocol, data: Bytes) {
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

    /// The last acknowledged number, if the peer was last told that there is little room and now there is much.
    fn reopened(&self) -> Option<u32> {
        let last = self.bundler.as_ref().and_then(Bundler::acknowledged)?;
        let window = self.local.window;
        let room = last.window as usize + self.read;
        (last.window < window / 4 && room >= window as usize / 2).then_some(last.tsn)
    }

    /// Whether there is something to send that was not there when [`Association::poll_transmit`] was called last.
    fn has_news(&self) -> bool {
        self.handshake.is_established()
            && self.bundler.as_ref().is_some_and(Bundler::is_empty)
            && (self.reopened().is_some() || self.engine.as_ref().is_some_and(Engine::is_dirty))
    }

    /// Gets the engine's packets, if there are none.
    fn refill(&mut self, now: Time) {
        self.feed();
        if let (Some(engine), Some(bundler)) = (&mut self.engine, &mut self.bundler)
            && bundler.is_empty()
        {
            let before = bundler.acknowledged();
            engine.transmit(now, |packet| {
                self.turns.sent(&packet);
                bundler.push(packet);
            });
            if bundler.acknowledged() != before {
                self.read = 0;
            }
        }
    }

    /// Writes the next packet of the handshake with what may go along. Returns whether it was taken.
    fn write_handshake(&mut self, now: Time, out: &mut dyn Outbox<()>) -> bool {
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

    fn write_abort(&mut self, cause: u16, out: &mut dyn Outbox<()>) {
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

impl Machine for Association {
    type Addr = ();
    type Event = Event;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_, ()>, _: &mut dyn Outbox<()>) {
        self.handle_packet(now, datagram.payload);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.wake = false;
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
            return;
        }
        if self.handshake.handle_timeout(now) {
            self.end(Event::Failed(SctpError::NoAnswer), None);
            return;
        }
        if let Some(engine) = &mut self.engine {
            engine.handle_timeout(now);
        }
        while let Some(id) = self.timers.expired(now) {
            self.forget(id);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        self.now = now;
        self.wake = false;
        self.pump();
        self.settle();
        if let Stage::Aborting { cause } = self.stage {
            self.write_abort(cause, out);
        }
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
            return;
        }
        while self.handshake.poll().is_some() {
            if !self.write_handshake(now, out) {
                return;
            }
        }
        if !self.handshake.is_established() {
            return;
        }
        if let (Some(tsn), Some(engine)) = (self.reopened(), &mut self.engine) {
            self.read = 0;
            engine.acknowledge(now, tsn);
        }
        loop {
            self.refill(now);
            match &mut self.bundler {
                Some(bundler) if !bundler.is_empty() => {
                    if !bundler.write(None, out) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            self.pump();
            self.settle();
            if self.events.is_empty() && !self.read_next() {
                self.wake = self.has_news();
                return None;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
            return None;
        }
        let engine = self.engine.as_ref().and_then(Engine::poll_timeout);
        let wake = self.wake.then_some(self.now);
        [self.handshake.poll_timeout(), engine, self.timers.next(), wake].into_iter().flatten().min()
    }
}

/// Whether the engine understands chunks of this type, and takes none of them amiss.
fn is_for_engine(kind: u8) -> bool {
    matches!(
        kind,
        kind::DATA
            | kind::SACK
            | kind::HEARTBEAT
            | kind::SHUTDOWN
            | kind::SHUTDOWN_ACK
            | kind::SHUTDOWN_COMPLETE
            | kind::RE_CONFIG
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
