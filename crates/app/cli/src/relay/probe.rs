//! Whether the public address is this server's: what is sent there has to arrive here.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use sansio::{Rng, Seed};
use stun::{Class, Message, MessageWriter, Method, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use super::addresses::is_ours;
use super::settings::{PublicIp, Settings};
use crate::failure::{Failure, Kind};

/// How often something is sent before it counts as lost, and how long each time is waited.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_millis(300);
/// The longest that a name may take to look up.
const LOOKUP: Duration = Duration::from_secs(3);
/// Ports of the relay's range that are tried until one is free.
const PORTS: usize = 8;

/// What is known of one public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Public {
    pub(crate) ip: IpAddr,
    pub(crate) proof: Proof,
}

/// Why a public address is taken for this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is an address of this machine.
    Ours,
    /// A STUN server elsewhere sees us there.
    Seen,
    /// What we sent there arrived here.
    Arrived,
    /// Nothing says so, and nothing says otherwise.
    None,
}

impl Proof {
    /// For a person, and a word for a program.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Ours => ("own", "an address of this machine"),
            Self::Seen => ("seen", "verified: a server elsewhere sees this one there"),
            Self::Arrived => ("arrived", "verified: what is sent there arrives here"),
            Self::None => {
                ("unverified", "not verified: what was sent there did not come back, and nobody was asked")
            }
        }
    }
}

/// Finds and verifies the public addresses of the settings.
pub(crate) async fn public(settings: &Settings) -> Result<Vec<Public>, Failure> {
    let mut found = Vec::new();
    for wanted in &settings.public {
        match wanted {
            PublicIp::Is(ip) => found.push(verify(*ip, settings).await?),
            PublicIp::Auto => found.extend(discover(settings).await?),
        }
    }
    Ok(found)
}

async fn verify(ip: IpAddr, settings: &Settings) -> Result<Public, Failure> {
    if is_ours(ip) {
        return Ok(Public { ip, proof: Proof::Ours });
    }
    if let Some(seen) = seen_from_outside(settings, ip.is_ipv4()).await? {
        if seen.ip() == ip {
            return Ok(Public { ip, proof: Proof::Seen });
        }
        let message = format!(
            "--public-ip {ip} is wrong: {} sees this server at {}. Clients would send to {ip} in vain; correct it, \
             or say --public-ip auto",
            probe_name(settings),
            seen.ip()
        );
        return Err(Failure::new(Kind::Server, message));
    }
    let Some(bind) = bind_address(settings, ip.is_ipv4()) else {
        return Ok(Public { ip, proof: Proof::None });
    };
    let arrived = arrives(bind, ip, &settings.relay_ports).await;
    Ok(Public { ip, proof: if arrived { Proof::Arrived } else { Proof::None } })
}

async fn discover(settings: &Settings) -> Result<Vec<Public>, Failure> {
    let mut found = Vec::new();
    for v4 in [true, false] {
        if let Some(seen) = seen_from_outside(settings, v4).await? {
            let proof = if is_ours(seen.ip()) { Proof::Ours } else { Proof::Seen };
            found.push(Public { ip: seen.ip(), proof });
        }
    }
    if found.is_empty() {
        let message = format!(
            "--public-ip auto: {} does not answer; check its name and that UDP gets out, or give the address itself",
            probe_name(settings)
        );
        return Err(Failure::new(Kind::Server, message));
    }
    Ok(found)
}

fn probe_name(settings: &Settings) -> String {
    settings.probe_server.as_ref().map_or_else(|| "--probe-server".to_owned(), ToString::to_string)
}

/// Where sockets of the relay would be bound; an unspecified address does.
fn bind_address(settings: &Settings, v4: bool) -> Option<IpAddr> {
    settings.listen.iter().copied().find(|listen| listen.is_ipv4() == v4)
}

/// Our address as the server elsewhere sees it. `None`: nobody is to be asked, or nobody answers.
async fn seen_from_outside(settings: &Settings, v4: bool) -> Result<Option<SocketAddr>, Failure> {
    let Some(url) = &settings.probe_server else { return Ok(None) };
    let Some(bind) = bind_address(settings, v4) else { return Ok(None) };
    let lookup = tokio::net::lookup_host((url.host.clone(), url.port));
    let found = timeout(LOOKUP, lookup).await.ok().and_then(Result::ok);
    let Some(found) = found else {
        let message = format!("--probe-server {}: there is no such name, or no name server", url.host);
        return Err(Failure::new(Kind::Server, message));
    };
    let mut servers = found;
    let Some(server) = servers.find(|server| server.is_ipv4() == v4) else { return Ok(None) };
    Ok(ask(bind, server).await)
}

/// One Binding transaction.
async fn ask(bind: IpAddr, server: SocketAddr) -> Option<SocketAddr> {
    let socket = UdpSocket::bind((bind, 0)).await.ok()?;
    let id = TransactionId::random(&mut Rng::new(Seed(crypto::seed())));
    let mut buffer = [0; 64];
    let length = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id).finish().ok()?;
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send_to(&buffer[..length], server).await.ok()?;
        let until = Instant::now() + WAIT;
        while let Ok(Ok((length, from))) = timeout_at(until, socket.recv_from(&mut answer)).await {
            let Ok(message) = Message::parse(&answer[..length]) else { continue };
            if from == server && message.transaction_id() == id && message.class() == Class::Success {
                return message.xor_mapped_address().or(message.mapped_address());
            }
        }
    }
    None
}

/// Whether a datagram to the public address comes to a relay's socket: then the NAT in front of us translates ports
/// as they are, lets strangers in, and turns around what comes from inside. If not, any of these may be missing.
async fn arrives(bind: IpAddr, public: IpAddr, ports: &RangeInclusive<u16>) -> bool {
    let mut rng = Rng::new(Seed(crypto::seed()));
    let mut receiver = None;
    for _ in 0..PORTS {
        let port = *ports.start() + rng.below(ports.len() as u64) as u16;
        if let Ok(socket) = UdpSocket::bind((bind, port)).await {
            receiver = Some((socket, port));
            break;
        }
    }
    let Some((receiver, port)) = receiver else { return false };
    let Ok(sender) = UdpSocket::bind((bind, 0)).await else { return false };
    let token = crypto::seed();
    let mut heard = [0; 64];
    for _ in 0..TRIES {
        if sender.send_to(&token, (public, port)).await.is_err() {
            return false;
        }
        let until = Instant::now() + WAIT;
        while let Ok(Ok((length, _))) = timeout_at(until, receiver.recv_from(&mut heard)).await {
            if heard[..length] == token {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_is_noticed_and_what_does_not_is_not_invented() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert!(arrives(loopback, loopback, &(40_000..=60_000)).await);
        // Nobody is there: TEST-NET-1, from a socket that reaches loopback alone.
        assert!(!arrives(loopback, [192, 0, 2, 1].into(), &(40_000..=60_000)).await);
    }
}
