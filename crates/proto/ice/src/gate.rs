use std::collections::{BTreeMap, VecDeque};

use crate::report::Drops;
use crate::route::Route;

/// How many early packets are held, and how many bytes of them.
const MAX_HELD_PACKETS: usize = 64;
const MAX_HELD_BYTES: usize = 96 * 1024;
/// How many ways are remembered.
const MAX_ROUTES: usize = 256;

/// Decides about application bytes by the way they came.
///
/// Only what comes from where a check of ours was answered is delivered (`ClientHello` races: CVE-2023-49786).
/// The other side may be faster and send as soon as its own check is answered: what comes from where an
/// authenticated check came is held until our own is answered, too.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    routes: BTreeMap<Route, Access>,
    /// The way that the last packet was delivered from: the next one probably comes there, too.
    last: Option<Route>,
    held: VecDeque<(Route, Vec<u8>)>,
    held_bytes: usize,
    /// What was learnt last of a way, until somebody asks.
    seen: Option<(Route, Access)>,
}

/// What is known of who is at the other end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An authenticated check came from there.
    Authenticated,
    /// A check of ours was answered from there.
    Validated,
}

impl Gate {
    /// Delivers, holds or drops a packet.
    pub(crate) fn pass(
        &mut self,
        route: Route,
        bytes: &mut [u8],
        drops: &mut Drops,
        deliver: &mut dyn FnMut(&mut [u8]),
    ) {
        if self.last == Some(route) {
            return deliver(bytes);
        }
        match self.routes.get(&route) {
            Some(Access::Validated) => {
                self.last = Some(route);
                deliver(bytes);
            }
            Some(Access::Authenticated) => self.hold(route, bytes, drops),
            None => drops.unvalidated += 1,
        }
    }

    fn hold(&mut self, route: Route, bytes: &[u8], drops: &mut Drops) {
        if self.held.len() >= MAX_HELD_PACKETS || self.held_bytes + bytes.len() > MAX_HELD_BYTES {
            drops.early_overflow += 1;
            return;
        }
        self.held_bytes += bytes.len();
        self.held.push_back((route, bytes.to_vec()));
    }

    /// An authenticated check came by `route`.
    pub(crate) fn authenticate(&mut self, route: Route) {
        self.seen = Some((route, Access::Authenticated));
        if self.routes.len() < MAX_ROUTES {
            self.routes.entry(route).or_insert(Access::Authenticated);
        }
    }

    /// A check of ours was answered by `route`.
    pub(crate) fn validate(&mut self, route: Route) {
        self.seen = Some((route, Access::Validated));
        if self.routes.len() < MAX_ROUTES || self.routes.contains_key(&route) {
            self.routes.insert(route, Access::Validated);
        }
    }

    /// Since the last call: what was learnt last.
    pub(crate) fn poll_seen(&mut self) -> Option<(Route, Access)> {
        self.seen.take()
    }

    /// Delivers what was held and need not be any more, in the order in which it came.
    pub(crate) fn release(&mut self, deliver: &mut dyn FnMut(&mut [u8])) {
        if self.held.is_empty() {
            return;
        }
        for (route, mut bytes) in std::mem::take(&mut self.held) {
            if self.routes.get(&route) == Some(&Access::Validated) {
                self.held_bytes -= bytes.len();
                deliver(&mut bytes);
            } else {
                self.held.push_back((route, bytes));
            }
        }
    }

    /// Nothing is taken from there any more.
    pub(crate) fn revoke(&mut self, route: Route) {
        self.retain(|other| *other != route);
    }

    /// Nothing is taken any more but from the ways that `keep` names.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Route) -> bool) {
        self.last = None;
        self.routes.retain(|route, _| keep(route));
        self.held.retain(|(route, _)| keep(route));
        self.held_bytes = self.held.iter().map(|(_, bytes)| bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use sansio::Path;

    use super::*;

    fn route(port: u16) -> Route {
        Route::Direct(Path::udp(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], port).into()))
    }

    fn pass(gate: &mut Gate, port: u16, byte: u8, drops: &mut Drops) -> Vec<u8> {
        let mut delivered = Vec::new();
        gate.pass(route(port), &mut [byte], drops, &mut |bytes| delivered.extend_from_slice(bytes));
        delivered
    }

    #[test]
    fn bytes_pass_only_where_a_check_was_answered() {
        let (mut gate, mut drops) = (Gate::default(), Drops::default());
        assert_eq!(pass(&mut gate, 1, 1, &mut drops), []);
        gate.validate(route(1));
        assert_eq!(pass(&mut gate, 1, 2, &mut drops), [2]);
        assert_eq!(pass(&mut gate, 1, 3, &mut drops), [3]);
        assert_eq!(pass(&mut gate, 2, 4, &mut drops), []);
        assert_eq!(drops.unvalidated, 2);
        gate.revoke(route(1));
        assert_eq!(pass(&mut gate, 1, 5, &mut drops), []);
    }

    #[test]
    fn early_bytes_of_an_authenticated_peer_are_held_in_order_and_bounded() {
        let (mut gate, mut drops) = (Gate::default(), Drops::default());
        gate.authenticate(route(1));
        gate.authenticate(route(2));
        for byte in 0..200 {
            assert_eq!(pass(&mut gate, 1 + u16::from(byte % 2), byte, &mut drops), []);
        }
        assert_eq!(drops.early_overflow, 200 - MAX_HELD_PACKETS as u64);
        gate.validate(route(1));
        gate.authenticate(route(1));
        let mut delivered = Vec::new();
        gate.release(&mut |bytes| delivered.extend_from_slice(bytes));
        assert_eq!(delivered, (0..MAX_HELD_PACKETS as u8).step_by(2).collect::<Vec<_>>());
        gate.release(&mut |_| panic!("once"));
        gate.validate(route(2));
        gate.release(&mut |bytes| delivered.extend_from_slice(bytes));
        assert_eq!(delivered.len(), MAX_HELD_PACKETS);
        assert_eq!(gate.held_bytes, 0);
    }
}
