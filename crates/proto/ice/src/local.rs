use std::net::SocketAddr;

use sansio::Path;

use crate::priority::{candidate_priority, rank_difference};
use crate::relay::RelayId;
use crate::route::Route;
use crate::{Candidate, CandidateAddress, CandidateKind, hidden_address};

/// How many peer-reflexive candidates of our own are remembered; more only lack a name in reports.
const MAX_PRFLX: usize = 32;
/// How many candidates of bases that are gone are remembered.
const MAX_GONE: usize = 64;

/// Our side: where packets can leave from, and what the other side is told about it.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    bases: Vec<Base>,
    candidates: Vec<LocalCandidate>,
    /// What stands for bases in pairs that nobody is told of.
    stand_ins: Vec<LocalCandidate>,
    /// Those of bases that are gone, for people.
    gone: Vec<LocalCandidate>,
    next: u32,
}

/// Names a [`Base`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BaseId(u32);

/// A transport address that packets leave from: one of our sockets, or a relayed address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    pub(crate) id: BaseId,
    pub(crate) address: SocketAddr,
    /// The allocation, if it is on a TURN server.
    pub(crate) relay: Option<RelayId>,
    /// For the PRIORITY attribute of checks (RFC 8445 §7.1.1).
    pub(crate) preference: u16,
}

/// A candidate of ours.
#[derive(Debug)]
pub(crate) struct LocalCandidate {
    pub(crate) base: BaseId,
    /// Its real address, which the public candidate may hide.
    pub(crate) address: SocketAddr,
    /// As the other side is told.
    pub(crate) public: Candidate,
}

impl Base {
    /// The way from here to `remote`.
    pub(crate) fn route(&self, remote: SocketAddr) -> Route {
        match self.relay {
            None => Route::Direct(Path::udp(self.address, remote)),
            Some(relay) => Route::Relayed { relay, peer: remote },
        }
    }

    /// The priority that a peer-reflexive candidate with this base has (RFC 8445 §7.1.1).
    pub(crate) fn prflx_priority(&self) -> u32 {
        candidate_priority(CandidateKind::Prflx, self.preference)
    }
}

impl Locals {
    /// Gives back what was kept for more.
    pub(crate) fn shrink(&mut self) {
        self.bases.shrink_to_fit();
        for list in [&mut self.candidates, &mut self.stand_ins, &mut self.gone] {
            list.shrink_to_fit();
        }
    }

    /// Adds a place that packets can leave from.
    pub(crate) fn add_base(
        &mut self,
        address: SocketAddr,
        relay: Option<RelayId>,
        preference: u16,
    ) -> BaseId {
        let id = BaseId(self.next);
        self.next += 1;
        self.bases.push(Base { id, address, relay, preference });
        id
    }

    /// Adds a place that packets can leave from, which is for punching alone: nobody is told of it, and no pair is formed
    /// with it before a check has come there.
    pub(crate) fn add_hidden_base(&mut self, address: SocketAddr, preference: u16) -> BaseId {
        let base = self.add_base(address, None, preference);
        let priority = candidate_priority(CandidateKind::Prflx, preference);
        let shown = hidden_address(address.ip());
        let public = Candidate::new(CandidateKind::Prflx, shown, priority, "punched");
        self.stand_ins.push(LocalCandidate { base, address, public });
        base
    }

    /// Takes a base away, with its candidates.
    pub(crate) fn remove_base(&mut self, id: BaseId) {
        self.bases.retain(|base| base.id != id);
        self.stand_ins.retain(|candidate| candidate.base != id);
        self.gone.extend(self.candidates.extract_if(.., |candidate| candidate.base == id));
        let excess = self.gone.len().saturating_sub(MAX_GONE);
        self.gone.drain(..excess);
    }

    /// The socket under a base has another place in the order of preference.
    pub(crate) fn rank_anew(&mut self, base: BaseId, old: usize, new: usize) {
        let difference = rank_difference(old, new);
        let bases = self.bases.iter_mut().filter(|other| other.id == base);
        bases.for_each(|base| base.preference = (i32::from(base.preference) + difference) as u16);
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.base == base) {
            let priority = i64::from(candidate.public.priority) + (i64::from(difference) << 8);
            candidate.public.priority = priority as u32;
        }
    }

    /// Takes a reflexive candidate of the socket `local` away.
    pub(crate) fn remove_mapping(&mut self, local: SocketAddr, mapped: SocketAddr) {
        let base = self.bases.iter().find(|base| base.relay.is_none() && base.address == local);
        let Some(base) = base.map(|base| base.id) else { return };
        let is_it = |candidate: &LocalCandidate| {
            candidate.base == base
                && candidate.address == mapped
                && candidate.public.kind == CandidateKind::Srflx
        };
        self.candidates.retain(|candidate| !is_it(candidate));
    }

    /// The base with this name.
    pub(crate) fn base(&self, id: BaseId) -> Option<&Base> {
        self.bases.iter().find(|base| base.id == id)
    }

    /// The base that packets on `route` leave from.
    pub(crate) fn base_of(&self, route: &Route) -> Option<&Base> {
        self.bases.iter().find(|base| match route {
            Route::Direct(path) => base.relay.is_none() && base.address == path.local,
            Route::Relayed { relay, peer } => {
                base.relay == Some(*relay) && base.address.is_ipv4() == peer.is_ipv4()
            }
        })
    }

    /// The bases on an allocation: one, or one of each family.
    pub(crate) fn bases_on(&self, relay: RelayId) -> impl Iterator<Item = BaseId> {
        self.bases.iter().filter(move |base| base.relay == Some(relay)).map(|base| base.id)
    }

    /// Adds a candidate unless it is redundant: one with the same address and base is there already
    /// (RFC 8445 §5.1.3). Returns whether it was added.
    pub(crate) fn add(&mut self, candidate: LocalCandidate) -> bool {
        // A name is not the same as the address that it hides: who cannot resolve it needs the other.
        let twin = self.candidates.iter().position(|other| {
            let hidden = matches!(other.public.address, CandidateAddress::Mdns { .. });
            other.address == candidate.address && other.base == candidate.base && !hidden
        });
        match twin {
            Some(at) if self.candidates[at].public.kind != CandidateKind::Prflx => return false,
            Some(at) => self.candidates[at] = candidate,
            None => self.candidates.push(candidate),
        }
        true
    }

    /// Learns how the other side sees `base` (RFC 8445 §7.2.5.3.1), unless that is a candidate already.
    pub(crate) fn learn(&mut self, base: BaseId, address: SocketAddr) {
        let known = self.candidates.iter().any(|candidate| candidate.address == address);
        let learnt = self.candidates.iter().filter(|c| c.public.kind == CandidateKind::Prflx).count();
        let Some(base) = self.base(base).copied() else { return };
        if known || learnt >= MAX_PRFLX {
            return;
        }
        // Never signalled, so its foundation is nobody's business (RFC 8445 §7.2.5.3.1).
        let foundation = format!("p{learnt}");
        // An address of our own that is no candidate is one that nobody is to know.
        let shown = if address == base.address { hidden_address(address.ip()) } else { address };
        let mut public = Candidate::new(CandidateKind::Prflx, shown, base.prflx_priority(), &foundation);
        public.related = Some(hidden_address(address.ip()));
        // Where it leaves from is told if it is told of others.
        let told = |other: &LocalCandidate| other.public.base.filter(|_| other.base == base.id);
        public.base = self.candidates.iter().find_map(told).filter(|_| base.relay.is_none());
        self.candidates.push(LocalCandidate { base: base.id, address, public });
    }

    /// Forgets the peer-reflexive candidates, which belong to one ICE session.
    pub(crate) fn forget_prflx(&mut self) {
        self.candidates.retain(|candidate| candidate.public.kind != CandidateKind::Prflx);
    }

    /// Forgets where holes were going to be.
    pub(crate) fn forget_aims(&mut self) {
        self.candidates.retain(|candidate| !candidate.public.is_aim());
    }

    /// Our candidates belong to this ICE session from now on.
    pub(crate) fn set_ufrag(&mut self, ufrag: &str) {
        for candidate in &mut self.candidates {
            candidate.public.ufrag = Some(ufrag.to_owned());
        }
    }

    /// All bases but the hidden ones.
    pub(crate) fn bases(&self) -> impl Iterator<Item = &Base> {
        self.bases.iter().filter(|base| !self.stand_ins.iter().any(|candidate| candidate.base == base.id))
    }

    /// The candidates that the other side is told.
    pub(crate) fn signalled(&self) -> impl Iterator<Item = &LocalCandidate> {
        self.candidates.iter().filter(|candidate| candidate.public.kind != CandidateKind::Prflx)
    }

    /// The candidate that stands for `base` in pairs: its best. A base without any is not to be used.
    ///
    /// RFC 8445 §6.1.2.4 replaces reflexive candidates by their bases and prunes what is then redundant; what
    /// remains is one pair for each base, with the priority of its best candidate.
    pub(crate) fn pairing(&self, base: BaseId) -> Option<&LocalCandidate> {
        self.signalled()
            .chain(&self.stand_ins)
            .filter(|candidate| candidate.base == base)
            .max_by_key(|candidate| candidate.public.priority)
    }

    /// What people are told about a packet from `base` that the other side saw come from `address`.
    pub(crate) fn describe(&self, base: BaseId, address: Option<SocketAddr>) -> Option<Candidate> {
        let known = || self.candidates.iter().chain(&self.stand_ins).chain(&self.gone);
        let all = || known().filter(|candidate| candidate.base == base);
        let exact = address.and_then(|address| all().find(|candidate| candidate.address == address));
        let best = || {
            all().max_by_key(|candidate| {
                (candidate.public.kind != CandidateKind::Prflx, candidate.public.priority)
            })
        };
        exact.or_else(best).map(|candidate| candidate.public.clone())
    }

    /// The default candidate: the one that works for a peer without ICE most likely (RFC 8839 §4.1.1.2),
    /// relayed before reflexive before host, IPv4 before IPv6.
    pub(crate) fn default_candidate(&self) -> Option<&Candidate> {
        self.signalled()
            .map(|candidate| &candidate.public)
            .filter(|candidate| matches!(candidate.address, CandidateAddress::Ip(_)))
            .max_by_key(|candidate| {
                let v4 = candidate.address.ip().is_some_and(|address| address.is_ipv4());
                (candidate.kind, v4, candidate.priority)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(base: BaseId, kind: CandidateKind, address: &str) -> LocalCandidate {
        let address = address.parse().unwrap();
        LocalCandidate {
            base,
            address,
            public: Candidate::new(kind, address, candidate_priority(kind, 9), "1"),
        }
    }

    #[test]
    fn a_base_is_paired_once_with_its_best_candidate() {
        let mut locals = Locals::default();
        let base = locals.add_base("10.0.0.1:1".parse().unwrap(), None, 9);
        assert!(locals.pairing(base).is_none());
        assert!(locals.add(candidate(base, CandidateKind::Srflx, "192.0.2.1:1")));
        assert_eq!(locals.pairing(base).unwrap().public.kind, CandidateKind::Srflx);
        assert!(locals.add(candidate(base, CandidateKind::Host, "10.0.0.1:1")));
        assert!(!locals.add(candidate(base, CandidateKind::Srflx, "10.0.0.1:1")), "redundant");
        assert_eq!(locals.pairing(base).unwrap().public.kind, CandidateKind::Host);
        assert_eq!(locals.default_candidate().unwrap().kind, CandidateKind::Srflx);
    }

    #[test]
    fn what_the_other_side_sees_of_us_is_learnt_once_and_never_signalled() {
        let mut locals = Locals::default();
        let base = locals.add_base("10.0.0.1:1".parse().unwrap(), None, 9);
        let seen = "192.0.2.1:7".parse().unwrap();
        locals.learn(base, seen);
        locals.learn(base, seen);
        assert_eq!(locals.candidates.len(), 1);
        assert_eq!(locals.signalled().count(), 0);
        let described = locals.describe(base, Some(seen)).unwrap();
        assert_eq!(described.kind, CandidateKind::Prflx);
        assert!(!described.to_string().contains("10.0.0.1"));
        assert!(locals.add(candidate(base, CandidateKind::Srflx, "192.0.2.1:7")), "a server says so too");
        assert_eq!(locals.candidates.len(), 1);
    }
}
