//! Two connections find each other, whatever is between them.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sansio::Machine as _;
use sterna_peer::{ConnectionState, Event, MessageKind, PathKind, SignalingState};
use world::{A, B, Places, Signalling, World, seeds};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn two_hosts_on_one_network_connect_and_talk() {
    for seed in seeds(20) {
        for trickle in [true, false] {
            let mut world = World::lan(seed, Signalling { trickle, ..Default::default() });
            world.create_channel(A, "chat");
            world.connect(MINUTE);
            world.echo();
            assert_eq!(world.kinds(), [PathKind::Direct; 2]);
            let sides = world.sides.read().unwrap();
            assert!(sides.iter().all(|side| side.errors.is_empty() && side.failure().is_none()));
            let id = sides[B].opened()[0].0;
            assert_eq!(world.connection(B).channel(id).unwrap().label, "chat");
        }
    }
}

#[test]
fn nats_are_crossed_or_gone_round_as_the_theory_says() {
    let (cone, symmetric) = (NatBehaviour::port_restricted(), NatBehaviour::symmetric());
    for seed in seeds(10) {
        for (nats, kind) in [
            ([NatBehaviour::full_cone(), symmetric], PathKind::Direct),
            ([cone, cone], PathKind::Direct),
            ([cone, symmetric], PathKind::Relayed),
            ([symmetric, symmetric], PathKind::Relayed),
        ] {
            for trickle in [true, false] {
                let mut world = World::nats(seed, Signalling { trickle, ..Default::default() }, nats);
                world.create_channel(A, "chat");
                world.connect(MINUTE);
                world.run_for(Duration::from_secs(5));
                world.echo();
                assert_eq!(world.kinds(), [kind; 2], "seed {seed}, {nats:?}");
                let path = world.connection(A).path().unwrap();
                assert_eq!(path.because.is_some(), kind == PathKind::Relayed, "{path}");
            }
        }
    }
}

#[test]
fn loss_delays_but_does_not_prevent() {
    for seed in seeds(100) {
        let mut world = World::build(seed, Signalling::default(), |net| {
            let nets = ["one", "two"].map(|name| {
                let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
                net.set_link(net.uplink(network), Link::delay_ms(20).with_loss(0.163));
                network
            });
            Places { nets, turn: None }
        });
        world.create_channel(A, "chat");
        world.connect(MINUTE);
        world.echo();
    }
}

#[test]
fn both_may_begin_at_once() {
    for seed in seeds(50) {
        for trickle in [true, false] {
            let mut world = World::lan(seed, Signalling { trickle, ..Default::default() });
            world.create_channel(A, "of a");
            world.create_channel(B, "of b");
            let done = world.run_until(MINUTE, |_, sides| sides.iter().all(|side| side.opened().len() == 2));
            assert!(done, "seed {seed}: {}", world.describe());
            for side in [A, B] {
                let mut labels: Vec<_> =
                    world.connection(side).channels().map(|(_, it)| it.label.clone()).collect();
                labels.sort();
                assert_eq!(labels, ["of a", "of b"]);
                assert_eq!(world.connection(side).signaling_state(), SignalingState::Stable);
            }
            world.echo();
        }
    }
}

#[test]
fn candidates_may_overtake_descriptions() {
    for seed in seeds(20) {
        for (delay, candidate_delay) in [(100, 0), (0, 100)] {
            let signalling = Signalling {
                delay: Duration::from_millis(delay),
                candidate_delay: Duration::from_millis(candidate_delay),
                ..Default::default()
            };
            let mut world = World::lan(seed, signalling);
            world.create_channel(A, "chat");
            world.connect(MINUTE);
            world.echo();
            assert!(world.sides.read().unwrap().iter().all(|side| side.errors.is_empty()));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut world = World::nats(seed, Signalling::default(), [NatBehaviour::port_restricted(); 2]);
        world.create_channel(A, "chat");
        world.connect(MINUTE);
        // Key exchange and signatures draw from the operating system: the bytes of the handshake differ from run to
        // run, and the lengths of its packets by a few.
        let shape = |record: &netsim::Record| (record.time, record.place, record.path);
        let shapes: Vec<_> = world.net.trace().records().iter().map(shape).collect();
        shapes
    };
    for seed in seeds(5) {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn nothing_waits_for_a_timer() {
    // 25 ms each way, and signalling as fast as packets.
    let round_trip = Duration::from_millis(50);
    let signalling =
        Signalling { delay: round_trip / 2, candidate_delay: round_trip / 2, ..Default::default() };
    let mut world = World::build(1, signalling, |net| {
        let nets = ["one", "two"].map(|name| {
            let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
            net.set_link(net.uplink(network), Link { delay: round_trip / 4, ..Link::default() });
            network
        });
        Places { nets, turn: None }
    });
    let id = world.create_channel(A, "chat");
    let begun = world.net.now();
    // The message is given away as soon as it is taken: before the channel is open.
    let mut sent = false;
    let mut early = false;
    while world.sides.read().unwrap()[B].messages().is_empty() {
        world.run_for(Duration::from_millis(1));
        if !sent {
            sent = world
                .with(A, |connection, now| connection.send(now, id, MessageKind::Text, b"hello").is_ok());
            early = world.sides.read().unwrap()[A].opened().is_empty();
        }
        assert!(world.net.now() - begun < MINUTE);
    }
    assert!(sent && early);
    // B has the offer after 0.5, and its check is answered after 1.5. Then B's ClientHello, A's answer, B's Finished
    // (3.0), and A's INIT, INIT ACK, COOKIE ECHO with the message (4.5).
    let took = (world.net.now() - begun).as_secs_f64() / round_trip.as_secs_f64();
    assert!(took < 4.6, "{took} round trips");
}

#[test]
fn states_go_their_way_and_are_told() {
    let mut world = World::lan(1, Signalling::default());
    world.create_channel(A, "chat");
    world.connect(MINUTE);
    // The channel may be open before the path is nominated.
    world.run_for(Duration::from_secs(1));
    let sides = world.sides.read().unwrap();
    let states: Vec<_> = sides[A]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ConnectionStateChanged(state) => Some(*state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [ConnectionState::Connecting, ConnectionState::Connected]);
    assert_eq!(sides[A].count(|event| matches!(event, Event::PathChanged(_))), 1);
    let ends = |event: &Event| matches!(event, Event::CandidateGathered(it) if it.is_end_of_candidates());
    assert_eq!(sides[A].count(ends), 1);
    assert_eq!(sides[A].count(|event| matches!(event, Event::NegotiationNeeded)), 1);
    drop(sides);
    let description = world.connection(A).local_description().unwrap();
    assert!(description.sdp.contains("a=end-of-candidates") && description.sdp.contains("typ host"));
    assert!(!description.sdp.contains("m=application 9 "), "the default candidate's port stands there");
}

#[test]
fn stats_count_what_was_sent() {
    let mut world = World::lan(1, Signalling::default());
    world.create_channel(A, "chat");
    world.connect(MINUTE);
    world.echo();
    world.run_for(Duration::from_secs(1));
    let now = world.net.now();
    let [json, other] = [A, B].map(|side| serde_json::to_value(world.connection(side).stats(now)).unwrap());
    let find_in = |json: &serde_json::Value, kind: &str| {
        let found = json.as_array().unwrap().iter().find(|it| it["type"] == kind);
        found.unwrap_or_else(|| panic!("{kind} in {json}")).clone()
    };
    let find = |kind: &str| find_in(&json, kind);
    let channel = find("data-channel");
    assert_eq!((&channel["messagesSent"], &channel["bytesSent"]), (&1.into(), &6.into()));
    assert_eq!((&channel["messagesReceived"], &channel["bytesReceived"]), (&1.into(), &6.into()));
    assert_eq!(channel["state"], "open");
    let transport = find("transport");
    // The handshake rode in checks, which do not count; a message with its headers, DTLS's and SCTP's, does.
    assert!(transport["bytesSent"].as_u64().unwrap() > 100 && transport["dtlsState"] == "connected");
    let theirs = find_in(&other, "transport");
    for (ours, other) in [("bytesSent", "bytesReceived"), ("packetsReceived", "packetsSent")] {
        assert_eq!(transport[ours], theirs[other], "{transport} and {theirs}");
    }
    let pair = transport["selectedCandidatePairId"].as_str().unwrap();
    let pair = json.as_array().unwrap().iter().find(|it| it["id"] == pair).unwrap();
    assert_eq!((&pair["state"], &pair["nominated"]), (&"succeeded".into(), &true.into()));
    let candidate = |key: &str| json.as_array().unwrap().iter().any(|it| it["id"] == pair[key]);
    assert!(candidate("localCandidateId") && candidate("remoteCandidateId"));
    assert_eq!(find("peer-connection")["dataChannelsOpened"], 1);
    let _ = world.with(A, |connection, _| connection.poll_timeout());
}
