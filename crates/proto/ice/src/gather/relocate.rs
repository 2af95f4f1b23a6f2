use std::net::SocketAddr;

use sansio::{Path, Transport};

use super::server::Resolution;
use super::socket::{Socket, SocketState};
use super::{Gatherer, Purpose, Supplies};
use crate::relay::{Relay, RelayId};
use crate::{AddressPolicy, Interface};

/// Allocations whose own socket or stream is gone go on by another (RFC 8016).
impl Gatherer {
    /// Has sockets bound for the allocations that are adrift and that no socket of ours can serve.
    pub(super) fn find_refuges(&mut self, s: &Supplies<'_>, usable: &[Interface]) {
        let ids: Vec<RelayId> = s.relays.adrift().map(|relay| relay.id).collect();
        for id in ids {
            let Some(relay) = s.relays.get(id) else { continue };
            let servers = self.addresses_of(relay);
            let serves = |interface: &Interface| servers.iter().any(|to| fits(interface, *to));
            let there = |socket: &Socket| socket.state != SocketState::Failed && serves(&socket.interface);
            if !self.sockets.iter().any(there)
                && let Some(interface) = usable.iter().find(|interface| serves(interface))
            {
                self.bind(interface.clone(), true);
            }
        }
    }

    /// Takes the allocations that are adrift along to what is there.
    pub(super) fn relocate(&mut self, s: &mut Supplies<'_>) {
        let mut ids: Vec<RelayId> = s.relays.adrift().map(|relay| relay.id).collect();
        ids.sort_unstable_by_key(|id| s.carrier != Some(*id));
        for id in ids {
            let Some(relay) = s.relays.get(id) else { continue };
            let way = self.way_to(relay);
            match relay.transport() {
                Transport::Udp => {
                    let Some(path) = way else { continue };
                    // There is one allocation for each 5-tuple (RFC 8656 §3.2).
                    match s.relays.at_path(&path) {
                        None => s.relays.migrate(s.now, id, path),
                        Some(_) => s.relays.wreck(s.now, id, "another allocation has taken its place"),
                    }
                }
                // The system chooses where a stream leaves from.
                Transport::Tcp | Transport::Tls | Transport::Dtls => {
                    let blind = s.config.address_policy == AddressPolicy::ProxyOnly;
                    if (blind || way.is_some()) && !self.is_connecting(id) {
                        let server_name = relay.spec.config.url.host.clone();
                        self.ask_relay(s, id, server_name);
                    }
                }
            }
        }
    }

    /// An address is gone: streams that are being opened for allocations adrift may come from there, and are opened anew.
    pub(super) fn give_up_connecting(&mut self, s: &Supplies<'_>) {
        for purpose in self.tickets.values_mut() {
            if matches!(purpose, Purpose::Connect(id) if s.relays.is_adrift(*id)) {
                *purpose = Purpose::Nothing;
            }
        }
    }

    fn is_connecting(&self, relay: RelayId) -> bool {
        self.tickets.values().any(|purpose| matches!(purpose, Purpose::Connect(other) if *other == relay))
    }

    /// From the preferred of our sockets to the server of an allocation.
    fn way_to(&self, relay: &Relay) -> Option<Path> {
        let bound = |socket: &Socket| match socket.state {
            SocketState::Bound { local, .. } => Some((socket.rank, local)),
            _ => None,
        };
        self.addresses_of(relay).into_iter().find_map(|to| {
            let fitting = self.sockets.iter().filter(|socket| fits(&socket.interface, to));
            let (_, local) = fitting.filter_map(bound).min_by_key(|(rank, _)| *rank)?;
            Some(Path::udp(local, to))
        })
    }

    /// Where the server of an allocation is: first where it was reached last. "The client could be roaming … from one
    /// address family to another" (RFC 8016 §3.1.2); a stream goes where it went.
    fn addresses_of(&self, relay: &Relay) -> Vec<SocketAddr> {
        let mut addresses = vec![relay.spec.address];
        let same = self.servers.get(relay.spec.server).filter(|it| it.config.url == relay.spec.config.url);
        if let (Some(Resolution::Known(known)), Transport::Udp) =
            (same.map(|server| &server.resolution), relay.transport())
            && known.contains(&relay.spec.address)
        {
            addresses.extend(known.iter().filter(|other| **other != relay.spec.address));
        }
        addresses
    }
}

/// Whether packets can go from there to a server.
fn fits(interface: &Interface, server: SocketAddr) -> bool {
    interface.address.is_ipv4() == server.is_ipv4()
        && interface.address.is_loopback() == server.ip().is_loopback()
}
