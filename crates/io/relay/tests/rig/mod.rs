//! A relay on loopback, and a small TURN client of our own: one task's worth of `turn::Client` and a socket.

#![allow(dead_code, missing_docs, unreachable_pub)] // Each test file uses its part.

pub mod log;
pub mod tunnel;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansio::{Batches, Outbox as _, Path, Seed, Time, Transport};
use sterna_relay::{Handle, Limits, Relay, RelayConfig};
use stun::framing::Deframer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tunnel::Tunnel;
use turn::{Auth, Client, ClientConfig, ClientEvent, Credentials, Joining, PeerPolicy, ServerConfig};

/// Everything here happens at once, or never.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const USER: &str = "alice";
pub const PASSWORD: &str = "wonderland";
/// Where the relay relays from: not the address that peers have, which would make them its own.
pub const RELAY_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

pub struct Server {
    addresses: Vec<(Transport, SocketAddr)>,
    pub handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    certificate: rustls_pki_types::CertificateDer<'static>,
}

/// A machine that lets clients reach 127.0.0.1 if `peers_on_loopback`.
pub fn machine(peers_on_loopback: bool) -> ServerConfig {
    let mut config =
        ServerConfig::new("example.org", RELAY_ADDRESS, Auth::user(USER, PASSWORD), Seed(crypto::seed()));
    if peers_on_loopback {
        config.policy = PeerPolicy::default().allow("127.0.0.1/32".parse().unwrap());
    }
    config.tcp_relay = true;
    config
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Any port of the loopback from which `address` is reached.
pub fn loopback_of(address: SocketAddr) -> SocketAddr {
    if address.is_ipv4() { loopback() } else { "[::1]:0".parse().unwrap() }
}

/// A port of `address` that is free for UDP and TCP at this moment.
pub fn free_port(address: &str) -> SocketAddr {
    loop {
        let tcp = std::net::TcpListener::bind((address, 0)).unwrap();
        let chosen = tcp.local_addr().unwrap();
        if std::net::UdpSocket::bind(chosen).is_ok() {
            return chosen;
        }
    }
}

impl Server {
    /// Listens on one port of each kind.
    pub fn start(peers_on_loopback: bool) -> Self {
        Self::with_limits(peers_on_loopback, Limits::default())
    }

    pub fn with_limits(peers_on_loopback: bool, limits: Limits) -> Self {
        let (certificate, tls) = tls_config();
        let dtls = Some(crypto::Certificate::generate().unwrap());
        // Not the peers' address: a port that the server listens on is never a peer's, and ports come by chance.
        let listening = "127.0.0.3:0".parse().unwrap();
        let config = RelayConfig {
            udp: vec![listening],
            tcp: vec![listening],
            tls: vec![(listening, tls)],
            dtls,
            limits,
            ..RelayConfig::new(machine(peers_on_loopback))
        };
        Self::run(config, certificate)
    }

    pub fn run(config: RelayConfig, certificate: rustls_pki_types::CertificateDer<'static>) -> Self {
        let relay = Relay::bind(config).unwrap();
        let (addresses, handle) = (relay.addresses().to_vec(), relay.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        Self { addresses, handle, stop: Some(stop), task, certificate }
    }

    /// One that somebody else runs.
    pub fn elsewhere(
        addresses: Vec<(Transport, SocketAddr)>,
        handle: Handle,
        certificate: rustls_pki_types::CertificateDer<'static>,
    ) -> Self {
        Self { addresses, handle, stop: None, task: tokio::spawn(async {}), certificate }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        let transport = if transport == Transport::Dtls { Transport::Udp } else { transport };
        self.addresses.iter().find(|(kind, _)| *kind == transport).unwrap().1
    }

    /// All addresses of a kind.
    pub fn addresses(&self, transport: Transport) -> Vec<SocketAddr> {
        self.addresses.iter().filter(|(kind, _)| *kind == transport).map(|(_, address)| *address).collect()
    }

    /// Ends it, and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.task).await.expect("the relay ends").unwrap();
    }

    /// A connection that speaks nothing yet; TLS with its handshake done.
    pub async fn connect(&self, transport: Transport) -> (Path, Box<dyn Stream>) {
        self.connect_to(self.address(transport), transport).await
    }

    /// The same, to this one of its addresses.
    pub async fn connect_to(&self, remote: SocketAddr, transport: Transport) -> (Path, Box<dyn Stream>) {
        let tcp = TcpStream::connect(remote).await.unwrap();
        let path = Path::new(transport, tcp.local_addr().unwrap(), remote);
        if transport == Transport::Tcp {
            return (path, Box::new(tcp));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        (path, Box::new(tls))
    }

    pub async fn client(&self, transport: Transport) -> TestClient {
        self.client_with(transport, USER, PASSWORD).await
    }

    pub async fn client_with(&self, transport: Transport, username: &str, password: &str) -> TestClient {
        self.client_of(transport, username, password, |_| {}).await
    }

    /// A client that wants TCP connections with peers.
    pub async fn stream_client(&self, transport: Transport) -> TestClient {
        self.client_of(transport, USER, PASSWORD, |config| config.streams = true).await
    }

    pub async fn client_of(
        &self,
        transport: Transport,
        username: &str,
        password: &str,
        change: impl FnOnce(&mut ClientConfig),
    ) -> TestClient {
        let credentials = Credentials { username: username.into(), password: password.into() };
        let change = |config: &mut ClientConfig| {
            config.credentials = credentials;
            change(config);
        };
        self.client_at(self.address(transport), transport, change).await
    }

    /// A client of this one of its addresses.
    pub async fn client_at(
        &self,
        remote: SocketAddr,
        transport: Transport,
        change: impl FnOnce(&mut ClientConfig),
    ) -> TestClient {
        let (path, link) = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(loopback_of(remote)).await.unwrap();
                socket.connect(remote).await.unwrap();
                (Path::udp(socket.local_addr().unwrap(), remote), Link::Udp(socket))
            }
            Transport::Dtls => {
                let tunnel = Tunnel::open(remote).await;
                (tunnel.path(), Link::Dtls(Box::new(tunnel)))
            }
            Transport::Tcp | Transport::Tls => {
                let (path, stream) = self.connect_to(remote, transport).await;
                (path, Link::Stream(Box::into_pin(stream), Deframer::new()))
            }
        };
        let credentials = Credentials { username: USER.into(), password: PASSWORD.into() };
        let mut config = ClientConfig::new(path, credentials, Seed(crypto::seed()));
        change(&mut config);
        TestClient {
            client: Client::new(Time::ZERO, config),
            link,
            start: Instant::now(),
            events: VecDeque::new(),
            received: VecDeque::new(),
        }
    }
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is a peer's.
pub struct Data {
    pub stream: Box<dyn Stream>,
    /// What came behind the server's last message.
    pub head: Vec<u8>,
}

impl Data {
    /// The next `count` bytes.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = self.head.split_off(0);
        self.head = bytes.split_off(count.min(bytes.len()));
        let had = bytes.len();
        bytes.resize(count, 0);
        timeout(PATIENCE, self.stream.read_exact(&mut bytes[had..])).await.expect("bytes come").unwrap();
        bytes
    }

    /// Waits for its end, before which nothing comes.
    pub async fn ended(&mut self) {
        let mut buffer = [0; 16];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("it ends");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

enum Link {
    Udp(UdpSocket),
    Dtls(Box<Tunnel>),
    Stream(Pin<Box<dyn Stream>>, Deframer),
}

pub struct TestClient {
    client: Client,
    link: Link,
    start: Instant,
    events: VecDeque<ClientEvent>,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl TestClient {
    /// A client whose allocation is there.
    pub async fn allocated(&mut self) -> SocketAddr {
        self.allocated_both().await.0
    }

    /// The same, with the address of the other family, if there is one.
    pub async fn allocated_both(&mut self) -> (SocketAddr, Option<SocketAddr>) {
        match self.event().await {
            ClientEvent::Allocated { relayed, additional, .. } => (relayed, additional),
            other => panic!("no allocation: {other:?}"),
        }
    }

    /// Asks for a permission, and waits for the channel or the refusal.
    pub async fn permit(&mut self, peer: SocketAddr) -> Result<(), Option<u16>> {
        self.client.permit(self.now(), peer);
        loop {
            match self.event().await {
                ClientEvent::ChannelBound(bound) if bound == peer => return Ok(()),
                ClientEvent::PermissionGranted(_) => {}
                ClientEvent::PermissionRefused { code, .. } => return Err(code),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asks for a permission only.
    pub async fn permit_without_channel(&mut self, peer: SocketAddr) {
        self.client.permit(self.now(), peer);
        let event = self.event().await;
        assert_eq!(event, ClientEvent::PermissionGranted(peer));
    }

    /// Has the server connect to a peer, and joins it with a stream of its own.
    pub async fn connect(&mut self, server: &Server, peer: SocketAddr) -> Result<Data, Option<u16>> {
        self.client.connect(self.now(), peer);
        match self.event().await {
            ClientEvent::PeerConnected { connection, .. } => Ok(self.join(server, connection).await),
            ClientEvent::PeerRefused { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    /// Joins a peer's connection with a stream of its own.
    pub async fn join(&mut self, server: &Server, connection: u32) -> Data {
        let (path, mut stream) = server.connect(self.client.server().transport).await;
        let mut data = self.client.data_connection(self.now(), path, connection);
        let mut deframer = Deframer::new();
        while data.state() == &Joining::Asking {
            let mut out = Batches::new(1 << 16);
            data.poll_transmit(self.now(), &mut out);
            while let Some(batch) = out.pop() {
                stream.write_all(&batch.bytes).await.unwrap();
            }
            let mut buffer = [0; 2000];
            let length = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").unwrap();
            assert!(length > 0, "closed");
            deframer.push(&buffer[..length]);
            while data.state() == &Joining::Asking
                && let Some(frame) = deframer.next_frame()
            {
                data.handle_frame(self.now(), frame.unwrap());
            }
        }
        assert_eq!(data.state(), &Joining::Joined);
        Data { stream, head: deframer.into_rest() }
    }

    pub async fn close(&mut self) {
        self.client.close(self.now());
        assert_eq!(self.event().await, ClientEvent::Closed);
    }

    pub async fn send(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let mut out = Batches::new(1 << 17);
        {
            let mut lane = self.client.lane(peer, &mut out).expect("the peer is permitted");
            assert!(lane.send_bytes((), bytes));
        }
        self.write(out).await;
    }

    /// Sends what is not to be fragmented on its way to the peer.
    pub async fn send_whole(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let mut out = Batches::new(1 << 17);
        {
            let mut lane = self.client.whole_lane(peer, &mut out).expect("the peer is permitted");
            assert!(lane.send_bytes((), bytes));
        }
        self.write(out).await;
    }

    /// Sends datagrams of one size by one system call. Over UDP only.
    pub async fn send_bundle(&mut self, peer: SocketAddr, datagrams: &[Vec<u8>]) {
        let mut out = Batches::new(1 << 17);
        {
            let mut lane = self.client.lane(peer, &mut out).expect("the peer is permitted");
            assert!(datagrams.iter().all(|bytes| lane.send_bytes((), bytes)));
        }
        let Link::Udp(socket) = &self.link else { panic!("not over UDP") };
        let batch = out.pop().expect("it has something");
        assert!(out.is_empty(), "they go by one call");
        let sender = udp::BareSocket::adopt(duplicate(socket), &udp::Config::default()).unwrap();
        assert!(matches!(sender.try_send_batch(&batch), udp::Outcome::Sent));
    }

    pub async fn recv(&mut self) -> (SocketAddr, Vec<u8>) {
        let next = async {
            loop {
                if let Some(received) = self.received.pop_front() {
                    return received;
                }
                self.turn().await.unwrap();
            }
        };
        timeout(PATIENCE, next).await.expect("something comes")
    }

    pub async fn event(&mut self) -> ClientEvent {
        let next = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                self.turn().await.unwrap();
            }
        };
        timeout(PATIENCE, next).await.expect("something happens")
    }

    /// Waits until the server has closed the stream.
    pub async fn closed(&mut self) {
        timeout(PATIENCE, async { while self.turn().await.is_ok() {} }).await.expect("the server closes");
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    async fn write(&mut self, mut out: Batches) {
        while let Some(batch) = out.pop() {
            match &mut self.link {
                Link::Udp(socket) => {
                    for datagram in batch.datagrams() {
                        socket.send(datagram).await.unwrap();
                    }
                }
                Link::Dtls(tunnel) => batch.datagrams().for_each(|datagram| tunnel.send(datagram)),
                Link::Stream(stream, _) => {
                    stream.write_all(&batch.bytes).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        }
    }

    /// Sends what is due, and takes in what comes next.
    async fn turn(&mut self) -> io::Result<()> {
        let mut out = Batches::new(1 << 17);
        self.client.poll_transmit(self.now(), &mut out);
        self.write(out).await;
        let before = self.events.len();
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
        if self.events.len() > before {
            return Ok(());
        }
        let due = self.client.poll_timeout().map_or(PATIENCE, |at| at.since(self.now()));
        let mut buffer = vec![0; 1 << 16];
        let read = async {
            match &mut self.link {
                Link::Udp(socket) => socket.recv(&mut buffer).await,
                Link::Dtls(tunnel) => tunnel.recv(&mut buffer).await,
                Link::Stream(stream, _) => match stream.read(&mut buffer).await {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    other => other,
                },
            }
        };
        let length = match timeout(due, read).await {
            Ok(read) => read?,
            Err(_) => {
                self.client.handle_timeout(self.now());
                0
            }
        };
        let now = self.now();
        let (client, received) = (&mut self.client, &mut self.received);
        let mut open = |frame: &mut [u8]| {
            client.open(now, frame, &mut |peer, data| received.push_back((peer, data.to_vec())));
        };
        match &mut self.link {
            Link::Udp(_) | Link::Dtls(_) => open(&mut buffer[..length]),
            Link::Stream(_, deframer) => {
                deframer.push(&buffer[..length]);
                while let Some(frame) = deframer.next_frame() {
                    open(frame.expect("the server sends whole frames"));
                }
            }
        }
        Ok(())
    }
}

/// Two clients speak to each other, each at his relayed address.
pub async fn meet(
    (one, at_one): (&mut TestClient, SocketAddr),
    (other, at_other): (&mut TestClient, SocketAddr),
) {
    one.permit(at_other).await.unwrap();
    other.permit(at_one).await.unwrap();
    one.send(at_other, b"hello").await;
    assert_eq!(other.recv().await, (at_one, b"hello".to_vec()));
    other.send(at_one, b"hello yourself").await;
    assert_eq!(one.recv().await, (at_other, b"hello yourself".to_vec()));
}

/// A certificate for `localhost`, and a server that shows it.
pub fn tls_config() -> (rustls_pki_types::CertificateDer<'static>, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (certificate, Arc::new(config))
}

/// Another handle of the same socket.
fn duplicate(socket: &UdpSocket) -> std::net::UdpSocket {
    use std::os::fd::AsFd as _;
    socket.as_fd().try_clone_to_owned().unwrap().into()
}

/// A peer: a plain socket that nobody told about TURN.
pub async fn peer() -> UdpSocket {
    UdpSocket::bind(loopback()).await.unwrap()
}

/// The same on IPv6.
pub async fn peer_v6() -> UdpSocket {
    UdpSocket::bind("[::1]:0").await.unwrap()
}

/// What a peer receives next.
pub async fn peer_recv(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) =
        timeout(PATIENCE, peer.recv_from(&mut buffer)).await.expect("something comes").unwrap();
    buffer.truncate(length);
    (buffer, from)
}
