//! How relayed addresses are given and taken back.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use sansio::{Machine, SocketError, SocketReply, Transport};
use sterna_turn::{ClientConfig, ClientEvent, EndReason, Family, Quotas, ServerEvent};
use stun::{Message, Method, kind};
use world::{Raw, World, address, allocate, allocate_and, client_path, credentials, outcome, stream_path};

#[test]
fn a_client_gets_a_relayed_address_in_two_round_trips() {
    let mut world = World::new();
    let at = world.add_client("alice", 1000);
    world.settle();
    let [ClientEvent::Allocated { relayed, additional: None, mapped, lifetime }] = world.events(at)[..]
    else {
        panic!("{:?}", world.events(at))
    };
    assert_eq!(relayed.ip(), world::ip(world::RELAY));
    assert!(relayed.port() >= 49152);
    assert_eq!(mapped, world.clients[at].path.local);
    assert_eq!(lifetime, Duration::from_secs(600));
    assert_eq!(world.clients[at].sent.len(), 2);
    assert_eq!(world.sockets.iter().copied().collect::<Vec<_>>(), [relayed]);
    let client = world.clients[at].path.reversed();
    assert_eq!(
        world.server_events,
        [ServerEvent::AllocationCreated {
            id: sterna_turn::AllocationId(0),
            username: credentials("alice").username,
            client,
            relayed: vec![relayed],
        }]
    );
}

#[test]
fn relayed_ports_cannot_be_guessed_from_one_another() {
    let mut world = World::new();
    let ports: Vec<u16> = (0..40)
        .map(|port| {
            let at = world.allocated("alice", 1000 + port);
            world.relayed(at).port()
        })
        .collect();
    let steps: BTreeSet<i32> = ports.windows(2).map(|w| i32::from(w[1]) - i32::from(w[0])).collect();
    assert!(steps.len() > 35, "{ports:?}");
}

#[test]
fn each_family_is_relayed_from_its_own_address_and_a_missing_one_is_440() {
    let mut world = World::new();
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), sansio::Seed::from(1));
    config.families = Family::Ipv6.into();
    let at = world.add(config.clone());
    world.settle();
    assert_eq!(world.relayed(at).ip(), world::ip(world::RELAY_6));

    let mut only_ipv4 = world::server_config();
    only_ipv4.relay_addresses.truncate(1);
    let mut world = World::with(only_ipv4);
    let at = world.add(config);
    world.settle();
    let [ClientEvent::Failed(error)] = world.events(at) else { panic!("{:?}", world.events(at)) };
    assert_eq!((error.code, error.reason.as_str()), (Some(440), "Address Family not Supported"));

    // Without a wish it is IPv4 (RFC 8656 §7.2), and 440 where there is none.
    let mut only_ipv6 = world::server_config();
    only_ipv6.relay_addresses.remove(0);
    let mut world = World::with(only_ipv6);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(440));
}

#[test]
fn several_relay_addresses_of_one_family_are_all_used() {
    let mut config = world::server_config();
    config.relay_addresses.push(world::ip("192.0.2.16").into());
    let mut world = World::with(config);
    let used: BTreeSet<_> = (0..20)
        .map(|port| {
            let at = world.allocated("alice", 1000 + port);
            world.relayed(at).ip()
        })
        .collect();
    assert_eq!(used.len(), 2);
}

#[test]
fn a_retransmitted_allocate_request_gets_the_same_answer_and_another_one_437() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let first = world.ask(raw.path, &request).unwrap();
    let second = world.ask(raw.path, &request).unwrap();
    assert_eq!(first, second);
    assert_eq!(world.server.allocations(), 1);
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(437));
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn a_retransmission_while_the_socket_is_being_bound_makes_no_second_allocation() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let mut request = raw.write(Method::ALLOCATE, &allocate);
    let mut other = raw.write(Method::ALLOCATE, &allocate);
    let mut out = sansio::Batches::new(1 << 20);
    let from = raw.path.reversed();
    for bytes in [&mut request.clone(), &mut request, &mut other] {
        world.server.handle_datagram(world.now, sansio::Datagram { from, payload: bytes }, &mut out);
    }
    let refusal = out.pop().expect("only the other request is answered");
    assert_eq!(outcome(&refusal.bytes), Err(437));
    assert!(out.pop().is_none());
    assert!(matches!(world.server.poll_socket(), Some(sansio::SocketOp::Bind { .. })));
    assert_eq!(world.server.poll_socket(), None);
}

#[test]
fn what_an_allocate_request_asks_for_is_checked() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let mut ask = |attributes: &dyn Fn(&mut stun::MessageWriter<'_>)| {
        let outcome = raw.ask(&mut world, Method::ALLOCATE, attributes);
        assert_eq!(world.server.allocations(), usize::from(outcome.is_ok()));
        outcome
    };
    // REQUESTED-TRANSPORT.
    assert_eq!(ask(&|_| {}), Err(400));
    assert_eq!(
        ask(&|w| {
            w.raw(kind::REQUESTED_TRANSPORT, &[17]);
        }),
        Err(400)
    );
    assert_eq!(
        ask(&|w| {
            w.raw(kind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        }),
        Err(442)
    );
    // REQUESTED-ADDRESS-FAMILY.
    assert_eq!(ask(&|w| allocate_and(w, kind::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])), Err(440));
    // DONT-FRAGMENT is not supported, and so unknown.
    assert_eq!(ask(&|w| allocate_and(w, kind::DONT_FRAGMENT, &[])), Err(420));
    // Nobody was given this token, and this is none.
    assert_eq!(ask(&|w| allocate_and(w, kind::RESERVATION_TOKEN, &[1; 8])), Err(508));
    assert_eq!(ask(&|w| allocate_and(w, kind::RESERVATION_TOKEN, &[1; 7])), Err(508));
    assert_eq!(ask(&|w| allocate_and(w, kind::EVEN_PORT, &[])), Err(400));
    // What excludes each other.
    let both = |w: &mut stun::MessageWriter<'_>, a, b: stun::AttributeKind, value: &[u8]| {
        allocate_and(w, a, if a == kind::RESERVATION_TOKEN { &[1; 8] } else { &[1, 0, 0, 0] });
        w.raw(b, value);
    };
    assert_eq!(ask(&|w| both(w, kind::RESERVATION_TOKEN, kind::EVEN_PORT, &[0])), Err(400));
    assert_eq!(
        ask(&|w| both(w, kind::RESERVATION_TOKEN, kind::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0])),
        Err(400)
    );
    assert_eq!(
        ask(&|w| both(w, kind::REQUESTED_ADDRESS_FAMILY, kind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])),
        Err(400)
    );
    assert_eq!(ask(&|w| allocate_and(w, kind::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])), Err(400));
    // An attribute that need not be understood is no hindrance.
    assert_eq!(ask(&|w| allocate_and(w, kind::MOBILITY_TICKET, &[])), Ok(()));
}

#[test]
fn lifetimes_are_kept_between_the_default_and_the_longest() {
    let mut world = World::new();
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    for (asked, granted) in [(Some(1), 600), (None, 600), (Some(1000), 1000), (Some(u32::MAX), 3600)] {
        let request = raw.write(Method::REFRESH, &|w| {
            if let Some(asked) = asked {
                w.u32(kind::LIFETIME, asked);
            }
        });
        let answer = world.ask(raw.path, &request).unwrap();
        assert_eq!(Message::parse(&answer).unwrap().u32(kind::LIFETIME), Some(granted), "{asked:?}");
    }
    // A malformed LIFETIME never ends an allocation.
    let request = raw.write(Method::REFRESH, &|w| {
        w.raw(kind::LIFETIME, &[0]);
    });
    assert_eq!(outcome(&world.ask(raw.path, &request).unwrap()), Ok(()));
    assert_eq!(world.server.allocations(), 1);
    // Of another family than the allocation's.
    let other = |w: &mut stun::MessageWriter<'_>| {
        w.raw(kind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    };
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &other), Err(443));
}

#[test]
fn an_allocation_ends_when_it_is_given_back_and_everything_is_free_again() {
    let mut config = world::server_config();
    config.ports = 50_000..=50_000;
    config.quotas = Quotas { per_user: 1, per_source: 1, total: 1, ..Quotas::default() };
    let mut world = World::with(config);
    for round in 0..5 {
        let at = world.connected("alice", 1000 + round, address("203.0.113.9:4000"));
        let now = world.now;
        world.client(at).close(now);
        world.settle();
        assert_eq!(world.events(at), [ClientEvent::Closed]);
        assert_eq!(world.client(at).poll_timeout(), None);
        assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
        let Some(ServerEvent::AllocationEnded { reason, peers, .. }) = world.server_events.last() else {
            panic!("{:?}", world.server_events)
        };
        assert_eq!((*reason, *peers), (EndReason::Deleted, 1));
        assert_eq!(world.server.poll_timeout(), None);
    }
}

#[test]
fn an_allocation_that_nobody_refreshes_ends() {
    let mut world = World::new();
    let raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    world.advance_secs(599);
    assert_eq!(world.server.allocations(), 1);
    world.advance_secs(1);
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    let Some(ServerEvent::AllocationEnded { reason, duration, client, .. }) = world.server_events.last()
    else {
        panic!("{:?}", world.server_events)
    };
    assert_eq!((*reason, *duration), (EndReason::Expired, Duration::from_secs(600)));
    assert_eq!(*client, raw.path.reversed());
}

#[test]
fn an_allocation_ends_with_its_stream() {
    let mut world = World::new();
    let path = stream_path(1000, Transport::Tcp);
    let at = world.add(ClientConfig::new(path, credentials("alice"), sansio::Seed::from(1)));
    world.settle();
    assert_eq!(world.server.allocations(), 1);
    let gone = SocketReply::Disconnected { path: path.reversed(), error: SocketError::Closed };
    world.server.handle_socket(world.now, gone);
    world.settle();
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    let now = world.now;
    world.client(at).path_lost(now, "connection reset");
    world.settle();
    let Some(ClientEvent::Failed(error)) = world.events(at).last() else { panic!() };
    assert_eq!(error.reason, "connection reset");
}

#[test]
fn a_stream_that_ends_while_its_socket_is_being_bound_leaves_nothing_behind() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, stream_path(1000, Transport::Tcp), credentials("alice"));
    let mut request = raw.write(Method::ALLOCATE, &allocate);
    let mut out = sansio::Batches::new(1 << 20);
    let from = raw.path.reversed();
    world.server.handle_datagram(world.now, sansio::Datagram { from, payload: &mut request }, &mut out);
    let gone = SocketReply::Disconnected { path: from, error: SocketError::Closed };
    world.server.handle_socket(world.now, gone);
    world.settle();
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    assert!(world.answers.is_empty());
}

#[test]
fn ports_that_others_have_taken_are_passed_over() {
    let mut world = World::new();
    world.failing_binds = 7;
    world.allocated("alice", 1000);
    world.failing_binds = 8;
    let at = world.add_client("alice", 1001);
    world.settle();
    let [ClientEvent::Failed(error)] = world.events(at) else { panic!("{:?}", world.events(at)) };
    assert_eq!(error.code, Some(508));
    // What failed is not lost.
    world.failing_binds = 0;
    world.allocated("alice", 1002);
    assert_eq!(world.server.allocations(), 2);
}

#[test]
fn when_all_ports_are_taken_the_answer_is_508_and_costs_no_quota() {
    let mut config = world::server_config();
    config.ports = 50_000..=50_001;
    config.quotas = Quotas { per_user: 3, ..Quotas::default() };
    let mut world = World::with(config);
    let first = world.allocated("alice", 1000);
    world.allocated("alice", 1001);
    let mut raw = Raw::challenged(&mut world, client_path(1002), credentials("alice"));
    for _ in 0..5 {
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(508));
    }
    let now = world.now;
    world.client(first).close(now);
    world.settle();
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Ok(()));
}

#[test]
fn a_port_that_was_taken_once_is_tried_again_later() {
    let mut config = world::server_config();
    config.ports = 50_000..=50_001;
    let mut world = World::with(config);
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    for _ in 0..5 {
        world.failing_binds = 8;
        assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &allocate), Err(508));
    }
    world.failing_binds = 0;
    world.allocated("alice", 1001);
    world.allocated("alice", 1002);
}

#[test]
fn quotas_hold_per_user_per_source_and_in_all() {
    let quotas = Quotas { per_user: 1, per_source: 2, total: 3, ..Quotas::default() };
    let mut config = world::server_config();
    config.quotas = quotas;
    let mut world = World::with(config);
    let mut ask = |user: &str, source: &str| {
        let path = sansio::Path::udp(address(source), world::listening());
        let mut raw = Raw::challenged(&mut world, path, credentials(user));
        raw.ask(&mut world, Method::ALLOCATE, &allocate)
    };
    assert_eq!(ask("alice", "198.51.100.2:1"), Ok(()));
    assert_eq!(ask("alice", "198.51.100.3:1"), Err(486), "one user, wherever he is");
    assert_eq!(ask("bob", "198.51.100.2:2"), Ok(()));
    assert_eq!(ask("carol", "198.51.100.2:3"), Err(486), "one source, whoever it is");
    assert_eq!(ask("carol", "198.51.100.3:1"), Ok(()));
    assert_eq!(ask("dave", "198.51.100.4:1"), Err(508), "the server is full");
}

#[test]
fn the_server_gives_everything_back_when_it_is_closed() {
    let mut world = World::new();
    for port in 1000..1010 {
        world.allocated("alice", port);
    }
    world.server.close(world.now);
    world.settle();
    assert_eq!((world.server.allocations(), world.sockets.len()), (0, 0));
    assert_eq!(world.server.poll_timeout(), None);
}

#[test]
fn the_software_is_named_in_signed_answers_only_and_only_if_told() {
    let mut config = world::server_config();
    config.software = Some("sterna".to_owned());
    let mut world = World::with(config);
    let mut raw = Raw::new(client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let challenge = world.ask(raw.path, &request).unwrap();
    assert_eq!(Message::parse(&challenge).unwrap().software(), None);
    raw.learn(&request, &challenge);
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().software(), Some("sterna"));
}

#[test]
fn the_last_port_of_all_is_a_port() {
    let mut config = world::server_config();
    config.ports = 65_535..=65_535;
    let mut world = World::with(config);
    let at = world.allocated("alice", 1000);
    assert_eq!(world.relayed(at).port(), 65_535);
}
