mod channels;
mod media;
mod news;
mod roam;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, SocketOp, SocketReply, Time};

use crate::channels::Channels;
use crate::description::{Description, LocalTransport};
use crate::media::Media;
use crate::negotiate::{Negotiation, Remote};
use crate::transport::Transport;
use crate::{
    Configuration, ConnectionState, DtlsState, Error, Event, IceCandidateInit, IceConnectionState,
    IceGatheringState, OfferOptions, PathSummary, SdpType, SessionDescription, SignalingState, Stats,
};

/// After so long without anything that happens, memory that was kept for more of it is given back.
const IDLE: Duration = Duration::from_secs(1);

/// A connection to one other peer: W3C's `RTCPeerConnection`, as a state machine.
///
/// See the [crate's front page](crate) for how it is used, and [`sansio`] for how it is driven.
pub struct Connection {
    pub(crate) configuration: Configuration,
    rng: Rng,
    /// What the SCTP association draws its numbers from.
    sctp_seed: Seed,
    fingerprint: String,
    pub(crate) negotiation: Negotiation,
    pub(crate) channels: Channels,
    /// Transceivers, once there are any.
    pub(crate) media: Option<Box<Media>>,
    pub(crate) transport: Transport,
    /// What the ids in statistics are made with.
    pub(crate) stats_salt: [u8; 16],
    events: VecDeque<Event>,
    /// The states that were told last.
    told: States,
    /// Whether ICE is to be restarted by the next offer.
    restart_wanted: bool,
    /// W3C's `[[NegotiationNeeded]]`: the event was told, and no exchange has been completed since.
    negotiation_needed: bool,
    /// The other end of the transport, as of the last completed exchange.
    remote: Option<Remote>,
    pub(crate) broken: bool,
    /// Whether there was a connection at some time.
    pub(crate) was_connected: bool,
    /// Why DTLS has failed, if it has.
    pub(crate) dtls_failure: Option<dtls::DtlsError>,
    /// What the other side told of its own evidence.
    pub(crate) theirs: Option<Box<doctor::Summary>>,
    peer_closed: bool,
    /// When something happened last.
    pub(crate) latest: Time,
    roam: roam::Roam,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct States {
    gathering: IceGatheringState,
    ice: IceConnectionState,
    connection: ConnectionState,
    /// Not told to anybody, but part of the state of the connection.
    dtls: DtlsState,
}

impl Connection {
    /// A connection that does nothing yet.
    pub fn new(now: Time, configuration: Configuration) -> Self {
        let mut rng = Rng::new(configuration.seed);
        Self {
            fingerprint: configuration.certificate.fingerprint().to_string(),
            transport: Transport::default(),
            // "MUST be representable by a 64-bit signed integer" (RFC 9429 §5.2.1).
            negotiation: Negotiation::new(rng.next_u64() >> 2, configuration.media.is_some()),
            configuration,
            stats_salt: rng.bytes(),
            sctp_seed: rng.fork(),
            rng,
            channels: Channels::default(),
            media: None,
            events: VecDeque::new(),
            told: States {
                gathering: IceGatheringState::New,
                ice: IceConnectionState::New,
                connection: ConnectionState::New,
                dtls: DtlsState::New,
            },
            restart_wanted: false,
            negotiation_needed: false,
            remote: None,
            broken: false,
            was_connected: false,
            dtls_failure: None,
            theirs: None,
            peer_closed: false,
            latest: now,
            roam: roam::Roam::default(),
        }
    }

    /// Makes an offer (`createOffer`). Changes nothing by itself.
    ///
    /// # Errors
    /// While an offer of the other side awaits its answer, or after closing.
    pub fn create_offer(&mut self, now: Time, options: OfferOptions) -> Result<SessionDescription, Error> {
        self.negotiation.expect(SdpType::Offer, "local")?;
        let restart = options.ice_restart || self.restart_wanted;
        let data = self.channels.wanted || self.negotiation.has_data();
        let media = self.media.as_mut().map(|media| media.offer()).unwrap_or_default();
        let carries = data || media.iter().any(|planned| planned.rtp.is_some());
        let transport = if carries { self.local_transport(now, restart) } else { LocalTransport::default() };
        let (offer, places) = self.negotiation.create_offer(data, &media, &transport)?;
        if let Some(media) = &mut self.media {
            media.set_planned(places);
        }
        Ok(offer)
    }

    /// Makes the answer to the offer under way (`createAnswer`). Changes nothing by itself.
    ///
    /// # Errors
    /// If there is no offer to answer, or after closing.
    pub fn create_answer(&mut self, now: Time) -> Result<SessionDescription, Error> {
        self.negotiation.expect(SdpType::Answer, "local")?;
        let (mut taken, mut carries) = (None, false);
        if let Some((offer, remote)) = self.negotiation.pending_offer() {
            taken = self.media.as_mut().map(|media| media.answer(offer, &remote));
            carries = remote.sctp.is_some() || taken.as_ref().is_some_and(|taken| !taken.is_empty());
        }
        let restart = self.negotiation.is_remote_restart();
        let transport = carries.then(|| self.local_transport(now, restart));
        self.negotiation.create_answer(taken.as_deref(), transport.as_ref())
    }

    /// Makes a description the local one (`setLocalDescription`), or, without one, makes and applies the offer or
    /// answer that is due. Returns what is to be sent to the other side.
    ///
    /// # Errors
    /// If the description does not fit the state, or is not the one that was created last. Nothing has changed then.
    pub fn set_local_description(
        &mut self,
        now: Time,
        description: Option<SessionDescription>,
    ) -> Result<SessionDescription, Error> {
        let description = match description {
            Some(description) => description,
            None if self.negotiation.implicit_kind() == SdpType::Offer => {
                self.create_offer(now, OfferOptions::default())?
            }
            None => self.create_answer(now)?,
        };
        if description.kind == SdpType::Rollback {
            self.negotiation.rollback("local")?;
            self.rolled_back(now);
            return Ok(description);
        }
        self.negotiation.set_local(&description)?;
        if let (Some(media), Some(local)) = (&mut self.media, self.negotiation.local()) {
            media.set_local(&local.session);
        }
        if description.kind == SdpType::Offer {
            self.transport.set_controlling(now, true);
        }
        if let Some(ufrag) = self.negotiation.local_ufrag() {
            self.transport.begin(now, &ufrag, &self.configuration.interfaces);
        }
        self.applied(now, description.kind);
        Ok(self.local_description().unwrap_or(description))
    }

    /// Makes a description the remote one (`setRemoteDescription`). An offer that meets an offer of ours takes ours
    /// back first; whoever is impolite must not apply it.
    ///
    /// # Errors
    /// If the description is malformed, does not fit the state, or contradicts an earlier one. Nothing has changed
    /// then.
    pub fn set_remote_description(
        &mut self,
        now: Time,
        description: SessionDescription,
    ) -> Result<(), Error> {
        if description.kind == SdpType::Rollback {
            self.negotiation.rollback("remote")?;
            self.rolled_back(now);
            return Ok(());
        }
        let checked = self.negotiation.check_remote(&description)?;
        if self.negotiation.yields_to(description.kind) {
            self.negotiation.rollback("local")?;
            self.transport.rollback(now);
            self.rollback_media();
        }
        self.negotiation.set_remote(checked);
        if description.kind == SdpType::Offer {
            self.take_media();
        }
        for candidate in self.negotiation.place_early() {
            self.transport.add_remote_candidate(now, &candidate);
        }
        self.applied(now, description.kind);
        Ok(())
    }

    /// Takes a candidate of the other side (`addIceCandidate`); `None`, like an empty one, says that no more follow.
    /// One that comes before its description waits for it.
    ///
    /// # Errors
    /// If it is malformed, or after closing.
    pub fn add_ice_candidate(&mut self, now: Time, candidate: Option<IceCandidateInit>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if let Some(candidate) = self.negotiation.add_candidate(candidate.unwrap_or_default())? {
            self.transport.add_remote_candidate(now, &candidate);
            self.try_sizes(now);
            self.settle(now);
        }
        Ok(())
    }

    /// Asks for an ICE restart with the next offer (`restartIce`); [`Event::NegotiationNeeded`] follows.
    pub fn restart_ice(&mut self, now: Time) {
        self.restart_wanted = !self.is_closed() && self.remote.is_some();
        self.settle(now);
    }

    /// The addresses of this machine have changed: they count from now on.
    pub fn set_interfaces(&mut self, now: Time, interfaces: Vec<ice::Interface>) {
        self.configuration.interfaces = interfaces;
        self.transport.set_interfaces(now, &self.configuration.interfaces);
        self.settle(now);
    }

    /// The addresses that our UDP sockets are bound to: what a router may be asked to map.
    pub fn local_sockets(&self) -> Vec<SocketAddr> {
        self.transport.agent().map(|agent| agent.local_sockets().collect()).unwrap_or_default()
    }

    /// The router sends what comes to `mapped` to our socket on `local`: a candidate. `by` names how it was asked.
    pub fn add_mapping(&mut self, now: Time, local: SocketAddr, mapped: SocketAddr, by: &str) {
        if let Some(agent) = self.transport.agent_mut() {
            agent.add_mapping(now, local, mapped, by);
            self.settle(now);
        }
    }

    /// The router maps that port no more.
    pub fn remove_mapping(&mut self, local: SocketAddr, mapped: SocketAddr) {
        if let Some(agent) = self.transport.agent_mut() {
            agent.remove_mapping(local, mapped);
        }
    }

    /// It is known which sockets the router maps: gathering need not go on for that.
    pub fn end_of_mappings(&mut self, now: Time) {
        if let Some(agent) = self.transport.agent_mut() {
            agent.end_of_mappings(now);
            self.settle(now);
        }
    }

    /// The servers have changed (`setConfiguration`): they count from the next ICE restart on.
    pub fn set_ice_servers(&mut self, servers: Vec<ice::Server>) {
        self.configuration.ice_servers = servers;
        self.transport.set_servers(self.configuration.usable_servers());
    }

    /// Ends the connection and all its channels. What was not delivered is lost; the other side is told with the
    /// next [`Machine::poll_transmit`].
    pub fn close(&mut self, now: Time) {
        if self.is_closed() {
            return;
        }
        self.negotiation.close();
        self.transport.close(now);
        self.close_channels();
        self.close_media();
        self.events.push_back(Event::SignalingStateChanged(SignalingState::Closed));
        self.settle(now);
    }

    /// Whether the connection is closed and has nothing more to send or to wait for: it can be dropped.
    pub fn is_finished(&self) -> bool {
        self.is_closed() && self.transport.is_finished()
    }

    /// `signalingState`.
    pub fn signaling_state(&self) -> SignalingState {
        self.negotiation.signaling()
    }

    /// `iceGatheringState`.
    pub fn ice_gathering_state(&self) -> IceGatheringState {
        self.told.gathering
    }

    /// `iceConnectionState`.
    pub fn ice_connection_state(&self) -> IceConnectionState {
        self.told.ice
    }

    /// `connectionState`.
    pub fn connection_state(&self) -> ConnectionState {
        self.told.connection
    }

    /// Whether the other side takes candidates one by one (`canTrickleIceCandidates`); `None` before it has said.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        self.negotiation.can_trickle
    }

    /// The local description, in negotiation or in force, with the candidates so far (`localDescription`). Once
    /// gathering is complete it says so, and can be sent to peers that do not trickle.
    pub fn local_description(&self) -> Option<SessionDescription> {
        self.negotiation.local().map(|description| self.with_candidates(description))
    }

    /// `currentLocalDescription`.
    pub fn current_local_description(&self) -> Option<SessionDescription> {
        self.negotiation.current_local().map(|description| self.with_candidates(description))
    }

    /// `pendingLocalDescription`.
    pub fn pending_local_description(&self) -> Option<SessionDescription> {
        self.negotiation.pending_local().map(|description| self.with_candidates(description))
    }

    /// The remote description, in negotiation or in force, with the candidates so far (`remoteDescription`).
    pub fn remote_description(&self) -> Option<SessionDescription> {
        self.negotiation.remote().map(Description::to_public)
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<SessionDescription> {
        self.negotiation.current_remote().map(Description::to_public)
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<SessionDescription> {
        self.negotiation.pending_remote().map(Description::to_public)
    }

    /// The path that data takes, in a few words; `None` while there is none.
    pub fn path(&self) -> Option<PathSummary> {
        PathSummary::of(self)
    }

    /// What ICE has done so far, and what came of it.
    pub fn ice_report(&self) -> Option<ice::Report> {
        self.transport.agent().map(ice::Agent::report)
    }

    /// Statistics with the names of webrtc-stats (`getStats`).
    pub fn stats(&self, now: Time) -> Vec<Stats> {
        crate::stats::collect(self, now)
    }

    /// The SCTP packets that were sent, as they were before DTLS sealed them; none without
    /// [`Configuration::capture`]. For laboratories and captures: the packets on the wire cannot be read.
    pub fn captured(&self) -> &[Vec<u8>] {
        let captured = self.transport.secure().and_then(|secure| secure.captured.as_deref());
        captured.unwrap_or_default()
    }

    /// What the last packet has shown of its path, asked once.
    pub(crate) fn poll_proof(&mut self) -> Option<ice::Proof> {
        self.transport.poll_proof()
    }

    /// The username fragments that checks may carry.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.transport.agent().into_iter().flat_map(ice::Agent::local_ufrags)
    }

    fn is_closed(&self) -> bool {
        self.negotiation.signaling() == SignalingState::Closed
    }

    fn local_transport(&mut self, now: Time, restart: bool) -> LocalTransport {
        let credentials = self.transport.credentials(now, &self.configuration, &mut self.rng, restart);
        LocalTransport {
            candidates: self.transport.candidates(&credentials.ufrag),
            ufrag: credentials.ufrag,
            pwd: credentials.pwd,
            fingerprint: self.fingerprint.clone(),
            max_message_size: self.configuration.max_message_size,
            pacing: self.transport.agent().map_or(0, |agent| agent.pacing().as_millis()),
            punches: self.transport.agent().is_some_and(ice::Agent::is_punching_wanted),
            embeds: self.configuration.sped,
            sctp_init: self.sctp_init(),
        }
    }

    /// What the other side may know beforehand of our SCTP: what it has known from the beginning, or nothing.
    fn sctp_init(&self) -> Option<String> {
        let is_told = self.transport.secure().is_none_or(|it| it.is_snapped || it.sctp.is_none());
        let init = || crate::secure::sctp_terms(&self.configuration, self.sctp_seed).init();
        (self.configuration.snap && is_told).then(|| STANDARD.encode(init()))
    }

    fn with_candidates(&self, description: &Description) -> SessionDescription {
        description.with_candidates(|ufrag| self.transport.candidates(ufrag))
    }

    /// After a description was applied.
    fn applied(&mut self, now: Time, kind: SdpType) {
        if kind != SdpType::Offer {
            self.agreed(now);
            self.settle_media(now, kind == SdpType::Answer);
        }
        if kind == SdpType::Answer {
            // W3C: "If signalingState is now stable, update the negotiation-needed flag".
            self.negotiation_needed = false;
        }
        self.events.push_back(Event::SignalingStateChanged(self.negotiation.signaling()));
        self.settle(now);
    }

    /// After an answer was applied.
    fn agreed(&mut self, now: Time) {
        let Some(agreement) = self.negotiation.agreement(self.remote.as_ref()) else {
            // Channels that were never offered wait for the next offer; those that were have been refused.
            if self.remote.take().is_some() || self.negotiation.is_data_refused() {
                self.transport.close(now);
                self.close_channels();
            }
            return;
        };
        if self.transport.local_ufrag().is_some_and(|own| own != agreement.local_ufrag) {
            return;
        }
        if self.remote.as_ref().is_none_or(|earlier| agreement.remote.restarts(earlier)) {
            self.restart_wanted = self.roam.take_again();
            self.broken = false;
        }
        let had_data = self.remote.as_ref().is_some_and(|earlier| earlier.sctp.is_some());
        if agreement.remote.sctp.is_none() && (had_data || self.negotiation.is_data_refused()) {
            self.close_channels();
        }
        self.remote = Some(agreement.remote.clone());
        if self.transport.agree(now, agreement, &self.configuration, self.sctp_seed, &mut self.rng) {
            for id in self.channels.unbound() {
                if self.bind_channel(now, id).is_err() {
                    self.forget_channel(id);
                }
            }
        }
        self.try_sizes(now);
    }

    /// After a rollback.
    fn rolled_back(&mut self, now: Time) {
        self.transport.rollback(now);
        self.rollback_media();
        self.negotiation_needed = false;
        self.events.push_back(Event::SignalingStateChanged(SignalingState::Stable));
        self.settle(now);
    }
}

impl Machine for Connection {
    type Addr = Path;
    type Event = Event;

    fn handle_mark(&mut self, _: Time) {
        self.transport.handle_mark();
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.transport.open(now, datagram, out);
        self.listen(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.events.is_empty() && now > self.latest + IDLE {
            self.events = VecDeque::new();
        }
        self.transport.handle_timeout(now);
        self.listen(now);
        self.consider_giving_up(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.transport.poll_transmit(now, out);
        self.listen(now);
    }

    /// What SCTP has received is taken from it here and not before: what nobody asks for counts against the window
    /// that the other side sees.
    fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match self.transport.poll_sctp() {
                Some(event) => self.handle_sctp(event),
                None => {
                    let event = self.transport.poll_media()?;
                    self.handle_media(event);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.transport.poll_timeout().into_iter().chain(self.roam.deadline()).min()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.transport.poll_socket()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.transport.handle_socket(now, reply);
        self.listen(now);
    }
}
