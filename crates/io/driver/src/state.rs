//! What the engine and the handles share: the machine, and what waits for its holders.

mod media;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use peer::{
    ChannelId, Connection, ConnectionState, DataChannelInit, Event, Failure, IceCandidateInit,
    IceConnectionState, IceGatheringState, MediaKind, MessageKind, Rejection, SignalingState, TransceiverId,
};
use sansio::{Machine, Time};
use tokio::sync::watch;

use crate::inbox::Limits;
use crate::wake::Waiting;
use crate::{Clock, Error, Host, Message, SendError};

/// Events that nobody has asked for before the oldest are forgotten.
const MAX_EVENTS: usize = 4096;
/// Messages that wait on one channel, however small they are, before the other side has to wait.
const MAX_MESSAGES: usize = 8192;

/// The host of one connection.
pub(crate) struct State {
    pub(crate) connection: Connection,
    settings: Settings,
    events: VecDeque<Told>,
    /// Boxed, as most connections have few: a node of the map has room for eleven.
    channels: BTreeMap<ChannelId, Box<Inbox>>,
    /// Sound and pictures, once there are any.
    tracks: Option<Box<media::Tracks>>,
    /// Tasks that wait for the next event.
    listeners: Waiting,
    /// Tasks that wait for a state of the connection.
    watchers: Waiting,
    failure: Option<Box<Failure>>,
    /// The path that was told last.
    pub(crate) last_path: Option<Box<peer::PathSummary>>,
    /// When closing gives up on delivering what was sent before.
    closing: Option<Time>,
    /// The connection broke off, or was closed by the other side: what was not delivered by then never will be.
    severed: bool,
    /// The engine is gone.
    gone: bool,
    /// The UDP sockets that there are, for whoever asks the router to map them; until the end.
    pub(crate) sockets: watch::Sender<Vec<SocketAddr>>,
}

/// What the state has to know of the configuration.
pub(crate) struct Settings {
    pub(crate) trickle: bool,
    pub(crate) receive_buffer: usize,
    pub(crate) close_timeout: Duration,
    /// What may wait on each track.
    pub(crate) limits: Limits,
    /// The clock that the machine is told the time by.
    pub(crate) clock: Clock,
}

/// An event without handles, which would keep the connection alive from within.
#[derive(Debug)]
pub(crate) enum Told {
    NegotiationNeeded,
    Candidate(Option<IceCandidateInit>),
    CandidateError(peer::CandidateError),
    Channel { id: ChannelId, label: String, init: DataChannelInit },
    Connection(ConnectionState),
    IceConnection(IceConnectionState),
    IceGathering(IceGatheringState),
    Signaling(SignalingState),
    Path(Box<peer::PathSummary>),
    Track(TransceiverId, MediaKind),
    TrackMute(TransceiverId, MediaKind),
    TrackUnmute(TransceiverId, MediaKind),
    MediaRejected { mid: Option<String>, kind: MediaKind, because: Rejection },
    PeerClosed,
    Failed(Box<Failure>),
}

/// One channel, as its handle sees it.
#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Reading is stopped until some of the messages are taken.
    stopped: bool,
    /// The handle is gone: what comes is of no interest.
    ignored: bool,
    opened: bool,
    /// Closed, and whether all that was sent on it is delivered.
    closed: Option<bool>,
    readers: Waiting,
    writers: Waiting,
}

impl State {
    pub(crate) fn new(connection: Connection, settings: Settings) -> Self {
        Self {
            connection,
            settings,
            events: VecDeque::new(),
            channels: BTreeMap::new(),
            tracks: None,
            listeners: Waiting::default(),
            watchers: Waiting::default(),
            failure: None,
            last_path: None,
            closing: None,
            severed: false,
            gone: false,
            sockets: watch::Sender::new(Vec::new()),
        }
    }

    /// Starts to keep messages for a channel that was just made.
    pub(crate) fn add_channel(&mut self, id: ChannelId) {
        self.channels.insert(id, Box::default());
    }

    /// The next event; `None` when there will be no more.
    pub(crate) fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<Told>> {
        if let Some(told) = self.events.pop_front() {
            return Poll::Ready(Some(told));
        }
        if self.gone {
            return Poll::Ready(None);
        }
        self.listeners.register(cx);
        Poll::Pending
    }

    /// Waits for the connection.
    pub(crate) fn poll_connected(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        match self.connection.connection_state() {
            ConnectionState::Connected => Poll::Ready(Ok(())),
            _ if self.failure.is_some() => Poll::Ready(Err(self.error())),
            ConnectionState::Closed => Poll::Ready(Err(Error::Closed)),
            _ if self.is_over() => Poll::Ready(Err(Error::Closed)),
            _ => {
                self.watchers.register(cx);
                Poll::Pending
            }
        }
    }

    /// Waits until all candidates are known.
    pub(crate) fn poll_gathered(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if self.connection.ice_gathering_state() == IceGatheringState::Complete {
            return Poll::Ready(Ok(()));
        }
        if self.is_over() || self.connection.connection_state() == ConnectionState::Closed {
            return Poll::Ready(Err(Error::Closed));
        }
        self.watchers.register(cx);
        Poll::Pending
    }

    /// Waits until the engine has ended.
    pub(crate) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.gone {
            return Poll::Ready(());
        }
        self.watchers.register(cx);
        Poll::Pending
    }

    /// Closes all channels, and then the connection, once what was sent on them is delivered or time is up.
    pub(crate) fn close(&mut self, now: Time) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(now + self.settings.close_timeout);
        for id in self.channels.keys().copied().collect::<Vec<_>>() {
            self.close_channel(now, id);
        }
        // What still comes is taken and forgotten, so that it holds nothing up.
        for (id, inbox) in &mut self.channels {
            if std::mem::take(&mut inbox.stopped) {
                self.connection.set_reading(now, *id, true);
            }
        }
        self.finish(now);
    }

    /// Sends a message, by what `send` does to the connection, or waits for room.
    pub(crate) fn poll_send(
        &mut self,
        cx: &Context<'_>,
        id: ChannelId,
        send: impl FnOnce(&mut peer::Connection) -> Result<(), peer::SendError>,
    ) -> Poll<Result<(), SendError>> {
        match self.try_send(send) {
            Err(SendError::Full | SendError::NotOpen) => {}
            result => return Poll::Ready(result),
        }
        match self.channels.get_mut(&id) {
            Some(inbox) => {
                inbox.writers.register(cx);
                Poll::Pending
            }
            None => Poll::Ready(Err(SendError::Closed)),
        }
    }

    /// Sends messages in their order, as many as there is room for; ready when none is left. How many left.
    pub(crate) fn poll_send_all(
        &mut self,
        cx: &Context<'_>,
        now: Time,
        id: ChannelId,
        messages: &mut VecDeque<Message>,
    ) -> (Poll<Result<(), SendError>>, usize) {
        let mut sent = 0;
        while let Some(message) = messages.pop_front() {
            let (kind, mut data) = (message.kind(), message.into_bytes());
            let polled = self.poll_send(cx, id, |connection| connection.send_bytes(now, id, kind, &mut data));
            if !matches!(polled, Poll::Ready(Ok(()))) {
                messages.push_front(Message::new(kind, data));
                return (polled, sent);
            }
            sent += 1;
        }
        (Poll::Ready(Ok(())), sent)
    }

    /// Sends a message, by what `send` does to the connection, if there is room.
    pub(crate) fn try_send(
        &mut self,
        send: impl FnOnce(&mut peer::Connection) -> Result<(), peer::SendError>,
    ) -> Result<(), SendError> {
        if let Some(failure) = &self.failure {
            return Err(SendError::Failed(failure.clone()));
        }
        if self.closing.is_some() || self.is_over() {
            return Err(SendError::Closed);
        }
        send(&mut self.connection).map_err(|error| match error {
            peer::SendError::NotOpen => SendError::NotOpen,
            peer::SendError::Full => SendError::Full,
            peer::SendError::TooLarge { limit } => SendError::TooLarge { limit },
            _ => SendError::Closed,
        })
    }

    /// The next messages, `limit` at most, by what `take` does with each; how many, none when there will be no more. Whether
    /// the engine has to know that there is room again.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &Context<'_>,
        now: impl FnOnce() -> Time,
        id: ChannelId,
        limit: usize,
        take: impl FnMut(Message),
    ) -> (Poll<usize>, bool) {
        let over = self.is_over() || self.failure.is_some();
        let Some(inbox) = self.channels.get_mut(&id) else { return (Poll::Ready(0), false) };
        let count = limit.min(inbox.messages.len());
        if count > 0 {
            let taken = inbox.messages.drain(..count).inspect(|message| inbox.bytes -= message.len());
            taken.for_each(take);
            let resume = inbox.stopped
                && inbox.bytes <= self.settings.receive_buffer / 2
                && inbox.messages.len() <= MAX_MESSAGES / 2;
            if resume {
                inbox.stopped = false;
                self.connection.set_reading(now(), id, true);
            }
            return (Poll::Ready(count), resume);
        }
        if inbox.closed.is_some() || over {
            return (Poll::Ready(0), false);
        }
        inbox.readers.register(cx);
        (Poll::Pending, false)
    }

    /// Why a channel that has ended did so: `Ok` if it was closed in an orderly way.
    pub(crate) fn verdict(&self, id: ChannelId) -> Result<(), SendError> {
        match (self.channels.get(&id).and_then(|inbox| inbox.closed), &self.failure) {
            (Some(true), _) => Ok(()),
            (_, Some(failure)) => Err(SendError::Failed(failure.clone())),
            _ => Err(SendError::Closed),
        }
    }

    /// Waits until the channel is open.
    pub(crate) fn poll_opened(&mut self, cx: &Context<'_>, id: ChannelId) -> Poll<Result<(), SendError>> {
        let over = self.is_over() || self.failure.is_some();
        match self.channels.get_mut(&id) {
            Some(inbox) if inbox.closed.is_none() && !over => {
                if inbox.opened {
                    return Poll::Ready(Ok(()));
                }
                inbox.writers.register(cx);
                Poll::Pending
            }
            _ => Poll::Ready(Err(self.verdict(id).err().unwrap_or(SendError::Closed))),
        }
    }

    /// Closes a channel once all that was sent on it is delivered.
    pub(crate) fn close_channel(&mut self, now: Time, id: ChannelId) {
        if self.channels.get(&id).is_some_and(|inbox| inbox.closed.is_none()) {
            self.connection.close_channel(now, id);
        }
    }

    /// Waits until a channel that is closing is closed.
    pub(crate) fn poll_channel_closed(
        &mut self,
        cx: &Context<'_>,
        id: ChannelId,
    ) -> Poll<Result<(), SendError>> {
        let over = self.is_over() || self.failure.is_some();
        match self.channels.get_mut(&id) {
            Some(inbox) if inbox.closed.is_none() && !over => {
                inbox.writers.register(cx);
                Poll::Pending
            }
            _ => Poll::Ready(self.verdict(id)),
        }
    }

    /// The handle of a channel is gone.
    pub(crate) fn forget_channel(&mut self, now: Time, id: ChannelId) {
        self.close_channel(now, id);
        let Some(inbox) = self.channels.get_mut(&id) else { return };
        if inbox.closed.is_some() || self.gone {
            self.channels.remove(&id);
            return;
        }
        let stopped = inbox.stopped;
        **inbox = Inbox { ignored: true, ..Inbox::default() };
        if stopped {
            self.connection.set_reading(now, id, true);
        }
    }

    fn error(&self) -> Error {
        self.failure.clone().map_or(Error::Closed, Error::Failed)
    }

    /// Whether nothing will come any more.
    fn is_over(&self) -> bool {
        self.gone || self.severed
    }

    /// Drains the machine's events, and closes the connection when it is time to.
    pub(crate) fn take_in(&mut self, now: Time, wakers: &mut Vec<Waker>) -> Absorbed {
        let mut events = self.hear(now, wakers);
        // The other side is gone: nothing is left to do but to say goodbye to our servers.
        if self.severed && !self.is_closed() {
            self.closing.get_or_insert(now);
        }
        let closed = self.finish(now);
        events |= self.hear(now, wakers);
        Absorbed { events, closed }
    }

    /// Whether there were events.
    fn hear(&mut self, now: Time, wakers: &mut Vec<Waker>) -> bool {
        let mut any = false;
        while let Some(event) = self.connection.poll_event() {
            self.handle(now, event, wakers);
            any = true;
        }
        any
    }

    /// Closes the connection for good if closing has waited for all that it waits for. Whether it did.
    fn finish(&mut self, now: Time) -> bool {
        let Some(deadline) = self.closing.filter(|_| !self.is_closed()) else { return false };
        let undelivered = match self.connection.connection_state() {
            // Channels go once what was sent on them is acknowledged.
            ConnectionState::Connected | ConnectionState::Disconnected => {
                self.connection.channels().next().is_some()
            }
            // There may have been something to send, but perhaps nobody to send it to.
            ConnectionState::Connecting => {
                let ids: Vec<ChannelId> = self.connection.channels().map(|(id, _)| id).collect();
                ids.into_iter().any(|id| self.connection.buffered_amount(id) > 0)
            }
            _ => false,
        };
        if undelivered && now < deadline && !self.severed {
            return false;
        }
        self.severed |= undelivered;
        self.connection.close(now);
        true
    }

    /// Whether the connection is closed for good.
    fn is_closed(&self) -> bool {
        self.connection.signaling_state() == SignalingState::Closed
    }

    fn tell(&mut self, told: Told) {
        if self.events.len() == MAX_EVENTS {
            if let Some(Told::Channel { id, .. }) = self.events.pop_front() {
                self.channels.remove(&id);
            }
            tracing::warn!("nobody asks for this connection's events; the oldest is forgotten");
        }
        self.events.push_back(told);
    }

    fn handle(&mut self, now: Time, event: Event, wakers: &mut Vec<Waker>) {
        let Some(event) = self.handle_media(event, wakers) else { return };
        match event {
            Event::MessageReceived { id, kind, data } => return self.receive(now, id, kind, data, wakers),
            Event::Writable(id) => return self.with(id, |inbox| inbox.writers.drain_into(wakers)),
            Event::BufferedAmountLow(_) => return,
            Event::ChannelOpened { id, incoming } => {
                let inbox = self.channels.entry(id).or_default();
                inbox.opened = true;
                inbox.writers.drain_into(wakers);
                if incoming && let Some(channel) = self.connection.channel(id) {
                    let (label, init) = (channel.label.clone(), channel.init.clone());
                    self.tell(Told::Channel { id, label, init });
                }
            }
            Event::ChannelClosed(id) => {
                let delivered = !self.severed && self.failure.is_none();
                if self.channels.get(&id).is_some_and(|inbox| inbox.ignored) {
                    self.channels.remove(&id);
                }
                self.with(id, |inbox| {
                    inbox.closed.get_or_insert(delivered);
                    inbox.readers.drain_into(wakers);
                    inbox.writers.drain_into(wakers);
                });
                return;
            }
            Event::NegotiationNeeded => self.tell(Told::NegotiationNeeded),
            Event::SignalingStateChanged(state) => {
                // As soon as the other side is known, messages are taken. Transceivers may have begun, or ended.
                self.wake_waiting(wakers);
                self.tell(Told::Signaling(state));
            }
            Event::IceGatheringStateChanged(state) => self.tell(Told::IceGathering(state)),
            Event::CandidateGathered(candidate) => {
                let sockets = self.connection.local_sockets();
                self.sockets.send_if_modified(|known| {
                    *known != sockets && {
                        *known = sockets;
                        true
                    }
                });
                if self.settings.trickle {
                    let candidate = Some(candidate).filter(|candidate| !candidate.is_end_of_candidates());
                    self.tell(Told::Candidate(candidate));
                }
            }
            Event::CandidateFailed(error) => self.tell(Told::CandidateError(error)),
            Event::IceConnectionStateChanged(state) => self.tell(Told::IceConnection(state)),
            Event::ConnectionStateChanged(state) => {
                if state == ConnectionState::Connected {
                    self.failure = None; // an ICE restart has healed it
                }
                self.tell(Told::Connection(state));
            }
            Event::PathChanged(path) => {
                self.last_path = Some(path.clone());
                self.tell(Told::Path(path));
            }
            Event::PeerClosed => {
                self.severed = true;
                self.wake_waiting(wakers);
                self.tell(Told::PeerClosed);
            }
            Event::Failed(failure) => {
                self.failure = Some(failure.clone());
                self.wake_waiting(wakers);
                self.tell(Told::Failed(failure));
            }
            _ => return,
        }
        self.listeners.drain_into(wakers);
        self.watchers.drain_into(wakers);
    }

    fn receive(&mut self, now: Time, id: ChannelId, kind: MessageKind, data: Bytes, wakers: &mut Vec<Waker>) {
        let Some(inbox) = self.channels.get_mut(&id) else { return };
        if inbox.ignored || self.closing.is_some() {
            return;
        }
        inbox.bytes += data.len();
        inbox.messages.push_back(Message::new(kind, data));
        inbox.readers.drain_into(wakers);
        if !inbox.stopped
            && (inbox.bytes >= self.settings.receive_buffer || inbox.messages.len() >= MAX_MESSAGES)
        {
            inbox.stopped = true;
            self.connection.set_reading(now, id, false);
        }
    }

    fn with(&mut self, id: ChannelId, act: impl FnOnce(&mut Inbox)) {
        if let Some(inbox) = self.channels.get_mut(&id) {
            act(inbox);
        }
    }

    /// Wakes all who wait for a channel or a track.
    fn wake_waiting(&mut self, wakers: &mut Vec<Waker>) {
        self.wake_tracks(wakers);
        for inbox in self.channels.values_mut() {
            inbox.readers.drain_into(wakers);
            inbox.writers.drain_into(wakers);
        }
    }
}

/// What came of draining the machine's events.
pub(crate) struct Absorbed {
    /// Whether there were any.
    pub(crate) events: bool,
    /// Whether the connection was closed for good just now.
    pub(crate) closed: bool,
}

impl Host for State {
    type Machine = Connection;

    fn machine(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn absorb(&mut self, now: Time, wakers: &mut Vec<Waker>) -> bool {
        self.take_in(now, wakers).closed
    }

    fn deadline(&self) -> Option<Time> {
        self.closing.filter(|_| !self.is_closed())
    }

    fn ended(&self) -> bool {
        self.connection.is_finished()
    }

    fn abandon(&mut self, wakers: &mut Vec<Waker>) {
        self.gone = true;
        self.sockets = watch::Sender::new(Vec::new());
        self.listeners.drain_into(wakers);
        self.watchers.drain_into(wakers);
        self.wake_waiting(wakers);
    }
}
