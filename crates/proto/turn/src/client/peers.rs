use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::Time;

use crate::channel::ChannelNumber;

/// A channel binding's 10 minutes and the 5 after it in which neither its number nor its peer may be bound
/// otherwise (RFC 8656 §12).
const QUARANTINE: Duration = Duration::from_secs(600 + 300);

/// What a client knows of its peers: which are permitted, by address, and which have a channel, by transport
/// address.
#[derive(Debug)]
pub(crate) struct Peers {
    permissions: BTreeMap<IpAddr, Permission>,
    channels: BTreeMap<SocketAddr, Channel>,
    by_number: BTreeMap<ChannelNumber, SocketAddr>,
    next: ChannelNumber,
}

/// One address that the owner wants to exchange packets with.
#[derive(Debug, Default)]
struct Permission {
    /// The peers at that address that the owner named, and whether he has been told of the permission.
    wanted_by: BTreeMap<SocketAddr, bool>,
    /// The request for it is under way, or has been.
    asked: bool,
    granted: bool,
}

#[derive(Debug)]
struct Channel {
    number: ChannelNumber,
    state: ChannelState,
    reusable_at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    /// Asked for, or about to be.
    Binding,
    Bound,
    /// The server does not want it; Send indications do as well.
    Refused,
}

/// What the owner's wish for a peer leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Ask the server about this address.
    Ask,
    /// The server has been asked already; the answer will be for this peer too.
    Asked,
    /// The address has a permission.
    Granted,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            by_number: BTreeMap::new(),
            next: ChannelNumber::MIN,
        }
    }

    /// Notes that the owner wants `peer`.
    pub(crate) fn permit(&mut self, peer: SocketAddr) -> Permit {
        let new = !self.permissions.contains_key(&peer.ip());
        let permission = self.permissions.entry(peer.ip()).or_default();
        let told = permission.granted;
        permission.wanted_by.insert(peer, told);
        match (new, permission.granted) {
            (_, true) => Permit::Granted,
            (true, false) => Permit::Ask,
            (false, false) => Permit::Asked,
        }
    }

    /// Notes that the owner no longer wants `peer`.
    pub(crate) fn forget(&mut self, peer: SocketAddr) {
        if let Some(permission) = self.permissions.get_mut(&peer.ip()) {
            permission.wanted_by.remove(&peer);
            if permission.wanted_by.is_empty() {
                self.permissions.remove(&peer.ip());
            }
        }
    }

    /// The server is being asked for `address`.
    pub(crate) fn asked(&mut self, address: IpAddr) {
        if let Some(permission) = self.permissions.get_mut(&address) {
            permission.asked = true;
        }
    }

    /// The server permits `address`: the peers whose owner does not know yet.
    pub(crate) fn granted(&mut self, address: IpAddr) -> Vec<SocketAddr> {
        let Some(permission) = self.permissions.get_mut(&address) else { return Vec::new() };
        permission.granted = true;
        let wanted_by = permission.wanted_by.iter_mut();
        wanted_by.filter_map(|(peer, told)| (!std::mem::replace(told, true)).then_some(*peer)).collect()
    }

    /// The server does not permit `address`, or no longer: all peers that were there.
    pub(crate) fn refused(&mut self, address: IpAddr) -> Vec<SocketAddr> {
        self.permissions.remove(&address).map(|p| p.wanted_by.into_keys().collect()).unwrap_or_default()
    }

    /// All addresses that the owner wants.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.permissions.keys().copied()
    }

    /// The peers at `address`.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = SocketAddr> + '_ {
        self.permissions.get(&address).into_iter().flat_map(|p| p.wanted_by.keys().copied())
    }

    /// Whether the owner wants `peer`, at that very port.
    pub(crate) fn wants(&self, peer: SocketAddr) -> bool {
        self.permissions.get(&peer.ip()).is_some_and(|p| p.wanted_by.contains_key(&peer))
    }

    /// Whether the server permits `address`.
    pub(crate) fn is_permitted(&self, address: IpAddr) -> bool {
        self.permissions.get(&address).is_some_and(|p| p.granted)
    }

    /// Whether the server permits `address`, or is being asked to.
    pub(crate) fn is_asked(&self, address: IpAddr) -> bool {
        self.permissions.get(&address).is_some_and(|p| p.granted || p.asked)
    }

    /// Whether packets from `address` may come: it is permitted, or that is being asked.
    pub(crate) fn expects(&self, address: IpAddr) -> bool {
        self.permissions.contains_key(&address)
    }

    /// The channel to ask for on behalf of `peer`: the one it has, or a free one.
    ///
    /// `None` if the server refused it one, or all numbers are in use or in quarantine.
    pub(crate) fn channel_to_bind(&mut self, now: Time, peer: SocketAddr) -> Option<ChannelNumber> {
        let reusable_at = now + QUARANTINE;
        if let Some(channel) = self.channels.get_mut(&peer) {
            if channel.state == ChannelState::Refused {
                return None;
            }
            channel.reusable_at = reusable_at;
            return Some(channel.number);
        }
        let number = self.free_number(now)?;
        self.next = number.next();
        self.by_number.insert(number, peer);
        self.channels.insert(peer, Channel { number, state: ChannelState::Binding, reusable_at });
        Some(number)
    }

    fn free_number(&mut self, now: Time) -> Option<ChannelNumber> {
        let mut number = self.next;
        for _ in 0..ChannelNumber::COUNT {
            let Some(holder) = self.by_number.get(&number) else { return Some(number) };
            let idle = self.channels.get(holder).is_none_or(|channel| channel.reusable_at <= now);
            if idle {
                self.channels.remove(holder);
                return Some(number);
            }
            number = number.next();
        }
        None
    }

    /// The server bound the channel of `peer`. Returns whether that is news.
    pub(crate) fn channel_bound(&mut self, peer: SocketAddr) -> bool {
        self.channels.get_mut(&peer).is_some_and(|channel| {
            std::mem::replace(&mut channel.state, ChannelState::Bound) != ChannelState::Bound
        })
    }

    /// The server refused the channel of `peer`.
    pub(crate) fn channel_refused(&mut self, peer: SocketAddr) {
        if let Some(channel) = self.channels.get_mut(&peer) {
            channel.state = ChannelState::Refused;
        }
    }

    /// The channel that packets to `peer` can go by.
    pub(crate) fn channel(&self, peer: SocketAddr) -> Option<ChannelNumber> {
        let channel = self.channels.get(&peer)?;
        (channel.state == ChannelState::Bound).then_some(channel.number)
    }

    /// The peer that `number` stands for. Known from when it is first asked for: over UDP data may overtake the
    /// answer (RFC 8656 §12).
    pub(crate) fn peer(&self, number: ChannelNumber) -> Option<SocketAddr> {
        self.by_number.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8, port: u16) -> SocketAddr {
        ([198, 51, 100, last], port).into()
    }

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn one_permission_serves_all_ports_of_an_address() {
        let mut peers = Peers::new();
        assert_eq!(peers.permit(peer(1, 1)), Permit::Ask);
        assert_eq!(peers.permit(peer(1, 2)), Permit::Asked);
        assert!(peers.expects(peer(1, 9).ip()) && !peers.is_permitted(peer(1, 1).ip()));
        assert_eq!(peers.granted(peer(1, 1).ip()), [peer(1, 1), peer(1, 2)]);
        assert_eq!(peers.granted(peer(1, 1).ip()), [], "told once");
        assert_eq!(peers.permit(peer(1, 3)), Permit::Granted);
        peers.forget(peer(1, 1));
        assert_eq!(peers.refused(peer(1, 1).ip()), [peer(1, 2), peer(1, 3)]);
        assert_eq!(peers.permit(peer(1, 1)), Permit::Ask, "a refusal is not for ever");
    }

    #[test]
    fn forgetting_the_last_peer_of_an_address_ends_its_permission() {
        let mut peers = Peers::new();
        peers.permit(peer(1, 1));
        peers.granted(peer(1, 1).ip());
        peers.forget(peer(1, 1));
        assert!(!peers.expects(peer(1, 1).ip()));
    }

    #[test]
    fn a_peer_keeps_its_number_and_a_number_its_peer_for_15_minutes() {
        let mut peers = Peers::new();
        let first = peers.channel_to_bind(at(0), peer(1, 1)).unwrap();
        assert_eq!(peers.channel(peer(1, 1)), None, "not before the answer");
        assert_eq!(peers.peer(first), Some(peer(1, 1)), "but it may be used by the server");
        assert!(peers.channel_bound(peer(1, 1)));
        assert!(!peers.channel_bound(peer(1, 1)));
        assert_eq!(peers.channel(peer(1, 1)), Some(first));
        assert_eq!(peers.channel_to_bind(at(240), peer(1, 1)), Some(first));
        for other in 0..4095 {
            let number = peers.channel_to_bind(at(0), peer(2, other)).unwrap();
            assert_ne!(number, first);
        }
        assert_eq!(peers.channel_to_bind(at(899), peer(3, 1)), None);
        let reused = peers.channel_to_bind(at(900), peer(3, 1)).unwrap();
        assert_ne!(reused, first, "refreshed at 240 s");
        assert_eq!(peers.channels.len(), 4096);
    }

    #[test]
    fn a_refused_channel_is_not_asked_for_again() {
        let mut peers = Peers::new();
        peers.channel_to_bind(at(0), peer(1, 1)).unwrap();
        peers.channel_refused(peer(1, 1));
        assert_eq!(peers.channel(peer(1, 1)), None);
        assert_eq!(peers.channel_to_bind(at(240), peer(1, 1)), None);
    }
}
