//! Strangers flood the server, and a session that is relayed meanwhile loses nothing.

mod rig;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rig::*;
use sansio::Transport;
use sterna_relay::RelayConfig;
use stun::{Class, MessageWriter, Method, TransactionId, kind};

/// How often the session says something, each way.
const ROUNDS: u32 = 400;
/// Who floods.
const FLOODERS: u32 = 4;
/// What each of them sends in a round. He is a round ahead at most: what the server has not read stays less than its socket
/// holds, so that no loss is the system's.
const BURST: u32 = 64;
/// No round but the last.
const OVER: u32 = u32::MAX;

/// What a stranger may send: number after number another thing.
fn unwanted(number: u32, relay: &Targets) -> (SocketAddr, Vec<u8>) {
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
        writer.xor_address(kind::XOR_PEER_ADDRESS, relay.peer).raw(kind::DATA, b"not from the client");
    };
    let bytes = match number % 11 {
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
        _ => noise(1400),
    };
    // What is no client's may come to where peers send, too.
    (if number % 4 == 3 { relay.relayed } else { relay.server }, bytes)
}

struct Targets {
    server: SocketAddr,
    relayed: SocketAddr,
    peer: SocketAddr,
}

/// Sends from another address with every burst, for as long as the session goes on. Tells how much it was.
fn flood(flooder: u32, round: &AtomicU32, targets: &Targets) -> u32 {
    let mut sent = 0;
    for burst in 0.. {
        while round.load(Ordering::Acquire) < burst {
            std::thread::yield_now();
        }
        if round.load(Ordering::Acquire) == OVER {
            return sent;
        }
        let from = Ipv4Addr::new(127, 10 + flooder as u8, (burst >> 8) as u8, burst as u8);
        let socket = UdpSocket::bind((from, 0)).expect("all of 127/8 is ours");
        for number in 0..BURST {
            let (to, bytes) = unwanted(burst * BURST + number + flooder, targets);
            socket.send_to(&bytes, to).expect("loopback takes everything");
            sent += 1;
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_takes_nothing_from_a_session() {
    for shards in [1, 2] {
        let listening = "127.0.0.3:0".parse().unwrap();
        let config = RelayConfig { udp: vec![listening], shards, ..RelayConfig::new(machine(true)) };
        let server = Server::run(config, tls_config().0);
        let mut client = server.client(Transport::Udp).await;
        let relayed = client.allocated().await;
        let peer = peer().await;
        let address = peer.local_addr().unwrap();
        client.permit(address).await.unwrap();

        let targets = Targets { server: server.address(Transport::Udp), relayed, peer: address };
        let (round, begun) = (AtomicU32::new(0), Instant::now());
        let (round, targets) = (std::sync::Arc::new(round), std::sync::Arc::new(targets));
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|flooder| {
                let (round, targets) = (round.clone(), targets.clone());
                std::thread::spawn(move || flood(flooder, &round, &targets))
            })
            .collect();
        for number in 0..ROUNDS {
            let bytes = [number.to_be_bytes().to_vec(), vec![number as u8; 996]].concat();
            client.send(address, &bytes).await;
            assert_eq!(peer_recv(&peer).await, (bytes.clone(), relayed), "round {number}");
            peer.send_to(&bytes, relayed).await.unwrap();
            assert_eq!(client.recv().await, (address, bytes), "round {number}");
            round.store(number, Ordering::Release);
        }
        // Others are let in meanwhile.
        server.client(Transport::Udp).await.allocated().await;
        round.store(OVER, Ordering::Release);
        let sent: u32 = flooders.into_iter().map(|flooder| flooder.join().unwrap()).sum();
        println!("{shards} shards: {sent} datagrams of strangers in {:?}", begun.elapsed());
        assert!(sent >= ROUNDS * BURST * (FLOODERS - 1), "{sent}");
        // None of it got anywhere.
        assert!(peer.try_recv(&mut [0; 1500]).is_err());
        assert!(begun.elapsed() < Duration::from_secs(60));
        client.close().await;
        server.stop().await;
    }
}
