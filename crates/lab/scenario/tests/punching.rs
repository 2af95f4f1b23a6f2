//! Punching through hard NATs, by the rules by which they give ports, holds what `docs/punching.md` says.

use std::time::Duration;

use netsim::{Laws, PortAssignment};
use sterna_scenario::{Cast, Punching, Way};

/// Seeds for each meeting.
const SEEDS: u64 = 15;
/// Rules whose next ports can be foreseen, and those for whom one host's port is the same everywhere.
const FORESEEN: [&str; 3] = ["preserving", "overloading", "sequential"];

#[test]
fn each_rule_is_punched_through_as_often_as_we_say() {
    let punching = Punching { seeds: SEEDS, threads: 2, ..Punching::new() };
    for meeting in punching.run(&|_| {}) {
        let foreseen = |side| FORESEEN.contains(&side);
        let easy = |side| side == "port-restricted" || side == "overloading";
        let (a, b) = (meeting.a, meeting.b);
        let alike = easy(a) && easy(b);
        // Nothing but punching makes them direct.
        assert_eq!(meeting.direct_without, if alike { SEEDS } else { 0 }, "{meeting:?}");
        let expected = match (easy(a) || easy(b), foreseen(a) && (foreseen(b) || easy(b))) {
            (_, true) => SEEDS..=SEEDS,
            // A row of neighbours is hit for certain, scattered ports in 98 of 100 cases.
            (true, _) if a == "contiguous" || b == "contiguous" => SEEDS..=SEEDS,
            (true, _) => SEEDS - 2..=SEEDS,
            (false, false) => 0..=0,
        };
        assert!(expected.contains(&meeting.direct), "{meeting:?}");
        assert_eq!(meeting.failed, 0, "{meeting:?}");
        // The budget is a budget; and nobody spends it in vain where both sides' ports are unknown.
        assert!(meeting.most_packets <= if expected == (0..=0) { 0 } else { 1024 }, "{meeting:?}");
    }
}

#[test]
fn the_relay_is_not_delayed() {
    let punching = Punching::new();
    let (sequential, random) = (PortAssignment::Sequential, PortAssignment::Random);
    for seed in 0..20 {
        for (a, b) in [(random, None), (sequential, Some(sequential)), (random, Some(random))] {
            for trickle in [true, false] {
                // Packets that come late at random would come late otherwise at random.
                let with = Cast { jitter: Duration::ZERO, trickle, ..punching.cast(a, b, seed) };
                let without = Cast { punch: None, ..with.clone() }.run();
                let with = with.run();
                assert_eq!(without.way, Some(Way::Relayed));
                assert!(with.took <= without.took, "seed {seed}: {:?}, {:?}", with.took, without.took);
            }
        }
    }
}

#[test]
fn nobody_breaks_a_law_on_the_way() {
    let punching =
        Punching { seeds: 1, first_seed: 1000, laws: Laws::default(), loss: 0.05, ..Punching::new() };
    let meetings = punching.run(&|_| {});
    assert!(meetings.iter().all(|meeting| meeting.failed == 0), "{meetings:#?}");
}
