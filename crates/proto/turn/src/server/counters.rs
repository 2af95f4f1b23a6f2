/// Why the server dropped something without a word, or refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Drop {
    /// Neither STUN nor ChannelData, or not well-formed.
    Malformed,
    /// A STUN message that servers do not take: a response, or an unknown method.
    Unexpected,
    /// An indication or ChannelData without an allocation.
    NoAllocation,
    /// To or from a peer without a permission.
    NoPermission,
    /// ChannelData on a channel that is not bound.
    NoChannel,
    /// To a peer that the policy denies.
    Denied,
    /// To a peer of another address family than the allocation's.
    Family,
    /// To or from an address of the server itself that it does not relay from.
    Own,
    /// An answer to an unauthenticated source that had had its share.
    Throttled,
    /// The outbox, or the system, was full.
    NoRoom,
}

impl Drop {
    const COUNT: usize = Self::NoRoom as usize + 1;
}

/// What the server did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Allocations made.
    pub allocations: u64,
    /// Requests refused for missing, wrong or expired credentials, or a stale nonce.
    pub unauthorized: u64,
    /// Requests refused because of [`PeerPolicy`](crate::PeerPolicy).
    pub forbidden: u64,
    /// Datagrams relayed to peers.
    pub packets_to_peers: u64,
    /// Bytes of application data relayed to peers.
    pub bytes_to_peers: u64,
    /// Datagrams relayed to clients.
    pub packets_to_clients: u64,
    /// Bytes of application data relayed to clients.
    pub bytes_to_clients: u64,
    dropped: [u64; Drop::COUNT],
}

impl Counters {
    /// How many datagrams were dropped for `reason`.
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many datagrams were dropped in all.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) fn drop(&mut self, reason: Drop) {
        self.drop_many(reason, 1);
    }

    pub(crate) fn drop_many(&mut self, reason: Drop, count: u64) {
        self.dropped[reason as usize] += count;
    }
}
