//! Bytes that nobody means well with, to both machines.

mod world;

use proptest::prelude::*;
use sansio::{Batches, Datagram, Machine, Path, Seed, Time};
use sterna_turn::{Client, ClientConfig, Opened};
use stun::{AttributeKind, Class, MessageWriter, Method, TransactionId};
use world::{Raw, World, address, client_path, credentials};

/// A message that is well-formed as STUN, and nothing more.
fn stun_message() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(0x0012u16),
        Just(0x0013),
        Just(0x000c),
        Just(0x000d),
        Just(0x0019),
        Just(0x0017),
        Just(0x0018),
        Just(0x0008),
        Just(0x001c),
        Just(0x0006),
        Just(0x0014),
        Just(0x0015),
        Just(0x8004),
        any::<u16>()
    ];
    let attributes = prop::collection::vec((kinds, prop::collection::vec(any::<u8>(), 0..40)), 0..8);
    (0..4u8, prop_oneof![0..12u16, any::<u16>()], any::<[u8; 12]>(), attributes).prop_map(
        |(class, method, id, attributes)| {
            let class = [Class::Request, Class::Indication, Class::Success, Class::Error][usize::from(class)];
            let mut buffer = vec![0; 2000];
            let mut writer =
                MessageWriter::new(&mut buffer, class, Method(method & 0xfff), TransactionId(id));
            for (kind, value) in attributes {
                writer.raw(AttributeKind(kind), &value);
            }
            let length = writer.finish().unwrap();
            buffer.truncate(length);
            buffer
        },
    )
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        stun_message(),
        prop::collection::vec(any::<u8>(), 0..200),
        (0x40..0x50u8, prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            rest
        }),
        (stun_message(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn the_server_survives_anything_and_remembers_no_stranger(packets in prop::collection::vec(packet(), 1..30)) {
        let mut world = World::new();
        for bytes in packets {
            let answer = world.ask(client_path(1000), &bytes);
            prop_assert!(answer.is_none_or(|answer| answer.len() <= 200));
        }
        prop_assert_eq!(world.server.allocations(), 0);
        prop_assert_eq!(world.server.poll_timeout(), None);
        prop_assert_eq!(world.server.poll_socket(), None);
        prop_assert!(world.server_events.is_empty());
    }

    #[test]
    fn an_allocation_survives_anything_unsigned(packets in prop::collection::vec(packet(), 1..30)) {
        let mut world = World::new();
        let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
        prop_assert_eq!(raw.permit(&mut world, address("203.0.113.9:1")), Ok(()));
        let relayed = *world.sockets.first().unwrap();
        for bytes in packets {
            world.ask(raw.path, &bytes);
            world.peer_sends(address("203.0.113.9:1"), relayed, &bytes);
        }
        prop_assert_eq!(world.server.allocations(), 1);
        // Only to the one permitted address does anything ever leave.
        let permitted = world::ip("203.0.113.9");
        prop_assert!(world.sent_to_peers.iter().all(|(_, to, _)| to.ip() == permitted));
    }

    /// Signed nonsense: what a client with good credentials can say.
    #[test]
    fn signed_requests_of_any_content_are_answered_once_and_reach_nothing_inside(
        requests in prop::collection::vec(
            (3..10u16, prop::collection::vec((0x000cu16..0x0023, prop::collection::vec(any::<u8>(), 0..24)), 0..5)),
            1..30,
        ),
    ) {
        let mut world = World::new();
        let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
        for (method, attributes) in requests {
            let request = raw.write(Method(method), &|writer| {
                for (kind, value) in &attributes {
                    // Not what would make it another's request.
                    if ![0x14, 0x15, 0x1c, 0x1d, 0x1e].contains(kind) {
                        writer.raw(AttributeKind(*kind), value);
                    }
                }
            });
            world.ask(raw.path, &request);
        }
        prop_assert!(world.sent_to_peers.is_empty());
        prop_assert!(world.server.allocations() <= 1);
        prop_assert_eq!(world.server.allocations(), world.sockets.len());
    }

    #[test]
    fn the_client_survives_anything(packets in prop::collection::vec(packet(), 1..30)) {
        let config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(1));
        let mut client = Client::new(Time::ZERO, config);
        client.permit(Time::ZERO, address("203.0.113.9:1"));
        for mut bytes in packets {
            let opened = client.open(Time::ZERO, &mut bytes, &mut |_, _| panic!("data without an allocation"));
            prop_assert!(opened != Opened::Data);
        }
        prop_assert_eq!(client.poll_event(), None);
        prop_assert!(client.poll_timeout().is_some(), "it still waits for its own answer");
    }

    #[test]
    fn an_allocated_client_delivers_permitted_peers_only(packets in prop::collection::vec(packet(), 1..30)) {
        let mut world = World::new();
        let peer = address("203.0.113.9:4000");
        let at = world.connected("alice", 1000, peer);
        let now = world.now;
        for mut bytes in packets {
            let mut from = None;
            world.client(at).open(now, &mut bytes, &mut |peer, _| from = Some(peer));
            prop_assert!(from.is_none_or(|from| from.ip() == peer.ip()));
        }
        prop_assert!(world.client(at).relayed().is_some());
    }
}

#[test]
fn no_order_of_calls_is_wrong() {
    let mut world = World::new();
    let mut out = Batches::new(1 << 20);
    let path = Path::udp(world::listening(), address("198.51.100.2:1"));
    world.server.handle_timeout(Time::ZERO);
    world.server.poll_transmit(Time::ZERO, &mut out);
    let stray = sansio::SocketReply::Bound { ticket: sansio::Ticket(77), local: address("192.0.2.15:50000") };
    world.server.handle_socket(Time::ZERO, stray);
    let stray = sansio::SocketReply::Failed { ticket: sansio::Ticket(77), error: sansio::SocketError::InUse };
    world.server.handle_socket(Time::ZERO, stray);
    let stray = sansio::SocketReply::Disconnected { path, error: sansio::SocketError::Closed };
    world.server.handle_socket(Time::ZERO, stray);
    world.server.handle_datagram(Time::ZERO, Datagram { from: path, payload: &mut [] }, &mut out);
    assert!(out.is_empty());
    assert_eq!((world.server.poll_event(), world.server.poll_socket()), (None, None));
}

#[test]
fn a_full_outbox_delays_and_loses_no_allocation() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let mut request = raw.write(Method::ALLOCATE, &world::allocate);
    let from = raw.path.reversed();
    let now = world.now;
    world.server.handle_datagram(now, Datagram { from, payload: &mut request }, &mut sansio::Full);
    let Some(sansio::SocketOp::Bind { ticket, local }) = world.server.poll_socket() else { panic!() };
    world.server.handle_socket(now, sansio::SocketReply::Bound { ticket, local });
    world.server.poll_transmit(now, &mut sansio::Full);
    let mut out = Batches::new(1 << 20);
    world.server.poll_transmit(now, &mut out);
    assert_eq!(world::outcome(&out.pop().unwrap().bytes), Ok(()));
}
