//! One relay port for all allocations, told apart by their peers (decision 010).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Ticket, Time};
use stun::{Class, Message, Method};

use super::allocation::AllocationId;
use super::{Drop, Server};
use crate::attribute::plain;

/// Names that one allocation is known by: an ICE agent has one, and another after each restart.
const MAX_NAMES: usize = 8;
/// The longest username fragment (RFC 8445 §5.3).
const MAX_NAME: usize = 256;

/// Who has which peer at the relay port that all share.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    port: Option<u16>,
    /// By the number of the relay address.
    sockets: BTreeMap<usize, Socket>,
    /// Whose packets of a peer are, at which of our sockets.
    claims: BTreeMap<(SocketAddr, SocketAddr), AllocationId>,
    /// ICE's username fragments: an agent's own, as its checks tell them.
    names: BTreeMap<Vec<u8>, AllocationId>,
    holdings: BTreeMap<AllocationId, Holdings>,
}

#[derive(Debug)]
enum Socket {
    /// These wait for it.
    Binding(Vec<Ticket>),
    Bound {
        local: SocketAddr,
        relayed: SocketAddr,
    },
}

/// What one allocation has of what all share.
#[derive(Debug, Default)]
struct Holdings {
    claims: Vec<(SocketAddr, SocketAddr)>,
    names: Vec<Vec<u8>>,
    /// Whom it means by the address that it has itself.
    partner: Option<AllocationId>,
}

/// What a socket is to be done about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// It has to be bound.
    Binding,
    /// Somebody has it bound already.
    Patience,
    /// It is there.
    Nothing(SocketAddr),
}

impl Sharing {
    pub(super) fn new(port: Option<u16>) -> Self {
        Self { port, ..Self::default() }
    }

    /// The port that all share, if they share one.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// An allocation on this relay address needs the socket.
    pub(super) fn want(&mut self, relay: usize, ticket: Ticket) -> Needs {
        match self.sockets.get_mut(&relay) {
            None => {
                self.sockets.insert(relay, Socket::Binding(vec![ticket]));
                Needs::Binding
            }
            Some(Socket::Binding(waiting)) => {
                waiting.push(ticket);
                Needs::Patience
            }
            Some(Socket::Bound { local, .. }) => Needs::Nothing(*local),
        }
    }

    /// It is bound, for this ticket and for those that it returns.
    pub(super) fn bound(&mut self, relay: usize, local: SocketAddr, relayed: SocketAddr) -> Vec<Ticket> {
        match self.sockets.insert(relay, Socket::Bound { local, relayed }) {
            Some(Socket::Binding(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// It cannot be bound: whose hopes that ends.
    pub(super) fn failed(&mut self, relay: usize) -> Vec<Ticket> {
        match self.sockets.remove(&relay) {
            Some(Socket::Binding(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// Whether the socket that all share has this address on this machine.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.sockets.values().any(|socket| matches!(socket, Socket::Bound { local, .. } if *local == address))
    }

    /// Whether others know all allocations by this address.
    pub(super) fn is_relayed(&self, address: SocketAddr) -> bool {
        self.sockets
            .values()
            .any(|socket| matches!(socket, Socket::Bound { relayed, .. } if *relayed == address))
    }

    /// Whose packets of `peer` are.
    pub(super) fn holder(&self, local: SocketAddr, peer: SocketAddr) -> Option<AllocationId> {
        self.claims.get(&(local, peer)).copied()
    }

    /// Whom an allocation means by the address that all have.
    pub(super) fn partner(&self, id: AllocationId) -> Option<AllocationId> {
        self.holdings.get(&id)?.partner
    }

    fn take(&mut self, id: AllocationId, key: (SocketAddr, SocketAddr)) {
        if let Some(old) = self.claims.insert(key, id)
            && let Some(holdings) = self.holdings.get_mut(&old)
        {
            holdings.claims.retain(|claim| *claim != key);
        }
        self.holdings.entry(id).or_default().claims.push(key);
    }

    /// An agent's own name, by what it says in its checks.
    fn learn(&mut self, id: AllocationId, name: &[u8]) {
        let holdings = self.holdings.entry(id).or_default();
        // Who has it, has it.
        if name.is_empty() || name.len() > MAX_NAME || self.names.contains_key(name) {
            return;
        }
        if holdings.names.len() >= MAX_NAMES {
            let oldest = holdings.names.remove(0);
            self.names.remove(&oldest);
        }
        holdings.names.push(name.to_vec());
        self.names.insert(name.to_vec(), id);
    }

    /// An allocation is no more.
    pub(super) fn release(&mut self, id: AllocationId) {
        let Some(holdings) = self.holdings.remove(&id) else { return };
        holdings.claims.iter().for_each(|claim| _ = self.claims.remove(claim));
        holdings.names.iter().for_each(|name| _ = self.names.remove(name));
        self.holdings.values_mut().filter(|other| other.partner == Some(id)).for_each(|it| it.partner = None);
    }

    /// Whether it keeps nothing for anybody.
    pub(super) fn is_idle(&self) -> bool {
        self.claims.is_empty() && self.names.is_empty() && self.holdings.is_empty()
    }
}

/// Whom a connectivity check is for, and who sends it: the two halves of its USERNAME (RFC 8445 §7.2.2).
fn names(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let message = Message::parse(data).ok()?;
    if (message.class(), message.method()) != (Class::Request, Method::BINDING) {
        return None;
    }
    let (to, from) = message.username()?.split_once(':')?;
    Some((to.as_bytes().to_vec(), from.as_bytes().to_vec()))
}

impl Server {
    /// Whether packets of `peer` are for this allocation from now on, because its client sends to it or has bound a channel
    /// to it. Not, if they are another's who may have them: nobody takes a peer away from another.
    pub(super) fn claim(&mut self, now: Time, id: AllocationId, local: SocketAddr, peer: SocketAddr) -> bool {
        match self.sharing.holder(local, peer) {
            Some(holder) if holder == id => return true,
            Some(holder) => {
                let holds = |it: &mut super::allocation::Allocation| it.permissions.allows(now, peer.ip());
                if self.allocations.by_id(holder).is_some_and(holds) {
                    return false;
                }
                self.unsettle(holder);
            }
            None => {}
        }
        let limit = self.config.quotas.permissions;
        if self.sharing.holdings.get(&id).is_some_and(|held| held.claims.len() >= limit) {
            self.drop_old_claims(now, id);
        }
        if self.sharing.holdings.get(&id).is_some_and(|held| held.claims.len() >= limit) {
            return false;
        }
        self.sharing.take(id, (local, peer));
        true
    }

    /// Forgets the peers that the allocation has no permission for any more.
    fn drop_old_claims(&mut self, now: Time, id: AllocationId) {
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let Some(holdings) = self.sharing.holdings.get_mut(&id) else { return };
        let (kept, old): (Vec<_>, Vec<_>) =
            holdings.claims.drain(..).partition(|(_, peer)| allocation.permissions.allows(now, peer.ip()));
        holdings.claims = kept;
        old.iter().for_each(|claim| _ = self.sharing.claims.remove(claim));
    }

    /// Learns from a connectivity check of this allocation's client what its agent is called.
    pub(super) fn learn_name(&mut self, id: AllocationId, data: &[u8]) {
        if let Some((_, from)) = names(data) {
            self.sharing.learn(id, &from);
        }
    }

    /// Whom the client means who sends this to the address that all allocations have: who has the name in its check, and
    /// after that the same.
    pub(super) fn find_partner(&mut self, id: AllocationId, data: &[u8]) -> Option<AllocationId> {
        if let Some((to, _)) = names(data) {
            let named = self.sharing.names.get(&to).copied().filter(|other| *other != id)?;
            let before = self.sharing.holdings.entry(id).or_default().partner.replace(named);
            if before != Some(named) {
                self.unsettle(id);
            }
            // So that it can be answered.
            self.sharing.holdings.entry(named).or_default().partner.get_or_insert(id);
        }
        self.sharing.partner(id)
    }

    /// A packet that the network brought to the port that all share: it is for whom it names, if it is a connectivity
    /// check, and otherwise for who has sent to the peer.
    pub(super) fn relay_shared(
        &mut self,
        now: Time,
        local: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
        out: &mut dyn Outbox,
    ) {
        if !self.is_foreign(peer.ip()) {
            return self.counters.drop(Drop::Own);
        }
        let peer = plain(peer);
        let named = names(data).and_then(|(to, _)| self.sharing.names.get(&to).copied());
        let named = named.filter(|id| self.permits(now, *id, peer.ip()));
        match named.or_else(|| self.sharing.holder(local, peer)) {
            Some(id) => self.hand_to_client(now, id, peer, data, out),
            None => self.counters.drop(Drop::NoPermission),
        }
    }

    fn permits(&mut self, now: Time, id: AllocationId, address: IpAddr) -> bool {
        self.allocations.by_id(id).is_some_and(|allocation| allocation.permissions.allows(now, address))
    }
}
