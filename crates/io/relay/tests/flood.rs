//! Strangers flood the server with all that they can send, and sessions that it relays meanwhile lose nothing.
//!
//! What comes faster than the server can read it, the system drops from the buffer of the socket that it comes to, whoever
//! sent it: no server can help that. So the strangers have a listener and a relayed address to themselves, and the sessions
//! have theirs: what is sent to the latter waits in buffers that the flood cannot fill, and if any of it is lost, it was the
//! server that lost it, or did not get around to it. All of them are served by the same threads.

mod rig;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rig::*;
use sansio::Transport;
use sterna_relay::{Limits, Loss, RelayConfig};
use stun::{Class, MessageWriter, Method, TransactionId, kind};

/// How long it lasts, at least: until it has been one, and all sessions have been served.
const FLOOD: Duration = Duration::from_millis(2500);
/// On a machine that others use, too, that may take longer.
const LONGEST: Duration = Duration::from_secs(20);
/// Windows that each session has to get through.
const ROUNDS: u32 = 10;
/// Datagrams that a session has under way each way.
const WINDOW: u32 = 8;
/// Datagrams that a flooder sends from one address.
const BURST: u32 = 256;

/// What a stranger may send: number after number another thing.
fn unwanted(number: u32, targets: &Targets) -> (SocketAddr, Vec<u8>) {
    let id = TransactionId(std::array::from_fn(|at| (number >> (at % 4)) as u8 ^ at as u8));
    let message = |class, method, write: &dyn Fn(&mut MessageWriter<'_>)| {
        let mut buffer = vec![0; 1500];
        let mut writer = MessageWriter::new(&mut buffer, class, method, id);
        write(&mut writer);
        let length = writer.finish().expect("it fits");
        buffer.truncate(length);
        buffer
    };
    let noise =
        |length: u32| (0..length).map(|at| (number.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect();
    let plain: &dyn Fn(&mut MessageWriter<'_>) =
        &|writer| _ = writer.raw(kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let forged: &dyn Fn(&mut MessageWriter<'_>) = &|writer| {
        writer.string(kind::USERNAME, USER).string(kind::REALM, "example.org");
        writer.string(kind::NONCE, "obMatJos2AAAAforged").raw(kind::MESSAGE_INTEGRITY, &[7; 20]);
    };
    let to_peer: &dyn Fn(&mut MessageWriter<'_>) = &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, targets.peer).raw(kind::DATA, b"not from the client");
    };
    let bytes = match number % 12 {
        0 => message(Class::Request, Method::ALLOCATE, plain),
        1 => message(Class::Request, Method::ALLOCATE, forged),
        2 => message(Class::Request, Method::REFRESH, forged),
        3 => message(Class::Request, Method::BINDING, &|_| {}),
        4 => message(Class::Indication, Method::SEND, to_peer),
        5 => message(Class::Success, Method::ALLOCATE, plain),
        // The channel that the session has.
        6 => [&[0x40, 0, 0, 9][..], b"not from the client"].concat(),
        7 => vec![],
        8 => noise(20),
        9 => targets.hello.clone(),
        _ => noise(1400),
    };
    // What is no client's may come to where peers send, too.
    (if number % 4 == 3 { targets.relayed } else { targets.server }, bytes)
}

struct Targets {
    server: SocketAddr,
    relayed: SocketAddr,
    peer: SocketAddr,
    hello: Vec<u8>,
}

/// Sends as fast as the system takes it, from another address with every burst, until it is over. Tells how much it was.
fn flood(flooder: u32, over: &AtomicBool, next: impl Fn(u32) -> (SocketAddr, Vec<u8>)) -> u64 {
    // Made before, so that sending is all there is to do.
    let burst: Vec<_> = (0..BURST).map(|number| next(number + flooder)).collect();
    let mut sent = 0;
    for round in 0u32.. {
        let from = Ipv4Addr::new(127, 10 + flooder as u8, (round >> 8) as u8, round as u8);
        let socket = UdpSocket::bind((from, 0)).expect("all of 127/8 is ours");
        for (to, bytes) in &burst {
            if over.load(Ordering::Relaxed) {
                return sent;
            }
            sent += u64::from(socket.send_to(bytes, to).is_ok());
        }
    }
    sent
}

/// Datagrams that came to an address and found no room in the buffers of its sockets.
fn dropped_by_the_system(address: SocketAddr) -> u64 {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let drops = sockets
        .filter(|fields| fields.get(1) == Some(&&*local))
        .filter_map(|fields| fields.last()?.parse::<u64>().ok());
    drops.sum()
}

/// Lets numbered datagrams go each way, a window at a time, and misses none of them. Counts the windows.
async fn session(mut client: TestClient, over: Arc<AtomicBool>, counted: Arc<AtomicU32>) {
    let relayed = client.allocated().await;
    let peer = peer().await;
    let address = peer.local_addr().unwrap();
    client.permit(address).await.unwrap();
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        let bytes = |number: u32| {
            let number = rounds * WINDOW + number;
            [number.to_be_bytes().to_vec(), vec![number as u8; 996]].concat()
        };
        for number in 0..WINDOW {
            client.send(address, &bytes(number)).await;
            peer.send_to(&bytes(number), relayed).await.unwrap();
        }
        for number in 0..WINDOW {
            assert_eq!(peer_recv(&peer).await, (bytes(number), relayed), "round {rounds}");
            assert_eq!(client.recv().await, (address, bytes(number)), "round {rounds}");
        }
        rounds += 1;
        counted.store(rounds, Ordering::Relaxed);
    }
    // None of the flood got through.
    assert!(peer.try_recv(&mut [0; 1500]).is_err());
    client.close().await;
}

/// Sessions by all transports while as many threads as there are cores, and two more, send what `next` says.
async fn sessions_lose_nothing(
    shards: usize,
    next: impl Fn(u32, &Targets) -> (SocketAddr, Vec<u8>) + Copy + Send + 'static,
) {
    let listening = "127.0.0.3:0".parse().unwrap();
    let (certificate, tls) = tls_config();
    let config = RelayConfig {
        // The sessions' and the strangers'.
        udp: vec![listening, listening],
        tcp: vec![listening],
        tls: vec![(listening, tls)],
        dtls: Some(crypto::Certificate::generate().unwrap()),
        limits: Limits::default(),
        shards,
        ..RelayConfig::new(machine(true))
    };
    let server = Server::run(config, certificate);
    let mut victim = server.client(Transport::Udp).await;
    let peer = peer().await;
    let targets = Arc::new(Targets {
        server: server.addresses(Transport::Udp)[1],
        relayed: victim.allocated().await,
        peer: peer.local_addr().unwrap(),
        hello: tunnel::hello(),
    });
    victim.permit(targets.peer).await.unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let flooders: Vec<_> = (0..cores as u32 + 2)
        .map(|flooder| {
            let (over, targets) = (over.clone(), targets.clone());
            std::thread::spawn(move || flood(flooder, &over, |number| next(number, &targets)))
        })
        .collect();
    let begun = Instant::now();
    let mut sessions = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls] {
        // Clients are let in while it goes on, too.
        let client = server.client(transport).await;
        let rounds = Arc::new(AtomicU32::new(0));
        let session = tokio::spawn(session(client, over.clone(), rounds.clone()));
        sessions.push((transport, rounds, session));
    }
    let unread = || dropped_by_the_system(targets.server);
    let served = || sessions.iter().all(|(_, rounds, _)| rounds.load(Ordering::Relaxed) > ROUNDS);
    let lost = || sessions.iter().any(|(_, _, session)| session.is_finished());
    while begun.elapsed() < FLOOD || (begun.elapsed() < LONGEST && !lost() && !(served() && unread() > 0)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    let sent: u64 = flooders.into_iter().map(|flooder| flooder.join().unwrap()).sum();
    for (transport, rounds, session) in sessions {
        if session.await.is_err() {
            let status = server.handle.status().await.expect("it runs");
            panic!("{transport} lost something; in all {:?} of {:?}", status.lost, Loss::ALL);
        }
        let rounds = rounds.load(Ordering::Relaxed);
        println!("{shards} shards, {transport}: {rounds} rounds while {sent} datagrams of strangers came");
        assert!(rounds > ROUNDS, "{transport}: {rounds}");
    }
    // It was more than the server could read, and its sessions were served nevertheless.
    let unread = unread();
    println!("{unread} of them were not read");
    assert!(unread > 0, "{sent} are no flood");
    assert!(peer.try_recv(&mut [0; 1500]).is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_takes_nothing_from_sessions() {
    sessions_lose_nothing(1, unwanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_takes_nothing_from_sessions_on_two_shards() {
    sessions_lose_nothing(2, unwanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_dtls_hellos_takes_nothing_from_sessions() {
    sessions_lose_nothing(1, |_, targets| (targets.server, targets.hello.clone())).await;
}
