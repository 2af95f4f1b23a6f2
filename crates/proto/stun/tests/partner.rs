//! Two servers with one address each, which help out one another: what clients learn from them, and what nobody else
//! can make them do.

use std::net::SocketAddr;
use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sansio::{Batches, Datagram, Machine as _, Path, Seed, Time};
use sterna_stun::discovery::{self, Behaviour, Discovery, NatReport};
use sterna_stun::server::{Alternate, Config, PartnerSecret, Server};
use sterna_stun::{ChangeRequest, Class, Message, MessageWriter, Method, TransactionId};

const SECRET: &str = "two nodes know this and nobody else";
const ONE: &str = "192.0.2.1";
const TWO: &str = "198.51.100.1";
const CLIENT: &str = "203.0.113.7:4000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A node at its address; the other one is elsewhere.
fn node(own: &str, other: &str, secret: &str, seed: u64) -> Server {
    let alternate = Alternate::new(at(&format!("{own}:3478")), at(&format!("{other}:3479"))).unwrap();
    let partner = Some((PartnerSecret::new(secret).unwrap(), Seed::from(seed)));
    Server::new(Config { alternate: Some(alternate), partner, ..Config::default() })
}

fn nodes() -> [Server; 2] {
    [node(ONE, TWO, SECRET, 1), node(TWO, ONE, SECRET, 2)]
}

fn request(build: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 4000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([4; 12]));
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

fn give(server: &mut Server, now: Time, from: Path, bytes: &[u8]) -> Option<(Path, Vec<u8>)> {
    let mut out = Batches::new(1 << 16);
    server.handle_datagram(now, Datagram { from, payload: &mut bytes.to_vec() }, &mut out);
    let sent = out.pop().map(|batch| (batch.path, batch.bytes.clone()));
    assert!(out.pop().is_none(), "one datagram, or none");
    sent
}

/// What the first node sends to the second when the client wants to be answered from there.
fn forwarded(one: &mut Server, client: &str) -> (Path, Vec<u8>) {
    let from = Path::udp(at(&format!("{ONE}:3478")), at(client));
    let bytes = request(&|writer| {
        writer.change_request(ChangeRequest::BOTH);
    });
    let (path, bytes) = give(one, Time::ZERO, from, &bytes).unwrap();
    assert_eq!((path.local, path.remote), (at(&format!("{ONE}:3478")), at(&format!("{TWO}:3478"))));
    (path, bytes)
}

fn arrives(path: Path) -> Path {
    Path::udp(path.remote, path.local)
}

#[test]
fn the_other_node_answers_where_it_is_asked_for() {
    let [mut one, mut two] = nodes();
    for to_port in [3478, 3479] {
        for change in [ChangeRequest { ip: true, port: false }, ChangeRequest::BOTH, ChangeRequest::PORT] {
            let from = Path::udp(SocketAddr::new(ONE.parse().unwrap(), to_port), at(CLIENT));
            let asked = request(&|writer| {
                writer.change_request(change).fingerprint();
            });
            let (mut path, mut bytes) = give(&mut one, Time::ZERO, from, &asked).unwrap();
            if change.ip {
                (path, bytes) =
                    give(&mut two, Time::ZERO, arrives(path), &bytes).expect("it is asked to answer");
            }
            let answered_by = if change.ip { TWO } else { ONE };
            let answered_port = if change.port { 3478 + 3479 - to_port } else { to_port };
            let origin = SocketAddr::new(answered_by.parse().unwrap(), answered_port);
            assert_eq!((path.local, path.remote), (origin, at(CLIENT)));
            let answer = Message::parse(&bytes).unwrap();
            assert_eq!((answer.class(), answer.transaction_id()), (Class::Success, TransactionId([4; 12])));
            assert!(answer.check_fingerprint());
            assert_eq!(
                (answer.xor_mapped_address(), answer.mapped_address()),
                (Some(at(CLIENT)), Some(at(CLIENT)))
            );
            assert_eq!(answer.response_origin(), Some(origin));
            let other = SocketAddr::new(TWO.parse().unwrap(), 3478 + 3479 - to_port);
            assert_eq!(answer.other_address(), Some(other));
        }
    }
}

#[test]
fn padding_and_the_response_port_are_passed_on() {
    let [mut one, mut two] = nodes();
    let from = Path::udp(at(&format!("{ONE}:3478")), at(CLIENT));
    let ip = ChangeRequest { ip: true, port: false };
    let asked = request(&|writer| {
        writer.change_request(ip).padding(1200);
    });
    let (path, bytes) = give(&mut one, Time::ZERO, from, &asked).unwrap();
    assert!(bytes.len() < 200, "the node is not sent the padding");
    let (_, answer) = give(&mut two, Time::ZERO, arrives(path), &bytes).unwrap();
    assert!(
        answer.len() <= asked.len() && answer.len() + 200 > asked.len(),
        "{} {}",
        answer.len(),
        asked.len()
    );
    let asked = request(&|writer| {
        writer.change_request(ip).response_port(5000);
    });
    let (path, bytes) = give(&mut one, Time::ZERO, from, &asked).unwrap();
    let (path, answer) = give(&mut two, Time::ZERO, arrives(path), &bytes).unwrap();
    assert_eq!(path.remote, at("203.0.113.7:5000"));
    assert_eq!(Message::parse(&answer).unwrap().xor_mapped_address(), Some(at(CLIENT)));
}

#[test]
fn a_request_of_rfc_3489_is_answered_from_there_too() {
    let [mut one, mut two] = nodes();
    let mut asked = [0; 28];
    asked[..4].copy_from_slice(&[0, 1, 0, 8]);
    asked[4..20].fill(7);
    asked[20..].copy_from_slice(&[0, 3, 0, 4, 0, 0, 0, 6]);
    let from = Path::udp(at(&format!("{ONE}:3478")), at(CLIENT));
    let (path, bytes) = give(&mut one, Time::ZERO, from, &asked).unwrap();
    let (path, answer) = give(&mut two, Time::ZERO, arrives(path), &bytes).unwrap();
    assert_eq!((path.local, path.remote), (at(&format!("{TWO}:3479")), at(CLIENT)));
    assert_eq!((&answer[..2], &answer[4..20]), (&[1, 1][..], &asked[4..20]));
    assert_eq!(answer[28..32], [203, 0, 113, 7], "MAPPED-ADDRESS");
}

#[test]
fn strangers_are_not_obeyed() {
    let [mut one, mut two] = nodes();
    let (path, bytes) = forwarded(&mut one, CLIENT);
    // From another address, or port of nobody's: the signature alone does not do.
    let elsewhere = Path::udp(path.remote, at("203.0.113.66:3478"));
    assert_eq!(give(&mut two, Time::ZERO, elsewhere, &bytes), None);
    // Any bit changed.
    for byte in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[byte] ^= 1;
        assert_eq!(give(&mut two, Time::ZERO, arrives(path), &forged), None, "byte {byte}");
    }
    // Another secret.
    let (path, forged) = forwarded(&mut node(ONE, TWO, "another secret that is long enough", 1), CLIENT);
    assert_eq!(give(&mut two, Time::ZERO, arrives(path), &forged), None);
    // It was good, all the same; but once only.
    assert!(give(&mut two, Time::ZERO, arrives(path), &bytes).is_some());
    assert_eq!(give(&mut two, Time::ZERO, arrives(path), &bytes), None, "a replay");
    // A node that has no partner obeys nobody.
    let alternate = Alternate::new(at(&format!("{TWO}:3478")), at(&format!("{ONE}:3479"))).unwrap();
    let mut single = Server::new(Config { alternate: Some(alternate), ..Config::default() });
    let (path, bytes) = forwarded(&mut one, CLIENT);
    assert_eq!(give(&mut single, Time::ZERO, arrives(path), &bytes), None);
    assert!(PartnerSecret::new("short").is_err());
}

#[test]
fn a_forged_sender_does_not_make_a_node_reach_into_its_own_network() {
    let [mut one, mut two] = nodes();
    for client in
        ["10.0.0.5:4000", "127.0.0.1:4000", "169.254.169.254:80", "100.64.0.1:4000", "224.0.0.1:4000"]
    {
        let (path, bytes) = forwarded(&mut one, client);
        assert_eq!(give(&mut two, Time::ZERO, arrives(path), &bytes), None, "{client}");
    }
}

#[test]
fn a_node_that_starts_anew_is_heard_again() {
    let [mut one, mut two] = nodes();
    for seed in 1..60 {
        let (path, bytes) = forwarded(&mut one, CLIENT);
        assert!(give(&mut two, Time::ZERO, arrives(path), &bytes).is_some());
        assert_eq!(give(&mut two, Time::ZERO, arrives(path), &bytes), None);
        one = node(ONE, TWO, SECRET, 100 + seed);
    }
}

#[test]
fn so_many_a_second_and_no_more() {
    let [mut one, mut two] = nodes();
    let from = Path::udp(at(&format!("{ONE}:3478")), at(CLIENT));
    let asked = request(&|writer| {
        writer.change_request(ChangeRequest::BOTH);
    });
    let mut ask = |now| {
        let sent = give(&mut one, now, from, &asked)?;
        give(&mut two, now, arrives(sent.0), &sent.1)
    };
    let answered = (0..2000).filter(|_| ask(Time::ZERO).is_some()).count();
    assert_eq!(answered, 200);
    assert!(ask(Time::ZERO + Duration::from_secs(1)).is_some());
}

/// Discovery behind a NAT finds by two nodes what it is.
#[test]
fn discovery_works_with_two_nodes() {
    for (behaviour, mapping, filtering) in [
        (NatBehaviour::none(), Behaviour::None, Behaviour::None),
        (NatBehaviour::full_cone(), Behaviour::EndpointIndependent, Behaviour::EndpointIndependent),
        (NatBehaviour::address_restricted(), Behaviour::EndpointIndependent, Behaviour::AddressDependent),
        (NatBehaviour::port_restricted(), Behaviour::EndpointIndependent, Behaviour::AddressAndPortDependent),
    ] {
        let report = discover(behaviour);
        assert_eq!((report.nat.mapping, report.nat.filtering), (mapping, filtering), "{report:#?}");
        assert!(report.server.is_some());
    }
}

fn discover(behaviour: NatBehaviour) -> NatReport {
    let mut net = Net::new(7);
    let hosts = ["one", "two"].map(|name| net.add_host(name, &[Net::INTERNET]));
    let [first, second] = hosts.map(|host| net.addresses(host)[0]);
    for (host, own, other, seed) in [(hosts[0], first, second, 1), (hosts[1], second, first, 2)] {
        for port in [3478, 3479] {
            net.bind(host, SocketAddr::new(own, port)).unwrap();
        }
        net.start(host, node(&own.to_string(), &other.to_string(), SECRET, seed));
    }
    let lan = net.add_network(Net::INTERNET, "nat", behaviour);
    net.set_link(net.uplink(lan), Link::delay_ms(10));
    let client = net.add_host("client", &[lan]);
    let local = net.addresses(client)[0];
    let config = discovery::Config::new(local, vec![SocketAddr::new(first, 3478)], net.draw_seed());
    let now = net.now();
    net.start(client, Discovery::new(now, config));
    net.run_for(Duration::from_secs(10));
    net.machine::<Discovery>(client).report()
}
