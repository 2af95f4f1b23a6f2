//! Whether the public address is this server's: what is sent there has to arrive here.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use sansio::{Rng, Seed};
use stun::{Class, HEADER_BYTES, Message, MessageWriter, Method, TransactionId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
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
    /// Connections to there arrive here, and datagrams do not.
    ArrivedByTcp,
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
            Self::ArrivedByTcp => {
                ("arrived-by-tcp", "verified by TCP alone: datagrams that are sent there do not arrive")
            }
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
    let (ports, mut rng) = (&settings.relay_ports, Rng::new(Seed(crypto::seed())));
    let proof = if arrives(bind, ip, ports, &mut rng).await {
        Proof::Arrived
    } else if arrives_by_tcp(bind, ip, ports, &mut rng).await {
        Proof::ArrivedByTcp
    } else {
        Proof::None
    };
    Ok(Public { ip, proof })
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
    let found = timeout(LOOKUP, driver::locate(url)).await.ok().and_then(Result::ok);
    let Some(found) = found else {
        let message = format!("--probe-server {}: there is no such name, or no name server", url.host);
        return Err(Failure::new(Kind::Server, message));
    };
    let Some(server) = found.into_iter().find(|server| server.is_ipv4() == v4) else { return Ok(None) };
    Ok(match ask(bind, server).await {
        Some(seen) => Some(seen),
        // Where no UDP gets out, TCP may.
        None => timeout(TRIES * WAIT, ask_by_tcp(bind, server)).await.ok().flatten(),
    })
}

/// One Binding transaction.
async fn ask(bind: IpAddr, server: SocketAddr) -> Option<SocketAddr> {
    let socket = UdpSocket::bind((bind, 0)).await.ok()?;
    let (id, request) = request()?;
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send_to(&request, server).await.ok()?;
        let until = Instant::now() + WAIT;
        while let Ok(Ok((length, from))) = timeout_at(until, socket.recv_from(&mut answer)).await {
            if from == server
                && let Some(seen) = seen(&answer[..length], id)
            {
                return Some(seen);
            }
        }
    }
    None
}

/// The same by TCP.
async fn ask_by_tcp(bind: IpAddr, server: SocketAddr) -> Option<SocketAddr> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
    socket.bind((bind, 0).into()).ok()?;
    let mut stream = socket.connect(server).await.ok()?;
    let (id, request) = request()?;
    stream.write_all(&request).await.ok()?;
    let mut answer = vec![0; HEADER_BYTES];
    stream.read_exact(&mut answer).await.ok()?;
    answer.resize(HEADER_BYTES + usize::from(u16::from_be_bytes([answer[2], answer[3]])), 0);
    stream.read_exact(&mut answer[HEADER_BYTES..]).await.ok()?;
    seen(&answer, id)
}

fn request() -> Option<(TransactionId, Vec<u8>)> {
    let id = TransactionId::random(&mut Rng::new(Seed(crypto::seed())));
    let mut buffer = [0; 64];
    let length = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id).finish().ok()?;
    Some((id, buffer[..length].to_vec()))
}

/// What a good answer to the request says.
fn seen(answer: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let message = Message::parse(answer).ok()?;
    let is_ours = message.transaction_id() == id && message.class() == Class::Success;
    is_ours.then(|| message.xor_mapped_address().or(message.mapped_address()))?
}

/// Whether a datagram to the public address comes to a relay's socket: then the NAT in front of us translates ports
/// as they are, lets strangers in, and turns around what comes from inside. If not, any of these may be missing.
async fn arrives(bind: IpAddr, public: IpAddr, ports: &RangeInclusive<u16>, rng: &mut Rng) -> bool {
    let mut receiver = None;
    for _ in 0..PORTS {
        let port = draw(ports, rng);
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

/// Whether a connection to the public address comes here.
async fn arrives_by_tcp(bind: IpAddr, public: IpAddr, ports: &RangeInclusive<u16>, rng: &mut Rng) -> bool {
    for _ in 0..PORTS {
        let port = draw(ports, rng);
        let Ok(listener) = TcpListener::bind((bind, port)).await else { continue };
        let token = crypto::seed();
        let call = async {
            let mut stream = TcpStream::connect((public, port)).await?;
            stream.write_all(&token).await?;
            Ok::<_, std::io::Error>(stream)
        };
        let take = async {
            let mut heard = [0; 32];
            let (mut stream, _) = listener.accept().await?;
            stream.read_exact(&mut heard).await?;
            Ok::<_, std::io::Error>(heard == token)
        };
        let both = async { tokio::try_join!(call, take) };
        return matches!(timeout(TRIES * WAIT, both).await, Ok(Ok((_, true))));
    }
    false
}

fn draw(ports: &RangeInclusive<u16>, rng: &mut Rng) -> u16 {
    *ports.start() + rng.below(ports.len() as u64) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_is_noticed_and_what_does_not_is_not_invented() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let (ports, rng) = (40_000..=60_000, &mut Rng::new(Seed::from(1)));
        assert!(arrives(loopback, loopback, &ports, rng).await);
        assert!(arrives_by_tcp(loopback, loopback, &ports, rng).await);
        // Nobody is there: TEST-NET-1, from a socket that reaches loopback alone.
        assert!(!arrives(loopback, [192, 0, 2, 1].into(), &ports, rng).await);
        // Somebody else is there.
        let elsewhere: IpAddr = [127, 0, 0, 9].into();
        assert!(!arrives_by_tcp(loopback, elsewhere, &ports, rng).await);
    }
}
