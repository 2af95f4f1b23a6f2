//! The loop, with toy machines over real sockets of this machine.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sansio::{Datagram, Machine, Outbox, Path, SocketError, SocketOp, SocketReply, Ticket, Time, Transport};
use sterna_driver::{Clock, Connector, Engine, Host, Network, Shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Does what its test tells it, and remembers what happened.
#[derive(Default)]
struct Toy {
    ops: VecDeque<SocketOp>,
    replies: Vec<SocketReply>,
    outgoing: VecDeque<(Path, Vec<u8>)>,
    echo: bool,
    received: Vec<(Path, Vec<u8>)>,
    alarm: Option<Time>,
    alarms: Vec<Time>,
}

impl Machine for Toy {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        if self.echo {
            out.send_bytes(datagram.from, datagram.payload);
        } else {
            self.received.push((datagram.from, datagram.payload.to_vec()));
        }
    }
    fn handle_timeout(&mut self, now: Time) {
        if self.alarm.is_some_and(|at| at <= now) {
            self.alarm = None;
            self.alarms.push(now);
        }
    }
    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        while let Some((path, bytes)) = self.outgoing.front() {
            if !out.send_bytes(*path, bytes) {
                break;
            }
            self.outgoing.pop_front();
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.alarm
    }
    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.ops.pop_front()
    }
    fn handle_socket(&mut self, _: Time, reply: SocketReply) {
        self.replies.push(reply);
    }
}

#[derive(Default)]
struct Toys {
    toy: Toy,
    done: bool,
    abandoned: bool,
    turns: usize,
}

impl Host for Toys {
    type Machine = Toy;
    fn machine(&mut self) -> &mut Toy {
        &mut self.toy
    }
    fn absorb(&mut self, _: Time, _: &mut Vec<Waker>) -> bool {
        self.turns += 1;
        false
    }
    fn ended(&self) -> bool {
        self.done
    }
    fn abandon(&mut self, _: &mut Vec<Waker>) {
        self.abandoned = true;
    }
}

fn start(network: Network) -> (Arc<Shared<Toys>>, tokio::task::JoinHandle<()>) {
    let shared = Shared::new(Clock::start(), Toys::default());
    let engine = tokio::spawn(Engine::new(shared.clone(), network));
    (shared, engine)
}

fn tell(shared: &Shared<Toys>, what: impl FnOnce(&mut Toys)) {
    what(&mut shared.lock());
    shared.wake();
}

/// Looks until there is something to see.
async fn until<T>(shared: &Shared<Toys>, mut look: impl FnMut(&mut Toys) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(seen) = look(&mut shared.lock()) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.expect("it happens")
}

/// Waits until the machine gets nothing more out, though it has its turn again and again; tells how much it has left.
async fn held_back(shared: &Shared<Toys>) -> usize {
    let (mut before, mut quiet) = (usize::MAX, 0);
    while quiet < 5 {
        let turns = shared.lock().turns;
        shared.wake();
        let waiting = until(shared, |toys| (toys.turns > turns).then_some(toys.toy.outgoing.len())).await;
        quiet = if waiting == before { quiet + 1 } else { 0 };
        before = waiting;
    }
    before
}

async fn bound(shared: &Shared<Toys>, local: &str) -> SocketAddr {
    let (ticket, local) = (Ticket(7), local.parse().unwrap());
    tell(shared, |toys| toys.toy.ops.push_back(SocketOp::Bind { ticket, local }));
    until(shared, |toys| match toys.toy.replies.pop() {
        Some(SocketReply::Bound { ticket: Ticket(7), local }) => Some(local),
        Some(other) => panic!("{other:?}"),
        None => None,
    })
    .await
}

async fn reply(shared: &Shared<Toys>, op: SocketOp) -> SocketReply {
    tell(shared, |toys| toys.toy.ops.push_back(op));
    until(shared, |toys| toys.toy.replies.pop()).await
}

fn connect(transport: Transport, remote: SocketAddr, server_name: &str) -> SocketOp {
    SocketOp::Connect { ticket: Ticket(1), transport, local: None, remote, server_name: server_name.into() }
}

/// ChannelData with `length` bytes of payload, padded as on a stream.
fn frame(length: usize) -> Vec<u8> {
    let mut frame = vec![0x40, 0x01, (length >> 8) as u8, length as u8];
    frame.resize(4 + length.next_multiple_of(4), 0);
    frame[4..4 + length].fill(length as u8);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_more_than_there_is_room_for_comes_back_in_order() {
    let (here, _) = start(Network::default());
    let (there, _) = start(Network::default());
    let (a, b) = (bound(&here, "127.0.0.1:0").await, bound(&there, "127.0.0.1:0").await);
    tell(&there, |toys| toys.toy.echo = true);
    // Four times the outbox, less than the socket buffers hold.
    let datagrams: Vec<Vec<u8>> = (0..512u32).map(|n| n.to_be_bytes().repeat(250)).collect();
    let path = Path::udp(a, b);
    tell(&here, |toys| toys.toy.outgoing.extend(datagrams.iter().map(|bytes| (path, bytes.clone()))));
    let received = until(&here, |toys| {
        (toys.toy.received.len() == datagrams.len()).then(|| std::mem::take(&mut toys.toy.received))
    })
    .await;
    assert!(received.into_iter().eq(datagrams.into_iter().map(|bytes| (path, bytes))));
    assert!(here.lock().turns < 200, "{} turns for 512 datagrams both ways", here.lock().turns);
}

#[tokio::test]
async fn a_socket_that_is_given_up_first_sends_what_was_written() {
    let (here, _) = start(Network::default());
    let (there, _) = start(Network::default());
    let (a, b) = (bound(&here, "127.0.0.1:0").await, bound(&there, "127.0.0.1:0").await);
    tell(&here, |toys| {
        toys.toy.outgoing.push_back((Path::udp(a, b), b"farewell".to_vec()));
        toys.toy.ops.push_back(SocketOp::Unbind { local: a });
    });
    let received = until(&there, |toys| toys.toy.received.pop()).await;
    assert_eq!(received, (Path::udp(b, a), b"farewell".to_vec()));
    std::net::UdpSocket::bind(a).expect("the port is free again");
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused() {
    let (here, _) = start(Network::default());
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _keep = std::net::UdpSocket::bind(taken).unwrap();
    for (local, expected) in
        [(taken, SocketError::InUse), ("203.0.113.99:0".parse().unwrap(), SocketError::Unreachable)]
    {
        let answer = reply(&here, SocketOp::Bind { ticket: Ticket(1), local }).await;
        assert_eq!(answer, SocketReply::Failed { ticket: Ticket(1), error: expected });
    }
}

#[tokio::test]
async fn alarms_ring_once_and_not_early_wherever_they_move() {
    let (here, _) = start(Network::default());
    let now = here.now();
    let (soon, later) = (now + Duration::from_millis(30), now + Duration::from_millis(120));
    tell(&here, |toys| toys.toy.alarm = Some(soon));
    tokio::task::yield_now().await;
    tell(&here, |toys| toys.toy.alarm = Some(later));
    let rung = until(&here, |toys| toys.toy.alarms.pop()).await;
    assert!(rung >= later, "{rung} is before {later}");
    let turns = here.lock().turns;
    assert!(turns < 12, "{turns} turns");
    tell(&here, |toys| toys.toy.alarm = Some(later + Duration::from_secs(100)));
    tell(&here, |toys| toys.toy.alarm = Some(later + Duration::from_millis(1)));
    until(&here, |toys| toys.toy.alarms.pop()).await;
}

#[tokio::test]
async fn the_engine_ends_with_its_host_and_says_goodbye() {
    let (here, engine) = start(Network::default());
    tell(&here, |toys| toys.done = true);
    tokio::time::timeout(Duration::from_secs(10), engine).await.expect("it ends").unwrap();
    assert!(here.lock().abandoned);
}

#[test]
fn the_host_learns_that_the_runtime_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = runtime.block_on(async { start(Network::default()).0 });
    assert!(!here.lock().abandoned);
    drop(runtime);
    assert!(here.lock().abandoned);
}

#[tokio::test]
async fn frames_travel_by_tcp_and_the_end_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut tcp, from) = listener.accept().await.unwrap();
        let mut bytes = vec![0; frame(5).len() + frame(1200).len()];
        tcp.read_exact(&mut bytes).await.unwrap();
        // In pieces that respect no frame.
        for piece in bytes.chunks(7) {
            tcp.write_all(piece).await.unwrap();
            tcp.flush().await.unwrap();
        }
        from
    });
    let (here, _) = start(Network::default());
    let SocketReply::Connected { ticket: Ticket(1), path } =
        reply(&here, connect(Transport::Tcp, remote, "")).await
    else {
        panic!("not connected")
    };
    assert_eq!((path.transport, path.remote), (Transport::Tcp, remote));
    tell(&here, |toys| toys.toy.outgoing.extend([(path, frame(5)), (path, frame(1200))]));
    let received =
        until(&here, |toys| (toys.toy.received.len() == 2).then(|| std::mem::take(&mut toys.toy.received)))
            .await;
    assert_eq!(received, [(path, frame(5)[..9].to_vec()), (path, frame(1200))]);
    assert_eq!(server.await.unwrap(), path.local);
    let end = until(&here, |toys| toys.toy.replies.pop()).await;
    assert_eq!(end, SocketReply::Disconnected { path, error: SocketError::Closed });
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_the_machine_back_and_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let (here, _) = start(Network::default());
    let SocketReply::Connected { path, .. } = reply(&here, connect(Transport::Tcp, remote, "")).await else {
        panic!("not connected")
    };
    let (mut tcp, _) = listener.accept().await.unwrap();
    const FRAMES: usize = 20_000;
    tell(&here, |toys| toys.toy.outgoing.extend((0..FRAMES).map(|_| (path, frame(1200)))));
    let waiting = held_back(&here).await;
    assert!(waiting > 0, "24 MB do not fit into the buffers of a socket");
    let mut bytes = vec![0; FRAMES * frame(1200).len()];
    tcp.read_exact(&mut bytes).await.unwrap();
    assert!(bytes.chunks(frame(1200).len()).all(|chunk| chunk == frame(1200)));
}

#[tokio::test]
async fn garbage_on_a_stream_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, _) = start(Network::default());
    let remote = listener.local_addr().unwrap();
    let SocketReply::Connected { path, .. } = reply(&here, connect(Transport::Tcp, remote, "")).await else {
        panic!("not connected")
    };
    let (mut tcp, _) = listener.accept().await.unwrap();
    tcp.write_all(b"SSH-2.0-surprise\r\n").await.unwrap();
    let end = until(&here, |toys| toys.toy.replies.pop()).await;
    assert!(
        matches!(end, SocketReply::Disconnected { path: ended, error: SocketError::Other(_) } if ended == path)
    );
    assert_eq!(tcp.read(&mut [0; 10]).await.unwrap_or(0), 0, "our end is closed");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let remote = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (here, _) = start(Network::default());
    let answer = reply(&here, connect(Transport::Tcp, remote, "")).await;
    assert_eq!(answer, SocketReply::Failed { ticket: Ticket(1), error: SocketError::Refused });
}

/// A TLS server with a certificate of its own for `name`, that echoes; its address and certificate.
async fn tls_server(name: &str) -> (SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.clone()));
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let (mut read, mut write) = tokio::io::split(tls);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (address, certificate)
}

#[tokio::test]
async fn frames_travel_by_tls_to_a_server_that_is_trusted() {
    let (remote, certificate) = tls_server("turn.example.org").await;
    let (here, _) = start(Network::new(Connector::new(vec![certificate])));
    let SocketReply::Connected { path, .. } =
        reply(&here, connect(Transport::Tls, remote, "turn.example.org")).await
    else {
        panic!("not connected")
    };
    assert_eq!(path.transport, Transport::Tls);
    tell(&here, |toys| toys.toy.outgoing.push_back((path, frame(900))));
    let received = until(&here, |toys| toys.toy.received.pop()).await;
    assert_eq!(received, (path, frame(900)));
}

#[tokio::test]
async fn a_certificate_of_nobody_or_for_another_is_refused_with_the_reason() {
    let (remote, certificate) = tls_server("turn.example.org").await;
    for (authorities, name) in [(vec![], "turn.example.org"), (vec![certificate], "turn.example.com")] {
        let (here, _) = start(Network::new(Connector::new(authorities)));
        match reply(&here, connect(Transport::Tls, remote, name)).await {
            SocketReply::Failed { ticket: Ticket(1), error: SocketError::Tls(why) } => {
                assert!(why.contains(name), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn names_are_looked_up() {
    let (here, _) = start(Network::default());
    let answer = reply(&here, SocketOp::Resolve { ticket: Ticket(3), name: "localhost".into() }).await;
    assert!(matches!(answer, SocketReply::Resolved { ticket: Ticket(3), .. }), "{answer:?}");
}
