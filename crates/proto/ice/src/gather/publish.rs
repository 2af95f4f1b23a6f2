use std::net::SocketAddr;

use sansio::{Path, SocketOp, Transport};

use super::socket::SocketState;
use super::{Gatherer, Supplies, hides_addresses};
use crate::foundation::Origin;
use crate::local::{BaseId, LocalCandidate};
use crate::priority::{MAX_RANKS, candidate_priority, local_preference};
use crate::relay::RelayId;
use crate::route::{may_be_host, plain};
use crate::{
    AddressPolicy, Candidate, CandidateAddress, CandidateKind, Event, GatheringState, TransportPolicy,
    hidden_address,
};

/// What becomes of what was gathered.
impl Gatherer {
    /// The candidates of an earlier ICE session that are still good are candidates of this one.
    pub(super) fn tell_again(&mut self, s: &mut Supplies<'_>) {
        if self.told == s.ufrag {
            return;
        }
        s.ufrag.clone_into(&mut self.told);
        s.locals.forget_prflx();
        s.locals.set_ufrag(s.ufrag);
        for candidate in s.locals.signalled() {
            s.events.push_back(Event::CandidateGathered(candidate.public.clone()));
        }
    }

    /// A socket's own address (RFC 8445 §5.1.1.1).
    pub(super) fn publish_host(&mut self, s: &mut Supplies<'_>, at: usize) {
        let socket = &mut self.sockets[at];
        let SocketState::Bound { local, base } = socket.state else { return };
        let hidden = s.config.address_policy == AddressPolicy::DefaultRouteOnly;
        if hidden || s.config.policy == TransportPolicy::Relay {
            return;
        }
        let address = if s.config.mdns {
            let name = socket.name.get_or_insert_with(|| mdns_name(s.rng.bytes()));
            self.ops.push_back(SocketOp::Publish { name: name.clone(), address: local.ip() });
            CandidateAddress::Mdns { name: name.clone(), port: local.port() }
        } else {
            local.into()
        };
        let origin = Origin {
            kind: CandidateKind::Host,
            base: local.ip(),
            server: None,
            seen: None,
            transport: Transport::Udp,
        };
        let priority = candidate_priority(CandidateKind::Host, local_preference(0, socket.rank, 0));
        let mut public = Candidate::new(CandidateKind::Host, address, priority, &self.foundations.of(origin));
        public.base = Some(local).filter(|_| !s.config.mdns);
        self.publish(s, LocalCandidate { base, address: local, public });
    }

    /// How a server sees a socket (RFC 8445 §5.1.1.2).
    pub(super) fn publish_srflx(&mut self, s: &mut Supplies<'_>, at: usize, mapped: SocketAddr) {
        // RFC 8838 §13: "an agent MUST NOT convey any more candidates after … end-of-candidates". The other
        // side will learn it as peer-reflexive.
        if let Some(probe) = self.probes.get(at) {
            let (path, server, url) = (probe.path, probe.server, probe.url.clone());
            self.publish_mapped(s, path, server, url, mapped);
        }
    }

    /// The same, whatever the question was.
    fn publish_mapped(
        &mut self,
        s: &mut Supplies<'_>,
        path: Path,
        server: usize,
        url: String,
        mapped: SocketAddr,
    ) {
        if self.state != GatheringState::Gathering || s.config.policy == TransportPolicy::Relay {
            return;
        }
        let local = path.local;
        let Some(socket) = self.sockets.iter().find(|socket| socket.local() == Some(local)) else { return };
        let SocketState::Bound { base, .. } = socket.state else { return };
        let rank = socket.rank;
        let origin = Origin {
            kind: CandidateKind::Srflx,
            base: local.ip(),
            server: Some(path.remote.ip()),
            seen: Some(mapped.ip()),
            transport: Transport::Udp,
        };
        let priority = candidate_priority(CandidateKind::Srflx, local_preference(0, rank, server));
        let mut public = Candidate::new(CandidateKind::Srflx, mapped, priority, &self.foundations.of(origin));
        let hide = hides_addresses(s.config);
        public.related = Some(if hide { hidden_address(mapped.ip()) } else { local });
        public.base = Some(local).filter(|_| !hide);
        public.url = Some(url);
        // RFC 8445 §5.1.3: without a NAT it is the host candidate again.
        self.publish(s, LocalCandidate { base, address: mapped, public });
    }

    /// A port that the router has mapped to one of our sockets, because it was asked to: as good as what a STUN server
    /// sees, and open to everybody besides. `by` names the protocol.
    pub(crate) fn publish_mapping(
        &mut self,
        s: &mut Supplies<'_>,
        local: SocketAddr,
        mapped: SocketAddr,
        by: &str,
    ) {
        let usable = mapped.is_ipv4() == local.is_ipv4() && mapped.port() != 0 && may_be_host(mapped.ip());
        if usable {
            // No other candidate of this type has its preference: no server has this place.
            let path = Path::udp(local, mapped);
            self.publish_mapped(s, path, MAX_RANKS - 1, by.to_owned(), mapped);
        }
    }

    /// An address on a TURN server.
    pub(super) fn publish_relay(
        &mut self,
        s: &mut Supplies<'_>,
        id: RelayId,
        relayed: SocketAddr,
        mapped: SocketAddr,
    ) {
        // RFC 8445 §5.1.1.2: "If a relayed candidate is identical to a host candidate … MUST be discarded."
        if s.locals.bases().any(|base| base.address == relayed) {
            return s.relays.close(s.now, |relay| relay.id == id);
        }
        let Some(relay) = s.relays.get(id) else { return };
        let spec = relay.spec.clone();
        if let (Some(local), Transport::Udp) = (spec.local, relay.transport()) {
            // "A successful Allocate response will provide the agent with a server-reflexive candidate" too.
            let url = spec.config.url.to_string();
            self.publish_mapped(s, Path::udp(local, spec.address), spec.server, url, plain(mapped));
        }
        let transport = spec.config.url.transport;
        let class = match transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls | Transport::Dtls => 2,
        };
        let preference = local_preference(class, spec.rank, spec.server);
        let origin = Origin {
            kind: CandidateKind::Relay,
            base: relayed.ip(),
            server: Some(spec.address.ip()),
            seen: None,
            transport,
        };
        let base = s.locals.add_base(relayed, Some(id), preference);
        let priority = candidate_priority(CandidateKind::Relay, preference);
        let mut public =
            Candidate::new(CandidateKind::Relay, relayed, priority, &self.foundations.of(origin));
        let hide = s.config.policy == TransportPolicy::Relay;
        public.related = Some(if hide { hidden_address(relayed.ip()) } else { mapped });
        public.base = Some(relayed);
        public.url = Some(spec.config.url.to_string());
        public.relay_protocol = Some(transport);
        self.publish(s, LocalCandidate { base, address: relayed, public });
    }

    pub(super) fn publish(&mut self, s: &mut Supplies<'_>, mut candidate: LocalCandidate) {
        candidate.public.ufrag = Some(s.ufrag.to_owned());
        let (base, public) = (candidate.base, candidate.public.clone());
        let first = s.locals.pairing(base).is_none();
        if !s.locals.add(candidate) {
            return;
        }
        tracing::debug!(candidate = %public, "gathered");
        // After the end of gathering it serves us silently: the other side will see it as peer-reflexive.
        if self.state == GatheringState::Gathering {
            s.events.push_back(Event::CandidateGathered(public));
        }
        if first {
            self.fresh(base);
        }
    }

    fn fresh(&mut self, base: BaseId) {
        self.fresh.push(base);
    }
}

/// A random name of the form that browsers use: a version 4 UUID (RFC 4122 §4.4).
fn mdns_name(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}.local", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
