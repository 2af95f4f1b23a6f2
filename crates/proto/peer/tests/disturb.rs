//! What happens to a connection that is up: restarts, outages, strangers, the wrong peer, the end.

mod world;

use std::time::Duration;

use netsim::{Hostile, Limits, NatBehaviour, Net};
use sansio::{Machine, Path};
use sterna_peer::{
    ChannelState, ConnectionState, DataChannelInit, Event, IceConnectionState, MessageKind, SendError,
};
use world::{A, B, Mail, Places, Signalling, World, seeds};

const MINUTE: Duration = Duration::from_secs(60);

fn connected(seed: u64) -> World {
    let mut world = World::lan(seed, Signalling::default());
    world.create_channel(A, "chat");
    world.connect(MINUTE);
    world
}

fn ufrags(world: &World) -> [String; 2] {
    [A, B].map(|side| {
        let description = world.connection(side).local_description().unwrap();
        let line = description.sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap();
        line.to_owned()
    })
}

/// Sends numbers from A to B, one every 10 ms.
fn stream(world: &mut World, numbers: std::ops::Range<u32>) {
    let id = world.sides.read().unwrap()[A].opened()[0].0;
    for number in numbers {
        world.send(A, id, &number.to_be_bytes());
        world.run_for(Duration::from_millis(10));
    }
}

fn numbers(world: &World) -> Vec<u32> {
    let sides = world.sides.read().unwrap();
    sides[B].messages().iter().map(|bytes| u32::from_be_bytes(bytes[..4].try_into().unwrap())).collect()
}

#[test]
fn a_restart_disturbs_nobody() {
    for seed in seeds(10) {
        for side in [A, B] {
            let mut world = connected(seed);
            let before = ufrags(&world);
            stream(&mut world, 0..50);
            world.with(side, |connection, now| connection.restart_ice(now));
            stream(&mut world, 50..250);
            world.run_for(Duration::from_secs(2));
            let after = ufrags(&world);
            assert!(before[A] != after[A] && before[B] != after[B], "both have new credentials");
            assert_eq!(numbers(&world), (0..250).collect::<Vec<_>>());
            for side in [A, B] {
                assert_eq!(world.connection(side).connection_state(), ConnectionState::Connected, "{seed}");
                assert!(world.sides.read().unwrap()[side].failure().is_none());
            }
        }
    }
}

#[test]
fn a_restart_that_is_rolled_back_disturbs_nobody() {
    let mut world = connected(1);
    let before = ufrags(&world);
    world.with(A, |connection, now| {
        let offer = connection.create_offer(now, sterna_peer::OfferOptions { ice_restart: true }).unwrap();
        connection.set_local_description(now, Some(offer)).unwrap();
    });
    stream(&mut world, 0..50);
    world.with(A, |connection, now| {
        connection.set_local_description(now, Some(sterna_peer::SessionDescription::rollback())).unwrap();
    });
    stream(&mut world, 50..100);
    assert_eq!(ufrags(&world), before);
    assert_eq!(numbers(&world), (0..100).collect::<Vec<_>>());
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Connected);
}

#[test]
fn a_restart_finds_the_new_address_of_a_host_that_moved() {
    let nats = [NatBehaviour::port_restricted(); 2];
    let mut world = World::nats(3, Signalling::default(), nats);
    world.create_channel(A, "chat");
    world.connect(MINUTE);
    stream(&mut world, 0..10);
    // A moves to a network of its own, with other addresses.
    let host = world.hosts[A];
    let other = world.net.add_network(Net::INTERNET, "elsewhere", NatBehaviour::port_restricted());
    for address in world.net.addresses(host) {
        let _ = address;
    }
    let home = world.nets[A];
    let down = world.net.access(host, home);
    let addresses = world.net.free_addresses(other);
    world.net.set_link_up(down, false);
    world.net.add_interface(host, other, &addresses);
    let interfaces = addresses.iter().map(|address| ice::Interface::new("wlan0", *address)).collect();
    world.with(A, |connection, now| {
        connection.set_interfaces(now, interfaces);
        connection.restart_ice(now);
    });
    let id = world.sides.read().unwrap()[A].opened()[0].0;
    world.send(A, id, &10u32.to_be_bytes());
    let done = world.run_until(MINUTE, |_, sides| sides[B].messages().len() == 11);
    assert!(done, "{}", world.describe());
}

#[test]
fn an_outage_passes_and_a_long_one_fails_with_its_cause() {
    let mut world = connected(1);
    let cut = |world: &mut World, up: bool| {
        let link = world.net.access(world.hosts[B], world.nets[B]);
        world.net.set_link_up(link, up);
    };
    cut(&mut world, false);
    world.run_for(Duration::from_secs(15));
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Disconnected);
    cut(&mut world, true);
    world.run_for(Duration::from_secs(15));
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Connected);
    world.echo();
    cut(&mut world, false);
    world.run_for(MINUTE * 2);
    let sides = world.sides.read().unwrap();
    for side in [A, B] {
        assert_eq!(sides[side].failure().expect("it failed").code(), "ice-consent-lost");
        assert_eq!(world.connection(side).ice_connection_state(), IceConnectionState::Failed);
    }
    drop(sides);
    // What was lost can be found again.
    cut(&mut world, true);
    world.with(A, |connection, now| connection.restart_ice(now));
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Connected, "{}", world.describe());
    world.echo();
}

#[test]
fn without_a_path_the_failure_carries_the_evidence() {
    let mut world = World::build(1, Signalling::default(), |net| {
        let nets = ["one", "two"].map(|name| net.add_network(Net::INTERNET, name, NatBehaviour::symmetric()));
        Places { nets, turn: None }
    });
    world.create_channel(A, "chat");
    world.run_for(MINUTE * 3);
    let sides = world.sides.read().unwrap();
    for side in &*sides {
        let failure = side.failure().expect("there is no way");
        assert!(failure.code().starts_with("ice-"), "{failure}");
        assert!(!failure.report.evidence.ice.pairs.is_empty() && !failure.advice().is_empty());
        assert_eq!(side.count(|event| matches!(event, Event::Failed(_))), 1);
    }
}

#[test]
fn the_wrong_certificate_lets_nobody_in() {
    for liar in [A, B] {
        let tamper: fn(usize, Mail) -> Option<Mail> = match liar {
            A => |from, mail| Some(if from == A { forge(mail) } else { mail }),
            _ => |from, mail| Some(if from == B { forge(mail) } else { mail }),
        };
        let mut world = World::lan(1, Signalling { tamper, ..Default::default() });
        let id = world.create_channel(A, "chat");
        world.run_for(Duration::from_secs(2));
        let _ = world.with(A, |connection, now| connection.send(now, id, MessageKind::Text, b"secret"));
        world.run_for(MINUTE);
        let sides = world.sides.read().unwrap();
        let deceived = &sides[1 - liar];
        assert_eq!(deceived.failure().expect("it was deceived").code(), "dtls-fingerprint-mismatch");
        assert_eq!(world.connection(1 - liar).connection_state(), ConnectionState::Failed);
        assert!(sides.iter().all(|side| side.messages().is_empty() && side.opened().is_empty()));
        assert_ne!(world.connection(liar).connection_state(), ConnectionState::Connected);
    }
}

/// Changes the fingerprint, and nothing else.
fn forge(mail: Mail) -> Mail {
    let Mail::Description(mut description) = mail else { return mail };
    let at = description.sdp.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let digits = if description.sdp[at..].starts_with("00") { "01" } else { "00" };
    description.sdp.replace_range(at..at + 2, digits);
    Mail::Description(description)
}

#[test]
fn strangers_are_not_answered_and_do_no_harm() {
    for seed in seeds(10) {
        let mut world = connected(seed);
        world.echo();
        let samples: Vec<Vec<u8>> = vec![
            // A STUN Binding request, a DTLS ClientHello, an alert, an SRTP packet.
            [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat(),
            [
                &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 28][..],
                &[3; 28],
            ]
            .concat(),
            vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40],
            [&[0x80, 111, 0, 1][..], &[9; 100]].concat(),
        ];
        let now = world.net.now();
        let own =
            world.net.trace().records().iter().find(|record| record.place == world.net.place(world.hosts[A]));
        let path = own.expect("A has sent").path;
        let stranger = Path::udp(path.local, "203.0.113.66:6666".parse().unwrap());
        let peer = Path::udp(path.local, path.remote);
        let limits = Limits { datagrams: 4, amplification: 4.0, allowance: 400 };
        let host = world.hosts[A];
        let connection = &mut world.net.machine_mut::<world::Peer>(host).connection;
        Hostile::new(seed).with_samples(samples).assault(connection, now, &[stranger, peer], 2000, limits);
        assert_eq!(world.connection(A).connection_state(), ConnectionState::Connected);
        world.echo();
    }
}

#[test]
fn strangers_at_any_time_do_not_prevent_a_connection() {
    for seed in seeds(40) {
        let mut world = World::lan(seed, Signalling::default());
        world.create_channel(A, "chat");
        let mut hostile = Hostile::new(seed);
        for _ in 0..40 {
            world.run_for(Duration::from_millis(5));
            for side in [A, B] {
                let host = world.hosts[side];
                let Some(local) =
                    world.net.trace().records().iter().rev().find_map(|record| {
                        (record.place == world.net.place(host)).then_some(record.path.local)
                    })
                else {
                    continue;
                };
                let (now, mut bytes) = (world.net.now(), hostile.bytes());
                let from = Path::udp(local, "203.0.113.66:6666".parse().unwrap());
                let connection = &mut world.net.machine_mut::<world::Peer>(host).connection;
                let datagram = sansio::Datagram { from, payload: &mut bytes };
                connection.handle_datagram(now, datagram, &mut sansio::Batches::new(1 << 16));
            }
        }
        world.connect(MINUTE);
        world.echo();
    }
}

#[test]
fn the_end_is_told_to_the_other_side() {
    let mut world = connected(1);
    world.with(A, |connection, now| connection.close(now));
    world.run_for(Duration::from_secs(1));
    let sides = world.sides.read().unwrap();
    assert_eq!(sides[B].count(|event| matches!(event, Event::PeerClosed)), 1);
    for side in [A, B] {
        assert_eq!(sides[side].count(|event| matches!(event, Event::ChannelClosed(_))), 1);
        assert_eq!(world.connection(side).connection_state(), ConnectionState::Closed);
        assert!(sides[side].failure().is_none());
        assert_eq!(world.connection(side).channels().count(), 0);
    }
    drop(sides);
    world.with(B, |connection, now| connection.close(now));
    world.run_for(MINUTE * 2);
    for side in [A, B] {
        assert!(world.connection(side).is_finished());
        assert_eq!(world.connection(side).poll_timeout(), None);
    }
}

#[test]
fn a_closed_channel_has_delivered_everything() {
    for seed in seeds(10) {
        let mut world = connected(seed);
        let id = world.sides.read().unwrap()[A].opened()[0].0;
        let payload = vec![7; 100_000];
        for _ in 0..5 {
            world.send(A, id, &payload);
        }
        world.with(A, |connection, now| connection.close_channel(now, id));
        assert_eq!(world.connection(A).channel(id).map(|channel| channel.state), Some(ChannelState::Closing));
        let refused = world.with(A, |connection, now| connection.send(now, id, MessageKind::Text, b"late"));
        assert_eq!(refused, Err(SendError::Closed));
        let closed = |event: &Event| matches!(event, Event::ChannelClosed(_));
        let done = world.run_until(MINUTE, |_, sides| sides.iter().all(|side| side.count(closed) == 1));
        assert!(done, "{}", world.describe());
        let messages = world.sides.read().unwrap()[B].messages();
        assert_eq!((messages.len(), messages[4].len()), (5, payload.len()));
        // The connection lives on.
        world.create_channel(B, "again");
        let done = world.run_until(MINUTE, |_, sides| sides[A].opened().len() == 2);
        assert!(done, "{}", world.describe());
    }
}

#[test]
fn channels_keep_what_they_promise() {
    let mut world = World::lan(1, Signalling::default());
    let init = DataChannelInit {
        ordered: false,
        max_retransmits: Some(3),
        protocol: "game".into(),
        ..DataChannelInit::default()
    };
    let negotiated = DataChannelInit { negotiated: true, id: Some(100), ..DataChannelInit::default() };
    world.with(A, |connection, now| connection.create_data_channel(now, "lossy", init.clone()).unwrap());
    let ids = [A, B].map(|side| {
        world.with(side, |connection, now| {
            connection.create_data_channel(now, "both", negotiated.clone()).unwrap()
        })
    });
    let done = world.run_until(MINUTE, |_, sides| sides.iter().all(|side| side.opened().len() == 2));
    assert!(done, "{}", world.describe());
    let incoming =
        world.sides.read().unwrap()[B].opened().into_iter().find(|(_, incoming)| *incoming).unwrap().0;
    let channel = world.connection(B).channel(incoming).unwrap().clone();
    assert_eq!((channel.label.as_str(), channel.init.protocol.as_str()), ("lossy", "game"));
    assert_eq!((channel.init.ordered, channel.init.max_retransmits), (false, Some(3)));
    world.send(A, ids[A], b"on a channel that nobody announced");
    assert!(world.run_until(MINUTE, |_, sides| sides[B].messages().len() == 1));
    let too_large =
        world.with(A, |connection, now| connection.send(now, ids[A], MessageKind::Binary, &vec![0; 262_145]));
    assert_eq!(too_large, Err(SendError::TooLarge { limit: 262_144 }));
    let nonsense = world.with(A, |connection, now| connection.send(now, ids[A], MessageKind::Text, &[0xff]));
    assert_eq!(nonsense, Err(SendError::NotText));
}

#[test]
fn a_full_channel_says_when_there_is_room() {
    let mut world = connected(1);
    let id = world.sides.read().unwrap()[A].opened()[0].0;
    let chunk = vec![1; 16_384];
    let mut sent = 0;
    let mut refused = 0;
    while sent < 150 {
        let result = world.with(A, |connection, now| connection.send(now, id, MessageKind::Binary, &chunk));
        match result {
            Ok(()) => sent += 1,
            Err(SendError::Full) => {
                refused += 1;
                let writable = |event: &Event| matches!(event, Event::Writable(_));
                let done = world.run_until(MINUTE, |_, sides| sides[A].count(writable) == refused);
                assert!(done, "{}", world.describe());
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 1);
    assert!(world.run_until(MINUTE, |_, sides| sides[B].messages().len() == 150));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.with(A, |connection, _| connection.buffered_amount(id)), 0);
}
