mod mooring;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sansio::{Outbox, Path, Seed, Time, Timers, Transport};
use turn::{Client, ClientConfig, ClientEvent, Families, Family, Opened, Stage};

use crate::Server;
use crate::report::{ServerOutcome, ServerReport, ServerRequest};
use crate::route::Route;

pub(crate) use mooring::Mooring;

/// How often a server may send us on to another one.
const MAX_REDIRECTS: u8 = 2;

/// Our allocations on TURN servers, and the way that every packet takes that ICE sends.
#[derive(Default)]
pub(crate) struct Relays {
    list: BTreeMap<RelayId, Relay>,
    by_path: BTreeMap<Path, RelayId>,
    timers: Timers<RelayId>,
    /// Streams that nothing uses any more.
    disused: Vec<Path>,
    next: u32,
}

/// Names an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayId(u32);

/// An allocation on a TURN server, or the attempt to get one.
pub(crate) struct Relay {
    pub(crate) id: RelayId,
    pub(crate) spec: RelaySpec,
    pub(crate) state: RelayState,
    pub(crate) outcome: ServerOutcome,
    pub(crate) started: Time,
    pub(crate) ended: Option<Time>,
    /// We are giving it back.
    pub(crate) closing: bool,
    /// Whether it has lost the way to its server and goes on once there is another.
    pub(crate) mooring: Mooring,
    /// The realm of the server, once it has asked for credentials.
    realm: Option<String>,
    redirects: u8,
    client: Option<Client>,
}

/// What an allocation is asked for with.
#[derive(Clone, Debug)]
pub(crate) struct RelaySpec {
    /// The place of the server in the configuration.
    pub(crate) server: usize,
    /// Its configuration.
    pub(crate) config: Server,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The socket that it is talked to from; with streams, once it is connected.
    pub(crate) local: Option<SocketAddr>,
    /// The place of that socket in the order of preference.
    pub(crate) rank: usize,
    /// The families of the relayed addresses.
    pub(crate) families: Families,
}

/// How far an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelayState {
    /// Its turn has not come, or its stream is not connected yet.
    Waiting,
    /// Asked for.
    Allocating,
    /// There.
    Ready,
    /// Not, or no longer.
    Over,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It left.
    Yes,
    /// The outbox is full.
    NoRoom,
    /// There is no way there: the allocation is gone, or has no permission for the peer.
    NoWay,
}

/// What the owner of the allocations has to know.
#[derive(Debug)]
pub(crate) enum RelayNews {
    /// There is a relayed address, or one of each family.
    Allocated { relayed: SocketAddr, additional: Option<SocketAddr>, mapped: SocketAddr },
    /// The server knows it by another address of ours now. What the other side sends comes there once we have sent
    /// something.
    Moved,
    /// The server relays to a peer from now on.
    Permitted { peer: SocketAddr },
    /// The server does not relay to a peer.
    Refused { peer: SocketAddr, code: u16, reason: String },
    /// It is to be asked for again, perhaps at another server: streams have to be opened anew.
    Reconnect { server_name: String },
    /// It is over.
    Over,
}

impl Relay {
    /// For people. `hide` keeps our own address back.
    pub(crate) fn report(&self, hide: bool) -> ServerReport {
        ServerReport {
            url: self.spec.config.url.to_string(),
            request: ServerRequest::Allocate,
            transport: self.spec.config.url.transport,
            local: self.spec.local.filter(|_| !hide),
            address: Some(self.spec.address),
            outcome: self.outcome.clone(),
            sent: 0,
            took: self.ended.map(|ended| ended - self.started),
            earlier: None,
            realm: self.realm.clone(),
            expires: expiry(&self.spec.config.username),
        }
    }

    /// How it is talked to.
    pub(crate) fn transport(&self) -> Transport {
        self.spec.config.url.transport
    }

    fn end(&mut self, now: Time, outcome: ServerOutcome) {
        self.state = RelayState::Over;
        self.outcome = outcome;
        self.ended = Some(now);
        self.client = None;
    }
}

impl Relays {
    /// Notes an allocation that is to be asked for.
    pub(crate) fn add(&mut self, now: Time, spec: RelaySpec) -> RelayId {
        let id = RelayId(self.next);
        self.next += 1;
        let relay = Relay {
            id,
            spec,
            state: RelayState::Waiting,
            outcome: ServerOutcome::Pending,
            started: now,
            ended: None,
            closing: false,
            mooring: Mooring::Fast { since: now },
            realm: None,
            redirects: 0,
            client: None,
        };
        self.list.insert(id, relay);
        id
    }

    /// All of them, those that are over included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Relay> {
        self.list.values()
    }

    /// The allocation with this name.
    pub(crate) fn get(&self, id: RelayId) -> Option<&Relay> {
        self.list.get(&id)
    }

    fn get_mut(&mut self, id: RelayId) -> Option<&mut Relay> {
        self.list.get_mut(&id)
    }

    /// The allocation whose server is at the other end of `path`.
    pub(crate) fn at_path(&self, path: &Path) -> Option<RelayId> {
        self.by_path.get(path).copied()
    }

    /// Asks for an allocation over `path`.
    pub(crate) fn start(&mut self, now: Time, id: RelayId, path: Path, seed: Seed) {
        let Some(relay) = self.get_mut(id).filter(|relay| relay.state == RelayState::Waiting) else { return };
        let Server { username, credential, .. } = relay.spec.config.clone();
        let credentials = turn::Credentials { username, password: credential };
        let families = relay.spec.families;
        let config = ClientConfig { families, mobility: true, ..ClientConfig::new(path, credentials, seed) };
        relay.client = Some(Client::new(now, config));
        relay.spec.local = Some(path.local);
        relay.state = RelayState::Allocating;
        self.by_path.insert(path, id);
        self.sync(id);
    }

    /// An allocation cannot even be asked for.
    pub(crate) fn fail(&mut self, now: Time, id: RelayId, outcome: ServerOutcome) {
        if let Some(relay) = self.get_mut(id) {
            relay.end(now, outcome);
        }
        self.drop_path(id);
    }

    /// Takes a packet from a server; see [`Client::open`].
    pub(crate) fn open(
        &mut self,
        now: Time,
        id: RelayId,
        payload: &mut [u8],
        deliver: &mut dyn FnMut(SocketAddr, &mut [u8]),
    ) -> Opened {
        let client = self.get_mut(id).and_then(|relay| relay.client.as_mut());
        let opened = client.map_or(Opened::Other, |client| client.open(now, payload, deliver));
        if opened == Opened::Control {
            self.sync(id);
        }
        opened
    }

    /// Writes a packet that takes `route`.
    pub(crate) fn send(
        &mut self,
        route: &Route,
        out: &mut dyn Outbox,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Sent {
        let sent = match route {
            Route::Direct(path) => out.send(*path, max, fill),
            Route::Relayed { relay, peer } => match self.lane(*relay, *peer, out) {
                Some(mut lane) => lane.send((), max, fill),
                None => return Sent::NoWay,
            },
        };
        if sent { Sent::Yes } else { Sent::NoRoom }
    }

    /// The way to `peer` through an allocation.
    pub(crate) fn lane<'a>(
        &'a mut self,
        id: RelayId,
        peer: SocketAddr,
        out: &'a mut dyn Outbox,
    ) -> Option<turn::Lane<'a>> {
        let relay = self.get_mut(id).filter(|relay| relay.mooring.is_fast())?;
        relay.client.as_mut()?.lane(peer, out)
    }

    /// Whether there is a way to `peer` through an allocation, or the server was asked for one a moment ago.
    pub(crate) fn has_lane(&self, id: RelayId, peer: SocketAddr) -> bool {
        self.get(id).and_then(|relay| relay.client.as_ref()).is_some_and(|client| client.has_lane(peer))
    }

    /// Bytes that an allocation costs each packet to `peer`.
    pub(crate) fn overhead(&self, id: RelayId, peer: SocketAddr) -> usize {
        self.get(id).and_then(|relay| relay.client.as_ref()).map_or(0, |client| client.overhead(peer))
    }

    /// Asks a server to let us talk to `peer`.
    pub(crate) fn permit(&mut self, now: Time, id: RelayId, peer: SocketAddr) {
        if let Some(client) = self.get_mut(id).and_then(|relay| relay.client.as_mut()) {
            client.permit(now, peer);
            self.sync(id);
        }
    }

    /// The socket that an allocation is talked to from has another place in the order of preference.
    pub(crate) fn set_rank(&mut self, id: RelayId, rank: usize) {
        if let Some(relay) = self.get_mut(id) {
            relay.spec.rank = rank;
        }
    }

    /// Gives back the allocations that `which` names.
    pub(crate) fn close(&mut self, now: Time, which: impl Fn(&Relay) -> bool) {
        for relay in self.list.values_mut().filter(|relay| which(relay)) {
            match &mut relay.client {
                Some(client) => {
                    relay.closing = true;
                    match relay.mooring {
                        // Nobody would hear it.
                        Mooring::Adrift => client.path_lost(now, "no longer needed"),
                        _ => client.close(now),
                    }
                }
                None if relay.state == RelayState::Waiting => {
                    relay.end(now, ServerOutcome::NotAsked("no longer needed".to_owned()));
                }
                None => {}
            }
        }
        let ids: Vec<RelayId> = self.list.keys().copied().collect();
        ids.into_iter().for_each(|id| self.sync(id));
    }

    /// Forgets what is over, and what was to be asked for and has not been.
    pub(crate) fn forget_idle(&mut self) {
        self.list.retain(|_, relay| match relay.state {
            RelayState::Waiting => relay.transport() != Transport::Udp,
            RelayState::Allocating | RelayState::Ready => true,
            RelayState::Over => false,
        });
    }

    /// Forgets what was given back.
    pub(crate) fn forget_given_back(&mut self) {
        self.list.retain(|_, relay| relay.state != RelayState::Over || !relay.closing);
    }

    /// Forgets all allocations as they are. Returns the streams that can be closed.
    pub(crate) fn abandon(&mut self, now: Time) -> Vec<Path> {
        let ids: Vec<RelayId> = self.list.keys().copied().collect();
        for id in ids {
            self.over(now, id, ServerOutcome::NotAsked("given back".to_owned()));
        }
        self.take_disused()
    }

    /// The streams that can be closed.
    pub(crate) fn take_disused(&mut self) -> Vec<Path> {
        std::mem::take(&mut self.disused)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.timers.expired(now) {
            if let Some(client) = self.get_mut(id).and_then(|relay| relay.client.as_mut()) {
                client.handle_timeout(now);
            }
            self.sync(id);
        }
    }

    /// When [`Relays::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Writes what the allocations have to say to their servers.
    pub(crate) fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        let Self { list, timers, .. } = self;
        for (id, relay) in list {
            if let Some(client) = &mut relay.client {
                client.poll_transmit(now, out);
                set_timer(timers, *id, client.poll_timeout());
            }
        }
    }

    /// The next thing that happened, and to which allocation.
    pub(crate) fn poll_news(&mut self, now: Time) -> Option<(RelayId, RelayNews)> {
        loop {
            let next = |relay: &mut Relay| Some((relay.id, relay.client.as_mut()?.poll_event()?));
            let (id, event) = self.list.values_mut().find_map(next)?;
            if let Some(news) = self.news(now, id, event) {
                return Some((id, news));
            }
        }
    }

    fn news(&mut self, now: Time, id: RelayId, event: ClientEvent) -> Option<RelayNews> {
        let relay = self.list.get_mut(&id)?;
        if let Some(realm) = relay.client.as_ref().and_then(Client::realm) {
            relay.realm = Some(realm.to_owned());
        }
        Some(match event {
            ClientEvent::Allocated { relayed, additional, mapped, .. } => {
                relay.state = RelayState::Ready;
                relay.outcome = ServerOutcome::Succeeded(relayed);
                relay.ended = Some(now);
                relay.mooring = Mooring::Fast { since: now };
                RelayNews::Allocated { relayed, additional, mapped }
            }
            ClientEvent::PermissionRefused { peer, code, reason } => {
                RelayNews::Refused { peer, code: code.unwrap_or(0), reason }
            }
            ClientEvent::PermissionGranted(peer) => RelayNews::Permitted { peer },
            ClientEvent::ChannelBound(_) | ClientEvent::PeerUnreachable { .. } => return None,
            ClientEvent::Moved(path) => {
                tracing::debug!(%path, "an allocation was taken along");
                relay.mooring = Mooring::Fast { since: now };
                RelayNews::Moved
            }
            ClientEvent::MoveRefused { code, reason } => {
                tracing::debug!(?code, reason, "an allocation cannot be taken along");
                self.wreck(now, id, "our own address is gone");
                return None;
            }
            // It asks for no connections.
            ClientEvent::PeerConnected { .. }
            | ClientEvent::PeerRefused { .. }
            | ClientEvent::PeerConnecting { .. } => return None,
            ClientEvent::Redirected { server, domain } => return self.redirect(now, id, server, domain),
            ClientEvent::Failed(error) => {
                let text = error.to_string();
                let own = Families::One(Family::of(relay.spec.address.ip()));
                let outcome = match error.code {
                    // 440, Unsupported Address Family (RFC 8656 §7.3): the server's own it surely has. And one that does not
                    // understand the wish for both may understand a simpler one.
                    Some(code)
                        if error.stage == Stage::Allocate
                            && relay.spec.families != own
                            && (code == 440
                                || matches!(code, 400 | 420) && relay.spec.families == Families::Both) =>
                    {
                        relay.spec.families = own;
                        let server_name = relay.spec.config.url.host.clone();
                        self.restart(id);
                        return Some(RelayNews::Reconnect { server_name });
                    }
                    Some(code) => ServerOutcome::Refused { code, text },
                    None if relay.transport() == Transport::Udp => ServerOutcome::TimedOut,
                    None => ServerOutcome::NotConnected(text),
                };
                self.over(now, id, outcome)
            }
            ClientEvent::Closed => self.over(now, id, ServerOutcome::NotAsked("given back".to_owned())),
        })
    }

    fn over(&mut self, now: Time, id: RelayId, outcome: ServerOutcome) -> RelayNews {
        if let Some(relay) = self.get_mut(id) {
            // What it had given stays on record, and so does that it was asked and has said nothing.
            let unanswered = relay.closing && relay.state == RelayState::Allocating;
            let keep = unanswered || relay.state == RelayState::Ready;
            let outcome = if keep { relay.outcome.clone() } else { outcome };
            relay.end(now, outcome);
        }
        self.drop_path(id);
        RelayNews::Over
    }

    /// Makes an allocation wait for its turn again.
    fn restart(&mut self, id: RelayId) {
        if let Some(relay) = self.get_mut(id) {
            relay.client = None;
            relay.state = RelayState::Waiting;
        }
        self.drop_path(id);
    }

    /// RFC 8489 §10, as RFC 8656 §7.4 has it for allocations.
    fn redirect(
        &mut self,
        now: Time,
        id: RelayId,
        to: SocketAddr,
        domain: Option<String>,
    ) -> Option<RelayNews> {
        let relay = self.list.get_mut(&id)?;
        relay.redirects += 1;
        if relay.redirects > MAX_REDIRECTS {
            let text = "the servers send us on in circles".to_owned();
            return Some(self.over(now, id, ServerOutcome::Refused { code: 300, text }));
        }
        tracing::debug!(from = %relay.spec.address, %to, "TURN server sends us on");
        relay.spec.address = to;
        let server_name = domain.unwrap_or_else(|| relay.spec.config.url.host.clone());
        self.restart(id);
        Some(RelayNews::Reconnect { server_name })
    }

    fn drop_path(&mut self, id: RelayId) {
        let paths = self.by_path.extract_if(.., |_, other| *other == id).map(|(path, _)| path);
        self.disused.extend(paths.filter(|path| path.transport != Transport::Udp));
        self.timers.stop(id);
    }

    fn sync(&mut self, id: RelayId) {
        let client = self.list.get(&id).and_then(|relay| relay.client.as_ref());
        set_timer(&mut self.timers, id, client.and_then(Client::poll_timeout));
    }
}

/// When a username `timestamp:user` expires. Shorter numbers are names, not times.
fn expiry(username: &str) -> Option<u64> {
    let seconds = username.split(':').next()?.parse().ok()?;
    (seconds >= 1_000_000_000).then_some(seconds)
}

fn set_timer(timers: &mut Timers<RelayId>, id: RelayId, at: Option<Time>) {
    match at {
        Some(at) => timers.set(id, at),
        None => timers.stop(id),
    }
}
