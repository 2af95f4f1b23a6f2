//! How many round trips pass before something arrives, when both descriptions are known to both sides at once. A round trip
//! takes 100 ms, what the machines do takes no time.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_peer::{ChannelId, ConnectionState, Event, IceConnectionState, PathKind, SignalingState};
use world::{A, B, Mail, Peer, Places, Side, Signalling, World, seeds};

const ROUND_TRIP: f64 = 0.1;

/// Who of the two wants handshakes folded into others: DTLS into checks, and SCTP into the descriptions.
#[derive(Clone, Copy, Debug)]
struct Folds {
    sped: [bool; 2],
    snap: [bool; 2],
}

const BOTH: Folds = Folds { sped: [true; 2], snap: [true; 2] };

/// Where the two hosts are, each 25 ms from the middle of the internet.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// On the internet.
    Open,
    /// Behind NATs.
    Nats(NatBehaviour),
    /// The same, and the first, or both, use nothing but a relay in the middle.
    Relay([bool; 2]),
}

impl Scene {
    fn world(self, seed: u64, folds: Folds, loss: f64) -> World {
        // Candidates wait until both sides have both descriptions and all of their own.
        let tamper = |_, mail| matches!(mail, Mail::Description(_)).then_some(mail);
        let signalling = Signalling { delay: Duration::ZERO, tamper, ..Default::default() };
        self.world_with(seed, folds, loss, signalling)
    }

    fn world_with(self, seed: u64, folds: Folds, loss: f64, signalling: Signalling) -> World {
        let nat = match self {
            Self::Open => NatBehaviour::none(),
            Self::Nats(behaviour) => behaviour,
            Self::Relay(_) => NatBehaviour::port_restricted(),
        };
        let places = |net: &mut Net| {
            let nets = ["one", "two"].map(|name| {
                let network = net.add_network(Net::INTERNET, name, nat);
                net.set_link(net.uplink(network), Link::delay_ms(25));
                network
            });
            let turn = (!matches!(self, Self::Open)).then(|| {
                let server = world::turn_server(net);
                net.set_link(net.access(server, Net::INTERNET), Link::default());
                server
            });
            Places { nets, turn }
        };
        let mut world = World::build_with(seed, signalling, places, |side, _, configuration| {
            (configuration.sped, configuration.snap) = (folds.sped[side], folds.snap[side]);
            match self {
                Self::Relay(relayed) if relayed[side] => {
                    configuration.ice_transport_policy = ice::TransportPolicy::Relay;
                }
                // STUN alone, so that the other side's relay lets it in.
                Self::Relay(_) => configuration.ice_servers.truncate(1),
                Self::Open | Self::Nats(_) => {}
            }
        });
        for network in world.nets {
            // A packet passes both.
            let link = Link::delay_ms(25).with_loss(1.0 - (1.0 - loss).sqrt());
            let uplink = world.net.uplink(network);
            world.net.after(Duration::from_secs(1), move |net| net.set_link(uplink, link));
        }
        world
    }
}

/// What there is to reach, in this order: a path, a secure one, and the other's first message.
fn reached(net: &Net, host: netsim::HostId, side: &Side) -> [bool; 3] {
    let connection = &net.machine::<Peer>(host).connection;
    let ice = connection.ice_connection_state();
    [
        matches!(ice, IceConnectionState::Connected | IceConnectionState::Completed),
        connection.connection_state() == ConnectionState::Connected,
        !side.messages().is_empty(),
    ]
}

/// When, in round trips after both sides knew all of both descriptions, each had reached that. Both open a channel. The first
/// offers, and so is the DTLS server.
fn rounds(world: &mut World) -> [[f64; 3]; 2] {
    let own = [A, B].map(|side| world.create_channel(side, "chat"));
    world.run_for(Duration::from_secs(1));
    for side in [A, B] {
        let is_candidate = |event: &Event| match event {
            Event::CandidateGathered(candidate) => Some(candidate.clone()),
            _ => None,
        };
        let candidates: Vec<_> =
            world.sides.read().unwrap()[side].events.iter().filter_map(is_candidate).collect();
        assert!(candidates.last().is_some_and(|last| last.is_end_of_candidates()), "{}", world.describe());
        for candidate in candidates {
            world
                .with(1 - side, |connection, now| connection.add_ice_candidate(now, Some(candidate)))
                .unwrap();
        }
    }
    measure(world, own)
}

/// When, in round trips from now, each side reaches what there is to reach. Each sends on its own channel as soon as that is
/// open.
fn measure(world: &mut World, own: [ChannelId; 2]) -> [[f64; 3]; 2] {
    let (hosts, begun) = (world.hosts, world.net.now());
    let (mut times, mut has_sent) = ([[f64::NAN; 3]; 2], [false; 2]);
    while times.iter().flatten().any(|at| at.is_nan()) {
        let look = |net: &Net, sides: &[Side; 2]| {
            let open =
                |side: usize| sides[side].opened().iter().any(|(id, incoming)| *id == own[side] && !incoming);
            [A, B].map(|side| (reached(net, hosts[side], &sides[side]), open(side)))
        };
        let is_news = |found: &[([bool; 3], bool); 2]| {
            [A, B].into_iter().any(|side| {
                let (reached, open) = found[side];
                open && !has_sent[side] || (0..3).any(|at| reached[at] && times[side][at].is_nan())
            })
        };
        let done = world.run_until(Duration::from_secs(20), |net, sides| is_news(&look(net, sides)));
        assert!(done, "{}", world.describe());
        let now = (world.net.now() - begun).as_secs_f64() / ROUND_TRIP;
        let found = look(&world.net, &world.sides.read().unwrap());
        for side in [A, B] {
            let (reached, open) = found[side];
            for (at, reached) in times[side].iter_mut().zip(reached) {
                if reached && at.is_nan() {
                    *at = now;
                }
            }
            if open && !std::mem::replace(&mut has_sent[side], true) {
                world.send(side, own[side], b"first");
            }
        }
    }
    times
}

/// A check there and back; DTLS with it; and with the client's last flight its first message.
const FLOOR: [[f64; 3]; 2] = [[1.0, 1.5, 1.5], [1.0, 1.0, 2.0]];

#[test]
fn handshakes_that_are_folded_take_as_long_as_theory_says() {
    let (both, neither) = ([true; 2], [false; 2]);
    for seed in seeds(20) {
        for (folds, expected) in [
            (BOTH, FLOOR),
            (Folds { sped: both, snap: neither }, [[1.0, 1.5, 3.5], [1.0, 1.0, 3.0]]),
            (Folds { sped: neither, snap: both }, [[1.0, 2.5, 2.5], [1.0, 2.0, 3.0]]),
            (Folds { sped: neither, snap: neither }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
            // Who does not know it costs nobody anything.
            (Folds { sped: [true, false], snap: [true, false] }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
            (Folds { sped: [false, true], snap: [false, true] }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
        ] {
            let times = rounds(&mut Scene::Open.world(seed, folds, 0.0));
            for (time, expected) in times.iter().flatten().zip(expected.iter().flatten()) {
                assert!((time - expected).abs() <= 0.05, "{folds:?}, seed {seed}: {times:?}");
            }
        }
    }
}

/// Signalling is slower than the path, as it is in practice: packets of him who has answered are there before his answer is.
#[test]
fn what_came_before_the_answer_is_there_when_it_comes() {
    for (seed, delay) in seeds(5).flat_map(|seed| [1, 20, 40, 60, 90, 300].map(|delay| (seed, delay))) {
        let signalling =
            Signalling { delay: Duration::from_millis(delay), trickle: false, ..Default::default() };
        // What the first packets are still under way when the answer is there.
        let still = (0.5 - delay as f64 / 1e3 / ROUND_TRIP).max(0.0);
        for (sped, expected) in
            [(true, [[1.0, 1.0, 1.0], [0.5, 0.5, 1.5]]), (false, [[1.0, 2.0, 2.0], [0.5, 1.5, 2.5]])]
        {
            let folds = Folds { sped: [sped; 2], snap: [true; 2] };
            let mut world = Scene::Open.world_with(seed, folds, 0.0, signalling);
            let hosts = world.hosts;
            let is_stable = |net: &Net, host| {
                let connection = &net.machine::<Peer>(host).connection;
                connection.local_description().is_some()
                    && connection.signaling_state() == SignalingState::Stable
            };
            let offers = world.create_channel(A, "chat");
            assert!(world.run_until(Duration::from_secs(2), |net, _| is_stable(net, hosts[B])));
            let answers = world.create_channel(B, "chat");
            assert!(world.run_until(Duration::from_secs(2), |net, _| is_stable(net, hosts[A])));
            let times = measure(&mut world, [offers, answers]);
            for (time, expected) in times.iter().flatten().zip(expected.iter().flatten()) {
                assert!(*time <= expected + still + 0.05, "SPED {sped}, seed {seed}, {delay} ms: {times:?}");
            }
        }
    }
}

/// The ways that packets can take, and what a connection comes to there.
const WAYS: [(Scene, PathKind); 5] = [
    (Scene::Open, PathKind::Direct),
    (Scene::Nats(NatBehaviour::full_cone()), PathKind::Direct),
    (Scene::Nats(NatBehaviour::port_restricted()), PathKind::Direct),
    (Scene::Relay([true, false]), PathKind::Relayed),
    (Scene::Relay([true, true]), PathKind::Relayed),
];

#[test]
fn they_take_no_longer_through_nats_and_relays() {
    for seed in seeds(10) {
        for (scene, kind) in WAYS {
            let mut world = scene.world(seed, BOTH, 0.0);
            let times = rounds(&mut world);
            let mut expected = FLOOR;
            if let Scene::Relay([true, true]) = scene {
                // Of two checks that meet at the relays, the first comes before the other's permission.
                expected[A][0] = 1.5;
            }
            for (time, expected) in times.iter().flatten().zip(expected.iter().flatten()) {
                assert!(*time <= expected + 0.05, "{scene:?}, seed {seed}: {times:?}");
            }
            assert_eq!(world.kinds(), [kind; 2], "{scene:?}, seed {seed}");
        }
    }
}

#[test]
fn with_a_tenth_of_all_packets_lost_the_median_hardly_grows() {
    for (scene, _) in WAYS {
        let mut all: [[Vec<f64>; 3]; 2] = Default::default();
        for seed in seeds(101) {
            let times = rounds(&mut scene.world(seed, BOTH, 0.1));
            for (all, time) in all.iter_mut().flatten().zip(times.iter().flatten()) {
                all.push(*time);
            }
        }
        for (all, floor) in all.iter_mut().flatten().zip(FLOOR.iter().flatten()) {
            all.sort_by(f64::total_cmp);
            let median = all[all.len() / 2];
            assert!(median <= floor + 0.55, "{scene:?}: {median} for {floor}");
        }
    }
}
