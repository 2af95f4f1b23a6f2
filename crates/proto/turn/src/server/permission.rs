use std::net::IpAddr;
use std::time::Duration;

use sansio::Time;

use super::Full;
use crate::attribute::Family;

/// "The Permission Lifetime MUST be 300 seconds" (RFC 8656 §9).
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// The addresses whose packets one allocation lets in. Ports do not matter (RFC 8656 §9).
#[derive(Debug)]
pub(crate) struct Permissions {
    /// By address. A vector, since there are few: it takes the least memory.
    expiry: Vec<(IpAddr, Time)>,
    limit: usize,
    /// How many were installed over the allocation's life, refreshes not counted.
    installed: usize,
}

impl Permissions {
    pub(crate) fn new(limit: usize) -> Self {
        Self { expiry: Vec::new(), limit, installed: 0 }
    }

    /// Installs or refreshes permissions for all of `addresses`, or for none. Returns those that are new. What is over has
    /// to be [forgotten](Self::expire) before.
    pub(crate) fn install(&mut self, now: Time, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Full> {
        let absent = |ip: &IpAddr| self.position(*ip).is_err();
        let mut new: Vec<IpAddr> = addresses.iter().copied().filter(absent).collect();
        new.sort_unstable();
        new.dedup();
        if self.expiry.len() + new.len() > self.limit {
            return Err(Full);
        }
        self.installed += new.len();
        let until = now + PERMISSION_LIFETIME;
        for address in addresses {
            match self.position(*address) {
                Ok(at) => self.expiry[at].1 = until,
                Err(at) => {
                    self.expiry.reserve_exact(1);
                    self.expiry.insert(at, (*address, until));
                }
            }
        }
        Ok(new)
    }

    /// Forgets those that are over, and gives their memory back. Returns whose they were.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<IpAddr> {
        let over = self.forget(|_, until| until <= now);
        if !over.is_empty() {
            self.expiry.shrink_to_fit();
        }
        over
    }

    /// When the first of them is due.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiry.iter().map(|(_, until)| *until).min()
    }

    /// Forgets those for addresses of `family`. Returns whose they were.
    pub(crate) fn forget_family(&mut self, family: Family) -> Vec<IpAddr> {
        self.forget(|address, _| Family::of(address) == family)
    }

    /// Forgets those for `addresses`.
    pub(crate) fn forget_all(&mut self, addresses: &[IpAddr]) {
        self.forget(|address, _| addresses.contains(&address));
    }

    /// Whose there are, expired ones among them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.expiry.iter().map(|(address, _)| *address)
    }

    /// Whether packets from and to `address` may pass.
    pub(crate) fn allows(&self, now: Time, address: IpAddr) -> bool {
        self.until(now, address).is_some()
    }

    /// Until when they may.
    pub(crate) fn until(&self, now: Time, address: IpAddr) -> Option<Time> {
        let (_, until) = self.expiry[self.position(address).ok()?];
        (until > now).then_some(until)
    }

    fn forget(&mut self, gone: impl Fn(IpAddr, Time) -> bool) -> Vec<IpAddr> {
        self.expiry
            .extract_if(.., |(address, until)| gone(*address, *until))
            .map(|(address, _)| address)
            .collect()
    }

    fn position(&self, address: IpAddr) -> Result<usize, usize> {
        self.expiry.binary_search_by_key(&address, |(address, _)| *address)
    }

    pub(crate) fn installed(&self) -> usize {
        self.installed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [198, 51, 100, last].into()
    }

    #[test]
    fn a_permission_lasts_300_seconds_and_is_refreshed_by_the_next() {
        let mut permissions = Permissions::new(8);
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        assert_eq!(permissions.install(at(0), &[ip(1)]), Ok(vec![ip(1)]));
        assert!(permissions.allows(at(299), ip(1)));
        assert!(!permissions.allows(at(300), ip(1)));
        assert!(!permissions.allows(at(1), ip(2)));
        assert_eq!(permissions.install(at(200), &[ip(1)]), Ok(vec![]));
        assert!(permissions.expire(at(300)).is_empty());
        assert!(permissions.allows(at(499), ip(1)));
        assert_eq!(permissions.installed(), 1);
    }

    #[test]
    fn a_full_table_takes_all_or_nothing_and_forgets_the_expired() {
        let mut permissions = Permissions::new(2);
        let at = |seconds| Time::from_start(Duration::from_secs(seconds));
        assert_eq!(permissions.install(at(0), &[ip(1), ip(2), ip(3)]), Err(Full));
        assert!(!permissions.allows(at(0), ip(1)));
        permissions.install(at(0), &[ip(1), ip(1), ip(2)]).unwrap();
        assert_eq!(permissions.install(at(1), &[ip(1), ip(3)]), Err(Full));
        permissions.install(at(1), &[ip(2)]).unwrap();
        assert_eq!(permissions.expire(at(300)), [ip(1)]);
        permissions.install(at(300), &[ip(3)]).unwrap();
        assert!(permissions.allows(at(300), ip(2)) && permissions.allows(at(300), ip(3)));
    }
}
