//! What a reload changes, and what needs a restart.

use std::sync::{Arc, PoisonError};

use stun::credential::SharedSecret;
use tracing::{info, warn};

use super::addresses::Addresses;
use super::args::Options;
use super::ice_servers::IceServers;
use super::inquiry::Inquiry;
use super::listening::Ports;
use super::plan::{Plan, read_secrets};
use super::settings::Settings;
use super::station::{Current, Desk};
use crate::failure::{Failure, Kind};

/// Tells a person that a key has changed in vain.
pub(crate) fn needs_restart(key: &str) {
    warn!(key, "has changed, and needs a restart");
}

/// Every option stands in one of the two lists: one that stands in neither does not compile.
macro_rules! options {
    (restart: $($fixed:ident)+; reload: $($free:ident)+;) => {
        /// The keys that have changed, and need a restart.
        fn changed_in_vain(started: &Options, wanted: &Options) -> Vec<String> {
            let same = [$((stringify!($fixed), started.$fixed == wanted.$fixed)),+];
            same.into_iter().filter(|(_, same)| !same).map(|(field, _)| field.replace('_', "-")).collect()
        }

        /// What is wanted, but for what needs a restart.
        fn possible(started: &Options, wanted: Options) -> Options {
            Options { $($fixed: started.$fixed.clone(),)+ $($free: wanted.$free),+ }
        }

        #[cfg(test)]
        const FIXED: &[&str] = &[$(stringify!($fixed)),+];
    };
}

options! {
    restart:
        listen stun stun_tls stun_alternate stun_partner stun_partner_secret_file public_ip probe_server realm tls
        acme_domain acme_accept_terms acme_state acme_email acme_directory acme_ca no_dtls auth_url auth_ca
        auth_timeout auth_ttl access_token_name no_mobility relay_ports relay_port no_tcp_relay max_lifetime relay_threads busy_poll admin log_format config;
    reload:
        host secret_file users_file access_token_keys_file allow_peer deny_peer max_allocations max_per_user
        max_per_source max_bandwidth_per_user max_bandwidth max_session relays credential_lifetime token_file
        auth_token_file drain alternate_server secrets;
}

/// What the server was started with, and goes by until it ends.
pub(super) struct Start {
    pub(super) options: Options,
    pub(super) settings: Settings,
    /// Who asks the web service of `--auth-url`.
    pub(super) inquiry: Option<Arc<Inquiry>>,
}

/// What a reload needs besides the settings.
pub(super) struct Reload<'a> {
    pub(super) start: &'a Start,
    pub(super) desk: &'a Desk,
    pub(super) addresses: &'a Addresses,
    pub(super) ports: Ports,
    pub(super) own: Option<&'a SharedSecret>,
}

impl Reload<'_> {
    /// Goes by what the options say anew, if it may change while the server runs.
    pub(super) async fn perform(&self, wanted: Options) -> Result<Settings, Failure> {
        let Start { options: started, settings: old, inquiry } = self.start;
        let mut vain = changed_in_vain(started, &wanted);
        let all = Settings::gather(&wanted)?;
        let mut options = possible(started, wanted);
        // Users belong to the realm that they know, be it the host's name.
        options.realm = Some(old.realm.clone());
        let settings = Settings::gather(&options)?;
        let secrets = read_secrets(&options, self.own)?;
        let hidden = [
            ("realm", all.realm != old.realm),
            ("stun-partner-secret-file", all.stun_partner != old.stun_partner && all.stun_partner.is_some()),
        ];
        vain.extend(hidden.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()));
        let rules = Plan::rules(&settings, &secrets);
        self.desk.handle.apply(rules).await.map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        inquiry.iter().for_each(|inquiry| inquiry.show(secrets.auth_token.as_deref()));
        vain.sort_unstable();
        vain.dedup();
        vain.iter().for_each(|key| needs_restart(key));
        let ice_servers = IceServers::new(&settings, self.addresses, self.ports, secrets.maker.clone());
        *self.desk.current.write().unwrap_or_else(PoisonError::into_inner) =
            Current { ice_servers, token: secrets.token.clone() };
        info!(
            secrets = secrets.auth.shared_secrets.len(),
            users = secrets.auth.users.len(),
            "settings read again"
        );
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;
    use crate::command_line::tests::options;

    #[test]
    fn what_needs_a_restart_is_told_by_the_names_of_its_keys() {
        let root = Cli::command();
        let relay = root.find_subcommand("relay").unwrap();
        for field in FIXED {
            let key = field.replace('_', "-");
            assert!(relay.get_arguments().any(|argument| argument.get_long() == Some(&key)), "{key}");
        }
    }

    #[test]
    fn what_needs_a_restart_stays_and_the_rest_changes() {
        let started = options(&["relay", "--stun", "3478", "--drain", "5"]).unwrap();
        let wanted = options(&[
            "relay",
            "--stun",
            "99",
            "--drain",
            "7",
            "--busy-poll",
            "--stun-partner",
            "192.0.2.9",
            "--host",
            "h",
        ]);
        let wanted = wanted.unwrap();
        assert_eq!(changed_in_vain(&started, &wanted), ["stun", "stun-partner", "busy-poll"]);
        let possible = possible(&started, wanted);
        assert_eq!((possible.stun, possible.drain, possible.busy_poll), (3478, 7, false));
        assert_eq!((possible.stun_partner, possible.host.as_deref()), (None, Some("h")));
        assert!(changed_in_vain(&started, &possible).is_empty());
    }
}
