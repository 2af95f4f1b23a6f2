use std::collections::VecDeque;
use std::net::IpAddr;

use rtp::session::{Session, SessionConfig, Terms};
use sansio::{Datagram, Full, Machine, Outbox, Rng, Seed, SocketOp, SocketReply, Time};

use crate::demux::{Demux, Taker};
use crate::description::LocalCandidates;
use crate::negotiate::{Agreement, Remote, RemoteCandidate};
use crate::secure::{Capture, Secure};
use crate::sockets::Sockets;
use crate::traffic::{Counted, Traffic};
use crate::{Configuration, DtlsState};

/// Agents that may say goodbye at the same time; further ones are dropped.
const MAX_LEAVING: usize = 4;

/// The stack under data channels and media: ICE finds the path, DTLS secures it, SCTP makes channels of it.
#[derive(Default)]
pub(crate) struct Transport {
    ice: Option<Ice>,
    /// Agents of offers that were taken back and of closed connections: they still say goodbye to their servers.
    leaving: VecDeque<(u32, ice::Agent)>,
    secure: Option<Secure>,
    /// Media, once any was agreed on.
    media: Option<Box<Session>>,
    /// Whether ICE had a path when it was last asked. Without one the clocks of DTLS and SCTP stand still: nothing
    /// that they could send would leave, and no attempt of theirs shall count.
    has_path: bool,
    sockets: Sockets,
    /// What leaving agents want of sockets: it outlives them.
    wishes: VecDeque<SocketOp>,
    next_serial: u32,
    demux: Demux,
    /// The addresses between which larger packets are tried.
    sized: Option<(IpAddr, IpAddr)>,
    /// Whether the next datagram was marked on its way.
    marked: bool,
    pub(crate) traffic: Traffic,
    /// Set by [`Transport::close`], until the last packets are written.
    closing: bool,
}

/// The agent, and how far the descriptions have let it go.
struct Ice {
    serial: u32,
    agent: ice::Agent,
    /// Whether a local description with its credentials was applied.
    begun: bool,
    /// Whether the other side is known.
    agreed: bool,
    /// Credentials for a restart, from the offer or answer that has them until that is applied.
    planned: Option<ice::Credentials>,
    /// Whether a restart is under way that the other side has not joined.
    restarting: bool,
}

impl Transport {
    pub(crate) fn agent(&self) -> Option<&ice::Agent> {
        self.ice.as_ref().map(|ice| &ice.agent)
    }

    pub(crate) fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    pub(crate) fn association(&mut self) -> Option<&mut sctp::Association> {
        self.secure.as_mut()?.sctp.as_mut()
    }

    /// Our ICE generation.
    pub(crate) fn local_ufrag(&self) -> Option<&str> {
        self.agent().map(|agent| agent.local_credentials().ufrag.as_str())
    }

    pub(crate) fn set_servers(&mut self, servers: Vec<ice::Server>) {
        if let Some(ice) = &mut self.ice {
            ice.agent.set_servers(servers);
        }
    }

    /// The credentials for the next local description: new ones if it restarts ICE.
    pub(crate) fn credentials(
        &mut self,
        now: Time,
        configuration: &Configuration,
        rng: &mut Rng,
        restart: bool,
    ) -> ice::Credentials {
        if self.closing {
            self.finish(now);
        }
        let ice = self.ice.get_or_insert_with(|| {
            self.next_serial += 1;
            let mut agent = ice::Agent::new(now, configuration.ice(rng.fork(), false));
            if configuration.sped {
                agent.offer_embedding();
            }
            let serial = self.next_serial;
            Ice { serial, agent, begun: false, agreed: false, planned: None, restarting: false }
        });
        // Before the other side has answered there is nothing to restart.
        if !restart || !ice.agreed || ice.restarting {
            return ice.agent.local_credentials().clone();
        }
        let fresh = || ice::Credentials { ufrag: rng.ice_chars(8), pwd: rng.ice_chars(24) };
        ice.planned.get_or_insert_with(fresh).clone()
    }

    /// Our candidates with these credentials.
    pub(crate) fn candidates(&self, ufrag: &str) -> LocalCandidates {
        let Some(agent) = self.agent().filter(|agent| agent.local_credentials().ufrag == ufrag) else {
            return LocalCandidates::default();
        };
        let address = |candidate: &ice::Candidate| {
            let address = candidate.address.ip()?;
            let family = if address.is_ipv4() { "IP4" } else { "IP6" };
            Some((format!("IN {family} {}", address.ip()), address.port()))
        };
        LocalCandidates {
            lines: agent.local_candidates().map(ToString::to_string).collect(),
            default: agent.default_candidate().and_then(address),
            complete: agent.gathering_state() == ice::GatheringState::Complete,
        }
    }

    /// A local description with these credentials is applied: gathering begins, if it has not.
    pub(crate) fn begin(&mut self, now: Time, ufrag: &str, interfaces: &[ice::Interface]) {
        let Some(ice) = &mut self.ice else { return };
        if ice.agent.local_credentials().ufrag == ufrag {
            if !ice.begun {
                ice.begun = true;
                ice.agent.gather(now, interfaces);
            }
        } else if let Some(planned) = ice.planned.take_if(|planned| planned.ufrag == ufrag) {
            ice.restarting = true;
            ice.agent.restart_with(now, planned);
            ice.agent.gather(now, interfaces);
        }
    }

    /// The addresses of this machine have changed.
    pub(crate) fn set_interfaces(&mut self, now: Time, interfaces: &[ice::Interface]) {
        if let Some(ice) = self.ice.as_mut().filter(|ice| ice.begun) {
            ice.agent.gather(now, interfaces);
        }
    }

    /// The offer that made us begin, or restart, is taken back.
    pub(crate) fn rollback(&mut self, now: Time) {
        let Some(ice) = &mut self.ice else { return };
        ice.planned = None;
        if std::mem::take(&mut ice.restarting) {
            ice.agent.undo_restart(now);
        } else if ice.begun && !ice.agreed {
            self.retire(now);
        }
    }

    /// Whether this side controls, told before the other side is known.
    pub(crate) fn set_controlling(&mut self, now: Time, controlling: bool) {
        if let Some(ice) = self.ice.as_mut().filter(|ice| !ice.agreed) {
            ice.agent.set_controlling(now, controlling);
        }
    }

    /// An answer has told who the other side is. Returns whether there is a new SCTP association.
    pub(crate) fn agree(
        &mut self,
        now: Time,
        agreement: Agreement,
        configuration: &Configuration,
        sctp_seed: Seed,
        rng: &mut Rng,
    ) -> bool {
        let Some(ice) = &mut self.ice else { return false };
        if ice.agent.local_credentials().ufrag != agreement.local_ufrag {
            return false;
        }
        // DTLS first: ICE may have packets for it.
        let (fresh, fresh_sctp) = match &mut self.secure {
            Some(secure) => (false, secure.renew(now, &agreement, configuration, sctp_seed, rng)),
            None => {
                self.secure = Some(Secure::new(now, &agreement, configuration, sctp_seed, rng));
                (true, true)
            }
        };
        (ice.agreed, ice.restarting) = (true, false);
        if fresh || agreement.new_association {
            match agreement.embeds(configuration) {
                true => ice.agent.start_embedding(&agreement.remote.credentials.ufrag),
                false => ice.agent.stop_embedding(),
            }
        }
        let Remote { credentials, lite, pacing, punches, candidates, end_of_candidates, .. } =
            agreement.remote;
        ice.agent.set_remote_lite(now, lite);
        ice.agent.set_remote_punching(now, punches);
        if let Some(pacing) = pacing {
            ice.agent.set_remote_pacing(now, pacing);
        }
        if ice.agent.remote_credentials() != Some(&credentials) {
            ice.agent.set_remote_credentials(now, credentials);
        }
        for line in candidates {
            add_candidate(&mut ice.agent, now, &line);
        }
        if end_of_candidates {
            ice.agent.end_of_remote_candidates(now);
        }
        if fresh_sctp {
            // An association that comes later has not been told what the path is like.
            self.sized = None;
        }
        self.unpack(now);
        fresh_sctp
    }

    /// A candidate of the other side came after its description.
    pub(crate) fn add_remote_candidate(&mut self, now: Time, candidate: &RemoteCandidate) {
        let known = |ice: &&mut Ice| {
            ice.agent.remote_credentials().is_some_and(|remote| remote.ufrag == candidate.ufrag)
        };
        // Otherwise it stands in a description that is not in force yet, and comes with that.
        let Some(ice) = self.ice.as_mut().filter(known) else { return };
        match &candidate.line {
            Some(line) => add_candidate(&mut ice.agent, now, line),
            None => ice.agent.end_of_remote_candidates(now),
        }
    }

    /// Closes the sockets on addresses that are gone.
    pub(crate) fn retain_interfaces(&mut self, now: Time, interfaces: &[ice::Interface]) {
        if let Some(ice) = self.ice.as_mut().filter(|ice| ice.begun) {
            ice.agent.retain_interfaces(now, interfaces);
        }
    }

    /// The agent, for what is its business alone.
    pub(crate) fn agent_mut(&mut self) -> Option<&mut ice::Agent> {
        self.ice.as_mut().map(|ice| &mut ice.agent)
    }

    /// What the last packet has shown of its path.
    pub(crate) fn poll_proof(&mut self) -> Option<ice::Proof> {
        self.agent_mut()?.poll_proof()
    }

    /// There is a path again.
    pub(crate) fn hurry(&mut self, now: Time) {
        if let Some(association) = self.association() {
            association.hurry(now);
        }
    }

    /// Has larger packets tried on a direct path, if it is another one than before. Behind a TURN server, of whichever side, a large
    /// one is sent on in fragments, or not at all, and that it arrived once says little.
    pub(crate) fn try_sizes(&mut self, now: Time, largest: usize) {
        let (Some(ice), Some(secure)) = (&self.ice, &mut self.secure) else { return };
        let sized = ice.agent.direct_path().map(|path| (path.local.ip(), path.remote.ip()));
        if std::mem::replace(&mut self.sized, sized) != sized {
            let v6 = sized.is_some_and(|(_, remote)| remote.is_ipv6());
            let direct = sized.is_some();
            secure.set_path(now, v6, if direct { largest } else { 0 }, direct);
        }
    }

    /// Media goes on under these terms. `config`: what its session is made from, the first time.
    pub(crate) fn set_terms(&mut self, now: Time, terms: Vec<Terms>, config: impl FnOnce() -> SessionConfig) {
        if self.secure.is_none() || (self.media.is_none() && terms.is_empty()) {
            return;
        }
        self.media.get_or_insert_with(|| Box::new(Session::new(config()))).set_terms(now, terms);
        self.pass_keys(now);
    }

    /// Gives media the keys that DTLS has agreed on, whenever there are new ones.
    fn pass_keys(&mut self, now: Time) {
        if let (Some(media), Some(secure)) = (&mut self.media, &mut self.secure)
            && let Some((ours, theirs)) = secure.take_keys()
        {
            media.set_keys(now, &ours, &theirs);
        }
    }

    /// Media, for what is its business alone.
    pub(crate) fn media_mut(&mut self) -> Option<&mut Session> {
        self.media.as_deref_mut()
    }

    pub(crate) fn media(&self) -> Option<&Session> {
        self.media.as_deref()
    }

    pub(crate) fn poll_media(&mut self) -> Option<rtp::session::Event> {
        self.media.as_mut()?.poll_event()
    }

    /// Ends everything; the last packets leave with the next [`Transport::poll_transmit`].
    pub(crate) fn close(&mut self, now: Time) {
        if let Some(association) = self.association() {
            association.abort(now);
        }
        if let Some(media) = &mut self.media {
            media.close(now);
        }
        self.closing = self.ice.is_some();
    }

    /// Whether nothing is left to be sent or waited for.
    pub(crate) fn is_finished(&self) -> bool {
        !self.closing && self.ice.is_none() && self.leaving.is_empty() && self.wishes.is_empty()
    }

    /// The next datagram was marked on its way.
    pub(crate) fn handle_mark(&mut self) {
        self.marked = true;
    }

    pub(crate) fn open(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let marked = std::mem::take(&mut self.marked);
        if !self.leaving.is_empty()
            && let Some(owner) = self.sockets.owner(datagram.from)
            && let Some((_, agent)) = self.leaving.iter_mut().find(|(serial, _)| *serial == owner)
        {
            return agent.handle_datagram(now, datagram, out);
        }
        let Self { ice: Some(ice), secure, media, demux, traffic, .. } = self else { return };
        let before = traffic.packets_received;
        ice.agent.open(now, datagram, out, &mut |bytes| {
            traffic.packets_received += 1;
            traffic.bytes_received += bytes.len() as u64;
            traffic.largest_received = traffic.largest_received.max(bytes.len());
            match (demux.sort(bytes, media.is_some()), secure.as_mut(), media.as_mut()) {
                (Some(Taker::Dtls), Some(secure), _) => secure.open(now, bytes, marked),
                (Some(Taker::Rtp), _, Some(media)) => media.handle_rtp(now, bytes),
                (Some(Taker::Rtcp), _, Some(media)) => media.handle_rtcp(now, bytes),
                _ => {}
            }
        });
        if traffic.packets_received != before {
            ice.agent.data_received();
        }
        self.unpack(now);
    }

    /// Gives DTLS what checks have brought.
    fn unpack(&mut self, now: Time) {
        let (Some(ice), Some(secure)) = (&mut self.ice, &mut self.secure) else { return };
        while let Some(mut packet) = ice.agent.poll_embedded() {
            secure.open(now, &mut packet, false);
        }
        self.pass_keys(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        for (_, agent) in &mut self.leaving {
            agent.handle_timeout(now);
        }
        if let Some(ice) = &mut self.ice {
            ice.agent.handle_timeout(now);
        }
        if let Some(secure) = self.secure.as_mut().filter(|_| self.has_path) {
            secure.handle_timeout(now);
            if let Some(ice) = self.ice.as_mut().filter(|_| secure.is_size_in_doubt(now)) {
                ice.agent.check_size(now, secure.largest);
            }
        }
        if let Some(media) = self.media.as_mut().filter(|_| self.has_path) {
            media.handle_timeout(now);
        }
        self.dismiss();
    }

    pub(crate) fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        if let Some(ice) = &mut self.ice {
            // What the handshake has to say rides in what ICE sends now.
            if ice.agent.is_embedding()
                && ice.agent.lane(out).is_none()
                && let Some(secure) = &mut self.secure
            {
                secure.begin(now, None);
                secure.poll_handshake(now, &mut Embedding(&mut ice.agent));
            }
            ice.agent.poll_transmit(now, out);
            if let Some(secure) = self.secure.as_mut().filter(|secure| secure.is_planned())
                && let Some(pair) = ice.agent.selected()
            {
                secure.begin(now, pair.rtt);
            }
            let is_embedding = ice.agent.is_embedding();
            let lane = ice.agent.lane(out);
            self.has_path = lane.is_some();
            let mut flight = Vec::new();
            if let (Some(secure), Some(mut lane)) = (&mut self.secure, lane) {
                secure.on_path(now);
                let before = self.traffic.packets_sent;
                let mut counted = Counted { lane: &mut lane, traffic: &mut self.traffic };
                if is_embedding {
                    secure.poll_handshake(now, &mut Capture { lane: &mut counted, packets: &mut flight });
                }
                // Sound and pictures wait for nobody. There is nothing of them before there are keys.
                if let Some(media) = &mut self.media {
                    media.poll_transmit(now, &mut counted);
                }
                secure.poll_transmit(now, &mut counted, self.closing);
                if self.traffic.packets_sent != before {
                    ice.agent.data_sent(now);
                }
            }
            if !flight.is_empty() {
                flight.iter().for_each(|packet| ice.agent.embed(packet, true));
                ice.agent.poll_transmit(now, out);
            }
            if let Some(answered) = self.secure.as_mut().and_then(Secure::poll_completed) {
                ice.agent.finish_embedding(answered);
            }
        }
        self.pass_keys(now);
        if self.closing {
            self.finish(now);
        }
        for (_, agent) in &mut self.leaving {
            agent.poll_transmit(now, out);
        }
        self.dismiss();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let leaving = self.leaving.iter().filter_map(|(_, agent)| agent.poll_timeout());
        let ice = self.agent().and_then(Machine::poll_timeout);
        let secure = self.secure.as_ref().filter(|_| self.has_path).and_then(Secure::poll_timeout);
        let media = self.media.as_ref().filter(|_| self.has_path).and_then(|media| media.poll_timeout());
        leaving.chain(ice).chain(secure).chain(media).min()
    }

    pub(crate) fn poll_ice(&mut self) -> Option<ice::Event> {
        for (_, agent) in &mut self.leaving {
            while agent.poll_event().is_some() {}
        }
        self.ice.as_mut()?.agent.poll_event()
    }

    /// Since the last call: why DTLS has failed.
    pub(crate) fn poll_dtls_failure(&mut self) -> Option<dtls::DtlsError> {
        self.secure.as_mut()?.failure.take()
    }

    pub(crate) fn poll_sctp(&mut self) -> Option<sctp::Event> {
        // An association whose terms were told beforehand is up, but nobody can be sure of the other side yet.
        let early = |secure: &&mut Secure| !matches!(secure.state, DtlsState::New | DtlsState::Connecting);
        self.secure.as_mut().filter(early)?.sctp.as_mut()?.poll_event()
    }

    pub(crate) fn poll_socket(&mut self) -> Option<SocketOp> {
        if let Some(op) = self.wishes.pop_front() {
            return Some(op);
        }
        let ice = self.ice.as_mut()?;
        Some(self.sockets.ask(ice.serial, ice.agent.poll_socket()?))
    }

    pub(crate) fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        let Some((owner, reply)) = self.sockets.answer(reply) else { return };
        if let Some(ice) = self.ice.as_mut().filter(|ice| ice.serial == owner) {
            ice.agent.handle_socket(now, reply);
        } else if let Some((_, agent)) = self.leaving.iter_mut().find(|(serial, _)| *serial == owner) {
            agent.handle_socket(now, reply);
            self.dismiss();
        } else {
            // The one who asked is gone.
            self.wishes.extend(self.sockets.give_back(&reply));
        }
    }

    pub(crate) fn dtls_state(&self) -> DtlsState {
        self.secure.as_ref().map_or(DtlsState::New, |secure| secure.state)
    }

    /// The last packets are written, or were not: nothing is left but the agent's own goodbye.
    fn finish(&mut self, now: Time) {
        self.closing = false;
        self.secure = None;
        self.media = None;
        self.retire(now);
    }

    /// Lets the agent go.
    fn retire(&mut self, now: Time) {
        let Some(mut ice) = self.ice.take() else { return };
        self.has_path = false;
        ice.agent.close(now);
        self.leaving.push_back((ice.serial, ice.agent));
        if self.leaving.len() > MAX_LEAVING {
            // Its servers will notice by themselves. Its sockets are ours to close.
            let Some((serial, mut agent)) = self.leaving.pop_front() else { return };
            agent.poll_transmit(now, &mut Full);
            collect(&mut self.wishes, &mut self.sockets, serial, &mut agent);
        }
    }

    /// Drops agents that have said goodbye.
    fn dismiss(&mut self) {
        for (serial, agent) in &mut self.leaving {
            collect(&mut self.wishes, &mut self.sockets, *serial, agent);
        }
        self.leaving.retain(|(_, agent)| agent.poll_timeout().is_some());
    }
}

/// Takes an agent's wishes for sockets.
fn collect(wishes: &mut VecDeque<SocketOp>, sockets: &mut Sockets, serial: u32, agent: &mut ice::Agent) {
    wishes.extend(std::iter::from_fn(|| agent.poll_socket()).map(|op| sockets.ask(serial, op)));
}

/// What cannot be read is of no use and does no harm: "An implementation MUST ignore" (RFC 8839 §5.1).
fn add_candidate(agent: &mut ice::Agent, now: Time, line: &str) {
    if let Ok(candidate) = line.parse() {
        agent.add_remote_candidate(now, candidate);
    }
}

/// Lets checks take along what is written to it.
struct Embedding<'a>(&'a mut ice::Agent);

impl Outbox<()> for Embedding<'_> {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let mut packet = vec![0; max];
        let used = fill(&mut packet);
        self.0.embed(&packet[..used], false);
        true
    }
}
