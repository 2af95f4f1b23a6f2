use std::collections::VecDeque;

use bytes::Bytes;
use peer::{
    ChannelId, Connection, DataChannelInit, Event, Failure, IceCandidateInit, IceConnectionState,
    IceGatheringState, MessageKind, PathSummary, SdpType, SignalingState,
};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};

use crate::Mail;

/// Events kept of a connection; a scenario that runs for days forgets the oldest.
const EVENTS: usize = 4096;

/// One end of a connection with the application on top: the machine that [`World::start_peer`](crate::World::start_peer)
/// runs on a host.
///
/// The application negotiates as W3C tells it to (*perfect negotiation*), says its greeting on each channel that
/// opens, and keeps what it hears.
pub struct Peer {
    connection: Connection,
    trickle: bool,
    polite: bool,
    greeting: Option<String>,
    withholds: Vec<ice::CandidateKind>,
    mail: VecDeque<Mail>,
    events: VecDeque<(Time, Event)>,
    inbox: Vec<(Time, ChannelId, Bytes)>,
    failures: Vec<(Time, Failure)>,
    errors: Vec<peer::Error>,
    connected_at: Option<Time>,
    ignores_offers: bool,
    /// Without trickle: whether the local description waits for its candidates.
    unsent: bool,
    now: Time,
}

impl Peer {
    /// A peer that does nothing yet.
    pub fn new(now: Time, configuration: peer::Configuration) -> Self {
        Self {
            connection: Connection::new(now, configuration),
            trickle: true,
            polite: false,
            greeting: None,
            withholds: Vec::new(),
            mail: VecDeque::new(),
            events: VecDeque::new(),
            inbox: Vec::new(),
            failures: Vec::new(),
            errors: Vec::new(),
            connected_at: None,
            ignores_offers: false,
            unsent: false,
            now,
        }
    }

    /// What it says on each channel that opens.
    #[must_use]
    pub fn with_greeting(mut self, greeting: impl Into<String>) -> Self {
        self.greeting = Some(greeting.into());
        self
    }

    /// Whether it gives way when both make an offer at once. One of the two has to.
    #[must_use]
    pub fn with_politeness(mut self, polite: bool) -> Self {
        self.polite = polite;
        self
    }

    /// Whether it tells candidates one by one, or all with the description.
    #[must_use]
    pub fn with_trickle(mut self, trickle: bool) -> Self {
        self.trickle = trickle;
        self
    }

    /// Kinds of candidates that the other side is not told.
    #[must_use]
    pub fn withholding(mut self, kinds: impl Into<Vec<ice::CandidateKind>>) -> Self {
        self.withholds = kinds.into();
        self
    }

    /// The connection itself.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection itself, to be given a wish.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Opens a data channel, which makes it call the other side.
    ///
    /// # Errors
    /// As [`Connection::create_data_channel`].
    pub fn open_channel(&mut self, now: Time, label: &str) -> Result<ChannelId, peer::ChannelError> {
        self.connection.create_data_channel(now, label, DataChannelInit::default())
    }

    /// Says something on every open channel; tells on how many.
    pub fn say(&mut self, now: Time, text: &str) -> usize {
        let ids: Vec<_> = self.connection.channels().map(|(id, _)| id).collect();
        let said =
            |id: &&ChannelId| self.connection.send(now, **id, MessageKind::Text, text.as_bytes()).is_ok();
        ids.iter().filter(said).count()
    }

    /// Has the connection, its candidates and channels: what it told, and when.
    pub fn events(&self) -> impl Iterator<Item = &(Time, Event)> {
        self.events.iter()
    }

    /// The messages that came, and when.
    pub fn messages(&self) -> &[(Time, ChannelId, Bytes)] {
        &self.inbox
    }

    /// Why it failed, as often as it did, and when.
    pub fn failures(&self) -> &[(Time, Failure)] {
        &self.failures
    }

    /// What the connection did not like about what signalling brought.
    pub fn errors(&self) -> &[peer::Error] {
        &self.errors
    }

    /// When the connection as a whole was connected for the first time.
    pub fn connected_at(&self) -> Option<Time> {
        self.connected_at
    }

    /// The path of its data.
    pub fn path(&self) -> Option<PathSummary> {
        self.connection.path()
    }

    /// Whether ICE looks for no better path: the one in use is final, or there is none.
    pub fn is_settled(&self) -> bool {
        use IceConnectionState::{Closed, Completed, Failed};
        matches!(self.connection.ice_connection_state(), Completed | Failed | Closed)
    }

    pub(crate) fn set_role(&mut self, polite: bool, trickle: bool) {
        self.polite |= polite;
        self.trickle &= trickle;
    }

    pub(crate) fn has_mail(&self) -> bool {
        !self.mail.is_empty()
    }

    pub(crate) fn take_mail(&mut self) -> VecDeque<Mail> {
        std::mem::take(&mut self.mail)
    }

    /// Takes what the other side wrote (W3C webrtc-pc §10.7).
    pub(crate) fn receive(&mut self, now: Time, mail: Mail) {
        let result = match mail {
            Mail::Description(description) => {
                let is_offer = description.kind == SdpType::Offer;
                let collides = is_offer && self.connection.signaling_state() != SignalingState::Stable;
                self.ignores_offers = collides && !self.polite;
                if self.ignores_offers {
                    return;
                }
                let result = self.connection.set_remote_description(now, description);
                if result.is_ok() && is_offer {
                    self.describe(now);
                }
                result
            }
            Mail::Candidate(candidate) => self.connection.add_ice_candidate(now, Some(candidate)),
        };
        match result {
            Err(error) if !self.ignores_offers => self.errors.push(error),
            _ => {}
        }
    }

    /// Makes the offer or answer that is due.
    fn describe(&mut self, now: Time) {
        match self.connection.set_local_description(now, None) {
            Ok(_)
                if !self.trickle && self.connection.ice_gathering_state() != IceGatheringState::Complete =>
            {
                self.unsent = true;
            }
            Ok(description) => self.mail.push_back(Mail::Description(self.told(description))),
            Err(error) => self.errors.push(error),
        }
    }

    /// Without the candidates that are withheld.
    fn told(&self, mut description: peer::SessionDescription) -> peer::SessionDescription {
        if !self.withholds.is_empty() {
            let tells = |line: &&str| !line.starts_with("a=candidate:") || !self.withheld(line);
            description.sdp = description.sdp.split_inclusive("\r\n").filter(tells).collect();
        }
        description
    }

    fn withheld(&self, line: &str) -> bool {
        self.withholds.iter().any(|kind| line.contains(&format!(" typ {kind}")))
    }

    fn candidate(&mut self, candidate: &IceCandidateInit) {
        if self.trickle {
            if !self.withheld(&candidate.candidate) {
                self.mail.push_back(Mail::Candidate(candidate.clone()));
            }
        } else if candidate.is_end_of_candidates() && std::mem::take(&mut self.unsent) {
            let description = self.connection.local_description();
            self.mail.extend(description.map(|description| Mail::Description(self.told(description))));
        }
    }

    fn hear(&mut self, event: Event) {
        let now = self.now;
        match &event {
            Event::NegotiationNeeded => self.describe(now),
            Event::CandidateGathered(candidate) => self.candidate(candidate),
            Event::ConnectionStateChanged(peer::ConnectionState::Connected) => {
                self.connected_at.get_or_insert(now);
            }
            Event::ChannelOpened { id, .. } => {
                if let Some(greeting) = &self.greeting {
                    // A channel that is full or closing already hears no greeting.
                    let _ = self.connection.send(now, *id, MessageKind::Text, greeting.as_bytes());
                }
            }
            Event::MessageReceived { id, data, .. } => {
                self.inbox.push((now, *id, data.clone()));
                return;
            }
            Event::Failed(failure) => self.failures.push((now, (**failure).clone())),
            _ => {}
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((now, event));
    }
}

impl Machine for Peer {
    type Addr = Path;
    /// Something happened; [`Peer::events`] has it.
    type Event = ();

    fn handle_mark(&mut self, now: Time) {
        self.connection.handle_mark(now);
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.now = now;
        self.connection.handle_datagram(now, datagram, out);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.connection.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.now = now;
        self.connection.poll_transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<()> {
        let event = self.connection.poll_event()?;
        self.hear(event);
        Some(())
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.connection.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.connection.poll_socket()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.now = now;
        self.connection.handle_socket(now, reply);
    }
}
