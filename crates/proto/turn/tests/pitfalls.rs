//! What went wrong for other relays, line by line, each line with a test of its own name.
//! The table is `docs/pitfalls.md`, and a test here holds it to what there is.

mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, Transport};
use sterna_turn::{Auth, Cidr, Denial, Drop, EndReason, PeerPolicy, ServerConfig, ServerEvent};
use stun::credential::{Features, SharedSecret};
use stun::{Message, MessageWriter, Method, TransactionId, kind};
use world::{
    RELAY, Raw, SECRET, START, World, address, allocate, allocate_and, client_path, credentials, outcome,
    relayed_in, send_indication, stream_path,
};

const PEER: &str = "203.0.113.9:4000";

/// A client that has one relayed address of each family.
fn dual(world: &mut World) -> Raw {
    let mut raw = Raw::challenged(world, client_path(1000), credentials("mallory"));
    let both = |w: &mut MessageWriter<'_>| allocate_and(w, kind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert_eq!(raw.ask(world, Method::ALLOCATE, &both), Ok(()));
    raw
}

/// Someone who has TCP connections with peers of one family, or of the other.
fn stream_client(world: &mut World, port: u16, family: u8) -> Raw {
    let mut raw = Raw::challenged(world, stream_path(port, Transport::Tcp), credentials("mallory"));
    let tcp = |writer: &mut MessageWriter<'_>| {
        writer.raw(kind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        writer.raw(kind::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
    };
    assert_eq!(raw.ask(world, Method::ALLOCATE, &tcp), Ok(()));
    raw
}

/// A Connect request, of the one of the two that has the peer's family.
fn connect(world: &mut World, streams: &mut [Raw; 2], peer: SocketAddr) -> Result<(), u16> {
    streams[usize::from(peer.is_ipv6())].ask(world, Method::CONNECT, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
    })
}

fn send(world: &mut World, path: Path, peer: SocketAddr) {
    let send = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, peer).raw(kind::DATA, b"GET / HTTP/1.1\r\n\r\n");
    });
    assert_eq!(world.ask(path, &send), None);
}

fn config() -> ServerConfig {
    ServerConfig { tcp_relay: true, ..world::server_config() }
}

/// None of `peers` is reached by CreatePermission, ChannelBind, Connect, or Send; by Send not even with a permission that
/// there was before the rules were what they are.
fn not_reached(peers: &[&str]) {
    let peers: Vec<SocketAddr> = peers.iter().map(|peer| SocketAddr::new(world::ip(peer), 80)).collect();
    let mut world = World::with(config());
    let mut raw = dual(&mut world);
    let mut streams = [stream_client(&mut world, 2001, 1), stream_client(&mut world, 2002, 2)];
    for peer in &peers {
        assert_eq!(raw.permit(&mut world, *peer), Err(403), "CreatePermission {peer}");
        assert_eq!(raw.bind(&mut world, 0x4000, *peer), Err(403), "ChannelBind {peer}");
        assert_eq!(connect(&mut world, &mut streams, *peer), Err(403), "Connect {peer}");
        send(&mut world, raw.path, *peer);
        assert!(world.sent_to_peers.is_empty(), "Send {peer}");
    }
    assert!(world.streams.is_empty(), "nothing is connected to: {:?}", world.streams);
    assert_eq!(world.server.counters().forbidden, 3 * peers.len() as u64);

    let ServerConfig { auth, policy, quotas, .. } = config();
    let all = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
    let open = all.into_iter().fold(policy.clone(), PeerPolicy::allow);
    let mut world = World::with(ServerConfig { policy: open, ..config() });
    let mut raw = dual(&mut world);
    for peer in &peers {
        assert_eq!(raw.permit(&mut world, *peer), Ok(()), "{peer}");
        send(&mut world, raw.path, *peer);
        assert!(world.sent_to_peers.pop_front().is_some(), "{peer}, as long as it is allowed");
    }
    world.server.reconfigure(auth, policy, quotas).unwrap();
    for peer in &peers {
        send(&mut world, raw.path, *peer);
        assert!(world.sent_to_peers.is_empty(), "Send {peer}, which had a permission");
    }
}

#[test]
fn cve_2020_26262_the_unspecified_address_is_not_loopback() {
    not_reached(&["0.0.0.0", "127.0.0.1", "127.8.8.8", "127.255.255.254", "::", "::1"]);
}

#[test]
fn cve_2026_27624_an_ipv4_mapped_peer_is_not_reached() {
    not_reached(&["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"]);
}

#[test]
fn coturn_1945_no_other_spelling_of_an_inner_address_is_reached() {
    not_reached(&[
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::10.0.0.1",
        "2001:0:c000:201::f5ff:fffe",
        "2001:db8::5efe:10.0.0.1",
    ]);
}

#[test]
fn coturn_1947_link_local_and_metadata_are_not_reached() {
    not_reached(&["169.254.169.254", "fe80::1", "fd00:ec2::254", "fec0::1", "168.63.129.16", "192.0.0.192"]);
}

#[test]
fn the_rest_of_the_inside_is_not_reached() {
    not_reached(&[
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "224.0.0.251",
        "240.1.1.1",
        "255.255.255.255",
        "ff02::fb",
        "fc00::1",
        "fd00::1",
    ]);
}

#[test]
fn coturn_1946_the_servers_own_services_are_not_reached() {
    let mut world = World::with(config());
    let mut raw = dual(&mut world);
    let mut streams = [stream_client(&mut world, 2001, 1), stream_client(&mut world, 2002, 2)];
    for port in [3478, 22, 80, 5432, 6379] {
        let own = SocketAddr::new(world::ip(RELAY), port);
        assert_eq!(raw.bind(&mut world, 0x4000, own), Err(403), "{own}");
        assert_eq!(connect(&mut world, &mut streams, own), Err(403), "{own}");
        // The permission is for relayed addresses there, and for nothing else.
        assert_eq!(raw.permit(&mut world, own), Ok(()));
        send(&mut world, raw.path, own);
    }
    assert!(world.sent_to_peers.is_empty() && world.streams.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Own), 5);
}

#[test]
fn slack_2018_refusals_and_sessions_leave_a_line_each() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    let _ = raw.permit(&mut world, address("10.0.0.1:80"));
    let delete = |writer: &mut MessageWriter<'_>| _ = writer.u32(kind::LIFETIME, 0);
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &delete), Ok(()));
    let mallory = credentials("mallory").username;
    let [ServerEvent::AllocationCreated { username: created, .. }, denied, ended] = &world.server_events[..]
    else {
        panic!("{:?}", world.server_events)
    };
    assert_eq!(*created, mallory);
    let ServerEvent::PeerDenied { username, denial: Denial::Private, .. } = denied else {
        panic!("{denied:?}")
    };
    assert_eq!(*username, mallory);
    assert!(matches!(ended, ServerEvent::AllocationEnded { reason: EndReason::Deleted, .. }), "{ended:?}");
}

#[test]
fn ghost_calls_2025_a_covert_channel_is_narrow_short_and_on_record() {
    let mut config = world::server_config();
    config.quotas.per_user = 1;
    config.quotas.bandwidth_per_user = Some(10_000);
    config.quotas.session = Some(Duration::from_secs(1800));
    let mut world = World::with(config);
    let at = world.connected("mallory", 1000, address(PEER));
    (0..200).for_each(|_| assert!(world.send(at, address(PEER), &[7; 1000])));
    let passed = world.sent_to_peers.len();
    assert!((64..80).contains(&passed), "{passed}");
    assert_eq!(world.server.counters().dropped(Drop::Bandwidth), 200 - passed as u64);
    let mut second = Raw::challenged(&mut world, client_path(1001), credentials("mallory"));
    assert_eq!(second.ask(&mut world, Method::ALLOCATE, &allocate), Err(486));
    world.advance_secs(1800);
    let ended = world.server_events.iter().find_map(|event| match event {
        ServerEvent::AllocationEnded { username, peers, bytes_to_peers, reason, .. } => {
            Some((username.clone(), *peers, *bytes_to_peers, *reason))
        }
        _ => None,
    });
    let on_record = (credentials("mallory").username, 1, passed as u64 * 1000, EndReason::TimeIsUp);
    assert_eq!(ended, Some(on_record));
    // The password is good for its hour, and not for a minute more.
    world.advance_secs(1801);
    let mut late = Raw::challenged(&mut world, client_path(1002), credentials("mallory"));
    assert_eq!(late.ask(&mut world, Method::ALLOCATE, &allocate), Err(401));
}

#[test]
fn a_policy_that_nobody_wrote_denies_the_inside() {
    let config = world::server_config();
    assert_eq!(config.policy, PeerPolicy::default());
    assert!(PeerPolicy::default().check(world::ip("10.0.0.1")).is_err());
    assert!(PeerPolicy::default().check(world::ip("203.0.113.9")).is_ok());
}

#[test]
fn coturn_1872_a_malformed_rule_is_an_error() {
    for rule in ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0-10.255.255.255", "localhost", "::/129", "10/8"] {
        assert!(rule.parse::<Cidr>().is_err(), "{rule}");
    }
}

#[test]
fn coturn_2016_of_two_peers_the_first_is_checked_and_used() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    for (first, second, bound) in [(PEER, "10.0.0.1:80", Ok(())), ("10.0.0.1:80", PEER, Err(403))] {
        let outcome = raw.ask(&mut world, Method::CHANNEL_BIND, &|writer| {
            writer.u32(kind::CHANNEL_NUMBER, 0x4000 << 16);
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(first));
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(second));
        });
        assert_eq!(outcome, bound);
        let send = send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(first));
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(second)).raw(kind::DATA, b"x");
        });
        world.ask(raw.path, &send);
    }
    let reached: Vec<_> = world.sent_to_peers.iter().map(|(_, to, _)| *to).collect();
    assert_eq!(reached, [address(PEER)]);
}

#[test]
fn cve_2025_69217_ports_and_nonces_cannot_be_guessed() {
    let draw = |seed| {
        let mut config = world::server_config();
        config.seed = sansio::Seed::from(seed);
        let mut world = World::with(config);
        (1000..1030)
            .map(|port| {
                let mut raw = Raw::new(client_path(port), credentials("alice"));
                let request = raw.write(Method::ALLOCATE, &allocate);
                let challenge = world.ask(raw.path, &request).unwrap();
                let nonce = Message::parse(&challenge).unwrap().nonce().unwrap().to_vec();
                raw.learn(&request, &challenge);
                let request = raw.write(Method::ALLOCATE, &allocate);
                (relayed_in(&world.ask(raw.path, &request).unwrap())[0].port(), nonce)
            })
            .collect::<Vec<_>>()
    };
    let (one, other) = (draw(1), draw(2));
    assert_eq!(one, draw(1), "all of it comes from the seed");
    assert!(one.iter().zip(&other).all(|((_, a), (_, b))| a != b));
    let steps: BTreeSet<_> = one.windows(2).map(|w| w[1].0.wrapping_sub(w[0].0)).collect();
    assert!(steps.len() > 25, "{steps:?}");
    // 56 bits of each nonce are a MAC: two sources never share them.
    let macs: BTreeSet<_> = one.iter().map(|(_, nonce)| nonce[Features::COOKIE_BYTES..].to_vec()).collect();
    assert_eq!(macs.len(), one.len());
}

#[test]
fn cve_2025_69217_transaction_ids_and_tokens_cannot_be_guessed() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    raw.permit(&mut world, address(PEER)).unwrap();
    let relayed = *world.sockets.iter().find(|socket| socket.is_ipv4()).unwrap();
    world.answers.clear();
    (0..100).for_each(|_| world.peer_sends(address(PEER), relayed, b"x"));
    let of_indications =
        world.answers.iter().map(|(_, data)| Message::parse(data).unwrap().transaction_id().0);
    let ids: Vec<[u8; 12]> = of_indications.collect();
    let even = |w: &mut MessageWriter<'_>| allocate_and(w, kind::EVEN_PORT, &[0x80]);
    let tokens: Vec<[u8; 8]> = (2000..2050)
        .map(|port| {
            let mut raw =
                Raw::challenged(&mut world, client_path(port), credentials(&format!("user {port}")));
            let request = raw.write(Method::ALLOCATE, &even);
            let answer = world.ask(raw.path, &request).unwrap();
            Message::parse(&answer).unwrap().raw(kind::RESERVATION_TOKEN).unwrap().try_into().unwrap()
        })
        .collect();
    // Neither counted nor made of a few bits: each byte takes many values, and no two steps are alike.
    fn is_random<const N: usize>(all: &[[u8; N]]) {
        for at in 0..N {
            let values: BTreeSet<u8> = all.iter().map(|one| one[at]).collect();
            assert!(values.len() > all.len() / 2, "byte {at}: {values:?}");
        }
        let first = |one: &[u8; N]| u64::from_be_bytes(*one.first_chunk().unwrap());
        let steps: BTreeSet<u64> =
            all.windows(2).map(|two| first(&two[1]).wrapping_sub(first(&two[0]))).collect();
        assert_eq!(steps.len(), all.len() - 1);
    }
    is_random(&ids);
    is_random(&tokens);
}

#[test]
fn coturn_1869_a_mac_that_is_wrong_anywhere_or_short_is_refused() {
    let mut world = World::new();
    let path = client_path(1000);
    let mut alice = Raw::challenged(&mut world, path, credentials("alice"));
    let good = alice.write(Method::ALLOCATE, &allocate);
    // The last attribute is the MAC. A comparison that stops at the first difference, or at the shorter end, shows here.
    let (_, size) = stun_mac(&good);
    for at in good.len() - size..good.len() {
        let mut forged = good.clone();
        forged[at] ^= 1;
        assert_eq!(outcome(&world.ask(path, &forged).unwrap()), Err(401), "byte {at}");
    }
    assert_eq!(outcome(&world.ask(path, &good).unwrap()), Ok(()));
}

/// Where the value of the last attribute begins, and its length.
fn stun_mac(message: &[u8]) -> (usize, usize) {
    let (mut at, mut size) = (20, 0);
    while at < message.len() {
        size = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        at += 4 + size.next_multiple_of(4);
    }
    (at - size, size)
}

#[test]
fn coturn_1969_a_ticket_moves_nothing_for_another_user() {
    let mut world = World::new();
    let mut alice = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = alice.write(Method::ALLOCATE, &|w| allocate_and(w, kind::MOBILITY_TICKET, &[]));
    let answer = world.ask(alice.path, &request).unwrap();
    let ticket = Message::parse(&answer).unwrap().raw(kind::MOBILITY_TICKET).unwrap().to_vec();
    let refresh = |w: &mut MessageWriter<'_>| _ = w.raw(kind::MOBILITY_TICKET, &ticket);
    let mut mallory = Raw::challenged(&mut world, client_path(2000), credentials("mallory"));
    assert_eq!(mallory.ask(&mut world, Method::REFRESH, &refresh), Err(441));
    let deleted = |w: &mut MessageWriter<'_>| _ = w.u32(kind::LIFETIME, 0);
    assert_eq!(mallory.ask(&mut world, Method::REFRESH, &deleted), Err(437), "it got nothing");
    assert_eq!(alice.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()), "and she has lost nothing");
}

#[test]
fn coturn_1871_nothing_is_pinned_before_the_signature_is_checked() {
    let mut world = World::new();
    let path = client_path(1000);
    let mut mallory = Raw::challenged(&mut world, path, credentials("mallory"));
    let mut forged = mallory.write(Method::ALLOCATE, &allocate);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(outcome(&world.ask(path, &forged).unwrap()), Err(401));
    // The same 5-tuple is free for somebody else.
    let mut alice = Raw::challenged(&mut world, path, credentials("alice"));
    assert_eq!(alice.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
}

#[test]
fn livekit_4526_the_end_of_a_username_does_not_end_its_session() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    // Its username was good for an hour.
    world.advance_secs(4 * 3600);
    assert_eq!(world.events(at), []);
    assert!(world.send(at, address(PEER), b"still here"));
    assert_eq!(world.sent_to_peers.len(), 1);
}

#[test]
fn a_nonce_is_good_for_its_source_alone_and_for_its_time() {
    let mut config = world::server_config();
    config.nonce_lifetime = Duration::from_secs(640);
    let mut world = World::with(config);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let elsewhere = client_path(1001);
    let stolen = raw.write(Method::ALLOCATE, &allocate);
    assert_eq!(outcome(&world.ask(elsewhere, &stolen).unwrap()), Err(438));
    assert_eq!(world.server.allocations(), 0);
    world.advance_secs(660);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(438));
}

#[test]
fn a_nonce_without_its_cookie_is_no_nonce() {
    let mut world = World::new();
    let path = client_path(1000);
    let mut raw = Raw::new(path, credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let challenge = world.ask(path, &request).unwrap();
    let nonce = Message::parse(&challenge).unwrap().nonce().unwrap().to_vec();
    let (username, password) = stun::credential::rest_credentials(SECRET, "alice", START + 60).unwrap();
    let key = stun::Key::long_term(stun::PasswordAlgorithm::Md5, &username, world::REALM, &password);
    for nonce in [nonce[Features::COOKIE_BYTES..].to_vec(), [b"obMatJos2AAAA", &nonce[13..]].concat()] {
        let mut buffer = [0; 500];
        let id = TransactionId([1; 12]);
        let mut writer = MessageWriter::new(&mut buffer, stun::Class::Request, Method::ALLOCATE, id);
        allocate(&mut writer);
        writer.string(kind::USERNAME, &username).string(kind::REALM, world::REALM).raw(kind::NONCE, &nonce);
        let length = writer.integrity(&key).finish().unwrap();
        assert_eq!(outcome(&world.ask(path, &buffer[..length]).unwrap()), Err(438));
    }
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn coturn_2006_channel_numbers_outside_their_range_are_refused() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    for number in [0, 0x3fff, 0x5000, 0x7fff, 0xffff] {
        assert_eq!(raw.bind(&mut world, number, address(PEER)), Err(400), "{number:#x}");
    }
    for (number, port) in [(0x4000, 1), (0x4fff, 2)] {
        assert_eq!(raw.bind(&mut world, number, SocketAddr::new(address(PEER).ip(), port)), Ok(()));
    }
}

#[test]
fn a_shared_secret_from_a_manual_is_refused() {
    for secret in ["", "short", "changeme", "static-auth-secret", "openrelayprojectsecret", "north-south"] {
        assert!(SharedSecret::new(secret).is_err(), "{secret}");
        assert!(Auth::shared_secret(secret).is_err(), "{secret}");
    }
}

#[test]
fn cve_2026_43994_a_token_of_any_length_before_authentication_is_harmless() {
    let mut world = World::new();
    let path = client_path(1000);
    for length in [0, 1, 2, 3, 100, 65_000] {
        for byte in [0, 0xff] {
            let token = vec![byte; length];
            let bare = Raw::new(path, credentials("alice"))
                .write(Method::ALLOCATE, &|w| allocate_and(w, kind::ACCESS_TOKEN, &token));
            assert_eq!(outcome(&world.ask(path, &bare).unwrap()), Err(401));
        }
    }
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn cve_2026_40613_a_packet_may_lie_at_any_address() {
    use sansio::{Batches, Datagram, Machine as _};
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    for offset in 0..8 {
        let request = raw.write(Method::REFRESH, &|_| {});
        let mut buffer = [vec![0; offset], request].concat();
        let mut out = Batches::new(1 << 16);
        let datagram = Datagram { from: raw.path.reversed(), payload: &mut buffer[offset..] };
        world.server.handle_datagram(world.now, datagram, &mut out);
        assert_eq!(outcome(&out.pop().expect("an answer").bytes), Err(437), "at offset {offset}");
    }
}

#[test]
fn coturn_1844_lengths_do_not_wrap() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    assert_eq!(raw.bind(&mut world, 0x4000, address(PEER)), Ok(()));
    for length in [1u16, 5, 0x7fff, 0xfffc, 0xffff] {
        let mut data = vec![0x40, 0];
        data.extend_from_slice(&length.to_be_bytes());
        assert_eq!(world.ask(raw.path, &data), None, "ChannelData that claims {length} bytes");
        // The same for an attribute, and for the message.
        let mut send = send_indication(&|writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER)).raw(kind::DATA, b"");
        });
        let end = send.len();
        send[end - 2..].copy_from_slice(&length.to_be_bytes());
        assert_eq!(world.ask(raw.path, &send), None);
        send[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(world.ask(raw.path, &send), None);
    }
    assert!(world.sent_to_peers.is_empty());
    assert_eq!(world.server.counters().dropped(Drop::Malformed), 15);
    // What is too long for either envelope is dropped, and not sent short.
    let relayed = *world.sockets.iter().find(|socket| socket.is_ipv4()).unwrap();
    world.peer_sends(address(PEER), relayed, &vec![0; 65_536]);
    assert!(world.answers.is_empty());
}

#[test]
fn coturn_1999_a_spoofed_source_costs_nothing() {
    let mut world = World::new();
    let mut victim = Raw::challenged(&mut world, client_path(1000), credentials("mallory"));
    let valid = victim.write(Method::ALLOCATE, &allocate);
    let before = format!("{:?}", world.server).len();
    for port in 2000..2500 {
        // Signed by somebody who has an account, and sent in others' names.
        world.ask(client_path(port), &valid);
    }
    assert_eq!((world.server.allocations(), world.sockets.len(), world.server_events.len()), (0, 0, 0));
    let after = format!("{:?}", world.server).len();
    assert!(after < before + 2000, "the server's state grew from {before} to {after} characters");
}

#[test]
fn attributes_behind_the_signature_do_not_count() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    let mut request = raw.write(Method::REFRESH, &|_| {});
    // Somebody on the way appends a lifetime of zero.
    request.extend_from_slice(&[0, 0x0d, 0, 4, 0, 0, 0, 0]);
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(outcome(&world.ask(raw.path, &request).unwrap()), Ok(()));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn cve_2025_53399_what_is_not_signed_redirects_nothing() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    raw.bind(&mut world, 0x4000, address(PEER)).unwrap();
    let relayed = *world.sockets.iter().find(|socket| socket.is_ipv4()).unwrap();
    let send = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER)).raw(kind::DATA, b"from elsewhere");
    });
    let refresh = Raw::new(client_path(2000), credentials("mallory")).write(Method::REFRESH, &|_| {});
    for elsewhere in [client_path(2000), Path { transport: Transport::Tcp, ..raw.path }] {
        for said in [&b"\x40\x00\x00\x04evil"[..], &send, &refresh] {
            world.ask(elsewhere, said);
        }
        assert!(world.sent_to_peers.is_empty(), "nothing is sent in her name");
        world.answers.clear();
        world.peer_sends(address(PEER), relayed, b"for alice");
        let [(to, _)] = world.answers.make_contiguous() else { panic!("{:?}", world.answers) };
        assert_eq!(*to, raw.path.reversed(), "and nothing of hers goes elsewhere");
    }
}

#[test]
fn cve_2021_41105_bad_packets_by_the_hundred_end_no_session() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    raw.bind(&mut world, 0x4000, address(PEER)).unwrap();
    let relayed = *world.sockets.iter().find(|socket| socket.is_ipv4()).unwrap();
    let delete = |writer: &mut MessageWriter<'_>| _ = writer.u32(kind::LIFETIME, 0);
    let good = raw.write(Method::REFRESH, &delete);
    for round in 0..300usize {
        // From her own address, as somebody on the way could: a signature that is wrong, messages cut short, noise.
        let mut forged = good.clone();
        let at = 20 + round % (good.len() - 20);
        forged[at] ^= 0x80;
        world.ask(raw.path, &forged);
        world.ask(raw.path, &good[..round % good.len()]);
        world.ask(raw.path, &[round as u8; 40]);
        world.peer_sends(address(PEER), relayed, &[round as u8; 3]);
    }
    assert_eq!(world.server.allocations(), 1);
    world.answers.clear();
    world.peer_sends(address(PEER), relayed, b"still here?");
    assert_eq!(world.answers[0].1, b"\x40\x00\x00\x0bstill here?");
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
}

#[test]
fn the_overheads_are_36_48_and_4_bytes() {
    let mut world = World::new();
    let mut raw = dual(&mut world);
    let relayed: Vec<_> = world.sockets.iter().copied().collect();
    for (peer, overhead) in [(PEER, 36), ("[2001:db8:9::9]:4000", 48)] {
        let peer = address(peer);
        assert_eq!(raw.permit(&mut world, peer), Ok(()));
        let relayed = *relayed.iter().find(|relayed| relayed.is_ipv4() == peer.is_ipv4()).unwrap();
        for (data, padding) in [(1000, 0), (1001, 3), (1002, 2), (1003, 1)] {
            world.answers.clear();
            world.peer_sends(peer, relayed, &vec![7; data]);
            assert_eq!(world.answers[0].1.len(), data + overhead + padding);
        }
        assert_eq!(raw.bind(&mut world, if peer.is_ipv4() { 0x4000 } else { 0x4001 }, peer), Ok(()));
        for data in [0, 1, 1000, 1001] {
            world.answers.clear();
            world.peer_sends(peer, relayed, &vec![7; data]);
            assert_eq!(world.answers[0].1.len(), data + 4);
        }
    }
}

/// Each test that the table names stands in the file that it names beside it.
#[test]
fn the_table_of_pitfalls_names_tests_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let table = std::fs::read_to_string(root.join("docs/pitfalls.md")).expect("the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    let (mut names, mut file) = (0, String::new());
    for row in &rows {
        let (_, tests) = row[2..].split_once(" | ").expect("two columns");
        for word in tests.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = std::fs::read_to_string(root.join("crates").join(word)).expect(word);
            } else {
                assert!(file.contains(&format!("fn {word}(")), "{word} is not where {row} says");
                names += 1;
            }
        }
    }
    assert!(rows.len() > 30 && names > 40, "{} rows, {names} tests", rows.len());
}
