//! What the STUN and TURN server is going to do on this machine: everything is looked at before anything listens.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relay::{Relay, RelayConfig, Rules};
use stun::credential::SharedSecret;
use turn::{OtherServer, PeerPolicy};

use super::acme::{Keeper, Store};
use super::addresses::{self, Addresses};
use super::args::Options;
use super::ice_servers::IceServers;
use super::inquiry::Inquiry;
use super::listening::Listening;
use super::privileges::Person;
use super::probe::{self, Public};
use super::secrets::Secrets;
use super::settings::Settings;
use super::station::Station;
use super::tls::Identity;
use crate::failure::{Failure, Kind};

/// How long `--busy-poll` looks for more.
const BUSY_POLL: Duration = Duration::from_millis(1);
/// What is spoken inside TLS (RFC 7443).
const PROTOCOLS: [&str; 2] = ["stun.turn", "stun.nat-discovery"];
/// 2026-01-01: no clock that is right shows less.
const BUILT: Duration = Duration::from_secs(1_767_225_600);
/// 2100-01-01, nor more.
const FAR: Duration = Duration::from_secs(4_102_444_800);

pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Whom the process becomes.
    pub(crate) user: Option<Person>,
    pub(crate) settings: Settings,
    pub(crate) secrets: Secrets,
    pub(crate) public: Vec<Public>,
    pub(crate) addresses: Addresses,
    pub(crate) identity: Option<Identity>,
    pub(crate) inquiry: Option<Arc<Inquiry>>,
}

impl Plan {
    /// `user`: whom the process is to become. `own`: a secret for a server that makes the credentials of its clients
    /// itself.
    pub(crate) async fn make(
        options: &Options,
        user: Option<&str>,
        own: Option<&SharedSecret>,
    ) -> Result<Self, Failure> {
        let settings = Settings::gather(options)?;
        let user = user.map(Person::find).transpose()?;
        let secrets = read_secrets(options, own)?;
        check_clock(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())?;
        let public = probe::public(&settings).await?;
        let ips: Vec<IpAddr> = public.iter().map(|public| public.ip).collect();
        let addresses = Addresses::find(&settings, &ips)?;
        let load = |tls| Identity::load(tls, &addresses.names, settings.acme.is_some());
        let identity = settings.tls.as_ref().map(load).transpose()?;
        if let Some(acme) = &settings.acme {
            Store::new(acme).prepare(user.as_ref())?;
        }
        let inquiry = settings
            .inquire
            .as_ref()
            .map(|inquire| {
                Inquiry::new(inquire, secrets.auth_token.as_deref(), &settings.realm).map(Arc::new)
            })
            .transpose()?;
        let options = options.clone();
        Ok(Self { options, user, settings, secrets, public, addresses, identity, inquiry })
    }

    /// Takes the ports, gives root up if that is wanted, and opens them. `page`: the ports that the page has taken, through
    /// which TURN is reached as well. `admin`: the operator's.
    pub(crate) fn open(self, page: &[SocketAddr], admin: Option<SocketAddr>) -> Result<Station, Failure> {
        let dtls =
            self.identity.as_ref().and_then(|identity| identity.dtls.clone()).filter(|_| self.settings.dtls);
        let keeper = self.identity.as_ref().and_then(Identity::challenges).zip(self.settings.acme.as_ref());
        let keeper = keeper.map(|(challenges, acme)| Keeper::new(acme, challenges)).transpose()?;
        let listening = Listening::choose(&self.settings, &self.addresses, dtls.is_some(), page)?;
        let server = self.machine(&listening, admin);
        let tls = self.identity.as_ref().map(|identity| identity.speaking(&PROTOCOLS));
        let tls = tls.iter().flat_map(|config| listening.tcp.iter().map(|door| (*door, config.clone())));
        let config = RelayConfig {
            tls: tls.collect(),
            udp: listening.udp,
            tcp: listening.tcp,
            dtls,
            shared: page.to_vec(),
            questions: self.inquiry.as_ref().map(Inquiry::start),
            shards: self.settings.relay_threads,
            busy_poll: if self.settings.busy_poll { BUSY_POLL } else { Duration::ZERO },
            ..RelayConfig::new(server)
        };
        let failed = |error: relay::Error| {
            let kind = if matches!(error, relay::Error::Config(_)) { Kind::Usage } else { Kind::Server };
            Failure::new(kind, error.to_string())
        };
        let reserved = Relay::reserve(config).map_err(failed)?;
        self.try_shared_port()?;
        self.user.as_ref().map_or(Ok(()), Person::take_over)?;
        if let Some(acme) = &self.settings.acme {
            Store::new(acme).try_out()?;
        }
        let relay = reserved.listen().map_err(failed)?;
        let maker = self.secrets.maker.clone();
        let ice_servers = IceServers::new(&self.settings, &self.addresses, listening.ports, maker);
        Ok(Station::new(self, relay, keeper, ice_servers, listening.ports))
    }

    /// The port that all sessions share is taken by the first of them: better known now that it can be had.
    fn try_shared_port(&self) -> Result<(), Failure> {
        let Some(port) = self.settings.relay_port else { return Ok(()) };
        for address in self.addresses.relay.iter().map(|relay| SocketAddr::new(relay.bind, port)) {
            UdpSocket::bind(address).map_err(|error| {
                let message = format!(
                    "cannot relay: UDP {address} cannot be had ({error}); stop what uses it (`ss -lunp sport = {port}`), or \
                     choose another --relay-port"
                );
                Failure::new(Kind::Server, message)
            })?;
        }
        Ok(())
    }

    /// What the server is told.
    fn machine(&self, listening: &Listening, admin: Option<SocketAddr>) -> turn::ServerConfig {
        let seed = sansio::Seed(crypto::seed());
        let mut server = turn::ServerConfig::new(
            self.settings.realm.clone(),
            self.addresses.relay[0],
            self.secrets.auth.clone(),
            seed,
        );
        server.relay_addresses = self.addresses.relay.clone();
        server.ports = self.settings.relay_ports.clone();
        server.shared_port = self.settings.relay_port;
        server.tcp_relay = self.settings.tcp_relay;
        server.policy = self.settings.policy.clone();
        server.quotas = self.settings.quotas.clone();
        server.mobility = self.settings.mobility;
        server.max_lifetime = self.settings.max_lifetime;
        server.default_lifetime = server.default_lifetime.min(server.max_lifetime);
        server.alternate = listening.alternate;
        server.partner = listening.partner.clone();
        server.others = others(&self.settings);
        server.listening.extend(admin);
        server.machine = at_home(addresses::of_all_interfaces().chain(self.addresses.names.iter().copied()));
        let second = self.settings.stun_alternate;
        server.machine.extend(second.into_iter().flat_map(|second| [second.bind, second.advertised]));
        server
    }

    /// What may change while the server runs.
    pub(crate) fn rules(settings: &Settings, secrets: &Secrets) -> Rules {
        Rules {
            auth: secrets.auth.clone(),
            policy: settings.policy.clone(),
            quotas: settings.quotas.clone(),
            others: others(settings),
        }
    }

    /// What a person should know, although it keeps nothing from working.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for public in self.public.iter().filter(|public| public.proof == probe::Proof::None) {
            warnings.push(format!(
                "--public-ip {} is not verified: what was sent there did not come back. If the NAT in front does not \
                 turn packets around, name a STUN server elsewhere with --probe-server",
                public.ip
            ));
        }
        for public in self.public.iter().filter(|public| public.proof == probe::Proof::ArrivedByTcp) {
            warnings.push(format!(
                "--public-ip {}: connections arrive there, but datagrams do not: a firewall or the NAT in front keeps \
                 UDP away, or does not turn it around. Open the UDP ports, or name a STUN server elsewhere with \
                 --probe-server",
                public.ip
            ));
        }
        warnings.extend(self.inquiry.as_ref().and_then(|inquiry| inquiry.warning()));
        let open = self.settings.listen.iter().any(|listen| !listen.is_loopback());
        let private = |ip: &IpAddr| turn::PeerPolicy::default().check(*ip).is_err() && !ip.is_loopback();
        if open
            && self.public.is_empty()
            && self.addresses.relay.iter().all(|relay| private(&relay.advertised))
        {
            warnings.push(format!(
                "clients outside this network cannot reach {}: name the public address with --public-ip, or let it \
                 be found with --public-ip auto",
                self.addresses.names[0]
            ));
        }
        if self.settings.dtls && self.identity.as_ref().is_some_and(|identity| identity.dtls.is_none()) {
            warnings.push(
                "the certificate's key is not ECDSA on P-256 or P-384, so that DTLS cannot be spoken: have one made \
                 with such a key (certbot: --key-type ecdsa), or say --no-dtls"
                    .to_owned(),
            );
        }
        warnings.extend(self.user.iter().flat_map(|user| user.warnings(&self.options.files())));
        if let (Some(super::settings::Tls::Files { .. }), None) = (&self.settings.tls, &self.settings.host) {
            warnings.push(
                "clients are told turns: with an address, which few certificates have: give the name of the \
                 certificate with --host"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// Where clients are sent for whom there is no room.
fn others(settings: &Settings) -> Vec<OtherServer> {
    settings.alternate_servers.iter().map(|address| OtherServer { address: *address, domain: None }).collect()
}

/// The addresses that could be taken for a peer's; the others are denied anyway.
fn at_home(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    addresses.filter(|address| PeerPolicy::default().check(*address).is_ok()).collect()
}

/// The secrets that the options name, and one of our own where there are none and that is enough.
pub(crate) fn read_secrets(options: &Options, own: Option<&SharedSecret>) -> Result<Secrets, Failure> {
    let secrets = Secrets::read(options)?;
    let secrets = own.map(|own| secrets.clone().or_of_our_own(own)).unwrap_or(secrets);
    if secrets.is_empty() { Err(Secrets::missing()) } else { Ok(secrets) }
}

/// Time-limited credentials are held against the clock.
fn check_clock(unix: Duration) -> Result<(), Failure> {
    if (BUILT..FAR).contains(&unix) {
        return Ok(());
    }
    let message = format!(
        "this machine's clock is wrong: it shows {} s since 1970. Credentials are good until a certain time, so all \
         would be refused, or none; set the clock (`timedatectl set-ntp true`)",
        unix.as_secs()
    );
    Err(Failure::new(Kind::Machine, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::tests::options;
    use crate::transfer::scratch::Scratch;

    #[tokio::test]
    async fn what_the_machine_is_reached_at_and_what_the_operator_has_is_no_peer() {
        let scratch = Scratch::new("plan-own");
        let secret = scratch.write("secret", b"b7c1e0b1b7a94bd29ab1");
        let more = [
            "--stun-alternate",
            "127.0.0.9=198.51.100.8",
            "--alternate-server",
            "192.0.2.1,[2001:db8::1]:99",
        ];
        let arguments = ["relay", "--listen", "0.0.0.0", "--secret-file", secret.to_str().unwrap()];
        let options = options(&[&arguments[..], &more].concat()).unwrap();
        let plan = Plan::make(&options, None, None).await.unwrap();
        let listening = Listening::choose(&plan.settings, &plan.addresses, false, &[]).unwrap();
        let admin = "127.0.0.1:9641".parse().unwrap();
        let server = plan.machine(&listening, Some(admin));
        assert!(server.listening.contains(&admin));
        assert!(server.machine.contains(&"198.51.100.8".parse().unwrap()), "{:?}", server.machine);
        let others: Vec<_> = server.others.iter().map(|other| other.address.to_string()).collect();
        assert_eq!(others, ["192.0.2.1:3478", "[2001:db8::1]:99"]);
        assert_eq!(Plan::rules(&plan.settings, &plan.secrets).others, server.others);
        // Whatever interfaces this machine has: its public ones are kept, and the rest is denied as it is.
        let all = ["203.0.113.7", "10.0.0.7", "127.0.0.1", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            at_home(all.into_iter()),
            ["203.0.113.7", "2001:db8::7"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
        assert!(addresses::of_all_interfaces().any(|ip| ip.is_loopback()));
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_noticed() {
        for wrong in [Duration::ZERO, BUILT - Duration::from_secs(1), FAR] {
            let failure = check_clock(wrong).unwrap_err();
            assert!(failure.message.contains("set the clock"), "{failure}");
        }
        assert_eq!(check_clock(BUILT), Ok(()));
    }
}
