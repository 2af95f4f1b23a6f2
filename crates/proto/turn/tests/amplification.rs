//! What strangers can make the server send, and to whom.

mod world;

use sansio::{Path, Transport};
use sterna_turn::{Drop, Quotas};
use stun::{Class, MessageWriter, Method, TransactionId};
use world::{Raw, World, address, allocate, client_path, credentials, send_indication};

const METHODS: [Method; 5] =
    [Method::BINDING, Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND];

#[test]
fn no_answer_to_a_stranger_is_more_than_four_times_its_question() {
    for realm in ["x", "example.org", "turn-of-a-long-name.north.example.org.eu"] {
        let mut config = world::server_config();
        config.realm = realm.to_owned();
        config.quotas.unauthenticated_per_second = 1000;
        let mut world = World::with(config);
        let path = client_path(1000);
        // From the smallest request there is, in all lengths, with and without FINGERPRINT.
        for method in METHODS {
            for padding in 0..40 {
                for fingerprint in [false, true] {
                    let request = write_with(Class::Request, method, &|writer| {
                        if padding > 0 {
                            writer.raw(stun::kind::SOFTWARE, &vec![b'x'; padding - 1]);
                        }
                        if fingerprint {
                            writer.fingerprint();
                        }
                    });
                    let answer = world.ask(path, &request).unwrap();
                    let (asked, answered) = (request.len(), answer.len());
                    assert!(answered <= 4 * asked, "{method} in realm {realm}: {answered} bytes for {asked}");
                }
            }
        }
    }
}

#[test]
fn the_smallest_allocate_request_is_challenged_and_a_smaller_one_is_malformed() {
    let mut config = world::server_config();
    config.realm = "turn-of-a-long-name.north.example.org.eu".to_owned();
    let mut world = World::with(config);
    let path = client_path(1000);
    let smallest = write_with(Class::Request, Method::ALLOCATE, &allocate);
    assert_eq!(smallest.len(), 28);
    let challenge = world.ask(path, &smallest).unwrap();
    assert_eq!((challenge.len(), world::outcome(&challenge)), (4 * 28, Err(401)));
    let refusal = world.ask(path, &write(Class::Request, Method::ALLOCATE)).unwrap();
    assert_eq!((refusal.len(), world::outcome(&refusal)), (28, Err(400)));
}

#[test]
fn a_realm_that_makes_challenges_too_large_stops_the_start() {
    let mut config = world::server_config();
    config.realm = "x".repeat(41);
    assert!(matches!(sterna_turn::Server::new(config).err(), Some(sterna_turn::ConfigError::Realm(_))));
}

#[test]
fn a_refused_signature_is_answered_with_less_than_it() {
    let mut world = World::new();
    let mut raw = Raw::challenged(&mut world, client_path(1000), credentials("alice"));
    let mut forged = raw.write(Method::ALLOCATE, &allocate);
    *forged.last_mut().unwrap() ^= 1;
    let answer = world.ask(raw.path, &forged).unwrap();
    assert!(answer.len() < forged.len());
}

#[test]
fn a_challenge_says_no_more_than_it_must() {
    let mut world = World::new();
    let mut raw = Raw::new(client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, &allocate);
    let answer = world.ask(raw.path, &request).unwrap();
    // Header, ERROR-CODE without a phrase, REALM (11), NONCE (24), PASSWORD-ALGORITHMS (two).
    assert_eq!(answer.len(), 20 + 8 + 16 + 28 + 12);
}

#[test]
fn indications_responses_and_noise_are_never_answered() {
    let mut world = World::new();
    let path = client_path(1000);
    let mut silent = vec![
        b"".to_vec(),
        b"\x00".to_vec(),
        vec![0; 20],
        vec![0xff; 1400],
        b"\x16\xfe\xff\x00\x00".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x40\x00\xff\xff".to_vec(),
        b"\x50\x00\x00\x01x".to_vec(),
        send_indication(&|_| {}),
    ];
    for class in [Class::Indication, Class::Success, Class::Error] {
        for method in 0..16 {
            silent.push(write(class, Method(method)));
        }
    }
    // Requests for what nobody here does, and one whose checksum is wrong.
    for method in [Method::SEND, Method::DATA, Method::CONNECT, Method::CONNECTION_BIND, Method(0xfff)] {
        silent.push(write(Class::Request, method));
    }
    let mut damaged = write_with(Class::Request, Method::BINDING, &|writer| {
        writer.fingerprint();
    });
    *damaged.last_mut().unwrap() ^= 1;
    silent.push(damaged);
    // A length that is not the datagram's, on either side.
    let mut short = write(Class::Request, Method::ALLOCATE);
    short[3] = 4;
    silent.push(short);
    let mut long = write(Class::Request, Method::ALLOCATE);
    long.push(0);
    silent.push(long);
    for bytes in &silent {
        assert_eq!(world.ask(path, bytes), None, "{bytes:02x?}");
    }
    assert!(world.server.counters().dropped_in_all() > 40);
    assert_eq!(world.server.allocations(), 0);
}

fn write(class: Class, method: Method) -> Vec<u8> {
    write_with(class, method, &|_| {})
}

fn write_with(class: Class, method: Method, attributes: &dyn Fn(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0; 200];
    let mut writer = MessageWriter::new(&mut buffer, class, method, TransactionId([3; 12]));
    attributes(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn challenges_and_bindings_are_limited_per_source_over_udp() {
    let mut config = world::server_config();
    config.quotas = Quotas { unauthenticated_per_second: 10, ..Quotas::default() };
    let mut world = World::with(config);
    let victim = |port: u16| Path::udp(([198, 51, 100, 77], port).into(), world::listening());
    let flood = |world: &mut World, path: &dyn Fn(u16) -> Path| {
        (0..1000)
            .filter(|port| {
                let method = if port % 2 == 0 { Method::BINDING } else { Method::ALLOCATE };
                world.ask(path(1000 + port), &write(Class::Request, method)).is_some()
            })
            .count()
    };
    assert_eq!(flood(&mut world, &victim), 40, "all ports of an address count together");
    assert_eq!(world.server.counters().dropped(Drop::Throttled), 960);
    world.advance_secs(1);
    assert_eq!(flood(&mut world, &victim), 10);
    // Others do not suffer.
    world.allocated("alice", 1000);
    // Who answers on a stream is where he says he is.
    let tcp = |port| Path { transport: Transport::Tcp, ..victim(port) };
    assert_eq!(flood(&mut world, &tcp), 1000);
}

#[test]
fn who_has_authenticated_is_not_limited() {
    let mut config = world::server_config();
    config.quotas = Quotas { unauthenticated_per_second: 1, ..Quotas::default() };
    let mut world = World::with(config);
    let mut raw = Raw::allocated(&mut world, client_path(1000), credentials("alice"));
    for _ in 0..200 {
        assert_eq!(raw.permit(&mut world, address("203.0.113.9:1")), Ok(()));
    }
}

#[test]
fn bindings_are_answered_with_the_mapped_address() {
    let mut world = World::new();
    let path = client_path(1000);
    let answer = world.ask(path, &write(Class::Request, Method::BINDING)).unwrap();
    let message = stun::Message::parse(&answer).unwrap();
    assert_eq!(message.xor_mapped_address(), Some(path.local));
    assert!(!message.has_fingerprint());
    assert_eq!(answer.len(), 32);
    let with_fingerprint = write_with(Class::Request, Method::BINDING, &|writer| {
        writer.fingerprint();
    });
    let answer = world.ask(path, &with_fingerprint).unwrap();
    assert!(stun::Message::parse(&answer).unwrap().check_fingerprint());
    let unknown = write_with(Class::Request, Method::BINDING, &|writer| {
        writer.raw(stun::kind::CHANGE_REQUEST, &[0; 4]);
    });
    let answer = world.ask(path, &unknown).unwrap();
    assert_eq!(world::outcome(&answer), Err(420));
    let message = stun::Message::parse(&answer).unwrap();
    assert_eq!(
        message.unknown_attributes().unwrap().iter().collect::<Vec<_>>(),
        [stun::kind::CHANGE_REQUEST]
    );
}
