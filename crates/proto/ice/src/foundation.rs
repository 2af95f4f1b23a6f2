use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::CandidateKind;

/// Gives candidates their foundations (RFC 8445 §5.1.1.3).
///
/// A foundation is a running number, so that it tells nothing about the addresses that it stands for.
#[derive(Debug, Default)]
pub(crate) struct Foundations {
    numbers: BTreeMap<Origin, usize>,
}

/// Candidates that agree in all of this have the same foundation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// How the candidate was found.
    pub(crate) kind: CandidateKind,
    /// The IP address of its base.
    pub(crate) base: IpAddr,
    /// The IP address by which its server was reached.
    pub(crate) server: Option<IpAddr>,
    /// For a server-reflexive candidate: the IP address that the server saw. RFC 8445 does not tell by it, but checks
    /// to an address that a NAT had until lately would otherwise keep those to its new one waiting (§6.1.2.6).
    pub(crate) seen: Option<IpAddr>,
    /// How it was talked to. RFC 8445 §5.1.1.3: "obtained using the same transport protocol".
    pub(crate) transport: sansio::Transport,
}

impl Foundations {
    /// The foundation of a candidate from `origin`.
    pub(crate) fn of(&mut self, origin: Origin) -> String {
        let next = self.numbers.len() + 1;
        self.numbers.entry(origin).or_insert(next).to_string()
    }
}

#[cfg(test)]
mod tests {
    use sansio::Transport;

    use super::*;

    #[test]
    fn a_foundation_is_shared_exactly_by_candidates_of_one_origin() {
        let mut foundations = Foundations::default();
        let base = "10.0.0.1".parse().unwrap();
        let server = Some("192.0.2.1".parse().unwrap());
        let host =
            Origin { kind: CandidateKind::Host, base, server: None, seen: None, transport: Transport::Udp };
        let relay = Origin { kind: CandidateKind::Relay, server, ..host };
        assert_eq!(foundations.of(host), "1");
        assert_eq!(foundations.of(relay), "2");
        assert_eq!(foundations.of(Origin { kind: CandidateKind::Srflx, ..relay }), "3");
        assert_eq!(foundations.of(Origin { transport: Transport::Tcp, ..relay }), "4");
        assert_eq!(foundations.of(Origin { base: "10.0.0.2".parse().unwrap(), ..host }), "5");
        assert_eq!(foundations.of(host), "1");
        let seen = Some("192.0.2.9".parse().unwrap());
        assert_eq!(foundations.of(Origin { kind: CandidateKind::Srflx, seen, ..relay }), "6");
    }
}
