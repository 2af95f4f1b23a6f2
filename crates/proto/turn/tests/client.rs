//! What our client does about loss, refusals and servers that change their mind.

mod world;

use std::time::Duration;

use sansio::{Seed, Time, Transport};
use sterna_turn::{Client, ClientConfig, ClientEvent, Credentials, Stage, TurnError};
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};
use world::{REALM, SECRET, START, World, address, client_path, credentials};

const PEER: &str = "203.0.113.9:4000";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The error that a client ended with.
fn failure(world: &World, at: usize) -> TurnError {
    match world.events(at) {
        [.., ClientEvent::Failed(error)] => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lost_requests_and_answers_are_asked_for_again() {
    for seed in 0..50 {
        let mut world = World::new();
        let mut dice = sansio::Rng::new(Seed::from(seed));
        world.lose = Box::new(move |_| dice.unit() < 0.4);
        let at = world.add_client("alice", 1000);
        let now = world.now;
        world.client(at).permit(now, address(PEER));
        world.advance_secs(180);
        let granted = world.events(at).contains(&ClientEvent::PermissionGranted(address(PEER)));
        assert!(granted, "seed {seed}: {:?}", world.events(at));
        assert_eq!(world.server.allocations(), 1, "retransmissions make no second allocation");
    }
}

#[test]
fn a_server_that_is_not_there_is_given_up_after_seven_requests() {
    let mut world = World::new();
    world.server_is_off = true;
    let at = world.add_client("alice", 1000);
    world.advance(Duration::from_millis(39_499));
    assert_eq!((world.events(at).len(), world.clients[at].sent.len()), (0, 7));
    world.advance(Duration::from_millis(1));
    let error = failure(&world, at);
    assert_eq!((error.code, error.stage), (None, Stage::Allocate));
    assert!(error.hint.contains("transport=tcp"), "{error}");
    assert_eq!(world.client(at).poll_timeout(), None, "quiet afterwards");

    // Over a stream the request goes out once.
    let config =
        ClientConfig::new(world::stream_path(1001, Transport::Tcp), credentials("alice"), Seed::from(1));
    let at = world.add(config);
    world.advance_secs(40);
    assert_eq!(world.clients[at].sent.len(), 1);
    assert!(failure(&world, at).hint.contains("TLS port"));
}

#[test]
fn a_wrong_password_fails_with_a_hint_and_without_a_second_try() {
    let mut world = World::new();
    world.advance_secs(10);
    let fails = |world: &mut World, username: &str, password: &str, clock: Option<u64>| {
        let port = 1000 + world.clients.len() as u16;
        let (username, password) = (username.to_owned(), password.to_owned());
        let credentials = Credentials { username, password };
        let mut config = ClientConfig::new(client_path(port), credentials, Seed::from(u64::from(port)));
        config.unix_time_at_start = clock.map(secs);
        let at = world.add(config);
        world.advance_secs(60);
        assert_eq!(world.clients[at].sent.len(), 2, "one without, one with credentials");
        let error = failure(world, at);
        assert_eq!((error.code, error.stage), (Some(401), Stage::Allocate));
        error
    };
    let plain = fails(&mut world, "george", "wrong", None);
    assert!(plain.hint.contains(REALM) && plain.hint.contains("case-sensitive"), "{plain}");
    let secret = fails(&mut world, &format!("{}:alice", START + 3600), "wrong", Some(START));
    assert!(secret.hint.contains("another") && secret.hint.contains("secret"), "{secret}");
    let (username, password) = stun::credential::rest_credentials(SECRET, "alice", START - 500).unwrap();
    let expired = fails(&mut world, &username, &password, Some(START));
    assert_eq!(expired.reason, "Expired");
    assert!(expired.hint.contains("expired 10 min ago"), "{expired}");
    // A client whose clock is behind: it takes its credentials for good ones.
    let skewed = fails(&mut world, &username, &password, Some(START - 1000));
    assert!(skewed.hint.contains("clock"), "{skewed}");
    assert!(plain.to_string().starts_with("asking the TURN server for a relayed address failed: 401 "));
}

/// An error response to the client's last request, made by hand.
fn error_to(request: &[u8], code: u16, attributes: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 1000];
    let request = Message::parse(request).unwrap();
    let mut writer = MessageWriter::answer(&mut buffer, Class::Error, &request);
    writer.error_code(code, "");
    attributes(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// A client, and the requests it sends, without a server.
struct Alone {
    client: Client,
    now: Time,
}

impl Alone {
    fn new() -> Self {
        Self::with(ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(1)))
    }

    fn with(config: ClientConfig) -> Self {
        Self { client: Client::new(Time::ZERO, config), now: Time::ZERO }
    }

    fn request(&mut self) -> Option<Vec<u8>> {
        let mut out = sansio::Batches::new(1 << 20);
        self.client.poll_transmit(self.now, &mut out);
        out.pop().map(|batch| batch.datagrams().next().unwrap().to_vec())
    }

    fn answer(&mut self, mut bytes: Vec<u8>) {
        self.client.open(self.now, &mut bytes, &mut |_, _| panic!("no data"));
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }
}

#[test]
fn a_server_that_calls_every_nonce_stale_is_left_soon() {
    let mut alone = Alone::new();
    let mut asked = 0;
    while let Some(request) = alone.request() {
        asked += 1;
        assert!(asked < 20, "it goes round in circles");
        let code = if asked == 1 { 401 } else { 438 };
        let nonce = format!("nonce number {asked}");
        alone.answer(error_to(&request, code, &|writer| {
            writer.string(kind::REALM, REALM).string(kind::NONCE, &nonce);
        }));
    }
    let events = alone.events();
    let [ClientEvent::Failed(error)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.code, Some(438));
    assert!(error.hint.contains("stale"), "{error}");
    assert!(asked <= 6, "{asked} requests");
}

#[test]
fn a_server_that_announces_algorithms_and_withholds_them_is_not_asked_again() {
    let mut alone = Alone::new();
    let request = alone.request().unwrap();
    alone.answer(error_to(&request, 401, &|writer| {
        writer.string(kind::REALM, REALM).string(kind::NONCE, "obMatJos2gAAAxyz");
    }));
    let events = alone.events();
    let [ClientEvent::Failed(error)] = &events[..] else { panic!("{events:?}") };
    assert!(error.hint.contains("announces protection"), "{error}");
    assert_eq!(alone.request(), None);
}

#[test]
fn a_redirection_names_the_other_server() {
    let mut alone = Alone::new();
    let request = alone.request().unwrap();
    alone.answer(error_to(&request, 300, &|writer| {
        writer.address(kind::ALTERNATE_SERVER, address("192.0.2.99:3478"));
        writer.string(kind::ALTERNATE_DOMAIN, "other.example.org");
    }));
    assert_eq!(
        alone.events(),
        [ClientEvent::Redirected {
            server: address("192.0.2.99:3478"),
            domain: Some("other.example.org".into())
        }]
    );
    assert_eq!((alone.request(), alone.client.poll_timeout()), (None, None));
    let mut alone = Alone::new();
    let request = alone.request().unwrap();
    alone.answer(error_to(&request, 300, &|_| {}));
    assert!(matches!(&alone.events()[..], [ClientEvent::Failed(error)] if error.code == Some(300)));
}

#[test]
fn each_refusal_of_an_allocation_has_its_own_hint() {
    let mut hints = std::collections::BTreeSet::new();
    for code in [400, 403, 420, 437, 440, 441, 442, 486, 508] {
        let mut alone = Alone::new();
        let request = alone.request().unwrap();
        alone.answer(error_to(&request, code, &|_| {}));
        let events = alone.events();
        let [ClientEvent::Failed(error)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((error.code, error.stage), (Some(code), Stage::Allocate));
        assert!(!error.reason.is_empty() && error.hint.ends_with('.'), "{error}");
        assert!(hints.insert(error.hint.clone()), "{code}");
    }
}

#[test]
fn answers_that_are_not_signed_with_our_password_are_not_believed() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let config =
            ClientConfig::new(world::stream_path(1000, transport), credentials("alice"), Seed::from(1));
        let mut alone = Alone::with(config);
        let request = alone.request().unwrap();
        alone.answer(error_to(&request, 401, &|writer| {
            writer.string(kind::REALM, REALM).string(kind::NONCE, "a nonce");
        }));
        let request = alone.request().unwrap();
        // Somebody would like it to give up, or to take his address for the relayed one.
        alone.answer(error_to(&request, 486, &|_| {}));
        let mut forged = vec![0; 200];
        let length = MessageWriter::answer(&mut forged, Class::Success, &Message::parse(&request).unwrap())
            .xor_address(kind::XOR_RELAYED_ADDRESS, address("203.0.113.66:1"))
            .xor_address(kind::XOR_MAPPED_ADDRESS, address("203.0.113.66:2"))
            .integrity(&stun::Key::short_term("a guess"))
            .finish()
            .unwrap();
        alone.answer(forged[..length].to_vec());
        if transport == Transport::Udp {
            assert_eq!(alone.events(), []);
        }
        while let Some(next) = alone.client.poll_timeout() {
            alone.now = next;
            alone.client.handle_timeout(next);
        }
        let events = alone.events();
        let [ClientEvent::Failed(error)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(error.code, None);
        assert!(error.hint.contains("not signed with our password"), "{error}");
    }
}

#[test]
fn an_allocation_of_the_wrong_family_is_given_back() {
    let mut alone = Alone::new();
    let request = alone.request().unwrap();
    let mut answer = vec![0; 200];
    let length = MessageWriter::answer(&mut answer, Class::Success, &Message::parse(&request).unwrap())
        .xor_address(kind::XOR_RELAYED_ADDRESS, address("[2001:db8::1]:1"))
        .xor_address(kind::XOR_MAPPED_ADDRESS, address("198.51.100.2:1000"))
        .finish()
        .unwrap();
    alone.answer(answer[..length].to_vec());
    assert!(matches!(&alone.events()[..], [ClientEvent::Failed(_)]));
    let request = alone.request().expect("one more request");
    let request = Message::parse(&request).unwrap();
    assert_eq!((request.method(), request.u32(kind::LIFETIME)), (Method::REFRESH, Some(0)));
}

#[test]
fn the_allocation_is_refreshed_a_minute_before_its_end() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    let before = world.clients[at].sent.len();
    world.advance_secs(539);
    assert_eq!(world.clients[at].sent[before..].iter().filter(|bytes| is_request(bytes)).count(), 0);
    world.advance_secs(1);
    let refresh = world.clients[at].sent.iter().rfind(|bytes| is_request(bytes)).unwrap();
    assert_eq!(Message::parse(refresh).unwrap().method(), Method::REFRESH);
    world.advance_secs(100_000);
    assert_eq!((world.server.allocations(), world.events(at)), (1, &[][..]));
}

fn is_request(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok_and(|message| message.class() == Class::Request)
}

#[test]
fn a_lifetime_is_asked_for_and_what_is_granted_counts() {
    let mut world = World::new();
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(1));
    config.lifetime = Some(secs(100_000));
    let at = world.add(config);
    world.settle();
    let [ClientEvent::Allocated { lifetime, .. }] = world.events(at) else { panic!() };
    assert_eq!(*lifetime, secs(3600));
    let before = requests(&world, at);
    world.advance_secs(3539);
    assert_eq!(requests(&world, at), before);
    world.advance_secs(1);
    assert_eq!(requests(&world, at), before + 1);
}

fn requests(world: &World, at: usize) -> usize {
    world.clients[at].sent.iter().filter(|bytes| is_request(bytes)).count()
}

#[test]
fn a_server_that_restarted_is_noticed_and_the_client_ends() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let mut config = world::server_config();
    config.seed = Seed::from(99);
    world.server = sterna_turn::Server::new(config).unwrap();
    world.sockets.clear();
    // It hears of it with the next refresh, of the permission: a new nonce first, and then 437.
    world.advance_secs(240);
    let error = failure(&world, at);
    assert_eq!(error.code, Some(437));
    assert!(error.hint.contains("restart"), "{error}");
    assert!(!world.send(at, address(PEER), b"x"));
    assert_eq!(world.client(at).poll_timeout(), None);
    // Whoever wants a relayed address again makes a new client; its 5-tuple is free.
    world.clients.remove(at);
    world.allocated("alice", 1000);
}

#[test]
fn a_400_that_makes_no_sense_is_a_reason_to_ask_after_the_allocation() {
    // coturn: 400 to CreatePermission when it was restarted, 437 to Refresh only.
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    world.server_is_off = true;
    world.permit(at, address(PEER));
    let request = world.clients[at].sent.last().unwrap().clone();
    let Credentials { username, password } = credentials("alice");
    let key = stun::Key::long_term(stun::PasswordAlgorithm::Sha256, &username, REALM, &password);
    let mut answer = error_to(&request, 400, &|writer| {
        writer.integrity_sha256(&key);
    });
    let now = world.now;
    world.client(at).open(now, &mut answer, &mut |_, _| panic!("no data"));
    world.settle();
    assert!(matches!(world.events(at), [ClientEvent::PermissionRefused { code: Some(400), .. }]));
    let last = Message::parse(world.clients[at].sent.last().unwrap()).unwrap();
    assert_eq!((last.method(), last.raw(kind::LIFETIME)), (Method::REFRESH, None));
}

#[test]
fn closing_an_allocation_that_the_server_forgot_is_success() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    world.server = sterna_turn::Server::new(world::server_config()).unwrap();
    world.sockets.clear();
    let now = world.now;
    world.client(at).close(now);
    world.settle();
    assert_eq!(world.events(at), [ClientEvent::Closed]);
}

#[test]
fn closing_ends_at_any_moment() {
    // Before the first packet, before the challenge's answer, with an allocation, with a dead server.
    for steps in 0..3 {
        let mut world = World::new();
        world.server_is_off = steps == 2;
        let at = world.add_client("alice", 1000);
        if steps == 1 {
            let now = world.now;
            let mut out = sansio::Batches::new(1 << 20);
            world.client(at).poll_transmit(now, &mut out);
        }
        let now = world.now;
        world.client(at).close(now);
        world.client(at).permit(now, address(PEER));
        world.advance_secs(40);
        assert_eq!(world.events(at), [ClientEvent::Closed], "{steps}");
        assert_eq!(world.server.allocations(), 0);
        world.client(at).close(now);
        assert_eq!(world.client(at).poll_event(), None);
    }
    // With the signed Allocate request on its way: what it yields is given back.
    let mut world = World::new();
    let at = world.add_client("alice", 1000);
    let now = world.now;
    for _ in 0..2 {
        let mut out = sansio::Batches::new(1 << 20);
        world.client(at).poll_transmit(now, &mut out);
        let batch = out.pop().unwrap();
        if batch.bytes.len() > 100 {
            world.client(at).close(now);
        }
        world.hand_to_server(batch.path.reversed(), batch.bytes);
    }
    assert_eq!(world.server.allocations(), 1);
    world.settle();
    assert_eq!((world.events(at), world.server.allocations()), (&[ClientEvent::Closed][..], 0));
}

#[test]
fn silent_paths_are_kept_open_over_udp_and_busy_ones_left_alone() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let before = world.clients[at].sent.len();
    world.advance_secs(61);
    let keepalives = &world.clients[at].sent[before..];
    assert_eq!(keepalives.len(), 3, "at 30, 45 and 60 seconds: the requests count for the first 15");
    for bytes in keepalives {
        let message = Message::parse(bytes).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Indication, Method::BINDING));
        assert_eq!(bytes.len(), 20);
    }
    let before = world.clients[at].sent.len();
    for _ in 0..6 {
        world.advance_secs(10);
        world.send(at, address(PEER), b"x");
    }
    assert_eq!(world.clients[at].sent.len(), before + 6);
    let config =
        ClientConfig::new(world::stream_path(1001, Transport::Tcp), credentials("bob"), Seed::from(1));
    let at = world.add(config);
    world.settle();
    let before = world.clients[at].sent.len();
    world.advance_secs(200);
    assert_eq!(world.clients[at].sent.len(), before);
}

#[test]
fn at_most_ten_requests_are_outstanding() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    world.server_is_off = true;
    let before = world.clients[at].sent.len();
    for number in 0..100 {
        let now = world.now;
        world.client(at).permit(now, ([203, 0, 113, number], 1).into());
    }
    world.settle();
    assert_eq!(world.clients[at].sent.len() - before, 10);
    world.server_is_off = false;
    world.advance_secs(10);
    let granted = world.events(at).iter().filter(|e| matches!(e, ClientEvent::PermissionGranted(_))).count();
    assert_eq!(granted, 100);
}

#[test]
fn a_permission_that_gets_no_answer_is_refused_and_the_allocation_lives() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    world.lose = Box::new(|bytes| bytes[1] == 8);
    world.permit(at, address(PEER));
    world.advance_secs(40);
    let [ClientEvent::PermissionRefused { peer, code: None, reason }] = world.events(at) else {
        panic!("{:?}", world.events(at))
    };
    assert_eq!(*peer, address(PEER));
    assert!(reason.contains("no answer"), "{reason}");
    assert!(world.client(at).relayed().is_some());
}

#[test]
fn without_a_channel_the_peer_is_reached_by_indications_and_kept_permitted() {
    let mut config = world::server_config();
    config.quotas.channels = 0;
    let mut world = World::with(config);
    let peer = address(PEER);
    let at = world.allocated("alice", 1000);
    world.permit(at, peer);
    assert_eq!(world.events(at), [ClientEvent::PermissionGranted(peer)]);
    for _ in 0..5 {
        world.advance_secs(290);
        assert!(world.send(at, peer, b"x"));
        assert_eq!(world.clients[at].sent.last().unwrap().len(), 40);
    }
    assert_eq!(world.sent_to_peers.len(), 5);
}

#[test]
fn a_peer_that_icmp_calls_unreachable_is_reported() {
    let mut world = World::new();
    let at = world.connected("alice", 1000, address(PEER));
    let mut bytes = world::send_indication(&|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, address(PEER));
        writer.raw(kind::ICMP, &[0, 0, 3, 3, 0, 0, 0, 0]);
    });
    bytes[1] = 0x17;
    let now = world.now;
    world.client(at).open(now, &mut bytes, &mut |_, _| panic!("no data"));
    assert_eq!(
        world.client(at).poll_event(),
        Some(ClientEvent::PeerUnreachable { peer: address(PEER), icmp_type: 3, icmp_code: 3, data: 0 })
    );
}

#[test]
fn answers_to_other_peoples_requests_on_the_same_socket_are_left_to_them() {
    let mut world = World::new();
    let at = world.allocated("alice", 1000);
    let mut buffer = [0; 100];
    let length = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TransactionId([5; 12]))
        .xor_address(kind::XOR_MAPPED_ADDRESS, address("198.51.100.2:1000"))
        .finish()
        .unwrap();
    let now = world.now;
    let opened = world.client(at).open(now, &mut buffer[..length], &mut |_, _| panic!("no data"));
    assert_eq!(opened, sterna_turn::Opened::Other);
}

#[test]
fn a_username_that_does_not_fit_fails_at_once() {
    let credentials = Credentials { username: "x".repeat(2000), password: "y".into() };
    let mut world = World::new();
    let at = world.add(ClientConfig::new(client_path(1000), credentials, Seed::from(1)));
    world.settle();
    assert!(failure(&world, at).hint.contains("shorter username"));
}

#[test]
fn passwords_do_not_show_themselves() {
    let config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(1));
    let password = config.credentials.password.clone();
    let client = Client::new(Time::ZERO, config.clone());
    assert!(!format!("{config:?}{client:?}").contains(&password));
}

#[test]
fn a_server_that_does_not_know_dual_allocations_gives_one_address() {
    let mut config = ClientConfig::new(client_path(1000), credentials("alice"), Seed::from(1));
    config.families = sterna_turn::Families::Both;
    let mut alone = Alone::with(config);
    let request = alone.request().unwrap();
    let asked = Message::parse(&request).unwrap();
    assert_eq!(asked.raw(kind::ADDITIONAL_ADDRESS_FAMILY), Some(&[2, 0, 0, 0][..]));
    assert_eq!(asked.raw(kind::REQUESTED_ADDRESS_FAMILY), None, "RFC 8656 §7.1: not both");
    let mut buffer = [0; 200];
    let mut writer = MessageWriter::answer(&mut buffer, Class::Success, &asked);
    writer.xor_address(kind::XOR_RELAYED_ADDRESS, address("192.0.2.15:50000"));
    writer.xor_address(kind::XOR_MAPPED_ADDRESS, address("198.51.100.2:1000"));
    let length = writer.finish().unwrap();
    alone.answer(buffer[..length].to_vec());
    let [ClientEvent::Allocated { relayed, additional: None, .. }] = alone.events()[..] else { panic!() };
    assert_eq!(relayed, address("192.0.2.15:50000"));
}
