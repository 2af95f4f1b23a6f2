use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::Certificate;
use doctor::{Report, Summary};
use peer::{
    Connection, ConnectionState, DataChannelInit, IceCandidateInit, IceConnectionState, IceGatheringState,
    MediaKind, OfferOptions, PathSummary, SessionDescription, SignalingState, Stats, TransceiverId,
    TransceiverInit,
};
use sansio::{Seed, Time};
use tokio::task::JoinHandle;

use crate::changes::changes;
use crate::interfaces::interfaces;
use crate::portmap;
use crate::state::{Settings, State, Told};
use crate::{
    Clock, Configuration, Connector, DataChannel, Engine, Error, IceServer, IceTransportPolicy, LocalTrack,
    MediaConfiguration, Network, PeerEvent, RemoteTrack, Shared, Transceiver,
};

/// A connection to one other peer (`RTCPeerConnection`).
///
/// It is a handle: cheap to clone, and usable from any task. The work is done by a task of its own, which ends when the
/// connection is closed: by [`PeerConnection::close`], by the other side, or by dropping the last handle together with
/// the handles of all its channels. What was sent before is delivered first, as far as
/// [`Configuration::close_timeout`] allows.
///
/// All futures are cancel-safe: dropping one loses nothing.
#[derive(Clone)]
pub struct PeerConnection {
    handle: Arc<Handle>,
}

/// What keeps a connection alive: its clones are the handles of the connection and of its channels.
pub(crate) struct Handle {
    shared: Arc<Shared<State>>,
    trickle: bool,
    use_relay: bool,
    /// The task that has the router map ports.
    mapper: Mutex<Option<JoinHandle<()>>>,
}

/// How long the router may take to take its ports back. It would do so by itself, only later.
const GIVING_BACK: Duration = Duration::from_millis(500);

/// Whether a server is somewhere else than on this machine.
fn is_far(server: &ice::Server) -> bool {
    let host = server.url.host.as_str();
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a connection is made from.
pub(crate) struct Plan {
    pub(crate) machine: peer::Configuration,
    pub(crate) settings: Settings,
    pub(crate) use_relay: bool,
    /// Whether the router is to be asked for ports.
    maps: bool,
    connector: Connector,
}

impl Plan {
    pub(crate) fn new(
        configuration: Configuration,
        clock: Clock,
        interfaces: Vec<ice::Interface>,
    ) -> Result<Self, Error> {
        let ice_servers = configuration.servers()?;
        let certificate = match configuration.certificate {
            Some(certificate) => certificate,
            None => Certificate::generate().map_err(|error| Error::Certificate(error.to_string()))?,
        };
        let relay_only = configuration.ice_transport_policy == IceTransportPolicy::Relay;
        let maps = configuration.port_mapping && !relay_only && ice_servers.iter().any(is_far);
        let mut ice_timings = ice::Timings::default();
        if !configuration.trickle {
            // Somebody waits for the last candidate.
            ice_timings.gathering = ice_timings.gathering_at_once;
        }
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let unix_time = unix_time.map(|unix_time| unix_time.saturating_sub(clock.now().elapsed()));
        let limits = configuration
            .media
            .as_ref()
            .map_or_else(|| MediaConfiguration::default().limits(), |it| it.limits());
        let machine = peer::Configuration {
            ice_timings,
            ice_servers,
            ice_transport_policy: match configuration.ice_transport_policy {
                IceTransportPolicy::All => ice::TransportPolicy::All,
                IceTransportPolicy::Relay => ice::TransportPolicy::Relay,
            },
            interfaces,
            mdns: configuration.mdns,
            include_loopback: configuration.include_loopback,
            mtu: configuration.mtu,
            max_message_size: configuration.max_message_size,
            send_buffer: configuration.send_buffer,
            largest_mtu: configuration.largest_mtu,
            congestion: configuration.congestion,
            ecn: udp::READS_MARKS,
            unix_time_at_start: unix_time,
            server_unix_time_at_start: unix_time.zip(configuration.servers_ahead).map(|(ours, ahead)| {
                let by = Duration::from_secs(ahead.unsigned_abs());
                if ahead < 0 { ours.saturating_sub(by) } else { ours + by }
            }),
            proxy: crate::proxy::configured(),
            expect_mappings: maps && configuration.trickle,
            roam: configuration.roam,
            punch: configuration.punch,
            media: configuration.media.map(|media| Box::new(media.machine())),
            ..peer::Configuration::new(Seed(crypto::seed()), certificate)
        };
        let settings = Settings {
            trickle: configuration.trickle,
            receive_buffer: configuration.receive_buffer,
            close_timeout: configuration.close_timeout,
            limits,
            clock,
        };
        let connector =
            Connector::new(configuration.certificate_authorities).with_names(configuration.certificate_names);
        Ok(Self { machine, settings, use_relay: configuration.use_relay, maps, connector })
    }

    pub(crate) fn build(self, now: Time) -> State {
        State::new(Connection::new(now, self.machine), self.settings)
    }
}

impl PeerConnection {
    /// Makes a connection, and starts the task that runs it. Nothing is sent, and no socket opened, before a local
    /// description is set.
    ///
    /// # Errors
    /// Outside a tokio runtime, or if the URL of a server cannot be used.
    pub fn new(configuration: Configuration) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let clock = Clock::start();
        let plan = Plan::new(configuration, clock, interfaces())?;
        let network = Network::new(plan.connector.clone());
        let (maps, roams) = (plan.maps, plan.machine.roam.is_some());
        let (trickle, use_relay) = (plan.settings.trickle, plan.use_relay);
        let shared = Shared::new(clock, plan.build(clock.now()));
        let engine = {
            let _inside = runtime.enter();
            Engine::new(shared.clone(), network)
        };
        let mapper = maps.then(|| {
            let sockets = shared.lock().sockets.subscribe();
            runtime.spawn(portmap::run(Arc::downgrade(&shared), sockets))
        });
        let follower = roams.then(|| runtime.spawn(follow(Arc::downgrade(&shared))));
        runtime.spawn(async move {
            engine.await;
            if let Some(follower) = follower {
                follower.abort();
            }
        });
        Ok(Self { handle: Arc::new(Handle { shared, trickle, use_relay, mapper: Mutex::new(mapper) }) })
    }

    /// A connection of an endpoint, whose engine runs it.
    pub(crate) fn of(shared: Arc<Shared<State>>, trickle: bool, use_relay: bool) -> Self {
        Self { handle: Arc::new(Handle { shared, trickle, use_relay, mapper: Mutex::new(None) }) }
    }

    /// Makes a channel (`createDataChannel`). Messages can be sent at once; they leave when the connection is there.
    ///
    /// # Errors
    /// If the parameters contradict each other, or after closing.
    #[doc(alias = "createDataChannel")]
    pub fn create_data_channel(&self, label: &str, init: DataChannelInit) -> Result<DataChannel, Error> {
        self.handle.act(|state, now| {
            let id = state.connection.create_data_channel(now, label, init.clone())?;
            state.add_channel(id);
            Ok(DataChannel::new(self.handle.clone(), id, label.to_owned(), init))
        })
    }

    /// Makes a transceiver (`addTransceiver`): a way for sound or pictures, there and back, which gets a section of its own with the
    /// next exchange. [`PeerEvent::NegotiationNeeded`] follows.
    ///
    /// # Errors
    /// If the encodings' names make no sense, there are too many, or after closing.
    #[doc(alias = "addTransceiver")]
    pub fn add_transceiver(&self, kind: MediaKind, init: TransceiverInit) -> Result<Transceiver, Error> {
        let id = self.handle.act(|state, now| state.connection.add_transceiver(now, kind, init))?;
        Ok(Transceiver::new(self.handle.clone(), id, kind))
    }

    /// Says that there is something to send (`addTrack`), which belongs to these streams: by a transceiver that sends nothing yet,
    /// such as one that the other side's offer has made, or by a new one.
    ///
    /// # Errors
    /// If there are too many, or after closing.
    #[doc(alias = "addTrack")]
    pub fn add_track(&self, kind: MediaKind, streams: &[&str]) -> Result<LocalTrack, Error> {
        let streams = streams.iter().map(|it| String::from(*it)).collect();
        let id = self.handle.act(|state, now| state.connection.add_track(now, kind, streams))?;
        Ok(Transceiver::new(self.handle.clone(), id, kind).sender())
    }

    /// Says that nothing is sent any more by a track of this connection (`removeTrack`). Its transceiver stays.
    ///
    /// # Errors
    /// If its transceiver is stopped, or the connection closed.
    #[doc(alias = "removeTrack")]
    pub fn remove_track(&self, track: &LocalTrack) -> Result<(), Error> {
        track.stake().wish(|connection, now, id| connection.remove_track(now, id))
    }

    /// All transceivers that are not stopped on both sides, the oldest first (`getTransceivers`).
    #[doc(alias = "getTransceivers")]
    pub fn transceivers(&self) -> Vec<Transceiver> {
        let known: Vec<_> =
            self.handle.state().connection.transceivers().map(|it| (it.id(), it.kind())).collect();
        known.into_iter().map(|(id, kind)| Transceiver::new(self.handle.clone(), id, kind)).collect()
    }

    fn remote_track(&self, id: TransceiverId, kind: MediaKind) -> RemoteTrack {
        Transceiver::new(self.handle.clone(), id, kind).receiver()
    }

    /// Makes an offer (`createOffer`). It changes nothing until it is set as the local description.
    ///
    /// # Errors
    /// While an offer of the other side awaits its answer, or after closing.
    #[doc(alias = "createOffer")]
    pub async fn create_offer(&self) -> Result<SessionDescription, Error> {
        self.handle.act(|state, now| Ok(state.connection.create_offer(now, OfferOptions::default())?))
    }

    /// Makes the answer to the offer that was set as the remote description (`createAnswer`).
    ///
    /// # Errors
    /// If there is no offer to answer, or after closing.
    #[doc(alias = "createAnswer")]
    pub async fn create_answer(&self) -> Result<SessionDescription, Error> {
        self.handle.act(|state, now| Ok(state.connection.create_answer(now)?))
    }

    /// Applies an offer or an answer of ours (`setLocalDescription`), or, without one, makes and applies the one that
    /// is due. Gathering of candidates begins. Returns what is to be sent to the other side: if
    /// [`Configuration::trickle`] is off, only when all candidates are known and stand in it.
    ///
    /// # Errors
    /// If the description does not fit the state, or is not the one that was made last; nothing has changed then.
    #[doc(alias = "setLocalDescription")]
    pub async fn set_local_description(
        &self,
        description: impl Into<Option<SessionDescription>>,
    ) -> Result<SessionDescription, Error> {
        let description = description.into();
        let applied = self
            .handle
            .act(|state, now| Ok::<_, Error>(state.connection.set_local_description(now, description)?))?;
        if self.handle.trickle {
            return Ok(applied);
        }
        self.gathering_complete().await?;
        Ok(self.local_description().unwrap_or(applied))
    }

    /// Applies an offer or an answer of the other side (`setRemoteDescription`). An offer that meets one of ours takes
    /// ours back first.
    ///
    /// # Errors
    /// If it is malformed, does not fit the state, or contradicts an earlier one; nothing has changed then.
    #[doc(alias = "setRemoteDescription")]
    pub async fn set_remote_description(&self, description: SessionDescription) -> Result<(), Error> {
        self.handle.act(|state, now| Ok(state.connection.set_remote_description(now, description)?))
    }

    /// Takes a candidate of the other side (`addIceCandidate`); `None` says that those were all. One that comes before
    /// its description waits for it.
    ///
    /// # Errors
    /// If it is malformed, or after closing.
    #[doc(alias = "addIceCandidate")]
    pub async fn add_ice_candidate(
        &self,
        candidate: impl Into<Option<IceCandidateInit>>,
    ) -> Result<(), Error> {
        let candidate = candidate.into();
        self.handle.act(|state, now| Ok(state.connection.add_ice_candidate(now, candidate)?))
    }

    /// Looks for a new path with the next offer (`restartIce`), for instance after the network has changed: the
    /// addresses of this machine are listed anew. [`PeerEvent::NegotiationNeeded`] follows.
    #[doc(alias = "restartIce")]
    pub fn restart_ice(&self) {
        let interfaces = interfaces();
        self.handle.act(|state, now| {
            state.connection.set_interfaces(now, interfaces);
            state.connection.restart_ice(now);
        });
    }

    /// Changes the STUN and TURN servers, for instance because the credentials of the old ones expire: they count from
    /// the next ICE restart on (`setConfiguration`).
    ///
    /// # Errors
    /// If the URL of a server cannot be used; nothing has changed then.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), Error> {
        let servers = crate::configuration::servers(&servers, self.handle.use_relay)?;
        self.handle.act(|state, _| state.connection.set_ice_servers(servers));
        Ok(())
    }

    /// Our description, in negotiation or in force, with the candidates so far (`localDescription`).
    #[doc(alias = "localDescription")]
    pub fn local_description(&self) -> Option<SessionDescription> {
        self.handle.state().connection.local_description()
    }

    /// The other side's description, in negotiation or in force (`remoteDescription`).
    #[doc(alias = "remoteDescription")]
    pub fn remote_description(&self) -> Option<SessionDescription> {
        self.handle.state().connection.remote_description()
    }

    /// Waits until all our candidates are known and stand in [`PeerConnection::local_description`].
    ///
    /// # Errors
    /// If the connection is closed before.
    pub async fn gathering_complete(&self) -> Result<(), Error> {
        poll_fn(|cx| self.handle.state().poll_gathered(cx)).await
    }

    /// Waits until the connection is there, and tells which path it takes.
    ///
    /// # Errors
    /// If it fails, [`Error::Failed`] with the cause, what to do about it, and the evidence; [`Error::Closed`] if it is
    /// closed before.
    pub async fn connected(&self) -> Result<PathSummary, Error> {
        poll_fn(|cx| {
            let mut state = self.handle.state();
            match state.poll_connected(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(state.connection.path().ok_or(Error::Closed)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// The next event; `None` once the connection is closed and all were told.
    ///
    /// Events wait until they are asked for, up to some thousands. They need not be: the connection works without.
    pub async fn next_event(&self) -> Option<PeerEvent> {
        let told = poll_fn(|cx| self.handle.state().poll_event(cx)).await?;
        Some(match told {
            Told::NegotiationNeeded => PeerEvent::NegotiationNeeded,
            Told::Candidate(candidate) => PeerEvent::IceCandidate(candidate),
            Told::CandidateError(error) => PeerEvent::IceCandidateError(error),
            Told::Channel { id, label, init } => {
                PeerEvent::DataChannel(DataChannel::new(self.handle.clone(), id, label, init))
            }
            Told::Connection(state) => PeerEvent::ConnectionStateChange(state),
            Told::IceConnection(state) => PeerEvent::IceConnectionStateChange(state),
            Told::IceGathering(state) => PeerEvent::IceGatheringStateChange(state),
            Told::Signaling(state) => PeerEvent::SignalingStateChange(state),
            Told::Path(path) => PeerEvent::PathChange(path),
            Told::Track(id, kind) => PeerEvent::Track(self.remote_track(id, kind)),
            Told::TrackMute(id, kind) => PeerEvent::TrackMute(self.remote_track(id, kind)),
            Told::TrackUnmute(id, kind) => PeerEvent::TrackUnmute(self.remote_track(id, kind)),
            Told::MediaRejected { mid, kind, because } => PeerEvent::MediaRejected { mid, kind, because },
            Told::PeerClosed => PeerEvent::PeerClosed,
            Told::Failed(failure) => PeerEvent::Failed(failure),
        })
    }

    /// The path that data takes; `None` while there is none.
    pub fn path(&self) -> Option<PathSummary> {
        self.handle.state().connection.path()
    }

    /// The path that data takes, or took last, also when the connection has ended; `None` if it never had one.
    pub fn last_path(&self) -> Option<PathSummary> {
        let state = self.handle.state();
        state.connection.path().or_else(|| state.last_path.as_deref().cloned())
    }

    /// What was tried so far and what came back, and the doctor's verdicts on it: why there is no connection, or why it
    /// is not direct. As text, `report.to_string()` is what `sterna` prints.
    pub fn report(&self) -> Report {
        let now = self.handle.shared.now();
        self.handle.state().connection.report(now)
    }

    /// Takes what the other side tells of its own evidence ([`Evidence::summary`](doctor::Evidence::summary)), which
    /// makes certain what one side alone cannot know: that candidates were lost, or packets did not arrive.
    pub fn set_remote_summary(&self, summary: Summary) {
        self.handle.state().connection.set_remote_summary(summary);
    }

    /// Statistics with the names of webrtc-stats (`getStats`).
    #[doc(alias = "getStats")]
    pub fn stats(&self) -> Vec<Stats> {
        let now = self.handle.shared.now();
        self.handle.state().connection.stats(now)
    }

    /// `connectionState`.
    #[doc(alias = "connectionState")]
    pub fn connection_state(&self) -> ConnectionState {
        self.handle.state().connection.connection_state()
    }

    /// `iceConnectionState`.
    #[doc(alias = "iceConnectionState")]
    pub fn ice_connection_state(&self) -> IceConnectionState {
        self.handle.state().connection.ice_connection_state()
    }

    /// `iceGatheringState`.
    #[doc(alias = "iceGatheringState")]
    pub fn ice_gathering_state(&self) -> IceGatheringState {
        self.handle.state().connection.ice_gathering_state()
    }

    /// `signalingState`.
    #[doc(alias = "signalingState")]
    pub fn signaling_state(&self) -> SignalingState {
        self.handle.state().connection.signaling_state()
    }

    /// Closes all channels, delivering what was sent on them, and then the connection; returns when it is done, or
    /// [`Configuration::close_timeout`] is over. Without waiting for the result, closing goes on in the background.
    pub async fn close(&self) {
        self.handle.act(State::close);
        poll_fn(|cx| self.handle.state().poll_gone(cx)).await;
        let mapper = self.handle.mapper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mapper) = mapper {
            let _ = tokio::time::timeout(GIVING_BACK, mapper).await;
        }
    }
}

/// Tells a connection what becomes of this machine's addresses.
async fn follow(shared: Weak<Shared<State>>) {
    let mut changes = changes();
    while changes.changed().await.is_ok() {
        let interfaces = interfaces();
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.now();
        shared.lock().connection.network_changed(now, interfaces);
        shared.wake();
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection").field("state", &self.connection_state()).finish_non_exhaustive()
    }
}

impl Handle {
    /// The state, to look at or to wait for.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    pub(crate) fn now(&self) -> Time {
        self.shared.now()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock()
    }

    /// Does something that the engine has to know of.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.shared.now();
        let result = act(&mut self.shared.lock(), now);
        self.shared.wake();
        result
    }

    /// Has the engine take a turn.
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.act(State::close);
    }
}
