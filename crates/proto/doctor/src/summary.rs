use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::view::View;
use crate::{Evidence, Nat, Outcome};

/// What one side tells the other of its evidence: nothing that the candidates have not told already, but counts.
///
/// With it, what only one of two could see is certain: whose candidates were lost, whose packets did not arrive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// How the attempt stands there.
    pub outcome: Outcome,
    /// The addresses that it gave to signalling, as `host:port`.
    pub sent: Vec<String>,
    /// The addresses that it got from signalling.
    pub received: Vec<String>,
    /// What it checked, and what came of it.
    pub checks: Vec<Checked>,
    /// Packets that came over the path.
    pub packets_received: u64,
    /// The largest of them, in bytes of UDP payload.
    pub largest_received: usize,
    /// Whether UDP gets out and back there.
    pub udp: Option<bool>,
    /// Whether its NAT is known to give another address for each destination, or known not to.
    pub mapping_depends: Option<bool>,
    /// What discovery found there.
    pub nat: Option<Nat>,
}

/// Checks to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Where they went.
    pub to: SocketAddr,
    /// Packets that were sent, repetitions included.
    pub sent: u32,
    /// Answers that came.
    pub answered: u32,
    /// Checks that came from there.
    pub heard: u32,
}

impl Evidence {
    /// What the other side may know of this.
    pub fn summary(&self) -> Summary {
        let view = View::of(self);
        let mut checks: Vec<Checked> = Vec::new();
        for pair in &self.ice.pairs {
            let Some(to) = pair.remote.address.ip() else { continue };
            let (sent, answered, heard) =
                (pair.checks_sent + pair.retransmissions, pair.responses_received, pair.requests_received);
            match checks.iter_mut().find(|other| other.to == to) {
                Some(other) => {
                    other.sent += sent;
                    other.answered += answered;
                    other.heard += heard;
                }
                None => checks.push(Checked { to, sent, answered, heard }),
            }
        }
        Summary {
            outcome: self.outcome,
            sent: self.ice.local.iter().map(|candidate| spell(&candidate.address)).collect(),
            received: view.signalled().map(|remote| spell(&remote.candidate.address)).collect(),
            checks,
            packets_received: self.traffic.packets_received,
            largest_received: self.traffic.largest_received,
            udp: view.udp(),
            mapping_depends: view.our_mapping_depends().holds,
            nat: self.nat.clone(),
        }
    }
}

/// An address as both sides write it.
pub(crate) fn spell(address: &ice::CandidateAddress) -> String {
    match address {
        ice::CandidateAddress::Ip(address) => address.to_string(),
        ice::CandidateAddress::Mdns { name, port } => format!("{name}:{port}"),
    }
}
