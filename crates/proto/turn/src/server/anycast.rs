//! Clients at an address that many servers share (RFC 8155 §6).

use std::net::SocketAddr;

use sansio::Outbox;
use stun::credential::Authenticated;
use stun::{Class, kind};

use super::Server;
use super::answer::Asker;

impl Server {
    /// "The TURN anycast server MUST respond with a 300 (Try Alternate) error …; the response contains the TURN unicast address":
    /// the next packet to the anycast address may reach another server.
    pub(super) fn send_home(&mut self, asker: Asker, signer: &Authenticated, out: &mut dyn Outbox) {
        let local = asker.client.local;
        let mut homes = self.config.relay_addresses.iter().map(|relay| relay.advertised);
        let Some(home) = homes.find(|home| home.is_ipv4() == local.is_ipv4()) else {
            return self.refuse(asker, signer, 508, out);
        };
        let home = SocketAddr::new(home, local.port());
        let sent = asker.answer(out, Class::Error, Some(signer), &|writer| {
            writer.error(300).address(kind::ALTERNATE_SERVER, home);
        });
        self.count_answer(sent);
    }
}
