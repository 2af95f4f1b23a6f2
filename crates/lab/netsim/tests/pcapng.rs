//! Captures are read back, block by block, and say what happened.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::{PORT, ms, puppet, received, replies, send};
use sansio::{Path, SocketOp, SocketReply, Ticket, Transport};
use sterna_netsim::{HostId, NatBehaviour, Net, Preset, Puppet};

/// A packet of a capture, as a reader sees it.
#[derive(Debug)]
struct Captured {
    interface: u32,
    nanos: u64,
    bytes: Vec<u8>,
    length: usize,
    comment: Option<String>,
    outward: bool,
}

#[derive(Debug, Default)]
struct Capture {
    interfaces: Vec<String>,
    names: usize,
    packets: Vec<Captured>,
}

fn u16_le(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes(bytes[..2].try_into().unwrap()))
}

fn u32_le(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().unwrap())
}

fn options(mut bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let (code, length) = (u16_le(bytes), u16_le(&bytes[2..]));
        if code == 0 {
            assert_eq!(bytes.len(), 4, "the end is the end");
            return found;
        }
        found.push((code, bytes[4..4 + length].to_vec()));
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
}

fn read(mut file: &[u8]) -> Capture {
    let mut capture = Capture::default();
    let mut first = true;
    while !file.is_empty() {
        let (kind, length) = (u32_le(file), u32_le(&file[4..]) as usize);
        assert!(length % 4 == 0 && length <= file.len());
        assert_eq!(u32_le(&file[length - 4..]) as usize, length, "the length stands behind the block too");
        let body = &file[8..length - 4];
        assert_eq!(kind == 0x0a0d_0d0a, first, "the section header comes first, and once");
        first = false;
        match kind {
            0x0a0d_0d0a => {
                assert_eq!(u32_le(body), 0x1a2b_3c4d);
                assert_eq!((u16_le(&body[4..]), u16_le(&body[6..])), (1, 0));
                options(&body[16..]);
            }
            1 => {
                assert_eq!(u16_le(body), 101, "raw IP");
                let options = options(&body[8..]);
                let resolution = options.iter().find(|(code, _)| *code == 9).unwrap();
                assert_eq!(resolution.1, [9], "nanoseconds");
                let name = options.iter().find(|(code, _)| *code == 2).unwrap();
                capture.interfaces.push(String::from_utf8(name.1.clone()).unwrap());
            }
            4 => capture.names = options(body).len(),
            6 => {
                let (kept, length) = (u32_le(&body[12..]) as usize, u32_le(&body[16..]) as usize);
                let options = options(&body[20 + kept.next_multiple_of(4)..]);
                let comment = options.iter().find(|(code, _)| *code == 1);
                let flags = options.iter().find(|(code, _)| *code == 2).unwrap();
                capture.packets.push(Captured {
                    interface: u32_le(body),
                    nanos: u64::from(u32_le(&body[4..])) << 32 | u64::from(u32_le(&body[8..])),
                    bytes: body[20..20 + kept].to_vec(),
                    length,
                    comment: comment.map(|(_, text)| String::from_utf8(text.clone()).unwrap()),
                    outward: u32_le(&flags.1) == 2,
                });
            }
            other => panic!("block {other:#x}"),
        }
        file = &file[length..];
    }
    capture
}

/// From where to where, by IPv4, and the bytes behind the IP header.
fn addresses(packet: &[u8]) -> (SocketAddr, SocketAddr, &[u8]) {
    assert_eq!(packet[0], 0x45);
    let ip = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap();
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    ((ip(12), port(20)).into(), (ip(16), port(22)).into(), &packet[20..])
}

struct Scene {
    net: Net,
    hosts: [HostId; 2],
    home: sterna_netsim::SegmentId,
}

/// A host behind a NAT says hello and is answered; then a stranger's port knocks.
fn scene(payloads: bool) -> Scene {
    let mut net = Net::new(1);
    if payloads {
        net.trace_mut().keep_payloads();
    }
    let home = net.add_preset(Net::INTERNET, "home", Preset::PortRestricted);
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let to = net.socket(server, PORT);
    send(&mut net, inner, to, "hello");
    let mapped = received(&mut net, server)[0].0;
    send(&mut net, server, mapped, "welcome");
    net.bind(server, net.socket(server, 9)).unwrap();
    let knock = Path::udp(net.socket(server, 9), mapped);
    net.machine_mut::<Puppet>(server).send(knock, b"knock");
    net.run_for(ms(100));
    // And a packet to a port where nobody is: it reaches the host all the same.
    send(&mut net, inner, SocketAddr::new(to.ip(), 77), "nobody");
    Scene { net, hosts: [inner, server], home }
}

#[test]
fn a_host_captures_what_it_sent_and_received() {
    let Scene { net, hosts, .. } = scene(true);
    let capture = read(&net.trace().pcapng(net.place(hosts[1])));
    assert_eq!(capture.interfaces, ["server-eth0"]);
    assert_eq!(capture.names, 2);
    let told: Vec<_> = capture
        .packets
        .iter()
        .map(|packet| {
            let (_, _, udp) = addresses(&packet.bytes);
            assert_eq!(packet.length, packet.bytes.len());
            (packet.nanos / 1_000_000, packet.outward, std::str::from_utf8(&udp[8..]).unwrap())
        })
        .collect();
    let expected =
        [(10, false, "hello"), (200, true, "welcome"), (400, true, "knock"), (510, false, "nobody")];
    assert_eq!(told, expected);
    let last = capture.packets.last().unwrap();
    assert_eq!(last.comment.as_deref(), Some("dropped: no socket is bound there"));
}

#[test]
fn a_box_captures_both_sides_and_says_what_it_did() {
    let Scene { net, hosts, home } = scene(true);
    let capture = read(&net.trace().pcapng(net.gateway_place(home)));
    assert_eq!(capture.interfaces, ["home-inside", "home-outside"]);
    let inner = net.socket(hosts[0], PORT);
    let outer = SocketAddr::new(net.external_address(home), PORT);
    let server = net.socket(hosts[1], PORT);
    let seen: Vec<_> = capture
        .packets
        .iter()
        .map(|packet| {
            let (from, to, _) = addresses(&packet.bytes);
            (packet.interface, packet.outward, from, to)
        })
        .collect();
    assert_eq!(
        seen[..4],
        [
            (0, false, inner, server),
            (1, true, outer, server),
            (1, false, server, outer),
            (0, true, server, inner),
        ]
    );
    assert_eq!(seen[4], (1, false, SocketAddr::new(server.ip(), 9), outer));
    let comment = |index: usize| capture.packets[index].comment.clone().unwrap();
    assert!(comment(0).contains("becomes 5.0.0.10:5000 -> 5.0.0.11:5000"), "{}", comment(0));
    assert!(comment(4).contains("dropped: filtered"), "{}", comment(4));
}

#[test]
fn without_payloads_packets_are_cut_off_behind_their_headers() {
    let Scene { net, hosts, .. } = scene(false);
    let capture = read(&net.trace().pcapng(net.place(hosts[1])));
    let lengths: Vec<_> = capture.packets.iter().map(|packet| (packet.bytes.len(), packet.length)).collect();
    assert_eq!(lengths, [(28, 33), (28, 35), (28, 33), (28, 34)]);
}

#[test]
fn a_stream_is_captured_as_tcp_whose_numbers_fit() {
    let mut net = Net::new(1);
    net.trace_mut().keep_payloads();
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
    let (client, server) = (puppet(&mut net, "client", home), puppet(&mut net, "server", Net::INTERNET));
    net.listen(server, Transport::Tcp, net.socket(server, 443)).unwrap();
    let op = SocketOp::Connect {
        ticket: Ticket(1),
        transport: Transport::Tcp,
        local: None,
        remote: net.socket(server, 443),
        server_name: String::new(),
    };
    net.machine_mut::<Puppet>(client).ask(op);
    net.run_for(ms(100));
    let [SocketReply::Connected { path, .. }] = replies(&mut net, client)[..] else { panic!("no stream") };
    net.machine_mut::<Puppet>(client).send(path, &[b'x'; 5000]);
    net.run_for(ms(100));
    net.machine_mut::<Puppet>(client).ask(SocketOp::Disconnect { path });
    net.run_for(Duration::from_secs(1));
    let capture = read(&net.trace().pcapng(net.place(server)));
    let segments: Vec<_> = capture
        .packets
        .iter()
        .map(|packet| {
            let (_, _, tcp) = addresses(&packet.bytes);
            let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
            (packet.outward, tcp[13], number(4), number(8), tcp.len() - 20)
        })
        .collect();
    assert_eq!(
        segments,
        [
            (false, 2, 0, 0, 0),
            (true, 18, 0, 1, 0),
            (false, 24, 1, 1, 1400),
            (false, 24, 1401, 1, 1400),
            (false, 24, 2801, 1, 1400),
            (false, 24, 4201, 1, 800),
            (false, 17, 5001, 1, 0),
        ]
    );
}

#[test]
fn ipv6_is_captured_as_ipv6() {
    let mut net = Net::new(1);
    net.trace_mut().keep_payloads();
    net.add_ipv6(Net::INTERNET);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let to = SocketAddr::new(net.addresses(b)[1], PORT);
    send(&mut net, a, to, "hello");
    let capture = read(&net.trace().pcapng(net.place(b)));
    let [packet] = &capture.packets[..] else { panic!("{capture:?}") };
    assert_eq!((packet.bytes[0], packet.bytes[6], packet.bytes.len()), (0x60, 17, 53));
    assert!(packet.bytes.ends_with(b"hello"));
}

/// RFC 1071: the sum over what a checksum covers is all ones.
fn sums_up(bytes: &[u8]) -> bool {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[test]
fn a_ping_is_captured_as_icmp_with_the_identifier_of_each_side() {
    let mut net = Net::new(1);
    net.trace_mut().keep_payloads();
    net.set_icmp(true);
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
    let (inner, server) = (net.add_host("inner", &[home]), net.add_host("server", &[Net::INTERNET]));
    net.ping(inner, net.address(server), 77, b"first");
    net.ping(inner, net.address(server), 77, b"odd");
    net.run_for(ms(100));
    net.ping(inner, "5.200.0.1".parse().unwrap(), 77, b"nobody");
    net.run_for(ms(100));
    let outer = net.bindings(home)[0].outer.port();
    assert_ne!(outer, 77);
    let capture = read(&net.trace().pcapng(net.gateway_place(home)));
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut seen = Vec::new();
    for packet in &capture.packets {
        assert_eq!((packet.bytes[9], packet.bytes.len()), (1, packet.length), "protocol 1, whole");
        let icmp = &packet.bytes[20..];
        assert!(sums_up(icmp), "{icmp:?}");
        // An error quotes the IP header and the first eight bytes of what it is about.
        let about = if icmp[0] == 3 { &icmp[28..] } else { icmp };
        let told = (icmp[0], icmp[1], about[0], word(about, 4), word(about, 6));
        seen.push((packet.interface, packet.outward, told));
    }
    let (i, o) = (0, 1);
    let first = [
        (i, false, (8, 0, 8, 77, 0)),
        (o, true, (8, 0, 8, outer, 0)),
        (i, false, (8, 0, 8, 77, 1)),
        (o, true, (8, 0, 8, outer, 1)),
        (o, false, (0, 0, 0, outer, 0)),
        (i, true, (0, 0, 0, 77, 0)),
    ];
    assert_eq!(seen[..6], first);
    let error = [(o, false, (3, 1, 8, outer, 2)), (i, true, (3, 1, 8, 77, 2))];
    assert_eq!(seen[seen.len() - 2..], error);
    assert!(capture.packets[0].bytes.ends_with(b"first"));
    assert!(capture.packets[4].bytes.ends_with(b"first"), "the answer has the question's bytes");
}
