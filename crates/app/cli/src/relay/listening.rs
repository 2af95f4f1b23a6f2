//! Where STUN and TURN listen.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use stun::server::{Alternate, PartnerSecret};

use super::addresses::Addresses;
use super::settings::{SecondAddress, Settings};
use crate::failure::{Failure, Kind};

/// How often free ports are looked for.
const ATTEMPTS: u32 = 20;

#[derive(Debug)]
pub(crate) struct Listening {
    /// All of UDP, the first one first.
    pub(crate) udp: Vec<SocketAddr>,
    /// All of TCP, and of TLS if there is a certificate: what it is, the first byte tells.
    pub(crate) tcp: Vec<SocketAddr>,
    /// What clients are told of it.
    pub(crate) ports: Ports,
    /// The two addresses and two ports that help clients to discover their NAT (RFC 5780 §6).
    pub(crate) alternate: Option<Alternate>,
    /// What is shared with the other machine, if that has the second address.
    pub(crate) partner: Option<PartnerSecret>,
}

/// The ports that clients are told, of TLS and DTLS if they are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) stun: u16,
    pub(crate) tls: Option<u16>,
    pub(crate) dtls: Option<u16>,
    /// The page's, if that has TLS: TURN is spoken there, too.
    pub(crate) page: Option<u16>,
}

impl Ports {
    /// Whether TLS is spoken where `https` is.
    pub(crate) fn have_https(&self) -> bool {
        self.tls.is_some() && [Some(self.stun), self.tls, self.page].contains(&Some(443))
    }
}

impl Listening {
    /// `dtls`: whether there is a certificate that is good for it. `page`: where the page listens, which lets TURN in.
    pub(crate) fn choose(
        settings: &Settings,
        addresses: &Addresses,
        dtls: bool,
        page: &[SocketAddr],
    ) -> Result<Self, Failure> {
        let mut listening = Self::of_stun(settings, addresses)?;
        listening.tcp.retain(|door| !page.contains(door));
        if settings.tls.is_none() {
            return Ok(listening);
        }
        listening.ports.page = page.first().map(SocketAddr::port);
        let port = match settings.stun_tls {
            0 => some_port(&settings.listen)?,
            port => port,
        };
        listening.ports.tls = Some(port);
        listening.ports.dtls = Some(port).filter(|_| dtls);
        for listen in &settings.listen {
            let door = SocketAddr::new(*listen, port);
            if !listening.tcp.contains(&door) && !page.contains(&door) {
                listening.tcp.push(door);
            }
            if dtls && !listening.udp.contains(&door) {
                listening.udp.push(door);
            }
        }
        Ok(listening)
    }

    fn of_stun(settings: &Settings, addresses: &Addresses) -> Result<Self, Failure> {
        let at = |port| settings.listen.iter().map(move |listen| SocketAddr::new(*listen, port));
        let partner = settings.stun_partner.as_ref();
        let second =
            partner.map(|partner| SecondAddress { bind: partner.address, advertised: partner.address });
        let Some(second) = settings.stun_alternate.or(second) else {
            let port = match settings.stun {
                0 => some_port(&settings.listen)?,
                port => port,
            };
            return Ok(Self {
                udp: at(port).collect(),
                tcp: at(port).collect(),
                ports: Ports { stun: port, tls: None, dtls: None, page: None },
                alternate: None,
                partner: None,
            });
        };
        let (first, advertised) = first_address(settings, addresses, second)?;
        let (one, two) = match settings.stun {
            0 => free_ports(first, second.bind)?,
            // The port after it, as coturn does.
            u16::MAX => (u16::MAX, u16::MAX - 1),
            port => (port, port + 1),
        };
        let alternate = Alternate::new(SocketAddr::new(first, one), SocketAddr::new(second.bind, two))
            .map_err(|error| {
                let flag = if partner.is_some() { "--stun-partner" } else { "--stun-alternate" };
                Failure::new(Kind::Usage, format!("{flag} {}: {error}", second.bind))
            })?
            .advertised(advertised, second.advertised);
        let mut udp: Vec<SocketAddr> = at(one).collect();
        // A wildcard receives for both addresses, and leaves no room for other sockets at its ports.
        let wildcard = settings
            .listen
            .iter()
            .find(|listen| listen.is_unspecified() && listen.is_ipv4() == second.bind.is_ipv4());
        match wildcard {
            Some(wildcard) => udp.push(SocketAddr::new(*wildcard, two)),
            None => {
                udp.retain(|address| address.ip() != first);
                let ours = if partner.is_some() { 2 } else { 4 };
                udp.splice(0..0, alternate.sockets().into_iter().take(ours));
            }
        }
        let partner = partner.map(|partner| PartnerSecret::new(&partner.secret)).transpose();
        let partner = partner
            .map_err(|error| Failure::new(Kind::Usage, format!("the secret of --stun-partner: {error}")))?;
        let ports = Ports { stun: one, tls: None, dtls: None, page: None };
        Ok(Self { udp, tcp: at(one).collect(), ports, alternate: Some(alternate), partner })
    }
}

/// The address that the second one is second to, and how others see it.
fn first_address(
    settings: &Settings,
    addresses: &Addresses,
    second: SecondAddress,
) -> Result<(IpAddr, IpAddr), Failure> {
    let same_family = |relay: &&turn::RelayAddress| relay.bind.is_ipv4() == second.bind.is_ipv4();
    let first = addresses.relay.iter().find(same_family);
    let first = first.map(|relay| {
        // What is listened on need not be what is relayed from.
        let named = settings.listen.iter().copied().find(|at| {
            !at.is_unspecified() && at.is_ipv4() == second.bind.is_ipv4() && !turn::discovery::is_anycast(*at)
        });
        match named {
            Some(named) if relay.bind == relay.advertised => (named, named),
            Some(named) => (named, relay.advertised),
            None => (relay.bind, relay.advertised),
        }
    });
    first.ok_or_else(|| {
        let message = format!("{}: there is no first address of its family", second.bind);
        Failure::new(Kind::Usage, message)
    })
}

fn some_port(listen: &[IpAddr]) -> Result<u16, Failure> {
    free_port(listen).map_err(|error| Failure::new(Kind::Server, error.to_string()))
}

/// A port that UDP and TCP of all addresses have free at this moment.
fn free_port(listen: &[IpAddr]) -> std::io::Result<u16> {
    let mut attempts = 0;
    loop {
        let first = UdpSocket::bind((listen[0], 0))?;
        let port = first.local_addr()?.port();
        let free = || {
            TcpListener::bind((listen[0], port))?;
            // A wildcard of IPv6 would claim IPv4, too, unless told otherwise: whoever binds it tells.
            for address in listen[1..].iter().filter(|address| !address.is_unspecified()) {
                UdpSocket::bind((*address, port))?;
                TcpListener::bind((*address, port))?;
            }
            Ok::<_, std::io::Error>(())
        };
        match free() {
            Ok(()) => return Ok(port),
            Err(error) if attempts == ATTEMPTS => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}

/// Two ports that both addresses have free at this moment, the first for TCP, too.
fn free_ports(first: IpAddr, second: IpAddr) -> Result<(u16, u16), Failure> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let attempt = || {
            let one = free_port(&[first])?;
            let held = UdpSocket::bind((second, one))?;
            let two = UdpSocket::bind((first, 0))?.local_addr()?.port();
            UdpSocket::bind((second, two))?;
            drop(held);
            Ok::<_, std::io::Error>((one, two))
        };
        match attempt() {
            Ok(ports) if ports.0 != ports.1 => return Ok(ports),
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no ports are free".to_owned(), |error| error.to_string());
    Err(Failure::new(Kind::Server, format!("cannot listen on {first} and {second}: {why}")))
}
