mod lifecycle;
mod receive;
mod slot;
mod transmit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sansio::{Datagram, Machine, Outbox, Rng, Time, Timers};

use self::slot::{Closing, Slot};
use crate::bundler::Bundler;
use crate::engine::{Engine, Protocol};
use crate::handshake::Handshake;
use crate::init::Init;
use crate::packet;
use crate::repair::Repair;
use crate::reset::Answers;
use crate::turns::Turns;
use crate::{ChannelConfig, ChannelId, Config, Event, MessageKind, OpenError, SctpError, SendError};

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
    repair: Option<Repair>,
    /// Timeouts of the engine that the repair knows of.
    timeouts: u64,
    /// What the peer says to our stream resets.
    answers: Answers,
    stage: Stage,
    channels: BTreeMap<u16, Slot>,
    /// Streams that may have something to read, in the order in which they got it.
    readable: VecDeque<u16>,
    /// Messages on streams that belong to no channel yet.
    early: BTreeMap<u16, VecDeque<(Protocol, Bytes)>>,
    turns: Turns,
    /// Channels whose numbers the engine is not done with.
    unstarted: BTreeSet<u16>,
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
            repair: None,
            timeouts: 0,
            answers: Answers::default(),
            stage: Stage::Connecting,
            channels: BTreeMap::new(),
            readable: VecDeque::new(),
            early: BTreeMap::new(),
            turns: Turns::new(local.tsn),
            unstarted: BTreeSet::new(),
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
        self.channels.insert(id, Slot::new(config));
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

    /// There is a path again after a time without one: what was lost meanwhile is sent again now, and not only when
    /// timers say so that have been doubled with every attempt.
    pub fn hurry(&mut self, now: Time) {
        self.now = now;
        if let Some(engine) = self.engine.as_mut().filter(|_| !matches!(self.stage, Stage::Over)) {
            engine.hurry(now);
        }
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
        if chunks.clone().all(|chunk| receive::is_for_engine(chunk.kind())) {
            self.pass(now, header, packet);
        } else if packet::intact(packet) {
            self.sort_out(now, header, chunks);
        } else {
            self.drops.malformed += 1;
        }
        self.acknowledged = true;
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
