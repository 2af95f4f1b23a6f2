//! TCP allocations (RFC 6062): what is connected to what, and who is refused.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, Seed, Transport};
use sterna_turn::{
    ClientConfig, ClientEvent, Credentials, DataConnection, Direction, Drop, Joining, Quotas, ServerConfig,
    StreamNews, StreamOp,
};
use stun::{Message, Method, kind};
use world::{
    RELAY, Raw, World, address, client_path, credentials, ip, outcome, relayed_in, send_indication,
    server_config, stream_path,
};

const PEER: &str = "203.0.113.9:4000";

fn config() -> ServerConfig {
    ServerConfig { tcp_relay: true, ..server_config() }
}

fn tcp(writer: &mut stun::MessageWriter<'_>) {
    writer.raw(kind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
}

/// Someone with a TCP allocation, and its address.
fn allocated(world: &mut World, name: &str, port: u16) -> (Raw, SocketAddr) {
    let mut raw = Raw::challenged(world, stream_path(port, Transport::Tcp), credentials(name));
    let request = raw.write(Method::ALLOCATE, &tcp);
    let answer = world.ask(raw.path, &request).unwrap();
    assert_eq!(outcome(&answer), Ok(()));
    (raw, relayed_in(&answer)[0])
}

/// A Connect request; `None`: it is answered later.
fn connect(world: &mut World, raw: &mut Raw, peer: SocketAddr) -> Option<Result<(), u16>> {
    let request = raw.write(Method::CONNECT, &|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
    });
    world.ask(raw.path, &request).map(|answer| outcome(&answer))
}

fn news(world: &mut World, news: StreamNews) -> Vec<Vec<u8>> {
    world.answers.clear();
    world.server.handle_stream(world.now, news);
    world.settle();
    world.answers.drain(..).map(|(_, answer)| answer).collect()
}

fn id_in(message: &[u8]) -> u32 {
    Message::parse(message).unwrap().u32(kind::CONNECTION_ID).expect("it names a connection")
}

/// Has a connection made, and returns its path and number.
fn connected(world: &mut World, raw: &mut Raw, peer: SocketAddr) -> (Path, u32) {
    assert_eq!(connect(world, raw, peer), None);
    let Some(StreamOp::Connect { path }) = world.streams.pop_front() else {
        panic!("nothing is connected: {:?}", world.streams)
    };
    let answers = news(world, StreamNews::Connected { path });
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    assert_eq!(outcome(answer), Ok(()));
    (path, id_in(answer))
}

fn bind(world: &mut World, path: Path, credentials: Credentials, id: u32) -> Result<(), u16> {
    let mut raw = Raw::challenged(world, path, credentials);
    raw.ask(world, Method::CONNECTION_BIND, &|writer| {
        writer.u32(kind::CONNECTION_ID, id);
    })
}

fn data_path(port: u16) -> Path {
    stream_path(port, Transport::Tcp)
}

#[test]
fn a_connection_is_made_from_the_relayed_address_and_joined_with_the_clients() {
    let mut world = World::with(config());
    let (mut raw, relayed) = allocated(&mut world, "alice", 1000);
    let (path, id) = connected(&mut world, &mut raw, address(PEER));
    assert_eq!(path, Path::new(Transport::Tcp, relayed, address(PEER)));
    assert_eq!(bind(&mut world, data_path(1001), credentials("alice"), id), Ok(()));
    let joined = world.streams.pop_front();
    let client = data_path(1001).reversed();
    assert_eq!(joined, Some(StreamOp::Splice { peer: path, client, metered: false }));
    news(&mut world, StreamNews::Carried { path, to_peer: 30, to_client: 40 });
    let counters = world.server.counters();
    assert_eq!((counters.bytes_to_peers, counters.bytes_to_clients), (30, 40));
    // It lasts for as long as the allocation does.
    world.advance_secs(500);
    assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
    assert_eq!(world.streams, []);
    world.advance_secs(600);
    assert_eq!(world.streams, [StreamOp::Close { path }]);
    assert!(world.server.is_idle());
}

#[test]
fn a_peer_with_a_permission_is_announced_and_others_are_shut_out() {
    let mut world = World::with(config());
    let (mut raw, relayed) = allocated(&mut world, "alice", 1000);
    let path = Path::new(Transport::Tcp, relayed, address(PEER));
    assert_eq!(news(&mut world, StreamNews::Accepted { path }).len(), 0);
    assert_eq!(world.streams.pop_front(), Some(StreamOp::Close { path }));
    assert_eq!(world.server.counters().dropped(Drop::NoPermission), 1);
    raw.permit(&mut world, address(PEER)).unwrap();
    let told = news(&mut world, StreamNews::Accepted { path });
    let attempt = Message::parse(&told[0]).unwrap();
    assert_eq!(attempt.method(), Method::CONNECTION_ATTEMPT);
    assert_eq!(attempt.xor_address(kind::XOR_PEER_ADDRESS), Some(address(PEER)));
    assert_eq!(bind(&mut world, data_path(1001), credentials("alice"), id_in(&told[0])), Ok(()));
    assert!(matches!(world.streams.pop_front(), Some(StreamOp::Splice { .. })));
}

#[test]
fn a_connection_that_nobody_binds_is_closed_after_30_seconds() {
    let mut world = World::with(config());
    let (mut raw, relayed) = allocated(&mut world, "alice", 1000);
    let (dialed, id) = connected(&mut world, &mut raw, address(PEER));
    raw.permit(&mut world, address(PEER)).unwrap();
    let accepted = Path::new(Transport::Tcp, relayed, address("203.0.113.9:5000"));
    news(&mut world, StreamNews::Accepted { path: accepted });
    world.advance(Duration::from_millis(29_900));
    assert_eq!(world.streams, []);
    world.advance(Duration::from_millis(200));
    let mut closed: Vec<StreamOp> = world.streams.drain(..).collect();
    closed.sort_by_key(|op| format!("{op:?}"));
    assert_eq!(closed, [StreamOp::Close { path: dialed }, StreamOp::Close { path: accepted }]);
    assert_eq!(bind(&mut world, data_path(1001), credentials("alice"), id), Err(400));
}

#[test]
fn a_connection_that_fails_or_takes_30_seconds_is_447() {
    let mut world = World::with(config());
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    assert_eq!(connect(&mut world, &mut raw, address(PEER)), None);
    let Some(StreamOp::Connect { path }) = world.streams.pop_front() else { panic!() };
    let answers = news(&mut world, StreamNews::Ended { path });
    assert_eq!(outcome(&answers[0]), Err(447));

    assert_eq!(connect(&mut world, &mut raw, address(PEER)), None);
    world.streams.clear();
    world.answers.clear();
    world.advance(Duration::from_millis(29_900));
    assert!(world.answers.is_empty());
    world.advance(Duration::from_millis(200));
    assert_eq!(outcome(&world.answers[0].1), Err(447));
    assert_eq!(world.streams, [StreamOp::Close { path }]);
    // What comes of it after all is closed.
    news(&mut world, StreamNews::Connected { path });
    assert_eq!(world.streams.back(), Some(&StreamOp::Close { path }));
}

#[test]
fn a_second_connection_to_the_same_peer_is_446() {
    let mut world = World::with(config());
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    assert_eq!(connect(&mut world, &mut raw, address(PEER)), None);
    assert_eq!(connect(&mut world, &mut raw, address(PEER)), Some(Err(446)), "while it is made");
    let Some(StreamOp::Connect { path }) = world.streams.pop_front() else { panic!() };
    news(&mut world, StreamNews::Connected { path });
    assert_eq!(connect(&mut world, &mut raw, address(PEER)), Some(Err(446)), "while it waits");
    assert_eq!(connect(&mut world, &mut raw, address("203.0.113.9:4001")), None, "another port is another");
    news(&mut world, StreamNews::Ended { path });
    assert_eq!(connect(&mut world, &mut raw, address(PEER)), None, "when it is no more");
    let (mut other, _) = allocated(&mut world, "bob", 2000);
    assert_eq!(connect(&mut world, &mut other, address(PEER)), None, "of another allocation");
}

/// Who is not to be reached at all: `tests/pitfalls.rs`.
#[test]
fn connect_refuses_another_family_and_what_names_no_peer() {
    let mut world = World::with(config());
    let (mut raw, _) = allocated(&mut world, "mallory", 1000);
    assert_eq!(connect(&mut world, &mut raw, address("[2001:db8:1::9]:80")), Some(Err(443)));
    assert_eq!(connect(&mut world, &mut raw, address("203.0.113.9:0")), Some(Err(400)));
    assert_eq!(raw.ask(&mut world, Method::CONNECT, &|_| {}), Err(400));
    assert!(world.streams.is_empty(), "nothing is connected to");
}

#[test]
fn two_allocations_of_one_server_may_connect_to_each_other() {
    let mut world = World::with(config());
    let (mut alice, at_alice) = allocated(&mut world, "alice", 1000);
    let (mut bob, at_bob) = allocated(&mut world, "bob", 2000);
    bob.permit(&mut world, at_alice).unwrap();
    let (path, _) = connected(&mut world, &mut alice, at_bob);
    assert_eq!((path.local, path.remote), (at_alice, at_bob));
    let told = news(&mut world, StreamNews::Accepted { path: path.reversed() });
    let attempt = Message::parse(&told[0]).unwrap();
    assert_eq!(attempt.xor_address(kind::XOR_PEER_ADDRESS), Some(at_alice));
    // Something else on this machine is not a peer, whatever the permission.
    let other = Path::new(Transport::Tcp, at_bob, SocketAddr::new(ip(RELAY), 9));
    assert_eq!(news(&mut world, StreamNews::Accepted { path: other }).len(), 0);
    assert_eq!(world.streams.back(), Some(&StreamOp::Close { path: other }));
    assert_eq!(world.server.counters().dropped(Drop::Own), 1);
}

#[test]
fn who_may_not_have_a_tcp_allocation_is_told_why() {
    let mut world = World::with(server_config());
    let mut raw = Raw::challenged(&mut world, data_path(1000), credentials("alice"));
    assert_eq!(raw.ask(&mut world, Method::ALLOCATE, &tcp), Err(442), "the server has none");
    let mut world = World::with(config());
    let mut over_udp = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    assert_eq!(over_udp.ask(&mut world, Method::ALLOCATE, &tcp), Err(400));
    let mut raw = Raw::challenged(&mut world, data_path(1000), credentials("alice"));
    for (attribute, value) in [
        (kind::EVEN_PORT, &[0][..]),
        (kind::RESERVATION_TOKEN, &[7; 8]),
        (kind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
    ] {
        let outcome = raw.ask(&mut world, Method::ALLOCATE, &|writer| {
            tcp(writer);
            writer.raw(attribute, value);
        });
        assert_eq!(outcome, Err(400), "{attribute}");
    }
    world.server.close(world.now);
    let mut with_df = World::with(ServerConfig { dont_fragment: true, ..config() });
    let mut raw = Raw::challenged(&mut with_df, data_path(1000), credentials("alice"));
    let outcome = raw.ask(&mut with_df, Method::ALLOCATE, &|writer| {
        tcp(writer);
        writer.flag(kind::DONT_FRAGMENT);
    });
    assert_eq!(outcome, Err(400));
}

#[test]
fn datagrams_and_streams_do_not_mix() {
    let mut world = World::with(config());
    let (mut raw, relayed) = allocated(&mut world, "alice", 1000);
    raw.permit(&mut world, address(PEER)).unwrap();
    assert_eq!(raw.bind(&mut world, 0x4000, address(PEER)), Err(400));
    let indication = send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER)).raw(kind::DATA, b"data");
    });
    world.hand_to_server(raw.path.reversed(), indication);
    assert_eq!(world.server.counters().dropped(Drop::Family), 1);
    world.peer_sends(address(PEER), relayed, b"data");
    assert!(world.sent_to_peers.is_empty() && world.answers.is_empty());
    let mut udp = Raw::allocated(&mut world, data_path(3000), credentials("alice"));
    assert_eq!(connect(&mut world, &mut udp, address(PEER)), Some(Err(400)));
    let mut none = Raw::challenged(&mut world, data_path(4000), credentials("alice"));
    assert_eq!(connect(&mut world, &mut none, address(PEER)), Some(Err(437)));
}

#[test]
fn a_connection_is_bound_once_by_its_owner_and_by_a_stream_of_its_own() {
    let mut world = World::with(config());
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    let (_, id) = connected(&mut world, &mut raw, address(PEER));
    assert_eq!(bind(&mut world, client_path(1001), credentials("alice"), id), Err(400), "over UDP");
    assert_eq!(bind(&mut world, data_path(1002), credentials("bob"), id), Err(441), "by another user");
    assert_eq!(bind(&mut world, data_path(1003), credentials("alice"), id.wrapping_add(1)), Err(400));
    let on_control = raw.ask(&mut world, Method::CONNECTION_BIND, &|writer| {
        writer.u32(kind::CONNECTION_ID, id);
    });
    assert_eq!(on_control, Err(400), "a control connection stays one");
    assert!(world.streams.is_empty());
    assert_eq!(bind(&mut world, data_path(1004), credentials("alice"), id), Ok(()));
    assert_eq!(bind(&mut world, data_path(1005), credentials("alice"), id), Err(400), "again");
}

#[test]
fn a_username_that_has_expired_still_binds_the_connections_of_its_allocation() {
    let mut world = World::with(ServerConfig { nonce_lifetime: Duration::from_secs(86_400), ..config() });
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    for _ in 0..8 {
        world.advance_secs(500);
        assert_eq!(raw.ask(&mut world, Method::REFRESH, &|_| {}), Ok(()));
    }
    let (_, id) = connected(&mut world, &mut raw, address(PEER));
    let mut data = Raw::new(data_path(1001), credentials("alice"));
    data.long_term = raw.long_term.clone();
    let mut ask = || {
        let request = data.write(Method::CONNECTION_BIND, &|writer| {
            writer.u32(kind::CONNECTION_ID, id);
        });
        let answer = world.ask(data.path, &request).unwrap();
        data.learn(&request, &answer);
        outcome(&answer)
    };
    assert_eq!([ask(), ask()], [Err(438), Ok(())]);
}

#[test]
fn connections_end_with_their_streams_their_allocation_and_their_permission_to_be() {
    let mut world = World::with(config());
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    let (first, id) = connected(&mut world, &mut raw, address(PEER));
    bind(&mut world, data_path(1001), credentials("alice"), id).unwrap();
    world.streams.clear();
    let (second, _) = connected(&mut world, &mut raw, address("203.0.113.10:4000"));
    let error = sansio::SocketError::Closed;
    let gone = sansio::SocketReply::Disconnected { path: data_path(1001).reversed(), error: error.clone() };
    sansio::Machine::handle_socket(&mut world.server, world.now, gone);
    world.settle();
    assert_eq!(world.streams.pop_front(), Some(StreamOp::Close { path: first }), "the client has closed it");

    let ServerConfig { auth, policy, quotas, .. } = config();
    let policy = policy.deny("203.0.113.10/32".parse().unwrap());
    world.server.reconfigure(auth, policy, quotas).unwrap();
    world.settle();
    assert_eq!(world.streams.pop_front(), Some(StreamOp::Close { path: second }), "its peer is denied now");

    let (third, _) = connected(&mut world, &mut raw, address(PEER));
    let gone = sansio::SocketReply::Disconnected { path: raw.path.reversed(), error };
    sansio::Machine::handle_socket(&mut world.server, world.now, gone);
    world.settle();
    assert_eq!(
        world.streams.pop_front(),
        Some(StreamOp::Close { path: third }),
        "the control connection ended"
    );
    assert!(world.server.is_idle());
}

#[test]
fn an_allocation_has_no_more_connections_than_its_share() {
    let mut config = config();
    config.quotas = Quotas { connections: 2, ..config.quotas };
    let mut world = World::with(config);
    let (mut raw, relayed) = allocated(&mut world, "alice", 1000);
    raw.permit(&mut world, address(PEER)).unwrap();
    connected(&mut world, &mut raw, address(PEER));
    connected(&mut world, &mut raw, address("203.0.113.9:4001"));
    assert_eq!(connect(&mut world, &mut raw, address("203.0.113.9:4002")), Some(Err(508)));
    let path = Path::new(Transport::Tcp, relayed, address("203.0.113.9:4003"));
    assert_eq!(news(&mut world, StreamNews::Accepted { path }).len(), 0);
    assert_eq!(world.streams.back(), Some(&StreamOp::Close { path }));
}

/// What the server says about how much may go to the peer: how much, and when.
fn granted(world: &mut World, path: Path) -> (u64, Duration) {
    news(world, StreamNews::Wants { path, direction: Direction::ToPeers });
    match world.streams.pop_front() {
        Some(StreamOp::Grant { peer, direction: Direction::ToPeers, bytes, after }) if peer == path => {
            (bytes, after)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn streams_and_datagrams_of_a_user_share_one_bandwidth_and_a_reload_changes_that_of_both() {
    let limit = |rate| Quotas { bandwidth_per_user: rate, ..config().quotas };
    let mut world = World::with(ServerConfig { quotas: limit(Some(1_000_000)), ..config() });
    let (mut raw, _) = allocated(&mut world, "alice", 1000);
    let (path, id) = connected(&mut world, &mut raw, address(PEER));
    bind(&mut world, data_path(1001), credentials("alice"), id).unwrap();
    assert!(matches!(world.streams.pop_front(), Some(StreamOp::Splice { metered: true, .. })));
    // What datagrams take is no longer there for streams.
    let at = world.connected("alice", 2000, address(PEER));
    assert_eq!(granted(&mut world, path), (62_500, Duration::ZERO));
    for _ in 0..150 {
        world.send(at, address(PEER), &[7; 1250]);
    }
    assert_eq!(world.sent_to_peers.len(), 150, "all that was left");
    assert_eq!(granted(&mut world, path), (0, Duration::from_millis(125)));
    world.advance(Duration::from_millis(125));
    assert_eq!(granted(&mut world, path), (62_500, Duration::ZERO));
    // And the other way around.
    world.sent_to_peers.clear();
    for _ in 0..60 {
        world.send(at, address(PEER), &[7; 1250]);
    }
    assert_eq!(world.sent_to_peers.len(), 50, "what was left");
    world.sent_to_peers.clear();
    world.send(at, address(PEER), &[7; 1250]);
    assert_eq!(world.sent_to_peers.len(), 0);
    // Somebody else has his own.
    let bob = world.connected("bob", 3000, address(PEER));
    assert!(world.send(bob, address(PEER), &[7; 1250]) && world.sent_to_peers.len() == 1);

    let mut reload = |rate| {
        let ServerConfig { auth, policy, .. } = config();
        world.server.reconfigure(auth, policy, limit(rate)).unwrap();
        world.settle();
        let told: Vec<StreamOp> = world.streams.drain(..).collect();
        (told, world.server.allocations())
    };
    let metered = |metered| (vec![StreamOp::Meter { peer: path, metered }], 3);
    assert_eq!(reload(Some(100_000)), metered(true));
    assert_eq!(reload(Some(100_000)), (vec![], 3), "nothing is new");
    assert_eq!(reload(None), metered(false));
    assert_eq!(reload(Some(100_000)), metered(true));
    assert_eq!(granted(&mut world, path).0, 16_384, "a quarter of the burst of a slow one");
}

#[test]
fn our_client_connects_is_connected_to_and_joins() {
    let mut world = World::with(config());
    let control = data_path(1000);
    let mut client = ClientConfig::new(control, credentials("alice"), Seed::from(3));
    client.streams = true;
    let at = world.add(client);
    world.settle();
    let [ClientEvent::Allocated { relayed, .. }] = world.events(at)[..] else {
        panic!("{:?}", world.events(at))
    };
    world.permit(at, address(PEER));
    world.clients[at].events.clear();
    let now = world.now;
    world.client(at).connect(now, address(PEER));
    world.settle();
    let Some(StreamOp::Connect { path }) = world.streams.pop_front() else { panic!() };
    news(&mut world, StreamNews::Connected { path });
    let [ClientEvent::PeerConnected { peer, connection }] = world.events(at)[..] else {
        panic!("{:?}", world.events(at))
    };
    assert_eq!(peer, address(PEER));
    let mut data = world.client(at).data_connection(now, data_path(1001), connection);
    join(&mut world, &mut data, data_path(1001));
    assert_eq!(data.state(), &Joining::Joined);
    assert!(matches!(world.streams.pop_front(), Some(StreamOp::Splice { .. })));

    world.clients[at].events.clear();
    let peer = address("203.0.113.9:4001");
    news(&mut world, StreamNews::Accepted { path: Path::new(Transport::Tcp, relayed, peer) });
    let [ClientEvent::PeerConnecting { peer: connecting, connection }] = world.events(at)[..] else {
        panic!("{:?}", world.events(at))
    };
    assert_eq!(connecting, peer);
    let mut wrong = world.client(at).data_connection(now, data_path(1002), connection ^ 1);
    join(&mut world, &mut wrong, data_path(1002));
    assert!(matches!(wrong.state(), Joining::Refused { code: Some(400), .. }), "{:?}", wrong.state());

    world.clients[at].events.clear();
    world.client(at).connect(now, address("127.0.0.1:80"));
    world.settle();
    assert!(matches!(world.events(at), [ClientEvent::PeerRefused { code: Some(403), .. }]));
}

/// Lets a data connection and the server talk.
fn join(world: &mut World, data: &mut DataConnection, path: Path) {
    for _ in 0..4 {
        let mut out = sansio::Batches::new(1 << 16);
        data.poll_transmit(world.now, &mut out);
        while let Some(batch) = out.pop() {
            if let Some(answer) = world.ask(path, &batch.bytes) {
                data.handle_frame(world.now, &answer);
            }
        }
    }
}
