//! DTLS under one end of a trial: what the client of TURN says goes through it.

use crypto::Certificate;
use dtls::{Config, ConfigError, Endpoint, Event, Role, Trust};
use sansio::{Outbox, Path, Seed, Time, Transport};

pub(super) struct Tunnel {
    endpoint: Endpoint,
    /// What its datagrams travel on.
    udp: Path,
}

impl Tunnel {
    /// `udp`: the way to the server.
    pub(super) fn new(now: Time, udp: Path, seed: Seed) -> Result<Self, ConfigError> {
        // Nobody asks for it, but it has to be there.
        let certificate = Certificate::generate().map_err(|_| ConfigError::UnusableKey)?;
        let config =
            Config { trust: Trust::Owner, ..Config::new(Role::Client, certificate, Vec::new(), seed) };
        Ok(Self { endpoint: Endpoint::new(now, config)?, udp })
    }

    /// What the client of TURN takes for its way to the server.
    pub(super) fn path(&self) -> Path {
        Path::new(Transport::Dtls, self.udp.local, self.udp.remote)
    }

    pub(super) fn open(&mut self, now: Time, datagram: &mut [u8], deliver: &mut dyn FnMut(&mut [u8])) {
        self.endpoint.open(now, datagram, deliver);
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.endpoint.poll_event()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.endpoint.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        self.endpoint.handle_timeout(now);
    }

    pub(super) fn close(&mut self, now: Time) {
        self.endpoint.close(now);
    }

    /// Sends what the handshake has to say.
    pub(super) fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.endpoint.poll_transmit(now, &mut Way { path: self.udp, out });
    }

    /// Seals what the client of TURN writes.
    pub(super) fn sealing<'a>(&'a mut self, out: &'a mut dyn Outbox) -> Sealing<'a> {
        let Self { endpoint, udp } = self;
        Sealing { endpoint, way: Way { path: *udp, out } }
    }
}

/// Datagrams that all go the same way.
struct Way<'a> {
    path: Path,
    out: &'a mut dyn Outbox,
}

impl Outbox<()> for Way<'_> {
    fn room(&self) -> usize {
        self.out.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.out.send(self.path, max, fill)
    }
}

/// Where the client of TURN writes.
pub(super) struct Sealing<'a> {
    endpoint: &'a mut Endpoint,
    way: Way<'a>,
}

impl Outbox for Sealing<'_> {
    fn room(&self) -> usize {
        self.way.room().saturating_sub(self.endpoint.overhead())
    }

    fn send(&mut self, _: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.endpoint.lane(&mut self.way).send((), max, fill)
    }
}
