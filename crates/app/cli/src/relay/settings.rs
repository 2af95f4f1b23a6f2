//! What the STUN and TURN server is told, checked: everything that can be without looking at this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use turn::{Cidr, LookupRules, PeerPolicy, Quotas};

use super::acme::{Acme, Store};
use super::args::Options;
use crate::failure::{Failure, Kind};

/// Fewer ports are a slip of the pen: every session takes one.
const FEWEST_PORTS: usize = 16;

/// Everything that the STUN and TURN server needs to know but its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Never empty.
    pub(crate) listen: Vec<IpAddr>,
    pub(crate) stun: u16,
    pub(crate) stun_tls: u16,
    pub(crate) stun_alternate: Option<SecondAddress>,
    pub(crate) stun_partner: Option<StunPartner>,
    /// One for each family at most.
    pub(crate) public: Vec<PublicIp>,
    /// A STUN URL.
    pub(crate) probe_server: Option<ice::ServerUrl>,
    pub(crate) host: Option<String>,
    pub(crate) realm: String,
    /// Where an authority makes the certificate: the file that it is going to be in.
    pub(crate) tls: Option<Tls>,
    pub(crate) acme: Option<Acme>,
    pub(crate) dtls: bool,
    pub(crate) relay_ports: RangeInclusive<u16>,
    /// The one that all sessions share, if they share one.
    pub(crate) relay_port: Option<u16>,
    pub(crate) tcp_relay: bool,
    pub(crate) relay_threads: usize,
    /// TURN URLs of other relays, which share the secret.
    pub(crate) relays: Vec<String>,
    pub(crate) busy_poll: bool,
    pub(crate) inquire: Option<Inquire>,
    pub(crate) mobility: bool,
    pub(crate) access_token_name: Option<String>,
    pub(crate) policy: PeerPolicy,
    pub(crate) quotas: Quotas,
    pub(crate) max_lifetime: Duration,
    pub(crate) credential_lifetime: u64,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) drain: Duration,
    pub(crate) alternate_servers: Vec<SocketAddr>,
}

/// How others see this server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicIp {
    /// It is to be found out.
    Auto,
    /// This one.
    Is(IpAddr),
}

/// A second address of this machine, for NAT discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecondAddress {
    /// The machine's.
    pub(crate) bind: IpAddr,
    /// The one that others see.
    pub(crate) advertised: IpAddr,
}

/// Another server, which has the second address for NAT discovery.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StunPartner {
    pub(crate) address: IpAddr,
    pub(crate) secret: String,
}

impl std::fmt::Debug for StunPartner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StunPartner").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Who is asked about users that are not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inquire {
    pub(crate) url: String,
    /// Whose certificates are trusted besides those of the system's authorities.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) timeout: Duration,
    /// How long an answer is believed.
    pub(crate) ttl: Duration,
}

impl Inquire {
    pub(crate) fn of(options: &Options) -> Option<Self> {
        Some(Self {
            url: options.auth_url.clone()?,
            ca: options.auth_ca.clone(),
            timeout: Duration::from_secs(options.auth_timeout),
            ttl: Duration::from_secs(options.auth_ttl),
        })
    }

    /// As the machine goes by it.
    pub(crate) fn rules(&self) -> LookupRules {
        // The machine waits a bit longer than we do, so that it hears why.
        LookupRules {
            ttl: self.ttl,
            patience: self.timeout + Duration::from_secs(1),
            ..LookupRules::default()
        }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    SelfSigned,
    Files { certificate: PathBuf, key: PathBuf },
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Ports to relay from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortRange(pub(crate) RangeInclusive<u16>);

impl Settings {
    pub(crate) fn gather(options: &Options) -> Result<Self, Failure> {
        let listen = match options.listen.is_empty() {
            true => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            false => options.listen.clone(),
        };
        if listen.iter().any(IpAddr::is_multicast) {
            return Err(usage("--listen takes addresses of this machine, or 0.0.0.0 and :: for all of them"));
        }
        let acme = Acme::gather(options)?;
        let host = match (&options.host, &acme) {
            (Some(name), _) => Some(host(name)?),
            (None, acme) => acme.as_ref().map(|acme| acme.domains[0].clone()),
        };
        let made = acme.as_ref().map(|acme| Store::new(acme).certificate());
        let made = made.map(|path| Tls::Files { certificate: path.clone(), key: path });
        let settings = Self {
            stun: options.stun,
            stun_tls: options.stun_tls,
            stun_alternate: options.stun_alternate,
            stun_partner: StunPartner::gather(options)?,
            public: public(&options.public_ip)?,
            probe_server: options.probe_server.as_deref().map(probe_server).transpose()?,
            realm: options.realm.clone().or_else(|| host.clone()).unwrap_or_else(|| "sterna".to_owned()),
            host,
            tls: made.or_else(|| options.tls.clone()),
            acme,
            dtls: !options.no_dtls,
            relay_ports: options.relay_port.map_or(options.relay_ports.0.clone(), |port| port..=port),
            relay_port: options.relay_port,
            tcp_relay: !options.no_tcp_relay,
            relay_threads: options.relay_threads as usize,
            relays: relays(options)?,
            busy_poll: options.busy_poll,
            inquire: Inquire::of(options),
            mobility: !options.no_mobility,
            access_token_name: options.access_token_name.clone(),
            policy: policy(options)?,
            quotas: quotas(options)?,
            max_lifetime: Duration::from_secs(options.max_lifetime),
            credential_lifetime: options.credential_lifetime,
            admin: options.admin,
            drain: Duration::from_secs(options.drain),
            alternate_servers: options.alternate_server.clone(),
            listen,
        };
        settings.check_ports(options)?;
        if settings.public.contains(&PublicIp::Auto) && settings.probe_server.is_none() {
            return Err(usage(
                "--public-ip auto needs somebody to ask: name a STUN server elsewhere with --probe-server, \
                 or give the address itself",
            ));
        }
        Ok(settings)
    }

    /// Whether clients reach us by addresses that are told them, whatever they reached the page by.
    pub(crate) fn tells_address(&self) -> bool {
        !self.public.is_empty() || self.listen.iter().all(|listen| !listen.is_unspecified())
    }

    /// Where peers send to, for people.
    pub(crate) fn relayed_ports(&self) -> String {
        match self.relay_port {
            Some(port) => format!("UDP port {port}, which all sessions share"),
            None => format!("UDP ports {} to {}", self.relay_ports.start(), self.relay_ports.end()),
        }
    }

    fn check_ports(&self, options: &Options) -> Result<(), Failure> {
        if let Some(port) = self.relay_port {
            // The second port of NAT discovery is the one after the first, or before it where there is none.
            let second = self.stun.checked_add(1).unwrap_or(u16::MAX - 1);
            let discovers = self.stun_alternate.is_some() || self.stun_partner.is_some();
            let second = (discovers && self.stun != 0).then_some(second);
            return match [Some(self.stun), Some(self.stun_tls), second].contains(&Some(port)) {
                true => Err(usage(format!(
                    "--relay-port {port} is where the server listens: peers and clients need two"
                ))),
                false => Ok(()),
            };
        }
        let range = &self.relay_ports;
        let (low, high) = (range.start(), range.end());
        let count = range.len();
        if count < FEWEST_PORTS {
            return Err(usage(format!(
                "--relay-ports {low}-{high} is too small: {count} ports are {count} sessions; give at least \
                 {FEWEST_PORTS}"
            )));
        }
        if let Some(wanted) = options.max_allocations.filter(|wanted| *wanted > count) {
            return Err(usage(format!(
                "--relay-ports {low}-{high} is too small for --max-allocations {wanted}: each takes one of the \
                 {count} ports"
            )));
        }
        Ok(())
    }
}

impl StunPartner {
    fn gather(options: &Options) -> Result<Option<Self>, Failure> {
        let partner = match (options.stun_partner, super::secrets::stun_partner(options)?) {
            (None, None) => return Ok(None),
            (Some(address), Some(secret)) => Self { address, secret },
            _ => {
                return Err(usage(
                    "--stun-partner and its secret (--stun-partner-secret-file, or STERNA_STUN_PARTNER_SECRET) belong \
                     together",
                ));
            }
        };
        if options.stun_alternate.is_some() {
            return Err(usage(
                "--stun-partner and --stun-alternate exclude each other: the second address is here or there",
            ));
        }
        if options.stun == 0 {
            return Err(usage("--stun-partner needs a port that both know: the same --stun here and there"));
        }
        Ok(Some(partner))
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Usage, message)
}

fn public(given: &[PublicIp]) -> Result<Vec<PublicIp>, Failure> {
    let [v4, v6] = [true, false]
        .map(|v4| given.iter().filter(|one| matches!(one, PublicIp::Is(ip) if ip.is_ipv4() == v4)).count());
    if v4 > 1 || v6 > 1 {
        return Err(usage("--public-ip takes one address of each family: the one that others see"));
    }
    Ok(given.to_vec())
}

fn probe_server(text: &str) -> Result<ice::ServerUrl, Failure> {
    let url = if text.starts_with("stun:") { text.to_owned() } else { format!("stun:{text}") };
    url.parse().map_err(|error| {
        // One line, whatever stands in the file.
        let shown = text.escape_debug();
        usage(format!("--probe-server {shown}: {error}; write it like stun.example.org or 198.51.100.1:3478"))
    })
}

pub(super) fn host(name: &str) -> Result<String, Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if name.is_empty() || name.len() > 253 || !name.chars().all(fine) {
        let shown = name.escape_debug();
        return Err(usage(format!("--host {shown} is no name, such as turn.example.org (without port)")));
    }
    Ok(name.to_owned())
}

/// Other relays must be relays, and know whom we send.
fn relays(options: &Options) -> Result<Vec<String>, Failure> {
    for url in &options.relays {
        if !url.parse::<ice::ServerUrl>().is_ok_and(|url| url.is_turn()) {
            return Err(usage(format!(
                "--relay {url} is no TURN server, such as turn:relay.example.org:3478"
            )));
        }
    }
    if !options.relays.is_empty() && !super::secrets::are_named(options) {
        return Err(usage(
            "--relay needs --secret-file, the same on both servers: by it the other one knows whom this one sends; \
             `openssl rand -hex 32 > FILE` makes a secret",
        ));
    }
    Ok(options.relays.clone())
}

fn policy(options: &Options) -> Result<PeerPolicy, Failure> {
    let range = |flag: &str, text: &String| -> Result<Cidr, Failure> {
        text.trim()
            .parse()
            .map_err(|error| usage(format!("{flag} {text}: {error}; write it like 10.0.0.0/8")))
    };
    let mut policy = PeerPolicy::default();
    for text in &options.allow_peer {
        policy = policy.allow(range("--allow-peer", text)?);
    }
    for text in &options.deny_peer {
        policy = policy.deny(range("--deny-peer", text)?);
    }
    Ok(policy)
}

fn quotas(options: &Options) -> Result<Quotas, Failure> {
    let usual = Quotas::default();
    for (flag, given) in [
        ("--max-allocations", options.max_allocations),
        ("--max-per-user", options.max_per_user),
        ("--max-per-source", options.max_per_source),
    ] {
        if given == Some(0) {
            return Err(usage(format!("{flag} 0 would let nobody in; leave it out for the usual limit")));
        }
    }
    Ok(Quotas {
        total: options.max_allocations.unwrap_or(usual.total),
        per_user: options.max_per_user.unwrap_or(usual.per_user),
        per_source: options.max_per_source.unwrap_or(usual.per_source),
        bandwidth_per_user: options.max_bandwidth_per_user,
        bandwidth: options.max_bandwidth,
        session: options.max_session.map(Duration::from_secs),
        ..usual
    })
}

impl FromStr for PublicIp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<IpAddr>() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(Self::Is(ip)),
            _ => Err("it is the address that others use to reach this server, such as 198.51.100.7".into()),
        }
    }
}

impl FromStr for SecondAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bind, advertised) = text.split_once('=').unwrap_or((text, text));
        match (bind.parse(), advertised.parse()) {
            (Ok(bind), Ok(advertised)) => Ok(Self { bind, advertised }),
            _ => Err("it is an address, such as 198.51.100.8 or 10.0.0.2=198.51.100.8".to_owned()),
        }
    }
}

impl FromStr for Tls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "self-signed" {
            return Ok(Self::SelfSigned);
        }
        match text.split_once(',') {
            Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
                Ok(Self::Files { certificate: certificate.trim().into(), key: key.trim().into() })
            }
            _ => Err("it is neither CERT,KEY (two PEM files) nor self-signed".to_owned()),
        }
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
        match ends {
            Some((low, high)) if low >= 1024 && low <= high => Ok(Self(low..=high)),
            _ => Err("it is a range of ports from 1024 up, such as 49152-65535".to_owned()),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it is text or json".to_owned()),
        }
    }
}

/// `9641`, `127.0.0.1:9641` or `[::1]:9641`.
pub(super) fn admin(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().map_err(|_| "it is a port, or an address and a port: 127.0.0.1:9641".into()),
    }
}

/// An address with the port of TURN, if it has none of its own.
pub(super) fn server_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 3478));
    bare.or_else(|_| text.parse())
        .map_err(|_| "it is the address of another server, such as 198.51.100.9 or [2001:db8::9]:3478".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::tests::options;

    fn gather(arguments: &[&str]) -> Result<Settings, String> {
        let options = options(&[&["relay"], arguments].concat())?;
        Settings::gather(&options).map_err(|failure| failure.message)
    }

    #[test]
    fn what_a_file_breaks_over_two_lines_is_told_in_one() {
        for (flag, value) in [("--probe-server", "stu\n.example.net"), ("--host", "turn\r\n.example.net")] {
            let message = gather(&[flag, value]).expect_err("it is refused");
            assert!(message.contains(flag) && !message.contains(['\n', '\r']), "{message:?}");
        }
    }

    #[test]
    fn nothing_listens_beyond_loopback_unless_asked() {
        let settings = gather(&[]).unwrap();
        assert!(settings.listen.iter().all(IpAddr::is_loopback));
        assert_eq!((settings.stun, settings.stun_tls, settings.relay_ports), (3478, 5349, 49152..=50175));
        assert_eq!((settings.policy, settings.admin), (PeerPolicy::default(), None));
        let admin = gather(&["--admin", "9641"]).unwrap().admin.unwrap();
        assert!(admin.ip().is_loopback(), "a port alone is one of loopback");
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for (arguments, words) in [
            (&["--tls", "x"][..], "CERT,KEY"),
            (&["--stun-alternate", "10.0.0.2="], "198.51.100.8"),
            (&["--relay-ports", "9-5"], "49152-65535"),
            (&["--relay-ports", "80-90"], "49152-65535"),
            (&["--relay-ports", "50000-50007"], "8 sessions"),
            (&["--relay-ports", "50000-50099", "--max-allocations", "1000"], "100 ports"),
            (&["--public-ip", "0.0.0.0"], "198.51.100.7"),
            (&["--relay-threads", "0"], "256"),
            (&["--relay", "stun:relay.example.org"], "no TURN server"),
            (&["--relay", "turn:relay.example.org"], "--secret-file"),
            (&["--public-ip", "192.0.2.1,192.0.2.2"], "one address of each family"),
            (&["--public-ip", "auto"], "--probe-server"),
            (&["--deny-peer", "10.0.0.1/8"], "10.0.0.0/8"),
            (&["--host", "turn.example.org:3478"], "without port"),
            (&["--admin", "metrics"], "127.0.0.1:9641"),
            (&["--alternate-server", "other"], "198.51.100.9"),
            (&["--log-format", "xml"], "text or json"),
            (&["--acme-domain", "turn.example.org"], "--acme-accept-terms"),
            (&["--acme-domain", "turn.example.org", "--acme-accept-terms"], "--acme-state"),
            (&["--acme-domain", "192.0.2.1", "--acme-accept-terms", "--acme-state", "x"], "turn.example.org"),
            (
                &["--acme-domain", "*.example.org", "--acme-accept-terms", "--acme-state", "x"],
                "turn.example.org",
            ),
            (&["--acme-email", "a@example.org"], "--acme-domain"),
            (&["--acme-domain", "a.example", "--tls", "self-signed"], "--tls"),
            (&["--listen", "224.0.0.1"], "addresses of this machine"),
            (&["--credential-lifetime", "1"], "60"),
            (&["--relay-port", "3478"], "peers and clients"),
            (&["--relay-port", "3479", "--stun-alternate", "127.0.0.2"], "peers and clients"),
            (&["--relay-port", "80"], "1024"),
            (&["--relay-port", "50000", "--relay-ports", "50000-50099"], "--relay-ports"),
            (&["--max-lifetime", "7200"], "3600"),
            (&["--max-bandwidth", "0"], "--max-bandwidth"),
            (&["--max-allocations", "0"], "nobody in"),
            (&["--max-per-user", "0"], "--max-per-user 0"),
            (&["--max-per-source", "0"], "nobody in"),
        ] {
            let message = gather(arguments).expect_err(&format!("{arguments:?}"));
            assert!(message.contains(words), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn quotas_are_what_is_said() {
        let usual = gather(&[]).unwrap();
        assert_eq!((usual.quotas, usual.max_lifetime), (Quotas::default(), Duration::from_secs(3600)));
        let said = gather(&[
            "--max-bandwidth-per-user=1000000",
            "--max-bandwidth=9000000",
            "--max-session=86400",
            "--max-lifetime=900",
        ]);
        let said = said.unwrap();
        let quotas = Quotas {
            bandwidth_per_user: Some(1_000_000),
            bandwidth: Some(9_000_000),
            session: Some(Duration::from_secs(86_400)),
            ..Quotas::default()
        };
        assert_eq!((said.quotas, said.max_lifetime), (quotas, Duration::from_secs(900)));
    }

    #[test]
    fn a_partner_needs_a_secret_and_a_port_and_no_second_address() {
        let partner = ["--stun-partner", "198.51.100.8"];
        let file = std::env::temp_dir().join(format!("sterna-partner-{}", std::process::id()));
        std::fs::write(&file, "# for both\ntwo servers know this\n").unwrap();
        let secret = ["--stun-partner-secret-file", file.to_str().unwrap()];
        let settings = gather(&[partner, secret].concat()).unwrap();
        assert!(!format!("{settings:?}").contains("two servers"));
        assert_eq!(settings.stun_partner.unwrap().secret, "two servers know this");
        for more in [vec![], [&secret[..], &["--stun", "0"]].concat()] {
            assert!(gather(&[&partner[..], &more].concat()).is_err(), "{more:?}");
        }
        std::fs::write(&file, "short").unwrap();
        assert!(gather(&[partner, secret].concat()).unwrap_err().contains("weak"));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_realm_is_the_hosts_name_unless_told() {
        assert_eq!(gather(&[]).unwrap().realm, "sterna");
        assert_eq!(gather(&["--host", "turn.example.org"]).unwrap().realm, "turn.example.org");
        assert_eq!(gather(&["--host", "turn.example.org", "--realm", "r"]).unwrap().realm, "r");
    }

    #[test]
    fn a_domain_of_acme_names_the_server_and_its_certificate_has_a_file() {
        let asked =
            ["--acme-domain", "Turn.Example.org,b.example", "--acme-state", "/state", "--acme-accept-terms"];
        let settings = gather(&asked).unwrap();
        assert_eq!(
            (settings.host.as_deref(), &*settings.realm),
            (Some("turn.example.org"), "turn.example.org")
        );
        let file = PathBuf::from("/state/turn.example.org.pem");
        assert_eq!(settings.tls, Some(Tls::Files { certificate: file.clone(), key: file }));
        assert!(settings.acme.unwrap().directory.starts_with("https://acme-v02.api.letsencrypt.org/"));
        assert_eq!(gather(&[]).unwrap().acme, None, "nobody is asked unless told");
        let own = ["--acme-directory", "http://ca.example/"];
        assert!(gather(&[&asked[..], &own].concat()).unwrap_err().contains("https://"));
    }
}
