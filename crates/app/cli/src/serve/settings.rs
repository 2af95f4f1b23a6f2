//! What `sterna serve` is told: by flags and environment first, then by the file, then by default.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::args::Serve;
use crate::failure::{Failure, Kind};
use crate::transfer::protocol::hex;

/// More threads than any machine needs for this.
const MAX_THREADS: usize = 256;

/// Everything `sterna serve` needs to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) listen: IpAddr,
    pub(crate) http: u16,
    pub(crate) stun: u16,
    pub(crate) stun_tls: u16,
    pub(crate) stun_alternate: Option<SecondAddress>,
    pub(crate) stun_partner: Option<StunPartner>,
    pub(crate) public_ip: Option<IpAddr>,
    pub(crate) tls: Option<Tls>,
    pub(crate) allow_peer: Vec<String>,
    pub(crate) relay_ports: RangeInclusive<u16>,
    pub(crate) relay_threads: usize,
    pub(crate) busy_poll: bool,
    /// TURN URLs of other relays, which share the secret.
    pub(crate) relays: Vec<String>,
    pub(crate) secret_file: Option<PathBuf>,
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

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    SelfSigned,
    Files { certificate: PathBuf, key: PathBuf },
}

/// The settings file. Its keys are the flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    listen: Option<IpAddr>,
    http: Option<u16>,
    stun: Option<u16>,
    stun_tls: Option<u16>,
    stun_alternate: Option<String>,
    stun_partner: Option<IpAddr>,
    stun_partner_secret: Option<String>,
    public_ip: Option<IpAddr>,
    tls: Option<String>,
    #[serde(default)]
    allow_peer: Vec<String>,
    relay_ports: Option<String>,
    relay_threads: Option<usize>,
    #[serde(default)]
    busy_poll: bool,
    #[serde(default)]
    relays: Vec<String>,
    secret_file: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn gather(args: Serve) -> Result<Self, Failure> {
        let file = args.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let relay_ports = args.relay_ports.or(file.relay_ports);
        let settings = Self {
            listen: args.listen.or(file.listen).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            http: args.http.or(file.http).unwrap_or(8080),
            stun: args.stun.or(file.stun).unwrap_or(3478),
            stun_tls: args.stun_tls.or(file.stun_tls).unwrap_or(5349),
            stun_alternate: args
                .stun_alternate
                .or(file.stun_alternate)
                .as_deref()
                .map(SecondAddress::parse)
                .transpose()?,
            stun_partner: StunPartner::gather(
                args.stun_partner.or(file.stun_partner),
                args.stun_partner_secret.or(file.stun_partner_secret),
            )?,
            public_ip: args.public_ip.or(file.public_ip),
            tls: args.tls.or(file.tls).as_deref().map(Tls::parse).transpose()?,
            allow_peer: if args.allow_peer.is_empty() { file.allow_peer } else { args.allow_peer },
            relay_ports: relay_ports.as_deref().map_or(Ok(49152..=65535), port_range)?,
            relay_threads: args.relay_threads.or(file.relay_threads).unwrap_or(1),
            busy_poll: args.busy_poll || file.busy_poll,
            relays: if args.relays.is_empty() { file.relays } else { args.relays },
            secret_file: args.secret_file.or(file.secret_file),
        };
        if !(1..=MAX_THREADS).contains(&settings.relay_threads) {
            let message = format!("--relay-threads is a number from 1 to {MAX_THREADS}");
            return Err(Failure::new(Kind::Usage, message));
        }
        settings.check_relays()?;
        if settings.public_ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            let message =
                "--public-ip is the address that others use to reach this server, such as 198.51.100.7";
            return Err(Failure::new(Kind::Usage, message));
        }
        if settings.stun_partner.is_some() && settings.stun_alternate.is_some() {
            let message =
                "--stun-partner and --stun-alternate exclude each other: the second address is here or there";
            return Err(Failure::new(Kind::Usage, message));
        }
        if settings.stun_partner.is_some() && settings.stun == 0 {
            let message = "--stun-partner needs a port that both know: the same --stun here and there";
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(settings)
    }

    /// Other relays must be relays, and know whom we send.
    fn check_relays(&self) -> Result<(), Failure> {
        for url in &self.relays {
            let is_turn = url.parse::<ice::ServerUrl>().is_ok_and(|url| url.is_turn());
            if !is_turn {
                let message = format!("--relay {url} is no TURN server, such as turn:relay.example.org:3478");
                return Err(Failure::new(Kind::Usage, message));
            }
        }
        if !self.relays.is_empty() && self.secret_file.is_none() {
            let message = "--relay needs --secret-file, the same on both servers: by it the other one knows \
                           whom this one sends; `openssl rand -hex 32 > FILE` makes a secret";
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(())
    }

    /// What TURN credentials are made of: a secret that other relays share, or one that nobody outside this process
    /// ever needs.
    pub(crate) fn secret(&self) -> Result<String, Failure> {
        let Some(path) = &self.secret_file else { return Ok(hex(&crypto::seed())) };
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        Ok(text.trim().to_owned())
    }
}

impl StunPartner {
    fn gather(address: Option<IpAddr>, secret: Option<String>) -> Result<Option<Self>, Failure> {
        match (address, secret) {
            (None, None) => Ok(None),
            (Some(address), Some(secret)) => Ok(Some(Self { address, secret })),
            _ => {
                let message = "--stun-partner and its secret (STERNA_STUN_PARTNER_SECRET, or stun-partner-secret in the file) \
                               belong together";
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        toml::from_str(&text)
            .map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", path.display())))
    }
}

impl SecondAddress {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (bind, advertised) = text.split_once('=').unwrap_or((text, text));
        match (bind.parse(), advertised.parse()) {
            (Ok(bind), Ok(advertised)) => Ok(Self { bind, advertised }),
            _ => {
                let message = format!(
                    "--stun-alternate {text} is no address, such as 198.51.100.8 or 10.0.0.2=198.51.100.8"
                );
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }
}

impl Tls {
    fn parse(text: &str) -> Result<Self, Failure> {
        if text == "self-signed" {
            return Ok(Self::SelfSigned);
        }
        match text.split_once(',') {
            Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
                Ok(Self::Files { certificate: certificate.into(), key: key.into() })
            }
            _ => {
                let message = format!("--tls {text} is neither CERT,KEY (two PEM files) nor self-signed");
                Err(Failure::new(Kind::Usage, message))
            }
        }
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, Failure> {
    let ends = text.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    match ends {
        Some((low, high)) if low >= 1024 && low <= high => Ok(low..=high),
        _ => {
            let message =
                format!("--relay-ports {text} is no range of ports from 1024 up, such as 49152-65535");
            Err(Failure::new(Kind::Usage, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn gather(arguments: &[&str]) -> Result<Settings, Failure> {
        let cli = crate::args::Cli::try_parse_from(["sterna", "serve"].iter().chain(arguments)).unwrap();
        let crate::args::Command::Serve(args) = cli.command else { unreachable!() };
        Settings::gather(args)
    }

    #[test]
    fn nothing_listens_beyond_loopback_unless_asked() {
        let settings = gather(&[]).unwrap();
        assert!(settings.listen.is_loopback());
        assert_eq!((settings.http, settings.stun, settings.relay_ports), (8080, 3478, 49152..=65535));
        assert!(settings.allow_peer.is_empty());
        assert_eq!((settings.relay_threads, settings.busy_poll), (1, false));
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let scratch = crate::transfer::scratch::Scratch::new("settings");
        let path = scratch.write("s.toml", b"http = 1\nstun = 2\npublic-ip = \"198.51.100.7\"\n");
        let settings = gather(&["--config", path.to_str().unwrap(), "--http", "3"]).unwrap();
        assert_eq!((settings.http, settings.stun), (3, 2));
        assert_eq!(settings.public_ip, Some("198.51.100.7".parse().unwrap()));
        let path = scratch.write("s.toml", b"htp = 1\n");
        let failure = gather(&["--config", path.to_str().unwrap()]).unwrap_err();
        assert!(failure.message.contains("htp") && failure.message.contains("expected"), "{failure}");
    }

    #[test]
    fn a_partner_needs_a_secret_and_a_port_and_no_second_address() {
        let partner = ["--stun-partner", "198.51.100.8"];
        let secret = ["--stun-partner-secret", "two servers know this"];
        let settings = gather(&[partner, secret].concat()).unwrap();
        assert!(!format!("{settings:?}").contains("two servers"));
        assert_eq!(settings.stun_partner.unwrap().secret, secret[1]);
        for more in [vec![], [&secret[..], &["--stun", "0"]].concat()] {
            assert_eq!(gather(&[&partner[..], &more].concat()).unwrap_err().kind, Kind::Usage, "{more:?}");
        }
    }

    #[test]
    fn relays_that_share_a_secret_are_taken_from_the_file_too() {
        let scratch = crate::transfer::scratch::Scratch::new("relays");
        let secret = scratch.write("secret", b" 6f1d0b1c8f6e4f5b9c7a\n");
        let text = format!("relays = [\"turn:a.example\"]\nsecret-file = {:?}\n", secret.to_str().unwrap());
        let file = scratch.write("s.toml", text.as_bytes());
        let settings = gather(&["--config", file.to_str().unwrap()]).unwrap();
        assert_eq!(settings.relays, ["turn:a.example"]);
        assert_eq!(settings.secret().unwrap(), "6f1d0b1c8f6e4f5b9c7a");
        let settings = gather(&["--relay", "turn:b.example", "--config", file.to_str().unwrap()]).unwrap();
        assert_eq!(settings.relays, ["turn:b.example"]);
        let settings = gather(&["--secret-file", "/nowhere/at/all"]).unwrap();
        assert_eq!(settings.secret().unwrap_err().kind, Kind::File);
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for arguments in [
            ["--tls", "x"],
            ["--stun-alternate", "10.0.0.2="],
            ["--relay-ports", "9-5"],
            ["--relay-ports", "80-90"],
            ["--public-ip", "0.0.0.0"],
            ["--relay-threads", "0"],
            ["--relay", "stun:relay.example.org"],
            ["--relay", "turn:relay.example.org"],
        ] {
            assert_eq!(gather(&arguments).unwrap_err().kind, Kind::Usage, "{arguments:?}");
        }
    }
}
