//! What a session costs: memory, and none for its packets. The only test of its process, for what it counts is all that the
//! process takes.

mod rig;

use std::alloc::System;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rig::{PASSWORD, USER, loopback, machine};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use sterna_relay::{Relay, RelayConfig};
use stun::credential::LongTerm;
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Datagrams each way.
const PACKETS: usize = 10_000;
/// What may be taken meanwhile, for all of them: a table grows, a thread wakes for the first time.
const FEW: usize = 100;
/// Sessions that are weighed.
const SESSIONS: usize = 2_000;
const KIB: usize = 1024;

/// A client that takes no memory while it sends and receives.
struct Client {
    socket: UdpSocket,
    long_term: LongTerm,
    next_id: u8,
    relayed: SocketAddr,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(loopback()).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let long_term = LongTerm::new(USER, PASSWORD);
        let mut client = Self { socket, long_term, next_id: 0, relayed: loopback() };
        let allocate: &dyn Fn(&mut MessageWriter<'_>) =
            &|writer| _ = writer.raw(kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let (request, challenge) = client.ask(Method::ALLOCATE, allocate);
        let (request, challenge) = (Message::parse(&request).unwrap(), Message::parse(&challenge).unwrap());
        client.long_term.handle_error(&request, &challenge);
        let (_, answer) = client.ask(Method::ALLOCATE, allocate);
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.class(), Class::Success, "{:?}", answer.error_code());
        client.relayed = answer.xor_address(kind::XOR_RELAYED_ADDRESS).unwrap();
        client
    }

    fn ask(&mut self, method: Method, attributes: &dyn Fn(&mut MessageWriter<'_>)) -> (Vec<u8>, Vec<u8>) {
        let (mut request, mut answer) = (vec![0; 1000], vec![0; 1000]);
        self.next_id += 1;
        let id = TransactionId([self.next_id; 12]);
        let mut writer = MessageWriter::new(&mut request, Class::Request, method, id);
        attributes(&mut writer);
        self.long_term.sign(&mut writer);
        let length = writer.finish().unwrap();
        request.truncate(length);
        self.socket.send(&request).unwrap();
        let length = self.socket.recv(&mut answer).expect("an answer");
        answer.truncate(length);
        (request, answer)
    }

    fn succeeds(&mut self, method: Method, attributes: &dyn Fn(&mut MessageWriter<'_>)) {
        let (_, answer) = self.ask(method, attributes);
        assert_eq!(Message::parse(&answer).unwrap().class(), Class::Success);
    }
}

/// Lets `up` go to the peer and 160 bytes come back, so many times.
fn exchange(client: &Client, peer: &UdpSocket, up: &[u8], times: usize) {
    let mut buffer = [0; 2000];
    for _ in 0..times {
        client.socket.send(up).unwrap();
        let (length, from) = peer.recv_from(&mut buffer).expect("it reaches the peer");
        assert_eq!((length, from), (160, client.relayed));
        peer.send_to(&buffer[..160], client.relayed).unwrap();
        let length = client.socket.recv(&mut buffer).expect("it reaches the client");
        assert!(length > 160);
    }
}

fn packets_take_no_memory(server: SocketAddr) {
    let peer = UdpSocket::bind(loopback()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let to = peer.local_addr().unwrap();

    let mut by_channel = Client::new(server);
    by_channel.succeeds(Method::CHANNEL_BIND, &|writer| {
        writer.u32(kind::CHANNEL_NUMBER, 0x4000 << 16).xor_address(kind::XOR_PEER_ADDRESS, to);
    });
    let channel_data = [&[0x40, 0, 0, 160][..], &[7; 160]].concat();

    let mut by_indication = Client::new(server);
    by_indication.succeeds(Method::CREATE_PERMISSION, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, to);
    });
    let mut send = [0; 300];
    let id = TransactionId([1; 12]);
    let mut writer = MessageWriter::new(&mut send, Class::Indication, Method::SEND, id);
    writer.xor_address(kind::XOR_PEER_ADDRESS, to).raw(kind::DATA, &[7; 160]);
    let length = writer.finish().unwrap();

    for (client, up) in [(&by_channel, &channel_data[..]), (&by_indication, &send[..length])] {
        // The first ones make the flows, and tables what they will be.
        exchange(client, &peer, up, 1000);
        let region = Region::new(GLOBAL);
        exchange(client, &peer, up, PACKETS);
        let taken = region.change();
        let times = taken.allocations + taken.reallocations;
        println!("{PACKETS} datagrams each way: memory taken {times} times, {} bytes", taken.bytes_allocated);
        assert!(times <= FEW, "{times} times for {PACKETS} datagrams each way");
    }
}

fn a_session_takes_little_memory(server: SocketAddr) {
    let clients = |count: usize| (0..count).map(|_| Client::new(server)).collect::<Vec<_>>();
    // The first ones open what all share.
    let first = clients(100);
    let region = Region::new(GLOBAL);
    let sockets: Vec<UdpSocket> = {
        // What the clients themselves take is given back; what they hold is a socket.
        clients(SESSIONS).into_iter().map(|client| client.socket).collect()
    };
    let taken = region.change();
    let kept = taken.bytes_allocated as isize - taken.bytes_deallocated as isize;
    let each = kept as f64 / SESSIONS as f64;
    println!("{SESSIONS} sessions take {each:.0} bytes each");
    assert!(each < 3.0 * KIB as f64, "{each} bytes each");
    drop((first, sockets));
}

#[test]
fn packets_take_no_memory_and_sessions_little() {
    for shards in [1, 2] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (server, running) = runtime.block_on(async {
            let mut machine = machine(true);
            machine.quotas.per_user = usize::MAX;
            machine.quotas.per_source = usize::MAX;
            machine.quotas.unauthenticated_per_second = u32::MAX;
            let listening = "127.0.0.3:0".parse().unwrap();
            let config = RelayConfig { udp: vec![listening], shards, ..RelayConfig::new(machine) };
            let relay = Relay::bind(config).unwrap();
            let server = relay.addresses()[0].1;
            (server, tokio::spawn(relay.run(async { _ = stopped.await })))
        });
        packets_take_no_memory(server);
        a_session_takes_little_memory(server);
        drop(stop);
        runtime.block_on(running).unwrap();
    }
}
