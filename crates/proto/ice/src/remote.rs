use std::net::{IpAddr, SocketAddr};

use crate::report::{RemoteFate, RemoteReport};
use crate::route::{may_be_peer, plain};
use crate::{Candidate, CandidateAddress, CandidateKind, CandidateTransport};

/// The other side's candidates in one ICE session: signalled ones and those that its checks have shown.
#[derive(Debug)]
pub(crate) struct Remotes {
    list: Vec<Remote>,
    limit: usize,
    learnt: usize,
}

/// Names a candidate of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RemoteId(usize);

/// A candidate of the other side.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) id: RemoteId,
    /// As it was signalled; a resolved name stays a name here.
    pub(crate) candidate: Candidate,
    /// Where it is, once that is known.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) fate: RemoteFate,
}

/// What is to be done about a candidate that was signalled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is new: pair it.
    New(RemoteId),
    /// A check had shown it before; its priority and foundation are now known.
    Known(RemoteId),
    /// Its name has to be looked up.
    Resolve(RemoteId, String),
    /// Nothing.
    Ignored,
    /// Nothing, there are too many.
    OverLimit,
}

impl Remotes {
    /// Room for `limit` candidates.
    pub(crate) fn new(limit: usize) -> Self {
        Self { list: Vec::new(), limit, learnt: 0 }
    }

    /// Gives back what was kept for more.
    pub(crate) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }

    /// Takes a candidate from signalling.
    pub(crate) fn add(&mut self, candidate: Candidate) -> Added {
        let supported = candidate.transport == CandidateTransport::Udp && candidate.component == 1;
        match &candidate.address {
            CandidateAddress::Ip(address) if supported => {
                let address = plain(*address);
                if let Some(known) = self.at_address(address) {
                    return self.upgrade(known, candidate);
                }
                let fate = if may_be_peer(address) { RemoteFate::Used } else { RemoteFate::Forbidden };
                let used = fate == RemoteFate::Used;
                match self.push(candidate, Some(address), fate) {
                    Some(id) if used => Added::New(id),
                    Some(_) => Added::Ignored,
                    None => Added::OverLimit,
                }
            }
            CandidateAddress::Mdns { name, port } if supported => {
                let name = name.clone();
                let twice = |remote: &Remote| remote.candidate.address == candidate.address;
                if *port == 0 || self.list.iter().any(twice) {
                    return Added::Ignored;
                }
                match self.push(candidate, None, RemoteFate::Resolving) {
                    Some(id) => Added::Resolve(id, name),
                    None => Added::OverLimit,
                }
            }
            _ => {
                let twice = self.list.iter().any(|remote| remote.candidate == candidate);
                if !twice && self.push(candidate, None, RemoteFate::Unsupported).is_none() {
                    return Added::OverLimit;
                }
                Added::Ignored
            }
        }
    }

    /// The name of a candidate stands for `ip`.
    pub(crate) fn resolved(&mut self, id: RemoteId, ip: IpAddr) -> Added {
        let Some(remote) = self.list.get(id.0).filter(|remote| remote.fate == RemoteFate::Resolving) else {
            return Added::Ignored;
        };
        let address = plain(SocketAddr::new(ip, remote.candidate.address.port()));
        let candidate = remote.candidate.clone();
        if let Some(known) = self.at_address(address) {
            self.list[id.0].fate = RemoteFate::Used;
            return self.upgrade(known, candidate);
        }
        let remote = &mut self.list[id.0];
        if !may_be_peer(address) {
            remote.fate = RemoteFate::Forbidden;
            return Added::Ignored;
        }
        remote.fate = RemoteFate::Used;
        remote.address = Some(address);
        Added::New(id)
    }

    /// The name of a candidate could not be looked up.
    pub(crate) fn unresolved(&mut self, id: RemoteId, why: String) {
        if let Some(remote) = self.list.get_mut(id.0).filter(|remote| remote.fate == RemoteFate::Resolving) {
            remote.fate = RemoteFate::Unresolved(why);
        }
    }

    /// The candidate at an address that an authenticated check came from: known, or learnt now as
    /// peer-reflexive (RFC 8445 §7.3.1.3). `None` if it cannot be one, or there are too many.
    pub(crate) fn learn(&mut self, address: SocketAddr, priority: u32) -> Option<RemoteId> {
        if let Some(known) = self.at_address(address) {
            return Some(known);
        }
        if !may_be_peer(address) {
            return None;
        }
        // "an arbitrary value, different from the foundations of all other remote candidates": no foundation
        // that was signalled can have a colon.
        self.learnt += 1;
        let foundation = format!("prflx:{}", self.learnt);
        let candidate = Candidate::new(CandidateKind::Prflx, address, priority, &foundation);
        self.push(candidate, Some(address), RemoteFate::Used)
    }

    /// The candidate with this name.
    pub(crate) fn of(&self, id: RemoteId) -> &Remote {
        &self.list[id.0]
    }

    /// The candidates that can be paired, with their addresses.
    pub(crate) fn usable(&self) -> impl Iterator<Item = (&Remote, SocketAddr)> {
        self.list
            .iter()
            .filter_map(|remote| Some((remote, remote.address?)))
            .filter(|(remote, _)| remote.fate == RemoteFate::Used)
    }

    /// For people.
    pub(crate) fn report(&self) -> Vec<RemoteReport> {
        self.list
            .iter()
            .map(|remote| RemoteReport { candidate: remote.candidate.clone(), fate: remote.fate.clone() })
            .collect()
    }

    fn at_address(&self, address: SocketAddr) -> Option<RemoteId> {
        self.list.iter().find(|remote| remote.address == Some(address)).map(|remote| remote.id)
    }

    /// Signalling tells of a candidate that a check has shown: what it says is what the other side counts with
    /// (RFC 8445 §7.3.1.3, RFC 8838 §11.4).
    fn upgrade(&mut self, id: RemoteId, candidate: Candidate) -> Added {
        let known = &mut self.list[id.0].candidate;
        if known.kind != CandidateKind::Prflx {
            return Added::Ignored;
        }
        *known = candidate;
        Added::Known(id)
    }

    fn push(
        &mut self,
        mut candidate: Candidate,
        address: Option<SocketAddr>,
        fate: RemoteFate,
    ) -> Option<RemoteId> {
        if self.list.len() >= self.limit {
            return None;
        }
        // Nobody else's business to set these.
        candidate.base = None;
        candidate.url = None;
        candidate.relay_protocol = None;
        let id = RemoteId(self.list.len());
        self.list.push(Remote { id, candidate, address, fate });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(line: &str) -> Candidate {
        format!("1 1 udp {line}").parse().unwrap()
    }

    #[test]
    fn each_address_counts_once() {
        let mut remotes = Remotes::new(10);
        let id = RemoteId(0);
        assert_eq!(remotes.add(candidate("100 192.0.2.1 5 typ host")), Added::New(id));
        assert_eq!(remotes.add(candidate("50 192.0.2.1 5 typ srflx")), Added::Ignored);
        assert_eq!(remotes.learn("192.0.2.1:5".parse().unwrap(), 7), Some(id));
        assert_eq!(remotes.of(id).candidate.priority, 100);
    }

    #[test]
    fn a_peer_reflexive_candidate_becomes_what_signalling_says() {
        let mut remotes = Remotes::new(10);
        let id = remotes.learn("192.0.2.1:5".parse().unwrap(), 7).unwrap();
        assert_eq!(remotes.add(candidate("100 192.0.2.1 5 typ srflx")), Added::Known(id));
        let remote = &remotes.of(id).candidate;
        assert_eq!(
            (remote.kind, remote.priority, remote.foundation.as_str()),
            (CandidateKind::Srflx, 100, "1")
        );
    }

    #[test]
    fn names_are_looked_up_and_stay_hidden() {
        let mut remotes = Remotes::new(10);
        let added = remotes.add(candidate("100 a.local 5 typ host"));
        let Added::Resolve(id, name) = added else { panic!("{added:?}") };
        assert_eq!(name, "a.local");
        assert_eq!(remotes.usable().count(), 0);
        assert_eq!(remotes.resolved(id, "10.0.0.1".parse().unwrap()), Added::New(id));
        assert_eq!(remotes.usable().next().unwrap().1, "10.0.0.1:5".parse().unwrap());
        assert!(!format!("{:?}", remotes.report()).contains("10.0.0.1"));
    }

    #[test]
    fn what_cannot_be_used_is_kept_for_the_report_only() {
        let mut remotes = Remotes::new(4);
        for line in ["100 224.0.0.1 5 typ host", "100 192.0.2.1 0 typ host"] {
            assert_eq!(remotes.add(candidate(line)), Added::Ignored);
        }
        assert_eq!(
            remotes.add("1 1 tcp 5 192.0.2.1 9 typ host tcptype active".parse().unwrap()),
            Added::Ignored
        );
        assert_eq!(remotes.add("1 2 udp 5 192.0.2.1 9 typ host".parse().unwrap()), Added::Ignored);
        assert_eq!(remotes.usable().count(), 0);
        assert_eq!(remotes.report().len(), 4);
        assert_eq!(remotes.add(candidate("100 192.0.2.1 5 typ host")), Added::OverLimit);
        assert_eq!(remotes.learn("192.0.2.9:5".parse().unwrap(), 7), None);
    }
}
