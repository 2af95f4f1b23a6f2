use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::Path;

use super::allocation::AllocationId;
use super::counters::LoginFailure;
use super::lookup::LookupId;
use super::policy::Denial;

/// What a [`Server`](crate::Server) tells its owner, for logs: who relayed through it, from where, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// A client got a relayed address.
    AllocationCreated {
        /// Names it in later events.
        id: AllocationId,
        /// Who asked.
        username: String,
        /// From where: remote is the client, as the server sees it.
        client: Path,
        /// The relayed addresses, as peers see them: one, or one of each family.
        relayed: Vec<SocketAddr>,
    },
    /// A client with a ticket has come from another 5-tuple (RFC 8016). The old one is its own, too, until data comes by
    /// the new one.
    AllocationMoved {
        /// As in [`ServerEvent::AllocationCreated`].
        id: AllocationId,
        /// Whose it is.
        username: String,
        /// From where so far.
        from: Path,
        /// From where from now on.
        to: Path,
    },
    /// A relayed address was taken back.
    AllocationEnded {
        /// As in [`ServerEvent::AllocationCreated`].
        id: AllocationId,
        /// Who had it.
        username: String,
        /// From where.
        client: Path,
        /// The relayed addresses that it had at its end, as peers see them.
        relayed: Vec<SocketAddr>,
        /// How long it lived.
        duration: Duration,
        /// How many permissions were installed in that time, refreshes not counted.
        peers: usize,
        /// Bytes of application data that went to peers.
        bytes_to_peers: u64,
        /// Bytes of application data that went to the client.
        bytes_to_client: u64,
        /// Datagrams among these that were lost before they left this machine, and those lost before they were looked at:
        /// what [`Server::lost`](crate::Server::lost) was told.
        lost: u64,
        /// Why it ended.
        reason: EndReason,
    },
    /// Someone who receives what is sent to him (his nonce was good) was not let in.
    LoginRefused {
        /// The name that he gave.
        username: String,
        /// From where.
        client: Path,
        /// Which check failed.
        cause: LoginFailure,
    },
    /// Someone wants to be let in whom only somebody else may know ([`LookupRules`](crate::LookupRules)). Answer with
    /// [`Server::answer`](crate::Server::answer).
    UserAsked {
        /// Names the question.
        id: LookupId,
        /// The name that he gave.
        username: String,
        /// From where. He has shown that he receives what is sent to him.
        client: Path,
    },
    /// Someone with good credentials asked for a peer that the policy denies.
    PeerDenied {
        /// Who asked.
        username: String,
        /// From where.
        client: Path,
        /// For whom.
        peer: IpAddr,
        /// Why not.
        denial: Denial,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client gave it back.
    Deleted,
    /// The client did not refresh it.
    Expired,
    /// It has lived as long as one may ([`Quotas::session`](crate::Quotas::session)).
    TimeIsUp,
    /// The client's stream ended.
    Disconnected,
    /// The server was closed.
    Closed,
}
