use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path, Rng, Ticket};
use stun::{Class, HEADER_BYTES, Message, MessageWriter, Method, TransactionId};

use super::Allocation;
use super::allocation::ahead;
use crate::route::plain;

/// How many sockets ask a server. Each of them has a mapping of its own, the first that it makes.
const SCOUTS: usize = 3;

/// Fresh sockets that ask a STUN server, while we gather, how our NAT gives ports to new mappings; and one more, the
/// herald, that asks nobody: if the NAT keeps ports, its first mapping will have its own, and is foreseen by that.
#[derive(Debug, Default)]
pub(crate) struct Scouts {
    server: Option<SocketAddr>,
    pending: Vec<Ticket>,
    list: Vec<Scout>,
    herald: Option<SocketAddr>,
    /// Where a hole of ours will be, and how that was foreseen.
    pub(crate) forecast: Option<Forecast>,
}

#[derive(Debug)]
struct Scout {
    local: SocketAddr,
    id: TransactionId,
    due: bool,
    mapped: Option<SocketAddr>,
}

/// What the scouts have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    pub(crate) allocation: Allocation,
    /// Where the other side may aim at, if that can be foreseen.
    pub(crate) aim: Option<SocketAddr>,
}

impl Scouts {
    /// Whether they were sent out already.
    pub(crate) fn are_out(&self) -> bool {
        self.server.is_some()
    }

    /// Whether their answers are awaited.
    pub(crate) fn are_pending(&self) -> bool {
        self.are_out() && self.forecast.is_none()
    }

    /// Sends them out to a server: how many sockets are to be bound.
    pub(crate) fn send_out(&mut self, server: SocketAddr) -> usize {
        self.server = Some(server);
        SCOUTS + 1
    }

    /// A wish for a socket is under way.
    pub(crate) fn asked(&mut self, ticket: Ticket) {
        self.pending.push(ticket);
    }

    /// Whether this wish is one of the scouts'.
    pub(crate) fn awaits(&self, ticket: Ticket) -> bool {
        self.pending.contains(&ticket)
    }

    /// A wish was answered. Returns how many scouts may ask now: all, once all are there.
    pub(crate) fn answered(&mut self, rng: &mut Rng, ticket: Ticket, bound: Option<SocketAddr>) -> usize {
        self.pending.retain(|other| *other != ticket);
        match bound {
            Some(local) if self.list.len() < SCOUTS => {
                let id = TransactionId::random(rng);
                self.list.push(Scout { local, id, due: false, mapped: None });
            }
            Some(local) => self.herald = Some(local),
            None => self.forecast = Some(Forecast { allocation: Allocation::Scattered, aim: None }),
        }
        if !self.pending.is_empty() || self.forecast.is_some() {
            return 0;
        }
        // Downwards: where neighbours follow upon neighbours, upwards would look like counting.
        self.list.sort_unstable_by_key(|scout| std::cmp::Reverse(scout.local.port()));
        self.list.len()
    }

    /// It is the turn of the scout at this place.
    pub(crate) fn start(&mut self, at: usize) {
        if let Some(scout) = self.list.get_mut(at) {
            scout.due = true;
        }
    }

    /// Writes the questions that are due. They are asked once: without an answer nothing is foreseen.
    pub(crate) fn poll_transmit(&mut self, out: &mut dyn Outbox) {
        let Some(server) = self.server else { return };
        for scout in self.list.iter_mut().filter(|scout| scout.due) {
            let mut fill = |buffer: &mut [u8]| {
                MessageWriter::new(buffer, Class::Request, Method::BINDING, scout.id).finish().unwrap_or(0)
            };
            if !out.send(Path::udp(scout.local, server), HEADER_BYTES, &mut fill) {
                return;
            }
            scout.due = false;
        }
    }

    /// Takes an answer; `reach` is how many mappings ahead a forecast shall look. Returns whether it was one.
    pub(crate) fn handle(&mut self, path: Path, message: &Message<'_>, reach: usize) -> bool {
        let ours = |scout: &&mut Scout| {
            scout.local == path.local
                && Some(path.remote) == self.server
                && scout.id == message.transaction_id()
        };
        let Some(scout) = self.list.iter_mut().find(ours) else { return false };
        scout.mapped = message.xor_mapped_address().map(plain).filter(|_| message.class() == Class::Success);
        if self.forecast.is_none() {
            self.forecast = self.foresee(reach);
        }
        true
    }

    fn foresee(&self, reach: usize) -> Option<Forecast> {
        let mapped: Vec<SocketAddr> = self.list.iter().map(|scout| scout.mapped).collect::<Option<_>>()?;
        let last = *mapped.last()?;
        let ports = self.list.iter().zip(&mapped).map(|(scout, mapped)| (scout.local.port(), mapped.port()));
        let one_address = mapped.iter().all(|other| other.ip() == last.ip());
        let allocation = match one_address {
            true => Allocation::of(&ports.collect::<Vec<_>>()),
            false => Allocation::Scattered,
        };
        let aim = match allocation {
            Allocation::Preserving => self.herald.map(|herald| SocketAddr::new(last.ip(), herald.port())),
            Allocation::Sequential(stride) => ahead(last, stride, reach),
            Allocation::Scattered => None,
        };
        tracing::debug!(?allocation, ?aim, "our NAT's next ports");
        Some(Forecast { allocation, aim })
    }

    /// The herald, if the forecast is about it: from now on it belongs to the battery.
    pub(crate) fn take_herald(&mut self) -> Option<SocketAddr> {
        let kept = self.forecast.is_some_and(|it| it.allocation == Allocation::Preserving);
        self.herald.take_if(|_| kept)
    }

    /// Sends them home: the sockets that are to be closed. The forecast stays; the herald stays with it.
    pub(crate) fn dismiss(&mut self) -> Vec<SocketAddr> {
        self.pending.clear();
        if self.are_pending() {
            self.forecast = Some(Forecast { allocation: Allocation::Scattered, aim: None });
        }
        let kept = self.forecast.is_some_and(|it| it.allocation == Allocation::Preserving);
        let herald = if kept { None } else { self.herald.take() };
        self.list.drain(..).map(|scout| scout.local).chain(herald).collect()
    }

    /// Forgets everything: the sockets that are to be closed.
    pub(crate) fn forget(&mut self) -> Vec<SocketAddr> {
        let all = self.list.drain(..).map(|scout| scout.local).chain(self.herald.take()).collect();
        *self = Self::default();
        all
    }

    /// The address that they are on.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.herald.or(self.list.first().map(|scout| scout.local)).map(|local| local.ip())
    }
}
