//! Both machines in the simulated internet: NATs, loss, delay, streams, and the laws of the convention.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Hostile, Limits, Link, NatBehaviour, Net};
use sansio::{Datagram, Machine, Outbox, Path, Seed, SocketOp, SocketReply, Ticket, Time, Transport};
use sterna_turn::{Auth, Client, ClientConfig, ClientEvent, Credentials, Server, ServerConfig, ServerEvent};

const SECRET: &str = "a secret of this test alone";
const START: u64 = 1_700_000_000;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What owns a client, as an ICE agent does: it opens the way to the server and sends to one peer.
struct Talker {
    transport: Transport,
    local: SocketAddr,
    server: SocketAddr,
    seed: Seed,
    connect: bool,
    client: Option<Client>,
    to_send: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Told>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Client(ClientEvent),
    Heard(SocketAddr, Vec<u8>),
}

impl Talker {
    fn new(transport: Transport, local: SocketAddr, server: SocketAddr, seed: Seed) -> Self {
        let connect = transport != Transport::Udp;
        let mut talker = Self {
            transport,
            local,
            server,
            seed,
            connect,
            client: None,
            to_send: VecDeque::new(),
            events: VecDeque::new(),
        };
        if !connect {
            talker.start(Time::ZERO, Path::udp(local, server));
        }
        talker
    }

    fn start(&mut self, now: Time, path: Path) {
        let (username, password) =
            stun::credential::rest_credentials(SECRET, "talker", START + 3600).unwrap();
        let config = ClientConfig::new(path, Credentials { username, password }, self.seed);
        self.client = Some(Client::new(now, config));
    }

    fn relayed(&self) -> Option<SocketAddr> {
        self.client.as_ref()?.relayed()
    }
}

impl Machine for Talker {
    type Addr = Path;
    type Event = Told;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        if let Some(client) = &mut self.client {
            let events = &mut self.events;
            client.open(now, datagram.payload, &mut |peer, data| {
                events.push_back(Told::Heard(peer, data.to_vec()));
            });
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        let Some(client) = &mut self.client else { return };
        client.poll_transmit(now, out);
        while let Some((peer, bytes)) = self.to_send.front() {
            let sent = client.lane(*peer, out).is_some_and(|mut lane| lane.send_bytes((), bytes));
            if !sent {
                return;
            }
            self.to_send.pop_front();
        }
    }

    fn poll_event(&mut self) -> Option<Told> {
        if let Some(event) = self.client.as_mut().and_then(Client::poll_event) {
            return Some(Told::Client(event));
        }
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.client.as_ref()?.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        std::mem::take(&mut self.connect).then(|| SocketOp::Connect {
            ticket: Ticket(1),
            transport: self.transport,
            local: Some(self.local.ip()),
            remote: self.server,
            server_name: "turn.example.org".to_owned(),
        })
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        match (reply, &mut self.client) {
            (SocketReply::Connected { path, .. }, None) => self.start(now, path),
            (SocketReply::Disconnected { error, .. }, Some(client)) => {
                client.path_lost(now, &error.to_string());
            }
            _ => {}
        }
    }
}

fn add_server(net: &mut Net, name: &str) -> HostId {
    let host = net.add_host(name, &[Net::INTERNET]);
    let listening = net.socket(host, 3478);
    let seed = net.draw_seed();
    let auth = Auth::shared_secret(SECRET).unwrap();
    let mut config = ServerConfig::new("example.org", listening.ip(), auth, seed);
    config.listening = vec![listening];
    config.unix_time_at_start = secs(START);
    net.bind(host, listening).unwrap();
    net.listen(host, Transport::Tcp, listening).unwrap();
    net.listen(host, Transport::Tls, net.socket(host, 5349)).unwrap();
    config.listening.push(net.socket(host, 5349));
    net.start(host, Server::new(config).unwrap());
    host
}

fn add_talker(net: &mut Net, name: &str, server: HostId, transport: Transport, link: Link) -> HostId {
    let home = net.add_network(Net::INTERNET, name, NatBehaviour::symmetric());
    net.set_link(net.uplink(home), link);
    let host = net.add_host(name, &[home]);
    let local = net.socket(host, 5000);
    if transport == Transport::Udp {
        net.bind(host, local).unwrap();
    }
    let server = net.socket(server, if transport == Transport::Tls { 5349 } else { 3478 });
    let seed = net.draw_seed();
    net.start(host, Talker::new(transport, local, server, seed));
    host
}

/// Two talkers exchange ten messages each through their relayed addresses.
fn talk(net: &mut Net, alice: HostId, bob: HostId) {
    let relayed = |net: &Net, host| net.machine::<Talker>(host).relayed();
    let both = |net: &mut Net| relayed(net, alice).is_some() && relayed(net, bob).is_some();
    assert!(net.run_until(secs(60), both), "{}", net.trace());
    let (a, b) = (relayed(net, alice).unwrap(), relayed(net, bob).unwrap());
    for (host, peer) in [(alice, b), (bob, a)] {
        net.with(host, |talker: &mut Talker, now| talker.client.as_mut().unwrap().permit(now, peer));
    }
    let mut told = [Vec::new(), Vec::new()];
    let collect = |net: &mut Net, told: &mut [Vec<Told>; 2]| {
        told[0].extend(net.events::<Talker>(alice));
        told[1].extend(net.events::<Talker>(bob));
    };
    let granted = |told: &[Told], peer| told.contains(&Told::Client(ClientEvent::PermissionGranted(peer)));
    let ready = net.run_until(secs(60), |net| {
        collect(net, &mut told);
        granted(&told[0], b) && granted(&told[1], a)
    });
    assert!(ready, "{told:?}");
    for number in 0..10u8 {
        net.machine_mut::<Talker>(alice).to_send.push_back((b, vec![number; 500]));
        net.machine_mut::<Talker>(bob).to_send.push_back((a, vec![number; 700]));
        net.run_for(Duration::from_millis(200));
    }
    net.run_for(secs(5));
    collect(net, &mut told);
    for (told, peer, length) in [(&told[0], b, 700), (&told[1], a, 500)] {
        let heard: Vec<u8> = told
            .iter()
            .filter_map(|told| match told {
                Told::Heard(from, bytes) if *from == peer && bytes.len() == length => Some(bytes[0]),
                Told::Heard(from, bytes) => panic!("{} bytes from {from}", bytes.len()),
                Told::Client(_) => None,
            })
            .collect();
        assert!(!heard.is_empty(), "{told:?}");
        assert!(heard.is_sorted(), "{heard:?}");
    }
}

#[test]
fn behind_symmetric_nats_the_relay_connects_over_udp_tcp_and_tls() {
    for (seed, first, second) in [
        (1, Transport::Udp, Transport::Udp),
        (2, Transport::Udp, Transport::Tcp),
        (3, Transport::Tls, Transport::Tcp),
    ] {
        let mut net = Net::new(seed);
        let server = add_server(&mut net, "server");
        let alice = add_talker(&mut net, "alice", server, first, Link::delay_ms(20));
        let bob = add_talker(&mut net, "bob", server, second, Link::delay_ms(70));
        talk(&mut net, alice, bob);
    }
}

#[test]
fn two_relays_pass_packets_to_each_other() {
    let mut net = Net::new(4);
    let one = add_server(&mut net, "one");
    let two = add_server(&mut net, "two");
    let alice = add_talker(&mut net, "alice", one, Transport::Udp, Link::delay_ms(20));
    let bob = add_talker(&mut net, "bob", two, Transport::Tcp, Link::delay_ms(70));
    talk(&mut net, alice, bob);
}

#[test]
fn loss_delays_and_does_not_prevent() {
    for seed in 0..100 {
        let mut net = Net::new(seed);
        let server = add_server(&mut net, "server");
        // More than a quarter of all round trips. At 30 % each way one request in a hundred would fail all the seven
        // times that RFC 8489 §6.2.1 allows.
        let lossy = Link::delay_ms(30).with_loss(0.15);
        let alice = add_talker(&mut net, "alice", server, Transport::Udp, lossy.clone());
        let bob = add_talker(&mut net, "bob", server, Transport::Udp, lossy);
        talk(&mut net, alice, bob);
    }
}

#[test]
fn an_idle_allocation_stays_reachable_through_a_forgetful_nat() {
    let mut net = Net::new(5);
    let server = add_server(&mut net, "server");
    let alice = add_talker(&mut net, "alice", server, Transport::Udp, Link::delay_ms(20));
    let bob = add_talker(&mut net, "bob", server, Transport::Udp, Link::delay_ms(20));
    talk(&mut net, alice, bob);
    // An hour without a word: mappings of NATs last minutes, permissions five, allocations ten.
    net.run_for(secs(3600));
    net.events::<Talker>(alice);
    net.events::<Talker>(bob);
    talk_again(&mut net, alice, bob);
    assert_eq!(net.machine::<Server>(server).allocations(), 2);
}

/// What somebody sends who is nobody's client, as whom he likes: requests without a signature or with a wrong one, and garbage.
fn unwanted(dice: &mut sansio::Rng) -> Vec<u8> {
    let id = stun::TransactionId(dice.bytes());
    let methods = [
        stun::Method::ALLOCATE,
        stun::Method::REFRESH,
        stun::Method::CREATE_PERMISSION,
        stun::Method::BINDING,
    ];
    let method = methods[dice.below(4) as usize];
    match dice.below(5) {
        kind @ 0..2 => {
            let mut buffer = vec![0; 300];
            let mut writer = stun::MessageWriter::new(&mut buffer, stun::Class::Request, method, id);
            // Which would end the session.
            writer.u32(stun::kind::LIFETIME, 0).raw(stun::kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            if kind == 1 {
                let name = format!("{}:talker", START + 3600);
                writer.string(stun::kind::USERNAME, &name).string(stun::kind::REALM, "example.org");
                writer.string(stun::kind::NONCE, "obMatJos2AAAAforged");
                writer.raw(stun::kind::MESSAGE_INTEGRITY, &dice.bytes::<20>());
            }
            let length = writer.finish().unwrap();
            buffer.truncate(length);
            buffer
        }
        // A channel that nobody has.
        2 => [&[0x4f, 0xf0, 0, 3][..], &dice.bytes::<4>()].concat(),
        // A good header, and what follows is not.
        3 => [&[0, 8, 0, 44][..], &0x2112_A442u32.to_be_bytes(), &dice.bytes::<56>()].concat(),
        _ => dice.bytes::<64>().to_vec(),
    }
}

#[test]
fn a_flood_takes_nothing_from_a_session_whoever_it_seems_to_come_from() {
    let mut net = Net::new(11);
    let server = add_server(&mut net, "server");
    let alice = add_talker(&mut net, "alice", server, Transport::Udp, Link::delay_ms(20));
    let bob = add_talker(&mut net, "bob", server, Transport::Tcp, Link::delay_ms(30));
    talk(&mut net, alice, bob);
    let [a, b] = [alice, bob].map(|host| net.machine::<Talker>(host).relayed().unwrap());
    let listening = net.socket(server, 3478);
    // Where the server sees Alice: whoever can send from there may pass for her as far as data goes, and no further.
    let seen = net.events::<Server>(server).into_iter().find_map(|event| match event {
        ServerEvent::AllocationCreated { client, .. } if client.transport == Transport::Udp => {
            Some(client.remote)
        }
        _ => None,
    });
    let seen = seen.expect("she has an allocation");
    let mut dice = sansio::Rng::new(Seed::from(12));
    for number in 0..500u32 {
        for _ in 0..100 {
            let stranger = SocketAddr::from(([5, 9, dice.below(256) as u8, dice.below(256) as u8], 4000));
            let (from, to) = match dice.below(3) {
                0 => (seen, listening),
                1 => (stranger, listening),
                _ => (stranger, [a, b][dice.below(2) as usize]),
            };
            net.inject(Net::INTERNET, Path::udp(from, to), &unwanted(&mut dice));
        }
        for (host, peer) in [(alice, b), (bob, a)] {
            net.machine_mut::<Talker>(host).to_send.push_back((peer, number.to_be_bytes().to_vec()));
        }
        net.run_for(Duration::from_millis(10));
    }
    net.run_for(secs(1));
    for (host, peer) in [(alice, b), (bob, a)] {
        let told = net.events::<Talker>(host);
        let all: Vec<Told> =
            (0..500u32).map(|number| Told::Heard(peer, number.to_be_bytes().to_vec())).collect();
        assert!(told == all, "{} of 500, {:?}", told.len(), told.first());
    }
    let machine = net.machine::<Server>(server);
    assert_eq!(machine.allocations(), 2);
    assert!(machine.counters().packets_to_peers < 2 * 550, "{:?}", machine.counters());
}

fn talk_again(net: &mut Net, alice: HostId, bob: HostId) {
    let b = net.machine::<Talker>(bob).relayed().unwrap();
    let a = net.machine::<Talker>(alice).relayed().unwrap();
    net.machine_mut::<Talker>(alice).to_send.push_back((b, b"still there?".to_vec()));
    net.run_for(secs(1));
    assert_eq!(net.events::<Talker>(bob), [Told::Heard(a, b"still there?".to_vec())]);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut net = Net::new(seed);
        let server = add_server(&mut net, "server");
        let alice = add_talker(&mut net, "alice", server, Transport::Udp, Link::delay_ms(20).with_loss(0.2));
        let bob = add_talker(&mut net, "bob", server, Transport::Tcp, Link::delay_ms(70));
        talk(&mut net, alice, bob);
        net.trace().to_string()
    };
    assert_eq!(run(6), run(6));
    assert_ne!(run(6), run(7));
}

#[test]
fn hostile_bytes_get_no_more_than_a_challenge_and_leave_nothing() {
    let local: SocketAddr = "5.0.0.1:3478".parse().unwrap();
    let mut config =
        ServerConfig::new("example.org", local.ip(), Auth::shared_secret(SECRET).unwrap(), Seed::from(8));
    config.listening = vec![local];
    let mut server = Server::new(config).unwrap();
    let path = Path::udp(local, "5.0.0.2:1".parse().unwrap());
    // What a friend sends first, and what he sends when he is challenged.
    let config = ClientConfig::new(
        path.reversed(),
        Credentials { username: "1700003600:x".into(), password: "y".into() },
        Seed::from(9),
    );
    let mut client = Client::new(Time::ZERO, config);
    let mut samples = Vec::new();
    for _ in 0..2 {
        let mut out = sansio::Batches::new(1 << 20);
        client.poll_transmit(Time::ZERO, &mut out);
        let mut request = out.pop().unwrap().bytes;
        samples.push(request.clone());
        server.handle_datagram(Time::ZERO, Datagram { from: path, payload: &mut request }, &mut out);
        client.open(Time::ZERO, &mut out.pop().unwrap().bytes, &mut |_, _| {});
    }
    let mut hostile = Hostile::new(10).with_samples(samples);
    let answers = hostile.assault(&mut server, Time::ZERO, &[path], 20_000, Limits::default());
    assert!(answers.datagrams < 1000, "{answers:?}");
    // Whoever shows by his nonce that he is where he says gets a line in the log with his refusal.
    assert!(answers.events <= answers.datagrams, "{answers:?}");
    assert_eq!((server.allocations(), server.poll_socket()), (0, None));
}
