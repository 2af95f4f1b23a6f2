use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// How much one user, one source and all together may take of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations of one user at a time. Of a time-limited username `timestamp:user`, `user` counts.
    pub per_user: usize,
    /// Allocations of one client address at a time; of an IPv6 address, its /64 counts.
    pub per_source: usize,
    /// Allocations at a time.
    pub total: usize,
    /// Peer addresses that one allocation may have permissions for.
    pub permissions: usize,
    /// Channels that one allocation may have, at most 4096.
    pub channels: usize,
    /// TCP connections with peers that one allocation may have (RFC 6062).
    pub connections: usize,
    /// Unauthenticated answers (to Binding requests, and 401s) that one source over UDP gets in a second; four times as
    /// many at once. A source is an IPv4 address or an IPv6 /64; the /24 or /48 around it gets eight times as many.
    pub unauthenticated_per_second: u32,
    /// Bytes of application data in a second that one user may have relayed to peers, and as many to his clients. What
    /// comes beyond is dropped. A quarter of a second's worth may come at once, or 64 KiB. Unless told, any number.
    pub bandwidth_per_user: Option<u64>,
    /// The same for all together.
    pub bandwidth: Option<u64>,
    /// The longest that an allocation lives, however often it is refreshed. Unless told, any time.
    pub session: Option<Duration>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            per_user: 200,
            per_source: 1000,
            total: 10_000,
            permissions: 256,
            channels: 256,
            connections: 64,
            unauthenticated_per_second: 100,
            bandwidth_per_user: None,
            bandwidth: None,
            session: None,
        }
    }
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    User,
    Source,
    Total,
}

/// Who has how many allocations. Holds nothing of those who have none.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    by_user: BTreeMap<String, usize>,
    by_source: BTreeMap<IpAddr, usize>,
    total: usize,
}

impl Usage {
    /// Counts one allocation more, unless that is one too many.
    pub(crate) fn admit(&mut self, quotas: &Quotas, username: &str, address: IpAddr) -> Result<(), Exceeded> {
        let (user, source) = (user(username), block(address));
        if self.total >= quotas.total {
            return Err(Exceeded::Total);
        }
        if self.by_user.get(user).is_some_and(|count| *count >= quotas.per_user) || quotas.per_user == 0 {
            return Err(Exceeded::User);
        }
        if self.by_source.get(&source).is_some_and(|count| *count >= quotas.per_source)
            || quotas.per_source == 0
        {
            return Err(Exceeded::Source);
        }
        self.add(username, address);
        Ok(())
    }

    /// An allocation now has another client address. That is no reason to end it, whatever the quota of the new one.
    pub(crate) fn relocate(&mut self, username: &str, from: IpAddr, to: IpAddr) {
        self.release(username, from);
        self.add(username, to);
    }

    fn add(&mut self, username: &str, source: IpAddr) {
        self.total += 1;
        *self.by_user.entry(user(username).to_owned()).or_default() += 1;
        *self.by_source.entry(block(source)).or_default() += 1;
    }

    /// Whether the user has none.
    pub(crate) fn is_gone(&self, username: &str) -> bool {
        !self.by_user.contains_key(user(username))
    }

    /// Whether nobody has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0 && self.by_user.is_empty() && self.by_source.is_empty()
    }

    /// Counts one allocation less.
    pub(crate) fn release(&mut self, username: &str, source: IpAddr) {
        let (user, source) = (user(username), block(source));
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(user);
            }
        }
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

/// Whose quota a username counts against: a fresh timestamp does not make a new user.
pub(super) fn user(username: &str) -> &str {
    match username.split_once(':') {
        Some((timestamp, user)) if !user.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit()) => user,
        _ => username,
    }
}

/// What one host or home has: an IPv4 address, or an IPv6 /64.
pub(super) fn block(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_quota_is_its_own_and_is_given_back() {
        let quotas = Quotas { per_user: 2, per_source: 3, total: 4, ..Quotas::default() };
        let mut usage = Usage::default();
        usage.admit(&quotas, "a", ip("192.0.2.1")).unwrap();
        usage.admit(&quotas, "a", ip("192.0.2.1")).unwrap();
        assert_eq!(usage.admit(&quotas, "a", ip("192.0.2.2")), Err(Exceeded::User));
        usage.admit(&quotas, "b", ip("192.0.2.1")).unwrap();
        assert_eq!(usage.admit(&quotas, "c", ip("192.0.2.1")), Err(Exceeded::Source));
        usage.admit(&quotas, "c", ip("192.0.2.2")).unwrap();
        assert_eq!(usage.admit(&quotas, "d", ip("192.0.2.3")), Err(Exceeded::Total));
        usage.release("a", ip("192.0.2.1"));
        usage.admit(&quotas, "a", ip("192.0.2.2")).unwrap();
        for (user, source) in [("a", "192.0.2.1"), ("a", "192.0.2.2"), ("b", "192.0.2.1"), ("c", "192.0.2.2")]
        {
            usage.release(user, ip(source));
        }
        assert!(usage.is_empty());
    }

    #[test]
    fn a_fresh_timestamp_or_a_fresh_interface_identifier_is_no_new_quota() {
        let quotas = Quotas { per_user: 1, per_source: 1, ..Quotas::default() };
        let mut usage = Usage::default();
        usage.admit(&quotas, "1700000000:alice", ip("2001:db8::1")).unwrap();
        assert_eq!(usage.admit(&quotas, "1700000001:alice", ip("192.0.2.1")), Err(Exceeded::User));
        assert_eq!(usage.admit(&quotas, "1700000001:bob", ip("2001:db8::ffff")), Err(Exceeded::Source));
        usage.admit(&quotas, "1700000001:bob", ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(user("alice:bob"), "alice:bob");
        assert_eq!(user("1700000000:"), "1700000000:");
        assert_eq!(user("1700000000"), "1700000000");
    }
}
