use std::net::{IpAddr, SocketAddr};

use sansio::Ticket;

use crate::local::BaseId;

/// Many sockets, each of which makes a hole of its own in our NAT: at a port that we cannot know, but each at another one.
#[derive(Debug, Default)]
pub(crate) struct Battery {
    /// By their ports.
    barrels: Vec<Barrel>,
    pending: Vec<Ticket>,
    /// How many more are wanted, once the first is there.
    wanted: usize,
    /// The one that was there before, whose port was announced.
    herald: Option<SocketAddr>,
}

/// One of the sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrel {
    pub(crate) local: SocketAddr,
    pub(crate) base: BaseId,
}

/// What the battery wants bound: on this address, with this port or any.
pub(crate) type Wish = SocketAddr;

impl Battery {
    /// Asks for `count` sockets on an address. The first may have any port; the others shall follow upon it, because a
    /// NAT that gives neighbours to neighbours (RFC 4787 §4.2.3) then makes one row of them, which is easily found.
    pub(crate) fn open(&mut self, ip: IpAddr, count: usize) -> Option<Wish> {
        self.wanted = count.checked_sub(1)?;
        Some(SocketAddr::new(ip, 0))
    }

    /// A wish is under way.
    pub(crate) fn asked(&mut self, ticket: Ticket) {
        self.pending.push(ticket);
    }

    /// A wish was answered; what is to be bound next.
    pub(crate) fn answered(&mut self, ticket: Ticket, bound: Option<Barrel>) -> Vec<Wish> {
        self.pending.retain(|other| *other != ticket);
        let Some(barrel) = bound else { return Vec::new() };
        self.add(barrel);
        let wanted = std::mem::take(&mut self.wanted);
        (1..=wanted)
            .filter_map(|n| {
                let port = barrel.local.port().checked_add(u16::try_from(n).ok()?)?;
                Some(SocketAddr::new(barrel.local.ip(), port))
            })
            .collect()
    }

    /// Takes the herald, which is bound already.
    pub(crate) fn add_herald(&mut self, barrel: Barrel) {
        self.herald = Some(barrel.local);
        self.add(barrel);
    }

    /// Whether this is the herald.
    pub(crate) fn is_herald(&self, barrel: &Barrel) -> bool {
        self.herald == Some(barrel.local)
    }

    fn add(&mut self, barrel: Barrel) {
        let at = self.barrels.partition_point(|other| other.local.port() < barrel.local.port());
        self.barrels.insert(at, barrel);
    }

    /// Whether all sockets are there that are to come.
    pub(crate) fn is_ready(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether this wish is one of the battery's.
    pub(crate) fn awaits(&self, ticket: Ticket) -> bool {
        self.pending.contains(&ticket)
    }

    /// The sockets, by their ports.
    pub(crate) fn barrels(&self) -> &[Barrel] {
        &self.barrels
    }

    /// Takes out the sockets that nobody wants to keep. Those that are still to come are not wanted either.
    pub(crate) fn drain(&mut self, keep: impl Fn(&Barrel) -> bool) -> Vec<Barrel> {
        self.pending.clear();
        self.wanted = 0;
        self.barrels.extract_if(.., |barrel| !keep(barrel)).collect()
    }
}
