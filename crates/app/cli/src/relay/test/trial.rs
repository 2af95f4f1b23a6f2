//! One transport to a TURN server, tried out: two relayed addresses that talk to each other through it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dtls::{Connected, DtlsError, Event};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Ticket, Time, Transport};
use turn::{Client, ClientConfig, ClientEvent, Credentials};

use super::judge::{Judge, Trust};
use super::tunnel::Tunnel;

/// How far apart test packets leave.
const PACE: Duration = Duration::from_millis(10);
/// How long the last ones are waited for.
const STRAGGLERS: Duration = Duration::from_millis(1500);
/// How long giving the addresses back may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// What to do where nobody answers to DTLS.
const NO_DTLS: &str = "Check that the server speaks DTLS at this port (coturn does unless told no-dtls, Sterna with an \
                       ECDSA certificate), and that a firewall lets UDP through. No browser needs it.";

/// What is tried.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) transport: Transport,
    pub(super) server: SocketAddr,
    /// What the server's certificate must carry.
    pub(super) server_name: String,
    /// Who looks at the certificate that is shown inside DTLS.
    pub(super) judge: Judge,
    /// The address of ours that leads there.
    pub(super) source: IpAddr,
    pub(super) credentials: Credentials,
    pub(super) packets: u32,
    /// Bytes of each.
    pub(super) size: usize,
    /// Unix time at the machine's start.
    pub(super) unix_time: Duration,
}

/// What was done on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Allocate,
    Permit,
    Relay,
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Allocate => "allocate",
            Self::Permit => "permit",
            Self::Relay => "relay",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Steps that were done, and how long after the start each was.
    pub(super) done: Vec<(Step, Duration)>,
    pub(super) relayed: Option<SocketAddr>,
    /// Our address as the server sees it.
    pub(super) mapped: Option<SocketAddr>,
    /// Round trips through both relayed addresses.
    pub(super) round_trips: Vec<Duration>,
    pub(super) sent: u32,
    /// The version of DTLS, and what is known of the server's certificate.
    pub(super) dtls: Option<(dtls::Version, Trust)>,
    pub(super) failed: Option<Trouble>,
}

/// Where it ended, and why.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) step: Step,
    pub(super) code: Option<u16>,
    pub(super) reason: String,
    pub(super) hint: String,
}

/// The trial as a machine. Its first end sends, its second one answers.
pub(super) struct Trial {
    plan: Plan,
    rng: sansio::Rng,
    ends: [End; 2],
    ops: VecDeque<SocketOp>,
    phase: Phase,
    start: Time,
    /// When each test packet left that has not come back.
    left: Vec<Option<Time>>,
    pub(super) outcome: Outcome,
}

#[derive(Default)]
struct End {
    /// The socket's.
    path: Option<Path>,
    tunnel: Option<Tunnel>,
    client: Option<Client>,
    relayed: Option<SocketAddr>,
    permitted: bool,
    closed: bool,
    /// What waits to be sent to the other end.
    queue: VecDeque<Vec<u8>>,
}

impl End {
    /// Writes what the client has to say, and what waits for the other end's address, `peer`.
    fn transmit(&mut self, now: Time, peer: Option<SocketAddr>, out: &mut dyn Outbox) {
        let Some(client) = &mut self.client else { return };
        client.poll_transmit(now, out);
        while let (Some(packet), Some(peer)) = (self.queue.front(), peer) {
            let Some(mut lane) = client.lane(peer, out) else { break };
            if !lane.send_bytes((), packet) {
                break;
            }
            self.queue.pop_front();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until both ends may talk to each other, or this moment.
    Preparing(Time),
    /// The next packet leaves at this moment.
    Sending(Time),
    /// The rest is waited for until this moment.
    Waiting(Time),
    /// Both addresses are given back until this moment.
    Leaving(Time),
    Over,
}

impl Trial {
    pub(super) fn new(now: Time, plan: Plan, seed: sansio::Seed) -> Self {
        let ops = [Ticket(0), Ticket(1)].map(|ticket| match plan.transport {
            Transport::Udp | Transport::Dtls => {
                SocketOp::Bind { ticket, local: SocketAddr::new(plan.source, 0) }
            }
            transport => SocketOp::Connect {
                ticket,
                transport,
                local: None,
                remote: plan.server,
                server_name: plan.server_name.clone(),
            },
        });
        Self {
            plan,
            rng: sansio::Rng::new(seed),
            ends: Default::default(),
            ops: ops.into(),
            phase: Phase::Preparing(now + PATIENCE),
            start: now,
            left: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// An end has a socket, or a stream.
    fn ready(&mut self, now: Time, at: usize, path: Path) {
        self.ends[at].path = Some(path);
        if self.plan.transport != Transport::Dtls {
            return self.connected(now, at, path);
        }
        match Tunnel::new(now, path, sansio::Seed(self.rng.bytes())) {
            Ok(tunnel) => self.ends[at].tunnel = Some(tunnel),
            Err(error) => self.fail(now, Step::Connect, None, error.to_string(), String::new()),
        }
    }

    /// An end reaches the server, as far as it can tell. `path`: as the client of TURN sees it.
    fn connected(&mut self, now: Time, at: usize, path: Path) {
        let mut config =
            ClientConfig::new(path, self.plan.credentials.clone(), sansio::Seed(self.rng.bytes()));
        config.unix_time_at_start = Some(self.plan.unix_time);
        self.ends[at].client = Some(Client::new(now, config));
        // A UDP socket is no sign of a server: its first answer is.
        if self.plan.transport != Transport::Udp && self.ends.iter().all(|end| end.client.is_some()) {
            self.did(now, Step::Connect);
        }
    }

    /// What DTLS has to tell.
    fn tunnel_has(&mut self, now: Time, at: usize, event: Event) {
        match event {
            Event::Connected(Connected { version, peer_certificate, peer_chain, .. }) => {
                let shown = peer_certificate.unwrap_or_default();
                let unix_time = self.plan.unix_time + now.since(Time::ZERO);
                match self.plan.judge.check(&shown, &peer_chain, &self.plan.server_name, unix_time) {
                    Ok(trust) => self.outcome.dtls = Some((version, trust)),
                    Err(reason) => {
                        let hint =
                            "Check that the server's certificate is for this name, and has not expired.";
                        return self.fail(now, Step::Connect, None, reason, hint.to_owned());
                    }
                }
                if let Some(path) = self.ends[at].tunnel.as_ref().map(Tunnel::path) {
                    self.connected(now, at, path);
                }
            }
            Event::Failed(error) => self.tunnel_failed(now, at, &error),
            Event::Closed => {
                if let Some(client) = &mut self.ends[at].client {
                    client.path_lost(now, "the server has closed the DTLS association");
                }
            }
        }
    }

    fn tunnel_failed(&mut self, now: Time, at: usize, error: &DtlsError) {
        match &mut self.ends[at].client {
            Some(client) => client.path_lost(now, &error.to_string()),
            None => {
                let hint = match error {
                    DtlsError::Timeout => NO_DTLS.to_owned(),
                    error => format!("The server has to show an ECDSA certificate: {}.", error.advice()),
                };
                self.fail(now, Step::Connect, None, error.to_string(), hint);
            }
        }
    }

    fn did(&mut self, now: Time, step: Step) {
        self.outcome.done.push((step, now.since(self.start)));
    }

    fn fail(&mut self, now: Time, step: Step, code: Option<u16>, reason: String, hint: String) {
        if self.outcome.failed.is_none() {
            self.outcome.failed = Some(Trouble { step, code, reason, hint });
        }
        self.leave(now);
    }

    fn leave(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Over) {
            self.phase = Phase::Leaving(now + FAREWELL);
            for client in self.ends.iter_mut().filter_map(|end| end.client.as_mut()) {
                client.close(now);
            }
        }
    }

    /// Everything has been said.
    fn end(&mut self, now: Time) {
        self.phase = Phase::Over;
        self.ends.iter_mut().filter_map(|end| end.tunnel.as_mut()).for_each(|tunnel| tunnel.close(now));
    }

    /// Which step comes next.
    fn step(&self) -> Step {
        match self.outcome.done.last() {
            None => Step::Connect,
            Some((Step::Connect, _)) => Step::Allocate,
            Some((Step::Allocate, _)) => Step::Permit,
            Some(_) => Step::Relay,
        }
    }

    /// Drains the events of both ends.
    fn settle(&mut self, now: Time) {
        for at in [0, 1] {
            while let Some(event) = self.ends[at].tunnel.as_mut().and_then(Tunnel::poll_event) {
                self.tunnel_has(now, at, event);
            }
            while let Some(event) = self.ends[at].client.as_mut().and_then(Client::poll_event) {
                self.client_has(now, at, event);
            }
        }
        let gone = |end: &End| end.client.is_none() || end.closed;
        if matches!(self.phase, Phase::Leaving(_)) && self.ends.iter().all(gone) {
            self.end(now);
        }
    }

    fn client_has(&mut self, now: Time, at: usize, event: ClientEvent) {
        match event {
            ClientEvent::Allocated { relayed, mapped, .. } => {
                self.ends[at].relayed = Some(relayed);
                (self.outcome.relayed, self.outcome.mapped) = (Some(relayed), Some(mapped));
                if let [Some(one), Some(other)] = [self.ends[0].relayed, self.ends[1].relayed] {
                    self.did(now, Step::Allocate);
                    for (end, peer) in self.ends.iter_mut().zip([other, one]) {
                        end.client.iter_mut().for_each(|client| client.permit(now, peer));
                    }
                }
            }
            ClientEvent::PermissionGranted(_) => {
                let first = !std::mem::replace(&mut self.ends[at].permitted, true);
                if first && self.ends.iter().all(|end| end.permitted) {
                    self.did(now, Step::Permit);
                    self.phase = Phase::Sending(now);
                }
            }
            ClientEvent::PermissionRefused { code, reason, .. } => {
                let hint = "The server does not relay to relayed addresses of its own. Two of its clients cannot meet \
                            there, each relayed: allow the server's own address as a peer."
                    .to_owned();
                self.fail(now, Step::Permit, code, reason, hint);
            }
            ClientEvent::Failed(error) => {
                self.ends[at].closed = true;
                let step = self.step();
                self.fail(now, step, error.code, error.reason, error.hint);
            }
            ClientEvent::Redirected { server, .. } => {
                self.ends[at].closed = true;
                let reason = format!("the server sends its clients to {server}");
                let hint = "It is being drained, or balances its load: test that one.".to_owned();
                self.fail(now, Step::Allocate, Some(300), reason, hint);
            }
            ClientEvent::Closed => self.ends[at].closed = true,
            ClientEvent::ChannelBound(_)
            | ClientEvent::PeerUnreachable { .. }
            | ClientEvent::Moved(_)
            | ClientEvent::PeerConnected { .. }
            | ClientEvent::PeerRefused { .. }
            | ClientEvent::PeerConnecting { .. }
            | ClientEvent::MoveRefused { .. } => {}
        }
    }

    /// What a peer sent: the second end answers, the first one counts.
    fn heard(&mut self, now: Time, at: usize, data: Vec<u8>) {
        if at == 1 {
            return self.ends[1].queue.push_back(data);
        }
        let number = data.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) as usize);
        // Once each: a network may double packets.
        let left = number.and_then(|number| self.left.get_mut(number)?.take());
        if let Some(left) = left.filter(|_| data.len() == self.plan.size) {
            self.outcome.round_trips.push(now.since(left));
        }
        if self.outcome.round_trips.len() as u32 == self.plan.packets {
            self.finish(now);
        }
    }

    fn finish(&mut self, now: Time) {
        if self.outcome.round_trips.is_empty() {
            let reason = format!("none of {} packets came through", self.outcome.sent);
            let hint = self.why_nothing_came();
            return self.fail(now, Step::Relay, None, reason, hint);
        }
        self.did(now, Step::Relay);
        self.leave(now);
    }

    /// The most frequent mistake of all is the server's outer address.
    fn why_nothing_came(&self) -> String {
        let relayed = self.outcome.relayed.map(|relayed| relayed.ip());
        let private = |ip: &IpAddr| turn::PeerPolicy::default().check(*ip).is_err();
        match relayed.filter(|ip| private(ip) && *ip != self.plan.server.ip()) {
            Some(ip) => format!(
                "The server gives out {ip}, which is an address inside its own network: tell it its outer one \
                 (`public-ip` of Sterna, `external-ip` of coturn)."
            ),
            None => "The addresses were given out, but nothing arrives there: open the server's relay ports (UDP) in \
                     its firewall, and check its outer address (`public-ip` of Sterna, `external-ip` of coturn)."
                .to_owned(),
        }
    }
}

impl Machine for Trial {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let Some(at) = self.ends.iter().position(|end| end.path == Some(datagram.from)) else { return };
        if self.plan.transport == Transport::Udp && self.outcome.done.is_empty() {
            self.did(now, Step::Connect);
        }
        let mut data = Vec::new();
        let End { tunnel, client, .. } = &mut self.ends[at];
        let mut hear = |payload: &mut [u8]| {
            if let Some(client) = client {
                client.open(now, payload, &mut |_, payload| data.push(payload.to_vec()));
            }
        };
        match tunnel {
            Some(tunnel) => tunnel.open(now, datagram.payload, &mut hear),
            None => hear(datagram.payload),
        }
        data.into_iter().for_each(|data| self.heard(now, at, data));
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        for End { tunnel, client, .. } in &mut self.ends {
            tunnel.iter_mut().for_each(|tunnel| tunnel.handle_timeout(now));
            client.iter_mut().for_each(|client| client.handle_timeout(now));
        }
        match self.phase {
            Phase::Preparing(end) if end <= now => {
                let step = self.step();
                let reason = "it took too long".to_owned();
                let hint = match (self.plan.transport, step) {
                    (Transport::Dtls, Step::Connect) => NO_DTLS,
                    _ => "Check the server's address and port, and that a firewall lets it through.",
                };
                self.fail(now, step, None, reason, hint.to_owned());
            }
            Phase::Sending(at) if at <= now => {
                let mut packet = vec![0x5a; self.plan.size];
                packet[..4].copy_from_slice(&self.outcome.sent.to_be_bytes());
                self.ends[0].queue.push_back(packet);
                self.left.push(Some(now));
                self.outcome.sent += 1;
                self.phase = match self.outcome.sent < self.plan.packets {
                    true => Phase::Sending(now + PACE),
                    false => Phase::Waiting(now + STRAGGLERS),
                };
            }
            Phase::Waiting(end) if end <= now => self.finish(now),
            Phase::Leaving(end) if end <= now => self.end(now),
            _ => {}
        }
        self.settle(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        let relayed = [self.ends[1].relayed, self.ends[0].relayed];
        for (end, peer) in self.ends.iter_mut().zip(relayed) {
            let Some(mut tunnel) = end.tunnel.take() else {
                end.transmit(now, peer, out);
                continue;
            };
            tunnel.poll_transmit(now, out);
            end.transmit(now, peer, &mut tunnel.sealing(out));
            end.tunnel = Some(tunnel);
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        let own = match self.phase {
            Phase::Preparing(at) | Phase::Sending(at) | Phase::Waiting(at) | Phase::Leaving(at) => Some(at),
            Phase::Over => return None,
        };
        let clients = self.ends.iter().filter_map(|end| end.client.as_ref()?.poll_timeout());
        let tunnels = self.ends.iter().filter_map(|end| end.tunnel.as_ref()?.poll_timeout());
        clients.chain(tunnels).chain(own).min()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.ops.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        match reply {
            SocketReply::Bound { ticket, local } => {
                let path = Path::udp(local, self.plan.server);
                self.ready(now, ticket.0 as usize, path);
            }
            SocketReply::Connected { ticket, path } => self.ready(now, ticket.0 as usize, path),
            SocketReply::Failed { error, .. } => {
                let hint = match self.plan.transport {
                    Transport::Tls => {
                        "Check that the server has TLS at this port, and a certificate for this name."
                    }
                    _ => "Check the server's address and port, and that a firewall lets it through.",
                };
                self.fail(now, Step::Connect, None, error.to_string(), hint.to_owned());
            }
            SocketReply::Disconnected { path, error } => {
                if let Some(end) = self.ends.iter_mut().find(|end| end.path == Some(path))
                    && let Some(client) = &mut end.client
                {
                    client.path_lost(now, &error.to_string());
                }
            }
            SocketReply::Resolved { .. } | SocketReply::Located { .. } => {}
        }
        self.settle(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP socket can be had whoever is at the other end.
    #[test]
    fn a_udp_port_where_nobody_answers_was_not_reached() {
        let plan = Plan {
            transport: Transport::Udp,
            server: SocketAddr::from(([192, 0, 2, 1], 3478)),
            server_name: "example.org".to_owned(),
            judge: Judge::new(&[]),
            source: [192, 0, 2, 2].into(),
            credentials: Credentials { username: "alice".to_owned(), password: "wonderland".to_owned() },
            packets: 1,
            size: 100,
            unix_time: Duration::from_secs(1_767_225_600),
        };
        let mut trial = Trial::new(Time::ZERO, plan, sansio::Seed::from(1));
        let mut local = SocketAddr::from(([192, 0, 2, 2], 1000));
        while let Some(SocketOp::Bind { ticket, .. }) = trial.poll_socket() {
            local.set_port(local.port() + 1);
            trial.handle_socket(Time::ZERO, SocketReply::Bound { ticket, local });
        }
        let mut out = sansio::Batches::new(1 << 16);
        while let Some(at) = trial.poll_timeout() {
            trial.handle_timeout(at);
            trial.poll_transmit(at, &mut out);
            while out.pop().is_some() {}
        }
        assert!(trial.is_over());
        assert!(trial.outcome.done.is_empty(), "{:?}", trial.outcome);
        assert_eq!(trial.outcome.failed.map(|trouble| trouble.step), Some(Step::Connect));
    }
}
