use std::net::{IpAddr, SocketAddr};

use sansio::{Path, SocketError, SocketOp, Transport};
use turn::{Families, Family};

use super::socket::SocketState;
use super::{Gatherer, Purpose, Question, Supplies};
use crate::relay::{RelayId, RelaySpec, RelayState};
use crate::report::ServerOutcome;
use crate::{AddressPolicy, Event, Scheme, Server, TransportPolicy};

/// How many servers are used at most.
const MAX_SERVERS: usize = 32;
/// The STUN error code that stands for "no answer" (W3C's `icecandidateerror`).
pub(super) const NO_ANSWER: u16 = 701;

/// A server, and where it is.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) config: Server,
    pub(crate) resolution: Resolution,
}

/// Where a server is.
#[derive(Debug)]
pub(crate) enum Resolution {
    Pending,
    /// At these addresses: at most one of each family.
    Known(Vec<SocketAddr>),
    Failed(String),
    NotAsked(&'static str),
}

/// What came of looking a server up.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    /// The addresses of its host.
    Hosts(&'a [IpAddr]),
    /// Addresses with ports, for a service.
    Servers(&'a [SocketAddr]),
    Nothing(&'a SocketError),
}

impl ServerState {
    /// Whether an answer about this name, or this service in it, is about it.
    fn is_sought_by(&self, service: Option<&str>, name: &str) -> bool {
        let url = &self.config.url;
        matches!(self.resolution, Resolution::Pending) && url.service() == service && url.host == name
    }
}

impl Gatherer {
    /// Has the names of all servers looked up.
    pub(super) fn find_servers(&mut self, s: &mut Supplies<'_>) {
        self.servers.clear();
        for config in s.config.servers.iter().take(MAX_SERVERS) {
            let resolution = match (unasked(s, config), config.url.ip()) {
                (Some(why), _) => Resolution::NotAsked(why),
                (None, Some(ip)) => Resolution::Known(vec![SocketAddr::new(ip, config.url.usual_port())]),
                (None, None) => Resolution::Pending,
            };
            let (url, name) = (&config.url, config.url.host.clone());
            let asked = |server: &ServerState| server.is_sought_by(url.service(), &name);
            if matches!(resolution, Resolution::Pending) && !self.servers.iter().any(asked) {
                let ticket = self.ticket();
                let (purpose, op) = match url.service() {
                    Some(service) => (
                        Purpose::Locate(service, name.clone()),
                        SocketOp::Locate { ticket, service, name, port: url.usual_port() },
                    ),
                    None => (Purpose::Resolve(name.clone()), SocketOp::Resolve { ticket, name }),
                };
                self.tickets.insert(ticket, purpose);
                self.ops.push_back(op);
            }
            self.servers.push(ServerState { config: config.clone(), resolution });
        }
    }

    /// The servers of a name, or of a service in it, are found, or cannot be.
    pub(super) fn resolved(
        &mut self,
        s: &mut Supplies<'_>,
        service: Option<&str>,
        name: &str,
        found: Found<'_>,
    ) {
        for server in &mut self.servers {
            if !server.is_sought_by(service, name) {
                continue;
            }
            let url = &server.config.url;
            let addresses: Vec<SocketAddr> = match found {
                Found::Hosts(ips) => ips.iter().map(|ip| SocketAddr::new(*ip, url.usual_port())).collect(),
                Found::Servers(addresses) => addresses.to_vec(),
                Found::Nothing(error) => {
                    let text = format!("{name}: {error}");
                    s.events.push_back(Event::CandidateFailed {
                        url: url.to_string(),
                        address: None,
                        code: NO_ANSWER,
                        text: text.clone(),
                    });
                    server.resolution = Resolution::Failed(text);
                    continue;
                }
            };
            let first = |v4: bool| addresses.iter().find(|address| address.is_ipv4() == v4);
            let both = [first(true), first(false)].into_iter().flatten();
            server.resolution = Resolution::Known(both.copied().collect());
        }
        self.ask_servers(s);
    }

    /// Queues the questions that can be asked and have not been.
    pub(super) fn ask_servers(&mut self, s: &mut Supplies<'_>) {
        for server in 0..self.servers.len() {
            let Resolution::Known(addresses) = &self.servers[server].resolution else { continue };
            for address in addresses.clone() {
                match self.servers[server].config.url.transport {
                    Transport::Udp => self.ask_from_sockets(s, server, address),
                    Transport::Tcp | Transport::Tls | Transport::Dtls => {
                        self.ask_by_stream(s, server, address)
                    }
                }
            }
        }
    }

    /// RFC 8445 §5.1.1.2: "The agent pairs each host candidate with the STUN or TURN servers".
    fn ask_from_sockets(&mut self, s: &mut Supplies<'_>, server: usize, address: SocketAddr) {
        let config = self.servers[server].config.clone();
        let mut sockets: Vec<_> = self
            .sockets
            .iter()
            .filter_map(|socket| match socket.state {
                SocketState::Bound { local, .. } if local.is_ipv4() == address.is_ipv4() => {
                    Some((socket.rank, local))
                }
                _ => None,
            })
            .filter(|(_, local)| local.ip().is_loopback() == address.ip().is_loopback())
            .collect();
        sockets.sort_unstable_by_key(|(rank, ..)| *rank);
        for (rank, local) in sockets {
            let path = Path::udp(local, address);
            if s.config.policy == TransportPolicy::All {
                let new = self.probes.add(s.now, server, config.url.to_string(), path);
                self.queue.extend(new.map(Question::Probe));
            }
            let running = s.relays.iter().filter(|relay| relay.spec.config.url == config.url);
            let running = running.filter(|relay| relay.state != RelayState::Over).count();
            let asked =
                s.relays.iter().any(|r| r.spec.local == Some(local) && r.spec.config.url == config.url);
            if config.url.is_turn() && !asked && running < s.config.max_allocations_per_server {
                let families = self.relay_families(server, address);
                let spec =
                    RelaySpec { server, config: config.clone(), address, local: Some(local), rank, families };
                let id = s.relays.add(s.now, spec);
                self.queue.push_back(Question::Relay(id));
            }
        }
    }

    /// One allocation for each address of a server: the system chooses where the stream leaves from.
    fn ask_by_stream(&mut self, s: &mut Supplies<'_>, server: usize, address: SocketAddr) {
        let config = self.servers[server].config.clone();
        let is_same = |relay: &crate::relay::Relay| {
            relay.spec.config.url == config.url && relay.spec.address.is_ipv4() == address.is_ipv4()
        };
        // A family in which we have no address, or not yet, is not tried.
        let of_family = |socket: &super::Socket| socket.interface.address.is_ipv4() == address.is_ipv4();
        let blind = s.config.address_policy == AddressPolicy::ProxyOnly;
        if s.relays.iter().any(is_same) || !(blind || self.sockets.iter().any(of_family)) {
            return;
        }
        let families = self.relay_families(server, address);
        let rank = usize::from(address.is_ipv6());
        let server_name = config.url.host.clone();
        let id = s.relays.add(s.now, RelaySpec { server, config, address, local: None, rank, families });
        self.ask_relay(s, id, server_name);
    }

    /// Asks for an allocation: opens its stream, or queues it.
    pub(super) fn ask_relay(&mut self, s: &mut Supplies<'_>, id: RelayId, server_name: String) {
        let Some(relay) = s.relays.get(id) else { return };
        let (transport, remote) = (relay.transport(), relay.spec.address);
        if transport == Transport::Udp {
            return self.queue.push_back(Question::Relay(id));
        }
        let ticket = self.ticket();
        self.tickets.insert(ticket, Purpose::Connect(id));
        self.ops.push_back(SocketOp::Connect { ticket, transport, local: None, remote, server_name });
    }

    /// The families of relayed addresses to ask for: both, or that of the server's address if it is asked at another one
    /// of the other family, too.
    fn relay_families(&self, server: usize, address: SocketAddr) -> Families {
        let other_family = |ip: IpAddr| ip.is_ipv4() != address.is_ipv4();
        let asked_elsewhere = matches!(&self.servers[server].resolution,
            Resolution::Known(known) if known.iter().any(|known| other_family(known.ip())));
        if asked_elsewhere && self.sockets.iter().any(|socket| other_family(socket.interface.address)) {
            Family::of(address.ip()).into()
        } else {
            Families::Both
        }
    }

    /// A probe has failed.
    pub(super) fn probe_failed(&mut self, s: &mut Supplies<'_>, at: usize) {
        let Some(probe) = self.probes.get(at) else { return };
        let (url, local, outcome) = (probe.url.clone(), probe.path.local, probe.outcome.clone());
        self.tell_failure(s, url, Some(local), &outcome);
    }

    /// An allocation could not even be asked for.
    pub(super) fn relay_failed(&mut self, s: &mut Supplies<'_>, id: RelayId, outcome: ServerOutcome) {
        s.relays.fail(s.now, id, outcome);
        self.tell_relay_failure(s, id);
    }

    /// An allocation was not to be had.
    pub(super) fn tell_relay_failure(&mut self, s: &mut Supplies<'_>, id: RelayId) {
        let Some(relay) = s.relays.get(id) else { return };
        let (url, local) = (relay.spec.config.url.to_string(), relay.spec.local);
        let outcome = relay.outcome.clone();
        self.tell_failure(s, url, local, &outcome);
    }
}

/// Why a server is of no use, if it is not.
fn unasked(s: &Supplies<'_>, server: &Server) -> Option<&'static str> {
    let url = &server.url;
    match url.scheme {
        _ if s.config.lite => Some("a lite agent has host candidates only"),
        Scheme::Stuns => Some("over TLS it can only tell how it sees a TCP connection"),
        Scheme::Stun if s.config.policy == TransportPolicy::Relay => {
            Some("only relayed candidates are wanted")
        }
        Scheme::Stun | Scheme::Turn
            if s.config.address_policy == AddressPolicy::ProxyOnly && url.transport == Transport::Udp =>
        {
            Some("UDP does not pass the proxy")
        }
        _ => None,
    }
}

/// The code and words of W3C's `icecandidateerror`.
pub(super) fn described(outcome: &ServerOutcome) -> (u16, String) {
    match outcome {
        ServerOutcome::Refused { code, text } => (*code, text.clone()),
        other => (NO_ANSWER, other.to_string()),
    }
}
