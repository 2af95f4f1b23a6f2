use std::net::SocketAddr;
use std::time::Duration;

use sansio::Time;

use crate::attribute::Family;
use crate::channel::ChannelNumber;

/// "A channel binding lasts for 10 minutes unless refreshed" (RFC 8656 §12).
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// The channels of one allocation: a number for a peer's transport address, and back.
///
/// There are few, mostly one: a vector takes the least memory, and is searched fastest.
#[derive(Debug)]
pub(crate) struct Channels {
    bindings: Vec<Binding>,
    limit: usize,
}

#[derive(Debug)]
struct Binding {
    number: ChannelNumber,
    peer: SocketAddr,
    expiry: Time,
}

/// Why a channel was not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindError {
    /// The number has another peer, or the peer another number.
    Conflict,
    /// The allocation has as many channels as it may have.
    Full,
}

impl Channels {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bindings: Vec::new(), limit }
    }

    /// Whether [`Channels::bind`] would succeed.
    pub(crate) fn check(
        &mut self,
        now: Time,
        number: ChannelNumber,
        peer: SocketAddr,
    ) -> Result<(), BindError> {
        match (self.binding(now, number), self.number(now, peer)) {
            (Some((bound, _)), _) if bound != peer => return Err(BindError::Conflict),
            (_, Some((bound, _))) if bound != number => return Err(BindError::Conflict),
            (Some(_), Some(_)) => return Ok(()),
            _ => {}
        }
        if self.bindings.len() >= self.limit {
            self.expire(now);
        }
        if self.bindings.len() >= self.limit { Err(BindError::Full) } else { Ok(()) }
    }

    /// Binds `number` to `peer`, or refreshes that binding.
    pub(crate) fn bind(
        &mut self,
        now: Time,
        number: ChannelNumber,
        peer: SocketAddr,
    ) -> Result<(), BindError> {
        self.check(now, number, peer)?;
        // What an expired binding of the number or of the peer leaves behind goes, too.
        self.bindings.retain(|binding| binding.number != number && binding.peer != peer);
        self.bindings.reserve_exact(1);
        self.bindings.push(Binding { number, peer, expiry: now + CHANNEL_LIFETIME });
        Ok(())
    }

    /// Forgets those that are over, and gives their memory back.
    pub(crate) fn expire(&mut self, now: Time) {
        self.bindings.retain(|binding| binding.expiry > now);
        self.bindings.shrink_to_fit();
    }

    /// When the first of them is due.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.bindings.iter().map(|binding| binding.expiry).min()
    }

    /// Forgets those to peers of `family`.
    pub(crate) fn forget(&mut self, family: Family) {
        self.bindings.retain(|binding| Family::of(binding.peer.ip()) != family);
    }

    /// The peer that `number` stands for, and until when.
    pub(crate) fn binding(&self, now: Time, number: ChannelNumber) -> Option<(SocketAddr, Time)> {
        let binding = self.bindings.iter().find(|binding| binding.number == number)?;
        (binding.expiry > now).then_some((binding.peer, binding.expiry))
    }

    /// The number that stands for `peer`, and until when.
    pub(crate) fn number(&self, now: Time, peer: SocketAddr) -> Option<(ChannelNumber, Time)> {
        let binding = self.bindings.iter().find(|binding| binding.peer == peer)?;
        (binding.expiry > now).then_some((binding.number, binding.expiry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([198, 51, 100, 1], port).into()
    }

    fn channel(offset: u16) -> ChannelNumber {
        ChannelNumber::new(0x4000 + offset).unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_channel_lasts_600_seconds_unless_refreshed() {
        let mut channels = Channels::new(8);
        channels.bind(at(0), channel(0), peer(1)).unwrap();
        assert_eq!(channels.binding(at(599), channel(0)), Some((peer(1), at(600))));
        assert_eq!(channels.number(at(599), peer(1)), Some((channel(0), at(600))));
        channels.bind(at(500), channel(0), peer(1)).unwrap();
        assert_eq!(channels.binding(at(1099), channel(0)), Some((peer(1), at(1100))));
        assert_eq!(channels.binding(at(1100), channel(0)), None);
        assert_eq!(channels.number(at(1100), peer(1)), None);
    }

    #[test]
    fn neither_number_nor_peer_is_bound_twice() {
        let mut channels = Channels::new(8);
        channels.bind(at(0), channel(0), peer(1)).unwrap();
        assert_eq!(channels.bind(at(1), channel(0), peer(2)), Err(BindError::Conflict));
        assert_eq!(channels.bind(at(1), channel(1), peer(1)), Err(BindError::Conflict));
        assert_eq!(channels.number(at(1), peer(1)), Some((channel(0), at(600))));
    }

    #[test]
    fn after_expiry_number_and_peer_are_free_for_others() {
        let mut channels = Channels::new(8);
        channels.bind(at(0), channel(0), peer(1)).unwrap();
        channels.bind(at(0), channel(1), peer(2)).unwrap();
        // Crosswise: both the number's old peer and the peer's old number must be gone.
        channels.bind(at(600), channel(0), peer(2)).unwrap();
        assert_eq!(channels.number(at(600), peer(2)), Some((channel(0), at(1200))));
        assert_eq!(channels.number(at(600), peer(1)), None);
        assert_eq!(channels.binding(at(600), channel(1)), None);
        channels.bind(at(600), channel(1), peer(1)).unwrap();
        assert_eq!(channels.bindings.len(), 2);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut channels = Channels::new(2);
        channels.bind(at(0), channel(0), peer(1)).unwrap();
        channels.bind(at(10), channel(1), peer(2)).unwrap();
        assert_eq!(channels.bind(at(20), channel(2), peer(3)), Err(BindError::Full));
        channels.bind(at(20), channel(1), peer(2)).unwrap();
        channels.bind(at(600), channel(2), peer(3)).unwrap();
        assert_eq!(channels.bindings.len(), 2);
    }
}
