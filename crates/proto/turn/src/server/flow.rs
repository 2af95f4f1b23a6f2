use std::net::{IpAddr, SocketAddr};

use sansio::{Path, Time, Transport};
use stun::{HEADER_BYTES, Method, TransactionId};

use super::Server;
use super::allocation::{AllocationId, Seat};
use super::relaying::Reach;
use crate::attribute::{Family, plain};
use crate::channel::{CHANNEL_DATA_HEADER, ChannelNumber};
use crate::indication::{indication_overhead, write_indication};

/// What comes in, as far as it decides where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// ChannelData of a client.
    Channel {
        /// The client.
        client: Path,
        /// The channel.
        number: ChannelNumber,
    },
    /// A Send indication of a client.
    Send {
        /// The client.
        client: Path,
        /// The peer it is for.
        peer: SocketAddr,
    },
    /// A datagram that the network brought to a relayed address.
    Peer {
        /// The relay socket's address on this machine.
        local: SocketAddr,
        /// Where it came from.
        peer: SocketAddr,
    },
}

/// What becomes of all that takes the same [`Passage`], until it expires or [`Server::poll_stale`] takes it back.
///
/// With it, whoever moves the bytes need not ask for each datagram: he strips the header of what a client sent, puts the
/// one of [`Framing`] in front, and tells by [`Server::carried`] how much it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The allocation whose client sends, if it is a client's.
    pub source: Option<AllocationId>,
    /// The allocation whose client receives, if it is for a client: both are there between two allocations.
    pub target: Option<AllocationId>,
    /// Where it goes.
    pub to: Path,
    /// How it is written there.
    pub framing: Framing,
    /// From then on it is to be asked for again.
    pub until: Time,
    /// Bytes of application data after which it is to be asked for again; `None`: any number.
    pub allowance: Option<u64>,
}

/// How application data is written on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As it is, to a peer.
    Plain,
    /// As ChannelData, to a client.
    Channel(ChannelNumber),
    /// In a Data indication that names the peer, to a client.
    Data(SocketAddr),
}

impl Framing {
    /// Bytes that stand in front of the application data.
    #[inline]
    pub fn header(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Channel(_) => CHANNEL_DATA_HEADER,
            Self::Data(peer) => indication_overhead(peer),
        }
    }

    /// Bytes that follow `length` bytes of application data in a datagram.
    #[inline]
    pub fn padding(self, length: usize) -> usize {
        match self {
            Self::Plain | Self::Channel(_) => 0,
            Self::Data(_) => length.next_multiple_of(4) - length,
        }
    }

    /// Writes what stands in front of `length` bytes of application data into `header`, which has
    /// [`Framing::header`] bytes. `id` is for indications, each of which has another.
    pub fn write_header(self, header: &mut [u8], length: usize, id: TransactionId) {
        match self {
            Self::Plain => {}
            Self::Channel(number) => {
                header[..2].copy_from_slice(&number.number().to_be_bytes());
                header[2..].copy_from_slice(&(length as u16).to_be_bytes());
            }
            Self::Data(peer) => {
                // Without data, whose length is then put in.
                write_indication(header, Method::DATA, id, peer, 0, &mut |_| 0);
                let end = header.len();
                let total = end - HEADER_BYTES + length.next_multiple_of(4);
                header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
                header[end - 2..].copy_from_slice(&(length as u16).to_be_bytes());
            }
        }
    }
}

impl Server {
    /// What becomes of what takes `passage`. `None`: [`handle_datagram`](sansio::Machine::handle_datagram) decides about
    /// each datagram, or drops it.
    pub fn flow(&mut self, now: Time, passage: Passage) -> Option<Flow> {
        if let Passage::Channel { client, .. } | Passage::Send { client, .. } = passage {
            let (id, allocation) = self.allocations.by_client(client)?;
            // The first data from where the client has moved to.
            if allocation.client != client {
                self.arrive(id);
            }
        }
        let flow = match passage {
            Passage::Channel { client, number } => {
                let (id, allocation) = self.allocations.by_client(client)?;
                let (peer, until) = allocation.channels.binding(now, number)?;
                let seat = *allocation.seats.datagrams(Family::of(peer.ip()))?;
                self.outbound(now, id, seat, peer, until)
            }
            Passage::Send { client, peer } => {
                let (id, allocation) = self.allocations.by_client(client)?;
                let peer = plain(peer);
                if peer.port() == 0 {
                    return None;
                }
                let seat = *allocation.seats.datagrams(Family::of(peer.ip()))?;
                let until = allocation.permissions.until(now, peer.ip())?;
                self.outbound(now, id, seat, peer, until)
            }
            Passage::Peer { local, peer } => {
                let peer = plain(peer);
                let holder = || self.sharing.holder(local, peer);
                let id = self.allocations.id_by_local(local).or_else(holder)?;
                if self.is_foreign(peer.ip()) { self.inbound(now, id, peer) } else { None }
            }
        }?;
        // What goes by a stream passes through the machine's outbox.
        if flow.to.transport != Transport::Udp {
            return None;
        }
        let flow = Flow { allowance: self.allowance(now, flow.source, flow.target)?, ..flow };
        for id in [flow.source, flow.target].into_iter().flatten() {
            self.allocations.by_id(id)?.in_flows = true;
        }
        Some(flow)
    }

    /// An allocation whose flows are no longer what [`Server::flow`] said. Ask until there is none, before anything else
    /// is carried.
    pub fn poll_stale(&mut self) -> Option<AllocationId> {
        self.stale.pop_front()
    }

    /// `flow` carried so many datagrams with so many bytes of application data.
    pub fn carried(&mut self, flow: &Flow, packets: u64, bytes: u64) {
        if let Some(id) = flow.source {
            self.counters.packets_to_peers += packets;
            self.counters.bytes_to_peers += bytes;
            if let Some(allocation) = self.allocations.by_id(id) {
                allocation.bytes_to_peers += bytes;
            }
        }
        if let Some(id) = flow.target {
            self.counters.packets_to_clients += packets;
            self.counters.bytes_to_clients += bytes;
            if let Some(allocation) = self.allocations.by_id(id) {
                allocation.bytes_to_client += bytes;
            }
        }
    }

    /// So many datagrams did not leave by `path`, or were never handed in that had come by it. They count for the session
    /// whose they were, if there is one, and are told at its end.
    pub fn lost(&mut self, path: Path, datagrams: u64) {
        let peer = plain(path.remote);
        let of_relay = || match path.transport {
            Transport::Udp => {
                let holder = || self.sharing.holder(path.local, peer);
                self.allocations.id_by_local(path.local).or_else(holder)
            }
            _ => None,
        };
        let id = of_relay().or_else(|| self.allocations.id_by_client(path));
        if let Some(allocation) = id.and_then(|id| self.allocations.by_id(id)) {
            allocation.lost += datagrams;
        }
    }

    /// The flows of an allocation are no longer as they were: it has moved or ended, or one of its peers has a channel now.
    pub(super) fn unsettle(&mut self, id: AllocationId) {
        if let Some(allocation) = self.allocations.by_id(id)
            && std::mem::take(&mut allocation.in_flows)
        {
            self.stale.push_back(id);
        }
    }

    /// From a client to a peer.
    fn outbound(
        &mut self,
        now: Time,
        id: AllocationId,
        Seat { local, relayed, shared, .. }: Seat,
        peer: SocketAddr,
        until: Time,
    ) -> Option<Flow> {
        match self.reach(peer).ok()? {
            // The machine looks for names in what goes there.
            Reach::Shared => None,
            Reach::Network if shared && self.sharing.holder(local, peer) != Some(id) => None,
            Reach::Network => Some(Flow {
                source: Some(id),
                target: None,
                to: Path::udp(local, peer),
                framing: Framing::Plain,
                until,
                allowance: None,
            }),
            Reach::Inside(other) => {
                let flow = self.inbound(now, other, relayed)?;
                Some(Flow { source: Some(id), until: flow.until.min(until), ..flow })
            }
        }
    }

    /// From a peer to a client.
    fn inbound(&mut self, now: Time, id: AllocationId, peer: SocketAddr) -> Option<Flow> {
        let allocation = self.allocations.by_id(id)?;
        let permitted = allocation.permissions.until(now, peer.ip())?;
        let (framing, until) = match allocation.channels.number(now, peer) {
            Some((number, until)) => (Framing::Channel(number), permitted.min(until)),
            None => (Framing::Data(peer), permitted),
        };
        let to = allocation.destination()?;
        Some(Flow { source: None, target: Some(id), to, framing, until, allowance: None })
    }

    /// Whether what comes from `address` comes from the network, and not from one of our own addresses.
    pub(super) fn is_foreign(&self, address: IpAddr) -> bool {
        !self.is_own(address) || self.config.policy.allows(address)
    }
}
