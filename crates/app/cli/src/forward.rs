//! `sterna forward`: TCP connections and UDP datagrams, carried to another machine.
//!
//! The side with `-L` listens. Each TCP connection, and each UDP client, gets a data channel of its own with the
//! label `forward` and the protocol `tcp:HOST:PORT` or `udp:HOST:PORT`. The other side connects to that, if it is
//! allowed, and says `{"type":"open"}` or `{"type":"refused","reason":…}`. Bytes and datagrams are binary messages;
//! `{"type":"end"}` ends one direction of a TCP connection. UDP channels are unordered and never retransmit.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sterna::{DataChannel, DataChannelInit, Message, PeerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};

use crate::args::Forward;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::session::{self, Purpose};

/// The channel that is there from the start; it carries nothing, and its end is the end.
const CONTROL: &str = "forward-control";
const LABEL: &str = "forward";
/// Connections at a time.
const MAX_CONNECTIONS: usize = 1000;
/// Bytes in one message.
const CHUNK: usize = 16 * 1024;
/// A UDP client that is silent for so long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);
/// How long the far side may take to connect to its target.
const CONNECT: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Word {
    Open,
    Refused { reason: String },
    End,
}

impl Word {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("plain words are JSON")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

/// Where to connect on the far side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    protocol: Protocol,
    host: String,
    port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.protocol == Protocol::Tcp { "tcp" } else { "udp" };
        if self.host.contains(':') {
            return write!(f, "{protocol}:[{}]:{}", self.host, self.port);
        }
        write!(f, "{protocol}:{}:{}", self.host, self.port)
    }
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once(':')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let (host, port) = host_port(rest)?;
        Some(Self { protocol, host, port })
    }

    fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(host) => host.parse::<std::net::Ipv6Addr>().ok().map(|_| (host.to_owned(), port)),
        None => (!host.is_empty() && !host.contains([':', '[', ']', '/'])).then(|| (host.to_owned(), port)),
    }
}

/// One `-L`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Local {
    listen: String,
    port: u16,
    target: Target,
}

impl Local {
    /// `[ADDR:]PORT:HOST:PORT[/udp]`.
    fn parse(spec: &str) -> Result<Self, Failure> {
        let bad = || {
            let message = format!(
                "-L {spec} is not [ADDR:]PORT:HOST:PORT or [ADDR:]PORT:HOST:PORT/udp, for example 8080:localhost:80"
            );
            Failure::new(Kind::Usage, message)
        };
        let (rest, protocol) = match spec.split_once('/') {
            None => (spec, Protocol::Tcp),
            Some((rest, "tcp")) => (rest, Protocol::Tcp),
            Some((rest, "udp")) => (rest, Protocol::Udp),
            Some(_) => return Err(bad()),
        };
        let parts = split_outside_brackets(rest);
        let (listen, port, host, target_port) = match parts.as_slice() {
            [port, host, target] => ("127.0.0.1", *port, *host, *target),
            [listen, port, host, target] => (*listen, *port, *host, *target),
            _ => return Err(bad()),
        };
        let port = port.parse().map_err(|_| bad())?;
        let (host, target_port) = host_port(&format!("{host}:{target_port}")).ok_or_else(bad)?;
        let listen = listen.trim_matches(['[', ']']).to_owned();
        Ok(Self { listen, port, target: Target { protocol, host, port: target_port } })
    }
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c| {
        inside = match c {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        c == ':' && !inside
    })
    .collect()
}

/// What the other side may connect to from here.
#[derive(Clone, Debug)]
enum Allowed {
    Loopback,
    Only(Vec<(String, u16)>),
}

impl Allowed {
    fn parse(specs: &[String]) -> Result<Self, Failure> {
        if specs.is_empty() {
            return Ok(Self::Loopback);
        }
        let parse = |spec: &String| {
            let message = format!("--allow {spec} is not HOST:PORT, for example --allow localhost:80");
            host_port(spec).ok_or_else(|| Failure::new(Kind::Usage, message))
        };
        specs.iter().map(parse).collect::<Result<_, _>>().map(Self::Only)
    }

    fn permits(&self, target: &Target) -> bool {
        match self {
            Self::Loopback => target.is_loopback(),
            Self::Only(list) => list
                .iter()
                .any(|(host, port)| host.eq_ignore_ascii_case(&target.host) && *port == target.port),
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

pub(crate) async fn run(args: Forward, output: Output) -> Result<(), Failure> {
    let locals = args.local.iter().map(|spec| Local::parse(spec)).collect::<Result<Vec<_>, _>>()?;
    let allowed = Allowed::parse(&args.allow)?;
    // Bound before anything else: a port that is taken should be known before a code is used up.
    let mut listeners = Vec::new();
    for local in locals {
        listeners.push((bind(&local).await?, local.target));
    }
    let purpose = Purpose { app: "forward", channel: CONTROL };
    let session = match args.code.code {
        Some(code) => session::join(&code, purpose, &args.reach, output).await?,
        None => session::host(purpose, &args.reach, "sterna forward -L 8080:localhost:80", output).await?,
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = tokio::task::JoinSet::new();
    for (listener, target) in listeners {
        let (here, connection, slots) = (listener.address(), session.connection.clone(), slots.clone());
        output.say(&format!("{here} leads to {target} on the other side"));
        output.event("forwarding", json!({ "listen": here.to_string(), "target": target.to_string() }));
        match listener {
            Listener::Tcp(listener) => tasks.spawn(serve_tcp(listener, target, connection, slots, output)),
            Listener::Udp(socket) => tasks.spawn(serve_udp(socket, target, connection, output)),
        };
    }
    let result = session
        .guard(async {
            loop {
                tokio::select! {
                    channel = session.incoming() => match channel {
                        Some(channel) if channel.label() == LABEL => {
                            let permit = slots.clone().try_acquire_owned();
                            let allowed = allowed.clone();
                            tasks.spawn(async move {
                                let _permit = permit;
                                accept(channel, &allowed, _permit.is_ok(), output).await;
                            });
                        }
                        Some(_) => {}
                        None => return Ok(()),
                    },
                    message = session.channel.recv() => if message.is_none() { return Ok(()) },
                    Some(_) = tasks.join_next() => {}
                }
            }
        })
        .await;
    session.close().await;
    result?;
    output.note("the other side has left");
    output.event("done", json!({}));
    Ok(())
}

impl Listener {
    fn address(&self) -> SocketAddr {
        let address = match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        };
        address.expect("a bound socket has an address")
    }
}

async fn bind(local: &Local) -> Result<Listener, Failure> {
    let address = (local.listen.as_str(), local.port);
    let bound = match local.target.protocol {
        Protocol::Tcp => TcpListener::bind(address).await.map(Listener::Tcp),
        Protocol::Udp => UdpSocket::bind(address).await.map(Listener::Udp),
    };
    bound.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => "the port is in use; choose another one",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose another one",
            _ => "check the address",
        };
        Failure::new(
            Kind::Usage,
            format!("cannot listen on {}:{}: {error}; {advice}", local.listen, local.port),
        )
    })
}

/// The near side of TCP: accepts, and gives each connection a channel.
async fn serve_tcp(
    listener: TcpListener,
    target: Target,
    connection: PeerConnection,
    slots: Arc<Semaphore>,
    output: Output,
) {
    loop {
        let Ok(permit) = slots.clone().acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else { continue };
        let init = DataChannelInit { protocol: target.to_string(), ..DataChannelInit::default() };
        let Ok(channel) = connection.create_data_channel(LABEL, init) else { return };
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(reason) = tcp_near(stream, channel).await {
                output.note(&format!("connection from {from}: {reason}"));
            }
        });
    }
}

async fn tcp_near(stream: TcpStream, channel: DataChannel) -> Result<(), String> {
    match channel.recv().await {
        Some(Message::Text(text)) => match serde_json::from_str(&text) {
            Ok(Word::Open) => splice(stream, &channel).await,
            Ok(Word::Refused { reason }) => Err(reason),
            _ => Err("the other side does not forward".to_owned()),
        },
        _ => Err("the other side has left".to_owned()),
    }
}

/// The far side: connects to the target, if that is allowed.
async fn accept(channel: DataChannel, allowed: &Allowed, free: bool, output: Output) {
    let asked = channel.protocol();
    let refused = match Target::parse(asked) {
        _ if !free => Some("too many connections at a time".to_owned()),
        None => Some(format!("{asked:?} is no target")),
        Some(target) if !allowed.permits(&target) => {
            output.note(&format!("refused to connect to {target}; --allow HOST:PORT allows it"));
            Some(format!("{target} is not allowed by the other side"))
        }
        Some(target) => connect(&target, &channel).await.err(),
    };
    if let Some(reason) = refused {
        let _ = channel.send_text(&Word::Refused { reason }.json()).await;
    }
    let _ = channel.close().await;
}

async fn connect(target: &Target, channel: &DataChannel) -> Result<(), String> {
    let address = (target.host.as_str(), target.port);
    let failed = |error: std::io::Error| format!("cannot connect to {target}: {error}");
    match target.protocol {
        Protocol::Tcp => {
            let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
            let stream =
                stream.map_err(|_| format!("cannot connect to {target}: no answer"))?.map_err(failed)?;
            let _ = channel.send_text(&Word::Open.json()).await;
            // Once open, a broken connection is no refusal any more.
            let _ = splice(stream, channel).await;
        }
        Protocol::Udp => {
            let mut found = tokio::net::lookup_host(address).await.map_err(failed)?;
            let remote = found.next().ok_or_else(|| format!("{target} has no address"))?;
            let any: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
            let socket = UdpSocket::bind(any).await.map_err(failed)?;
            socket.connect(remote).await.map_err(failed)?;
            udp_far(&socket, channel).await;
        }
    }
    Ok(())
}

/// Both directions of a TCP connection, until both have ended.
async fn splice(stream: TcpStream, channel: &DataChannel) -> Result<(), String> {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let out = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match reader.read_buf(&mut buffer).await {
                Ok(0) => break,
                Ok(_) => {
                    let mut bytes: Bytes = buffer.split().freeze();
                    while !bytes.is_empty() {
                        let chunk = bytes.split_to(CHUNK.min(bytes.len()));
                        channel.send(chunk).await.map_err(|_| "the other side has left".to_owned())?;
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        channel.send_text(&Word::End.json()).await.map_err(|_| "the other side has left".to_owned())
    };
    let back = async {
        loop {
            match channel.recv().await {
                Some(Message::Binary(bytes)) => {
                    writer.write_all(&bytes).await.map_err(|error| error.to_string())?
                }
                Some(Message::Text(_)) => break,
                None => return Err("the other side has left".to_owned()),
            }
        }
        let _ = writer.shutdown().await;
        Ok(())
    };
    let result = tokio::try_join!(out, back).map(|_| ());
    let _ = channel.close().await;
    result
}

/// The near side of UDP: a channel for each client address.
async fn serve_udp(socket: UdpSocket, target: Target, connection: PeerConnection, output: Output) {
    let socket = Arc::new(socket);
    let clients: Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Bytes>>>> = Arc::default();
    let mut buffer = vec![0; 65_536];
    loop {
        // An ICMP error from an earlier datagram is no reason to stop.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = Bytes::copy_from_slice(&buffer[..length]);
        let known = clients.lock().expect("no panic under this lock").get(&from).cloned();
        let queue = match known {
            Some(queue) => queue,
            None => {
                let full = clients.lock().expect("no panic under this lock").len() >= MAX_CONNECTIONS;
                let protocol = target.to_string();
                let init = DataChannelInit {
                    protocol,
                    ordered: false,
                    max_retransmits: Some(0),
                    ..DataChannelInit::default()
                };
                let (false, Ok(channel)) = (full, connection.create_data_channel(LABEL, init)) else {
                    continue;
                };
                let (queue, outgoing) = mpsc::channel(64);
                clients.lock().expect("no panic under this lock").insert(from, queue.clone());
                let (socket, clients) = (socket.clone(), clients.clone());
                tokio::spawn(async move {
                    if let Err(reason) = udp_near(&socket, from, &channel, outgoing).await {
                        output.note(&format!("datagrams from {from}: {reason}"));
                    }
                    clients.lock().expect("no panic under this lock").remove(&from);
                    let _ = channel.close().await;
                });
                queue
            }
        };
        // A full queue loses the datagram, as a network would.
        let _ = queue.try_send(datagram);
    }
}

async fn udp_near(
    socket: &UdpSocket,
    from: SocketAddr,
    channel: &DataChannel,
    mut outgoing: mpsc::Receiver<Bytes>,
) -> Result<(), String> {
    loop {
        tokio::select! {
            Some(datagram) = outgoing.recv() => {
                let _ = channel.try_send(datagram);
            }
            message = channel.recv() => match message {
                Some(Message::Binary(bytes)) => {
                    let _ = socket.send_to(&bytes, from).await;
                }
                Some(Message::Text(text)) => if let Ok(Word::Refused { reason }) = serde_json::from_str(&text) {
                    return Err(reason);
                },
                None => return Ok(()),
            },
            () = tokio::time::sleep(UDP_IDLE) => return Ok(()),
        }
    }
}

async fn udp_far(socket: &UdpSocket, channel: &DataChannel) {
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            received = socket.recv(&mut buffer) => if let Ok(length) = received {
                let _ = channel.try_send(Bytes::copy_from_slice(&buffer[..length]));
            },
            message = channel.recv() => match message {
                Some(Message::Binary(bytes)) => {
                    let _ = socket.send(&bytes).await;
                }
                Some(Message::Text(_)) => {}
                None => return,
            },
            () = tokio::time::sleep(UDP_IDLE) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(protocol: Protocol, host: &str, port: u16) -> Target {
        Target { protocol, host: host.into(), port }
    }

    #[test]
    fn specs_read_as_ssh_reads_them() {
        let local = |listen: &str, port, target| Local { listen: listen.into(), port, target };
        let web = target(Protocol::Tcp, "localhost", 80);
        assert_eq!(Local::parse("8080:localhost:80").unwrap(), local("127.0.0.1", 8080, web.clone()));
        assert_eq!(Local::parse("0.0.0.0:8080:localhost:80").unwrap(), local("0.0.0.0", 8080, web));
        let dns = target(Protocol::Udp, "::1", 53);
        assert_eq!(Local::parse("[::1]:5353:[::1]:53/udp").unwrap(), local("::1", 5353, dns));
        for bad in ["", "80", "80:localhost", "x:localhost:80", "80:localhost:0", "80::80", "80:a:80/sctp"] {
            assert_eq!(Local::parse(bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn targets_survive_the_journey() {
        for target in [target(Protocol::Tcp, "localhost", 80), target(Protocol::Udp, "::1", 53)] {
            assert_eq!(Target::parse(&target.to_string()), Some(target));
        }
        for bad in ["", "tcp", "tcp:", "tcp:host", "icmp:host:1", "tcp:a/b:1"] {
            assert_eq!(Target::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_loopback_may_be_reached_unless_more_is_allowed() {
        let default = Allowed::parse(&[]).unwrap();
        assert!(default.permits(&target(Protocol::Tcp, "localhost", 80)));
        assert!(default.permits(&target(Protocol::Tcp, "127.8.8.8", 80)));
        assert!(!default.permits(&target(Protocol::Tcp, "192.168.1.1", 80)));
        let one = Allowed::parse(&["printer:9100".into()]).unwrap();
        assert!(one.permits(&target(Protocol::Tcp, "printer", 9100)));
        assert!(!one.permits(&target(Protocol::Tcp, "localhost", 80)));
    }
}
