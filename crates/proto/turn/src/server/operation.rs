//! What an operator changes while the server runs.

use std::net::{IpAddr, SocketAddr};

use sansio::Outbox;
use stun::credential::Authenticated;
use stun::{Class, kind};

use super::accounts::Accounts;
use super::answer::Asker;
use super::{Auth, ConfigError, OtherServer, PeerPolicy, Quotas, Server};

/// What becomes of new clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Intake {
    /// They are let in.
    #[default]
    Open,
    /// They are sent to the other server, if there is one, and away otherwise.
    Draining(Option<SocketAddr>),
}

/// The name that other parties know this server by.
fn name(auth: &Auth) -> Option<&str> {
    auth.third_party.as_ref().map(|third_party| third_party.server_name.as_str())
}

impl Server {
    /// Goes by other rules from now on. Allocations that there are go on, by the password that they were made with; their
    /// peers are held against the new policy.
    ///
    /// # Errors
    /// If nobody or everybody could use the server by them; then all stays as it is.
    pub fn reconfigure(&mut self, auth: Auth, policy: PeerPolicy, quotas: Quotas) -> Result<(), ConfigError> {
        let mut config = self.config.clone();
        (config.auth, config.policy, config.quotas) = (auth, policy, quotas);
        config.check()?;
        // It is in the challenges, which stay.
        if name(&config.auth) != name(&self.config.auth) {
            return Err(ConfigError::ServerName);
        }
        self.accounts = Accounts::new(&config.realm, config.auth.clone());
        self.lookups.configure(config.auth.lookup.clone());
        let rates = |quotas: &Quotas| (quotas.bandwidth_per_user, quotas.bandwidth);
        let new_rates = rates(&config.quotas) != rates(&self.config.quotas);
        self.meters.configure(&config.quotas);
        self.config = config;
        self.review_peers();
        if new_rates {
            self.meter_streams();
        }
        Ok(())
    }

    /// Takes back the permissions that would not be given any more, and all flows: they rest on the old rules.
    fn review_peers(&mut self) {
        for id in self.allocations.ids() {
            self.review_streams(id);
            self.unsettle(id);
            let Some(allocation) = self.allocations.by_id(id) else { continue };
            let mut refused: Vec<IpAddr> = allocation.permissions.addresses().collect();
            refused.retain(|address| self.check_permission(*address).is_err());
            if let Some(allocation) = self.allocations.by_id(id) {
                allocation.permissions.forget_all(&refused);
                let seats = allocation.seats;
                self.tell_permits(&seats, refused, false);
            }
        }
    }

    /// Sends clients for whom there is no room to these from now on ([`ServerConfig::others`](crate::ServerConfig::others)).
    pub fn send_to(&mut self, others: Vec<OtherServer>) {
        self.config.others = others;
    }

    /// Makes no new allocations from now on. Clients that ask for one are sent to `alternate` (RFC 8489 §10), if it is
    /// of their family, and otherwise to one of the others that this server knows, or told that there is no room; those
    /// that have one keep it.
    pub fn drain(&mut self, alternate: Option<SocketAddr>) {
        self.intake = Intake::Draining(alternate);
    }

    /// Sends a new client away. Only who has shown a password learns where to.
    pub(super) fn send_away(
        &mut self,
        asker: Asker,
        signer: &Authenticated,
        alternate: Option<SocketAddr>,
        out: &mut dyn Outbox,
    ) {
        // "The IP address family [of ALTERNATE-SERVER] MUST be identical to that of the source" (RFC 8489 §14.15).
        let alternate = alternate.filter(|server| server.is_ipv4() == asker.client.remote.is_ipv4());
        let Some(alternate) = alternate else { return self.redirect(asker, signer, out) };
        let sent = asker.answer(out, Class::Error, Some(signer), &|writer| {
            writer.error(300).address(kind::ALTERNATE_SERVER, alternate);
        });
        self.count_answer(sent);
    }
}
