//! How many round trips pass before something arrives, when both descriptions are known to both sides at once. A round trip
//! takes 100 ms, what the machines do takes no time.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_peer::{ConnectionState, Event, IceConnectionState, SignalingState};
use world::{A, B, Places, Signalling, World, seeds};

const ROUND_TRIP: f64 = 0.1;

/// Two hosts on the internet, 25 ms from its middle, each with STUN's and the host's candidates in its description.
fn world(seed: u64, sped: [bool; 2]) -> World {
    let places = |net: &mut Net| {
        let nets = ["one", "two"].map(|name| {
            let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
            net.set_link(net.uplink(network), Link::delay_ms(25));
            network
        });
        Places { nets, turn: None }
    };
    let signalling = Signalling { trickle: false, delay: Duration::ZERO, ..Default::default() };
    World::build_with(seed, signalling, places, |side, _, configuration| configuration.sped = sped[side])
}

/// When, in round trips after both sides knew both descriptions, each side had a path, a secure one, and a channel.
fn rounds(world: &mut World) -> [[f64; 3]; 2] {
    world.create_channel(A, "chat");
    let mut begun = None;
    let mut reached = [[f64::NAN; 3]; 2];
    let hosts = world.hosts;
    world.run_until(Duration::from_secs(20), |net, sides| {
        let peers = hosts.map(|host| &net.machine::<world::Peer>(host).connection);
        let is_agreed = |side: usize| {
            peers[side].signaling_state() == SignalingState::Stable
                && peers[side].remote_description().is_some()
        };
        if begun.is_none() && is_agreed(A) && is_agreed(B) {
            begun = Some(net.now());
        }
        let Some(begun) = begun else { return false };
        let now = (net.now() - begun).as_secs_f64() / ROUND_TRIP;
        for side in [A, B] {
            let ice = peers[side].ice_connection_state();
            let has = [
                matches!(ice, IceConnectionState::Connected | IceConnectionState::Completed),
                matches!(peers[side].connection_state(), ConnectionState::Connected),
                sides[side].events.iter().any(|event| matches!(event, Event::ChannelOpened { .. })),
            ];
            for (has, at) in has.into_iter().zip(&mut reached[side]) {
                if has && at.is_nan() {
                    *at = now;
                }
            }
        }
        reached.iter().flatten().all(|at| !at.is_nan())
    });
    reached
}

#[test]
fn a_handshake_in_checks_takes_as_long_as_the_checks() {
    // What the offerer, who is the DTLS server, and the answerer wait for: a path, a secure one, a channel.
    let (folded, one_by_one) = ([[1.0, 1.5, 2.5], [1.0, 1.0, 3.0]], [[1.0, 2.5, 3.5], [1.0, 2.0, 4.0]]);
    for seed in seeds(20) {
        for (sped, expected) in [
            ([true, true], folded),
            ([false, false], one_by_one),
            // Who does not know it costs nobody anything.
            ([true, false], one_by_one),
            ([false, true], one_by_one),
        ] {
            let reached = rounds(&mut world(seed, sped));
            for (reached, expected) in reached.iter().flatten().zip(expected.iter().flatten()) {
                assert!(
                    (reached - expected).abs() <= 0.05,
                    "{sped:?}, seed {seed}: {reached} and not {expected}"
                );
            }
        }
    }
}
