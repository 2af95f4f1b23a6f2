use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, Seed, Time, Transport};
use turn::Client;

use super::{Relay, RelayId, Relays, set_timer};

/// Who hangs up sooner than this after he has taken us is not asked again.
const TRUSTED_AFTER: Duration = Duration::from_secs(5);

/// How an allocation is tied to an address of ours (RFC 8016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mooring {
    /// It has a way to its server.
    Fast {
        /// Since when it has this one.
        since: Time,
    },
    /// Its socket or stream is gone: it waits for another one. Nothing can be sent.
    Adrift,
    /// The server was asked to take it as it comes by another way, and has not answered.
    Moving,
}

impl Mooring {
    /// Whether packets can go.
    pub(crate) fn is_fast(self) -> bool {
        matches!(self, Self::Fast { .. })
    }
}

/// Allocations that outlive the address that they were made from.
impl Relays {
    /// A stream to a server broke.
    pub(crate) fn path_lost(&mut self, now: Time, path: &Path, why: &str) {
        let relay = self.at_path(path).and_then(|id| self.get(id));
        // A server that does not want us may say so each time.
        let trusted = relay.is_some_and(|relay| match relay.mooring {
            Mooring::Fast { since } => since + TRUSTED_AFTER <= now,
            Mooring::Adrift | Mooring::Moving => false,
        });
        self.cast_off(now, path, why, trusted);
    }

    /// The way to a server is gone; `again`: another one may be looked for.
    fn cast_off(&mut self, now: Time, path: &Path, why: &str, again: bool) {
        let Some(id) = self.at_path(path) else { return };
        let Some(relay) = self.list.get_mut(&id) else { return };
        let Some(client) = &mut relay.client else { return };
        if again && client.is_mobile() && !relay.closing {
            tracing::debug!(%path, why, "the way to a TURN server is gone");
            relay.mooring = Mooring::Adrift;
            self.by_path.remove(path);
        } else {
            client.path_lost(now, why);
        }
        self.sync(id);
    }

    /// A socket of ours is gone: allocations that were talked to from it are lost, or adrift.
    pub(crate) fn path_of_socket_lost(&mut self, now: Time, local: SocketAddr) {
        // A stream from that address has a port of its own, and is lost as well.
        let is_lost = |path: &&Path| match path.transport {
            Transport::Udp => path.local == local,
            Transport::Tcp | Transport::Tls | Transport::Dtls => path.local.ip() == local.ip(),
        };
        let paths: Vec<Path> = self.by_path.keys().filter(is_lost).copied().collect();
        for path in &paths {
            self.cast_off(now, path, "our own address is gone", true);
        }
    }

    /// The allocations that have no way to their servers and could go on by another.
    pub(crate) fn adrift(&self) -> impl Iterator<Item = &Relay> {
        self.list.values().filter(|relay| relay.mooring == Mooring::Adrift)
    }

    /// Whether an allocation is one of these.
    pub(crate) fn is_adrift(&self, id: RelayId) -> bool {
        self.get(id).is_some_and(|relay| relay.mooring == Mooring::Adrift)
    }

    /// There is a stream to a server: it is asked for an allocation, or to take one as it comes.
    pub(crate) fn connected(&mut self, now: Time, id: RelayId, path: Path, seed: Seed) {
        if self.is_adrift(id) { self.migrate(now, id, path) } else { self.start(now, id, path, seed) }
    }

    /// Takes an allocation along: its server is reached by `path` now.
    pub(crate) fn migrate(&mut self, now: Time, id: RelayId, path: Path) {
        let Some(relay) = self.list.get_mut(&id) else { return };
        let Some(client) = &mut relay.client else { return };
        if client.migrate(now, path).is_ok() {
            relay.mooring = Mooring::Moving;
            (relay.spec.local, relay.spec.address) = (Some(path.local), path.remote);
            self.by_path.insert(path, id);
            self.sync(id);
        }
    }

    /// There is no other way to the server of an allocation that is adrift.
    pub(crate) fn wreck(&mut self, now: Time, id: RelayId, why: &str) {
        if let Some(client) = self.get_mut(id).and_then(|relay| relay.client.as_mut()) {
            client.path_lost(now, why);
            self.sync(id);
        }
    }

    /// Asks servers whether they still know us: see [`Client::make_sure`].
    pub(crate) fn make_sure(&mut self, now: Time, which: impl Fn(RelayId) -> bool) {
        let Self { list, timers, .. } = self;
        for relay in list.values_mut().filter(|relay| relay.mooring.is_fast() && which(relay.id)) {
            if let Some(client) = &mut relay.client {
                client.make_sure(now);
                set_timer(timers, relay.id, client.poll_timeout());
            }
        }
    }

    /// The 5-tuple to the server of an allocation, unless it is adrift.
    pub(crate) fn path(&self, id: RelayId) -> Option<Path> {
        let relay = self.get(id).filter(|relay| relay.mooring.is_fast())?;
        relay.client.as_ref().map(Client::server)
    }
}
