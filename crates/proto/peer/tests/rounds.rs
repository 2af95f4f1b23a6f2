//! How many round trips pass before something arrives, when both descriptions are known to both sides at once. A round trip
//! takes 100 ms, what the machines do takes no time.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_peer::{ConnectionState, IceConnectionState, SignalingState};
use world::{A, B, Peer, Places, Side, Signalling, World, seeds};

const ROUND_TRIP: f64 = 0.1;

/// Who of the two wants handshakes folded into others: DTLS into checks, and SCTP into the descriptions.
#[derive(Clone, Copy, Debug)]
struct Folds {
    sped: [bool; 2],
    snap: [bool; 2],
}

/// Two hosts on the internet, 25 ms from its middle, each with its candidates in its description.
fn world(seed: u64, folds: Folds) -> World {
    let places = |net: &mut Net| {
        let nets = ["one", "two"].map(|name| {
            let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
            net.set_link(net.uplink(network), Link::delay_ms(25));
            network
        });
        Places { nets, turn: None }
    };
    let signalling = Signalling { trickle: false, delay: Duration::ZERO, ..Default::default() };
    World::build_with(seed, signalling, places, |side, _, configuration| {
        (configuration.sped, configuration.snap) = (folds.sped[side], folds.snap[side]);
    })
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

/// When, in round trips after both sides knew both descriptions, each had reached that. Both open a channel, and send as
/// soon as it is open. The first offers, and so is the DTLS server.
fn rounds(world: &mut World) -> [[f64; 3]; 2] {
    let hosts = world.hosts;
    let own = [A, B].map(|side| world.create_channel(side, "chat"));
    let agreed = world.run_until(Duration::from_secs(1), |net, _| {
        hosts.iter().all(|host| {
            let connection = &net.machine::<Peer>(*host).connection;
            connection.signaling_state() == SignalingState::Stable
                && connection.remote_description().is_some()
        })
    });
    assert!(agreed, "{}", world.describe());
    let begun = world.net.now();
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

#[test]
fn handshakes_that_are_folded_take_as_long_as_theory_says() {
    let (both, neither) = ([true; 2], [false; 2]);
    for seed in seeds(20) {
        for (folds, expected) in [
            // A check there and back; DTLS with it; and with the client's last flight its first message.
            (Folds { sped: both, snap: both }, [[1.0, 1.5, 1.5], [1.0, 1.0, 2.0]]),
            (Folds { sped: both, snap: neither }, [[1.0, 1.5, 3.5], [1.0, 1.0, 3.0]]),
            (Folds { sped: neither, snap: both }, [[1.0, 2.5, 2.5], [1.0, 2.0, 3.0]]),
            (Folds { sped: neither, snap: neither }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
            // Who does not know it costs nobody anything.
            (Folds { sped: [true, false], snap: [true, false] }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
            (Folds { sped: [false, true], snap: [false, true] }, [[1.0, 2.5, 4.5], [1.0, 2.0, 4.0]]),
        ] {
            let times = rounds(&mut world(seed, folds));
            for (time, expected) in times.iter().flatten().zip(expected.iter().flatten()) {
                assert!((time - expected).abs() <= 0.05, "{folds:?}, seed {seed}: {times:?}");
            }
        }
    }
}
