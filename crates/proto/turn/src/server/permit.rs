use std::net::{IpAddr, SocketAddr};

use sansio::Time;

use super::allocation::{AllocationId, Seats};
use super::permission::PERMISSION_LIFETIME;
use super::{Drop, Due, Full, Server};
use crate::attribute::Family;

/// A permission that an allocation has got, or has no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The address on this machine of the relay socket that the peer sends to.
    pub local: SocketAddr,
    /// The peer, whichever port he sends from.
    pub peer: IpAddr,
    /// Whether there is one from now on. At a socket that allocations share each has its own for the same peer: he is
    /// nobody's when all of them have ended.
    pub given: bool,
}

impl Server {
    /// A permission that came or went, each once: what comes from anybody else to a relay socket is dropped, and need not
    /// be handed in at all ([`Server::unpermitted`]). Ask until there is none, and before anything is sent that was
    /// written: peers may send as soon as the client has its answer. There are none unless
    /// [`ServerConfig::tells_permits`](crate::ServerConfig::tells_permits).
    pub fn poll_permit(&mut self) -> Option<Permit> {
        self.permits.pop_front()
    }

    /// So many datagrams of peers without a permission were not handed in.
    pub fn unpermitted(&mut self, datagrams: u64) {
        self.counters.drop_many(Drop::NoPermission, datagrams);
    }

    /// Installs or refreshes permissions for all of `addresses`, or for none.
    pub(super) fn permit(&mut self, now: Time, id: AllocationId, addresses: &[IpAddr]) -> Result<(), u16> {
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        let over = allocation.permissions.expire(now);
        let new = allocation.permissions.install(now, addresses);
        let seats = allocation.seats;
        self.tell_permits(&seats, over, false);
        self.tell_permits(&seats, new.map_err(|Full| 508u16)?, true);
        self.timers.set_earlier(Due::Allocation(id), now + PERMISSION_LIFETIME);
        Ok(())
    }

    /// Permissions for `peers` came or went, of an allocation with these relayed addresses.
    pub(super) fn tell_permits(
        &mut self,
        seats: &Seats,
        peers: impl IntoIterator<Item = IpAddr>,
        given: bool,
    ) {
        if !self.config.tells_permits {
            return;
        }
        for peer in peers {
            if let Some(seat) = seats.datagrams(Family::of(peer)) {
                self.permits.push_back(Permit { local: seat.local, peer, given });
            }
        }
    }
}
