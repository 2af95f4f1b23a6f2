use std::net::{IpAddr, SocketAddr};

use sansio::{SocketError, SocketOp, unmapped};

use super::{Gatherer, Purpose, Supplies};
use crate::local::BaseId;
use crate::priority::{MAX_RANKS, local_preference, order};
use crate::route::may_be_host;
use crate::{AddressPolicy, Config, Interface, InterfaceKind};

/// How many sockets one agent has at most.
const MAX_SOCKETS: usize = 32;

/// The UDP socket on one of our addresses.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) interface: Interface,
    /// Its place in the order of preference.
    pub(crate) rank: usize,
    pub(crate) state: SocketState,
    /// The `.local` name that hides its address.
    pub(crate) name: Option<String>,
    /// It was opened for allocations that have lost their own: servers are asked nothing else from here before the next
    /// gathering.
    pub(crate) refuge: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketState {
    Binding,
    Bound { local: SocketAddr, base: BaseId },
    Failed,
}

impl Socket {
    /// The address that it is bound to.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self.state {
            SocketState::Bound { local, .. } => Some(local),
            _ => None,
        }
    }
}

impl Gatherer {
    /// Binds sockets on addresses that are new, and closes those on addresses that are gone.
    pub(super) fn match_interfaces(&mut self, s: &mut Supplies<'_>, interfaces: &[Interface]) {
        let usable = usable(s.config, interfaces);
        self.release_all_but(s, &usable);
        self.sockets.retain(|socket| socket.state != SocketState::Failed);
        self.sockets.iter_mut().for_each(|socket| socket.refuge = false);
        if self.told != s.ufrag {
            self.rank_anew(s, &usable);
        }
        for interface in usable {
            if self.sockets.iter().all(|socket| socket.interface.address != interface.address) {
                self.expecting |= self.bind(interface, false) && s.config.expect_mappings;
            }
        }
        self.relocate(s);
    }

    /// Has a socket bound, unless there are too many.
    pub(super) fn bind(&mut self, interface: Interface, refuge: bool) -> bool {
        // A rank is for the session: priorities that were signalled do not change.
        let taken = |rank: &usize| self.sockets.iter().any(|socket| socket.rank == *rank);
        let Some(rank) = (0..MAX_RANKS).find(|rank| !taken(rank)) else { return false };
        let ticket = self.ticket();
        self.tickets.insert(ticket, Purpose::Bind(interface.address));
        self.ops.push_back(SocketOp::Bind { ticket, local: SocketAddr::new(interface.address, 0) });
        self.sockets.push(Socket { interface, rank, state: SocketState::Binding, name: None, refuge });
        true
    }

    /// In a new ICE session the order of preference may be another one: there may be better addresses by now.
    fn rank_anew(&mut self, s: &mut Supplies<'_>, usable: &[Interface]) {
        for socket in &mut self.sockets {
            let Some(rank) = usable.iter().position(|it| it.address == socket.interface.address) else {
                continue;
            };
            let old = std::mem::replace(&mut socket.rank, rank);
            let SocketState::Bound { local, base } = socket.state else { continue };
            s.locals.rank_anew(base, old, rank);
            let relays: Vec<_> = s
                .relays
                .iter()
                .filter(|relay| relay.spec.local == Some(local))
                .map(|relay| relay.id)
                .collect();
            for relay in relays {
                s.relays.set_rank(relay, rank);
                let bases: Vec<BaseId> = s.locals.bases_on(relay).collect();
                bases.into_iter().for_each(|base| s.locals.rank_anew(base, old, rank));
            }
        }
    }

    /// Closes the sockets on addresses that are gone. Allocations that were talked to from there go on from others.
    pub(crate) fn release(&mut self, s: &mut Supplies<'_>, interfaces: &[Interface]) {
        let usable = usable(s.config, interfaces);
        self.release_all_but(s, &usable);
        self.find_refuges(s, &usable);
    }

    fn release_all_but(&mut self, s: &mut Supplies<'_>, wanted: &[Interface]) {
        let is_wanted = |socket: &Socket| wanted.iter().any(|i| i.address == socket.interface.address);
        let gone: Vec<Socket> = self.sockets.extract_if(.., |socket| !is_wanted(socket)).collect();
        if !gone.is_empty() {
            self.give_up_connecting(s);
        }
        for socket in gone {
            if let SocketState::Bound { local, base } = socket.state {
                s.relays.path_of_socket_lost(s.now, local);
                self.ops.push_back(SocketOp::Unbind { local });
                self.lost.push(base);
            }
        }
        self.close_barrels(|local| wanted.iter().any(|interface| interface.address == local.ip()));
    }

    /// A socket is there.
    pub(super) fn bound(&mut self, s: &mut Supplies<'_>, ip: IpAddr, local: SocketAddr) {
        let Some(at) = self.binding(ip) else {
            // The address went away in the meantime.
            return self.ops.push_back(SocketOp::Unbind { local });
        };
        let local = unmapped(local);
        let base = s.locals.add_base(local, None, local_preference(0, self.sockets[at].rank, 0));
        self.sockets[at].state = SocketState::Bound { local, base };
        self.publish_host(s, at);
        self.relocate(s);
        if !self.sockets[at].refuge {
            self.ask_servers(s);
        }
    }

    /// The addresses that our sockets are bound to.
    pub(crate) fn locals(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(Socket::local)
    }

    /// There is no socket to be had on an address.
    pub(super) fn not_bound(&mut self, ip: IpAddr, error: &SocketError) {
        tracing::debug!(%ip, %error, "cannot bind");
        if let Some(at) = self.binding(ip) {
            self.sockets[at].state = SocketState::Failed;
        }
    }

    fn binding(&self, ip: IpAddr) -> Option<usize> {
        let is = |socket: &Socket| socket.interface.address == ip && socket.state == SocketState::Binding;
        self.sockets.iter().position(is)
    }
}

/// The addresses to bind sockets on, the preferred first (RFC 8445 §5.1.1.1).
fn usable(config: &Config, interfaces: &[Interface]) -> Vec<Interface> {
    let mut usable: Vec<Interface> = Vec::new();
    for interface in interfaces {
        let address = unmapped(SocketAddr::new(interface.address, 0)).ip();
        let allowed = match config.address_policy {
            AddressPolicy::All => true,
            AddressPolicy::DefaultRoute | AddressPolicy::DefaultRouteOnly => interface.default_route,
            AddressPolicy::ProxyOnly => false,
        };
        if allowed && may_be_host(address) && !usable.iter().any(|other| other.address == address) {
            usable.push(Interface { address, ..interface.clone() });
        }
    }
    // "MUST NOT be gathered" of addresses that a temporary one of the same interface and prefix hides.
    let hidden = |interface: &Interface| {
        !interface.temporary
            && usable.iter().any(|other| {
                other.temporary
                    && other.name == interface.name
                    && same_prefix(other.address, interface.address)
            })
    };
    let kept: Vec<Interface> = usable.iter().filter(|interface| !hidden(interface)).cloned().collect();
    let is_loopback = |i: &Interface| i.address.is_loopback() || i.kind == InterfaceKind::Loopback;
    let only_loopback = kept.iter().all(is_loopback);
    let mut kept: Vec<Interface> =
        kept.into_iter().filter(|i| config.include_loopback || only_loopback || !is_loopback(i)).collect();
    let ranked = order(&kept);
    kept = ranked.into_iter().map(|at| kept[at].clone()).collect();
    kept.truncate(MAX_SOCKETS);
    kept
}

/// Whether two IPv6 addresses are in the same /64.
fn same_prefix(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    fn addresses(config: &Config, interfaces: &[Interface]) -> Vec<String> {
        usable(config, interfaces).iter().map(|interface| interface.address.to_string()).collect()
    }

    fn on(address: &str) -> Interface {
        Interface::new("eth0", address.parse().unwrap())
    }

    #[test]
    fn loopback_is_used_when_asked_for_or_when_there_is_nothing_else() {
        let mut config = Config::new(Seed::from(1));
        assert_eq!(addresses(&config, &[on("127.0.0.1"), on("10.0.0.1")]), ["10.0.0.1"]);
        assert_eq!(addresses(&config, &[on("127.0.0.1")]), ["127.0.0.1"]);
        config.include_loopback = true;
        assert_eq!(addresses(&config, &[on("127.0.0.1"), on("10.0.0.1")]), ["10.0.0.1", "127.0.0.1"]);
    }

    #[test]
    fn a_temporary_address_hides_the_permanent_one_of_its_prefix() {
        let config = Config::new(Seed::from(1));
        let temporary = Interface { temporary: true, ..on("2001:db8::77") };
        let interfaces =
            [on("2001:db8::1"), temporary, on("2001:db8:1::1"), on("fe80::1"), on("::ffff:10.0.0.1")];
        assert_eq!(addresses(&config, &interfaces), ["2001:db8::77", "2001:db8:1::1", "10.0.0.1"]);
    }

    #[test]
    fn modes_2_and_3_use_the_default_route_and_mode_4_no_socket() {
        let mut config = Config::new(Seed::from(1));
        let interfaces = [Interface { default_route: false, ..on("10.0.0.1") }, on("10.0.0.2")];
        for (policy, expected) in [
            (AddressPolicy::All, 2),
            (AddressPolicy::DefaultRoute, 1),
            (AddressPolicy::DefaultRouteOnly, 1),
            (AddressPolicy::ProxyOnly, 0),
        ] {
            config.address_policy = policy;
            assert_eq!(addresses(&config, &interfaces).len(), expected);
        }
    }
}
