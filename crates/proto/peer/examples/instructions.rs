//! What is counted by `cargo xtask instructions`: `instructions CASE` prepares a case and calls [`measured`], inside of which
//! callgrind counts. A case that counts several operations prints how many.

use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Outbox as _, Path, Seed, SocketOp, SocketReply, Time};
use sterna_peer::{Configuration, Connection, DataChannelInit, Event, MessageKind};
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};

/// How often small cases are repeated.
const TIMES: usize = 100;

/// Where callgrind counts.
#[inline(never)]
fn measured(case: &mut dyn FnMut()) {
    case();
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    let operations = match case.as_str() {
        "parse" => parse(),
        "seal" => seal(),
        "relay" => relay(),
        "checks" => checks(),
        "message" => message(),
        "open" => open(),
        other => panic!("there is no case {other:?}: parse, seal, relay, checks, message, open"),
    };
    println!("{operations}");
}

fn certificate() -> crypto::Certificate {
    crypto::Certificate::generate().expect("there is randomness")
}

/// A check of ICE, read and held to be genuine.
fn parse() -> usize {
    let key = stun::Key::short_term("a password of some length");
    let mut buffer = [0; 200];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([7; 12]));
    writer.string(kind::USERNAME, "abcdefgh:ijklmnop").u32(kind::PRIORITY, 9).u64(kind::ICE_CONTROLLING, 1);
    writer.integrity(&key).fingerprint();
    let length = writer.finish().expect("it fits");
    measured(&mut || {
        for _ in 0..TIMES {
            let message = Message::parse(&buffer[..length]).expect("it is one");
            assert!(message.username().is_some() && message.check_fingerprint());
            assert!(message.check_integrity(&key).is_ok());
        }
    });
    TIMES
}

/// 1,200 bytes as a record of DTLS.
fn seal() -> usize {
    let now = Time::ZERO;
    let certificates = [certificate(), certificate()];
    let [mut client, mut server] = [(dtls::Role::Client, 0), (dtls::Role::Server, 1)].map(|(role, own)| {
        let theirs = vec![certificates[1 - own].fingerprint()];
        let config = dtls::Config::new(role, certificates[own].clone(), theirs, Seed::from(own as u64));
        dtls::Endpoint::new(now, config).expect("the certificate is ours")
    });
    while !(client.is_connected() && server.is_connected()) {
        for turn in [0, 1] {
            let (from, to) = if turn == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut wire: Vec<Vec<u8>> = Vec::new();
            from.poll_transmit(now, &mut wire);
            wire.iter_mut().for_each(|datagram| to.open(now, datagram, &mut |_| {}));
        }
    }
    let payload = [7; 1200];
    let mut wire: Vec<Vec<u8>> = Vec::with_capacity(TIMES);
    measured(&mut || {
        for _ in 0..TIMES {
            assert!(client.lane(&mut wire).send_bytes((), &payload));
        }
    });
    TIMES
}

/// ChannelData of 1,000 bytes from a client, through the server's machine, to the peer.
fn relay() -> usize {
    let now = Time::ZERO;
    let listening = "192.0.2.9:3478".parse().expect("an address");
    let peer = "198.51.100.7:4000".parse().expect("an address");
    let auth = turn::Auth::user("user", "password");
    let mut config =
        turn::ServerConfig::new("realm", std::net::SocketAddr::ip(&listening), auth, Seed::from(1));
    config.listening = vec![listening];
    let mut server = turn::Server::new(config).expect("it can be");
    let path = Path::udp("203.0.113.5:5000".parse().expect("an address"), listening);
    let credentials = turn::Credentials { username: "user".to_owned(), password: "password".to_owned() };
    let mut client = turn::Client::new(now, turn::ClientConfig::new(path, credentials, Seed::from(2)));
    let mut wire = Batches::new(1 << 20);
    let mut permitted = false;
    for _ in 0..20 {
        client.poll_transmit(now, &mut wire);
        server.poll_transmit(now, &mut wire);
        while let Some(op) = server.poll_socket() {
            if let SocketOp::Bind { ticket, local } = op {
                server.handle_socket(now, SocketReply::Bound { ticket, local });
            }
        }
        server.poll_transmit(now, &mut wire);
        while let Some(batch) = wire.pop() {
            let from = batch.path.reversed();
            for datagram in batch.datagrams() {
                let mut payload = datagram.to_vec();
                if from.local == listening {
                    server.handle_datagram(now, Datagram { from, payload: &mut payload }, &mut wire);
                } else {
                    client.open(now, &mut payload, &mut |_, _| {});
                }
            }
        }
        if client.relayed().is_some() && !std::mem::replace(&mut permitted, true) {
            client.permit(now, peer);
        }
    }
    assert!(client.overhead(peer) == 4, "the channel is bound");
    let mut lane = client.lane(peer, &mut wire).expect("there is one");
    assert!(lane.send_bytes((), &[7; 1000]));
    let batch = wire.pop().expect("it was written");
    let (from, mut payload) = (batch.path.reversed(), batch.bytes.clone());
    measured(&mut || {
        for _ in 0..TIMES {
            server.handle_datagram(now, Datagram { from, payload: &mut payload }, &mut wire);
        }
    });
    assert!(wire.pop().is_some_and(|batch| batch.path.remote == peer));
    TIMES
}

/// Two connections of one machine, and the wire between.
struct Pair {
    now: Time,
    ends: [Connection; 2],
    wire: Batches,
    packets: usize,
    messages: usize,
    channel: Option<sterna_peer::ChannelId>,
}

impl Pair {
    fn new() -> Self {
        let now = Time::ZERO;
        let certificate = certificate();
        let ends = [1, 2].map(|number| {
            let mut configuration = Configuration::new(Seed::from(number), certificate.clone());
            let address = [192, 0, 2, number as u8].into();
            configuration.interfaces = vec![ice::Interface::new("eth0", address)];
            Connection::new(now, configuration)
        });
        Self { now, ends, wire: Batches::new(1 << 20), packets: 0, messages: 0, channel: None }
    }

    /// Signalling, and all that follows at once.
    fn connect(&mut self) {
        let now = self.now;
        let [one, other] = &mut self.ends;
        one.create_data_channel(now, "chat", DataChannelInit::default()).expect("a channel");
        one.set_local_description(now, None).expect("an offer");
        bind(one, now);
        other.set_remote_description(now, one.local_description().expect("an offer")).expect("it fits");
        other.set_local_description(now, None).expect("an answer");
        bind(other, now);
        one.set_remote_description(now, other.local_description().expect("an answer")).expect("it fits");
        self.settle();
        while self.channel.is_none() {
            self.wait();
        }
    }

    /// Takes turns until nobody has anything to say.
    fn settle(&mut self) {
        let now = self.now;
        loop {
            for end in &mut self.ends {
                end.handle_timeout(now);
                end.poll_transmit(now, &mut self.wire);
                while let Some(event) = end.poll_event() {
                    match event {
                        Event::ChannelOpened { id, incoming: false } => self.channel = Some(id),
                        Event::MessageReceived { .. } => self.messages += 1,
                        _ => {}
                    }
                }
            }
            let mut any = false;
            while let Some(mut batch) = self.wire.pop() {
                (any, self.packets) = (true, self.packets + batch.datagrams().count());
                let from = batch.path.reversed();
                let end = usize::from(from.local.ip() != std::net::IpAddr::from([192, 0, 2, 1]));
                let segment = batch.segment.max(1);
                for payload in batch.bytes.chunks_mut(segment) {
                    self.ends[end].handle_datagram(now, Datagram { from, payload }, &mut self.wire);
                }
                self.wire.recycle(batch);
            }
            if !any {
                return;
            }
        }
    }

    /// Until the next deadline of either.
    fn wait(&mut self) {
        let next = self.ends.iter().filter_map(Machine::poll_timeout).min();
        self.now = next.expect("there is always consent to ask for").max(self.now);
        self.settle();
    }
}

fn bind(connection: &mut Connection, now: Time) {
    while let Some(op) = connection.poll_socket() {
        if let SocketOp::Bind { ticket, local } = op {
            connection.handle_socket(now, SocketReply::Bound { ticket, local: (local.ip(), 5000).into() });
        }
    }
}

/// 100 checks for consent and their answers, at both ends.
fn checks() -> usize {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..50 {
        pair.wait();
    }
    let before = pair.packets;
    measured(&mut || {
        while pair.packets < before + 2 * 100 {
            pair.wait();
        }
    });
    1
}

/// A message of 1,000 bytes, from one application to the other, and what SCTP says about it.
fn message() -> usize {
    let mut pair = Pair::new();
    pair.connect();
    let channel = pair.channel.expect("it is open");
    pair.now += Duration::from_secs(1);
    pair.settle();
    measured(&mut || {
        for _ in 0..TIMES {
            pair.ends[0].send(pair.now, channel, MessageKind::Binary, &[7; 1000]).expect("there is room");
            pair.settle();
        }
    });
    assert_eq!(pair.messages, TIMES);
    TIMES
}

/// A connection from the first description to the open channel, both ends, with all of its cryptography.
fn open() -> usize {
    let mut pair = Pair::new();
    measured(&mut || pair.connect());
    1
}
