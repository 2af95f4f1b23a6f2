mod lifecycle;
mod receive;
mod slot;
#[cfg(test)]
mod tests;
mod transmit;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sansio::{Datagram, Machine, Outbox, Rng, Time, Timers};

use self::slot::{Closing, Protocol, Slot, listed};
use crate::handshake::Handshake;
use crate::init::Init;
use crate::marks::Marks;
use crate::probe::Probe;
use crate::receiver::{Message, Receiver};
use crate::resets::Resets;
use crate::sender::{Limit, Outgoing, Sender};
use crate::timer::Timer;
use crate::{
    ChannelConfig, ChannelId, Config, Event, InitError, MessageKind, OpenError, SctpError, SendError,
};

/// Error causes in ABORT (RFC 9260 §3.3.10).
const USER_INITIATED: u16 = 12;
const PROTOCOL_VIOLATION: u16 = 13;

/// One SCTP association with its data channels. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Association {
    config: Config,
    local: Init,
    handshake: Handshake,
    sender: Sender,
    /// What there is once the peer's terms are known.
    link: Option<Link>,
    probe: Probe,
    marks: Marks,
    /// Whether the next packet was marked on its way.
    marked: bool,
    stage: Stage,
    /// Boxed, as most have few: a node of the map has room for eleven.
    channels: BTreeMap<u16, Box<Slot>>,
    /// Messages on streams that belong to no channel yet.
    early: BTreeMap<u16, VecDeque<Message>>,
    /// Channels that may have come further on their way to their end.
    stirred: Vec<u16>,
    /// What the peer's HEARTBEATs said, to be sent back.
    echoes: VecDeque<Vec<u8>>,
    /// Whether the draining of events left something to send.
    wake: bool,
    timers: Timers<Timer>,
    events: VecDeque<Event>,
    drops: Drops,
    now: Time,
}

/// What the peer's terms determine.
#[derive(Debug)]
struct Link {
    peer: Init,
    receiver: Receiver,
    resets: Resets,
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
    /// Without a checksum, although that was not agreed on (RFC 9653).
    pub unsummed: u64,
    /// For other ports or another verification tag.
    pub misdirected: u64,
    /// Before the terms were agreed, or after the end.
    pub untimely: u64,
    /// Chunks of a type that is not known, or that says nothing we act on.
    pub ignored: u64,
    /// Chunks that say what cannot be: acknowledgements of what was never sent, gaps without order, fragments that
    /// contradict each other.
    pub absurd: u64,
    /// DATA that came before.
    pub duplicates: u64,
    /// DATA for which there was no room, or too far ahead.
    pub overflowing: u64,
}

impl Association {
    /// An association that begins to connect with the next [`Association::poll_transmit`]. Both sides may.
    pub fn new(now: Time, config: Config) -> Self {
        let mut config = config;
        // All chunks are padded to 4 bytes, so a packet is never longer than this.
        config.mtu = config.mtu.clamp(128, 65_000) & !3;
        config.largest_mtu = config.largest_mtu.min(65_000) & !3;
        config.max_channels = config.max_channels.min(65_535);
        let mut rng = Rng::new(config.seed);
        let local = config.terms(&mut rng);
        Self {
            handshake: Handshake::new(local, &mut rng),
            sender: Sender::new(now, config.congestion, config.mtu, local.tsn),
            link: None,
            probe: Probe::new(config.mtu, config.largest_mtu, Rng::new(rng.fork())),
            marks: Marks::new(rng.next_u64()),
            marked: false,
            config,
            local,
            stage: Stage::Connecting,
            channels: BTreeMap::new(),
            early: BTreeMap::new(),
            stirred: Vec::new(),
            echoes: VecDeque::new(),
            wake: false,
            timers: Timers::default(),
            events: VecDeque::new(),
            drops: Drops::default(),
            now,
        }
    }

    /// Whether what came by signalling can be given to [`Association::agreed`].
    ///
    /// # Errors
    /// If `init` is not an INIT chunk.
    pub fn check_init(init: &[u8]) -> Result<(), InitError> {
        Init::parse_chunk(init).map(drop).ok_or(InitError)
    }

    /// An association that is up at once: the peer's INIT chunk came by signalling, and ours, [`Config::init`], is known to
    /// the peer (draft-hancke-tsvwg-snap).
    ///
    /// # Errors
    /// If `init` is not an INIT chunk.
    pub fn agreed(now: Time, config: Config, init: &[u8]) -> Result<Self, InitError> {
        let peer = Init::parse_chunk(init).ok_or(InitError)?;
        let mut association = Self::new(now, config);
        let mut rng = Rng::new(Rng::new(association.config.seed).fork());
        association.handshake = Handshake::skipped(association.local, peer, &mut rng);
        association.agree(peer);
        association.establish();
        Ok(association)
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
            Some(ChannelId(id)) if self.is_taken(id) => return Err(OpenError::InUse),
            Some(ChannelId(id)) => id,
            None => self.free_id().ok_or(OpenError::Exhausted)?,
        };
        self.channels.insert(id, Box::new(Slot::new(config)));
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
        self.queue(now, id, kind, Bytes::copy_from_slice(data));
        Ok(())
    }

    /// Queues a message without copying it: takes what is in `data`, unless there is an error.
    ///
    /// # Errors
    /// If the buffer is full, the message too large for the peer, or the channel closed.
    pub fn send_bytes(
        &mut self,
        now: Time,
        id: ChannelId,
        kind: MessageKind,
        data: &mut Bytes,
    ) -> Result<(), SendError> {
        self.check(id, kind, data)?;
        self.queue(now, id, kind, std::mem::take(data));
        Ok(())
    }

    fn queue(&mut self, now: Time, id: ChannelId, kind: MessageKind, data: Bytes) {
        self.now = now;
        let protocol = Protocol::of(kind, data.is_empty());
        // SCTP knows no empty messages (RFC 8831 §6.6).
        let data = if data.is_empty() { Bytes::from_static(&[0]) } else { data };
        self.write(id.0, protocol, data);
    }

    /// Why a message would not be taken.
    fn check(&mut self, id: ChannelId, kind: MessageKind, data: &[u8]) -> Result<(), SendError> {
        let limit = self.config.remote_max_message_size;
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
        if buffered > 0 && buffered + data.len() > self.send_buffer().0 {
            if let Some(channel) = self.channels.get_mut(&id.0) {
                channel.wants_room = true;
            }
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Bytes that a channel may buffer, and at how many there is room again after that: what is sent and has to be kept, and half of
    /// what the path holds, so that there is always something to send.
    fn send_buffer(&self) -> (usize, usize) {
        let sent = self.sender.backlog.sent();
        let wanted = (sent + self.sender.congestion_window() / 2).min(self.config.largest_send_buffer);
        match self.config.send_buffer {
            least if wanted <= least => (least, least / 2),
            _ => (wanted, wanted.midpoint(sent)),
        }
    }

    /// Whether the channel can be written to.
    pub fn is_open(&self, id: ChannelId) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Up)
            && self.channels.get(&id.0).is_some_and(|channel| channel.closing == Closing::No)
    }

    /// Bytes of messages that wait to be sent or acknowledged.
    pub fn buffered_amount(&self, id: ChannelId) -> usize {
        match self.channels.contains_key(&id.0) {
            true => self.sender.backlog.buffered(id.0),
            false => 0,
        }
    }

    /// Sets the amount at which [`Event::BufferedAmountLow`] is due; 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, bytes: usize) {
        if let Some(channel) = self.channels.get_mut(&id.0) {
            channel.low = bytes;
            channel.above_low |= self.sender.backlog.buffered(id.0) > bytes;
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
            self.stirred.push(id.0);
        }
    }

    /// Ends the association once all that was sent is delivered. [`Event::Closed`] follows.
    pub fn close(&mut self, now: Time) {
        self.now = now;
        match self.stage {
            Stage::Connecting if self.sender.is_idle() => self.abort(now),
            Stage::Connecting | Stage::Up => self.stage = Stage::Draining,
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
        if self.is_over() {
            return;
        }
        self.handshake.hurry();
        self.sender.begin_anew(now);
        if let Some(link) = &mut self.link {
            link.resets.repeat();
        }
        if self.handshake.is_established() {
            self.set_mtu(self.config.mtu);
            self.probe.begin(&mut self.timers);
        }
    }

    /// Packets take another path, which may carry some as large as this, or no larger ones than any other (0): what was found out
    /// about sizes is forgotten, and looked for anew.
    pub fn set_path(&mut self, now: Time, largest_mtu: usize) {
        self.now = now;
        self.probe.set_largest(largest_mtu.min(65_000) & !3);
        if self.handshake.is_established() && !self.is_over() {
            self.probe.begin(&mut self.timers);
            self.set_mtu(self.probe.mtu());
        }
    }

    /// Whether packets take a path that carries marks from end to end, as far as anybody can know. A small packet finds out
    /// whether it also carries what may be marked.
    pub fn set_capable(&mut self, now: Time, capable: bool) {
        self.now = now;
        if !self.is_over() {
            self.marks.set_path(capable, &mut self.timers);
        }
    }

    /// Whether data is sent as what may be marked.
    pub fn is_capable(&self) -> bool {
        self.marks.is_capable()
    }

    /// The channels there are.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &ChannelConfig)> {
        listed(self.channels.iter())
    }

    /// Whether the association is up.
    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Draining) && self.handshake.is_established()
    }

    /// The smoothed round-trip time, once one was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.sender.rtt().smoothed()
    }

    /// The largest packet that is sent, in bytes.
    pub fn mtu(&self) -> usize {
        self.probe.mtu()
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Aborting { .. } | Stage::Over)
    }

    /// Queues a message on a stream.
    fn write(&mut self, id: u16, protocol: Protocol, data: Bytes) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let (unordered, limit) = match protocol {
            Protocol::Dcep => (false, Limit::Never),
            _ => (!channel.config.ordered && channel.known, Limit::new(self.now, channel.config.reliability)),
        };
        let message = Outgoing { protocol: protocol.number(), data, unordered, limit };
        self.sender.backlog.push(id, channel.config.priority, message);
        channel.above_low |= self.sender.backlog.buffered(id) > channel.low;
    }
}

impl Machine for Association {
    type Addr = ();
    type Event = Event;

    fn handle_mark(&mut self, now: Time) {
        self.now = now;
        self.marked = true;
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_, ()>, _: &mut dyn Outbox<()>) {
        self.handle_packet(now, datagram.payload);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.wake = false;
        if self.is_over() {
            return;
        }
        if self.handshake.handle_timeout(now) {
            self.end(Event::Failed(SctpError::NoAnswer), None);
            return;
        }
        while let Some(timer) = self.timers.expired(now) {
            self.expire(timer);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        self.now = now;
        self.wake = false;
        self.settle();
        if let Stage::Aborting { cause } = self.stage {
            self.write_abort(cause, out);
        }
        if self.is_over() {
            return;
        }
        while self.handshake.poll().is_some() {
            if !self.write_handshake(now, out) {
                return;
            }
        }
        if self.handshake.is_established() {
            self.write_packets(now, out);
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            self.settle();
            if self.events.is_empty() && !self.read_next() {
                self.wake = self.link.as_ref().is_some_and(|link| {
                    !self.is_over() && (link.receiver.has_reopened() || link.resets.has_work())
                });
                return None;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        if self.is_over() {
            return None;
        }
        let wake = self.wake.then_some(self.now);
        [self.handshake.poll_timeout(), self.timers.next(), wake].into_iter().flatten().min()
    }
}
