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
    /// The outbox was full.
    NoRoom,
    /// More than the user, or all users together, may have relayed in a second.
    Bandwidth,
    /// To a peer that another allocation has at the port that all share.
    PeerTaken,
    /// To a client whose stream has ended, and who may come back.
    Away,
}

impl Drop {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::Unexpected,
        Self::NoAllocation,
        Self::NoPermission,
        Self::NoChannel,
        Self::Denied,
        Self::Family,
        Self::Own,
        Self::Throttled,
        Self::NoRoom,
        Self::Bandwidth,
        Self::PeerTaken,
        Self::Away,
    ];

    /// A word for it that does not change: a metric's label, say.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::NoAllocation => "no_allocation",
            Self::NoPermission => "no_permission",
            Self::NoChannel => "no_channel",
            Self::Denied => "denied",
            Self::Family => "family",
            Self::Own => "own",
            Self::Throttled => "throttled",
            Self::NoRoom => "no_room",
            Self::Bandwidth => "bandwidth",
            Self::PeerTaken => "peer_taken",
            Self::Away => "away",
        }
    }
}

/// Why a request was not taken for anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LoginFailure {
    /// It was not signed: the normal beginning. Whoever is in order asks again.
    Unsigned,
    /// It was signed, and username, realm, nonce or the choice of an algorithm was missing or wrong: somebody changed
    /// it on the way, or its sender is broken.
    Incomplete,
    /// Nobody has this username.
    UnknownUser,
    /// The password is wrong, or of a back end with another shared secret.
    WrongPassword,
    /// The time-limited username, or the token, is over.
    Expired,
    /// The nonce is old, or none of ours: the normal end of a nonce. Whoever is in order asks again.
    StaleNonce,
    /// Who knows the users was asked, and did not answer.
    NobodyToAsk,
}

impl LoginFailure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unsigned,
        Self::Incomplete,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::Expired,
        Self::StaleNonce,
        Self::NobodyToAsk,
    ];

    /// A word for it that does not change: a metric's label, say.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Incomplete => "incomplete",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Expired => "expired",
            Self::StaleNonce => "stale_nonce",
            Self::NobodyToAsk => "nobody_to_ask",
        }
    }
}

/// What the server did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Allocations made.
    pub allocations: u64,
    /// Requests refused because of [`PeerPolicy`](crate::PeerPolicy).
    pub forbidden: u64,
    /// Datagrams relayed to peers. (Here as below: what the server lets through. What its owner then loses, he counts.)
    pub packets_to_peers: u64,
    /// Bytes of application data relayed to peers.
    pub bytes_to_peers: u64,
    /// Datagrams relayed to clients.
    pub packets_to_clients: u64,
    /// Bytes of application data relayed to clients.
    pub bytes_to_clients: u64,
    dropped: [u64; Drop::ALL.len()],
    login_failures: [u64; LoginFailure::ALL.len()],
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

    /// How many requests were refused for their credentials, by cause.
    pub fn login_failures(&self, cause: LoginFailure) -> u64 {
        self.login_failures[cause as usize]
    }

    /// How many requests were refused for missing, wrong or expired credentials, or a stale nonce.
    pub fn unauthorized(&self) -> u64 {
        self.login_failures.iter().sum()
    }

    pub(crate) fn login_failure(&mut self, cause: LoginFailure) {
        self.login_failures[cause as usize] += 1;
    }

    pub(crate) fn drop(&mut self, reason: Drop) {
        self.drop_many(reason, 1);
    }

    pub(crate) fn drop_many(&mut self, reason: Drop, datagrams: u64) {
        self.dropped[reason as usize] += datagrams;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place() {
        assert!(Drop::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(LoginFailure::ALL.iter().enumerate().all(|(at, cause)| *cause as usize == at));
    }
}
