//! A server with two addresses and two ports (RFC 5780 §6), and what strangers can make it do.

use std::net::SocketAddr;

use netsim::{Hostile, Limits};
use sansio::{Batches, Datagram, Machine as _, Path, Time, Transport};
use sterna_stun::server::{Alternate, AlternateError, Config, Server};
use sterna_stun::{ChangeRequest, Class, Message, MessageWriter, Method, TransactionId, kind};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn alternate() -> Alternate {
    Alternate::new(at("192.0.2.1:3478"), at("192.0.2.2:3479")).unwrap()
}

fn server() -> Server {
    Server::new(Config { alternate: Some(alternate()), ..Config::default() })
}

fn request(build: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = [0; 4000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([4; 12]));
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer[..length].to_vec()
}

/// The way and the bytes of the one answer.
fn ask(server: &mut Server, from: Path, mut request: Vec<u8>) -> (Path, Vec<u8>) {
    let mut out = Batches::new(1 << 16);
    server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut request }, &mut out);
    let answer = out.pop().expect("there is an answer");
    assert!(out.pop().is_none());
    (answer.path, answer.bytes.clone())
}

const CLIENT: &str = "198.51.100.7:4000";

#[test]
fn the_flags_say_where_the_answer_comes_from() {
    // RFC 5780 §6.1, table 1.
    for (to, ca_cp) in [
        ("192.0.2.1:3478", "192.0.2.2:3479"),
        ("192.0.2.1:3479", "192.0.2.2:3478"),
        ("192.0.2.2:3478", "192.0.2.1:3479"),
        ("192.0.2.2:3479", "192.0.2.1:3478"),
    ] {
        for (ip, port) in [(false, false), (true, false), (false, true), (true, true)] {
            let from = Path::udp(at(to), at(CLIENT));
            let bytes = request(&|writer| {
                if ip || port {
                    writer.change_request(ChangeRequest { ip, port });
                }
            });
            let (path, bytes) = ask(&mut server(), from, bytes);
            let (to, other) = (at(to), at(ca_cp));
            let source = SocketAddr::new(
                if ip { other.ip() } else { to.ip() },
                if port { other.port() } else { to.port() },
            );
            assert_eq!((path.local, path.remote), (source, at(CLIENT)));
            let answer = Message::parse(&bytes).unwrap();
            assert_eq!(answer.class(), Class::Success);
            assert_eq!(answer.xor_mapped_address(), Some(at(CLIENT)));
            assert_eq!(answer.mapped_address(), Some(at(CLIENT)));
            assert_eq!(answer.response_origin(), Some(source));
            assert_eq!(answer.other_address(), Some(other));
        }
    }
}

#[test]
fn behind_a_one_to_one_nat_the_world_is_told_the_addresses_it_sees() {
    let alternate = alternate().advertised([203, 0, 113, 1].into(), [203, 0, 113, 2].into());
    let mut server = Server::new(Config { alternate: Some(alternate), ..Config::default() });
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let (path, bytes) = ask(&mut server, from, request(&|_| {}));
    assert_eq!(path, from);
    let answer = Message::parse(&bytes).unwrap();
    assert_eq!(answer.response_origin(), Some(at("203.0.113.1:3478")));
    assert_eq!(answer.other_address(), Some(at("203.0.113.2:3479")));
}

#[test]
fn response_port_goes_to_the_same_address_and_to_no_service() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let with = |port| request(&move |writer| _ = writer.response_port(port));
    let (path, _) = ask(&mut server(), from, with(50_000));
    assert_eq!(path, Path::udp(from.local, at("198.51.100.7:50000")));
    for port in [0, 53, 1023] {
        let (path, bytes) = ask(&mut server(), from, with(port));
        assert_eq!(path, from);
        assert_eq!(Message::parse(&bytes).unwrap().error_code().unwrap().code, 400);
    }
}

#[test]
fn over_ipv6_an_answer_stays_within_four_times_its_request_too() {
    let alternate = Alternate::new(at("[2001:db8::1]:3478"), at("[2001:db8::2]:3479")).unwrap();
    let from = Path::udp(at("[2001:db8::1]:3478"), at("[2001:db8::7]:4000"));
    for software in [None, Some("a name".to_owned())] {
        let mut server = Server::new(Config { alternate: Some(alternate), software, ..Config::default() });
        let bare = request(&|_| {});
        let (_, bytes) = ask(&mut server, from, bare.clone());
        assert!(bytes.len() <= 4 * bare.len(), "{}", bytes.len());
        let answer = Message::parse(&bytes).unwrap();
        assert_eq!(answer.xor_mapped_address(), Some(from.remote));
        assert_eq!(answer.other_address(), Some(at("[2001:db8::2]:3479")));
        // Who asks in more words gets all of it.
        let (_, bytes) =
            ask(&mut server, from, request(&|writer| _ = writer.string(kind::SOFTWARE, "sterna 1.0")));
        let answer = Message::parse(&bytes).unwrap();
        assert_eq!(answer.response_origin(), Some(from.local));
        assert_eq!(answer.mapped_address(), Some(from.remote));
    }
}

#[test]
fn padding_and_response_port_do_not_go_together() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let bytes = request(&|writer| _ = writer.response_port(50_000).padding(64));
    let (path, bytes) = ask(&mut server(), from, bytes);
    let answer = Message::parse(&bytes).unwrap();
    assert_eq!((path, answer.class(), answer.padding()), (from, Class::Error, None));
    assert_eq!(answer.error_code().unwrap().code, 400);
}

#[test]
fn an_answer_with_padding_is_no_longer_than_its_request() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    for asked in [0, 4, 48, 300, 1500, 3000] {
        let request = request(&|writer| _ = writer.padding(asked));
        let long = request.len();
        let (_, bytes) = ask(&mut server(), from, request);
        assert!(Message::parse(&bytes).unwrap().padding().is_some_and(|bytes| bytes <= asked));
        // Below that it has what every answer has.
        assert_eq!(bytes.len(), long.max(20 + 4 * 12 + 4), "{asked}");
    }
}

#[test]
fn streams_and_other_addresses_get_what_a_server_with_one_address_says() {
    let stream = Path::new(Transport::Tcp, at("192.0.2.1:3478"), at(CLIENT));
    let elsewhere = Path::udp(at("192.0.2.9:3478"), at(CLIENT));
    for from in [stream, elsewhere] {
        let (path, bytes) = ask(&mut server(), from, request(&|_| {}));
        let answer = Message::parse(&bytes).unwrap();
        assert_eq!((path, answer.other_address()), (from, None));
        let change = request(&|writer| _ = writer.change_request(ChangeRequest::BOTH));
        let (path, bytes) = ask(&mut server(), from, change);
        assert_eq!((path, Message::parse(&bytes).unwrap().error_code().unwrap().code), (from, 420));
    }
}

#[test]
fn a_server_with_one_address_refuses_what_it_cannot_do() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let builds: [&dyn Fn(&mut MessageWriter<'_>); 3] = [
        &|writer| _ = writer.change_request(ChangeRequest::PORT),
        &|writer| _ = writer.response_port(50_000),
        &|writer| _ = writer.padding(8),
    ];
    for build in builds {
        let (path, bytes) = ask(&mut Server::default(), from, request(build));
        let answer = Message::parse(&bytes).unwrap();
        assert_eq!((path, answer.error_code().unwrap().code), (from, 420));
        assert_eq!(answer.unknown_attributes().unwrap().len(), 1);
    }
}

#[test]
fn addresses_that_are_no_pair_are_refused() {
    let pair = |one, two| Alternate::new(at(one), at(two)).err();
    assert_eq!(pair("192.0.2.1:1", "[2001:db8::1]:2"), Some(AlternateError::Family));
    assert_eq!(pair("192.0.2.1:1", "192.0.2.1:2"), Some(AlternateError::Address));
    assert_eq!(pair("0.0.0.0:1", "192.0.2.1:2"), Some(AlternateError::Address));
    assert_eq!(pair("192.0.2.1:1", "192.0.2.2:1"), Some(AlternateError::Port));
    assert_eq!(pair("192.0.2.1:1", "192.0.2.2:0"), Some(AlternateError::Port));
}

/// A Binding request of RFC 3489: 16 bytes of id, and no cookie.
fn classic(attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, attributes.len() as u8];
    bytes.extend([7; 16]);
    bytes.extend(attributes);
    bytes
}

#[test]
fn clients_of_rfc_3489_are_answered_in_their_way() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let (path, bytes) = ask(&mut server(), from, classic(&[0, 3, 0, 4, 0, 0, 0, 6]));
    assert_eq!(path, Path::udp(at("192.0.2.2:3479"), at(CLIENT)));
    let address = |kind, [a, b, c, d]: [u8; 4], port: u16| {
        let [high, low] = port.to_be_bytes();
        [0, kind, 0, 8, 0, 1, high, low, a, b, c, d]
    };
    let expected = [
        &[1, 1, 0, 36][..],
        &[7; 16],
        &address(1, [198, 51, 100, 7], 4000),
        &address(4, [192, 0, 2, 2], 3479),
        &address(5, [192, 0, 2, 2], 3479),
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn what_was_dangerous_in_rfc_3489_gets_no_answer() {
    let from = Path::udp(at("192.0.2.1:3478"), at(CLIENT));
    let response_address = [0, 2, 0, 8, 0, 1, 0, 53, 203, 0, 113, 9];
    for attributes in
        [&response_address[..], &[0, 6, 0, 4, 1, 2, 3, 4], &[0, 3, 0, 9, 0], &[0, 3, 0, 2, 0, 0]]
    {
        let mut out = Batches::new(1 << 16);
        let mut bytes = classic(attributes);
        server().handle_datagram(Time::ZERO, Datagram { from, payload: &mut bytes }, &mut out);
        assert!(out.pop().is_none(), "{attributes:?}");
    }
    let mut out = Batches::new(1 << 16);
    Server::default().handle_datagram(Time::ZERO, Datagram { from, payload: &mut classic(&[]) }, &mut out);
    assert!(out.pop().is_none(), "a server with one address does not speak it");
}

#[test]
fn hostile_bytes_get_one_answer_of_bounded_size_and_only_to_where_they_claim_to_be_from() {
    let samples = vec![
        request(&|_| {}),
        request(&|writer| _ = writer.change_request(ChangeRequest::BOTH)),
        request(&|writer| _ = writer.response_port(50_000)),
        request(&|writer| _ = writer.padding(600)),
        request(&|writer| _ = writer.response_port(50_000).padding(600)),
        classic(&[]),
        classic(&[0, 3, 0, 4, 0, 0, 0, 6]),
        request(&|writer| _ = writer.flag(kind::CHANGE_REQUEST).raw(kind::RESPONSE_PORT, &[1])),
    ];
    let paths: Vec<_> = alternate()
        .sockets()
        .iter()
        .flat_map(|local| (1..6).map(|port| Path::udp(*local, ([198, 51, 100, 7], port).into())))
        .collect();
    // Three addresses more than a plain answer has: 68 bytes over IPv4 in answer to 20.
    let limits = Limits { datagrams: 1, amplification: 3.41, allowance: 0 };
    let answers =
        Hostile::new(5).with_samples(samples).assault(&mut server(), Time::ZERO, &paths, 20_000, limits);
    assert!(answers.datagrams > 0, "the samples are near enough to be answered");
}
